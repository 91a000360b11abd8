//! What is shown of events: for all of a page together, since each statement is a way there and back.
//!
//! Who may log a lot is bounded by what is fetched: how much it is is asked before ([`logged`]).

use std::{collections::HashMap, time::Duration};

use hookweir_event::{Attempt, Digest, Event, EventId, Hops, OrderKey, Outcome};
use tokio_postgres::Row;

use super::{
    Fault, Moment,
    columns::{Columns, count},
    stand,
};
use crate::{
    DeliveryId, ExchangeCounts, Shown, ShownAttempt, ShownDelivery, Summary,
    codec::{self, Envelope},
};

/// The columns of an event `e` that an [`Entry`] is read from, and its claims.
macro_rules! columns {
    () => {
        "e.id, e.seq, e.tx, e.origin, e.type, e.received_at, e.hops, e.parent, e.root, e.body_len, e.bytes, e.claims"
    };
}
pub(super) use columns;

/// An event without its content, and where it comes in listings.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) place: Place,
    pub(super) summary: Summary,
    /// Of its content.
    pub(super) bytes: usize,
}

/// Where an event comes: in searches by its number alone, in what is new by its transaction first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) tx: i64,
    pub(super) seq: i64,
}

impl Entry {
    /// From a row with the [`columns!`].
    pub(super) fn of(row: &Row) -> Result<Self, Fault> {
        let hops: i16 = row.value("hops")?;
        let summary = Summary {
            id: row.id("id")?,
            origin: row.parsed("origin")?,
            event_type: row.parsed("type")?,
            received_at: row.time("received_at")?,
            parent: row.id_if_any("parent")?,
            root: row.id_if_any("root")?,
            hops: Hops(u8::try_from(hops).map_err(|_| Fault::unreadable("hops"))?),
            body_len: row.number("body_len")?,
        };
        let place = Place { tx: row.value("tx")?, seq: row.value("seq")? };
        let bytes = usize::try_from(row.number("bytes")?).unwrap_or(usize::MAX);
        Ok(Self { place, summary, bytes })
    }
}

/// The ids of some events, as statements take them. With the first and the last of them the database knows which
/// partitions to look at.
struct Ids<'a> {
    all: Vec<&'a [u8]>,
    first: &'a [u8],
    last: &'a [u8],
}

impl<'a> Ids<'a> {
    /// None of no events.
    fn of(entries: &'a [Entry]) -> Option<Self> {
        let all: Vec<&[u8]> =
            entries.iter().map(|entry| &entry.summary.id.as_bytes()[..]).collect();
        let (first, last) = (all.iter().min()?, all.iter().max()?);
        Some(Self { first, last, all })
    }

    /// The rows of a statement that takes these, the first, and the last.
    async fn rows(&self, moment: &Moment<'_>, sql: &'static str) -> Result<Vec<Row>, Fault> {
        moment.rows(sql, &[&self.all, &self.first, &self.last]).await
    }
}

/// Events with their deliveries and attempts, in the order of the entries.
pub(super) async fn shown(moment: &Moment<'_>, entries: &[Entry]) -> Result<Vec<Shown>, Fault> {
    let Some(ids) = Ids::of(entries) else { return Ok(Vec::new()) };
    let mut deliveries = with_attempts(moment, entries).await?;
    let sql = "SELECT event, count, last_at FROM duplicates
               WHERE event = ANY($1) AND event BETWEEN $2 AND $3";
    let mut sent_again = HashMap::new();
    for row in ids.rows(moment, sql).await? {
        let times = clipped(row.value("count")?);
        sent_again.insert(row.id("event")?, (times, row.time("last_at")?));
    }
    Ok(entries
        .iter()
        .map(|Entry { summary, .. }| {
            let again = sent_again.get(&summary.id);
            Shown {
                event: summary.clone(),
                deliveries: deliveries.remove(&summary.id).unwrap_or_default(),
                duplicates: again.map_or(0, |(times, _)| *times),
                duplicated_at: again.map(|(_, last_at)| *last_at),
            }
        })
        .collect())
}

/// The deliveries of some events with their attempts.
pub(super) async fn with_attempts(
    moment: &Moment<'_>,
    entries: &[Entry],
) -> Result<HashMap<EventId, Vec<ShownDelivery>>, Fault> {
    let mut all = deliveries(moment, entries).await?;
    let Some(ids) = Ids::of(entries) else { return Ok(all) };
    // The second condition on `x` is for its partitions.
    let sql = "SELECT a.event, a.ordinal, a.number, a.started_at, a.outcome, a.message, a.version,
                      a.wall_us, a.cpu_us, a.logs, x.kept, x.left_out
               FROM attempts AS a LEFT JOIN exchanges AS x
               ON x.event = a.event AND x.ordinal = a.ordinal AND x.number = a.number
                  AND x.event BETWEEN $2 AND $3
               WHERE a.event = ANY($1) AND a.event BETWEEN $2 AND $3
               ORDER BY a.event, a.ordinal, a.number";
    for row in ids.rows(moment, sql).await? {
        let id = DeliveryId { event: row.id("event")?, ordinal: ordinal(&row)? };
        let of_event = all.get_mut(&id.event).into_iter().flatten();
        if let Some(delivery) = of_event.into_iter().find(|delivery| delivery.id == id) {
            delivery.attempts.push(attempt(&row)?);
        }
    }
    Ok(all)
}

/// The deliveries of some events, without their attempts, in the order of their ordinals.
pub(super) async fn deliveries(
    moment: &Moment<'_>,
    entries: &[Entry],
) -> Result<HashMap<EventId, Vec<ShownDelivery>>, Fault> {
    let mut all: HashMap<_, Vec<_>> = HashMap::new();
    let Some(ids) = Ids::of(entries) else { return Ok(all) };
    for row in ids.rows(moment, stand::DELIVERIES_OF).await? {
        let delivery = delivery(&row)?;
        all.entry(delivery.id.event).or_default().push(delivery);
    }
    Ok(all)
}

fn delivery(row: &Row) -> Result<ShownDelivery, Fault> {
    let lost_leases: i32 = row.value("lost_leases")?;
    Ok(ShownDelivery {
        id: DeliveryId { event: row.id("event")?, ordinal: ordinal(row)? },
        plugin: row.parsed("plugin")?,
        state: stand::state_of(row)?,
        order_key: row.text_if_any("order_key")?.as_deref().map(OrderKey::new),
        blocks: row.value("blocks")?,
        due_at: row.time("due_at")?,
        replayed_at: row.time_if_any("replayed_at")?,
        settled_at: row.time_if_any("settled_at")?,
        discarded_at: row.time_if_any("discarded_at")?,
        lost_leases: clipped(lost_leases.into()),
        attempts: Vec::new(),
    })
}

pub(super) fn ordinal(row: &Row) -> Result<u16, Fault> {
    u16::try_from(row.value::<i16>("ordinal")?).map_err(|_| Fault::unreadable("ordinal"))
}

fn attempt(row: &Row) -> Result<ShownAttempt, Fault> {
    let number =
        u32::try_from(row.value::<i32>("number")?).map_err(|_| Fault::unreadable("number"))?;
    let logs = match row.value::<Option<&[u8]>>("logs")? {
        None => Vec::new(),
        Some(blob) => codec::read_logs(blob).ok_or_else(|| Fault::unreadable("logs"))?,
    };
    let version = row.value::<Option<&[u8]>>("version")?.map(<[u8; 32]>::try_from).transpose();
    let outcome = Outcome::from_word(row.value("outcome")?);
    let attempt = Attempt {
        outcome: outcome.ok_or_else(|| Fault::unreadable("outcome"))?,
        message: row.text_if_any("message")?,
        version: version.map_err(|_| Fault::unreadable("version"))?.map(Digest::from_bytes),
        wall: Duration::from_micros(row.number("wall_us")?),
        cpu: Duration::from_micros(row.number("cpu_us")?),
        logs,
    };
    let exchanges = match row.value::<Option<i32>>("kept")? {
        None => None,
        Some(kept) => {
            let (kept, left_out) = (i64::from(kept), row.value("left_out")?);
            Some(ExchangeCounts { kept: clipped(kept), left_out: clipped(left_out) })
        }
    };
    Ok(ShownAttempt { number, started_at: row.time("started_at")?, attempt, exchanges })
}

/// A number of something, as it is shown.
fn clipped(number: i64) -> u32 {
    u32::try_from(count(number)).unwrap_or(u32::MAX)
}

/// About how many bytes of what plugins said of their attempts there are, of each of some events; never more than a
/// listing of it has.
pub(super) async fn logged(
    moment: &Moment<'_>,
    entries: &[Entry],
) -> Result<HashMap<EventId, usize>, Fault> {
    let mut all = HashMap::new();
    let Some(ids) = Ids::of(entries) else { return Ok(all) };
    let sql = "SELECT event,
                   sum(coalesce(octet_length(logs), 0) + coalesce(octet_length(message), 0))::bigint AS bytes
               FROM attempts WHERE event = ANY($1) AND event BETWEEN $2 AND $3 GROUP BY event";
    for row in ids.rows(moment, sql).await? {
        let bytes = usize::try_from(row.number("bytes")?).unwrap_or(usize::MAX);
        all.insert(row.id("event")?, bytes);
    }
    Ok(all)
}

/// What an event has beside its entry.
#[derive(Debug)]
pub(super) struct Content {
    /// None if it can't be read.
    pub(super) envelope: Option<Envelope>,
    pub(super) body: Vec<u8>,
}

impl Content {
    /// The event that has it.
    pub(super) fn event(self, summary: &Summary) -> Option<Event> {
        let Envelope { method, path, query, headers, attributes } = self.envelope?;
        Some(Event {
            id: summary.id,
            origin: summary.origin.clone(),
            event_type: summary.event_type.clone(),
            received_at: summary.received_at,
            method,
            path,
            query,
            headers,
            body: self.body,
            attributes,
            hops: summary.hops,
        })
    }
}

/// The contents of some events.
pub(super) async fn contents(
    moment: &Moment<'_>,
    entries: &[Entry],
) -> Result<HashMap<EventId, Content>, Fault> {
    let mut all = HashMap::new();
    let Some(ids) = Ids::of(entries) else { return Ok(all) };
    let sql = "SELECT id, envelope, body FROM events WHERE id = ANY($1) AND id BETWEEN $2 AND $3";
    for row in ids.rows(moment, sql).await? {
        let envelope = codec::read_envelope(row.value("envelope")?);
        all.insert(row.id("id")?, Content { envelope, body: row.value("body")? });
    }
    Ok(all)
}
