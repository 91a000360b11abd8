//! Ends days that are over: counts what is in them, moves what has to stay, and drops the rest at once.

use deadpool_postgres::Object;
use hookweir_event::EventId;
use std::time::Duration;
use tokio::time::Instant;

use super::{CLAIM, Day, TABLES, bound, hurry, put_off};
use crate::postgres::{
    Fault, Moment, link,
    news::horizon,
    retain::{Old, Rule},
    totals::Counted,
    worker::{STEP_ALONE, Shared, own_shard},
};

/// What came in at the end of a day is settled some time later, and is to go with it all the same.
pub(super) const LATE: Duration = Duration::from_secs(3600);
/// The most events that are moved at once, while everybody waits, and the most bytes of them and of what they sent.
const STAY_MAX: usize = 4096;
const STAY_BYTES_MAX: i64 = 32 << 20;
/// So many events are counted in one transaction.
const STEP: i64 = 1024;

/// What a day has in it.
#[derive(Default)]
struct Count {
    /// How often it was touched when the counting began,
    touched: i64,
    /// and the first transaction that may not have been over then.
    horizon: i64,
    /// What the totals are to be changed by when it goes.
    counted: Counted,
    /// The events that have to stay, and the bytes that are moved with them.
    stay: Vec<EventId>,
    stay_bytes: i64,
}

impl Count {
    fn is_too_much(&self) -> bool {
        self.stay.len() > STAY_MAX || self.stay_bytes > STAY_BYTES_MAX
    }
}

/// Ends a day. One of which too much has to stay goes row by row, as much of it as may go, and stays for now.
pub(super) async fn end(
    shared: &Shared,
    connection: &mut Object,
    day: &Day,
    rule: &mut Rule,
) -> Result<(), Fault> {
    match count(shared, connection, day, rule).await? {
        Some(count) if !count.is_too_much() => {
            link::in_time(take_away(shared, connection, day, count)).await
        }
        Some(_) => thin(shared, connection, day, rule).await,
        // Another gateway was faster.
        None => Ok(()),
    }
}

/// Counts what is in a day, as far as may be needed.
async fn count(
    shared: &Shared,
    connection: &mut Object,
    day: &Day,
    rule: &mut Rule,
) -> Result<Option<Count>, Fault> {
    let Some(mut count) = link::in_time(begin(connection, day)).await? else { return Ok(None) };
    let mut walk = Walk::through(day);
    while !count.is_too_much() {
        let step = async {
            let moment = Moment::write(connection).await?;
            let mut batch = shared.batch(&moment).await?;
            let old = walk.next(&moment, STEP).await?;
            batch.counted = std::mem::take(&mut count.counted);
            let judged = batch.judge(rule, &old, false).await?;
            batch.counted.totals.bytes -= judged.sent;
            count.counted = batch.counted;
            count.stay_bytes += judged.stay_bytes;
            count.stay.extend(judged.stay);
            Ok(old.is_empty())
        };
        if link::in_time(step).await? {
            break;
        }
        walk.keep_chore(shared, connection).await?;
    }
    Ok(Some(count))
}

async fn begin(connection: &mut Object, day: &Day) -> Result<Option<Count>, Fault> {
    let moment = Moment::look(connection).await?;
    let sql = concat!("SELECT touched, ", horizon!(), " FROM days WHERE name = $1");
    let row = moment.row(sql, &[&day.name]).await?;
    let begun = |row: tokio_postgres::Row| Count {
        touched: row.get(0),
        horizon: row.get(1),
        ..Count::default()
    };
    Ok(row.map(begun))
}

/// Moves what has to stay, and drops the rest, unless any of it has changed since it was counted.
async fn take_away(
    shared: &Shared,
    connection: &mut Object,
    day: &Day,
    mut count: Count,
) -> Result<(), Fault> {
    let moment = Moment::write(connection).await?;
    hurry(&moment).await?;
    // In the order in which others come upon them.
    let names = TABLES.map(|(table, _)| format!("ONLY {table}")).join(", ");
    moment.script(&format!("LOCK TABLE {names} IN ACCESS EXCLUSIVE MODE")).await?;
    let sql = "SELECT touched FROM days WHERE name = $1 FOR UPDATE";
    let Some(row) = moment.row(sql, &[&day.name]).await? else { return Ok(()) };
    // Later than all there are now are the numbers of another server, from which this one was restored.
    let late = format!(
        "SELECT 1 FROM events_{}
         WHERE tx >= $1 AND tx < pg_snapshot_xmax(pg_current_snapshot())::text::bigint LIMIT 1",
        day.name
    );
    if row.get::<_, i64>(0) != count.touched
        || !moment.rows_of(&late, &[&count.horizon]).await?.is_empty()
    {
        return Err(Fault::InTheWay("the day has changed meanwhile".to_owned()));
    }
    let stay: Vec<&[u8]> = count.stay.iter().map(|id| &id.as_bytes()[..]).collect();
    for (table, key) in TABLES {
        let part = format!("{table}_{}", day.name);
        moment.script(&format!("ALTER TABLE {table} DETACH PARTITION {part}")).await?;
        // There is no partition for it but the default one any more.
        let sql = format!("INSERT INTO {table} SELECT * FROM {part} WHERE {key} = ANY($1)");
        moment.rows_of(&sql, &[&stay]).await?;
    }
    let sql =
        "WITH gone AS (DELETE FROM duplicates WHERE event >= $1 AND event < $2 AND event <> ALL($3)
                             RETURNING count)
               SELECT coalesce(sum(count), 0)::bigint FROM gone";
    let duplicates = moment.the_row(sql, &[&bound(day.first), &bound(day.until), &stay]).await?;
    count.counted.totals.duplicates -= duplicates.get::<_, i64>(0);
    let parts = TABLES.map(|(table, _)| format!("{table}_{}", day.name)).join(", ");
    moment.script(&format!("DROP TABLE {parts}")).await?;
    moment.run("DELETE FROM days WHERE name = $1", &[&day.name]).await?;
    count.counted.write(&moment, own_shard(shared.boot())).await?;
    moment.commit().await?;
    tracing::info!(day = day.name, moved = stay.len(), "dropped a day that is over");
    Ok(())
}

/// Forgets what may go of a day, row by row.
async fn thin(
    shared: &Shared,
    connection: &mut Object,
    day: &Day,
    rule: &mut Rule,
) -> Result<(), Fault> {
    let mut walk = Walk::through(day);
    loop {
        let step = async {
            let moment = Moment::write(connection).await?;
            let mut batch = shared.batch(&moment).await?;
            let old = walk.next(&moment, STEP_ALONE).await?;
            batch.forget_some(rule, &old).await?;
            batch.counted.write(&moment, own_shard(shared.boot())).await?;
            moment.commit().await?;
            Ok(old.is_empty())
        };
        if link::in_time(step).await? {
            return Ok(());
        }
        walk.keep_chore(shared, connection).await?;
    }
}

/// Goes through a day's events in the order of their ids.
struct Walk {
    after: Vec<u8>,
    until: Vec<u8>,
    kept_at: Instant,
}

impl Walk {
    fn through(day: &Day) -> Self {
        Self { after: bound(day.first), until: bound(day.until), kept_at: Instant::now() }
    }

    async fn next(&mut self, moment: &Moment<'_>, limit: i64) -> Result<Vec<Old>, Fault> {
        let sql = "SELECT id, seq, committed_at, bytes, parent IS NOT NULL FROM events
                   WHERE id > $1 AND id < $2 ORDER BY id LIMIT $3";
        let rows = moment.rows(sql, &[&self.after, &self.until, &limit]).await?;
        let old = rows.iter().map(Old::of).collect::<Result<Vec<_>, _>>()?;
        if let Some(last) = old.last() {
            self.after = last.id.as_bytes().to_vec();
        }
        Ok(old)
    }

    /// Says now and then that we are at it still.
    async fn keep_chore(&mut self, shared: &Shared, connection: &mut Object) -> Result<(), Fault> {
        if self.kept_at.elapsed() < CLAIM / 4 {
            return Ok(());
        }
        self.kept_at = Instant::now();
        let moment = Moment::write(connection).await?;
        let now = shared.now(&moment).await?;
        drop(moment);
        link::in_time(put_off(connection, now + CLAIM)).await
    }
}
