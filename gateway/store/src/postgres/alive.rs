//! Says that this gateway lives, watches whether the others do, and returns the leases that nobody has any more: those of
//! gateways that are gone, and those that a commit of ours made which nobody heard of.
//!
//! To say so depends on nothing else: it is a small transaction of its own, on a connection of its own. To return leases
//! may take minutes where very much is open, since they are in no index. Neither keeps anything else from its work, and
//! so none of it is in the transactions that senders wait for.

use std::{
    sync::{Arc, OnceLock, PoisonError, atomic::Ordering},
    time::Duration,
};

use deadpool_postgres::Object;
use tokio::{
    sync::oneshot,
    time::{Instant, MissedTickBehavior},
};

use super::{
    Fault, Moment,
    batch::Batch,
    boots,
    link::{self, LOSES},
    worker::{Shared, own_shard},
};

/// So long until it is said again that could not be said.
const AGAIN: Duration = Duration::from_secs(1);
/// So often it is looked whether commits that nobody heard of are over, and whether any gateway is gone; what those left
/// that is not free yet is looked for as often as it is said that we live.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// So long it may take to find leases that nobody has.
const SEARCH: Duration = Duration::from_secs(1800);

/// A batch that leased, of which nobody knows whether it was committed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Doubt {
    /// Its number among those of its boot.
    pub(super) batch: i64,
    pub(super) transaction: i64,
}

/// Says that we live, as long as the engine runs.
pub(super) async fn beat(shared: Arc<Shared>) {
    loop {
        let pause = match shared.beat().await {
            Ok(()) => boots::BEAT,
            Err(fault) => {
                tracing::debug!(?fault, "could not say that this gateway lives");
                shared.watch.lock().unwrap_or_else(PoisonError::into_inner).lose_sight();
                AGAIN
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// Returns leases that nobody has, as long as the engine runs. Says when it has done so for the first time.
pub(super) async fn return_leases(shared: Arc<Shared>, first: oneshot::Sender<()>) {
    let (mut first, mut looked, mut known) = (Some(first), None::<Instant>, Vec::new());
    let mut second = tokio::time::interval(LOOK_EVERY);
    second.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        second.tick().await;
        let lapsed = shared.watch.lock().unwrap_or_else(PoisonError::into_inner).lapsed();
        let news = lapsed != known || !shared.doubts().is_empty();
        if !news && looked.is_some_and(|at| at.elapsed() < boots::BEAT) {
            continue;
        }
        looked = Some(Instant::now());
        let returned = shared.return_leases(&lapsed).await;
        known = lapsed;
        match returned {
            // That there is no database the upkeep says.
            Ok(()) | Err(Fault::Lost(_)) => {}
            Err(fault) => tracing::warn!(?fault, "could not return leases that nobody has"),
        }
        if let Some(first) = first.take() {
            let _ = first.send(());
        }
    }
}

impl Shared {
    /// Says that we live, sees who else does, and that time goes on and the server keeps what it acknowledges.
    async fn beat(&self) -> Result<(), Fault> {
        let mut connection = self.link.connect().await?;
        let asked = OnceLock::new();
        let said = link::in_time(self.beat_on(&mut connection, &asked)).await;
        if matches!(said, Err(Fault::Lost(_))) {
            link::let_go(connection, asked.get().is_some());
        }
        let (beats, loses) = said?;
        if let Some(setting) = loses.filter(|_| self.link.insists_on_durable()) {
            self.link.forget();
            return Err(Fault::Lost(link::may_lose(&setting)));
        }
        let now = Instant::now();
        self.watch.lock().unwrap_or_else(PoisonError::into_inner).see(&beats, now);
        // One that signed off says nothing any more.
        let others = beats.iter().any(|(_, said)| *said != 0);
        self.others.store(others, Ordering::Relaxed);
        Ok(())
    }

    async fn beat_on(
        &self,
        connection: &mut Object,
        asked: &OnceLock<()>,
    ) -> Result<(Vec<boots::Beat>, Option<String>), Fault> {
        let moment = Moment::write(connection).await?;
        let now = self.now(&moment).await?;
        let beats = boots::beat(&moment, self.boot(), now).await?;
        if self.given.is_none() {
            boots::keep_time(&moment, now).await?;
        }
        let loses = moment.row(LOSES, &[]).await?.map(|row| row.get(0));
        let _ = asked.set(());
        moment.commit().await?;
        Ok((beats, loses))
    }

    /// Returns the leases that nobody has.
    async fn return_leases(&self, lapsed: &[boots::Beat]) -> Result<(), Fault> {
        let doubts = std::mem::take(&mut *self.doubts());
        let returned = self.return_these(&doubts, lapsed).await;
        match &returned {
            Ok(still) => self.doubts().extend(still),
            Err(_) => self.doubts().extend(&doubts),
        }
        returned.map(|_| ())
    }

    /// The same of these, and of gateways that are gone. Answers of which it is not known yet whether they were committed.
    async fn return_these(
        &self,
        doubts: &[Doubt],
        lapsed: &[boots::Beat],
    ) -> Result<Vec<Doubt>, Fault> {
        let mut connection = self.link.connect().await?;
        let declared = async {
            let moment = Moment::write(&mut connection).await?;
            let any = boots::declare_gone(&moment, self.boot(), lapsed).await?;
            moment.commit().await?;
            Ok(any)
        };
        let any = match link::in_time(declared).await {
            Ok(any) => any,
            Err(fault) => {
                link::give_up(connection);
                return Err(fault);
            }
        };
        if !any && doubts.is_empty() {
            return Ok(Vec::new());
        }
        let asked = OnceLock::new();
        let returned = self.return_on(&mut connection, doubts, &asked);
        let returned = tokio::time::timeout(SEARCH + link::CONNECT, returned).await;
        let returned = returned.unwrap_or_else(|_| Err(Fault::Lost(link::NO_ANSWER.to_owned())));
        if matches!(returned, Err(Fault::Lost(_))) {
            link::let_go(connection, asked.get().is_some());
        }
        returned
    }

    async fn return_on(
        &self,
        connection: &mut Object,
        doubts: &[Doubt],
        asked: &OnceLock<()>,
    ) -> Result<Vec<Doubt>, Fault> {
        let moment = Moment::write(connection).await?;
        moment.script(&format!("SET LOCAL statement_timeout = {}", SEARCH.as_millis())).await?;
        let now = self.now(&moment).await?;
        let mut batch = Batch::new(&moment, now, (self.boot(), 0), &self.known);
        let (still, committed) = outcomes(&moment, doubts).await?;
        batch.return_unclaimed(&committed).await?;
        let freed = batch.free_gone().await?;
        batch.counted.write(&moment, own_shard(self.boot())).await?;
        let work_due = batch.work_due;
        let _ = asked.set(());
        moment.commit().await?;
        if freed > 0 {
            tracing::warn!(freed, "freed the leases of gateways that are gone");
        }
        if work_due {
            self.tell_of_work();
        }
        Ok(still)
    }
}

/// Of which of these it is not known yet whether they were committed, since they are under way, and the numbers of those
/// that were.
async fn outcomes(moment: &Moment<'_>, doubts: &[Doubt]) -> Result<(Vec<Doubt>, Vec<i64>), Fault> {
    if doubts.is_empty() {
        return Ok((Vec::new(), Vec::new()));
    }
    let batches: Vec<i64> = doubts.iter().map(|doubt| doubt.batch).collect();
    let transactions: Vec<i64> = doubts.iter().map(|doubt| doubt.transaction).collect();
    // A number that was not given yet is that of a server whose place this one took. One that is too old to be told of
    // may have been committed.
    let sql = "SELECT d.batch, d.tx,
                   CASE WHEN d.tx < pg_current_xact_id()::text::bigint
                        THEN coalesce(pg_xact_status(d.tx::text::xid8), 'committed') ELSE 'aborted' END
               FROM unnest($1::bigint[], $2::bigint[]) AS d(batch, tx)";
    let (mut still, mut committed) = (Vec::new(), Vec::new());
    for row in moment.rows(sql, &[&batches, &transactions]).await? {
        let doubt = Doubt { batch: row.get(0), transaction: row.get(1) };
        match row.get::<_, &str>(2) {
            "in progress" => still.push(doubt),
            "committed" => committed.push(doubt.batch),
            _ => {}
        }
    }
    Ok((still, committed))
}
