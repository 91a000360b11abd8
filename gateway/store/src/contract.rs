//! What goes into the store's verbs and what comes out of them.
//!
//! A [`Receipt`] and a [`LeaseKey`] can be made by the store alone: holding one proves that the
//! commit behind it is on disk.

use std::{path::PathBuf, sync::Arc, time::Duration};

use crate::Room;
use hookweir_event::{
    Attempt, Clock, Digest, Event, EventId, Exchanges, Fate, OrderKey, PluginName, StateChange,
    Timestamp,
};

/// How to open a store.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where it is, and so which engine keeps it.
    pub location: Location,
    /// Decides what is due and which claims have expired.
    pub clock: Clock,
    /// The boot id: leases of any other owner are free when the store opens.
    pub owner: [u8; 16],
    /// How many operations may wait for the writer. Appends beyond it are refused as
    /// [`Overloaded`](crate::StoreError::Overloaded); the other verbs wait for their turn.
    pub queue: usize,
    /// What is kept of events that are over.
    pub retention: Retention,
}

impl Options {
    /// A store there, with a queue of 4096: about 0.1 s of appends at full speed.
    pub fn new(location: impl Into<Location>, owner: [u8; 16], clock: Clock) -> Self {
        let retention = Retention::default();
        Self { location: location.into(), clock, owner, queue: 4096, retention }
    }
}

/// Where a store is.
#[derive(Debug, Clone)]
pub enum Location {
    /// In a file of SQLite's, for one gateway.
    Sqlite(SqliteFile),
    /// In a database of PostgreSQL's, for many.
    Postgres(PostgresDatabase),
}

/// A file of SQLite's.
#[derive(Debug, Clone)]
pub struct SqliteFile {
    /// The database. Its folder is made if it is missing.
    pub path: PathBuf,
    /// The SQLite VFS to use in place of the platform's own. For tests that make the disk fail.
    pub vfs: Option<String>,
    /// What has to be left on the disk for events to be taken; settling goes on.
    pub room: Room,
}

impl SqliteFile {
    /// A file on the platform's own file system, which may fill its disk to the last byte.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), vfs: None, room: Room::least(0) }
    }
}

/// A database of PostgreSQL's, 14 or later.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresDatabase {
    /// Where it is, as `postgres://user:password@host:port/database?sslmode=…`. Several hosts may be named, of which
    /// the first is used that takes writes.
    pub url: String,
    /// The schema that the tables are in; made if it is missing.
    pub schema: String,
    /// Whom the server's certificate has to come from, beside those that the system trusts: a file of certificates.
    pub ca: Option<PathBuf>,
    /// How many commits may be under way at once, each on a connection of its own.
    pub in_flight: usize,
    /// Whose time it is: the database's, or for tests that of [`Options::clock`].
    pub time: Time,
    /// Whether what is over goes by whole days, whose partitions are dropped: it is kept up to a day and two hours longer
    /// than [`Retention`] says, and what is kept for more than two weeks up to a seventh longer. Not if done events
    /// are kept for less than a day, or longer than dead letters.
    pub days: bool,
    /// Whether commits may be acknowledged that a crash of the server loses (`synchronous_commit = off`).
    pub may_lose: bool,
}

impl PostgresDatabase {
    /// The database there, in the schema `hookweir`, with four commits under way, by the database's time.
    pub fn new(url: impl Into<String>) -> Self {
        let (url, schema) = (url.into(), "hookweir".to_owned());
        let time = Time::Server;
        Self { url, schema, ca: None, in_flight: 4, time, days: true, may_lose: false }
    }
}

impl std::fmt::Debug for PostgresDatabase {
    /// Without the URL, which may have a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresDatabase").field("schema", &self.schema).finish_non_exhaustive()
    }
}

/// Whose time decides what is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Time {
    /// The database server's: what the clocks of gateways say does not matter.
    Server,
    /// That of the clock the store is opened with. For tests, in which time has to pass when told.
    Given,
}

impl From<PostgresDatabase> for Location {
    fn from(database: PostgresDatabase) -> Self {
        Self::Postgres(database)
    }
}

impl From<SqliteFile> for Location {
    fn from(file: SqliteFile) -> Self {
        Self::Sqlite(file)
    }
}

/// How long events are kept when all their deliveries are over. One that is due, or dead and blocks its
/// order key, is kept however long that takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Those that are done, or that nobody wanted. The size is that of all events but those of dead
    /// letters: when they take more, the oldest that are done go first.
    pub done: Keep,
    /// Those with a dead letter.
    pub dead: Keep,
}

/// How long, and how much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// From the settlement on.
    pub age: Duration,
    /// Bytes of bodies, headers and what else was received, and of what attempts sent, where that is kept.
    pub bytes: u64,
}

impl Default for Retention {
    /// A week of what is done, a month of what is dead, of any size.
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 3600);
        let keep = |age| Keep { age, bytes: u64::MAX };
        Self { done: keep(7 * DAY), dead: keep(30 * DAY) }
    }
}

/// An event to keep, with the fan-out that was fixed for it.
#[derive(Debug, Clone)]
pub struct NewEvent {
    /// A verified webhook, or an event that the gateway made. Its hops are kept as they are.
    pub event: Event,
    /// The dedupe keys it claims. It is a duplicate if any of them is held.
    pub claims: Vec<Digest>,
    /// How long the claims hold.
    pub dedupe_window: Duration,
    /// The deliveries it is owed, 1023 at most; none: the event is unrouted, and kept all the same.
    pub routes: Vec<Route>,
}

/// A delivery that an event is owed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Who is to handle it.
    pub plugin: PluginName,
    /// If the plugin's deliveries are ordered, and the event has a key: it waits until those of the same
    /// plugin and key that were committed before it are done, rejected or skipped.
    pub order_key: Option<OrderKey>,
}

impl Route {
    /// A delivery that waits for no other.
    pub fn to(plugin: PluginName) -> Self {
        Self { plugin, order_key: None }
    }
}

/// Names a delivery for operators: the event, and which of its deliveries, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeliveryId {
    /// The event.
    pub event: EventId,
    /// Which of its deliveries.
    pub ordinal: u16,
}

impl std::fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.event, self.ordinal)
    }
}

impl std::str::FromStr for DeliveryId {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.split_once('/').and_then(|(event, ordinal)| {
            Some(Self { event: event.parse().ok()?, ordinal: ordinal.parse().ok()? })
        });
        parts.ok_or("expected an event's id and the delivery's number, such as 0190…/0")
    }
}

/// An event to be delivered once more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replay {
    /// The event, as it was received.
    pub event: EventId,
    /// The deliveries it is owed now, beside those that it had.
    pub routes: Vec<Route>,
}

/// Something that the gateway watches has gone wrong, or is well again; with the event that tells of it.
#[derive(Debug, Clone)]
pub struct NewNotice {
    /// Which thing of all that are watched. What is raised is raised once, until it is cleared.
    pub name: String,
    /// Whether it has gone wrong.
    pub raised: bool,
    /// What is kept and delivered, if it is news.
    pub event: Event,
    /// The deliveries that the event is owed.
    pub routes: Vec<Route>,
}

/// What an operator does to a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mend {
    /// It is due now, with all its attempts before it again.
    Retry,
    /// It stays dead, and later ones with its order key go on.
    Skip,
    /// It stays dead, is out of the way, and is counted and listed apart. A retry brings it back.
    Discard,
}

/// Proof that an event is on disk. A 2xx is made from one, and from nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Receipt {
    id: EventId,
    duplicate: bool,
}

impl Receipt {
    pub(crate) fn new(id: EventId, duplicate: bool) -> Self {
        Self { id, duplicate }
    }

    /// The id of the event that is on disk: for a duplicate, that of the first one.
    pub fn id(&self) -> EventId {
        self.id
    }

    /// Whether one of the claims was held already, so that nothing new was kept.
    pub fn is_duplicate(&self) -> bool {
        self.duplicate
    }
}

/// How many deliveries of one plugin are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Want {
    /// Whose.
    pub plugin: PluginName,
    /// At most so many.
    pub max: usize,
}

/// Names one lease of one delivery. A later lease of the same delivery has another key, so a
/// settlement that comes too late finds nothing to settle.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LeaseKey {
    /// The delivery's row; with PostgreSQL, which of its event's deliveries it is.
    pub(crate) delivery: i64,
    /// The event, and the first one that led to it: for a webhook, the same.
    pub(crate) ids: [EventId; 2],
    /// The event's hops.
    pub(crate) hops: u8,
    /// Who leased it.
    pub(crate) boot: i64,
    /// Which lease of the delivery this is; given back or lost ones count.
    pub(crate) turn: i64,
    /// Which attempt of the delivery this is.
    pub(crate) attempt: u32,
    /// When it was leased.
    pub(crate) leased_at: Timestamp,
    /// Whether others wait for it.
    pub(crate) ordered: bool,
}

impl std::fmt::Display for LeaseKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.delivery, self.turn)
    }
}

/// A delivery that is ours to attempt. It stays so until it is settled or given back, or until this
/// process ends; it never expires by the clock.
#[derive(Debug, Clone)]
pub struct Lease {
    /// For the settlement.
    pub key: LeaseKey,
    /// Who is to handle it.
    pub plugin: PluginName,
    /// What is to be handled.
    pub event: Arc<Event>,
    /// Which attempt this is, counted from 1. Lost leases count as attempts, given back ones do not.
    pub attempt: u32,
    /// How often a process died while it held this delivery.
    pub lost_leases: u32,
    /// How many attempts there were when an operator had it retried.
    pub excused: u32,
    /// The key it is ordered by.
    pub order_key: Option<OrderKey>,
    /// When an operator had the event replayed, if that made this delivery.
    pub replayed_at: Option<Timestamp>,
    /// When the event was committed, by the store's time.
    pub committed_at: Timestamp,
    /// How long it was due before it was leased.
    pub waited: Duration,
}

impl Lease {
    /// How long ago its event was committed, or replayed, when it was leased. By the store's time: a gateway's may be another.
    pub fn age(&self) -> Duration {
        self.key.leased_at.since(self.replayed_at.unwrap_or(self.committed_at))
    }
}

/// The answer to [`lease`](crate::Store::lease).
#[derive(Debug, Clone, Default)]
pub struct Leased {
    /// The deliveries that are due, the longest due first within each plugin.
    pub leases: Vec<Lease>,
    /// When the soonest delivery of the wanted plugins that is not due yet becomes due. What is due
    /// already but was beyond a `max` is not meant: ask again when there is room.
    pub next_due: Option<Duration>,
}

/// What came of a lease.
#[derive(Debug, Clone)]
pub struct Settlement {
    /// The lease.
    pub key: LeaseKey,
    /// The attempt's record, kept with the delivery.
    pub attempt: Attempt,
    /// What is to happen next.
    pub fate: Fate,
    /// What the plugin made. Committed with the settlement or not at all.
    pub outputs: Vec<Output>,
    /// What the plugin read and changed of its state. Committed with the settlement or not at all.
    pub state: Vec<StateChange>,
    /// What it sent and was answered, if that is to be kept with the attempt. Committed with the settlement or
    /// not at all.
    pub exchanges: Option<Exchanges>,
}

/// An event that a plugin made, with the fan-out that was fixed for it. The store sets its parent,
/// its root and its hops (the parent's plus one); beyond the hop limit it is kept, but each of its
/// deliveries is dead.
#[derive(Debug, Clone)]
pub struct Output {
    /// The event; its `hops` are overwritten.
    pub event: Event,
    /// The deliveries it is owed.
    pub routes: Vec<Route>,
}

/// The answer to [`settle`](crate::Store::settle).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Settled {
    /// The attempt, its fate, its outputs and its changes of state are on disk.
    Committed,
    /// The state is not what the attempt relied on: nothing of it was kept. The delivery is due as it was,
    /// in front of those that came later, and the attempt is not counted.
    Conflict,
    /// The lease is no longer held: nothing was changed, and no output was kept.
    LeaseLost,
}

/// The answer to [`write_state`](crate::Store::write_state).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Written {
    /// All of it is on disk.
    Committed,
    /// The state is not what the changes rely on: nothing of them was kept.
    Conflict,
}

/// Whether the store takes work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// It does.
    Ready,
    /// The last commit failed, say for want of space. It tries again by itself.
    Refusing(String),
    /// What is on disk is in doubt: no operation will succeed until the process is restarted.
    Poisoned(String),
}
