//! The one integration-test binary: what it stands on (wasmtime above all) is linked once.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod api;
mod authors;
mod cli;
mod crash;
mod crash_images;
mod door;
mod egress;
mod full_disk;
mod host;
mod keys;
mod kit;
mod languages;
mod layering;
mod lifecycle;
mod look;
mod neighbours;
mod operate;
mod order;
mod patterns;
mod project;
mod providers;
mod readme;
mod relay;
mod released;
mod retain;
mod sources;
mod state;
mod store_copy;
mod store_faults;
mod swap;
mod uses;
mod verifier;
mod wit;
