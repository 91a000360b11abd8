//! The event: one verified webhook as received, or one that a plugin or the gateway made.

use std::{fmt, str::FromStr};

use uuid::Uuid;

use crate::{EventType, Origin, Timestamp};

/// What a credential reads as from verification on: in the store, for plugins, for operators.
pub const REDACTED: &str = "[redacted]";

/// An event's id, a UUID version 7 (RFC 9562): ids of later events sort later, so an index on them
/// grows at its end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(Uuid);

impl EventId {
    /// A new id from the time and ten random bytes.
    pub fn new(now: Timestamp, chance: [u8; 10]) -> Self {
        let millis = u64::try_from(now.as_millis()).unwrap_or(0);
        Self(uuid::Builder::from_unix_timestamp_millis(millis, &chance).into_uuid())
    }

    /// From bytes that were an id before.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// The 16 bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for EventId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        text.parse().map(Self)
    }
}

/// Header names in lower case with their raw values, in the order received. A name may occur more
/// than once.
pub type Headers = Vec<(String, Vec<u8>)>;

/// How many plugins an event has passed through: 0 for a webhook, one more for each output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Hops(pub u8);

impl Hops {
    /// An output that would go further than this is not delivered: somewhere two plugins answer
    /// each other.
    pub const LIMIT: Self = Self(8);

    /// The hops of an output of an event with these.
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// Whether it went too far.
    pub fn beyond_limit(self) -> bool {
        self > Self::LIMIT
    }
}

/// One event, as plugins and operators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The same on every attempt of every delivery.
    pub id: EventId,
    /// The source that verified it, or what made it.
    pub origin: Origin,
    /// What happened.
    pub event_type: EventType,
    /// When the gateway received or made it.
    pub received_at: Timestamp,
    /// The request's method; `POST` for outputs.
    pub method: String,
    /// The request's path; empty for outputs.
    pub path: String,
    /// The request's query, without the `?`.
    pub query: Option<String>,
    /// The request's headers, credentials redacted.
    pub headers: Headers,
    /// The raw body as it was verified.
    pub body: Vec<u8>,
    /// Names and values beside the request: parent id, order key, trace context.
    pub attributes: Vec<(String, String)>,
    /// How many plugins it has passed through.
    pub hops: Hops,
}

/// An output as a plugin returned it, before it has an id and a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewOutput {
    /// What happened, in the plugin's words.
    pub event_type: EventType,
    /// Whatever the plugin set.
    pub headers: Headers,
    /// The body.
    pub body: Vec<u8>,
    /// Names and values beside it.
    pub attributes: Vec<(String, String)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_uuid_version_7_and_sort_by_time() {
        let early = EventId::new(Timestamp::from_millis(1_645_557_742_000), [0xff; 10]);
        let late = EventId::new(Timestamp::from_millis(1_645_557_742_001), [0; 10]);
        assert!(early < late);
        // RFC 9562, appendix A.6, has this time and this version digit.
        assert!(early.to_string().starts_with("017f22e2-79b0-7"), "{early}");
        assert_eq!(early.to_string().parse(), Ok(early));
    }

    #[test]
    fn the_ninth_hop_is_beyond_the_limit() {
        let eighth = (0..8).fold(Hops::default(), |hops, _| hops.next());
        assert!(!eighth.beyond_limit());
        assert!(eighth.next().beyond_limit());
    }
}
