//! Workers: each takes what waits, makes one transaction of it on a connection of its own, and answers.
//!
//! While one waits for its commit the others take what comes meanwhile. A transaction that was in another's way is done
//! again, and so is one whose outcome nobody knows; for how long that goes on is bounded, since senders wait.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use deadpool_postgres::Object;
use hookweir_event::Timestamp;
use tokio::{
    sync::{MutexGuard, Notify, mpsc},
    time::Instant,
};

use super::{
    Fault, Link, Moment,
    batch::{Answer, Batch, Known},
    boots, confer, link,
    retain::{Rest, Retain},
    totals::SHARDS,
};
use crate::{
    Health, StoreError, Time,
    steady::Steady,
    verbs::{Op, Reply, Signals, Verb},
};

/// The most operations in one transaction.
const BATCH_MAX: usize = 1024;
/// The most bytes of bodies in one transaction, give or take the last event.
const BATCH_BYTES: usize = 8 << 20;
/// For so long a transaction is done again whose outcome is not known, or for which there is no connection: a
/// failover that takes longer is seen by senders. While it is known that the database is not there, once is enough.
const PATIENCE: Duration = Duration::from_secs(5);
/// So often one is done again that was in another's way.
const TRIES_MAX: u32 = 16;
/// How many events retention looks at beside other work, and how many alone.
const STEP_BESIDE: i64 = 64;
pub(super) const STEP_ALONE: i64 = 256;

/// What all workers of a store share.
pub(super) struct Shared {
    pub(super) link: Link,
    pub(super) owner: [u8; 16],
    /// What leases are ours by. It changes when others took us for gone.
    pub(super) boot: AtomicI64,
    /// Of the batches, for those that lease.
    pub(super) numbers: AtomicI64,
    pub(super) known: Known,
    /// For tests.
    pub(super) given: Option<Mutex<Steady>>,
    pub(super) retain: tokio::sync::Mutex<Retain>,
    /// Batches that leased, or did not: nobody knows.
    pub(super) unclaimed: Mutex<Vec<i64>>,
    pub(super) signals: Signals,
    /// Whether other gateways have the store open.
    pub(super) others: AtomicBool,
    /// Others are to be told that there is work.
    pub(super) announce: Notify,
    pub(super) ticks: Instant,
}

/// A commit.
struct Made {
    answers: Vec<Answer>,
    work_due: bool,
}

impl Shared {
    /// The time now: the database's, or for tests the one that was given.
    pub(super) async fn now(&self, moment: &Moment<'_>) -> Result<Timestamp, Fault> {
        let Some(given) = &self.given else {
            return boots::server_time(moment).await;
        };
        let now = given.lock().map_or_else(|broken| broken.into_inner().now(), |mut it| it.now());
        let sql = "UPDATE meta SET clock = $1 WHERE clock < $1";
        moment.run(sql, &[&now.as_millis()]).await?;
        Ok(now)
    }

    /// What our leases are ours by now.
    pub(super) fn boot(&self) -> i64 {
        self.boot.load(Ordering::Acquire)
    }

    /// A transaction in the making that leases nothing.
    pub(super) async fn batch<'m>(&'m self, moment: &'m Moment<'m>) -> Result<Batch<'m>, Fault> {
        let now = self.now(moment).await?;
        Ok(Batch::new(moment, now, (self.boot(), 0), &self.known))
    }

    /// Does work until nobody can ask any more.
    pub(super) async fn serve(
        self: Arc<Self>,
        nth: usize,
        queue: Arc<tokio::sync::Mutex<mpsc::Receiver<Op>>>,
    ) {
        loop {
            let work = Work::take(&mut *queue.lock().await).await;
            let Some(work) = work else { return };
            if !work.verbs.is_empty() {
                self.work(nth, work).await;
            }
        }
    }

    async fn work(&self, nth: usize, work: Work) {
        let Work { verbs, replies } = work;
        let answers = match self.commit(nth, &verbs).await {
            Err(Fault::Operation(reason)) if verbs.len() > 1 => {
                tracing::debug!(reason, "an operation fails its batch; each is done alone");
                self.each_alone(nth, &verbs).await
            }
            Ok(made) => self.told(made),
            Err(fault) => self.failed(&fault, verbs.len()),
        };
        let results = answers.iter().map(|answer| answer.as_ref().map(|_| ()));
        self.signals.figures.answered(verbs.iter().map(Verb::word).zip(results));
        for (reply, answer) in replies.into_iter().zip(answers) {
            let _ = reply.send(answer);
        }
    }

    async fn each_alone(&self, nth: usize, verbs: &[Verb]) -> Vec<Answer> {
        let mut answers = Vec::with_capacity(verbs.len());
        for verb in verbs {
            answers.extend(match self.commit(nth, std::slice::from_ref(verb)).await {
                Ok(made) => self.told(made),
                Err(fault) => self.failed(&fault, 1),
            });
        }
        answers
    }

    /// Commits, again if that may help.
    async fn commit(&self, nth: usize, verbs: &[Verb]) -> Result<Made, Fault> {
        let begun = Instant::now();
        let (mut tries, mut again) = (0, false);
        loop {
            tries += 1;
            let made = self.transact(nth, verbs, again).await;
            again |= matches!(made, Err(Fault::Lost(_)));
            match made {
                Err(Fault::InTheWay(reason)) if tries < TRIES_MAX => {
                    tracing::debug!(reason, tries, "a transaction was in another's way");
                    tokio::time::sleep(Duration::from_millis(u64::from(tries) * 2)).await;
                }
                Err(Fault::Lost(reason))
                    if begun.elapsed() < PATIENCE
                        && *self.signals.health.borrow() == Health::Ready =>
                {
                    tracing::warn!(reason, tries, "the database is not there; it is tried again");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                done => return done,
            }
        }
    }

    /// One transaction, on a connection that is not used again if anything is wrong with it.
    async fn transact(&self, nth: usize, verbs: &[Verb], again: bool) -> Result<Made, Fault> {
        let mut connection = self.link.connect().await?;
        let walk = self.may_tend().await;
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let leases = verbs.iter().any(|verb| matches!(verb, Verb::Lease(_)));
        let unclaimed = if leases { self.unclaimed() } else { Vec::new() };
        let made = async {
            let moment = Moment::write(&mut connection).await?;
            self.within(moment, (nth, number), (verbs, again), &unclaimed, walk).await
        };
        let made = link::in_time(made).await;
        if made.is_err() {
            if leases {
                // Whether it leased anything will be seen.
                self.keep_unclaimed(unclaimed.into_iter().chain([number]));
            }
            if matches!(made, Err(Fault::Lost(_))) {
                link::give_up(connection);
            }
        }
        made
    }

    /// All of a transaction, its commit included.
    async fn within(
        &self,
        moment: Moment<'_>,
        (nth, number): (usize, i64),
        (verbs, again): (&[Verb], bool),
        unclaimed: &[i64],
        mut walk: Walk<'_>,
    ) -> Result<Made, Fault> {
        let now = self.now(&moment).await?;
        let leases = verbs.iter().any(|verb| matches!(verb, Verb::Lease(_)));
        let boot = match leases {
            true => self.boot_that_may_lease(&moment, now).await?,
            false => self.boot(),
        };
        let mut batch = Batch::new(&moment, now, (boot, number), &self.known);
        batch.again = again;
        walk.only_if_due(now);
        batch.return_unclaimed(unclaimed).await?;
        let answers = batch.apply(verbs).await?;
        self.tend(&mut batch, &mut walk, STEP_BESIDE).await?;
        let shard = i64::try_from(nth).unwrap_or(0) + boot * 16;
        let shard = i32::try_from(shard.rem_euclid(SHARDS)).unwrap_or(0);
        let wrote = batch.counted.write(&moment, shard).await?;
        let Batch { new_plugins, work_due, .. } = batch;
        let begun = self.ticks.elapsed();
        moment.commit().await?;
        walk.keep();
        if wrote {
            self.signals.figures.committed(verbs.len(), self.ticks.elapsed().saturating_sub(begun));
        }
        self.known.learn(new_plugins);
        Ok(Made { answers, work_due })
    }

    /// Our boot, or another if others took us for gone.
    async fn boot_that_may_lease(&self, moment: &Moment<'_>, now: Timestamp) -> Result<i64, Fault> {
        let boot = self.boot();
        if boots::may_lease(moment, boot).await? {
            return Ok(boot);
        }
        let new = boots::register(moment, &self.owner, now).await?;
        tracing::warn!(
            boot,
            new,
            "other gateways took this one for gone; what it had leased is theirs"
        );
        // If this is not committed, the next one finds that the boot has no row, and makes another.
        self.boot.store(new, Ordering::Release);
        Ok(new)
    }

    fn unclaimed(&self) -> Vec<i64> {
        self.unclaimed.lock().map(|mut list| std::mem::take(&mut *list)).unwrap_or_default()
    }

    fn keep_unclaimed(&self, more: impl IntoIterator<Item = i64>) {
        if let Ok(mut list) = self.unclaimed.lock() {
            list.extend(more);
        }
    }

    /// The walk of retention, if nobody else of us is at it.
    async fn may_tend(&self) -> Walk<'_> {
        match self.given {
            None => Walk(self.retain.try_lock().ok()),
            // Whoever lets time pass sees what is over gone with the next answer.
            Some(_) => Walk(Some(self.retain.lock().await)),
        }
    }

    /// Retention's part of a transaction. It may fail alone: then everything is kept, for a while.
    async fn tend(
        &self,
        batch: &mut Batch<'_>,
        walk: &mut Walk<'_>,
        limit: i64,
    ) -> Result<Rest, Fault> {
        let Some(retain) = &mut walk.0 else { return Ok(Rest::Nothing) };
        let before = batch.counted.clone();
        batch.moment.script("SAVEPOINT tend").await?;
        match batch.tend(retain, limit).await {
            Ok(rest) => {
                batch.moment.script("RELEASE SAVEPOINT tend").await?;
                Ok(rest)
            }
            Err(Fault::Lost(reason)) => Err(Fault::Lost(reason)),
            Err(fault) => {
                tracing::error!(?fault, "retention failed; it will be tried again");
                batch.moment.script("ROLLBACK TO SAVEPOINT tend").await?;
                batch.counted = before;
                retain.pause(batch.now);
                Ok(Rest::Nothing)
            }
        }
    }

    /// What is done each second though nobody asks: leases of the dead are freed now and then, and what is over is
    /// forgotten. Says whether there is more of that.
    pub(super) async fn tick(&self, free_lapsed: bool) -> Result<Rest, Fault> {
        let mut connection = self.link.connect().await?;
        let walk = Walk(Some(self.retain.lock().await));
        let ticked = link::in_time(self.tick_on(&mut connection, free_lapsed, walk)).await;
        if matches!(ticked, Err(Fault::Lost(_))) {
            link::give_up(connection);
        }
        ticked
    }

    async fn tick_on(
        &self,
        connection: &mut Object,
        free_lapsed: bool,
        mut walk: Walk<'_>,
    ) -> Result<Rest, Fault> {
        let moment = Moment::write(connection).await?;
        let now = self.now(&moment).await?;
        let boot = self.boot();
        let mut batch = Batch::new(&moment, now, (boot, 0), &self.known);
        if free_lapsed {
            let others = boots::beat(&moment, boot, now).await?;
            self.others.store(others > 0, Ordering::Relaxed);
            let freed = batch.free_lapsed().await?;
            if freed > 0 {
                tracing::warn!(freed, "freed the leases of gateways that are gone");
            }
        }
        walk.only_if_due(now);
        let rest = self.tend(&mut batch, &mut walk, STEP_ALONE).await?;
        batch.counted.write(&moment, own_shard(boot)).await?;
        let work_due = batch.work_due;
        moment.commit().await?;
        walk.keep();
        self.told(Made { answers: Vec::new(), work_due });
        Ok(rest)
    }

    /// Says that we end.
    pub(super) async fn sign_off(&self) -> Result<(), Fault> {
        let said = async {
            let mut connection = self.link.connect().await?;
            let moment = Moment::write(&mut connection).await?;
            boots::sign_off(&moment, self.boot()).await?;
            confer::leave(&moment, &self.owner).await?;
            moment.commit().await
        };
        link::in_time(said).await
    }

    /// A commit went well: says so to who has to know, and answers what came of it.
    fn told(&self, made: Made) -> Vec<Answer> {
        self.signals.health.send_if_modified(|health| {
            let refusing = matches!(health, Health::Refusing(_));
            if refusing {
                tracing::info!("the store takes work again");
                *health = Health::Ready;
            }
            refusing
        });
        if made.work_due {
            self.signals.wakeups.send_modify(|count| *count = count.wrapping_add(1));
            if self.others.load(Ordering::Relaxed) {
                self.announce.notify_one();
            }
        }
        made.answers
    }

    /// A commit failed: the same answer to all.
    fn failed(&self, fault: &Fault, count: usize) -> Vec<Answer> {
        self.refuse(fault);
        let answer = fault.clone().into_answer();
        (0..count).map(|_| Err(answer.clone())).collect()
    }

    /// Says that the store takes no work, unless it was the operation that was at fault. The next tick tries again.
    pub(super) fn refuse(&self, fault: &Fault) {
        if matches!(fault, Fault::Operation(_)) {
            return;
        }
        let answer: StoreError = fault.clone().into_answer();
        let now = Health::Refusing(answer.to_string());
        if self.signals.health.send_if_modified(|was| {
            let changed = *was != now;
            was.clone_from(&now);
            changed
        }) {
            tracing::error!(health = ?now, "the store refuses work");
        }
    }
}

/// The shard of what is counted outside of the workers.
pub(super) fn own_shard(boot: i64) -> i32 {
    i32::try_from((boot * 16 + 15).rem_euclid(SHARDS)).unwrap_or(0)
}

/// Whose time it is.
pub(super) fn given(time: Time, steady: impl FnOnce() -> Steady) -> Option<Mutex<Steady>> {
    match time {
        Time::Server => None,
        Time::Given => Some(Mutex::new(steady())),
    }
}

/// A step of retention whose transaction is not committed yet. Dropped before it is, what it forgot is there.
struct Walk<'s>(Option<MutexGuard<'s, Retain>>);

impl Walk<'_> {
    fn only_if_due(&mut self, now: Timestamp) {
        if self.0.as_ref().is_some_and(|retain| !retain.is_due(now)) {
            self.0 = None;
        }
    }

    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Walk<'_> {
    fn drop(&mut self) {
        if let Some(retain) = &mut self.0 {
            retain.rolled_back();
        }
    }
}

/// What goes into one transaction.
#[derive(Default)]
struct Work {
    verbs: Vec<Verb>,
    /// One for each verb.
    replies: Vec<Reply>,
}

impl Work {
    /// Takes what waits, up to the limits, and waits for the first; none if nobody can ask any more.
    async fn take(queue: &mut mpsc::Receiver<Op>) -> Option<Self> {
        let mut work = Self::default();
        let mut bytes = 0;
        let mut next = queue.recv().await;
        next.as_ref()?;
        while let Some(op) = next {
            match op {
                Op::Do(verb, reply) => {
                    bytes += verb.bytes();
                    work.verbs.push(verb);
                    work.replies.push(reply);
                }
                Op::Tick => {}
                Op::Close => queue.close(),
            }
            let full = work.verbs.len() >= BATCH_MAX || bytes >= BATCH_BYTES;
            next = if full { None } else { queue.try_recv().ok() };
        }
        Some(work)
    }
}
