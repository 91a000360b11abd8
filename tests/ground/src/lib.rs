//! What tests of every crate stand on, those of the store among them: free ports, servers of PostgreSQL's, a
//! network that fails when told, and figures of what was measured.
//!
//! It knows none of the other crates, so that the store's tests don't build the whole gateway.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that can't go on has failed, and says why"
)]

pub mod figures;
mod ports;
pub mod postgres;
pub mod relay;

use std::time::Duration;

pub use ports::free_port;

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often something is looked at that tells nobody when it changes.
const POLL: Duration = Duration::from_millis(10);
