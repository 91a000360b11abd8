//! Searches for operators: which events, the newest first, a page at a time.
//!
//! A page ends when it is full or when so many events were looked at, so that none takes long; its cursor
//! says where to go on. Cursors stay good: what comes meanwhile is before all of them.

use std::{fmt, str::FromStr};

use hookweir_event::{Digest, EventType, OrderKey, Origin, Pattern, PluginName, Timestamp};

use crate::DeliveryState;

/// Which events are meant: those for which all holds that is said.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Where they come from.
    pub origin: Option<Origin>,
    /// What happened.
    pub event_type: Option<EventType>,
    /// The same, by a pattern.
    pub pattern: Option<Pattern>,
    /// Received then or later.
    pub since: Option<Timestamp>,
    /// Received before.
    pub until: Option<Timestamp>,
    /// They have a dedupe key.
    pub claim: Option<Digest>,
    /// One of their deliveries is of this plugin,
    pub plugin: Option<PluginName>,
    /// has this order key,
    pub order_key: Option<OrderKey>,
    /// and stands so.
    pub state: Option<Standpoint>,
    /// They were sent again within their window.
    pub duplicated: bool,
    /// It is somewhere in the path, the query, a header or the body, as it is written here.
    pub text: Option<String>,
}

/// Where an event stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standpoint {
    /// No plugin wanted it.
    Unrouted,
    /// A delivery of it is in this state.
    Delivery(DeliveryState),
    /// A delivery of it is dead, and others with its order key wait.
    Blocks,
}

impl FromStr for Standpoint {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let state = match text {
            "unrouted" => return Ok(Self::Unrouted),
            "blocks" => return Ok(Self::Blocks),
            "due" => DeliveryState::Due,
            "behind" => DeliveryState::Behind,
            "held" => DeliveryState::Held,
            "leased" => DeliveryState::Leased,
            "done" => DeliveryState::Done,
            "dead" => DeliveryState::Dead,
            "discarded" => DeliveryState::Discarded,
            _ => {
                return Err(
                    "expected due, behind, held, leased, done, dead, discarded, blocks or unrouted",
                );
            }
        };
        Ok(Self::Delivery(state))
    }
}

/// Where a search goes on, or what is new: the one says nothing to the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// What the event is put in order by that was looked at last.
    pub(crate) event: i64,
    /// Where what is new is put in order by transactions: that which the event came in.
    pub(crate) transaction: Option<i64>,
}

impl Cursor {
    /// Behind an event.
    pub(crate) fn at(event: i64) -> Self {
        Self { event, transaction: None }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.transaction {
            None => write!(f, "{:x}", self.event),
            Some(transaction) => write!(f, "{transaction:x}.{:x}", self.event),
        }
    }
}

impl FromStr for Cursor {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let key = |text, least| i64::from_str_radix(text, 16).ok().filter(|key| *key >= least);
        let cursor = match text.split_once('.') {
            None => key(text, 1).map(Self::at),
            // The first transaction whose events are new may have none before it.
            Some((transaction, event)) => key(transaction, 1)
                .zip(key(event, 0))
                .map(|(transaction, event)| Self { event, transaction: Some(transaction) }),
        };
        cursor.ok_or("is no cursor of a search")
    }
}

/// Some of what was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The newest first. There may be none, and more to come.
    pub found: Vec<T>,
    /// Where to go on; none if that was all.
    pub next: Option<Cursor>,
}

/// What came after a cursor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News<T> {
    /// The oldest first.
    pub found: Vec<T>,
    /// Where to go on: behind all that was looked at.
    pub next: Cursor,
    /// Whether there is more already.
    pub more: bool,
}
