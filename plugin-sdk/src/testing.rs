//! An in-memory host, for `cargo test` in the plugin's crate.
//!
//! ```
//! use hookweir_sdk::prelude::*;
//! use hookweir_sdk::testing::Host;
//!
//! fn handle(event: Event) -> Result<Outputs, Failure> {
//!     log::info!(attempt = event.attempt(), "handled at {}", clock::now_ms());
//!     Ok(outputs![Output::new("greeted", config::get("greeting").or_reject()?)])
//! }
//!
//! let host = Host::new().config("greeting", "hello").now_ms(1_700_000_000_000);
//! let event = Event::builder("crm", "contact.created").attempt(2).build();
//! let outputs = host.run(handle, event).expect("handled");
//! assert_eq!(outputs[0].body(), b"hello");
//! assert_eq!(host.logs()[0].message, "handled at 1700000000000");
//! ```

mod build;
mod in_memory;
mod network;
mod sample;

pub use build::{EventBuilder, RequestBuilder};
pub use in_memory::{Host, LogLine};
pub use network::{Canned, Sent};
pub use sample::Sample;

pub(crate) use in_memory::imports;
