//! Test plugins as they ship: the built `.wasm`, in the gateway's own engine, with its real limits.
//!
//! The SDK's `testing` host runs a plugin's code natively, which is quick and knows no limits. This kit runs
//! the module: what costs too much time or memory, traps, or was built for another target fails here as it
//! would behind a gateway. State lasts over calls, requests are answered by the test and go nowhere, the clock
//! moves when it is told to.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use hookweir_kit::{Canned, Event, Kit};
//!
//! # fn main() -> Result<(), hookweir_kit::KitError> {
//! let plugin = Kit::new()
//!     .config("currency", "eur")
//!     .http("POST https://api.example.com/fulfil", Canned::new(503).header("retry-after", "7"))
//!     .http("POST https://api.example.com/fulfil", Canned::new(201))
//!     .load("payments.wasm")?;
//!
//! let event = Event::new("stripe", "payment_intent.succeeded")
//!     .json(&serde_json::json!({ "order": "A1" }));
//! let ran = plugin.run(&event);
//! assert_eq!(ran.assert_retry().retry_after, Some(Duration::from_secs(7)));
//!
//! let ran = plugin.run(&event.attempt(2));
//! assert_eq!(ran.assert_done()[0].event_type.as_str(), "order.paid");
//! assert_eq!(ran.requests()[0].line(), "POST https://api.example.com/fulfil");
//! assert_eq!(plugin.stored("order:A1").as_deref(), Some(&b"paid"[..]));
//! # Ok(())
//! # }
//! ```
//!
//! Build the module first: `hookweir plugin build && cargo test`. The compiler that turns it into machine code
//! is slow in a debug build; two lines in the plugin's `Cargo.toml` make tests start in no time:
//!
//! ```toml
//! [profile.dev.package."*"]
//! opt-level = 2
//! ```
#![forbid(unsafe_code)]

mod error;
mod event;
mod kit;
mod memory;
mod plugin;
mod ran;
mod record;
mod time;
mod wire;

pub use error::KitError;
pub use event::Event;
pub use hookweir_event::{Failure, LogLevel, LogLine, NewOutput, Outcome, PluginName, Timestamp};
pub use hookweir_host::{Grant, HttpFault, Limits, NotRun, Request, Response, Sample, SampleError};
pub use kit::Kit;
pub use plugin::Plugin;
pub use ran::Ran;
pub use record::{OtherBody, Recall};
pub use wire::{Canned, Sent};
