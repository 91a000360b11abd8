#![doc = include_str!("../README.md")]
#![deny(unsafe_code)]

#[cfg(all(
    target_family = "wasm",
    not(all(
        target_arch = "wasm32",
        any(target_os = "unknown", all(target_os = "wasi", target_env = "p2"))
    ))
))]
compile_error!(
    "Hookweir plugins are built for wasm32-unknown-unknown (or wasm32-wasip2), not for this target: \
     build with `--target wasm32-unknown-unknown`"
);

// The generated code names this crate as plugins do: its export macro expands in theirs.
extern crate self as hookweir_sdk;

pub mod clock;
pub mod config;
mod event;
#[doc(hidden)]
pub mod export;
mod failure;
mod form;
mod host;
pub mod log;
mod malformed;
mod output;
#[cfg(target_family = "wasm")]
mod panic;
pub mod random;
#[cfg(not(target_family = "wasm"))]
pub mod testing;

pub use event::Event;
pub use failure::{Failure, OrFail};
pub use hookweir_sdk_macros::plugin;
pub use output::{Output, Outputs};

/// All that a plugin needs, in one line: `use hookweir_sdk::prelude::*;`.
pub mod prelude {
    pub use crate::{
        Event, Failure, OrFail, Output, Outputs, clock, config, log, outputs, plugin, random,
    };
}
