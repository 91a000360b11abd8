//! Retention: forgets events that are over, the oldest first, some at a time beside other work; and deletes what has
//! expired elsewhere.
//!
//! A cursor walks the events in the order they were appended, over those that have to stay, up to one that is too
//! young. Now and then it starts anew, for the sake of those that it stepped over, and of those whose commit came late.
//! One gateway at a time does it: who has the chore's row locked.
//!
//! What is in a day's partitions goes with the whole day (`days`): unless there is too much, the walk leads through the
//! default partitions alone.

use std::{collections::HashMap, time::Duration};

use hookweir_event::{EventId, Timestamp};
use tokio_postgres::Row;

use super::{Fault, batch::Batch, rows::id_of, settle::Name};
use crate::{Keep, Retention};

/// How often the walk starts anew: each time it looks at all that it stepped over.
const WALK_EVERY: Duration = Duration::from_secs(3600);
/// The same while there is too much of something.
const WALK_WHEN_FULL: Duration = Duration::from_secs(10);
/// How often what has expired elsewhere is looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// A claim that has expired has been seen after so long: longer commits are found when the walk starts anew.
const LATE: Duration = Duration::from_secs(10);
/// Rows of other tables that a step deletes.
const SWEEP: i64 = 1024;

/// Where the walk is.
#[derive(Debug, Clone)]
pub(super) struct Retain {
    rule: Rule,
    /// Whether days go as a whole.
    by_days: bool,
    /// All up to this number were looked at.
    cursor: i64,
    /// Nothing is to be walked over before this, unless there is too much of something.
    next_look: Timestamp,
    /// When the walk last started anew.
    walked: Option<Timestamp>,
    next_sweep: Timestamp,
    /// Nothing is done before this.
    waits_until: Timestamp,
    /// Claims that expired before are gone, as far as is known. Those that went are in the way until a vacuum.
    swept: Timestamp,
}

/// Bytes of what was sent for an event: all, and by its deliveries.
type Sent = (i64, HashMap<i16, i64>);

/// What may go.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    retention: Retention,
    /// Bytes of what is done or open, and of what dead letters keep, where there is a limit on that.
    bytes: [i64; 2],
}

/// What a step has left undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    /// There is more to look at now.
    More,
    /// Nothing, for a while.
    Nothing,
}

/// An event that is old enough to be looked at.
pub(super) struct Old {
    pub(super) id: EventId,
    seq: i64,
    /// When it came, by the database's time: those of gateways differ.
    committed_at: Timestamp,
    bytes: i64,
    output: bool,
}

impl Old {
    /// A row of `id, seq, committed_at, bytes, parent IS NOT NULL`.
    pub(super) fn of(row: &Row) -> Result<Self, Fault> {
        Ok(Self {
            id: id_of(row, 0)?,
            seq: row.get(1),
            committed_at: Timestamp::from_millis(row.get(2)),
            bytes: row.get(3),
            output: row.get(4),
        })
    }
}

/// Of some events, which may go and which have to stay.
#[derive(Default)]
pub(super) struct Judged {
    pub(super) go: Vec<EventId>,
    pub(super) stay: Vec<EventId>,
    /// Bytes of those that stay, with what their attempts sent.
    pub(super) stay_bytes: i64,
    /// Bytes of what the attempts sent of those that go.
    pub(super) sent: i64,
}

/// An event's deliveries, added up.
#[derive(Default)]
struct Deliveries {
    done: i64,
    /// Those that are dead, and not put aside.
    dead_of: Vec<String>,
    discarded: i64,
    /// Those that are not over, or hold others up.
    open: i64,
    done_at: Option<Timestamp>,
    dead_at: Option<Timestamp>,
    /// All that are dead.
    died: Vec<Name>,
}

impl Rule {
    /// That of a retention, as long as there is not too much.
    pub(super) fn of(retention: Retention) -> Self {
        Self { retention, bytes: [0; 2] }
    }

    /// Whether there is too much of what is done, and of what is dead.
    fn full(&self) -> [bool; 2] {
        let exceeds = |bytes: i64, limit| u64::try_from(bytes).is_ok_and(|bytes| bytes > limit);
        let Retention { done, dead } = self.retention;
        [exceeds(self.bytes[0], done.bytes), exceeds(self.bytes[1], dead.bytes)]
    }

    fn may_go(&self, event: &Old, deliveries: &Deliveries, now: Timestamp) -> bool {
        let Deliveries { open, done_at, dead_at, .. } = *deliveries;
        let [full_of_done, full_of_dead] = self.full();
        let over = |at: Timestamp, keep: &Keep, full| full || at + keep.age <= now;
        // Without a delivery it was over when it came.
        let done_at = done_at.or(dead_at.is_none().then_some(event.committed_at));
        open == 0
            && done_at.is_none_or(|at| over(at, &self.retention.done, full_of_done))
            && dead_at.is_none_or(|at| over(at, &self.retention.dead, full_of_dead))
    }

    fn is_full(&self) -> bool {
        self.full() != [false; 2]
    }

    fn shortest(&self) -> Duration {
        self.retention.done.age.min(self.retention.dead.age)
    }
}

impl Retain {
    /// With `by_days`, what is in the partitions of days is passed over.
    pub(super) fn new(retention: Retention, by_days: bool) -> Self {
        let (rule, cursor) = (Rule::of(retention), 0);
        let (next_look, walked) = (Timestamp::default(), None);
        let [next_sweep, waits_until, swept] = [next_look; 3];
        Self { rule, by_days, cursor, next_look, walked, next_sweep, waits_until, swept }
    }

    /// Whether a step would find something to do.
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        now >= self.waits_until && (now >= self.next_sweep || self.walk_is_due(now))
    }

    fn walk_is_due(&self, now: Timestamp) -> bool {
        now >= self.next_look || self.rule.is_full() && now >= self.next_walk()
    }

    fn next_walk(&self) -> Timestamp {
        // Where things are kept for minutes, an hour late is too late.
        let every = self.rule.shortest().clamp(Duration::from_secs(1), WALK_EVERY);
        let pause = if self.rule.is_full() { every.min(WALK_WHEN_FULL) } else { every };
        self.walked.map_or(Timestamp::default(), |walked| walked + pause)
    }

    /// The transaction was rolled back: what was forgotten is there.
    pub(super) fn rolled_back(&mut self) {
        (self.cursor, self.next_look, self.walked) = (0, Timestamp::default(), None);
        (self.next_sweep, self.swept) = (Timestamp::default(), Timestamp::default());
    }

    /// Something was in the way of the step that it is at: it is done in a second.
    pub(super) fn wait(&mut self, now: Timestamp) {
        self.waits_until = now + SWEEP_EVERY;
    }

    /// Something is wrong with what it walks over: it begins anew in a while.
    pub(super) fn pause(&mut self, now: Timestamp) {
        self.cursor = 0;
        (self.next_look, self.walked) = (now + WALK_EVERY, Some(now));
        self.next_sweep = now + WALK_EVERY;
    }
}

impl Batch<'_> {
    /// Looks at up to `limit` events and forgets those that may go, and sweeps up elsewhere.
    pub(super) async fn tend(&mut self, retain: &mut Retain, limit: i64) -> Result<Rest, Fault> {
        let sql = "SELECT 1 FROM chores WHERE name = 'retention' FOR UPDATE SKIP LOCKED";
        if self.moment.row(sql, &[]).await?.is_none() {
            // Another gateway is at it.
            retain.next_sweep = self.now + SWEEP_EVERY;
            return Ok(Rest::Nothing);
        }
        let swept = self.sweep(retain).await?;
        retain.next_sweep = self.now + SWEEP_EVERY;
        self.look_at_sizes(retain).await?;
        let walked = match retain.walk_is_due(self.now) {
            true => self.walk(retain, limit).await?,
            false => Rest::Nothing,
        };
        let more = swept == Rest::More || walked == Rest::More;
        if more {
            retain.next_sweep = self.now;
        }
        Ok(if more { Rest::More } else { Rest::Nothing })
    }

    async fn look_at_sizes(&self, retain: &mut Retain) -> Result<(), Fault> {
        let Retention { done, dead } = retain.rule.retention;
        if done.bytes == u64::MAX && dead.bytes == u64::MAX {
            return Ok(());
        }
        let sql = "SELECT coalesce(sum(bytes), 0)::bigint, coalesce(sum(dead_bytes), 0)::bigint FROM totals";
        let row = self.moment.the_row(sql, &[]).await?;
        let own = self.counted.totals;
        let (all, of_dead) =
            (row.get::<_, i64>(0) + own.bytes, row.get::<_, i64>(1) + own.dead_bytes);
        retain.rule.bytes = [all - of_dead, of_dead];
        Ok(())
    }

    async fn walk(&mut self, retain: &mut Retain, limit: i64) -> Result<Rest, Fault> {
        if self.now >= retain.next_walk() {
            (retain.cursor, retain.walked) = (0, Some(self.now));
            retain.swept = Timestamp::default();
        }
        let sql = match retain.by_days && !retain.rule.is_full() {
            true => {
                "SELECT id, seq, committed_at, bytes, parent IS NOT NULL FROM events_other
                 WHERE seq > $1 ORDER BY seq LIMIT $2"
            }
            false => {
                "SELECT id, seq, committed_at, bytes, parent IS NOT NULL FROM events
                 WHERE seq > $1 ORDER BY seq LIMIT $2"
            }
        };
        let rows = self.moment.rows(sql, &[&retain.cursor, &limit]).await?;
        let at_end = i64::try_from(rows.len()).unwrap_or(i64::MAX) < limit;
        let (mut young, mut old) = (None, Vec::new());
        for row in &rows {
            let event = Old::of(row)?;
            let due = event.committed_at + retain.rule.shortest();
            if due > self.now && !retain.rule.is_full() {
                young = Some(due);
                break;
            }
            retain.cursor = event.seq;
            old.push(event);
        }
        self.forget_some(&mut retain.rule, &old).await?;
        if young.is_none() && !at_end {
            retain.next_look = self.now;
            return Ok(Rest::More);
        }
        // The walk is at its end: it goes on where an event gets old, or from the start.
        let young = young.unwrap_or(self.now + retain.rule.shortest());
        retain.next_look = young.min(retain.next_walk());
        Ok(Rest::Nothing)
    }

    /// Forgets those of the events that may go.
    pub(super) async fn forget_some(&mut self, rule: &mut Rule, old: &[Old]) -> Result<(), Fault> {
        let gone = self.judge(rule, old, true).await?.go;
        // Whoever counts their day meanwhile has to do so again.
        self.touch_days(gone.iter()).await?;
        let ids: Vec<&[u8]> = gone.iter().map(|id| &id.as_bytes()[..]).collect();
        self.forget(&ids).await
    }

    /// Which of the events may go: those are taken off the totals, without what their attempts sent. Where they go at
    /// once they are locked, so that nobody replays or mends what is about to go.
    pub(super) async fn judge(
        &mut self,
        rule: &mut Rule,
        old: &[Old],
        lock: bool,
    ) -> Result<Judged, Fault> {
        let mut judged = Judged::default();
        if old.is_empty() {
            return Ok(judged);
        }
        let ids: Vec<&[u8]> = old.iter().map(|event| &event.id.as_bytes()[..]).collect();
        if lock {
            let sql = "SELECT 1 FROM events WHERE id = ANY($1) ORDER BY id FOR UPDATE";
            self.moment.rows(sql, &[&ids]).await?;
        }
        let deliveries = self.deliveries_of_all(&ids, lock).await?;
        let sent = self.sent_bytes(&ids).await?;
        let none = Deliveries::default();
        for event in old {
            let deliveries = deliveries.get(&event.id).unwrap_or(&none);
            let of_event = sent.get(&event.id).map_or(0, |(all, _)| *all);
            if rule.may_go(event, deliveries, self.now) {
                let of_dead = self.take_off(event, deliveries, &sent);
                // So that no more go than have to.
                rule.bytes[0] -= event.bytes + of_event - of_dead;
                rule.bytes[1] -= of_dead;
                judged.sent += of_event;
                judged.go.push(event.id);
            } else {
                judged.stay_bytes += event.bytes + of_event;
                judged.stay.push(event.id);
            }
        }
        Ok(judged)
    }

    async fn deliveries_of_all(
        &self,
        ids: &[&[u8]],
        lock: bool,
    ) -> Result<HashMap<EventId, Deliveries>, Fault> {
        macro_rules! of_events {
            () => {
                "SELECT event, ordinal, plugin, settled_at, dead, standing FROM deliveries
                 WHERE event = ANY($1) ORDER BY event, ordinal"
            };
        }
        let sql = if lock { concat!(of_events!(), " FOR UPDATE") } else { of_events!() };
        let mut all: HashMap<EventId, Deliveries> = HashMap::new();
        for row in self.moment.rows(sql, &[&ids]).await? {
            let event = id_of(&row, 0)?;
            let found = all.entry(event).or_default();
            let in_line = row.get::<_, Option<i16>>(5).is_some();
            let settled_at = row.get::<_, Option<i64>>(3).map(Timestamp::from_millis);
            match (settled_at.filter(|_| !in_line), row.get::<_, i16>(4)) {
                (None, _) => found.open += 1,
                (Some(at), 0) => {
                    found.done += 1;
                    found.done_at = found.done_at.max(Some(at));
                }
                (Some(at), dead) => {
                    found.died.push((event, row.get(1)));
                    found.dead_at = found.dead_at.max(Some(at));
                    match dead {
                        1 => found.dead_of.push(row.get(2)),
                        _ => found.discarded += 1,
                    }
                }
            }
        }
        Ok(all)
    }

    /// Bytes of what the attempts of events sent: of all deliveries, and of each.
    async fn sent_bytes(&self, ids: &[&[u8]]) -> Result<HashMap<EventId, Sent>, Fault> {
        let sql = "SELECT event, ordinal, sum(length(content))::bigint FROM exchanges
                   WHERE event = ANY($1) GROUP BY event, ordinal";
        let mut sent: HashMap<EventId, Sent> = HashMap::new();
        for row in self.moment.rows(sql, &[&ids]).await? {
            let (all, each) = sent.entry(id_of(&row, 0)?).or_default();
            let bytes: i64 = row.get(2);
            *all += bytes;
            each.insert(row.get(1), bytes);
        }
        Ok(sent)
    }

    /// The totals without an event that is about to go. Answers how many of its bytes were those of dead letters.
    fn take_off(
        &mut self,
        event: &Old,
        deliveries: &Deliveries,
        sent: &HashMap<EventId, Sent>,
    ) -> i64 {
        let Deliveries { done, dead_of, discarded, died, .. } = deliveries;
        let each = sent.get(&event.id).map(|(_, each)| each);
        let of_one = |(_, ordinal): &Name| {
            event.bytes + each.and_then(|each| each.get(ordinal)).copied().unwrap_or(0)
        };
        let of_dead: i64 = died.iter().map(of_one).sum();
        let totals = &mut self.counted.totals;
        totals.events -= 1;
        totals.outputs -= i64::from(event.output);
        totals.unrouted -= i64::from(*done == 0 && died.is_empty());
        totals.done -= done;
        totals.dead -= i64::try_from(dead_of.len()).unwrap_or(0);
        totals.discarded -= discarded;
        totals.bytes -= event.bytes;
        totals.dead_bytes -= of_dead;
        for plugin in dead_of {
            self.counted.of(plugin).dead -= 1;
        }
        of_dead
    }

    /// Deletes everything that belongs to the events.
    async fn forget(&mut self, ids: &[&[u8]]) -> Result<(), Fault> {
        if ids.is_empty() {
            return Ok(());
        }
        let sum = |row: Row| row.get::<_, i64>(0);
        let sql = "WITH gone AS (DELETE FROM duplicates WHERE event = ANY($1) RETURNING count)
                   SELECT coalesce(sum(count), 0)::bigint FROM gone";
        self.counted.totals.duplicates -= sum(self.moment.the_row(sql, &[&ids]).await?);
        let sql = "WITH gone AS (DELETE FROM exchanges WHERE event = ANY($1) RETURNING length(content) AS bytes)
                   SELECT coalesce(sum(bytes), 0)::bigint FROM gone";
        self.counted.totals.bytes -= sum(self.moment.the_row(sql, &[&ids]).await?);
        for sql in [
            "DELETE FROM attempts WHERE event = ANY($1)",
            "DELETE FROM deliveries WHERE event = ANY($1)",
            "DELETE FROM events WHERE id = ANY($1)",
        ] {
            self.moment.run(sql, &[&ids]).await?;
        }
        Ok(())
    }

    /// Deletes what has expired elsewhere.
    async fn sweep(&mut self, retain: &mut Retain) -> Result<Rest, Fault> {
        let most = u64::try_from(SWEEP).unwrap_or(0);
        let (now, swept) = (self.now.as_millis(), retain.swept.as_millis());
        let sql = "DELETE FROM claims WHERE claim IN
                       (SELECT claim FROM claims WHERE expires_at > $3 AND expires_at <= $1 ORDER BY claim LIMIT $2
                        FOR UPDATE SKIP LOCKED)";
        let claims = self.moment.run(sql, &[&now, &SWEEP, &swept]).await?;
        if claims < most {
            let late = i64::try_from(LATE.as_millis()).unwrap_or(0);
            retain.swept = Timestamp::from_millis(now - late);
        }
        let sql = "DELETE FROM lines WHERE length = 0 AND (plugin, order_key) IN
                       (SELECT plugin, order_key FROM lines WHERE length = 0 LIMIT $1 FOR UPDATE SKIP LOCKED)";
        let lines = self.moment.run(sql, &[&SWEEP]).await?;
        let entries = self.expire_state(SWEEP).await?;
        // Of a hold that was over before the last of its deliveries was set aside.
        let sql = "INSERT INTO holds (origin, lifted_at)
                   SELECT origin, $1::bigint FROM depths WHERE origin <> ''
                   GROUP BY origin HAVING sum(held) > 0
                   ON CONFLICT DO NOTHING";
        self.moment.run(sql, &[&now]).await?;
        let more = [claims, lines, entries].into_iter().any(|count| count >= most);
        Ok(if more { Rest::More } else { Rest::Nothing })
    }
}
