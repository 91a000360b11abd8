//! The PostgreSQL engine: what every engine must do, on a server that the tests start themselves.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod alone;
mod bounds;
mod confer;
#[path = "../conformance/mod.rs"]
mod conformance;
mod copy;
mod days;
mod dump;
mod faults;
mod ground;
mod lapses;
mod look;
mod outages;
mod published;
mod retain;
mod standby;
mod vacuum;
