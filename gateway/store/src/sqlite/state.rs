//! A plugin's state: checked and changed in the transaction that settles the attempt, or by itself.

use std::collections::BTreeMap;

use hookweir_event::{Basis, Change, Lasts, PluginName, StateChange};
use rusqlite::{Connection, OptionalExtension, params};

use super::{append::Batch, fault::Fault};
use crate::Written;

impl Batch<'_> {
    pub(super) fn write_state(
        &mut self,
        plugin: &PluginName,
        changes: &[StateChange],
    ) -> Result<Written, Fault> {
        // Nothing may ever have been routed to it.
        let plugin = self.memory.plugin(self.connection, plugin)?;
        let Some(found) = self.state_holds(plugin, changes)? else {
            return Ok(Written::Conflict);
        };
        self.change_state(plugin, changes, &found)?;
        Ok(Written::Committed)
    }

    /// What is there of each, or nothing if not everything is as the attempt relied on.
    pub(super) fn state_holds(
        &self,
        plugin: i64,
        changes: &[StateChange],
    ) -> Result<Option<Vec<Found>>, Fault> {
        let mut all = Vec::with_capacity(changes.len());
        for change in changes {
            let found = Found::of(self.connection, plugin, &change.key)?;
            let holds = match change.based_on {
                Basis::Anything => true,
                Basis::Nothing => found.version.is_none(),
                Basis::Version(read) => {
                    found.version.and_then(|found| u64::try_from(found).ok()) == Some(read)
                }
            };
            if !holds {
                return Ok(None);
            }
            all.push(found);
        }
        Ok(Some(all))
    }

    /// Makes the changes, one after another, to what was found.
    pub(super) fn change_state(
        &mut self,
        plugin: i64,
        changes: &[StateChange],
        found: &[Found],
    ) -> Result<(), Fault> {
        let mut grown = 0;
        for (StateChange { key, change, .. }, found) in changes.iter().zip(found) {
            if *change != Change::Keep {
                grown -= match changes.len() {
                    1 => found.bytes,
                    // One before it may have changed it.
                    _ => Found::of(self.connection, plugin, key)?.bytes,
                };
            }
            match change {
                Change::Keep => {}
                Change::Set { value, lasts } => {
                    grown += (key.len() + value.len()).cast_signed() as i64;
                    let sql = "INSERT INTO state (plugin, name, version, value, expires_at)
                               VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (plugin, name) DO UPDATE
                               SET version = ?3, value = ?4,
                                   expires_at = CASE WHEN ?6 THEN expires_at ELSE ?5 END";
                    let (expires_at, as_before) = match lasts {
                        Lasts::ForEver => (None, false),
                        Lasts::For(ttl) => (Some((self.now + *ttl).as_millis()), false),
                        Lasts::AsBefore => (None, true),
                    };
                    let version = self.memory.totals.next_version;
                    self.memory.totals.next_version += 1;
                    self.connection
                        .prepare_cached(sql)?
                        .execute(params![plugin, key, version, value, expires_at, as_before])?;
                }
                Change::Delete => {
                    let sql = "DELETE FROM state WHERE plugin = ?1 AND name = ?2";
                    self.connection.prepare_cached(sql)?.execute(params![plugin, key])?;
                }
            }
        }
        grow(self.connection, plugin, grown)
    }
}

/// Deletes some of the entries whose time is over.
pub(super) fn expire(connection: &Connection, now: i64, limit: i64) -> Result<(), Fault> {
    let sql = "DELETE FROM state WHERE key IN
                   (SELECT key FROM state WHERE expires_at <= ?1 LIMIT ?2)
               RETURNING plugin, length(CAST(name AS BLOB)) + length(value)";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([now, limit])?;
    let mut shrunk: BTreeMap<i64, i64> = BTreeMap::new();
    while let Some(row) = rows.next()? {
        *shrunk.entry(row.get(0)?).or_default() += row.get::<_, i64>(1)?;
    }
    drop(rows);
    shrunk.into_iter().try_for_each(|(plugin, by)| grow(connection, plugin, -by))
}

/// Bytes of keys and values more, or less, in a plugin's state.
fn grow(connection: &Connection, plugin: i64, by: i64) -> Result<(), Fault> {
    if by != 0 {
        let sql = "UPDATE plugins SET state_bytes = state_bytes + ?2 WHERE key = ?1";
        connection.prepare_cached(sql)?.execute([plugin, by])?;
    }
    Ok(())
}

/// What is there under a key.
pub(super) struct Found {
    version: Option<i64>,
    /// Of key and value; 0 if there is none.
    bytes: i64,
}

impl Found {
    fn of(connection: &Connection, plugin: i64, key: &str) -> rusqlite::Result<Self> {
        let sql = "SELECT version, length(CAST(name AS BLOB)) + length(value) FROM state
                   WHERE plugin = ?1 AND name = ?2";
        let found = connection
            .prepare_cached(sql)?
            .query_row(params![plugin, key], |row| {
                Ok(Self { version: Some(row.get(0)?), bytes: row.get(1)? })
            })
            .optional()?;
        Ok(found.unwrap_or(Self { version: None, bytes: 0 }))
    }
}
