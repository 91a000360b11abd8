//! Events with everything that belongs to them. Most deliveries have no row of their own (`fresh`): elsewhere all have.

use std::collections::{BTreeMap, HashSet};

use hookweir_event::Timestamp;
use rusqlite::{OptionalExtension, Row};

use super::{Outgoing, text_if_any};
use crate::{
    copy::{AttemptRow, DeliveryRow, DuplicatesRow, EventRow, ExchangesRow, Id, Page},
    sqlite::{
        deliver::unreadable,
        fresh,
        parcels::{self, Entry, Parcel, Part, Walk},
        schema::{child_key, child_keys, ordinal, parent_key},
    },
};

/// An event, as what belongs to it names it.
struct Of<'a> {
    key: i64,
    id: Id,
    origin: &'a str,
    committed_at: i64,
}

impl Outgoing {
    /// Events in the order of their commits. Answers the last one, if there may be more.
    pub(super) fn events(
        &self,
        page: &mut Page,
        after: i64,
        rows: usize,
    ) -> rusqlite::Result<Option<i64>> {
        let leased = fresh::leased_at(&self.connection)?;
        let (mut last, mut more) = (after, false);
        parcels::walk(&self.connection, after + 1, Part::Whole, |parcel| {
            for entry in parcel.entries.iter().filter(|entry| entry.key > after) {
                if page.is_full(rows) {
                    more = true;
                    return Ok(Walk::Enough);
                }
                self.event(page, &parcel, entry, &leased)?;
                last = entry.key;
            }
            Ok(Walk::On)
        })?;
        Ok(more.then_some(last))
    }

    fn event(
        &self,
        page: &mut Page,
        parcel: &Parcel,
        entry: &Entry,
        leased: &BTreeMap<i64, Timestamp>,
    ) -> rusqlite::Result<()> {
        let (envelope, body) = parcel.content_of(entry).ok_or_else(|| unreadable(0))?;
        let (origin, id) = (self.names.origin(entry.origin)?, *entry.id.as_bytes());
        let committed_at = parcel.committed_at.as_millis();
        let of = Of { key: entry.key, id, origin: &origin, committed_at };
        let mut claims = Vec::new();
        self.claims(page, entry.key, id, &mut claims)?;
        self.duplicates(page, &of)?;
        let ended = self.attempts(page, &of)?;
        self.exchanges(page, &of)?;
        let mut have_rows = HashSet::new();
        self.deliveries_with_rows(page, &of, &mut have_rows)?;
        for (nth, plugin) in (0..).zip(&entry.plugins).filter(|(_, plugin)| **plugin != 0) {
            let key = child_key(entry.key, nth);
            if !have_rows.contains(&key) {
                let leased_at = leased.get(&key).copied();
                let plugin = self.names.plugin(*plugin)?;
                page.deliveries.push(fresh_row(&of, key, plugin, (leased_at, &ended)));
            }
        }
        page.bytes += envelope.len() + body.len();
        page.events.push(EventRow {
            seq: entry.key,
            id,
            event_type: entry.event_type.as_str().to_owned(),
            received_at: entry.received_at.as_millis(),
            committed_at,
            hops: entry.hops.0.into(),
            from: entry.from.map(|ids| ids.map(|id| *id.as_bytes())),
            claims,
            envelope: envelope.to_vec(),
            body: body.to_vec(),
            origin,
        });
        Ok(())
    }

    fn duplicates(&self, page: &mut Page, of: &Of<'_>) -> rusqlite::Result<()> {
        let sql = "SELECT count, last_at FROM duplicates WHERE event = ?1";
        let row = |row: &Row<'_>| {
            Ok(DuplicatesRow { event: of.id, count: row.get(0)?, last_at: row.get(1)? })
        };
        let mut statement = self.connection.prepare_cached(sql)?;
        page.duplicates.extend(statement.query_row([of.key], row).optional()?);
        Ok(())
    }

    /// Answers when each delivery's first attempt ended, where that was written down: of those without a row, it was the
    /// only one.
    fn attempts(&self, page: &mut Page, of: &Of<'_>) -> rusqlite::Result<BTreeMap<i64, i64>> {
        let sql =
            "SELECT key, started_at, outcome, message, version, wall_us, cpu_us, logs, ended_at
                   FROM attempts WHERE key BETWEEN ?1 AND ?2 ORDER BY key";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query(below_deliveries(of.key))?;
        let mut ended = BTreeMap::new();
        while let Some(row) = rows.next()? {
            let key: i64 = row.get(0)?;
            let (started_at, wall_us): (i64, i64) = (row.get(1)?, row.get(5)?);
            let ended_at: Option<i64> = row.get(8)?;
            if let (1, Some(at)) = (ordinal(key), ended_at) {
                ended.insert(parent_key(key), at);
            }
            let version = row.get::<_, Option<i64>>(4)?;
            let attempt = AttemptRow {
                event: of.id,
                ordinal: ordinal(parent_key(key)),
                number: ordinal(key),
                started_at,
                ended_at: ended_at.unwrap_or(started_at + wall_us / 1000),
                outcome: row.get(2)?,
                message: text_if_any(row, 3)?,
                version: version.map(|key| self.names.version(key)).transpose()?,
                wall_us,
                cpu_us: row.get(6)?,
                logs: row.get(7)?,
            };
            page.bytes += attempt.logs.as_ref().map_or(0, Vec::len);
            page.bytes += attempt.message.as_ref().map_or(0, Vec::len);
            page.attempts.push(attempt);
        }
        Ok(ended)
    }

    fn exchanges(&self, page: &mut Page, of: &Of<'_>) -> rusqlite::Result<()> {
        let sql = "SELECT key, kept, left_out, content FROM exchanges
                   WHERE key BETWEEN ?1 AND ?2 ORDER BY key";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query(below_deliveries(of.key))?;
        while let Some(row) = rows.next()? {
            let key: i64 = row.get(0)?;
            let exchanges = ExchangesRow {
                event: of.id,
                ordinal: ordinal(parent_key(key)),
                number: ordinal(key),
                kept: row.get(1)?,
                left_out: row.get(2)?,
                content: row.get(3)?,
            };
            page.bytes += exchanges.content.len();
            page.exchanges.push(exchanges);
        }
        Ok(())
    }

    fn deliveries_with_rows(
        &self,
        page: &mut Page,
        of: &Of<'_>,
        have_rows: &mut HashSet<i64>,
    ) -> rusqlite::Result<()> {
        let sql = "SELECT d.key, d.plugin, d.due_at, d.boot IS NOT NULL, d.turn, d.leased_at, d.attempts,
                       d.lost_leases, d.excused, d.settled_at, d.dead, d.order_key, p.place, d.standing,
                       d.replayed_at, d.discarded_at, d.held, d.let_go_at
                   FROM main.deliveries AS d LEFT JOIN temp.places AS p ON p.key = d.key
                   WHERE d.key BETWEEN ?1 AND ?2 ORDER BY d.key";
        let mut statement = self.connection.prepare_cached(sql)?;
        let (first, last) = child_keys(of.key);
        let mut rows = statement.query([first, last])?;
        while let Some(row) = rows.next()? {
            have_rows.insert(row.get(0)?);
            page.deliveries.push(self.delivery(of, row)?);
        }
        Ok(())
    }

    fn delivery(&self, of: &Of<'_>, row: &Row<'_>) -> rusqlite::Result<DeliveryRow> {
        let held = row.get::<_, Option<i64>>(16)?;
        Ok(DeliveryRow {
            event: of.id,
            ordinal: ordinal(row.get(0)?),
            seq: of.key,
            origin: of.origin.to_owned(),
            plugin: self.names.plugin(row.get(1)?)?,
            due_at: row.get(2)?,
            leased: row.get(3)?,
            turn: row.get(4)?,
            leased_at: row.get(5)?,
            attempts: row.get(6)?,
            lost_leases: row.get(7)?,
            excused: row.get(8)?,
            settled_at: row.get(9)?,
            dead: row.get(10)?,
            order_key: text_if_any(row, 11)?,
            place: row.get(12)?,
            standing: row.get(13)?,
            replayed_at: row.get(14)?,
            discarded_at: row.get(15)?,
            held: held.map(|key| self.names.origin(key)).transpose()?,
            let_go_at: row.get(17)?,
        })
    }
}

/// A delivery to which nothing happened but what happens to most: it is due since its commit, leased, or done by its
/// first attempt.
fn fresh_row(
    of: &Of<'_>,
    key: i64,
    plugin: String,
    (leased_at, ended): (Option<Timestamp>, &BTreeMap<i64, i64>),
) -> DeliveryRow {
    let settled_at = ended.get(&key).copied();
    let done = i64::from(settled_at.is_some());
    DeliveryRow {
        event: of.id,
        ordinal: ordinal(key),
        seq: of.key,
        origin: of.origin.to_owned(),
        plugin,
        due_at: of.committed_at,
        leased: leased_at.is_some(),
        turn: done.max(i64::from(leased_at.is_some())),
        leased_at: leased_at.map(Timestamp::as_millis),
        attempts: done,
        lost_leases: 0,
        excused: 0,
        settled_at,
        dead: 0,
        order_key: None,
        place: None,
        standing: None,
        replayed_at: None,
        discarded_at: None,
        held: None,
        let_go_at: None,
    }
}

/// The keys of what lies below an event's deliveries.
fn below_deliveries(event: i64) -> [i64; 2] {
    let (first, last) = child_keys(event);
    [child_keys(first).0, child_keys(last).1]
}
