//! What is looked for in the store, through a [`super::window::Window`].

use std::{collections::BTreeSet, time::Duration};

use hookweir_event::{
    Attempt, Digest, Event, EventId, OrderKey, Outcome, PluginName, StateEntry, StateKey, Timestamp,
};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{
    codec,
    deliver::{parsed, unreadable},
    exchanges, fresh,
    hold::Holds,
    memory,
    parcels::{self, Entry, Parcel, Part, Walk},
    schema,
    stand::{self, Stood},
};
use crate::{Blocked, Counts, DeliveryId, Shown, ShownAttempt, ShownDelivery, ShownEntry, Summary};

/// The most events in one answer: some milliseconds of reading. While a snapshot is read the log can't
/// start anew.
pub(super) const PAGE_MAX: usize = 1000;
/// A page ends behind the one with which it has so many bytes. All that is said of one event is on one page, and
/// is bounded by its plugins' limits: so many attempts, and of each so much that is logged.
pub(super) const PAGE_BYTES: usize = 4 << 20;

/// How many of each there are: one row, kept by the writer.
pub(crate) fn counts(connection: &Connection) -> rusqlite::Result<Counts> {
    let sql = "SELECT events, outputs, unrouted, due, leased, done, dead, duplicates, discarded
               FROM totals";
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
            discarded: count(row, 8)?,
        })
    })
}

/// Events in the order of their commits, behind `after`; none if that is unknown.
pub(crate) fn events(
    connection: &Connection,
    after: Option<EventId>,
    limit: usize,
) -> rusqlite::Result<Vec<Shown>> {
    let limit = limit.min(PAGE_MAX);
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
}

/// An event with its content.
pub(crate) fn event(connection: &Connection, id: EventId) -> rusqlite::Result<Option<Event>> {
    let Some((parcel, key)) = parcels::with_id(connection, id, Part::Whole)? else {
        return Ok(None);
    };
    let event = |entry: &Entry| parcel.event(entry, parcels::origin(connection, entry.origin)?);
    parcel.entry(key).map(event).transpose()
}

/// An event with its deliveries.
pub(crate) fn show(connection: &Connection, id: EventId) -> rusqlite::Result<Option<Shown>> {
    let found = parcels::with_id(connection, id, Part::Directory)?;
    let entry = found.as_ref().and_then(|(parcel, key)| Some((parcel, parcel.entry(*key)?)));
    let view = View::new(connection)?;
    entry.map(|(parcel, entry)| view.shown(parcel, entry)).transpose()
}

/// The dead letters that others wait behind, the oldest first.
pub(crate) fn blocked(
    connection: &Connection,
    plugin: Option<&PluginName>,
    limit: usize,
) -> rusqlite::Result<Vec<Blocked>> {
    let sql = "SELECT d.key, p.name, d.order_key, d.settled_at,
                   (SELECT count(*) FROM deliveries AS b WHERE b.plugin = d.plugin
                    AND b.order_key = d.order_key AND b.standing IS NOT NULL) - 1
               FROM deliveries AS d JOIN plugins AS p ON p.key = d.plugin
               WHERE d.standing = 2 AND (?1 IS NULL OR p.name = ?1)
               ORDER BY d.key LIMIT ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let with = params![plugin.map(PluginName::as_str), limit_of(limit)];
    let rows = statement.query_map(with, |row| {
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
}

/// An entry of a plugin's state, expired or not.
pub(crate) fn state(
    connection: &Connection,
    plugin: &PluginName,
    key: &str,
) -> rusqlite::Result<Option<StateEntry>> {
    let sql = "SELECT s.name, s.version, s.value, s.expires_at FROM state AS s
               WHERE s.plugin = (SELECT key FROM plugins WHERE name = ?1) AND s.name = ?2";
    let mut statement = connection.prepare_cached(sql)?;
    statement.query_row(params![plugin.as_str(), key], entry).optional()
}

/// Entries of a plugin's state under a prefix, behind `after`, in the order of their keys' bytes.
pub(crate) fn state_from(
    connection: &Connection,
    plugin: &PluginName,
    prefix: &str,
    after: Option<&str>,
    limit: usize,
) -> rusqlite::Result<Vec<StateEntry>> {
    let columns = "s.name, s.version, s.value, s.expires_at";
    state_rows(connection, columns, (plugin, prefix, after, limit), entry)
}

/// All entries of a plugin's state, unless they have more than `max` bytes.
pub(crate) fn whole_state(
    connection: &Connection,
    plugin: &PluginName,
    max: u64,
) -> rusqlite::Result<Option<Vec<StateEntry>>> {
    if state_bytes(connection, plugin)? > max {
        return Ok(None);
    }
    let sql = "SELECT s.name, s.version, s.value, s.expires_at FROM state AS s
               WHERE s.plugin = (SELECT key FROM plugins WHERE name = ?1) ORDER BY s.name";
    let mut statement = connection.prepare_cached(sql)?;
    statement.query_map([plugin.as_str()], entry)?.collect::<rusqlite::Result<_>>().map(Some)
}

/// Keys in the same way as entries, without their values.
pub(crate) fn state_keys(
    connection: &Connection,
    plugin: &PluginName,
    prefix: &str,
    after: Option<&str>,
    limit: usize,
) -> rusqlite::Result<Vec<StateKey>> {
    state_rows(connection, "s.name, s.expires_at", (plugin, prefix, after, limit), |row| {
        let expires_at = row.get::<_, Option<_>>(1)?.map(Timestamp::from_millis);
        Ok(StateKey { key: row.get(0)?, expires_at })
    })
}

/// The same with what listings show of them.
pub(crate) fn state_listed(
    connection: &Connection,
    plugin: &PluginName,
    prefix: &str,
    after: Option<&str>,
    limit: usize,
) -> rusqlite::Result<Vec<ShownEntry>> {
    let columns = "s.name, s.version, length(s.value), s.expires_at";
    state_rows(connection, columns, (plugin, prefix, after, limit), |row| {
        Ok(ShownEntry {
            key: row.get(0)?,
            version: count(row, 1)?,
            bytes: count(row, 2)?,
            expires_at: row.get::<_, Option<_>>(3)?.map(Timestamp::from_millis),
        })
    })
}

/// What a plugin's state takes.
pub(crate) fn state_bytes(connection: &Connection, plugin: &PluginName) -> rusqlite::Result<u64> {
    let sql = "SELECT state_bytes FROM plugins WHERE name = ?1";
    let mut statement = connection.prepare_cached(sql)?;
    let bytes = statement.query_row([plugin.as_str()], |row| count(row, 0)).optional()?;
    Ok(bytes.unwrap_or(0))
}

/// Of each row the key is the first column.
fn state_rows<T>(
    connection: &Connection,
    columns: &str,
    (plugin, prefix, after, limit): (&PluginName, &str, Option<&str>, usize),
    read: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    let (after, from) = match after {
        Some(after) if after >= prefix => (">", after),
        _ => (">=", prefix),
    };
    let sql = format!(
        "SELECT {columns} FROM state AS s
         WHERE s.plugin = (SELECT key FROM plugins WHERE name = ?1) AND s.name {after} ?2
         ORDER BY s.name LIMIT ?3"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params![plugin.as_str(), from, limit_of(limit)])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        if !row.get_ref(0)?.as_str()?.starts_with(prefix) {
            break;
        }
        found.push(read(row)?);
    }
    Ok(found)
}

fn limit_of(limit: usize) -> i64 {
    i64::try_from(limit.min(PAGE_MAX)).unwrap_or(0)
}

pub(super) fn count(row: &Row<'_>, at: usize) -> rusqlite::Result<u64> {
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

pub(super) fn delivery_id(event: EventId, key: i64) -> DeliveryId {
    DeliveryId { event, ordinal: u16::try_from(schema::ordinal(key)).unwrap_or(u16::MAX) }
}

/// Looks at events in one snapshot.
pub(super) struct View<'a> {
    connection: &'a Connection,
    /// The fresh deliveries that are leased.
    leased: BTreeSet<i64>,
    holds: Holds,
}

impl<'a> View<'a> {
    pub(super) fn new(connection: &'a Connection) -> rusqlite::Result<Self> {
        let (leased, holds) = (fresh::leased(connection)?, Holds::read(connection)?);
        Ok(Self { connection, leased, holds })
    }

    /// The fresh deliveries that are leased.
    pub(super) fn leased(&self) -> impl Iterator<Item = i64> {
        self.leased.iter().copied()
    }

    /// Whether a delivery is of the plugin, if one is named.
    pub(super) fn is_of(
        &self,
        stood: &Stood,
        plugin: Option<&PluginName>,
    ) -> rusqlite::Result<bool> {
        let Some(plugin) = plugin else { return Ok(true) };
        Ok(memory::plugin_name(self.connection, stood.plugin)? == *plugin)
    }

    /// Where the deliveries of an event stand.
    pub(super) fn stood(&self, entry: &Entry) -> rusqlite::Result<Vec<Stood>> {
        stand::all(self.connection, entry, (&self.leased, &self.holds))
    }

    /// An event with its deliveries.
    pub(super) fn shown(&self, parcel: &Parcel, entry: &Entry) -> rusqlite::Result<Shown> {
        let sql = "SELECT count, nullif(last_at, 0) FROM duplicates WHERE event = ?1";
        let mut statement = self.connection.prepare_cached(sql)?;
        let sent_again = statement
            .query_row([entry.key], |row| Ok((row.get(0)?, row.get::<_, Option<_>>(1)?)))
            .optional()?;
        let (duplicates, last_at) = sent_again.unwrap_or_default();
        let event = self.summary(entry)?;
        let stood = self.stood(entry)?.into_iter();
        let deliveries = stood.map(|stood| self.delivery(parcel, entry.id, stood));
        Ok(Shown {
            event,
            deliveries: deliveries.collect::<rusqlite::Result<_>>()?,
            duplicates,
            duplicated_at: last_at.map(Timestamp::from_millis),
        })
    }

    /// An event without its deliveries.
    pub(super) fn summary(&self, entry: &Entry) -> rusqlite::Result<Summary> {
        Ok(Summary {
            id: entry.id,
            origin: parcels::origin(self.connection, entry.origin)?,
            event_type: entry.event_type.clone(),
            received_at: entry.received_at,
            parent: entry.from.map(|[parent, _]| parent),
            root: entry.from.map(|[_, root]| root),
            hops: entry.hops,
            body_len: entry.place.body as u64,
        })
    }

    /// A delivery of an event that this parcel has.
    pub(super) fn delivery(
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
            discarded_at: stood.discarded_at,
            lost_leases: stood.lost_leases,
            attempts: attempts(self.connection, stood.key)?,
        })
    }
}

fn attempts(connection: &Connection, delivery: i64) -> rusqlite::Result<Vec<ShownAttempt>> {
    let sql =
        "SELECT a.key, a.started_at, a.outcome, a.message, v.name, a.wall_us, a.cpu_us, a.logs,
                   x.kept, x.left_out
               FROM attempts AS a LEFT JOIN versions AS v ON v.key = a.version
                   LEFT JOIN exchanges AS x ON x.key = a.key
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
        let started_at = Timestamp::from_millis(row.get(1)?);
        Ok(ShownAttempt { number, started_at, attempt, exchanges: exchanges::counts(row, 8)? })
    })?;
    rows.collect()
}
