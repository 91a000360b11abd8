//! What the end-to-end tests and the benchmarks stand on: a gateway in a house of its own, senders,
//! and plugins built on first use.
//!
//! A gateway under test is a real process: it can be killed and started again. Its books are read
//! from the store, as any other process would.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that can't go on has failed, and says why"
)]

pub mod crash_image;
pub mod fault_vfs;
pub mod guests;
pub mod house;
pub mod load;
pub mod provider;
pub mod sender;
