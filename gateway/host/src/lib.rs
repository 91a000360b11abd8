//! Runs plugins: wasmtime behind a narrow face. The only crate that names wasmtime.
//!
//! A [`Host`] is one engine per process. [`Host::prepare`] takes a file's bytes to a [`Version`] that
//! can run: parsed, made a component, compiled, linked and tried once, all off the hot path.
//! [`Host::call`] is one attempt in a fresh instance, bounded in CPU and wall time, memory, stack,
//! logs and outputs; so are [`Host::respond`] and [`Host::verify`], for plugins that answer requests or
//! prove who sent them. What goes wrong is either the plugin's ([`LoadFault`], or a failure inside
//! [`Ran`]) or the gateway's own ([`HostError`], [`NotRun`]), and never a panic.
#![forbid(unsafe_code)]

mod attempt;
mod bindings;
mod canary;
mod compile;
mod egress;
mod engine;
mod fault;
mod fixed;
mod guest;
mod host;
mod interfaces;
mod job;
mod limiter;
mod logs;
mod meter;
mod outcome;
mod parse;
mod reach;
mod rehearsal;
mod sample;
mod settings;
mod state;
mod stdio;
mod ticker;
mod version;
mod wants;
mod warm;

pub use attempt::Ran;
pub use egress::{
    Allowance, HttpFault, HttpGrant, HttpLimits, HttpOrigin, Network, NoNetwork, OriginError,
    RecordLimits, Redaction, SecretGrant, SecretText, Sending, Transport,
};
pub use fault::{HostError, LoadFault, NotRun};
pub use host::{Gauges, Host};
pub use interfaces::Exports;
pub use job::{Genuine, Request, Response};
pub use parse::{Inspection, Kind, inspect};
pub use rehearsal::Rehearsal;
pub use sample::{Sample, SampleError, request_line};
pub use settings::{CORE_INSTANCES_MAX, Grant, Limits, ModuleLimits, Settings, TABLE_ELEMENTS_MAX};
pub use state::{
    Answer, KEY_MAX as STATE_KEY_MAX, NoState, StateReader, VALUE_MAX as STATE_VALUE_MAX,
};
pub use version::Version;
pub use wants::{PutFault, Wants, WantsText};
