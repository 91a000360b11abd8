//! Looks at a store without being in its writer's way: a connection of its own, read-only, short
//! snapshots. Works from another process too, while the gateway runs.
//!
//! The verbs block for the length of one query; an async caller puts them on a blocking thread.

use std::{
    collections::BTreeSet,
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
        anchor::Anchor,
        codec,
        deliver::{parsed, unreadable},
        fresh, memory,
        parcels::{self, Entry, Parcel, Part, Walk},
        schema,
        stand::{self, Stood},
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
    _anchor: Anchor,
}

impl Reader {
    /// A reader of the store in this file, which may be another process's.
    ///
    /// # Errors
    /// If there is no store, or one of a later version.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, ReadError> {
        let reader = Self::new(path.into(), None, Anchor::default());
        reader.with(|_| Ok(()))?;
        Ok(reader)
    }

    pub(crate) fn new(path: PathBuf, vfs: Option<String>, anchor: Anchor) -> Self {
        Self { path, vfs, connection: Arc::default(), _anchor: anchor }
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
        let limit = limit.min(PAGE_MAX);
        self.with(|connection| {
            let after = match after {
                None => Some(0),
                Some(id) => parcels::key_of(connection, id)?,
            };
            let Some(after) = after else {
                return Ok(Vec::new());
            };
            let (view, mut found) = (View::new(connection)?, Vec::new());
            parcels::walk(connection, after + 1, Part::Directory, |parcel| {
                let wanted = parcel.entries.iter().filter(|entry| entry.key > after);
                for entry in wanted.take(limit - found.len()) {
                    found.push(view.shown(&parcel, entry)?);
                }
                Ok(if found.len() < limit { Walk::On } else { Walk::Enough })
            })?;
            Ok(found)
        })
    }

    /// One event with its content.
    ///
    /// # Errors
    /// If the database can't be read.
    pub fn event(&self, id: EventId) -> Result<Option<Event>, ReadError> {
        self.with(|connection| {
            let Some((parcel, key)) = parcels::with_id(connection, id, Part::Whole)? else {
                return Ok(None);
            };
            let entry = parcel.entry(key);
            let event =
                |entry: &Entry| parcel.event(entry, parcels::origin(connection, entry.origin)?);
            entry.map(event).transpose()
        })
    }

    /// One event with its deliveries, without its content.
    ///
    /// # Errors
    /// If the database can't be read.
    pub fn show(&self, id: EventId) -> Result<Option<Shown>, ReadError> {
        self.with(|connection| {
            let found = parcels::with_id(connection, id, Part::Directory)?;
            let entry =
                found.as_ref().and_then(|(parcel, key)| Some((parcel, parcel.entry(*key)?)));
            let view = View::new(connection)?;
            entry.map(|(parcel, entry)| view.shown(parcel, entry)).transpose()
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
        let sql = "SELECT d.key, p.name, d.order_key, d.settled_at,
                       (SELECT count(*) FROM deliveries AS b WHERE b.plugin = d.plugin
                        AND b.order_key = d.order_key AND b.standing IS NOT NULL) - 1
                   FROM deliveries AS d JOIN plugins AS p ON p.key = d.plugin
                   WHERE d.standing = 2 AND (?1 IS NULL OR p.name = ?1)
                   ORDER BY d.key LIMIT ?2";
        self.with(|connection| {
            let mut statement = connection.prepare_cached(sql)?;
            let rows =
                statement.query_map(params![plugin.map(PluginName::as_str), limit], |row| {
                    let key = row.get(0)?;
                    let event = schema::parent_key(key);
                    let parcel = parcels::holding(connection, event, Part::Directory)?;
                    let entry = parcel.as_ref().and_then(|parcel| parcel.entry(event));
                    Ok(Blocked {
                        by: delivery_id(entry.ok_or_else(|| unreadable(0))?.id, key),
                        plugin: parsed(row, 1)?,
                        order_key: OrderKey::new(row.get_ref(2)?.as_str()?),
                        since: Timestamp::from_millis(row.get(3)?),
                        waiting: count(row, 4)?,
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
        if found < known {
            return Err(ReadError::OlderSchema { found, known });
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

/// Looks at events in one snapshot.
pub(crate) struct View<'a> {
    connection: &'a Connection,
    /// The fresh deliveries that are leased.
    leased: BTreeSet<i64>,
}

impl<'a> View<'a> {
    pub(crate) fn new(connection: &'a Connection) -> rusqlite::Result<Self> {
        Ok(Self { connection, leased: fresh::leased(connection)? })
    }

    /// The fresh deliveries that are leased.
    pub(crate) fn leased(&self) -> impl Iterator<Item = i64> {
        self.leased.iter().copied()
    }

    /// Whether a delivery is of the plugin, if one is named.
    pub(crate) fn is_of(
        &self,
        stood: &Stood,
        plugin: Option<&PluginName>,
    ) -> rusqlite::Result<bool> {
        let Some(plugin) = plugin else { return Ok(true) };
        Ok(memory::plugin_name(self.connection, stood.plugin)? == *plugin)
    }

    /// Where the deliveries of an event stand.
    pub(crate) fn stood(&self, entry: &Entry) -> rusqlite::Result<Vec<Stood>> {
        stand::all(self.connection, entry, &self.leased)
    }

    /// An event with its deliveries.
    pub(crate) fn shown(&self, parcel: &Parcel, entry: &Entry) -> rusqlite::Result<Shown> {
        let sql = "SELECT count, nullif(last_at, 0) FROM duplicates WHERE event = ?1";
        let mut statement = self.connection.prepare_cached(sql)?;
        let sent_again = statement
            .query_row([entry.key], |row| Ok((row.get(0)?, row.get::<_, Option<_>>(1)?)))
            .optional()?;
        let (duplicates, last_at) = sent_again.unwrap_or_default();
        let event = Summary {
            id: entry.id,
            origin: parcels::origin(self.connection, entry.origin)?,
            event_type: entry.event_type.clone(),
            received_at: entry.received_at,
            parent: entry.from.map(|[parent, _]| parent),
            root: entry.from.map(|[_, root]| root),
            hops: entry.hops,
            body_len: entry.place.body as u64,
        };
        let stood = self.stood(entry)?.into_iter();
        let deliveries = stood.map(|stood| self.delivery(parcel, entry.id, stood));
        Ok(Shown {
            event,
            deliveries: deliveries.collect::<rusqlite::Result<_>>()?,
            duplicates,
            duplicated_at: last_at.map(Timestamp::from_millis),
        })
    }

    fn delivery(
        &self,
        parcel: &Parcel,
        id: EventId,
        stood: Stood,
    ) -> rusqlite::Result<ShownDelivery> {
        Ok(ShownDelivery {
            id: delivery_id(id, stood.key),
            plugin: memory::plugin_name(self.connection, stood.plugin)?,
            state: stood.state,
            order_key: stood.order_key,
            blocks: stood.blocks,
            due_at: stood.due_at.unwrap_or(parcel.committed_at),
            replayed_at: stood.replayed_at,
            settled_at: stood.settled_at,
            lost_leases: stood.lost_leases,
            attempts: attempts(self.connection, stood.key)?,
        })
    }
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
