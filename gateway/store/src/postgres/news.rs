//! What is new, told once and in order.
//!
//! Transactions commit in another order than they began in, so that events appear between those that were told
//! already, whatever they are put in order by. So an event is told when all transactions are over that began before
//! its own, in the order of those: nothing can appear before it any more.
//!
//! A transaction that takes long and has a table of the store's in use holds that back: what commits meanwhile is told
//! when it is over. Those of the gateways are over in milliseconds, and are waited for.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{
    Fault, Moment,
    columns::Columns,
    look::PAGE_MAX,
    search::{Order, Search},
    shown::{Place, columns},
    window::Window,
};
use crate::{Cursor, Filter, News, ReadError, Shown};

/// The number of the first transaction that may not be over and may write events: those before it are over for whoever
/// looks from now on, or have nothing to do with the store. Such numbers are in `events.tx`, written as
/// `pg_current_xact_id()::text::bigint + (SELECT tx_offset FROM meta)` ([`renumber`]). A distributed SQL engine has another word for this, and nothing else but
/// `days` depends on transactions being numbered.
///
/// Who has a number has locked what it writes to; so one of which no such lock is seen, but that for its number, writes
/// elsewhere in the cluster.
macro_rules! horizon {
    () => {
        "(SELECT coalesce(min(x.tx), pg_snapshot_xmax(pg_current_snapshot())::text::bigint)
                 + (SELECT tx_offset FROM meta)
          FROM (SELECT xip::text::bigint AS tx FROM pg_snapshot_xip(pg_current_snapshot()) AS xip) AS x
          WHERE NOT EXISTS (
              SELECT 1 FROM pg_locks AS t
              WHERE t.locktype = 'transactionid' AND t.mode = 'ExclusiveLock'
                  AND t.transactionid::text::bigint = x.tx % 4294967296
                  AND NOT EXISTS (
                      SELECT 1 FROM pg_locks AS l JOIN pg_class AS c ON c.oid = l.relation
                      WHERE l.virtualtransaction = t.virtualtransaction
                          AND c.relnamespace = current_schema()::regnamespace)))"
    };
}

pub(super) use horizon;

/// Sees to it that what is there is of transactions that are over, whichever cluster's those were: a dump that was restored
/// brings numbers that this cluster gives only later, if ever. New ones are above them from now on. To be done under the lock of
/// [`schema::migrate`](super::schema::migrate), so that nobody adds twice.
pub(super) async fn renumber(moment: &Moment<'_>) -> Result<(), Fault> {
    // What a snapshot shows is of transactions before its end, unless they are another cluster's.
    let sql = "UPDATE meta SET tx_offset = tx_offset + e.last + 1 - e.next
               FROM (SELECT max(tx) AS last,
                            pg_snapshot_xmax(pg_current_snapshot())::text::bigint
                                + (SELECT tx_offset FROM meta) AS next
                     FROM events) AS e
               WHERE e.last >= e.next";
    if moment.run(sql, &[]).await? > 0 {
        tracing::info!(
            "events are of another cluster's transactions: new ones are numbered above those"
        );
    }
    Ok(())
}

/// Events of transactions before one, from behind a place on, in the order of those.
const TOLD: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM events AS e
     WHERE (e.tx, e.seq) > ($12, $2) AND e.tx < $13 ORDER BY e.tx, e.seq LIMIT $1"
);
/// So long the transactions are waited for that hold back what is committed.
const WAIT: Duration = Duration::from_secs(2);
/// So often it is looked whether they are over.
const EVERY: Duration = Duration::from_millis(5);

impl Window {
    /// Events that came behind a cursor; without one nothing but where the next will be. Dedupe keys and duplicates
    /// are not looked at.
    pub(crate) async fn news(
        &self,
        filter: &Filter,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<News<Shown>, ReadError> {
        let horizon = self.all_told().await?;
        let place = |cursor: Cursor| Some(Place { tx: cursor.transaction?, seq: cursor.event });
        // A cursor of a search says nothing of transactions.
        let Some(from) = after.and_then(place) else {
            let next = cursor(Place { tx: horizon, seq: 0 });
            return Ok(News { found: Vec::new(), next, more: false });
        };
        let filter = Filter { claim: None, duplicated: false, ..filter.clone() };
        let mut connection = self.connect().await?;
        let moment = connection.moment().await?;
        let search = Search::new(&moment, &filter, limit.clamp(1, PAGE_MAX));
        let mut found = search.run(TOLD, Order::AsCommitted { before: horizon }, from).await?;
        let shown = found.shown(&moment).await?;
        let next = cursor(found.last.unwrap_or(from));
        Ok(News { found: shown, next, more: found.more })
    }

    /// Waits a little until all that is committed can be told. Answers the first transaction whose events can't be.
    async fn all_told(&self) -> Result<i64, ReadError> {
        let until = Instant::now() + WAIT;
        let sql =
            concat!("SELECT coalesce(max(tx), 0) AS last, ", horizon!(), " AS horizon FROM events");
        let row = self.ask_one(sql, &[]).await?.ok_or_else(|| Fault::unreadable("events"))?;
        let (last, mut horizon): (i64, i64) = (row.value("last")?, row.value("horizon")?);
        while horizon <= last && Instant::now() < until {
            sleep(EVERY).await;
            let sql = concat!("SELECT ", horizon!(), " AS horizon");
            let row = self.ask_one(sql, &[]).await?;
            horizon = row.map_or(Ok(horizon), |row| row.value("horizon"))?;
        }
        Ok(horizon)
    }
}

fn cursor(place: Place) -> Cursor {
    Cursor { event: place.seq, transaction: Some(place.tx) }
}
