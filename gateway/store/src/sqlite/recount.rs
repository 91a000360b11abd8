//! Counts everything that is there, for `store check`: what the totals say must agree with it.

use std::collections::BTreeMap;

use rusqlite::Connection;

use super::{
    depths::Depths,
    exchanges, fresh,
    hold::Holds,
    parcels::{self, Entry, Part, Walk},
    schema::child_keys,
    stand::{self, Stood},
};
use crate::{DeliveryState, totals::Totals};

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Counted {
    /// What differs from its total, and by how much.
    pub(super) differing: Vec<(&'static str, i64)>,
    pub(super) deliveries_alone: i64,
    pub(super) attempts_alone: i64,
    pub(super) exchanges_alone: i64,
    pub(super) exchanges_unreadable: i64,
    pub(super) unreadable: i64,
    pub(super) unfound: i64,
    pub(super) before_front: i64,
}

#[derive(Debug, Default)]
struct Sums {
    totals: Totals,
    /// The first event that owes a plugin a fresh delivery.
    fresh: BTreeMap<i64, i64>,
}

/// Reads the whole store.
pub(super) fn all(connection: &Connection) -> rusqlite::Result<Counted> {
    let (mut counted, mut sums) = (Counted::default(), Sums::default());
    let (leased, holds) = (fresh::leased(connection)?, Holds::read(connection)?);
    let rows = |table: &str| {
        connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0))
    };
    (counted.deliveries_alone, counted.attempts_alone) = (rows("deliveries")?, rows("attempts")?);
    parcels::walk(connection, 0, Part::Directory, |parcel| {
        counted.unreadable += parcels::unreadable_of(connection, &parcel)?.cast_signed() as i64;
        for entry in &parcel.entries {
            parcels::origin(connection, entry.origin)?;
            let leads_here = parcels::leads_to(connection, entry.id, parcel.key)?;
            counted.unfound += i64::from(!leads_here);
            let stood = stand::all(connection, entry, (&leased, &holds))?;
            counted.deliveries_alone -= below(connection, "deliveries", entry.key)?;
            for stood in &stood {
                counted.attempts_alone -= below(connection, "attempts", stood.key)?;
            }
            sums.add(entry, &stood);
            sums.totals.bytes += exchanges::bytes_of_event(connection, entry.key)?;
            for died in stood.iter().filter(|stood| {
                matches!(stood.state, DeliveryState::Dead | DeliveryState::Discarded)
            }) {
                sums.totals.dead_bytes += exchanges::bytes_of_delivery(connection, died.key)?;
            }
        }
        Ok(Walk::On)
    })?;
    counted.differing = sums.differing(connection)?;
    counted.before_front = sums.before_front(connection)?;
    let sql = "SELECT count(*) FROM exchanges WHERE key NOT IN (SELECT key FROM attempts)";
    counted.exchanges_alone = connection.query_row(sql, [], |row| row.get(0))?;
    counted.exchanges_unreadable = exchanges::unreadable_rows(connection)?;
    Ok(counted)
}

/// How many rows a table has below a key of the one above it.
fn below(connection: &Connection, table: &str, key: i64) -> rusqlite::Result<i64> {
    let sql = format!("SELECT count(*) FROM {table} WHERE key BETWEEN ?1 AND ?2");
    let (first, last) = child_keys(key);
    connection.prepare_cached(&sql)?.query_row([first, last], |row| row.get(0))
}

impl Sums {
    fn add(&mut self, entry: &Entry, stood: &[Stood]) {
        let Self { totals, fresh } = self;
        totals.events += 1;
        totals.outputs += i64::from(entry.from.is_some());
        totals.unrouted += i64::from(stood.is_empty());
        totals.bytes += entry.bytes();
        for stood in stood {
            if stood.state == DeliveryState::Due && stood.due_at.is_none() {
                fresh.entry(stood.plugin).or_insert(entry.key);
            }
            match stood.state {
                DeliveryState::Due | DeliveryState::Behind | DeliveryState::Held => totals.due += 1,
                DeliveryState::Leased => totals.leased += 1,
                DeliveryState::Done => totals.done += 1,
                DeliveryState::Dead => {
                    totals.dead += 1;
                    totals.dead_bytes += entry.bytes();
                }
                DeliveryState::Discarded => {
                    totals.discarded += 1;
                    totals.dead_bytes += entry.bytes();
                }
            }
        }
    }

    fn differing(&self, connection: &Connection) -> rusqlite::Result<Vec<(&'static str, i64)>> {
        let sums = [
            ("events", "events", self.totals.events),
            ("outputs", "outputs", self.totals.outputs),
            ("unrouted events", "unrouted", self.totals.unrouted),
            ("due deliveries", "due", self.totals.due),
            ("leased deliveries", "leased", self.totals.leased),
            ("done deliveries", "done", self.totals.done),
            ("dead letters", "dead", self.totals.dead),
            ("discarded dead letters", "discarded", self.totals.discarded),
            ("bytes of events", "bytes", self.totals.bytes),
            ("bytes of dead letters", "dead_bytes", self.totals.dead_bytes),
        ];
        let mut differing = Vec::new();
        for (what, column, sum) in sums {
            let sql = format!("SELECT {column} FROM totals");
            let total: i64 = connection.query_row(&sql, [], |row| row.get(0))?;
            if sum != total {
                differing.push((what, sum - total));
            }
        }
        let sql = "SELECT (SELECT coalesce(sum(length(CAST(name AS BLOB)) + length(value)), 0) FROM state)
                       - (SELECT coalesce(sum(state_bytes), 0) FROM plugins)";
        let state: i64 = connection.query_row(sql, [], |row| row.get(0))?;
        differing.extend((state != 0).then_some(("bytes of state", state)));
        let (kept, counted) = (Depths::read(connection)?, Depths::counted(connection)?);
        let depths = kept.differing(&counted);
        differing.extend((depths != 0).then_some(("deliveries by plugin", depths)));
        Ok(differing)
    }
    /// How many plugins have due deliveries before their front, where nobody looks for them.
    fn before_front(&self, connection: &Connection) -> rusqlite::Result<i64> {
        let fronts = fresh::fronts(connection)?;
        let is_seen = |plugin: i64, first: i64| {
            fronts.iter().any(|front| front.plugin == plugin && front.event <= first)
        };
        let unseen = self.fresh.iter().filter(|(plugin, first)| !is_seen(**plugin, **first));
        Ok(unseen.map(|_| 1).sum())
    }
}
