//! The SQLite engine: what every engine must do, and what is its own.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod care;
#[path = "../conformance/mod.rs"]
mod conformance;
mod ground;
mod log_bound;
mod open;
mod rot;
mod space;
