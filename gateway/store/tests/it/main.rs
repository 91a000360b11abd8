//! The store through its public face: each guarantee it makes to the rooms above.
//!
//! One binary; `support` has the builders.

mod deliver;
mod keep;
mod log_bound;
mod model;
mod open;
mod support;
