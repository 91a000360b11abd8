//! What waits for each plugin, from one moment: what is fresh is counted by the writer (`fresh`), the rest by
//! its indexes, without a look at any event but the first of each plugin.

use std::collections::BTreeMap;

use hookweir_event::Timestamp;
use rusqlite::{Connection, params};

use super::{
    deliver::parsed,
    fresh::{self, Front},
    look::count,
    parcels::{self, Part, Walk},
    schema::{ordinal, parent_key},
};
use crate::Queue;

/// The queues of all plugins that anything was ever routed to, in the order of their names. `now` decides
/// what is due, unless the store's own time is later.
pub(crate) fn all(connection: &Connection, now: Timestamp) -> rusqlite::Result<Vec<Queue>> {
    let clock: i64 = connection.query_row("SELECT clock FROM totals", [], |row| row.get(0))?;
    let now = now.as_millis().max(clock);
    let fronts: BTreeMap<i64, Front> =
        fresh::fronts(connection)?.into_iter().map(|front| (front.plugin, front)).collect();
    let leased = fresh_leases(connection)?;
    let mut queues = Vec::new();
    let mut statement = connection.prepare_cached("SELECT key, name FROM plugins ORDER BY name")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let plugin: i64 = row.get(0)?;
        let mut queue = Queue {
            plugin: parsed(row, 1)?,
            due: 0,
            later: 0,
            behind: 0,
            leased: leased.get(&plugin).copied().unwrap_or(0),
            dead: 0,
            blocked_keys: 0,
            oldest_due_at: None,
            next_due_at: None,
        };
        add_rows(connection, plugin, now, &mut queue)?;
        if let Some(front) = fronts.get(&plugin).filter(|front| front.due > 0) {
            queue.due += front.due;
            let since = since(connection, front.event)?;
            queue.oldest_due_at = queue.oldest_due_at.into_iter().chain(since).min();
        }
        queues.push(queue);
    }
    Ok(queues)
}

/// Fresh deliveries that are leased, by plugin.
fn fresh_leases(connection: &Connection) -> rusqlite::Result<BTreeMap<i64, u64>> {
    let (mut counts, mut parcel) = (BTreeMap::new(), None);
    for delivery in fresh::leased(connection)? {
        let event = parent_key(delivery);
        if parcel.as_ref().is_none_or(|parcel: &parcels::Parcel| parcel.entry(event).is_none()) {
            parcel = parcels::holding(connection, event, Part::Directory)?;
        }
        let entry = parcel.as_ref().and_then(|parcel| parcel.entry(event));
        let nth = usize::try_from(ordinal(delivery)).unwrap_or(usize::MAX);
        if let Some(plugin) = entry.and_then(|entry| entry.plugins.get(nth)) {
            *counts.entry(*plugin).or_default() += 1;
        }
    }
    Ok(counts)
}

/// When the first of a plugin's fresh deliveries came to be due.
fn since(connection: &Connection, event: i64) -> rusqlite::Result<Option<Timestamp>> {
    let mut since = None;
    parcels::walk(connection, event, Part::Directory, |parcel| {
        if parcel.entries.last().is_none_or(|last| last.key < event) {
            return Ok(Walk::On);
        }
        since = Some(parcel.committed_at);
        Ok(Walk::Enough)
    })?;
    Ok(since)
}

/// Adds the deliveries that have a row.
fn add_rows(
    connection: &Connection,
    plugin: i64,
    now: i64,
    queue: &mut Queue,
) -> rusqlite::Result<()> {
    let at = |row: &rusqlite::Row<'_>, column| {
        row.get::<_, Option<_>>(column).map(|at| at.map(Timestamp::from_millis))
    };
    // What is leased was due, and the index says nothing of leases: these rows are looked at.
    let sql = "SELECT count(*), count(boot), min(CASE WHEN boot IS NULL THEN due_at END)
               FROM deliveries INDEXED BY deliveries_open
               WHERE plugin = ?1 AND settled_at IS NULL AND standing IS NOT 1 AND due_at <= ?2";
    connection.prepare_cached(sql)?.query_row(params![plugin, now], |row| {
        let (open, leased) = (count(row, 0)?, count(row, 1)?);
        queue.due += open - leased;
        queue.leased += leased;
        queue.oldest_due_at = at(row, 2)?;
        Ok(())
    })?;
    let sql = "SELECT count(*), min(due_at) FROM deliveries INDEXED BY deliveries_open
               WHERE plugin = ?1 AND settled_at IS NULL AND standing IS NOT 1 AND due_at > ?2";
    connection.prepare_cached(sql)?.query_row(params![plugin, now], |row| {
        (queue.later, queue.next_due_at) = (count(row, 0)?, at(row, 1)?);
        Ok(())
    })?;
    // All of a line wait but its first.
    let sql = "SELECT count(*) - count(DISTINCT order_key)
               FROM deliveries INDEXED BY deliveries_in_line
               WHERE plugin = ?1 AND standing IS NOT NULL";
    queue.behind = connection.prepare_cached(sql)?.query_row([plugin], |row| count(row, 0))?;
    let sql = "SELECT count(*) FROM deliveries INDEXED BY deliveries_blocking
               WHERE plugin = ?1 AND standing = 2";
    queue.blocked_keys =
        connection.prepare_cached(sql)?.query_row([plugin], |row| count(row, 0))?;
    let sql = "SELECT count(*) FROM deliveries INDEXED BY deliveries_dead_of
               WHERE plugin = ?1 AND dead = 1";
    queue.dead = connection.prepare_cached(sql)?.query_row([plugin], |row| count(row, 0))?;
    Ok(())
}
