//! Order: deliveries of one plugin with one order key stand in a line, by the place they got when they
//! were committed. The first may be leased; the others wait, in no index that leases read. When the
//! first is over, the next one is due; if it died and blocks, the line waits for an operator.

use hookweir_event::OrderKey;
use rusqlite::{OptionalExtension, params};

use super::{append::Batch, fault::Fault};

/// Where a delivery stands in its line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It may be leased when it is due.
    First = 0,
    /// It waits for those before it.
    Behind = 1,
    /// It is dead, and those behind it wait for an operator.
    Blocks = 2,
}

impl Batch<'_> {
    /// Makes a delivery at the end of its line.
    pub(super) fn line_up(
        &mut self,
        key: i64,
        plugin: i64,
        order_key: &OrderKey,
        place: i64,
    ) -> Result<Standing, Fault> {
        let standing = match self.line_is_empty(plugin, order_key.as_str())? {
            true => Standing::First,
            false => Standing::Behind,
        };
        let sql = "INSERT INTO deliveries (key, plugin, due_at, order_key, place, standing)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        self.connection.prepare_cached(sql)?.execute(params![
            key,
            plugin,
            self.now.as_millis(),
            order_key.as_str(),
            place,
            standing as i64
        ])?;
        Ok(standing)
    }

    fn line_is_empty(&self, plugin: i64, order_key: &str) -> Result<bool, Fault> {
        let sql = "SELECT NOT EXISTS (SELECT 1 FROM deliveries
                   WHERE plugin = ?1 AND order_key = ?2 AND standing IS NOT NULL)";
        let mut statement = self.connection.prepare_cached(sql)?;
        Ok(statement.query_row(params![plugin, order_key], |row| row.get(0))?)
    }

    /// Takes a delivery that is over out of its line, if it is in one; the next one is due now.
    pub(super) fn step_out(&mut self, delivery: i64) -> Result<(), Fault> {
        let sql = "UPDATE deliveries SET standing = NULL
                   WHERE key = ?1 AND standing IS NOT NULL RETURNING plugin, order_key";
        let mut statement = self.connection.prepare_cached(sql)?;
        let line: Option<(i64, String)> =
            statement.query_row([delivery], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        drop(statement);
        match line {
            Some((plugin, order_key)) => self.advance(plugin, &order_key),
            None => Ok(()),
        }
    }

    /// The next of a line, if it has one, is due now.
    fn advance(&mut self, plugin: i64, order_key: &str) -> Result<(), Fault> {
        let sql = "UPDATE deliveries SET standing = 0, due_at = ?3
                   WHERE key = (SELECT key FROM deliveries
                                WHERE plugin = ?1 AND order_key = ?2 AND standing IS NOT NULL
                                ORDER BY place, key LIMIT 1)
                   AND standing = 1";
        let now = self.now.as_millis();
        let moved =
            self.connection.prepare_cached(sql)?.execute(params![plugin, order_key, now])?;
        if moved == 1 {
            let depth = self.depths.of(plugin);
            (depth.behind, depth.due) = (depth.behind - 1, depth.due + 1);
            self.memory.note_due(plugin, self.now);
            self.work_due = true;
        }
        Ok(())
    }

    /// A dead delivery keeps its place, and those behind it wait.
    pub(super) fn block(&mut self, delivery: i64) -> Result<(), Fault> {
        let sql = "UPDATE deliveries SET standing = 2 WHERE key = ?1 AND standing = 0";
        self.connection.prepare_cached(sql)?.execute([delivery])?;
        Ok(())
    }

    /// Where a dead letter stands that is due again: first, unless its line went on without it.
    pub(super) fn stand_again(&mut self, delivery: i64) -> Result<Option<Standing>, Fault> {
        let sql = "SELECT plugin, order_key, standing FROM deliveries WHERE key = ?1";
        let mut statement = self.connection.prepare_cached(sql)?;
        let (plugin, order_key, standing): (i64, Option<String>, Option<i64>) =
            statement.query_row([delivery], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        drop(statement);
        Ok(match (order_key, standing) {
            (None, _) => None,
            (Some(_), Some(_)) => Some(Standing::First),
            (Some(order_key), None) if self.line_is_empty(plugin, &order_key)? => {
                Some(Standing::First)
            }
            (Some(_), None) => Some(Standing::Behind),
        })
    }
}
