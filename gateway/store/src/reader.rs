//! Looks at a store without being in its writer's way: a connection of its own, read-only, short
//! snapshots. Works from another process too, while the gateway runs.
//!
//! The verbs block for the length of one query; an async caller puts them on a blocking thread.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
};

use hookweir_event::{Attempt, Event, EventId, EventType, Hops, Origin, PluginName, Timestamp};
use rusqlite::Connection;

use crate::ReadError;

/// How many of each there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Events of any origin, outputs included.
    pub events: u64,
    /// Events that plugins made.
    pub outputs: u64,
    /// Events that no plugin wanted.
    pub unrouted: u64,
    /// Deliveries that wait, for their first attempt or for another.
    pub due: u64,
    /// Deliveries that are being attempted.
    pub leased: u64,
    /// Deliveries that are handled.
    pub done: u64,
    /// Dead letters.
    pub dead: u64,
    /// Webhooks that were answered as duplicates.
    pub duplicates: u64,
}

/// Where a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeliveryState {
    /// It waits for its time.
    Due,
    /// It is being attempted.
    Leased,
    /// It is handled.
    Done,
    /// It is a dead letter.
    Dead,
}

impl DeliveryState {
    /// The word in listings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Due => "due",
            Self::Leased => "leased",
            Self::Done => "done",
            Self::Dead => "dead",
        }
    }
}

impl std::fmt::Display for DeliveryState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// An event without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Its id.
    pub id: EventId,
    /// Where it comes from.
    pub origin: Origin,
    /// What happened.
    pub event_type: EventType,
    /// When it was received or made.
    pub received_at: Timestamp,
    /// For an output: the event whose delivery made it.
    pub parent: Option<EventId>,
    /// For an output: the webhook at the start of the chain.
    pub root: Option<EventId>,
    /// How many plugins it has passed through.
    pub hops: Hops,
    /// The length of its body in bytes.
    pub body_len: u64,
}

/// An event with its deliveries, as listings show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The event.
    pub event: Summary,
    /// One for each plugin it was routed to.
    pub deliveries: Vec<ShownDelivery>,
    /// How often it was sent again within its window.
    pub duplicates: u32,
}

/// A delivery, as listings show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownDelivery {
    /// Whose.
    pub plugin: PluginName,
    /// Where it stands.
    pub state: DeliveryState,
    /// When it is, or was, due.
    pub due_at: Timestamp,
    /// When it was done or dead.
    pub settled_at: Option<Timestamp>,
    /// How often a process died while it held it.
    pub lost_leases: u32,
    /// The attempts that ended, the first one first.
    pub attempts: Vec<ShownAttempt>,
}

/// An attempt, as listings show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownAttempt {
    /// Counted from 1.
    pub number: u32,
    /// When the delivery was leased for it.
    pub started_at: Timestamp,
    /// What came of it.
    pub attempt: Attempt,
}

/// Reads a store. Cheap to clone; clones share one connection.
#[derive(Debug, Clone)]
pub struct Reader {
    path: PathBuf,
    #[expect(dead_code, reason = "skeleton")]
    connection: Arc<Mutex<Option<Connection>>>,
}

impl Reader {
    /// A reader of the store in this file, which may be another process's.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, ReadError> {
        Ok(Self { path: path.into(), connection: Arc::default() })
    }

    /// How many of each there are: one row, kept by the writer.
    pub fn counts(&self) -> Result<Counts, ReadError> {
        Err(ReadError::Missing(self.path.clone()))
    }

    /// Up to `limit` events in the order they were committed, the first after `after`.
    pub fn events(&self, after: Option<EventId>, limit: usize) -> Result<Vec<Shown>, ReadError> {
        let _ = (after, limit);
        Err(ReadError::Missing(self.path.clone()))
    }

    /// One event with its content.
    pub fn event(&self, id: EventId) -> Result<Option<Event>, ReadError> {
        let _ = id;
        Err(ReadError::Missing(self.path.clone()))
    }

    /// One event's deliveries.
    pub fn show(&self, id: EventId) -> Result<Option<Shown>, ReadError> {
        let _ = id;
        Err(ReadError::Missing(self.path.clone()))
    }
}
