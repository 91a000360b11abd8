//! How a store stands, for those who watch over it: plain numbers.

use hookweir_event::{EventId, PluginName, Timestamp};

use crate::Counts;

/// What a store holds, and how much room there is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Survey {
    /// Events and deliveries, all together.
    pub counts: Counts,
    /// Deliveries that are not done, by their plugins. One without any may be left out.
    pub depths: Vec<Depth>,
    /// The length of the database file; with PostgreSQL that of all tables and indexes, some seconds ago.
    pub database_bytes: u64,
    /// The length of its log; with PostgreSQL, 0.
    pub log_bytes: u64,
    /// What is left on the disk for this user; none if nobody can tell, as of a server's.
    pub disk_free_bytes: Option<u64>,
    /// Who else has what is acknowledged; none if it is in a file, or nobody can tell.
    pub standbys: Option<Standbys>,
}

/// Other servers that have what the database's server acknowledges, some seconds ago.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standbys {
    /// Whether the server acknowledges only what some of them have: `synchronous_standby_names` is set, and
    /// `synchronous_commit` does not say otherwise.
    pub wanted: bool,
    /// How many of those are connected.
    pub synchronous: u64,
}

/// Where the deliveries of a plugin stand that are not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Depth {
    /// Whose.
    pub plugin: PluginName,
    /// They wait for their time, or for an attempt.
    pub due: u64,
    /// They wait for earlier ones with their order key.
    pub behind: u64,
    /// They wait until their source is not held any more.
    pub held: u64,
    /// Of those that are due: how many were held until lately.
    pub let_go: u64,
    /// They are being attempted.
    pub leased: u64,
    /// They are dead letters.
    pub dead: u64,
    /// Of those that wait for their time or an attempt, the earliest time. It may be to come.
    pub due_at: Option<Timestamp>,
}

/// What was noticed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Which thing of all that are watched.
    pub name: String,
    /// Since when, as the event said that told of it.
    pub raised_at: Timestamp,
    /// When it was over, as its event said; none: it is not.
    pub cleared_at: Option<Timestamp>,
    /// The event that told of it last.
    pub event: EventId,
    /// Its body.
    pub body: Vec<u8>,
}
