//! The crate as its users see it: through the public face only.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod claims;
mod cloudevents;
mod coding;
mod declarations;
mod handshakes;
mod properties;
mod readme;
mod redaction;
mod support;
mod vectors;
mod vouched;
