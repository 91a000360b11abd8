//! The time, from the host: `SystemTime::now` and `Instant::now` panic on `wasm32-unknown-unknown`.

use crate::host;

/// Unix time in milliseconds.
pub fn now_ms() -> u64 {
    host::now_ms()
}

/// Nanoseconds since some fixed point; never goes back. For measuring, not for dates.
pub fn monotonic_ns() -> u64 {
    host::monotonic_ns()
}
