//! Where an event's deliveries stand: from their rows, and, for fresh ones, from the record of their attempt
//! and the leases.

use std::collections::BTreeSet;

use hookweir_event::{OrderKey, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row};

use super::{
    hold::Holds,
    mend::DISCARDED,
    order::Standing,
    parcels::Entry,
    schema::{child_key, child_keys},
};
use crate::DeliveryState;

/// A delivery, as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stood {
    pub(super) key: i64,
    /// The plugin's key.
    pub(super) plugin: i64,
    pub(super) state: DeliveryState,
    /// Whether it is in the line of its order key.
    pub(super) in_line: bool,
    /// Whether it is dead and holds up its line.
    pub(super) blocks: bool,
    pub(super) order_key: Option<OrderKey>,
    /// None: since its event was committed.
    pub(super) due_at: Option<Timestamp>,
    pub(super) settled_at: Option<Timestamp>,
    pub(super) replayed_at: Option<Timestamp>,
    pub(super) discarded_at: Option<Timestamp>,
    pub(super) lost_leases: u32,
}

/// Calls `each` for the deliveries of an event that have a row, and for fresh ones, in no order. A fresh one
/// that is not done is said to be due.
pub(super) fn each(
    connection: &Connection,
    entry: &Entry,
    holds: &Holds,
    mut each: impl FnMut(Stood) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let sql =
        "SELECT key, plugin, due_at, boot, lost_leases, settled_at, dead, order_key, standing,
                   replayed_at, discarded_at, held, let_go_at
               FROM deliveries WHERE key BETWEEN ?1 AND ?2 ORDER BY key";
    let mut statement = connection.prepare_cached(sql)?;
    let (first, last) = child_keys(entry.key);
    let mut rows = statement.query([first, last])?;
    let mut have_rows = Vec::new();
    while let Some(row) = rows.next()? {
        let stood = of_row(row, holds)?;
        have_rows.push(stood.key);
        each(stood)?;
    }
    for (nth, plugin) in (0..).zip(&entry.plugins) {
        let key = child_key(entry.key, nth);
        if *plugin != 0 && !have_rows.contains(&key) {
            each(of_fresh(connection, key, *plugin)?)?;
        }
    }
    Ok(())
}

/// The deliveries of an event in the order of their keys. `leased` are the fresh ones that are leased.
pub(super) fn all(
    connection: &Connection,
    entry: &Entry,
    (leased, holds): (&BTreeSet<i64>, &Holds),
) -> rusqlite::Result<Vec<Stood>> {
    let mut all = Vec::new();
    each(connection, entry, holds, |mut stood| {
        if stood.state == DeliveryState::Due && leased.contains(&stood.key) {
            stood.state = DeliveryState::Leased;
        }
        all.push(stood);
        Ok(())
    })?;
    all.sort_by_key(|stood| stood.key);
    Ok(all)
}

fn of_row(row: &Row<'_>, holds: &Holds) -> rusqlite::Result<Stood> {
    let leased = row.get::<_, Option<i64>>(3)?.is_some();
    let settled_at: Option<i64> = row.get(5)?;
    let standing: Option<i64> = row.get(8)?;
    let held: Option<i64> = row.get(11)?;
    let lifted_at = held.and_then(|origin| holds.lifted_at(origin));
    // What a hold kept is said to be due since it was lifted.
    let let_go_at = row.get::<_, Option<_>>(12)?.map(Timestamp::from_millis);
    let due_at = Some(Timestamp::from_millis(row.get(2)?)).max(let_go_at).max(lifted_at);
    let state = match (settled_at, leased) {
        (Some(_), _) => match row.get(6)? {
            0 => DeliveryState::Done,
            DISCARDED => DeliveryState::Discarded,
            _ => DeliveryState::Dead,
        },
        (None, true) => DeliveryState::Leased,
        (None, false) if standing == Some(Standing::Behind as i64) => DeliveryState::Behind,
        (None, false) if held.is_some() && lifted_at.is_none() => DeliveryState::Held,
        (None, false) => DeliveryState::Due,
    };
    Ok(Stood {
        key: row.get(0)?,
        plugin: row.get(1)?,
        state,
        in_line: standing.is_some(),
        blocks: standing == Some(Standing::Blocks as i64),
        order_key: row.get_ref(7)?.as_str_or_null()?.map(OrderKey::new),
        due_at,
        settled_at: settled_at.map(Timestamp::from_millis),
        replayed_at: row.get::<_, Option<_>>(9)?.map(Timestamp::from_millis),
        discarded_at: row.get::<_, Option<_>>(10)?.map(Timestamp::from_millis),
        lost_leases: row.get(4)?,
    })
}

/// Whether a fresh delivery is done.
pub(super) fn is_done(connection: &Connection, key: i64) -> rusqlite::Result<bool> {
    Ok(of_fresh(connection, key, 0)?.state == DeliveryState::Done)
}

fn of_fresh(connection: &Connection, key: i64, plugin: i64) -> rusqlite::Result<Stood> {
    let sql = "SELECT ended_at FROM attempts WHERE key = ?1";
    let mut statement = connection.prepare_cached(sql)?;
    let ended_at: Option<i64> =
        statement.query_row([child_key(key, 1)], |row| row.get(0)).optional()?;
    Ok(Stood {
        key,
        plugin,
        state: ended_at.map_or(DeliveryState::Due, |_| DeliveryState::Done),
        in_line: false,
        blocks: false,
        order_key: None,
        due_at: None,
        settled_at: ended_at.map(Timestamp::from_millis),
        replayed_at: None,
        discarded_at: None,
        lost_leases: 0,
    })
}
