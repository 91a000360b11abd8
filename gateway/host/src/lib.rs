//! Runs plugins: wasmtime behind a narrow face. The only crate that names wasmtime.
//!
//! A [`Host`] is one engine per process. [`Host::prepare`] takes a file's bytes to a [`Version`] that
//! can run: parsed, made a component, compiled, linked and tried once, all off the hot path.
//! [`Host::call`] is one attempt in a fresh instance, bounded in CPU and wall time, memory, stack,
//! logs and outputs. What goes wrong is either the plugin's ([`LoadFault`], or a failure inside
//! [`Ran`]) or the gateway's own ([`HostError`], [`NotRun`]), and never a panic.
#![forbid(unsafe_code)]

mod fault;
mod host;
mod settings;
mod version;
mod wants;

pub use fault::{HostError, LoadFault, NotRun};
pub use host::{Gauges, Host, Inspection, Kind, Ran, inspect};
pub use settings::{Grant, Limits, Settings};
pub use version::Version;
pub use wants::Wants;
