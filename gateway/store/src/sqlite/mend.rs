//! What operators do to dead letters: have them tried again, let others go on without them, put them aside.
//!
//! Each is the same however often it is asked for: what is not dead any more is passed over. One that was put
//! aside is in the indexes of dead letters no more, and is kept as long as those are.

use hookweir_event::PluginName;
use rusqlite::{OptionalExtension, params};

use super::{append::Batch, fault::Fault, order::Standing, parcels, schema::child_key};
use crate::{DeliveryId, Mend, bounds::ATTEMPTS_MAX};

/// What the column `dead` says of one that was put aside; 1 of the others.
pub(super) const DISCARDED: i64 = 2;

impl Batch<'_> {
    /// Mends dead letters. Returns how many of those named were dead, or in the way of others.
    pub(super) fn mend(&mut self, which: &[DeliveryId], how: Mend) -> Result<u64, Fault> {
        let mut mended = 0;
        // So that events of this transaction are found as well.
        self.parcels.write(self.connection)?;
        for id in which {
            let Some(event) = parcels::key_of(self.connection, id.event)? else { continue };
            let key = child_key(event, u32::from(id.ordinal));
            mended += u64::from(match how {
                Mend::Retry => self.retry(key)?,
                Mend::Skip => self.skip(key)?,
                Mend::Discard => self.discard(key)?,
            });
        }
        Ok(mended)
    }

    /// Makes a dead letter due now, discarded or not, with all its attempts before it; false if it is none.
    fn retry(&mut self, key: i64) -> Result<bool, Fault> {
        let sql = "SELECT plugin, attempts, dead FROM deliveries WHERE key = ?1 AND dead";
        let mut statement = self.connection.prepare_cached(sql)?;
        let dead: Option<(i64, u32, i64)> = statement
            .query_row([key], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .optional()?;
        drop(statement);
        // Beyond it there is no key for another attempt.
        let dead = dead.filter(|(_, attempts, _)| *attempts < ATTEMPTS_MAX);
        let Some((plugin, _, dead)) = dead else {
            return Ok(false);
        };
        let standing = self.stand_again(key)?;
        let sql = "UPDATE deliveries SET settled_at = NULL, dead = 0, due_at = ?2, lost_leases = 0,
                   excused = attempts, standing = ?3, discarded_at = NULL WHERE key = ?1";
        let standing_code = standing.map(|standing| standing as i64);
        self.connection.prepare_cached(sql)?.execute(params![
            key,
            self.now.as_millis(),
            standing_code
        ])?;
        match dead {
            DISCARDED => self.memory.totals.discarded -= 1,
            _ => {
                self.memory.totals.dead -= 1;
                self.depths.of(plugin).dead -= 1;
            }
        }
        self.memory.totals.dead_bytes -= self.bytes_of(key)?;
        self.memory.totals.due += 1;
        if standing == Some(Standing::Behind) {
            self.depths.of(plugin).behind += 1;
        } else {
            self.depths.of(plugin).due += 1;
            self.memory.note_due(plugin, self.now);
            self.work_due = true;
        }
        Ok(true)
    }

    /// Lets those behind a dead letter go on; false if it is in nobody's way.
    fn skip(&mut self, key: i64) -> Result<bool, Fault> {
        let sql = "SELECT EXISTS (SELECT 1 FROM deliveries WHERE key = ?1 AND standing = 2)";
        let blocks = self.connection.prepare_cached(sql)?.query_row([key], |row| row.get(0))?;
        if blocks {
            self.step_out(key)?;
        }
        Ok(blocks)
    }

    /// Puts a dead letter aside; false if it is none, or is aside already. Those behind it go on.
    fn discard(&mut self, key: i64) -> Result<bool, Fault> {
        let sql = "UPDATE deliveries SET dead = ?2, discarded_at = ?3
                   WHERE key = ?1 AND dead = 1 RETURNING plugin";
        let with = params![key, DISCARDED, self.now.as_millis()];
        let mut statement = self.connection.prepare_cached(sql)?;
        let plugin: Option<i64> = statement.query_row(with, |row| row.get(0)).optional()?;
        drop(statement);
        let Some(plugin) = plugin else { return Ok(false) };
        self.depths.of(plugin).dead -= 1;
        self.memory.totals.dead -= 1;
        self.memory.totals.discarded += 1;
        self.step_out(key)?;
        Ok(true)
    }

    /// Lets all lines of a plugin go on that a dead letter blocks. Returns how many those were.
    pub(super) fn unblock(&mut self, plugin: &PluginName) -> Result<u64, Fault> {
        let Some(plugin) = self.memory.known_plugin(self.connection, plugin)? else {
            return Ok(0);
        };
        let sql = "SELECT key FROM deliveries WHERE plugin = ?1 AND standing = 2";
        let mut statement = self.connection.prepare_cached(sql)?;
        let blocking = statement.query_map([plugin], |row| row.get(0))?;
        let blocking: Vec<i64> = blocking.collect::<rusqlite::Result<_>>()?;
        for key in &blocking {
            self.step_out(*key)?;
        }
        Ok(blocking.len() as u64)
    }
}
