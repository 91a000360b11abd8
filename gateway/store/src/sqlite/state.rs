//! A plugin's state: checked and changed in the transaction that settles the attempt.

use rusqlite::{Connection, OptionalExtension, params};

use super::{append::Batch, fault::Fault};
use crate::{Basis, Change, StateChange};

impl Batch<'_> {
    /// Whether everything is as the attempt relied on.
    pub(super) fn state_holds(&self, plugin: i64, changes: &[StateChange]) -> Result<bool, Fault> {
        for change in changes {
            let holds = match change.based_on {
                Basis::Anything => true,
                Basis::Nothing => version(self.connection, plugin, &change.key)?.is_none(),
                Basis::Version(read) => {
                    let found = version(self.connection, plugin, &change.key)?;
                    found.and_then(|found| u64::try_from(found).ok()) == Some(read)
                }
            };
            if !holds {
                return Ok(false);
            }
        }
        Ok(true)
    }

    pub(super) fn change_state(
        &mut self,
        plugin: i64,
        changes: &[StateChange],
    ) -> Result<(), Fault> {
        for StateChange { key, change, .. } in changes {
            match change {
                Change::Keep => {}
                Change::Set { value, ttl } => {
                    let sql = "INSERT INTO state (plugin, name, version, value, expires_at)
                               VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (plugin, name) DO UPDATE
                               SET version = ?3, value = ?4, expires_at = ?5";
                    let expires_at = ttl.map(|ttl| (self.now + ttl).as_millis());
                    let version = self.memory.totals.next_version;
                    self.memory.totals.next_version += 1;
                    self.connection
                        .prepare_cached(sql)?
                        .execute(params![plugin, key, version, value, expires_at])?;
                }
                Change::Delete => {
                    let sql = "DELETE FROM state WHERE plugin = ?1 AND name = ?2";
                    self.connection.prepare_cached(sql)?.execute(params![plugin, key])?;
                }
            }
        }
        Ok(())
    }
}

fn version(connection: &Connection, plugin: i64, key: &str) -> rusqlite::Result<Option<i64>> {
    let sql = "SELECT version FROM state WHERE plugin = ?1 AND name = ?2";
    connection.prepare_cached(sql)?.query_row(params![plugin, key], |row| row.get(0)).optional()
}
