//! The rows of what a transaction makes: events, their deliveries, and those deliveries' places in their lines.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
};

use hookweir_event::{EventId, Hops, Timestamp};
use tokio_postgres::Row;

use super::{
    Fault,
    batch::Batch,
    end::End,
    settle::AttemptRow,
    tables::{self, each},
    totals,
};
use crate::{Route, bounds::too_far};

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
pub(super) struct NewRow<'m> {
    pub(super) id: EventId,
    pub(super) origin: Cow<'m, str>,
    pub(super) event_type: &'m str,
    pub(super) received_at: Timestamp,
    pub(super) hops: Hops,
    /// For outputs: the event whose delivery made it, and the first of the chain.
    pub(super) from: Option<[EventId; 2]>,
    pub(super) claims: Vec<u8>,
    pub(super) envelope: Cow<'m, [u8]>,
    pub(super) body: &'m [u8],
    pub(super) routes: &'m [Route],
    /// Whether it went too far: its deliveries are dead from the start.
    pub(super) buried: bool,
}

/// A delivery to make.
#[derive(Debug)]
pub(super) struct Delivery<'m> {
    pub(super) event: EventId,
    pub(super) ordinal: i16,
    /// Of its event.
    pub(super) seq: i64,
    /// Of its event.
    pub(super) origin: Cow<'m, str>,
    pub(super) route: &'m Route,
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
pub(super) struct Rows<'m> {
    events: Vec<NewRow<'m>>,
    ids: HashSet<EventId>,
    /// Further deliveries of events that are there.
    pub(super) deliveries: Vec<Delivery<'m>>,
    pub(super) attempts: Vec<AttemptRow<'m>>,
    /// In one order, so that two who lock the same ones don't wait for each other.
    pub(super) lines: BTreeMap<Line, Moved>,
}

impl<'m> Rows<'m> {
    pub(super) fn add(&mut self, new: NewRow<'m>) {
        self.ids.insert(new.id);
        self.events.push(new);
    }

    /// Whether it is made by this transaction.
    pub(super) fn has(&self, event: &EventId) -> bool {
        self.ids.contains(event)
    }
}

/// An event with its number.
type Numbered<'m> = (NewRow<'m>, i64);

/// The place of a delivery in its line, and how it stands there; none if it is in no line.
type Stand = Option<(i64, i16)>;

impl<'m> Batch<'m> {
    /// Writes all rows, closes what was settled, and moves the lines on. Where that is all, and nothing has to be known of
    /// it to count it, it is committed as well, by that `end`: so one answer less is waited for.
    pub(super) async fn write_rows(&mut self, end: Option<&mut End<'_>>) -> Result<(), Fault> {
        let events = self.number_events().await?;
        self.count_events(&events);
        let mut deliveries = std::mem::take(&mut self.rows.deliveries);
        for (event, seq) in &events {
            for (ordinal, route) in (0..).zip(event.routes) {
                let (origin, buried) = (event.origin.clone(), event.buried);
                let (event, seq, replayed) = (event.id, *seq, false);
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
        let mut stands = Vec::with_capacity(deliveries.len());
        for delivery in &deliveries {
            stands.push(self.stand(delivery, &mut places));
        }
        if let Some(end) = end.filter(|_| !self.careful && self.claims.are_new()) {
            return self.write_and_commit(&events, (&deliveries, &stands), end).await;
        }
        // What was looked at with care is written already.
        let unwritten = if self.careful { &[] } else { &events[..] };
        let (.., again) = tokio::try_join!(
            biased;
            self.take(),
            self.write_events(unwritten),
            self.write_deliveries(&deliveries, &stands),
            self.close(),
            self.write_attempts(),
            self.write_exchanges(),
            self.write_state(),
            self.count_again(),
        )?;
        self.closings.clear();
        self.counted.totals.duplicates += again;
        self.count_attempts().await?;
        self.advance().await
    }

    /// Writes what is appended, of which nothing is there, and commits.
    async fn write_and_commit(
        &self,
        events: &[Numbered<'m>],
        (deliveries, stands): (&[Delivery<'m>], &[Stand]),
        end: &mut End<'_>,
    ) -> Result<(), Fault> {
        debug_assert!(self.rows.attempts.is_empty() && self.closings.is_empty());
        debug_assert!(self.rows.lines.values().all(|moved| moved.leave == 0));
        let rows = [tables::Claim::INSERT, tables::Event::INSERT, DELIVERIES];
        self.moment.prepare(&rows).await?;
        self.moment.prepare(&totals::STATEMENTS).await?;
        end.asks(None);
        let shard = end.shard;
        let written = async {
            tokio::try_join!(
                biased;
                self.take(),
                self.write_events(events),
                self.write_deliveries(deliveries, stands),
            )?;
            end.goes_on();
            Ok(())
        };
        let committed = self.counted.commit(self.moment, shard);
        let ((), wrote) = tokio::try_join!(biased; written, committed)?;
        end.is_over(wrote);
        Ok(())
    }

    /// Gives the events numbers. Where care is taken they are written, and those are left out that were there already.
    async fn number_events(&mut self) -> Result<Vec<Numbered<'m>>, Fault> {
        let events = std::mem::take(&mut self.rows.events);
        let mut numbered = Vec::with_capacity(events.len());
        for event in events {
            let number = self.numbers.next();
            let number = number.ok_or_else(|| Fault::Operation("too few numbers".to_owned()))?;
            numbered.push((event, number));
        }
        if self.careful && !numbered.is_empty() {
            let mut new = self.write_new_events(&numbered).await?;
            // Of those that are asked for twice the first was written.
            numbered.retain(|(event, _)| new.remove(&event.id));
        }
        Ok(numbered)
    }

    fn count_events(&mut self, events: &[Numbered<'m>]) {
        let totals = &mut self.counted.totals;
        for (event, _) in events {
            totals.events += 1;
            totals.outputs += i64::from(event.from.is_some());
            totals.unrouted += i64::from(event.routes.is_empty());
            totals.bytes += bytes_of(event);
        }
    }

    /// Writes events of which none is there.
    async fn write_events(&self, events: &[Numbered<'m>]) -> Result<(), Fault> {
        tables::Event::insert(self.moment, &each(events, |new| self.row_of(new))).await
    }

    /// Writes those of the events that are not there, and answers which those were.
    async fn write_new_events(&self, events: &[Numbered<'m>]) -> Result<HashSet<EventId>, Fault> {
        let rows = each(events, |new| self.row_of(new));
        let new = tables::Event::insert_new(self.moment, &rows).await?;
        new.iter().map(|row| id_of(row, 0)).collect()
    }

    fn row_of<'a>(&self, (event, seq): &'a Numbered<'m>) -> tables::Event<'a> {
        let from = |nth: usize| event.from.as_ref().map(|ids| &ids[nth].as_bytes()[..]);
        tables::Event {
            id: event.id.as_bytes(),
            seq: *seq,
            origin: &event.origin,
            event_type: event.event_type,
            received_at: event.received_at.as_millis(),
            committed_at: self.now.as_millis(),
            hops: event.hops.0.into(),
            from: [from(0), from(1)],
            claims: &event.claims,
            envelope: &event.envelope,
            body: event.body,
        }
    }

    /// Gives each plugin a row that may have none.
    async fn note_plugins(&mut self, deliveries: &[Delivery<'m>]) -> Result<(), Fault> {
        let names: BTreeSet<&str> =
            deliveries.iter().map(|delivery| delivery.route.plugin.as_str()).collect();
        let names = names.into_iter().map(str::to_owned).collect();
        self.note_plugin_names(names).await
    }

    pub(super) async fn note_plugin_names(
        &mut self,
        mut names: BTreeSet<String>,
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
        &self,
        deliveries: &[Delivery<'m>],
        stands: &[Stand],
    ) -> Result<(), Fault> {
        if deliveries.is_empty() {
            return Ok(());
        }
        let events: Vec<&[u8]> = deliveries.iter().map(|d| &d.event.as_bytes()[..]).collect();
        let ordinals: Vec<i16> = deliveries.iter().map(|delivery| delivery.ordinal).collect();
        let seqs: Vec<i64> = deliveries.iter().map(|delivery| delivery.seq).collect();
        let origins: Vec<&str> = deliveries.iter().map(|d| &*d.origin).collect();
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
        let now = self.now.as_millis();
        self.moment
            .run(
                DELIVERIES,
                &[
                    &events, &ordinals, &seqs, &origins, &plugins, &keys, &places, &standing,
                    &replayed, &buried, &now,
                ],
            )
            .await?;
        Ok(())
    }

    /// Counts a delivery that is made, and answers its place in its line and how it stands there.
    fn stand(&mut self, delivery: &Delivery<'m>, places: &mut HashMap<Line, (i64, bool)>) -> Stand {
        let plugin = delivery.route.plugin.as_str();
        if delivery.buried {
            self.counted.of(plugin).dead += 1;
            self.counted.totals.dead += 1;
            self.rows.attempts.push(AttemptRow {
                event: delivery.event,
                ordinal: delivery.ordinal,
                number: 1,
                lease: (self.boot, 0),
                started_at: self.now,
                attempt: Cow::Owned(too_far()),
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

/// Writes deliveries.
const DELIVERIES: &str = "INSERT INTO deliveries (event, ordinal, seq, origin, plugin, order_key, place, standing, due_at,
        replayed_at, attempts, settled_at, dead)
    SELECT event, ordinal, seq, origin, plugin, order_key, place, standing, $11::bigint,
        CASE WHEN replayed THEN $11 END, buried::int, CASE WHEN buried THEN $11 END, buried::int
    FROM (SELECT unnest($1::bytea[]) AS event, unnest($2::smallint[]) AS ordinal,
              unnest($3::bigint[]) AS seq, unnest($4::text[]) AS origin, unnest($5::text[]) AS plugin,
              unnest($6::bytea[]) AS order_key, unnest($7::bigint[]) AS place,
              unnest($8::smallint[]) AS standing, unnest($9::boolean[]) AS replayed,
              unnest($10::boolean[]) AS buried) AS d";

/// So many places there are in a line for each millisecond.
const PLACES: i64 = 1000;

/// How a delivery stands in its line: it may be leased when it is due,
pub(super) const FIRST: i16 = 0;
/// it waits for those before it,
pub(super) const BEHIND: i16 = 1;
/// or it is dead, and those behind it wait for an operator.
pub(super) const BLOCKS: i16 = 2;

fn bytes_of(event: &NewRow<'_>) -> i64 {
    i64::try_from(event.envelope.len() + event.body.len()).unwrap_or(i64::MAX)
}
