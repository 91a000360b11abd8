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

/// Growing the memory costs the gateway more than most calls do: pages are made accessible for each
/// event and inaccessible behind it, which stops the other cores. `hookweir plugin build` has the
/// linker lay out a heap, and this allocator, unlike the older one in the standard library, uses it.
#[cfg(all(target_family = "wasm", feature = "allocator"))]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

pub mod clock;
pub mod config;
mod event;
#[doc(hidden)]
pub mod export;
mod failure;
mod form;
mod host;
pub mod http;
pub mod log;
mod malformed;
mod output;
#[cfg(target_family = "wasm")]
mod panic;
pub mod random;
pub mod secrets;
pub mod state;
#[cfg(not(target_family = "wasm"))]
pub mod testing;

pub use event::Event;
pub use failure::{Failure, OrFail};
/// Makes a function the plugin's handler, and says what the plugin wants.
///
/// The function is `fn handle(event: Event) -> Result<Outputs, Failure>`, under any name; a crate has
/// one. Keys:
///
/// | key | | |
/// |---|---|---|
/// | `subscribe` | required | patterns `source/type`: `["github/push", "plugin.billing/*"]` |
/// | `http` | optional | origins that the plugin wants to send requests to: `["https://api.example.com"]`, `["https://*.example.com"]`, or `["https://*"]` for those that the operator names |
/// | `secrets` | optional | names of secrets that it wants used: `["API_KEY"]` |
///
/// ```
/// use hookweir_sdk::prelude::*;
///
/// #[plugin(subscribe = ["github/issues", "github/pull_request"])]
/// fn greet(event: Event) -> Result<Outputs, Failure> {
///     Ok(outputs![Output::new("greeted", event.id())])
/// }
/// ```
///
/// A pattern that the gateway would refuse does not compile:
///
/// ```compile_fail
/// use hookweir_sdk::prelude::*;
///
/// #[plugin(subscribe = ["GitHub/issues"])] // names are lower case
/// fn greet(_: Event) -> Result<Outputs, Failure> {
///     Ok(outputs![])
/// }
/// ```
///
/// Nor does a function of another type:
///
/// ```compile_fail
/// use hookweir_sdk::prelude::*;
///
/// #[plugin(subscribe = ["github/issues"])]
/// fn greet(_: String) -> Result<Outputs, Failure> {
///     Ok(outputs![])
/// }
/// ```
///
/// On wasm it exports the function as the component's `hookweir:plugin/handler`, logs the message and
/// place of a panic before the trap, and writes the keys into the custom section `hookweir:wants`, as
/// JSON with the SDK's version:
/// `{"sdk":"0.1.0","subscribe":["github/issues"],"http":[],"state":false,"secrets":[]}`.
pub use hookweir_sdk_macros::plugin;
pub use output::{Output, Outputs};

/// All that a plugin needs, in one line: `use hookweir_sdk::prelude::*;`.
pub mod prelude {
    #[doc(no_inline)]
    pub use crate::{
        Event, Failure, OrFail, Output, Outputs, clock, config, http, log, outputs, plugin, random,
        secrets, state,
    };
}
