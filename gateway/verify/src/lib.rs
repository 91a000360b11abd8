//! Proof of who sent a webhook, as pure functions: no I/O, no clock, no randomness.
//!
//! A [`Declaration`] (or a row of the preset table) is compiled into a [`Scheme`]; [`Scheme::verify`]
//! turns an [`Incoming`] request into [`Verified`], which nothing else can make, or a [`Rejection`]. Where
//! a [`Verifier`] does the check, the rest is done here.
#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod canonical;
pub mod certificate;
mod claims;
pub mod cloudevents;
mod compile;
mod declaration;
mod encoding;
mod explain;
mod handshake;
mod json;
mod jwt;
mod key;
mod key_url;
mod message_signature;
mod multipart;
mod place;
mod preset;
mod redact;
mod rejection;
mod request;
mod rule;
mod scheme;
mod sign;
mod template;
mod timestamp;
pub mod vector;
mod verify;
mod vouch;

pub use claims::{IdClaim, claim_of_id};
pub use declaration::{Declaration, Fault, ReplayGuard};
pub use explain::Explanation;
pub use handshake::{Answered, Unanswered};
pub use json::Pointer;
pub use key::{Key, KeyFault, Secret};
pub use key_url::{FetchedKey, KeyLocation, Keyring};
pub use preset::{Preset, Reply, Summary};
pub use rejection::Rejection;
pub use request::{Decode, Incoming, Outgoing};
pub use scheme::Scheme;
pub use sign::SignError;
pub use verify::{Facts, Parts, Verified};
pub use vouch::{Verifier, Vouched};
