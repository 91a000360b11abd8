//! What a look at a store shows: counts, and events with their deliveries and attempts.

use hookweir_event::{
    Attempt, Event, EventId, EventType, Hops, OrderKey, Origin, PluginName, Timestamp,
};

use crate::{Cursor, DeliveryId};

/// How many of each there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Events of any origin, outputs included.
    pub events: u64,
    /// Events that plugins made.
    pub outputs: u64,
    /// Events that no plugin wanted.
    pub unrouted: u64,
    /// Deliveries that wait: for an attempt, for an earlier one of their order key, or for the end of a hold.
    pub due: u64,
    /// Deliveries that are being attempted.
    pub leased: u64,
    /// Deliveries that are handled.
    pub done: u64,
    /// Dead letters that nobody put aside.
    pub dead: u64,
    /// Dead letters that an operator put aside.
    pub discarded: u64,
    /// Webhooks that were answered as duplicates.
    pub duplicates: u64,
}

/// Where a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeliveryState {
    /// It waits for its time.
    Due,
    /// It waits for earlier ones with its order key.
    Behind,
    /// It waits until its source is not held any more.
    Held,
    /// It is being attempted.
    Leased,
    /// It is handled.
    Done,
    /// It is a dead letter.
    Dead,
    /// It is a dead letter that an operator put aside.
    Discarded,
}

impl DeliveryState {
    /// The word in listings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Due => "due",
            Self::Behind => "behind",
            Self::Held => "held",
            Self::Leased => "leased",
            Self::Done => "done",
            Self::Dead => "dead",
            Self::Discarded => "discarded",
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
    /// When it was last.
    pub duplicated_at: Option<Timestamp>,
}

impl Shown {
    /// About how many bytes a listing of it has, its body aside.
    pub(crate) fn bytes(&self) -> usize {
        SHOWN + self.deliveries.iter().map(ShownDelivery::bytes).sum::<usize>()
    }
}

/// About how many bytes a listing has of an event, a delivery, an attempt, beside what strangers wrote.
const SHOWN: usize = 256;

/// A delivery, as listings show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownDelivery {
    /// Its name.
    pub id: DeliveryId,
    /// Whose.
    pub plugin: PluginName,
    /// Where it stands.
    pub state: DeliveryState,
    /// The key it is ordered by.
    pub order_key: Option<OrderKey>,
    /// Whether it is dead, and later ones with its order key wait for an operator.
    pub blocks: bool,
    /// When it is, or was, due.
    pub due_at: Timestamp,
    /// When an operator had the event replayed, if that made this delivery.
    pub replayed_at: Option<Timestamp>,
    /// When it was done or dead.
    pub settled_at: Option<Timestamp>,
    /// When an operator put it aside.
    pub discarded_at: Option<Timestamp>,
    /// How often a process died while it held it.
    pub lost_leases: u32,
    /// The attempts that ended, the first one first.
    pub attempts: Vec<ShownAttempt>,
}

impl ShownDelivery {
    /// About how many bytes a listing of it has.
    pub(crate) fn bytes(&self) -> usize {
        SHOWN + self.attempts.iter().map(ShownAttempt::bytes).sum::<usize>()
    }
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
    /// How many of its requests are kept with it; none if that was not asked for.
    pub exchanges: Option<ExchangeCounts>,
}

/// How many requests of an attempt are kept with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExchangeCounts {
    /// Those that are.
    pub kept: u32,
    /// Those that were sent as well.
    pub left_out: u32,
}

impl ShownAttempt {
    /// About how many bytes a listing of it has.
    fn bytes(&self) -> usize {
        let Attempt { message, logs, .. } = &self.attempt;
        let logged: usize = logs.iter().map(|line| size_of_val(line) + line.text.len()).sum();
        SHOWN + message.as_ref().map_or(0, String::len) + logged
    }
}

/// Deliveries that wait behind a dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocked {
    /// The dead letter.
    pub by: DeliveryId,
    /// Whose.
    pub plugin: PluginName,
    /// The key that they share.
    pub order_key: OrderKey,
    /// When it died.
    pub since: Timestamp,
    /// How many wait.
    pub waiting: u64,
}

/// A delivery and the event that it is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The event.
    pub event: Summary,
    /// One of its deliveries.
    pub delivery: ShownDelivery,
}

/// An event with all that is kept of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// A search that goes on here finds the events before it.
    pub next: Cursor,
    /// The event with its deliveries and attempts.
    pub shown: Shown,
    /// The event with its content; none if that can't be read any more.
    pub event: Option<Event>,
}

/// What waits for a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    /// Whose.
    pub plugin: PluginName,
    /// Deliveries that are due.
    pub due: u64,
    /// Deliveries whose time has not come: retries.
    pub later: u64,
    /// Deliveries that wait for earlier ones with their order key.
    pub behind: u64,
    /// Deliveries that wait until their source is not held any more.
    pub held: u64,
    /// Deliveries that are being attempted.
    pub leased: u64,
    /// Dead letters that nobody put aside.
    pub dead: u64,
    /// Order keys that a dead letter holds up.
    pub blocked_keys: u64,
    /// Since when the one has been due that has been longest.
    pub oldest_due_at: Option<Timestamp>,
    /// When the next one is due whose time has not come.
    pub next_due_at: Option<Timestamp>,
}

/// An entry of a plugin's state without its value, as listings show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownEntry {
    /// Its key.
    pub key: String,
    /// Changes with each write, and never comes back.
    pub version: u64,
    /// The length of its value in bytes.
    pub bytes: u64,
    /// From then on it counts as absent.
    pub expires_at: Option<Timestamp>,
}
