//! Who has the store open, and what becomes of the leases of those who don't say any more that they live.

use std::{borrow::Cow, collections::HashMap, time::Duration};

use hookweir_event::{EventId, Timestamp};
use tokio::time::Instant;

use super::{Fault, Moment, batch::Batch, rows::id_of, settle::AttemptRow};
use crate::bounds::{self, dies_of_loss};

/// How often a boot says that it lives.
pub(super) const BEAT: Duration = Duration::from_secs(5);
/// Who has not for so long is gone, as somebody saw who saw the database all the time: its leases are free. Long enough
/// that a slow database or a failover is no death, short enough that what a dead gateway had under way is not late by much.
pub(super) const LAPSE: Duration = Duration::from_secs(30);
/// Whoever looks less often than that did not see it all the time.
const BREAK: Duration = Duration::from_secs(15);

/// The database's time: that of the server's clock, and how far that is behind what was the time here already.
pub(super) async fn server_time(moment: &Moment<'_>) -> Result<Timestamp, Fault> {
    let sql = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint + ahead FROM meta";
    Ok(Timestamp::from_millis(moment.the_row(sql, &[]).await?.get(0)))
}

/// Writes down how late it is, and sees to it that time does not go back: another server that takes over may have a
/// clock that is behind, by hours if nobody looks after it. Where it is behind, all times are ahead of it, by an eighth
/// of what passes less and less. A second or two is no matter.
pub(super) async fn keep_time(moment: &Moment<'_>, now: Timestamp) -> Result<(), Fault> {
    // Nobody waits for another one that does the same.
    let sql = "WITH was AS (SELECT key, clock, ahead, $1::bigint AS now, least(ahead, ($1 - clock) / 8) AS less
                            FROM meta WHERE clock NOT BETWEEN $1 - 1000::bigint AND $1 + 2000::bigint
                            FOR UPDATE SKIP LOCKED)
               UPDATE meta SET
                   clock = CASE WHEN was.clock > now THEN was.clock ELSE now - less END,
                   ahead = CASE WHEN was.clock > now THEN was.ahead + was.clock - now ELSE was.ahead - less END
               FROM was WHERE meta.key = was.key RETURNING was.clock - now";
    if let Some(row) = moment.row(sql, &[&now.as_millis()]).await?
        && let behind @ 1.. = row.get::<_, i64>(0)
    {
        tracing::warn!(behind_ms = behind, "the database's clock went back; time goes on here");
    }
    Ok(())
}

/// A row of our own: that of a store which this process had open before, since its leases are its own still; or a new one.
pub(super) async fn register(
    moment: &Moment<'_>,
    owner: &[u8; 16],
    now: Timestamp,
) -> Result<i64, Fault> {
    let owner = &owner[..];
    let sql = "SELECT key FROM boots WHERE owner = $1 AND NOT gone FOR SHARE";
    let boot: i64 = match moment.row(sql, &[&owner]).await? {
        Some(row) => row.get(0),
        None => {
            let sql = "INSERT INTO boots (owner) VALUES ($1) RETURNING key";
            moment.the_row(sql, &[&owner]).await?.get(0)
        }
    };
    let sql = "INSERT INTO beats (boot, seen_at) VALUES ($1, $2)
               ON CONFLICT (boot) DO UPDATE SET seen_at = excluded.seen_at";
    moment.run(sql, &[&boot, &now.as_millis()]).await?;
    Ok(boot)
}

/// Whether a boot may lease: it is not gone, and will not be declared so before this transaction ends. A server that took
/// over without all that the one before had may have given its number to another.
pub(super) async fn may_lease(
    moment: &Moment<'_>,
    boot: i64,
    owner: &[u8; 16],
) -> Result<bool, Fault> {
    let sql = "SELECT 1 FROM boots WHERE key = $1 AND owner = $2 AND NOT gone FOR SHARE";
    Ok(moment.row(sql, &[&boot, &&owner[..]]).await?.is_some())
}

/// When a boot last said that it lives.
pub(super) type Beat = (i64, i64);

/// Says that a boot lives, each time something else than before, and answers what others last said.
pub(super) async fn beat(
    moment: &Moment<'_>,
    boot: i64,
    now: Timestamp,
) -> Result<Vec<Beat>, Fault> {
    let sql = "UPDATE beats SET seen_at = greatest($2, seen_at + 1) WHERE boot = $1";
    moment.run(sql, &[&boot, &now.as_millis()]).await?;
    let others = moment.rows("SELECT boot, seen_at FROM beats WHERE boot <> $1", &[&boot]).await?;
    Ok(others.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// What others say, and since when they say nothing new: by our own clock, and for as long as we saw the database without
/// a break, since while it is away nobody can say anything. Neither its clock nor theirs has a part in it.
#[derive(Debug, Default)]
pub(super) struct Watch {
    looked: Option<Instant>,
    said: HashMap<i64, (i64, Instant)>,
}

impl Watch {
    /// This is what they say now.
    pub(super) fn see(&mut self, beats: &[Beat], now: Instant) {
        if self.looked.is_some_and(|looked| now.duration_since(looked) > BREAK) {
            self.lose_sight();
        }
        self.looked = Some(now);
        let since = |boot, said| {
            let before = self.said.get(boot).filter(|(before, _)| before == said);
            before.map_or(now, |(_, since)| *since)
        };
        self.said = beats.iter().map(|(boot, said)| (*boot, (*said, since(boot, said)))).collect();
    }

    /// The database was not seen. What others said before is not held against them.
    pub(super) fn lose_sight(&mut self) {
        *self = Self::default();
    }

    /// Those that are gone, with what they said last, in the order of their numbers.
    pub(super) fn lapsed(&self) -> Vec<Beat> {
        let Some(looked) = self.looked else { return Vec::new() };
        let lapsed = |since: Instant| looked.duration_since(since) >= LAPSE;
        let said = self.said.iter().filter(|(_, (_, since))| lapsed(*since));
        let mut lapsed: Vec<_> = said.map(|(boot, (said, _))| (*boot, *said)).collect();
        lapsed.sort_unstable();
        lapsed
    }
}

/// Says that a boot does not live any more: whoever looks next frees what it has leased, unless it comes back first.
pub(super) async fn sign_off(moment: &Moment<'_>, boot: i64) -> Result<(), Fault> {
    moment.run("UPDATE beats SET seen_at = 0 WHERE boot = $1", &[&boot]).await?;
    Ok(())
}

/// Declares those gone that signed off, and of these those that have said nothing since. Answers whether any are gone
/// whose leases are not free yet.
pub(super) async fn declare_gone(
    moment: &Moment<'_>,
    boot: i64,
    lapsed: &[Beat],
) -> Result<bool, Fault> {
    let (keys, said): (Vec<i64>, Vec<i64>) = lapsed.iter().copied().unzip();
    let sql = "UPDATE boots SET gone = true WHERE NOT gone AND key <> $1 AND EXISTS (
                   SELECT 1 FROM beats AS b LEFT JOIN unnest($2::bigint[], $3::bigint[]) AS l(boot, seen_at)
                       ON l.boot = b.boot AND l.seen_at = b.seen_at
                   WHERE b.boot = boots.key AND (b.seen_at = 0 OR l.boot IS NOT NULL))";
    moment.run(sql, &[&boot, &keys, &said]).await?;
    let any = moment.row("SELECT 1 FROM boots WHERE gone LIMIT 1", &[]).await?;
    Ok(any.is_some())
}

/// A lease that a boot held when it ended.
struct Lost {
    event: EventId,
    ordinal: i16,
    plugin: String,
    attempts: i32,
    lost_leases: i32,
    lease: (i64, i64),
    leased_at: Timestamp,
}

impl Batch<'_> {
    /// Frees the leases of all boots that are declared gone. Says how many those were.
    pub(super) async fn free_gone(&mut self) -> Result<usize, Fault> {
        // Whoever leased as one of them has committed by now, since it had the row locked.
        let sql = "SELECT key FROM boots WHERE gone ORDER BY key FOR UPDATE";
        let gone: Vec<i64> =
            self.moment.rows(sql, &[]).await?.iter().map(|row| row.get(0)).collect();
        self.free(&gone).await
    }

    /// Frees the leases of boots that are gone: each one is a lost attempt, and the last straw is death.
    async fn free(&mut self, gone: &[i64]) -> Result<usize, Fault> {
        if gone.is_empty() {
            return Ok(0);
        }
        // Leases are in no index: all that is open is looked at, which takes half a second for a million that are in
        // the server's memory. It is seldom that a gateway ends.
        let sql = "SELECT event, ordinal, plugin, attempts, lost_leases, boot, turn, leased_at FROM deliveries
                   WHERE settled_at IS NULL AND standing IS DISTINCT FROM 1 AND held IS NULL AND boot = ANY($1)
                   ORDER BY event, ordinal FOR UPDATE";
        let mut lost = Vec::new();
        for row in self.moment.rows(sql, &[&gone]).await? {
            lost.push(Lost {
                event: id_of(&row, 0)?,
                ordinal: row.get(1),
                plugin: row.get(2),
                attempts: row.get(3),
                lost_leases: row.get(4),
                lease: (row.get(5), row.get(6)),
                leased_at: Timestamp::from_millis(row.get::<_, Option<i64>>(7).unwrap_or(0)),
            });
        }
        for lease in &lost {
            self.lose(lease).await?;
        }
        self.write_attempts().await?;
        self.count_attempts().await?;
        self.moment.run("DELETE FROM beats WHERE boot = ANY($1)", &[&gone]).await?;
        self.moment.run("DELETE FROM boots WHERE key = ANY($1)", &[&gone]).await?;
        Ok(lost.len())
    }

    async fn lose(&mut self, lost: &Lost) -> Result<(), Fault> {
        let (number, lost_leases) = (lost.attempts + 1, lost.lost_leases + 1);
        let dead = dies_of_loss(lost_leases.unsigned_abs(), number.unsigned_abs());
        let sql =
            "UPDATE deliveries SET boot = NULL, leased_at = NULL, attempts = $3, lost_leases = $4,
                       settled_at = $5, dead = $6::smallint,
                       standing = CASE WHEN $6::smallint = 1 AND standing = 0 THEN 2 ELSE standing END
                   WHERE event = $1 AND ordinal = $2";
        let (event, code) = (&lost.event.as_bytes()[..], i16::from(dead));
        let settled_at = dead.then_some(self.now.as_millis());
        self.moment
            .run(sql, &[&event, &lost.ordinal, &number, &lost_leases, &settled_at, &code])
            .await?;
        self.rows.attempts.push(AttemptRow {
            event: lost.event,
            ordinal: lost.ordinal,
            number,
            lease: lost.lease,
            started_at: lost.leased_at,
            attempt: Cow::Owned(bounds::lost()),
            exchanges: None,
            buries: dead,
        });
        self.counted.totals.leased -= 1;
        let depth = self.counted.of(&lost.plugin);
        depth.leased -= 1;
        if dead {
            depth.dead += 1;
            self.counted.totals.dead += 1;
        } else {
            self.known.fronts.forget(&lost.plugin);
            depth.due += 1;
            self.counted.totals.due += 1;
            self.work_due = true;
        }
        Ok(())
    }

    /// Returns, uncounted, what batches of ours leased that were committed, of which nobody was told.
    pub(super) async fn return_unclaimed(&mut self, batches: &[i64]) -> Result<(), Fault> {
        if batches.is_empty() {
            return Ok(());
        }
        // As above, all that is open is looked at.
        let sql = "UPDATE deliveries SET boot = NULL, leased_at = NULL
                   WHERE settled_at IS NULL AND standing IS DISTINCT FROM 1 AND held IS NULL
                       AND boot = $1 AND batch = ANY($2)
                   RETURNING plugin";
        for row in self.moment.rows(sql, &[&self.boot, &batches]).await? {
            self.counted.totals.leased -= 1;
            self.counted.totals.due += 1;
            self.known.fronts.forget(row.get(0));
            let depth = self.counted.of(row.get(0));
            (depth.leased, depth.due) = (depth.leased - 1, depth.due + 1);
            self.work_due = true;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_says_nothing_new_is_gone_if_that_was_seen_without_a_break() {
        let (mut watch, start) = (Watch::default(), Instant::now());
        let mut see = |beats: &[Beat], after: u64| {
            watch.see(beats, start + Duration::from_secs(after));
            watch.lapsed()
        };
        for after in (0..30).step_by(5) {
            let alive = i64::try_from(after).unwrap_or(0);
            assert!(see(&[(1, 7), (2, alive)], after).is_empty(), "after {after} s");
        }
        assert_eq!(see(&[(1, 7), (2, 30)], 30), [(1, 7)]);
        assert!(see(&[(1, 8), (2, 31)], 35).is_empty(), "it was there after all");
        // While nobody looked, or could, nobody is seen to say nothing.
        assert!(see(&[(1, 8), (2, 31)], 100).is_empty());
        for after in (105..130).step_by(5) {
            assert!(see(&[(1, 8), (2, 31)], after).is_empty(), "after {after} s");
        }
        watch.lose_sight();
        watch.see(&[(1, 8), (2, 31)], start + Duration::from_secs(130));
        assert!(watch.lapsed().is_empty());
    }
}
