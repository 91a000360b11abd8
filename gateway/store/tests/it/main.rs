//! The store through its public face: each guarantee it makes to the rooms above.
//!
//! One binary; `support` has the builders.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod care;
mod deliver;
mod keep;
mod log_bound;
mod model;
mod open;
mod order;
mod replay;
mod retain;
mod search;
mod state;
mod support;
mod time;
