//! What waits for each plugin, from one moment: how much stands where is what the writer keeps (`depths`), what
//! of it has a row is told apart by the indexes, and the rest is fresh. No event is looked at but the first fresh
//! one of each plugin.

use std::collections::BTreeMap;

use hookweir_event::Timestamp;
use rusqlite::{Connection, params};

use super::{
    deliver::parsed,
    depths::{self, Depth, Depths},
    fresh,
    hold::Holds,
    look::count,
    parcels::{self, Part, Walk},
};
use crate::Queue;

/// Those of a plugin's deliveries that have a row and are neither leased nor behind others.
struct Rows {
    due: u64,
    oldest_due_at: Option<Timestamp>,
    later: u64,
    next_due_at: Option<Timestamp>,
}

/// The store's time: `now`, unless it has seen a later one.
pub(crate) fn time(connection: &Connection, now: Timestamp) -> rusqlite::Result<Timestamp> {
    let clock: i64 = connection.query_row("SELECT clock FROM totals", [], |row| row.get(0))?;
    Ok(now.max(Timestamp::from_millis(clock)))
}

/// The queues of all plugins that anything was ever routed to, in the order of their names. `now` decides
/// what is due, unless the store's own time is later.
pub(crate) fn all(connection: &Connection, now: Timestamp) -> rusqlite::Result<Vec<Queue>> {
    let now = time(connection, now)?.as_millis();
    let (depths, holds) = (Depths::read(connection)?, Holds::read(connection)?);
    let fronts: BTreeMap<i64, i64> =
        fresh::fronts(connection)?.into_iter().map(|front| (front.plugin, front.event)).collect();
    let mut queues = Vec::new();
    let mut statement = connection.prepare_cached("SELECT key, name FROM plugins ORDER BY name")?;
    let mut names = statement.query([])?;
    while let Some(row) = names.next()? {
        let plugin: i64 = row.get(0)?;
        let Depth { due, behind, leased, dead } = depths.get(plugin);
        let rows = rows(connection, plugin, now)?;
        let due = depths::count(due).saturating_sub(rows.later);
        let front = fronts.get(&plugin).filter(|_| due > rows.due);
        let (held, let_go, lifted_at) = depths.kept_aside(plugin, &holds);
        let fresh_at = front.map(|event| since(connection, *event)).transpose()?.flatten();
        queues.push(Queue {
            plugin: parsed(row, 1)?,
            due: due + let_go,
            later: rows.later,
            behind: depths::count(behind),
            held,
            leased: depths::count(leased),
            dead: depths::count(dead),
            blocked_keys: blocked_keys(connection, plugin)?,
            oldest_due_at: rows.oldest_due_at.into_iter().chain(fresh_at).chain(lifted_at).min(),
            next_due_at: rows.next_due_at,
        });
    }
    Ok(queues)
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

fn rows(connection: &Connection, plugin: i64, now: i64) -> rusqlite::Result<Rows> {
    let at = |row: &rusqlite::Row<'_>, column| {
        row.get::<_, Option<_>>(column).map(|at| at.map(Timestamp::from_millis))
    };
    // What is leased was due, and the index says nothing of leases: these rows are looked at.
    let sql = "SELECT count(*) - count(boot),
                   min(CASE WHEN boot IS NULL THEN max(due_at, coalesce(let_go_at, due_at)) END)
               FROM deliveries INDEXED BY deliveries_open
               WHERE plugin = ?1 AND settled_at IS NULL AND standing IS NOT 1 AND held IS NULL AND due_at <= ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let (due, oldest_due_at) =
        statement.query_row(params![plugin, now], |row| Ok((count(row, 0)?, at(row, 1)?)))?;
    let sql = "SELECT count(*), min(due_at) FROM deliveries INDEXED BY deliveries_open
               WHERE plugin = ?1 AND settled_at IS NULL AND standing IS NOT 1 AND held IS NULL AND due_at > ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let (later, next_due_at) =
        statement.query_row(params![plugin, now], |row| Ok((count(row, 0)?, at(row, 1)?)))?;
    Ok(Rows { due, oldest_due_at, later, next_due_at })
}

fn blocked_keys(connection: &Connection, plugin: i64) -> rusqlite::Result<u64> {
    let sql = "SELECT count(*) FROM deliveries INDEXED BY deliveries_blocking
               WHERE plugin = ?1 AND standing = 2";
    connection.prepare_cached(sql)?.query_row([plugin], |row| count(row, 0))
}
