//! The event, as a plugin sees it: who sent what, when, and which attempt this is.
//!
//! A view on the record of the contract: nothing is copied on the way in but what the ABI copies.

use std::{borrow::Cow, fmt};

use serde::de::DeserializeOwned;

use crate::{Failure, export::bindings::hookweir::plugin::types, form, json};

/// One verified webhook, or an event that a plugin or the gateway made.
///
/// ```
/// use hookweir_sdk::prelude::*;
///
/// fn handle(event: Event) -> Result<Outputs, Failure> {
///     assert_eq!(event.source(), "github");
///     assert_eq!(event.header("X-GitHub-Event"), Some("push"));
///     let push: serde_json::Value = event.json()?;
///     assert_eq!(push["ref"], "refs/heads/main");
///     Ok(outputs![])
/// }
///
/// # use hookweir_sdk::testing::Host;
/// let event = Event::builder("github", "push")
///     .header("x-github-event", "push")
///     .body(r#"{"ref": "refs/heads/main"}"#)
///     .build();
/// assert!(Host::new().run(handle, event).is_ok());
/// ```
pub struct Event(types::Event);

impl Event {
    pub(crate) fn from_wire(event: types::Event) -> Self {
        Self(event)
    }

    /// The same on every attempt: use it as an idempotency key.
    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// The configured source that verified it, `plugin.NAME` for an output, `gateway` for the
    /// gateway's own.
    pub fn source(&self) -> &str {
        &self.0.source
    }

    /// What happened, in the sender's words: `push`, `payment_intent.succeeded`.
    pub fn event_type(&self) -> &str {
        &self.0.event_type
    }

    /// Which attempt this is, counted from 1.
    pub fn attempt(&self) -> u32 {
        self.0.attempt
    }

    /// When the gateway received or made it: Unix time in milliseconds.
    pub fn received_at_ms(&self) -> u64 {
        self.0.received_at_ms
    }

    /// The request's method.
    pub fn method(&self) -> &str {
        &self.0.method
    }

    /// The request's path.
    pub fn path(&self) -> &str {
        &self.0.path
    }

    /// The request's query, without the `?`.
    pub fn query(&self) -> Option<&str> {
        self.0.query.as_deref()
    }

    /// The first header of that name, in whichever case, if its value is UTF-8. Credentials read
    /// `[redacted]`.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers().find(|(known, _)| known.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(value).ok()
    }

    /// All headers with their raw values, in the order received. A name may occur more than once.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice()))
    }

    /// The raw bytes that were received and verified.
    pub fn body(&self) -> &[u8] {
        &self.0.body
    }

    /// The body as text; what is not UTF-8 reads as U+FFFD.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.0.body)
    }

    /// The body from JSON.
    ///
    /// # Errors
    /// A reject that says what did not fit and where, never what the body holds.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        json::read("body", &self.0.body)
    }

    /// The body from `application/x-www-form-urlencoded`, as Slack and Twilio send it. Values are
    /// text; fields may be of any type that reads from text, or an `Option` of one.
    ///
    /// # Errors
    /// A reject that says what did not fit, never what the body holds.
    pub fn form<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        form::parse(&self.0.body)
    }

    /// What the gateway tells beside the request: parent id, order key, trace context.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// All attributes. Later gateways may add some.
    pub fn attributes(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.attributes.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// Without headers and body: a log line is no place for either.
impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("id", &self.0.id)
            .field("source", &self.0.source)
            .field("event_type", &self.0.event_type)
            .field("attempt", &self.0.attempt)
            .field("body_bytes", &self.0.body.len())
            .finish_non_exhaustive()
    }
}
