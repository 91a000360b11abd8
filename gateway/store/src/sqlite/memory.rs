//! What the writer remembers so as not to ask the database: totals, the keys of names, and where each
//! plugin's due deliveries begin. All of it can be read again, and is after a rollback.

use std::{
    borrow::Borrow,
    collections::HashMap,
    hash::Hash,
    ops::{Deref, DerefMut},
};

use hookweir_event::{Digest, Origin, PluginName, Timestamp};
use rusqlite::{Connection, OptionalExtension, ToSql, params};

use super::{deliver::parsed, depths::Depths, fresh::Fresh, hold::Holds, parcels};
use crate::totals;

/// The one row of `totals`. Kept by the writer: each commit that changes them writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Totals {
    pub(super) next_event: i64,
    /// The next version of an entry of a plugin's state.
    pub(super) next_version: i64,
    /// The store's time at the last commit, in milliseconds.
    pub(super) clock: i64,
    counted: totals::Totals,
}

impl Deref for Totals {
    type Target = totals::Totals;

    fn deref(&self) -> &totals::Totals {
        &self.counted
    }
}

impl DerefMut for Totals {
    fn deref_mut(&mut self) -> &mut totals::Totals {
        &mut self.counted
    }
}

impl Totals {
    pub(super) fn read(connection: &Connection) -> rusqlite::Result<Self> {
        let sql =
            "SELECT next_event, events, outputs, unrouted, due, leased, done, dead, duplicates,
                    next_version, clock, bytes, dead_bytes, discarded FROM totals";
        connection.prepare_cached(sql)?.query_row([], |row| {
            let counted = totals::Totals {
                events: row.get(1)?,
                outputs: row.get(2)?,
                unrouted: row.get(3)?,
                due: row.get(4)?,
                leased: row.get(5)?,
                done: row.get(6)?,
                dead: row.get(7)?,
                duplicates: row.get(8)?,
                bytes: row.get(11)?,
                dead_bytes: row.get(12)?,
                discarded: row.get(13)?,
            };
            let (next_event, next_version, clock) = (row.get(0)?, row.get(9)?, row.get(10)?);
            Ok(Self { next_event, next_version, clock, counted })
        })
    }

    /// Writes the row; what is kept of fresh deliveries, and of all by their plugins, is in it.
    pub(super) fn write(
        &self,
        connection: &Connection,
        fresh: &Fresh,
        depths: &Depths,
    ) -> rusqlite::Result<()> {
        let sql = "UPDATE totals SET next_event = ?1, events = ?2, outputs = ?3, unrouted = ?4,
                   due = ?5, leased = ?6, done = ?7, dead = ?8, duplicates = ?9,
                   next_version = ?10, clock = ?11, bytes = ?12, dead_bytes = ?13,
                   fronts = ?14, leases = ?15, discarded = ?16, depths = ?17";
        connection.prepare_cached(sql)?.execute(params![
            self.next_event,
            self.events,
            self.outputs,
            self.unrouted,
            self.due,
            self.leased,
            self.done,
            self.dead,
            self.duplicates,
            self.next_version,
            self.clock,
            self.bytes,
            self.dead_bytes,
            fresh.fronts(),
            fresh.leases(),
            self.discarded,
            depths.blob()
        ])?;
        Ok(())
    }
}

/// Keys of names that are stored once. Few: plugins, sources, versions.
#[derive(Debug)]
struct Keys<N> {
    table: &'static str,
    known: HashMap<N, i64>,
}

impl<N: Eq + Hash + Clone> Keys<N> {
    fn new(table: &'static str) -> Self {
        Self { table, known: HashMap::new() }
    }

    /// The key of a name if it has one.
    fn find<Q>(
        &mut self,
        connection: &Connection,
        name: &Q,
        text: &dyn ToSql,
    ) -> rusqlite::Result<Option<i64>>
    where
        N: Borrow<Q>,
        Q: Eq + Hash + ToOwned<Owned = N> + ?Sized,
    {
        if let Some(&key) = self.known.get(name) {
            return Ok(Some(key));
        }
        let sql = format!("SELECT key FROM {} WHERE name = ?1", self.table);
        let key = connection.query_row(&sql, [text], |row| row.get(0)).optional()?;
        if let Some(key) = key {
            self.known.insert(name.to_owned(), key);
        }
        Ok(key)
    }

    /// The key of a name, which is given one if it has none.
    fn intern(
        &mut self,
        connection: &Connection,
        name: &N,
        text: &dyn ToSql,
    ) -> rusqlite::Result<i64> {
        if let Some(key) = self.find(connection, name, text)? {
            return Ok(key);
        }
        let sql = format!("INSERT INTO {} (name) VALUES (?1)", self.table);
        connection.execute(&sql, [text])?;
        let key = connection.last_insert_rowid();
        self.known.insert(name.clone(), key);
        Ok(key)
    }
}

/// The writer's memory.
#[derive(Debug)]
pub(super) struct Memory {
    /// Our key in `boots`.
    pub(super) boot: i64,
    pub(super) totals: Totals,
    origins: Keys<Origin>,
    origin_names: HashMap<i64, Origin>,
    plugins: Keys<PluginName>,
    versions: Keys<Digest>,
    /// By plugin: no delivery that is free and open is due before this. Else each lease would have to
    /// step over those that are leased already, which stand at the front of the index.
    frontiers: HashMap<i64, i64>,
    /// None: to be read.
    pub(super) holds: Option<Holds>,
}

impl Memory {
    pub(super) fn read(connection: &Connection, boot: i64) -> rusqlite::Result<Self> {
        Ok(Self::with(boot, Totals::read(connection)?))
    }

    /// As after a rollback to where `totals` were these.
    pub(super) fn with(boot: i64, totals: Totals) -> Self {
        Self {
            boot,
            totals,
            origins: Keys::new("origins"),
            origin_names: HashMap::new(),
            plugins: Keys::new("plugins"),
            versions: Keys::new("versions"),
            frontiers: HashMap::new(),
            holds: None,
        }
    }

    pub(super) fn origin(
        &mut self,
        connection: &Connection,
        origin: &Origin,
    ) -> rusqlite::Result<i64> {
        match self.origins.known.get(origin) {
            Some(&key) => Ok(key),
            None => self.origins.intern(connection, origin, &origin.to_string()),
        }
    }

    /// The name behind the key of an origin.
    pub(super) fn origin_name(
        &mut self,
        connection: &Connection,
        key: i64,
    ) -> rusqlite::Result<Origin> {
        if let Some(name) = self.origin_names.get(&key) {
            return Ok(name.clone());
        }
        let name = parcels::origin(connection, key)?;
        self.origin_names.insert(key, name.clone());
        Ok(name)
    }

    pub(super) fn plugin(
        &mut self,
        connection: &Connection,
        name: &PluginName,
    ) -> rusqlite::Result<i64> {
        self.plugins.intern(connection, name, &name.as_str())
    }

    /// `None` if nothing was ever routed to it.
    pub(super) fn known_plugin(
        &mut self,
        connection: &Connection,
        name: &PluginName,
    ) -> rusqlite::Result<Option<i64>> {
        self.plugins.find(connection, name, &name.as_str())
    }

    pub(super) fn version(
        &mut self,
        connection: &Connection,
        version: &Digest,
    ) -> rusqlite::Result<i64> {
        self.versions.intern(connection, version, version.as_bytes())
    }

    /// Where to begin to look for a plugin's due deliveries.
    pub(super) fn frontier(&self, plugin: i64) -> i64 {
        self.frontiers.get(&plugin).copied().unwrap_or(i64::MIN)
    }

    /// Everything before `due_at` was looked at.
    pub(super) fn advance_frontier(&mut self, plugin: i64, due_at: i64) {
        self.frontiers.insert(plugin, due_at);
    }

    /// A delivery is free now and due then.
    pub(super) fn note_due(&mut self, plugin: i64, due_at: Timestamp) {
        if let Some(frontier) = self.frontiers.get_mut(&plugin) {
            *frontier = (*frontier).min(due_at.as_millis());
        }
    }
}

/// The name behind the key of a plugin.
pub(super) fn plugin_name(connection: &Connection, key: i64) -> rusqlite::Result<PluginName> {
    let sql = "SELECT name FROM plugins WHERE key = ?1";
    connection.prepare_cached(sql)?.query_row([key], |row| parsed(row, 0))
}
