//! Looks at a store without being in its writer's way: a connection of its own, read-only, short
//! snapshots. Works from another process too, while the gateway runs.
//!
//! The verbs block for the length of one query; an async caller puts them on a blocking thread.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use hookweir_event::{
    Attempt, Digest, Event, EventId, EventType, Hops, OrderKey, Origin, Outcome, PluginName,
    Timestamp,
};
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, params};

use crate::{
    DeliveryId, ReadError, StateEntry,
    sqlite::{
        codec,
        deliver::{EVENT_COLUMNS, event, parsed, unreadable},
        order::Standing,
        schema,
    },
};

/// The most events in one answer: some milliseconds of reading. While a snapshot is read the log can't
/// start anew.
pub(crate) const PAGE_MAX: usize = 1000;

/// How many of each there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Events of any origin, outputs included.
    pub events: u64,
    /// Events that plugins made.
    pub outputs: u64,
    /// Events that no plugin wanted.
    pub unrouted: u64,
    /// Deliveries that wait, for an attempt or for an earlier one of their order key.
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
    /// It waits for earlier ones with its order key.
    Behind,
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
            Self::Behind => "behind",
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
    /// When it was last.
    pub duplicated_at: Option<Timestamp>,
}

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

/// Reads a store. Cheap to clone; clones share one connection, one query at a time.
#[derive(Debug, Clone)]
pub struct Reader {
    path: PathBuf,
    vfs: Option<String>,
    /// Opened by the first query.
    connection: Arc<Mutex<Option<Connection>>>,
}

impl Reader {
    /// A reader of the store in this file, which may be another process's.
    ///
    /// # Errors
    /// If there is no store, or one of a later version.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, ReadError> {
        let reader = Self::new(path.into(), None);
        reader.with(|_| Ok(()))?;
        Ok(reader)
    }

    pub(crate) fn new(path: PathBuf, vfs: Option<String>) -> Self {
        Self { path, vfs, connection: Arc::default() }
    }

    /// How many of each there are: one row, kept by the writer.
    ///
    /// # Errors
    /// If the database can't be read.
    pub fn counts(&self) -> Result<Counts, ReadError> {
        let sql =
            "SELECT events, outputs, unrouted, due, leased, done, dead, duplicates FROM totals";
        self.with(|connection| {
            connection.prepare_cached(sql)?.query_row([], |row| {
                Ok(Counts {
                    events: count(row, 0)?,
                    outputs: count(row, 1)?,
                    unrouted: count(row, 2)?,
                    due: count(row, 3)?,
                    leased: count(row, 4)?,
                    done: count(row, 5)?,
                    dead: count(row, 6)?,
                    duplicates: count(row, 7)?,
                })
            })
        })
    }

    /// Up to `limit` events, 1000 at most, in the order they were committed, the first one after
    /// `after`. If `after` is unknown there are none.
    ///
    /// # Errors
    /// If the database can't be read.
    pub fn events(&self, after: Option<EventId>, limit: usize) -> Result<Vec<Shown>, ReadError> {
        let limit = i64::try_from(limit.min(PAGE_MAX)).unwrap_or(0);
        self.with(|connection| {
            let after = match after {
                None => Some(0),
                Some(id) => key_of(connection, id)?,
            };
            let Some(after) = after else {
                return Ok(Vec::new());
            };
            shown(connection, "e.key > ?1 ORDER BY e.key LIMIT ?2", [after, limit])
        })
    }

    /// One event with its content.
    ///
    /// # Errors
    /// If the database can't be read.
    pub fn event(&self, id: EventId) -> Result<Option<Event>, ReadError> {
        let sql = format!(
            "SELECT {EVENT_COLUMNS} FROM events AS e JOIN origins AS o ON o.key = e.origin
             WHERE e.id = ?1"
        );
        self.with(|connection| {
            let mut statement = connection.prepare_cached(&sql)?;
            statement.query_row([id.as_bytes()], |row| event(row, 0)).optional()
        })
    }

    /// One event with its deliveries, without its content.
    ///
    /// # Errors
    /// If the database can't be read.
    pub fn show(&self, id: EventId) -> Result<Option<Shown>, ReadError> {
        self.with(|connection| match key_of(connection, id)? {
            None => Ok(None),
            Some(key) => Ok(shown(connection, "e.key = ?1 LIMIT ?2", [key, 1])?.pop()),
        })
    }

    /// The dead letters that later deliveries of their order key wait behind, those of the plugin or of
    /// all: up to `limit`, 1000 at most, the oldest first. Each with how many wait.
    ///
    /// # Errors
    /// If the database can't be read.
    pub fn blocked(
        &self,
        plugin: Option<&PluginName>,
        limit: usize,
    ) -> Result<Vec<Blocked>, ReadError> {
        let limit = i64::try_from(limit.min(PAGE_MAX)).unwrap_or(0);
        let sql = "SELECT e.id, d.key, p.name, d.order_key, d.settled_at,
                       (SELECT count(*) FROM deliveries AS b WHERE b.plugin = d.plugin
                        AND b.order_key = d.order_key AND b.standing IS NOT NULL) - 1
                   FROM deliveries AS d JOIN plugins AS p ON p.key = d.plugin
                   JOIN events AS e ON e.key = d.key >> 10
                   WHERE d.standing = 2 AND (?1 IS NULL OR p.name = ?1)
                   ORDER BY d.key LIMIT ?2";
        self.with(|connection| {
            let mut statement = connection.prepare_cached(sql)?;
            let rows =
                statement.query_map(params![plugin.map(PluginName::as_str), limit], |row| {
                    let event = EventId::from_bytes(row.get(0)?);
                    Ok(Blocked {
                        by: delivery_id(event, row.get(1)?),
                        plugin: parsed(row, 2)?,
                        order_key: OrderKey::new(row.get_ref(3)?.as_str()?),
                        since: Timestamp::from_millis(row.get(4)?),
                        waiting: count(row, 5)?,
                    })
                })?;
            rows.collect()
        })
    }

    /// An entry of a plugin's state, expired or not.
    ///
    /// # Errors
    /// If the database can't be read.
    pub fn state(&self, plugin: &PluginName, key: &str) -> Result<Option<StateEntry>, ReadError> {
        let sql = "SELECT s.name, s.version, s.value, s.expires_at FROM state AS s
                   WHERE s.plugin = (SELECT key FROM plugins WHERE name = ?1) AND s.name = ?2";
        self.with(|connection| {
            let mut statement = connection.prepare_cached(sql)?;
            statement.query_row(params![plugin.as_str(), key], entry).optional()
        })
    }

    /// The entries of a plugin's state whose keys begin with `prefix` and come after `after`, in the
    /// order of their keys' bytes: up to `limit`, 1000 at most, expired or not.
    ///
    /// # Errors
    /// If the database can't be read.
    pub fn state_from(
        &self,
        plugin: &PluginName,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<StateEntry>, ReadError> {
        let limit = i64::try_from(limit.min(PAGE_MAX)).unwrap_or(0);
        let (after, from) = match after {
            Some(after) if after >= prefix => (">", after),
            _ => (">=", prefix),
        };
        let sql = format!(
            "SELECT s.name, s.version, s.value, s.expires_at FROM state AS s
             WHERE s.plugin = (SELECT key FROM plugins WHERE name = ?1) AND s.name {after} ?2
             ORDER BY s.name LIMIT ?3"
        );
        self.with(|connection| {
            let mut statement = connection.prepare_cached(&sql)?;
            let rows = statement.query_map(params![plugin.as_str(), from, limit], entry)?;
            let ours = |entry: &rusqlite::Result<StateEntry>| {
                entry.as_ref().map_or(true, |entry| entry.key.starts_with(prefix))
            };
            rows.take_while(ours).collect()
        })
    }

    /// Runs a query on the connection, in one snapshot.
    pub(crate) fn with<T>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, ReadError> {
        let mut slot = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let connection = match &mut *slot {
            Some(connection) => connection,
            empty => empty.insert(self.connect()?),
        };
        let snapshot = connection.transaction()?;
        let answer = query(&snapshot)?;
        snapshot.commit()?;
        Ok(answer)
    }

    fn connect(&self) -> Result<Connection, ReadError> {
        if !self.path.exists() {
            return Err(ReadError::Missing(self.path.clone()));
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = match &self.vfs {
            None => Connection::open_with_flags(&self.path, flags)?,
            Some(vfs) => Connection::open_with_flags_and_vfs(&self.path, flags, vfs.as_str())?,
        };
        connection.busy_timeout(Duration::from_secs(2))?;
        let pragma = |name: &str| connection.pragma_query_value(None, name, |row| row.get(0));
        if pragma("application_id")? != schema::APPLICATION_ID {
            return Err(ReadError::Missing(self.path.clone()));
        }
        let (found, known) = (pragma("user_version")?, schema::NEWEST);
        if found > known {
            return Err(ReadError::NewerSchema { found, known });
        }
        Ok(connection)
    }
}

fn count(row: &Row<'_>, at: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(at).map(|count| u64::try_from(count).unwrap_or(0))
}

fn entry(row: &Row<'_>) -> rusqlite::Result<StateEntry> {
    Ok(StateEntry {
        key: row.get(0)?,
        version: count(row, 1)?,
        value: row.get(2)?,
        expires_at: row.get::<_, Option<_>>(3)?.map(Timestamp::from_millis),
    })
}

fn delivery_id(event: EventId, key: i64) -> DeliveryId {
    DeliveryId { event, ordinal: u16::try_from(schema::ordinal(key)).unwrap_or(u16::MAX) }
}

fn key_of(connection: &Connection, id: EventId) -> rusqlite::Result<Option<i64>> {
    let mut statement = connection.prepare_cached("SELECT key FROM events WHERE id = ?1")?;
    statement.query_row([id.as_bytes()], |row| row.get(0)).optional()
}

/// The events that `which` selects, with their deliveries.
pub(crate) fn shown(
    connection: &Connection,
    which: &str,
    with: [i64; 2],
) -> rusqlite::Result<Vec<Shown>> {
    let sql = format!(
        "SELECT e.key, e.id, o.name, e.type, e.received_at, e.parent_id, e.root_id, e.hops,
             length(e.body), d.count, nullif(d.last_at, 0)
         FROM events AS e JOIN origins AS o ON o.key = e.origin
         LEFT JOIN duplicates AS d ON d.event = e.key WHERE {which}"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(with, |row| {
        let event = Summary {
            id: EventId::from_bytes(row.get(1)?),
            origin: parsed(row, 2)?,
            event_type: parsed(row, 3)?,
            received_at: Timestamp::from_millis(row.get(4)?),
            parent: row.get::<_, Option<_>>(5)?.map(EventId::from_bytes),
            root: row.get::<_, Option<_>>(6)?.map(EventId::from_bytes),
            hops: Hops(row.get(7)?),
            body_len: count(row, 8)?,
        };
        let duplicates = row.get::<_, Option<u32>>(9)?.unwrap_or(0);
        let deliveries = deliveries(connection, event.id, row.get(0)?)?;
        let duplicated_at = row.get::<_, Option<_>>(10)?.map(Timestamp::from_millis);
        Ok(Shown { event, deliveries, duplicates, duplicated_at })
    })?;
    rows.collect()
}

fn deliveries(
    connection: &Connection,
    id: EventId,
    event: i64,
) -> rusqlite::Result<Vec<ShownDelivery>> {
    let sql = "SELECT d.key, p.name, d.due_at, d.boot, d.lost_leases, d.settled_at, d.dead,
                   d.order_key, d.standing, d.replayed_at
               FROM deliveries AS d JOIN plugins AS p ON p.key = d.plugin
               WHERE d.key BETWEEN ?1 AND ?2 ORDER BY d.key";
    let mut statement = connection.prepare_cached(sql)?;
    let (first, last) = schema::child_keys(event);
    let rows = statement.query_map([first, last], |row| {
        let settled_at = row.get::<_, Option<_>>(5)?.map(Timestamp::from_millis);
        let standing: Option<i64> = row.get(8)?;
        Ok(ShownDelivery {
            id: delivery_id(id, row.get(0)?),
            plugin: parsed(row, 1)?,
            state: delivery_state(row, [5, 3, 6, 8])?,
            order_key: row.get_ref(7)?.as_str_or_null()?.map(OrderKey::new),
            blocks: standing == Some(Standing::Blocks as i64),
            due_at: Timestamp::from_millis(row.get(2)?),
            replayed_at: row.get::<_, Option<_>>(9)?.map(Timestamp::from_millis),
            settled_at,
            lost_leases: row.get(4)?,
            attempts: attempts(connection, row.get(0)?)?,
        })
    })?;
    rows.collect()
}

/// Where a delivery stands, from its columns `settled_at`, `boot`, `dead` and `standing`.
pub(crate) fn delivery_state(
    row: &Row<'_>,
    [settled_at, boot, dead, standing]: [usize; 4],
) -> rusqlite::Result<DeliveryState> {
    let settled = row.get::<_, Option<i64>>(settled_at)?.is_some();
    let leased = row.get::<_, Option<i64>>(boot)?.is_some();
    let behind = row.get::<_, Option<i64>>(standing)? == Some(Standing::Behind as i64);
    Ok(match (settled, leased) {
        (true, _) if row.get(dead)? => DeliveryState::Dead,
        (true, _) => DeliveryState::Done,
        (false, true) => DeliveryState::Leased,
        (false, false) if behind => DeliveryState::Behind,
        (false, false) => DeliveryState::Due,
    })
}

fn attempts(connection: &Connection, delivery: i64) -> rusqlite::Result<Vec<ShownAttempt>> {
    let sql =
        "SELECT a.key, a.started_at, a.outcome, a.message, v.name, a.wall_us, a.cpu_us, a.logs
               FROM attempts AS a LEFT JOIN versions AS v ON v.key = a.version
               WHERE a.key BETWEEN ?1 AND ?2 ORDER BY a.key";
    let mut statement = connection.prepare_cached(sql)?;
    let (first, last) = schema::child_keys(delivery);
    let rows = statement.query_map([first, last], |row| {
        let number = u32::try_from(row.get::<_, i64>(0)? - first).unwrap_or(0);
        let logs = match row.get_ref(7)?.as_blob_or_null()? {
            None => Vec::new(),
            Some(blob) => codec::read_logs(blob).ok_or_else(|| unreadable(7))?,
        };
        let outcome = Outcome::from_word(row.get_ref(2)?.as_str()?).ok_or_else(|| unreadable(2))?;
        let attempt = Attempt {
            outcome,
            message: row.get(3)?,
            version: row.get::<_, Option<_>>(4)?.map(Digest::from_bytes),
            wall: Duration::from_micros(count(row, 5)?),
            cpu: Duration::from_micros(count(row, 6)?),
            logs,
        };
        Ok(ShownAttempt { number, started_at: Timestamp::from_millis(row.get(1)?), attempt })
    })?;
    rows.collect()
}
