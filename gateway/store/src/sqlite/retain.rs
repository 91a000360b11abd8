//! Retention: forgets events that are over, the oldest first, some at a time beside other work.
//!
//! An event goes with everything below it when each of its deliveries is done or dead for as long as
//! that is kept, or when there is too much of them. What is open, or holds others up, stays however old
//! it is. While a claim of a forgotten event holds, its id stays in `departed`, so that a duplicate is
//! still answered with it.
//!
//! A cursor walks the parcels in the order of their keys, over events that have to stay, up to a parcel
//! with one that is too young. Now and then it starts anew, for the sake of those that it stepped over.
//! A parcel of which some events go is written anew without them, and goes with the last of them.

use std::time::Duration;

use hookweir_event::Timestamp;
use rusqlite::{Connection, params};

use super::{
    depths::Depths,
    exchanges,
    fault::Fault,
    hold::Holds,
    memory::Totals,
    parcels::{self, Entry, Parcel, Parcels, Part, Walk},
    schema::ORDINAL_BITS,
    stand,
};
use crate::{DeliveryState, Keep, Retention};

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

/// An event's deliveries, added up.
#[derive(Default)]
struct Deliveries {
    done: i64,
    dead: i64,
    /// Those of the dead that were put aside.
    discarded: i64,
    /// Those that are not over, or hold others up.
    open: i64,
    done_at: Option<Timestamp>,
    dead_at: Option<Timestamp>,
    /// The plugins of those that are dead and not put aside.
    dead_of: Vec<i64>,
    /// The keys of all that are dead.
    died: Vec<i64>,
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
        (totals, parcels, depths): (&mut Totals, &mut Parcels, &mut Depths),
        limit: usize,
    ) -> Result<Rest, Fault> {
        if now >= self.next_walk(totals) {
            (self.cursor, self.walked) = (0, Some(now));
        }
        let looked = look(connection, self.cursor, limit)?;
        let at_end = looked.iter().map(|parcel| parcel.entries.len()).sum::<usize>() < limit;
        let mut young = None;
        for parcel in &looked {
            let due = self.old_enough_at(parcel);
            if due > now && !self.is_full(totals) {
                young = Some(due);
                break;
            }
            self.cursor = parcel.key;
            if self.forget_some(connection, parcel, now, (totals, depths))? {
                parcels.forget(parcel.key);
            }
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

    /// When the last of a parcel's events may be over for long enough.
    fn old_enough_at(&self, parcel: &Parcel) -> Timestamp {
        let last = parcel.entries.iter().map(|entry| entry.received_at).max();
        last.unwrap_or_default() + self.shortest()
    }

    /// Forgets the events of a parcel that may go; says whether there were any. Whether there is too much
    /// is asked once, so that a parcel is not written anew for each of its events.
    fn forget_some(
        &self,
        connection: &Connection,
        parcel: &Parcel,
        now: Timestamp,
        (totals, depths): (&mut Totals, &mut Depths),
    ) -> Result<bool, Fault> {
        let full = [self.too_much_done(totals), self.too_much_dead(totals)];
        let mut gone = Vec::new();
        for entry in &parcel.entries {
            let deliveries = deliveries(connection, entry)?;
            if self.may_go(entry, &deliveries, now, full) {
                take_off(connection, totals, entry, &deliveries)?;
                deliveries.dead_of.iter().for_each(|plugin| depths.of(*plugin).dead -= 1);
                leave_id(connection, entry, now)?;
                gone.push(entry.key);
            }
        }
        // One range of keys for each run of events that go.
        for run in gone.chunk_by(|one, next| one + 1 == *next) {
            forget(connection, (run[0], run[run.len() - 1]), totals)?;
        }
        if !gone.is_empty() {
            let is_gone = |key| gone.binary_search(&key).is_ok();
            parcels::thin_out(connection, parcel, |key| !is_gone(key))?;
        }
        Ok(!gone.is_empty())
    }

    fn may_go(
        &self,
        entry: &Entry,
        deliveries: &Deliveries,
        now: Timestamp,
        [full_of_done, full_of_dead]: [bool; 2],
    ) -> bool {
        let Deliveries { open, done_at, dead_at, .. } = *deliveries;
        let Retention { done, dead } = &self.retention;
        let over = |at: Timestamp, keep: &Keep, full| full || at + keep.age <= now;
        // Without a delivery it was over when it came.
        let done_at = done_at.or(dead_at.is_none().then_some(entry.received_at));
        open == 0
            && done_at.is_none_or(|at| over(at, done, full_of_done))
            && dead_at.is_none_or(|at| over(at, dead, full_of_dead))
    }
}

fn exceeds(bytes: i64, limit: u64) -> bool {
    u64::try_from(bytes).is_ok_and(|bytes| bytes > limit)
}

/// The parcels behind one: as many as have so many events, and those beyond in the last one.
fn look(connection: &Connection, after: i64, limit: usize) -> Result<Vec<Parcel>, Fault> {
    let (mut looked, mut count) = (Vec::new(), 0);
    parcels::walk(connection, after + 1, Part::Directory, |parcel| {
        // The one that was looked at last begins before.
        if parcel.key > after {
            count += parcel.entries.len();
            looked.push(parcel);
        }
        Ok(if count < limit { Walk::On } else { Walk::Enough })
    })?;
    Ok(looked)
}

fn deliveries(connection: &Connection, entry: &Entry) -> rusqlite::Result<Deliveries> {
    let mut found = Deliveries::default();
    // What is held is open, and that is all that matters here.
    stand::each(connection, entry, &Holds::default(), |stood| {
        let discarded = stood.state == DeliveryState::Discarded;
        let died = discarded || stood.state == DeliveryState::Dead;
        match stood.settled_at {
            Some(at) if !stood.in_line && died => {
                found.dead += 1;
                found.died.push(stood.key);
                found.discarded += i64::from(discarded);
                if !discarded {
                    found.dead_of.push(stood.plugin);
                }
                found.dead_at = found.dead_at.max(Some(at));
            }
            Some(at) if !stood.in_line => {
                found.done += 1;
                found.done_at = found.done_at.max(Some(at));
            }
            _ => found.open += 1,
        }
        Ok(())
    })?;
    Ok(found)
}

/// The totals without an event that is about to go.
fn take_off(
    connection: &Connection,
    totals: &mut Totals,
    entry: &Entry,
    deliveries: &Deliveries,
) -> Result<(), Fault> {
    let Deliveries { done, dead, discarded, .. } = *deliveries;
    totals.events -= 1;
    totals.outputs -= i64::from(entry.from.is_some());
    totals.unrouted -= i64::from(done + dead == 0);
    totals.done -= done;
    totals.dead -= dead - discarded;
    totals.discarded -= discarded;
    totals.bytes -= entry.bytes() + exchanges::bytes_of_event(connection, entry.key)?;
    totals.dead_bytes -= dead * entry.bytes();
    for delivery in &deliveries.died {
        totals.dead_bytes -= exchanges::bytes_of_delivery(connection, *delivery)?;
    }
    Ok(())
}

fn leave_id(connection: &Connection, entry: &Entry, now: Timestamp) -> Result<(), Fault> {
    let until = entry.claimed_until.unwrap_or_else(|| entry.received_at + UNKNOWN_WINDOW);
    if until > now {
        let sql = "INSERT INTO departed (key, id, claimed_until) VALUES (?1, ?2, ?3)";
        connection.prepare_cached(sql)?.execute(params![
            entry.key,
            entry.id.as_bytes(),
            until.as_millis()
        ])?;
    }
    Ok(())
}

/// Deletes everything that lies below the events from the first to the last key.
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
        ("DELETE FROM exchanges WHERE key BETWEEN ?1 AND ?2", below(2)),
        ("DELETE FROM attempts WHERE key BETWEEN ?1 AND ?2", below(2)),
        ("DELETE FROM deliveries WHERE key BETWEEN ?1 AND ?2", below(1)),
        ("DELETE FROM duplicates WHERE event BETWEEN ?1 AND ?2", below(0)),
    ] {
        connection.prepare_cached(sql)?.execute(keys)?;
    }
    Ok(())
}

/// Deletes what has expired elsewhere, and gives free pages back.
fn sweep(connection: &Connection, now: Timestamp) -> Result<Rest, Fault> {
    let now = now.as_millis();
    let sql = "DELETE FROM departed WHERE key IN
                   (SELECT key FROM departed WHERE claimed_until <= ?1 LIMIT ?2)";
    connection.prepare_cached(sql)?.execute(params![now, SWEEP])?;
    let sql = "DELETE FROM blocks WHERE key IN
                   (SELECT key FROM blocks WHERE key < (SELECT min(key) FROM parcels) >> 10
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
