//! What is asked of single events, and in the order of all.

use hookweir_event::{Digest, Event, EventId, Exchanges, OrderKey, PluginName};
use tokio_postgres::Row;

use super::{
    Fault,
    columns::{Columns, count},
    shown::{self, Entry, columns, ordinal},
    window::Window,
};
use crate::{Blocked, DeliveryId, ReadError, Shown, exchanges};

/// The most events in one answer: some milliseconds of reading.
pub(super) const PAGE_MAX: usize = 1000;
/// So many claims are looked for at a time.
const CLAIMS_MAX: usize = 10_000;

/// How many rows are wanted, as statements take it.
pub(super) fn limit_of(limit: usize) -> i64 {
    i64::try_from(limit.min(PAGE_MAX)).unwrap_or(0)
}

/// The event with an id.
const WITH_ID: &str = concat!("SELECT ", columns!(), " FROM events AS e WHERE e.id = $1");

impl Window {
    /// Events in the order of their numbers, behind `after`; none if that is unknown.
    pub(crate) async fn events(
        &self,
        after: Option<EventId>,
        limit: usize,
    ) -> Result<Vec<Shown>, ReadError> {
        let mut connection = self.connect().await?;
        let moment = connection.moment().await?;
        let after: i64 = match after {
            None => 0,
            Some(id) => match moment.row(WITH_ID, &[&&id.as_bytes()[..]]).await? {
                None => return Ok(Vec::new()),
                Some(row) => row.value("seq")?,
            },
        };
        let sql = concat!(
            "SELECT ",
            columns!(),
            " FROM events AS e WHERE e.seq > $1 ORDER BY e.seq LIMIT $2"
        );
        let rows = moment.rows(sql, &[&after, &limit_of(limit)]).await?;
        let entries = rows.iter().map(Entry::of).collect::<Result<Vec<_>, _>>()?;
        Ok(shown::shown(&moment, &entries).await?)
    }

    /// An event with its content.
    pub(crate) async fn event(&self, id: EventId) -> Result<Option<Event>, ReadError> {
        let mut connection = self.connect().await?;
        let moment = connection.moment().await?;
        let Some(row) = moment.row(WITH_ID, &[&&id.as_bytes()[..]]).await? else { return Ok(None) };
        let entry = Entry::of(&row)?;
        let content = shown::contents(&moment, std::slice::from_ref(&entry)).await?.remove(&id);
        let event = content.and_then(|content| content.event(&entry.summary));
        Ok(Some(event.ok_or_else(|| Fault::unreadable("an event"))?))
    }

    /// An event with its deliveries.
    pub(crate) async fn show(&self, id: EventId) -> Result<Option<Shown>, ReadError> {
        let mut connection = self.connect().await?;
        let moment = connection.moment().await?;
        let Some(row) = moment.row(WITH_ID, &[&&id.as_bytes()[..]]).await? else { return Ok(None) };
        Ok(shown::shown(&moment, &[Entry::of(&row)?]).await?.pop())
    }

    /// What an attempt sent and was answered; none if that was not kept.
    pub(crate) async fn exchanges(
        &self,
        delivery: DeliveryId,
        attempt: u32,
    ) -> Result<Option<Exchanges>, ReadError> {
        let (Ok(ordinal), Ok(number)) = (i16::try_from(delivery.ordinal), i32::try_from(attempt))
        else {
            return Ok(None);
        };
        let sql = "SELECT content FROM exchanges WHERE event = $1 AND ordinal = $2 AND number = $3";
        let event = &delivery.event.as_bytes()[..];
        let Some(row) = self.ask_one(sql, &[&event, &ordinal, &number]).await? else {
            return Ok(None);
        };
        let exchanges = exchanges::read(row.value("content")?);
        Ok(Some(exchanges.ok_or_else(|| Fault::unreadable("content"))?))
    }

    /// The dead letters that others wait behind, the oldest first.
    pub(crate) async fn blocked(
        &self,
        plugin: Option<&PluginName>,
        limit: usize,
    ) -> Result<Vec<Blocked>, ReadError> {
        let sql = "SELECT d.event, d.ordinal, d.plugin, d.order_key, d.settled_at, l.length - 1 AS waiting
                   FROM deliveries AS d
                       JOIN lines AS l ON l.plugin = d.plugin AND l.order_key = d.order_key
                   WHERE d.standing = 2 AND ($1::text IS NULL OR d.plugin = $1)
                   ORDER BY d.seq, d.ordinal LIMIT $2";
        let plugin = plugin.map(PluginName::as_str);
        let rows = self.ask(sql, &[&plugin, &limit_of(limit)]).await?;
        Ok(rows.iter().map(blocked).collect::<Result<_, _>>()?)
    }

    /// Of each claim whether it is kept.
    pub(crate) async fn claimed(&self, claims: &[Digest]) -> Result<Vec<bool>, ReadError> {
        let sql = "SELECT w.nth FROM unnest($1::bytea[]) WITH ORDINALITY AS w(claim, nth)
                       JOIN claims AS c ON c.claim = w.claim";
        let mut claimed = Vec::with_capacity(claims.len());
        for some in claims.chunks(CLAIMS_MAX) {
            let wanted: Vec<&[u8]> = some.iter().map(|claim| &claim.as_bytes()[..16]).collect();
            let first = claimed.len();
            claimed.resize(first + some.len(), false);
            for row in self.ask(sql, &[&wanted]).await? {
                let nth = usize::try_from(row.number("nth")?).unwrap_or(0);
                claimed[first + nth - 1] = true;
            }
        }
        Ok(claimed)
    }
}

fn blocked(row: &Row) -> Result<Blocked, Fault> {
    Ok(Blocked {
        by: DeliveryId { event: row.id("event")?, ordinal: ordinal(row)? },
        plugin: row.parsed("plugin")?,
        order_key: OrderKey::new(&row.text("order_key")?),
        since: row.time("settled_at")?,
        waiting: count(row.value("waiting")?),
    })
}
