//! The gateway: a line from a signed request to a plugin's settled outcome.
//!
//! [`intake`] is the front half, [`dispatch`] the back half; the store is the only thing between
//! them. `keys` gets intake the keys that lie at URLs, [`egress`]
//! is its way out to the world, [`budget`] what its requests may hold. [`live`] is what both halves look up, and [`reload`] is who writes it. [`metrics`] is what is
//! counted on the way, and [`alerts`] watches it. [`gateway`] puts them together, [`cli`] is how people start them.
//! [`supervisor`] hears how it stands.
//! [`pauses`] is what operators hold up, `peers` keeps gateways at one store together, [`jobs`] the bulk work that they ask for, [`windows`] what is known of dedupe
//! keys over time.
#![forbid(unsafe_code)]

pub mod admin;
pub mod alerts;
pub mod budget;
pub mod chance;
pub mod cli;
mod client;
pub mod config;
pub mod dispatch;
pub mod egress;
pub mod gateway;
pub mod health;
pub mod intake;
pub mod jobs;
mod keys;
pub mod learned;
mod limits;
pub mod live;
pub mod log;
pub mod metrics;
pub mod networks;
pub mod order;
pub mod pauses;
mod peers;
mod plugin_state;
pub mod readiness;
pub mod record;
pub mod reload;
pub mod serve;
pub mod standing;
pub mod supervisor;
pub mod tasks;
pub mod toolchain;
mod trace;
mod well_formed;
pub mod windows;

/// Here, so that every binary of the gateway has it. An event is made on one thread and dropped by the
/// store's writer, which is where the system's allocator waits for locks.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
