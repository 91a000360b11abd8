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

pub mod bounded;
pub mod crash_image;
pub mod fault_vfs;
pub mod guests;
pub mod house;
pub mod load;
pub mod otlp;
pub mod provider;
pub mod scrape;
pub mod sender;
pub mod soak;
pub mod wire;
pub mod world;

pub use hookweir_ground::{postgres, relay};

/// Bytes that nothing can pack; of one seed, the same.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = seed.to_le_bytes().to_vec();
    while bytes.len() < len {
        let last = &bytes[bytes.len().saturating_sub(32)..];
        bytes.extend_from_slice(hookweir_event::Digest::of(last).as_bytes());
    }
    bytes.truncate(len);
    bytes
}
