//! Who has the store open, and what becomes of the leases of those who don't say any more that they live.

use std::{borrow::Cow, time::Duration};

use hookweir_event::{EventId, Timestamp};

use super::{Fault, Moment, batch::Batch, rows::id_of, settle::AttemptRow};
use crate::bounds::{self, dies_of_loss};

/// How often a boot says that it lives.
pub(super) const BEAT: Duration = Duration::from_secs(5);
/// Who has not for so long is gone: its leases are free. Long enough that a slow database or a failover is no death,
/// short enough that what a dead gateway had under way is not late by much.
pub(super) const LAPSE: Duration = Duration::from_secs(30);

/// The database's time.
pub(super) async fn server_time(moment: &Moment<'_>) -> Result<Timestamp, Fault> {
    let sql = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint";
    Ok(Timestamp::from_millis(moment.the_row(sql, &[]).await?.get(0)))
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

/// Whether a boot may lease: it is not gone, and will not be declared so before this transaction ends.
pub(super) async fn may_lease(moment: &Moment<'_>, boot: i64) -> Result<bool, Fault> {
    let sql = "SELECT 1 FROM boots WHERE key = $1 AND NOT gone FOR SHARE";
    Ok(moment.row(sql, &[&boot]).await?.is_some())
}

/// Says that a boot lives, and answers how many others do.
pub(super) async fn beat(moment: &Moment<'_>, boot: i64, now: Timestamp) -> Result<i64, Fault> {
    let sql = "UPDATE beats SET seen_at = $2 WHERE boot = $1";
    moment.run(sql, &[&boot, &now.as_millis()]).await?;
    let sql = "UPDATE meta SET clock = $1 WHERE clock < $1";
    moment.run(sql, &[&now.as_millis()]).await?;
    let sql = "SELECT count(*) FROM beats WHERE boot <> $1 AND seen_at > $2";
    let since = now.as_millis() - i64::try_from(LAPSE.as_millis()).unwrap_or(i64::MAX);
    Ok(moment.the_row(sql, &[&boot, &since]).await?.get(0))
}

/// Says that a boot does not live any more: whoever looks next frees what it has leased, unless it comes back first.
pub(super) async fn sign_off(moment: &Moment<'_>, boot: i64) -> Result<(), Fault> {
    moment.run("UPDATE beats SET seen_at = 0 WHERE boot = $1", &[&boot]).await?;
    Ok(())
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
    /// Declares those gone that have not said for too long that they live, and frees the leases of all that are. Says
    /// how many leases those were.
    pub(super) async fn free_lapsed(&mut self) -> Result<usize, Fault> {
        let since = self.now.as_millis() - i64::try_from(LAPSE.as_millis()).unwrap_or(i64::MAX);
        let sql = "UPDATE boots SET gone = true WHERE NOT gone AND key <> $1
                       AND NOT EXISTS (SELECT 1 FROM beats WHERE boot = boots.key AND seen_at > $2)";
        self.moment.run(sql, &[&self.boot, &since]).await?;
        // Whoever leased as one of them has committed by now, since it had the row locked.
        let sql = "SELECT key FROM boots WHERE gone ORDER BY key FOR UPDATE SKIP LOCKED";
        let gone: Vec<i64> =
            self.moment.rows(sql, &[]).await?.iter().map(|row| row.get(0)).collect();
        self.free(&gone).await
    }

    /// Frees the leases of boots that are gone: each one is a lost attempt, and the last straw is death.
    async fn free(&mut self, gone: &[i64]) -> Result<usize, Fault> {
        if gone.is_empty() {
            return Ok(0);
        }
        // Leases are in no index: all that is open is looked at. It is seldom that a gateway ends.
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

    /// Returns, uncounted, what batches of ours leased whose commit's outcome was not known: nobody was told of it.
    pub(super) async fn return_unclaimed(&mut self, batches: &[i64]) -> Result<(), Fault> {
        if batches.is_empty() {
            return Ok(());
        }
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
