//! Chance, from the host: `wasm32-unknown-unknown` has none of its own.
//!
//! Crates that draw through `getrandom` do not build for this target without a backend; the SDK
//! offers none yet. And the standard library's `HashMap` hashes with keys that are the same in every
//! run there, so whoever writes the body can make its entries collide: keep what is keyed by an
//! event's own text in a `BTreeMap`, as `serde_json`'s `Value` does.

use crate::host;

/// Cryptographically secure bytes, at most 65,536 a call; the host ends an attempt that asks for
/// more.
pub fn bytes(len: u32) -> Vec<u8> {
    host::random_bytes(len)
}

/// A cryptographically secure number, each as likely as any other.
pub fn u64() -> u64 {
    bytes(8).iter().fold(0, |number, &byte| number << 8 | u64::from(byte))
}
