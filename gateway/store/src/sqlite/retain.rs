//! Retention: forgets events that are over, the oldest first, some at a time beside other work.
//!
//! An event goes with everything below it when each of its deliveries is done or dead for as long as
//! that is kept, or when there is too much of them. What is open, or holds others up, stays however old
//! it is. While a claim of a forgotten event holds, its id stays in `departed`, so that a duplicate is
//! still answered with it.
//!
//! A cursor walks the events in the order of their keys, over those that have to stay, up to those that
//! are too young. Now and then it starts anew, for the sake of those that it stepped over.

use std::time::Duration;

use hookweir_event::Timestamp;
use rusqlite::{Connection, params};

use super::{
    fault::Fault,
    memory::Totals,
    schema::{ORDINAL_BITS, child_keys},
};
use crate::{Keep, Retention};

/// How often the walk starts anew: each time it looks at all that it stepped over.
const WALK_EVERY: Duration = Duration::from_secs(3600);
/// The same while there is too much of something.
const WALK_WHEN_FULL: Duration = Duration::from_secs(10);
/// How long the id of an event is kept for its claims, if it comes from a time when nobody wrote down
/// how long those hold.
const UNKNOWN_WINDOW: Duration = Duration::from_secs(31 * 24 * 3600);
/// Rows of other tables that a step deletes.
const SWEEP: i64 = 64;
/// Free pages are given back to the file system when they are more than a fifth of the file and more
/// than this; fewer are soon filled again.
const FREE_MIN: i64 = 256;
/// So many at once: 2 MiB.
const GIVEN_BACK: i64 = 256;

/// Where the walk is.
#[derive(Debug)]
pub(super) struct Retain {
    retention: Retention,
    /// All up to this key were looked at.
    cursor: i64,
    /// Nothing is to be done before this, unless there is too much of something.
    next_look: Timestamp,
    /// When the walk last started anew.
    walked: Option<Timestamp>,
}

/// What a step has left undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    /// There is more to look at now.
    More,
    /// Nothing, for a while.
    Nothing,
}

/// An event that was looked at.
struct Looked {
    key: i64,
    received_at: Timestamp,
    /// None if it comes from a time when that was not written down.
    claimed_until: Option<i64>,
    bytes: i64,
    is_output: bool,
    deliveries: Deliveries,
}

/// An event's deliveries, added up.
#[derive(Default)]
struct Deliveries {
    done: i64,
    dead: i64,
    /// Those that are not over, or hold others up.
    open: i64,
    done_at: Option<Timestamp>,
    dead_at: Option<Timestamp>,
}

impl Retain {
    pub(super) fn new(retention: Retention) -> Self {
        Self { retention, cursor: 0, next_look: Timestamp::default(), walked: None }
    }

    /// Whether a step would find something to do.
    pub(super) fn is_due(&self, now: Timestamp, totals: &Totals) -> bool {
        now >= self.next_look || self.is_full(totals) && now >= self.next_walk(totals)
    }

    fn next_walk(&self, totals: &Totals) -> Timestamp {
        // Where things are kept for minutes, an hour late is too late.
        let every = self.shortest().clamp(Duration::from_secs(1), WALK_EVERY);
        let pause = if self.is_full(totals) { every.min(WALK_WHEN_FULL) } else { every };
        self.walked.map_or(Timestamp::default(), |walked| walked + pause)
    }

    fn is_full(&self, totals: &Totals) -> bool {
        self.too_much_done(totals) || self.too_much_dead(totals)
    }

    fn too_much_done(&self, totals: &Totals) -> bool {
        exceeds(totals.bytes - totals.dead_bytes, self.retention.done.bytes)
    }

    fn too_much_dead(&self, totals: &Totals) -> bool {
        exceeds(totals.dead_bytes, self.retention.dead.bytes)
    }

    /// Looks at up to `limit` events and forgets those that may go.
    pub(super) fn step(
        &mut self,
        connection: &Connection,
        now: Timestamp,
        totals: &mut Totals,
        limit: usize,
    ) -> Result<Rest, Fault> {
        if now >= self.next_walk(totals) {
            (self.cursor, self.walked) = (0, Some(now));
        }
        let events = look(connection, self.cursor, limit)?;
        let at_end = events.len() < limit;
        let mut young = None;
        // One range of keys for each run of events that go.
        let mut run: Option<(i64, i64)> = None;
        for event in &events {
            if self.is_too_young(event, now) && !self.is_full(totals) {
                young = Some(event.received_at + self.shortest());
                break;
            }
            self.cursor = event.key;
            if self.may_go(event, now, totals) {
                take_off(totals, event);
                leave_id(connection, event, now)?;
                run = Some((run.map_or(event.key, |(first, _)| first), event.key));
            } else if let Some(run) = run.take() {
                forget(connection, run, totals)?;
            }
        }
        if let Some(run) = run {
            forget(connection, run, totals)?;
        }
        let swept = sweep(connection, now)?;
        if young.is_none() && !at_end || swept == Rest::More {
            self.next_look = now;
            return Ok(Rest::More);
        }
        // The walk is at its end: it goes on where an event gets old, or from the start.
        let young = young.unwrap_or(now + self.shortest());
        self.next_look = young.min(self.next_walk(totals));
        Ok(Rest::Nothing)
    }

    /// The batch was rolled back: what was forgotten is there.
    pub(super) fn rolled_back(&mut self) {
        (self.cursor, self.next_look, self.walked) = (0, Timestamp::default(), None);
    }

    /// Something is wrong with what it walks over: it begins anew in a while.
    pub(super) fn pause(&mut self, now: Timestamp) {
        self.cursor = 0;
        (self.next_look, self.walked) = (now + WALK_EVERY, Some(now));
    }

    fn shortest(&self) -> Duration {
        self.retention.done.age.min(self.retention.dead.age)
    }

    /// It was received too late to be over for long enough.
    fn is_too_young(&self, event: &Looked, now: Timestamp) -> bool {
        event.received_at + self.shortest() > now
    }

    fn may_go(&self, event: &Looked, now: Timestamp, totals: &Totals) -> bool {
        let Deliveries { open, done_at, dead_at, .. } = event.deliveries;
        let Retention { done, dead } = &self.retention;
        let over = |at: Timestamp, keep: &Keep, full| full || at + keep.age <= now;
        // Without a delivery it was over when it came.
        let done_at = done_at.or(dead_at.is_none().then_some(event.received_at));
        open == 0
            && done_at.is_none_or(|at| over(at, done, self.too_much_done(totals)))
            && dead_at.is_none_or(|at| over(at, dead, self.too_much_dead(totals)))
    }
}

fn exceeds(bytes: i64, limit: u64) -> bool {
    u64::try_from(bytes).is_ok_and(|bytes| bytes > limit)
}

fn look(connection: &Connection, after: i64, limit: usize) -> Result<Vec<Looked>, Fault> {
    let sql = "SELECT key, received_at, claimed_until, length(envelope) + length(body),
                   parent IS NOT NULL
               FROM events WHERE key > ?1 ORDER BY key LIMIT ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = statement.query_map([after, limit], |row| {
        let key = row.get(0)?;
        Ok(Looked {
            key,
            received_at: Timestamp::from_millis(row.get(1)?),
            claimed_until: row.get(2)?,
            bytes: row.get(3)?,
            is_output: row.get(4)?,
            deliveries: deliveries(connection, key)?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn deliveries(connection: &Connection, event: i64) -> rusqlite::Result<Deliveries> {
    let sql = "SELECT settled_at, dead, standing IS NOT NULL FROM deliveries
               WHERE key BETWEEN ?1 AND ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let (first, last) = child_keys(event);
    let mut rows = statement.query([first, last])?;
    let mut found = Deliveries::default();
    while let Some(row) = rows.next()? {
        let settled_at = row.get::<_, Option<_>>(0)?.map(Timestamp::from_millis);
        let (dead, in_line): (bool, bool) = (row.get(1)?, row.get(2)?);
        match settled_at {
            Some(at) if !in_line && dead => {
                found.dead += 1;
                found.dead_at = found.dead_at.max(Some(at));
            }
            Some(at) if !in_line => {
                found.done += 1;
                found.done_at = found.done_at.max(Some(at));
            }
            _ => found.open += 1,
        }
    }
    Ok(found)
}

/// The totals without an event that is about to go.
fn take_off(totals: &mut Totals, event: &Looked) {
    let Deliveries { done, dead, .. } = event.deliveries;
    totals.events -= 1;
    totals.outputs -= i64::from(event.is_output);
    totals.unrouted -= i64::from(done + dead == 0);
    totals.done -= done;
    totals.dead -= dead;
    totals.bytes -= event.bytes;
    totals.dead_bytes -= dead * event.bytes;
}

fn leave_id(connection: &Connection, event: &Looked, now: Timestamp) -> Result<(), Fault> {
    let until =
        event.claimed_until.unwrap_or_else(|| (event.received_at + UNKNOWN_WINDOW).as_millis());
    if until > now.as_millis() {
        let sql = "INSERT INTO departed (key, id, claimed_until)
                   SELECT key, id, ?2 FROM events WHERE key = ?1";
        connection.prepare_cached(sql)?.execute([event.key, until])?;
    }
    Ok(())
}

/// Deletes the events from the first to the last key, with everything below them.
fn forget(
    connection: &Connection,
    (first, last): (i64, i64),
    totals: &mut Totals,
) -> Result<(), Fault> {
    let sql = "SELECT coalesce(sum(count), 0) FROM duplicates WHERE event BETWEEN ?1 AND ?2";
    let duplicates: i64 =
        connection.prepare_cached(sql)?.query_row([first, last], |row| row.get(0))?;
    totals.duplicates -= duplicates;
    let below = |levels: u32| {
        let bits = ORDINAL_BITS * levels;
        [first << bits, (last << bits) | ((1 << bits) - 1)]
    };
    for (sql, keys) in [
        ("DELETE FROM attempts WHERE key BETWEEN ?1 AND ?2", below(2)),
        ("DELETE FROM deliveries WHERE key BETWEEN ?1 AND ?2", below(1)),
        ("DELETE FROM duplicates WHERE event BETWEEN ?1 AND ?2", below(0)),
        ("DELETE FROM events WHERE key BETWEEN ?1 AND ?2", below(0)),
    ] {
        connection.prepare_cached(sql)?.execute(keys)?;
    }
    Ok(())
}

/// Deletes what has expired elsewhere, and gives free pages back.
fn sweep(connection: &Connection, now: Timestamp) -> Result<Rest, Fault> {
    let now = now.as_millis();
    for sql in [
        "DELETE FROM departed WHERE key IN
            (SELECT key FROM departed WHERE claimed_until <= ?1 LIMIT ?2)",
        "DELETE FROM state WHERE key IN
            (SELECT key FROM state WHERE expires_at <= ?1 LIMIT ?2)",
    ] {
        connection.prepare_cached(sql)?.execute(params![now, SWEEP])?;
    }
    let sql = "DELETE FROM blocks WHERE key IN
                   (SELECT key FROM blocks WHERE key < (SELECT min(key) FROM events) >> 10
                    ORDER BY key LIMIT ?1)";
    connection.prepare_cached(sql)?.execute([SWEEP])?;
    let pragma = |sql| connection.prepare_cached(sql)?.query_row([], |row| row.get::<_, i64>(0));
    let (free, pages) = (pragma("PRAGMA freelist_count")?, pragma("PRAGMA page_count")?);
    if free <= FREE_MIN || free <= pages / 5 {
        return Ok(Rest::Nothing);
    }
    // Each row is a page.
    let sql = format!("PRAGMA incremental_vacuum({GIVEN_BACK})");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query([])?;
    while rows.next()?.is_some() {}
    drop(rows);
    // A database that was made before this was thought of keeps its free pages, and fills them.
    let less = pragma("PRAGMA freelist_count")? < free;
    Ok(if less { Rest::More } else { Rest::Nothing })
}
