//! The vocabulary that every room shares: events, deliveries, attempts, outcomes, fates.
//!
//! Values only. Nothing here does I/O, reads a clock or draws a random number; time comes in as a
//! [`Timestamp`], chance as bytes. Each name is the word of the design and of the docs.
#![forbid(unsafe_code)]

mod attempt;
mod digest;
mod event;
mod exchange;
mod histogram;
mod name;
mod order;
mod pattern;
mod state;
mod time;

pub use attempt::{Attempt, Failure, Fate, LogLevel, LogLine, Outcome};
pub use digest::{Digest, DigestError};
pub use event::{Event, EventId, Headers, Hops, NewOutput, REDACTED};
pub use exchange::{Answered, Excerpt, Exchange, Exchanges};
pub use histogram::{Histogram, Spread};
pub use name::{EventType, NameError, Origin, PluginName, SourceName};
pub use order::OrderKey;
pub use pattern::{Pattern, PatternError};
pub use state::{Basis, Change, Lasts, StateChange, StateEntry, StateKey};
pub use time::{Backoff, Clock, Timestamp};
