//! The rows of what a transaction makes: events, their deliveries, and those deliveries' places in their lines.

use std::collections::{BTreeMap, HashMap, HashSet};

use hookweir_event::{Attempt, EventId, Hops, Outcome, Timestamp};
use tokio_postgres::Row;

use super::{Fault, batch::Batch, settle::AttemptRow};
use crate::Route;

/// The most deliveries an event can have, and the most attempts a delivery can have: as with the other engine.
pub(super) const DELIVERIES_MAX: usize = 1023;

/// The id in a column.
pub(super) fn id_of(row: &Row, at: usize) -> Result<EventId, Fault> {
    let bytes = row.get::<_, &[u8]>(at).try_into();
    bytes.map(EventId::from_bytes).map_err(|_| Fault::unreadable("an id"))
}

/// A column's text as what it stands for.
pub(super) fn parsed<T: std::str::FromStr>(row: &Row, at: usize) -> Result<T, Fault> {
    row.get::<_, &str>(at).parse().map_err(|_| Fault::unreadable("a name"))
}

/// A column of UTF-8 in bytes.
pub(super) fn text_of(row: &Row, at: usize) -> Result<Option<String>, Fault> {
    let text =
        row.get::<_, Option<&[u8]>>(at).map(|bytes| str::from_utf8(bytes).map(str::to_owned));
    text.transpose().map_err(|_| Fault::unreadable("a text"))
}

/// An event to keep.
#[derive(Debug)]
pub(super) struct NewRow {
    pub(super) id: EventId,
    pub(super) origin: String,
    pub(super) event_type: String,
    pub(super) received_at: Timestamp,
    pub(super) hops: Hops,
    /// For outputs: the event whose delivery made it, and the first of the chain.
    pub(super) from: Option<[EventId; 2]>,
    pub(super) claims: Vec<u8>,
    pub(super) envelope: Vec<u8>,
    pub(super) body: Vec<u8>,
    pub(super) routes: Vec<Route>,
    /// Whether it went too far: its deliveries are dead from the start.
    pub(super) buried: bool,
}

/// A delivery to make.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) event: EventId,
    pub(super) ordinal: i16,
    /// Of its event.
    pub(super) seq: i64,
    /// Of its event.
    pub(super) origin: String,
    pub(super) route: Route,
    pub(super) replayed: bool,
    pub(super) buried: bool,
}

/// A line: a plugin, and the bytes of an order key.
pub(super) type Line = (String, Vec<u8>);

/// What happens to a line.
#[derive(Debug, Default)]
pub(super) struct Moved {
    /// So many join it at its end,
    pub(super) join: i64,
    /// and so many leave it, or come back to their old places if negative.
    pub(super) leave: i64,
}

/// What a transaction makes.
#[derive(Debug, Default)]
pub(super) struct Rows {
    events: Vec<NewRow>,
    ids: HashSet<EventId>,
    /// Further deliveries of events that are there.
    pub(super) deliveries: Vec<Delivery>,
    pub(super) attempts: Vec<AttemptRow>,
    /// In one order, so that two who lock the same ones don't wait for each other.
    pub(super) lines: BTreeMap<Line, Moved>,
}

impl Rows {
    pub(super) fn add(&mut self, new: NewRow) {
        self.ids.insert(new.id);
        self.events.push(new);
    }

    /// Whether it is made by this transaction.
    pub(super) fn has(&self, event: &EventId) -> bool {
        self.ids.contains(event)
    }
}

impl Batch<'_> {
    /// Writes all rows, closes what was settled, and moves the lines on.
    pub(super) async fn write_rows(&mut self) -> Result<(), Fault> {
        let made = self.write_events().await?;
        let mut deliveries = std::mem::take(&mut self.rows.deliveries);
        for (event, seq) in made {
            let buried = event.buried;
            if event.routes.is_empty() {
                self.counted.totals.unrouted += 1;
            }
            for (ordinal, route) in (0..).zip(event.routes) {
                let (origin, replayed) = (event.origin.clone(), false);
                let event = event.id;
                deliveries.push(Delivery { event, ordinal, seq, origin, route, replayed, buried });
            }
        }
        for delivery in deliveries.iter().filter(|delivery| !delivery.buried) {
            if let Some(key) = &delivery.route.order_key {
                let line = (delivery.route.plugin.to_string(), key.as_str().as_bytes().to_vec());
                self.rows.lines.entry(line).or_default().join += 1;
            }
        }
        self.note_plugins(&deliveries).await?;
        let mut places = self.lock_lines().await?;
        self.write_deliveries(&deliveries, &mut places).await?;
        self.close().await?;
        self.write_attempts().await?;
        self.advance().await
    }

    /// Writes the events, and answers those that were not there already, with the numbers they got.
    async fn write_events(&mut self) -> Result<Vec<(NewRow, i64)>, Fault> {
        let events = std::mem::take(&mut self.rows.events);
        if events.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<&[u8]> = events.iter().map(|event| &event.id.as_bytes()[..]).collect();
        let origins: Vec<&str> = events.iter().map(|event| event.origin.as_str()).collect();
        let types: Vec<&str> = events.iter().map(|event| event.event_type.as_str()).collect();
        let received: Vec<i64> = events.iter().map(|e| e.received_at.as_millis()).collect();
        let hops: Vec<i16> = events.iter().map(|event| i16::from(event.hops.0)).collect();
        let from = |nth: usize| -> Vec<Option<&[u8]>> {
            events
                .iter()
                .map(|event| event.from.as_ref().map(|ids| &ids[nth].as_bytes()[..]))
                .collect()
        };
        let (parents, roots) = (from(0), from(1));
        let claims: Vec<&[u8]> = events.iter().map(|event| &event.claims[..]).collect();
        let envelopes: Vec<&[u8]> = events.iter().map(|event| &event.envelope[..]).collect();
        let bodies: Vec<&[u8]> = events.iter().map(|event| &event.body[..]).collect();
        let sql = "INSERT INTO events (id, seq, tx, origin, type, received_at, committed_at, hops, parent, root,
                       claims, bytes, body_len, envelope, body)
                   SELECT id, nextval('event_seq'),
                       pg_current_xact_id()::text::bigint + (SELECT tx_offset FROM meta), origin, type, received_at,
                       $11, hops, parent, root, claims, length(envelope) + length(body), length(body), envelope, body
                   FROM unnest($1::bytea[], $2::text[], $3::text[], $4::bigint[], $5::smallint[], $6::bytea[],
                               $7::bytea[], $8::bytea[], $9::bytea[], $10::bytea[])
                       AS e(id, origin, type, received_at, hops, parent, root, claims, envelope, body)
                   ON CONFLICT (id) DO NOTHING RETURNING id, seq";
        let now = self.now.as_millis();
        let rows = self
            .moment
            .rows(
                sql,
                &[
                    &ids, &origins, &types, &received, &hops, &parents, &roots, &claims,
                    &envelopes, &bodies, &now,
                ],
            )
            .await?;
        let mut seqs = HashMap::with_capacity(rows.len());
        for row in &rows {
            seqs.insert(id_of(row, 0)?, row.get::<_, i64>(1));
        }
        // One that has no number now had one before: its commit's outcome was not known.
        let made = events.into_iter().filter_map(|event| {
            let seq = seqs.remove(&event.id)?;
            Some((event, seq))
        });
        let made: Vec<_> = made.collect();
        let totals = &mut self.counted.totals;
        for (event, _) in &made {
            totals.events += 1;
            totals.outputs += i64::from(event.from.is_some());
            totals.bytes += bytes_of(event);
        }
        Ok(made)
    }

    /// Gives each plugin a row that may have none.
    async fn note_plugins(&mut self, deliveries: &[Delivery]) -> Result<(), Fault> {
        let names = deliveries.iter().map(|delivery| delivery.route.plugin.as_str());
        let names = names.map(str::to_owned).collect();
        self.note_plugin_names(names).await
    }

    pub(super) async fn note_plugin_names(
        &mut self,
        mut names: std::collections::BTreeSet<String>,
    ) -> Result<(), Fault> {
        names.retain(|name| !self.known.has_plugin(name) && !self.new_plugins.contains(name));
        if !names.is_empty() {
            let list: Vec<&str> = names.iter().map(String::as_str).collect();
            let sql = "INSERT INTO plugins (name) SELECT * FROM unnest($1::text[]) ON CONFLICT DO NOTHING";
            self.moment.run(sql, &[&list]).await?;
            self.new_plugins.extend(names);
        }
        Ok(())
    }

    /// Locks the lines that change, and writes how: answers for each that is joined the first place that is free, and
    /// whether it was empty.
    async fn lock_lines(&mut self) -> Result<HashMap<Line, (i64, bool)>, Fault> {
        if self.rows.lines.is_empty() {
            return Ok(HashMap::new());
        }
        let plugins: Vec<&str> =
            self.rows.lines.keys().map(|(plugin, _)| plugin.as_str()).collect();
        let keys: Vec<&[u8]> = self.rows.lines.keys().map(|(_, key)| &key[..]).collect();
        let join: Vec<i64> = self.rows.lines.values().map(|moved| moved.join).collect();
        let leave: Vec<i64> = self.rows.lines.values().map(|moved| moved.leave).collect();
        // Places go by the time, so that a line which was empty, and has no row any more, begins behind all that ever stood
        // in it: one of those may come back.
        let base = self.now.as_millis().saturating_mul(PLACES);
        let sql = "INSERT INTO lines AS l (plugin, order_key, last, length)
                   SELECT plugin, order_key, $5::bigint + joined, joined - gone
                   FROM unnest($1::text[], $2::bytea[], $3::bigint[], $4::bigint[]) AS m(plugin, order_key, joined, gone)
                   ON CONFLICT (plugin, order_key) DO UPDATE
                   SET last = greatest(l.last, $5) + excluded.last - $5, length = l.length + excluded.length
                   RETURNING plugin, order_key, last, length";
        let rows = self.moment.rows(sql, &[&plugins, &keys, &join, &leave, &base]).await?;
        let mut places = HashMap::new();
        for row in rows {
            let line: Line = (row.get(0), row.get(1));
            let Moved { join, leave } = self.rows.lines[&line];
            let (last, length): (i64, i64) = (row.get(2), row.get(3));
            places.insert(line, (last - join + 1, length + leave == join));
        }
        Ok(places)
    }

    /// Writes deliveries, due now or behind others with their order key.
    async fn write_deliveries(
        &mut self,
        deliveries: &[Delivery],
        places: &mut HashMap<Line, (i64, bool)>,
    ) -> Result<(), Fault> {
        if deliveries.is_empty() {
            return Ok(());
        }
        let mut stands = Vec::with_capacity(deliveries.len());
        for delivery in deliveries {
            stands.push(self.stand(delivery, places));
        }
        let events: Vec<&[u8]> = deliveries.iter().map(|d| &d.event.as_bytes()[..]).collect();
        let ordinals: Vec<i16> = deliveries.iter().map(|delivery| delivery.ordinal).collect();
        let seqs: Vec<i64> = deliveries.iter().map(|delivery| delivery.seq).collect();
        let origins: Vec<&str> = deliveries.iter().map(|d| d.origin.as_str()).collect();
        let plugins: Vec<&str> = deliveries.iter().map(|d| d.route.plugin.as_str()).collect();
        let keys: Vec<Option<&[u8]>> = deliveries
            .iter()
            .map(|delivery| delivery.route.order_key.as_ref().filter(|_| !delivery.buried))
            .map(|key| key.map(|key| key.as_str().as_bytes()))
            .collect();
        let places: Vec<Option<i64>> =
            stands.iter().map(|stand| stand.map(|(place, _)| place)).collect();
        let standing: Vec<Option<i16>> =
            stands.iter().map(|stand| stand.map(|(_, code)| code)).collect();
        let replayed: Vec<bool> = deliveries.iter().map(|delivery| delivery.replayed).collect();
        let buried: Vec<bool> = deliveries.iter().map(|delivery| delivery.buried).collect();
        let sql = "INSERT INTO deliveries (event, ordinal, seq, origin, plugin, order_key, place, standing, due_at,
                       replayed_at, attempts, settled_at, dead)
                   SELECT event, ordinal, seq, origin, plugin, order_key, place, standing, $11::bigint,
                       CASE WHEN replayed THEN $11 END, buried::int, CASE WHEN buried THEN $11 END, buried::int
                   FROM unnest($1::bytea[], $2::smallint[], $3::bigint[], $4::text[], $5::text[], $6::bytea[],
                               $7::bigint[], $8::smallint[], $9::boolean[], $10::boolean[])
                       AS d(event, ordinal, seq, origin, plugin, order_key, place, standing, replayed, buried)";
        let now = self.now.as_millis();
        self.moment
            .run(
                sql,
                &[
                    &events, &ordinals, &seqs, &origins, &plugins, &keys, &places, &standing,
                    &replayed, &buried, &now,
                ],
            )
            .await?;
        Ok(())
    }

    /// Counts a delivery that is made, and answers its place in its line and how it stands there.
    fn stand(
        &mut self,
        delivery: &Delivery,
        places: &mut HashMap<Line, (i64, bool)>,
    ) -> Option<(i64, i16)> {
        let plugin = delivery.route.plugin.as_str();
        if delivery.buried {
            self.counted.of(plugin).dead += 1;
            self.counted.totals.dead += 1;
            let attempt =
                nothing_ran(Outcome::HopLimit, "the event passed through too many plugins");
            self.rows.attempts.push(AttemptRow {
                event: delivery.event,
                ordinal: delivery.ordinal,
                number: 1,
                lease: (self.boot, 0),
                started_at: self.now,
                attempt,
                exchanges: None,
                buries: true,
            });
            return None;
        }
        self.counted.totals.due += 1;
        let stand = delivery.route.order_key.as_ref().and_then(|key| {
            let line = (plugin.to_owned(), key.as_str().as_bytes().to_vec());
            let (place, empty) = places.get_mut(&line)?;
            let stand = (*place, if *empty { FIRST } else { BEHIND });
            (*place, *empty) = (*place + 1, false);
            Some(stand)
        });
        match stand {
            Some((_, BEHIND)) => self.counted.of(plugin).behind += 1,
            _ => {
                self.counted.of(plugin).due += 1;
                self.work_due = true;
            }
        }
        stand
    }

    /// The next of each line that somebody left is due now.
    async fn advance(&mut self) -> Result<(), Fault> {
        let left = || self.rows.lines.iter().filter(|(_, moved)| moved.leave > 0);
        let plugins: Vec<&str> = left().map(|((plugin, _), _)| plugin.as_str()).collect();
        let keys: Vec<&[u8]> = left().map(|((_, key), _)| &key[..]).collect();
        if plugins.is_empty() {
            return Ok(());
        }
        let sql = "UPDATE deliveries AS d SET standing = 0, due_at = $3
                   FROM unnest($1::text[], $2::bytea[]) AS l(plugin, order_key)
                       CROSS JOIN LATERAL (
                           SELECT event, ordinal FROM deliveries
                           WHERE plugin = l.plugin AND order_key = l.order_key AND standing IS NOT NULL
                           ORDER BY place LIMIT 1) AS next
                   WHERE d.event = next.event AND d.ordinal = next.ordinal AND d.standing = 1
                   RETURNING d.plugin";
        let now = self.now.as_millis();
        for row in self.moment.rows(sql, &[&plugins, &keys, &now]).await? {
            let depth = self.counted.of(row.get(0));
            (depth.behind, depth.due) = (depth.behind - 1, depth.due + 1);
            self.work_due = true;
        }
        Ok(())
    }
}

/// So many places there are in a line for each millisecond.
const PLACES: i64 = 1000;

/// How a delivery stands in its line: it may be leased when it is due,
pub(super) const FIRST: i16 = 0;
/// it waits for those before it,
pub(super) const BEHIND: i16 = 1;
/// or it is dead, and those behind it wait for an operator.
pub(super) const BLOCKS: i16 = 2;

fn bytes_of(event: &NewRow) -> i64 {
    i64::try_from(event.envelope.len() + event.body.len()).unwrap_or(i64::MAX)
}

/// The record of an attempt in which no plugin ran to an end.
pub(super) fn nothing_ran(outcome: Outcome, message: &str) -> Attempt {
    Attempt {
        outcome,
        message: Some(message.to_owned()),
        version: None,
        wall: std::time::Duration::ZERO,
        cpu: std::time::Duration::ZERO,
        logs: Vec::new(),
    }
}
