//! What an attempt sent and was answered: one row beside the attempt's, with its key, for those of whom that is
//! kept. It comes in the transaction that settles the attempt and goes with it.
//!
//! Its bytes count as the event's own: what limits the size of the store limits them too.

use hookweir_event::Exchanges;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{
    append::Batch,
    deliver::unreadable,
    fault::Fault,
    look::count,
    parcels,
    schema::{ORDINAL_MAX, child_key, child_keys},
};
use crate::{
    DeliveryId, ExchangeCounts,
    exchanges::{read, write},
};

impl Batch<'_> {
    /// Keeps them with an attempt.
    pub(super) fn keep_exchanges(
        &mut self,
        attempt: i64,
        exchanges: &Exchanges,
    ) -> Result<(), Fault> {
        let blob = write(exchanges);
        let sql = "INSERT INTO exchanges (key, kept, left_out, content) VALUES (?1, ?2, ?3, ?4)";
        self.connection.prepare_cached(sql)?.execute(params![
            attempt,
            exchanges.kept.len().cast_signed() as i64,
            exchanges.left_out,
            blob
        ])?;
        self.memory.totals.bytes += blob.len().cast_signed() as i64;
        Ok(())
    }
}

/// Those of one attempt; none if they were not kept.
pub(crate) fn of_attempt(
    connection: &Connection,
    delivery: DeliveryId,
    attempt: u32,
) -> rusqlite::Result<Option<Exchanges>> {
    let ordinal = u32::from(delivery.ordinal);
    if ordinal > ORDINAL_MAX || attempt > ORDINAL_MAX {
        return Ok(None);
    }
    let Some(event) = parcels::key_of(connection, delivery.event)? else { return Ok(None) };
    let sql = "SELECT content FROM exchanges WHERE key = ?1";
    let key = child_key(child_key(event, ordinal), attempt);
    connection
        .prepare_cached(sql)?
        .query_row([key], |row| read(row.get_ref(0)?.as_blob()?).ok_or_else(|| unreadable(0)))
        .optional()
}

/// How many there are, from the columns `kept` and `left_out`, which are null where none were kept.
pub(super) fn counts(row: &Row<'_>, kept: usize) -> rusqlite::Result<Option<ExchangeCounts>> {
    if row.get_ref(kept)?.as_i64_or_null()?.is_none() {
        return Ok(None);
    }
    let number = |at| Ok::<_, rusqlite::Error>(u32::try_from(count(row, at)?).unwrap_or(u32::MAX));
    Ok(Some(ExchangeCounts { kept: number(kept)?, left_out: number(kept + 1)? }))
}

/// Bytes of those of a delivery's attempts.
pub(super) fn bytes_of_delivery(connection: &Connection, delivery: i64) -> rusqlite::Result<i64> {
    bytes_between(connection, child_keys(delivery))
}

/// The same of all deliveries of an event.
pub(super) fn bytes_of_event(connection: &Connection, event: i64) -> rusqlite::Result<i64> {
    let (first, last) = child_keys(event);
    bytes_between(connection, (child_keys(first).0, child_keys(last).1))
}

fn bytes_between(connection: &Connection, (first, last): (i64, i64)) -> rusqlite::Result<i64> {
    let sql = "SELECT coalesce(sum(length(content)), 0) FROM exchanges WHERE key BETWEEN ?1 AND ?2";
    connection.prepare_cached(sql)?.query_row([first, last], |row| row.get(0))
}

/// How many rows hold what this code never wrote.
pub(super) fn unreadable_rows(connection: &Connection) -> rusqlite::Result<i64> {
    let mut statement = connection.prepare("SELECT kept, left_out, content FROM exchanges")?;
    let mut rows = statement.query([])?;
    let mut unreadable = 0;
    while let Some(row) = rows.next()? {
        let found = read(row.get_ref(2)?.as_blob()?);
        let counted = counts(row, 0)?;
        let agrees = |it: &Exchanges| {
            counted == Some(ExchangeCounts { kept: clipped(it.kept.len()), left_out: it.left_out })
        };
        unreadable += i64::from(!found.as_ref().is_some_and(agrees));
    }
    Ok(unreadable)
}

fn clipped(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
