//! Partitions by day: what belongs to an event is in the partitions of the day that its id names, one of each of
//! [`TABLES`], so that a whole day is dropped when it is over, instead of being deleted row by row.
//!
//! A day's partitions are made before it begins ([`ahead`]); a day of which there is something in the default partitions
//! already stays there, and so does one that begins soon while there is much in them. When a day is over, and so is the age of what is done, its rows are counted, some at a time; then
//! what has to stay is moved to the default partitions and the day's are dropped, in one short transaction ([`over`]). In
//! the default partitions retention goes row by row (`retain`).
//!
//! Nobody waits while a day is counted. Whoever changes an event that is over says so in the day's row (`touch_days`);
//! there are few who do, and then the day is counted again. To make and to drop partitions takes locks that keep
//! everybody out: they are waited for so shortly that nobody minds, and otherwise it is tried again later.
//!
//! One gateway at a time does all this. Should two be at it, since the first was taken for gone, the second finds that the
//! day has no row any more.

mod ahead;
mod over;

use std::{sync::Arc, time::Duration};

use deadpool_postgres::Object;
use hookweir_event::{EventId, Timestamp};
use tokio::time::MissedTickBehavior;

use super::{Fault, Moment, batch::Batch, link, retain::Rule, worker::Shared};
use crate::Retention;

/// The tables that have partitions, each with the column that these go by: an event before what belongs to it.
const TABLES: [(&str, &str); 4] =
    [("events", "id"), ("deliveries", "event"), ("attempts", "event"), ("exchanges", "event")];

const DAY: Duration = Duration::from_secs(24 * 3600);
/// About so many partitions a table has at most: each transaction locks all of them, with their indexes, and a server has
/// room for some thousand locks where nobody says otherwise. Where more is kept, partitions have more than a day.
const PARTS: u64 = 14;
/// So often it is looked whether it is time for the chore, and so often it is.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const DUE_EVERY: Duration = Duration::from_secs(3600);
/// The same when something was in the way.
const AGAIN: Duration = Duration::from_secs(60);
/// Who does the chore has it for so long, unless it says that it goes on.
const CLAIM: Duration = Duration::from_secs(120);
/// So long each lock is waited for that keeps everybody out: meanwhile everybody waits for us.
const LOCK_WAIT: Duration = Duration::from_millis(200);
/// So long each statement may take under such a lock. They take milliseconds.
const STATEMENT: Duration = Duration::from_secs(2);

/// A day that has partitions, or several.
#[derive(Debug)]
struct Day {
    name: String,
    first: Timestamp,
    until: Timestamp,
}

/// Whether what is kept by such a retention goes by whole days: not what is to go within hours, and not where dead
/// letters go before what is done.
pub(super) fn suit(retention: &Retention) -> bool {
    retention.done.age >= DAY && retention.dead.age >= retention.done.age
}

/// How many days a partition has.
fn width(retention: &Retention) -> u64 {
    let days = retention.done.age.as_secs().div_ceil(DAY.as_secs());
    days.div_ceil(PARTS).clamp(1, 366)
}

/// Makes the first partitions. Where that is not possible now, all is kept in the default ones until it is.
pub(super) async fn prepare(shared: &Shared, retention: &Retention) {
    if let Err(fault) = take_turn(shared, retention, Turn::First).await {
        tracing::warn!(?fault, "could not make the days' partitions; it will be tried again");
    }
}

/// Sees to the days as long as the engine runs.
pub(super) async fn tend(shared: Arc<Shared>, retention: Retention) {
    let mut second = tokio::time::interval(LOOK_EVERY);
    second.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failed = false;
    loop {
        second.tick().await;
        failed = match take_turn(&shared, &retention, Turn::Whole).await {
            Ok(()) => false,
            // That there is no database the upkeep says.
            Err(Fault::InTheWay(_) | Fault::Lost(_)) => failed,
            Err(fault) if failed => {
                tracing::debug!(?fault, "failed to see to the days' partitions still");
                true
            }
            Err(fault) => {
                tracing::warn!(?fault, "failed to see to the days' partitions; it is tried again");
                true
            }
        };
    }
}

/// How much of the chore is done.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// What has to be there before anything is written.
    First,
    Whole,
}

/// Does the chore, if it is time for it and nobody else is at it.
async fn take_turn(shared: &Shared, retention: &Retention, turn: Turn) -> Result<(), Fault> {
    let mut connection = shared.link.connect().await?;
    let taken = take_turn_on(shared, &mut connection, retention, turn).await;
    if matches!(taken, Err(Fault::Lost(_))) {
        link::give_up(connection);
    }
    taken
}

async fn take_turn_on(
    shared: &Shared,
    connection: &mut Object,
    retention: &Retention,
    turn: Turn,
) -> Result<(), Fault> {
    let Some(now) = link::in_time(claim(shared, connection)).await? else { return Ok(()) };
    let mut clear = is_clear(link::in_time(ahead::take_proofs_away(connection)).await)?;
    if clear && suit(retention) {
        clear = is_clear(ahead::make(connection, now, width(retention), turn).await)?;
    }
    if turn == Turn::First {
        // The rest is done beside other work.
        return link::in_time(put_off(connection, if clear { now } else { now + AGAIN })).await;
    }
    let mut rule = Rule::of(*retention);
    for day in link::in_time(all(connection)).await? {
        if day.until + retention.done.age + over::LATE <= now {
            clear &= is_clear(over::end(shared, connection, &day, &mut rule).await)?;
        }
    }
    let next = if clear { DUE_EVERY } else { AGAIN };
    link::in_time(put_off(connection, now + next)).await
}

/// Whether nothing was in the way.
fn is_clear(done: Result<(), Fault>) -> Result<bool, Fault> {
    match done {
        Ok(()) => Ok(true),
        Err(Fault::InTheWay(reason)) => {
            tracing::debug!(reason, "a day's partitions are not made or dropped yet");
            Ok(false)
        }
        Err(fault) => Err(fault),
    }
}

/// The time, if the chore is due then: it is ours for a while.
async fn claim(shared: &Shared, connection: &mut Object) -> Result<Option<Timestamp>, Fault> {
    let moment = Moment::write(connection).await?;
    let now = shared.now(&moment).await?;
    let sql = "UPDATE chores SET next_at = $1 WHERE name = 'days' AND next_at <= $2";
    let until = (now + CLAIM).as_millis();
    let due = moment.run(sql, &[&until, &now.as_millis()]).await? == 1;
    moment.commit().await?;
    Ok(due.then_some(now))
}

/// Nobody does the chore before that.
async fn put_off(connection: &mut Object, until: Timestamp) -> Result<(), Fault> {
    let moment = Moment::write(connection).await?;
    let sql = "UPDATE chores SET next_at = $1 WHERE name = 'days'";
    moment.run(sql, &[&until.as_millis()]).await?;
    moment.commit().await
}

/// All days that have partitions, the oldest first.
async fn all(connection: &mut Object) -> Result<Vec<Day>, Fault> {
    let moment = Moment::look(connection).await?;
    let sql = "SELECT name, first_at, until_at FROM days ORDER BY first_at";
    let time = |millis| Timestamp::from_millis(millis);
    let rows = moment.rows(sql, &[]).await?;
    let day = |row: &tokio_postgres::Row| Day {
        name: row.get(0),
        first: time(row.get(1)),
        until: time(row.get(2)),
    };
    Ok(rows.iter().map(day).collect())
}

/// This transaction does not wait long for the locks that keep everybody out, nor keep them for long.
async fn hurry(moment: &Moment<'_>) -> Result<(), Fault> {
    let (wait, work) = (LOCK_WAIT.as_millis(), STATEMENT.as_millis());
    let sql = format!("SET LOCAL lock_timeout = {wait}; SET LOCAL statement_timeout = {work}");
    moment.script(&sql).await
}

/// What all ids of a time and later are not below: the first 48 bits of each.
fn bound(at: Timestamp) -> Vec<u8> {
    let millis = u64::try_from(at.as_millis()).unwrap_or(0);
    millis.to_be_bytes()[2..].to_vec()
}

/// The time that an id begins with.
fn millis_of(id: &EventId) -> i64 {
    id.as_bytes()[..6].iter().fold(0, |millis, byte| millis << 8 | i64::from(*byte))
}

impl Batch<'_> {
    /// Says of events that are over, or may be, that something of them is changed.
    pub(super) async fn touch_days(
        &self,
        events: impl Iterator<Item = &EventId>,
    ) -> Result<(), Fault> {
        let times: Vec<i64> = events.map(millis_of).collect();
        if times.is_empty() {
            return Ok(());
        }
        let sql = "UPDATE days SET touched = touched + 1
                   WHERE EXISTS (SELECT FROM unnest($1::bigint[]) AS t(at) WHERE at >= first_at AND at < until_at)";
        self.moment.run(sql, &[&times]).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Keep;

    fn kept(done: Duration, dead: Duration) -> Retention {
        let keep = |age| Keep { age, bytes: u64::MAX };
        Retention { done: keep(done), dead: keep(dead) }
    }

    #[test]
    fn a_day_begins_with_the_first_id_of_its_first_millisecond() {
        let at = Timestamp::from_millis(1_700_006_400_000);
        let ids = |millis| [[0; 10], [0xff; 10]].map(|chance| EventId::new(millis, chance));
        let just_before = Timestamp::from_millis(at.as_millis() - 1);
        assert!(ids(just_before).iter().all(|id| id.as_bytes()[..] < bound(at)[..]));
        assert!(ids(at).iter().all(|id| id.as_bytes()[..] >= bound(at)[..]));
        assert_eq!(ids(at).map(|id| millis_of(&id)), [at.as_millis(); 2]);
    }

    #[test]
    fn what_is_kept_long_has_few_partitions_and_what_is_kept_shortly_none() {
        let days = |days| width(&kept(days * DAY, days * DAY));
        assert_eq!([1, 7, 14, 15, 30, 365].map(days), [1, 1, 1, 2, 3, 27]);
        assert_eq!(width(&kept(Duration::MAX, Duration::MAX)), 366);
        assert!(suit(&Retention::default()));
        assert!(!suit(&kept(DAY / 2, DAY)), "it would be kept three times as long as it is to be");
        assert!(!suit(&kept(7 * DAY, DAY)), "dead letters would be kept as long as what is done");
    }
}
