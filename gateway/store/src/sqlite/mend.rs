//! Dead letters as operators mend them: due again, or out of the way of those behind.

use hookweir_event::PluginName;
use rusqlite::{OptionalExtension, params};

use super::{
    append::Batch,
    fault::Fault,
    order::Standing,
    parcels,
    schema::{ORDINAL_MAX, child_key},
};
use crate::{DeliveryId, Mend};

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
            });
        }
        Ok(mended)
    }

    /// Makes a dead letter due now, with all its attempts before it; false if it is none.
    fn retry(&mut self, key: i64) -> Result<bool, Fault> {
        let sql = "SELECT plugin, attempts FROM deliveries WHERE key = ?1 AND dead";
        let mut statement = self.connection.prepare_cached(sql)?;
        let dead: Option<(i64, u32)> =
            statement.query_row([key], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        drop(statement);
        // Beyond it there is no key for another attempt.
        let Some((plugin, _)) = dead.filter(|(_, attempts)| *attempts < ORDINAL_MAX) else {
            return Ok(false);
        };
        let standing = self.stand_again(key)?;
        let sql = "UPDATE deliveries SET settled_at = NULL, dead = 0, due_at = ?2, lost_leases = 0,
                   excused = attempts, standing = ?3 WHERE key = ?1";
        let standing_code = standing.map(|standing| standing as i64);
        self.connection.prepare_cached(sql)?.execute(params![
            key,
            self.now.as_millis(),
            standing_code
        ])?;
        self.memory.totals.dead -= 1;
        self.memory.totals.dead_bytes -= self.bytes_of(key)?;
        self.memory.totals.due += 1;
        let depth = self.depths.of(plugin);
        depth.dead -= 1;
        if standing == Some(Standing::Behind) {
            depth.behind += 1;
        } else {
            depth.due += 1;
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
