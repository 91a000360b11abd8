//! Workers: each takes what waits, makes one transaction of it on a connection of its own, and answers.
//!
//! While one waits for its commit the others take what comes meanwhile. A transaction that was in another's way is done
//! again, and so is one whose outcome nobody knows; for how long that goes on is bounded, since senders wait.

use std::{
    sync::{
        Arc, Mutex, MutexGuard as Guard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use deadpool_postgres::Object;
use hookweir_event::Timestamp;
use tokio::{
    sync::{MutexGuard, Notify, Semaphore, SemaphorePermit, mpsc},
    time::Instant,
};

use super::{
    Fault, Link, Moment,
    alive::Doubt,
    batch::{Answer, Batch, Known},
    boots::{self, Watch},
    confer,
    end::End,
    found::Found,
    link,
    retain::{Rest, Retain},
    totals::{self, SHARDS},
};
use crate::{
    Health, StoreError, Time,
    steady::Steady,
    verbs::{Op, Reply, Signals, Verb},
};

/// The most operations in one transaction.
const BATCH_MAX: usize = 1024;
/// So many are worth a transaction beside another one that asks its statements still.
const BATCH_BESIDE: usize = 256;
/// Fewer wait until that one commits, for more to come, since a transaction costs as much by itself as some twenty events;
/// but not for longer: where the database is slow each waits long enough for its own.
const LINGER: Duration = Duration::from_millis(2);
/// The most bytes of bodies in one transaction, give or take the last event.
const BATCH_BYTES: usize = 8 << 20;
/// For so long a transaction is done again whose outcome is not known, or for which there is no connection: a
/// failover that takes longer is seen by senders. While it is known that the database is not there, once is enough.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// So often one is done again that was in another's way, and for no longer either.
const TRIES_MAX: u32 = 16;
/// How many events retention looks at beside other work, and how many alone.
const STEP_BESIDE: i64 = 64;
pub(super) const STEP_ALONE: i64 = 256;
/// So many milliseconds retention waits for a lock. Others wait for its transaction.
const TEND_WAIT: u32 = 200;

/// What all workers of a store share.
pub(super) struct Shared {
    pub(super) link: Link,
    pub(super) owner: [u8; 16],
    /// What leases are ours by. It changes when others took us for gone.
    pub(super) boot: Arc<AtomicI64>,
    /// Of the batches, for those that lease.
    pub(super) numbers: AtomicI64,
    pub(super) known: Known,
    /// For tests.
    pub(super) given: Option<Mutex<Steady>>,
    pub(super) retain: tokio::sync::Mutex<Retain>,
    /// Batches that leased, or did not: nobody knows.
    pub(super) doubts: Mutex<Vec<Doubt>>,
    pub(super) watch: Mutex<Watch>,
    pub(super) signals: Signals,
    /// Whether other gateways have the store open.
    pub(super) others: AtomicBool,
    /// Others are to be told that there is work.
    pub(super) announce: Notify,
    /// Had by the transaction that asks its statements; it lets it go when its rows are written.
    pub(super) turn: Semaphore,
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
        Self::given_now(given, moment).await
    }

    /// The time that was given. Others go on from there.
    async fn given_now(given: &Mutex<Steady>, moment: &Moment<'_>) -> Result<Timestamp, Fault> {
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
            let mut queue = queue.lock().await;
            let Some((work, turn)) = Work::take(&mut queue, &self.turn).await else { return };
            drop(queue);
            if !work.verbs.is_empty() {
                self.work(nth, work, turn).await;
            }
        }
    }

    async fn work(&self, nth: usize, work: Work, turn: Option<Turn<'_>>) {
        let Work { verbs, replies, .. } = work;
        let mut again = false;
        let answers = match self.commit(nth, (&verbs, &mut again), turn).await {
            Err(Fault::Operation(reason)) if verbs.len() > 1 => {
                tracing::debug!(reason, "an operation fails its batch; each is done alone");
                self.each_alone(nth, &verbs, again).await
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

    async fn each_alone(&self, nth: usize, verbs: &[Verb], again: bool) -> Vec<Answer> {
        let mut answers = Vec::with_capacity(verbs.len());
        for verb in verbs {
            let (verb, mut again) = (std::slice::from_ref(verb), again);
            answers.extend(match self.commit(nth, (verb, &mut again), None).await {
                Ok(made) => self.told(made),
                Err(fault) => self.failed(&fault, 1),
            });
        }
        answers
    }

    /// Commits, again if that may help. `again`: it was tried before, and nobody knows whether it was committed.
    async fn commit(
        &self,
        nth: usize,
        (verbs, again): (&[Verb], &mut bool),
        mut turn: Option<Turn<'_>>,
    ) -> Result<Made, Fault> {
        let begun = Instant::now();
        let mut tries = 0;
        loop {
            tries += 1;
            let how = Try { again: *again, careful: tries > 1 };
            // On the heap: it is by far the largest part of all that stands on the stack.
            match Box::pin(self.transact(nth, (verbs, how), turn.take(), again)).await {
                Err(Fault::Taken(reason)) if !how.careful => {
                    tracing::debug!(reason, "some of it is there already; it is done with care");
                }
                Err(Fault::InTheWay(reason)) if tries < TRIES_MAX && begun.elapsed() < PATIENCE => {
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
                done => {
                    self.remember(verbs, *again && done.is_err());
                    return done.map_err(|fault| match fault {
                        // Though it was careful.
                        Fault::Taken(reason) => Fault::Operation(reason),
                        fault => fault,
                    });
                }
            }
        }
    }

    /// Whether it is not known of settlements whether they were committed.
    fn remember(&self, verbs: &[Verb], unheard: bool) {
        let keys = verbs.iter().filter_map(|verb| match verb {
            Verb::Settle(settlement) => Some(&settlement.key),
            _ => None,
        });
        match unheard {
            true => self.known.unheard.add(keys),
            false => self.known.unheard.remove(keys),
        }
    }

    /// One transaction, on a connection that is not used again if anything is wrong with it.
    async fn transact(
        &self,
        nth: usize,
        (verbs, how): (&[Verb], Try),
        turn: Option<Turn<'_>>,
        again: &mut bool,
    ) -> Result<Made, Fault> {
        let mut connection = self.link.connect().await?;
        let walk = self.may_tend().await;
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let asked = OnceLock::new();
        let made = async {
            let moment = Moment::on(&mut connection);
            self.within(moment, (nth, number), (verbs, how), (walk, turn), &asked).await
        };
        let made = link::in_time(made).await;
        if matches!(made, Err(Fault::Lost(_))) {
            self.known.forget_plugins();
            *again |= asked.get().is_some();
            if let Some(transaction) = asked.get().copied().flatten() {
                // Whether it leased anything will be seen.
                self.doubts().push(Doubt { batch: number, transaction });
            }
            link::let_go(connection, asked.get().is_some());
        }
        made
    }

    /// All of a transaction, its commit included. Says in `asked` that it asked for that, and what by if it leased anything.
    async fn within(
        &self,
        moment: Moment<'_>,
        (nth, number): (usize, i64),
        (verbs, how): (&[Verb], Try),
        (mut walk, turn): (Walk<'_>, Option<Turn<'_>>),
        asked: &OnceLock<Option<i64>>,
    ) -> Result<Made, Fault> {
        let found = Found::by(&moment, verbs, (self.boot(), &self.owner)).await?;
        let now = match &self.given {
            Some(given) => Self::given_now(given, &moment).await?,
            None => found.now,
        };
        let boot = match found.may_lease {
            true => self.boot(),
            false => self.boot_anew(&moment, now).await?,
        };
        let mut batch = Batch::new(&moment, now, (boot, number), &self.known);
        (batch.again, batch.careful) = (how.again, how.careful);
        walk.only_if_due(now);
        let shard = i64::try_from(nth).unwrap_or(0) + boot * 16;
        let shard = i32::try_from(shard.rem_euclid(SHARDS)).unwrap_or(0);
        let mut end = End::new(shard, asked, turn);
        let answers = batch.apply(verbs, found, walk.0.is_none().then_some(&mut end)).await?;
        if end.wrote().is_none() {
            self.tend(&mut batch, &mut walk, STEP_BESIDE).await?;
            moment.prepare(&totals::STATEMENTS).await?;
            end.goes_on();
            end.asks(batch.leased_in);
            end.is_over(batch.counted.commit(&moment, shard).await?);
        }
        let Batch { new_plugins, work_due, .. } = batch;
        walk.keep();
        if end.wrote() == Some(true) {
            self.signals.figures.committed(verbs.len(), end.took());
        }
        self.known.learn(new_plugins);
        Ok(Made { answers, work_due })
    }

    /// Another boot, since others took us for gone.
    async fn boot_anew(&self, moment: &Moment<'_>, now: Timestamp) -> Result<i64, Fault> {
        let boot = self.boot();
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

    pub(super) fn doubts(&self) -> Guard<'_, Vec<Doubt>> {
        self.doubts.lock().unwrap_or_else(PoisonError::into_inner)
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
        let (counted, was) = (batch.counted.clone(), retain.clone());
        batch
            .moment
            .script(&format!("SAVEPOINT tend; SET LOCAL lock_timeout = {TEND_WAIT}"))
            .await?;
        let fault = match batch.tend(retain, limit).await {
            Ok(rest) => {
                let sql = "RELEASE SAVEPOINT tend; SET LOCAL lock_timeout TO DEFAULT";
                batch.moment.script(sql).await?;
                return Ok(rest);
            }
            Err(Fault::Lost(reason)) => return Err(Fault::Lost(reason)),
            Err(fault) => fault,
        };
        batch.moment.script("ROLLBACK TO SAVEPOINT tend").await?;
        batch.counted = counted;
        match fault {
            Fault::InTheWay(reason) => {
                tracing::debug!(reason, "something was in retention's way");
                **retain = was;
                retain.wait(batch.now);
            }
            fault => {
                tracing::error!(?fault, "retention failed; it will be tried again");
                retain.pause(batch.now);
            }
        }
        Ok(Rest::Nothing)
    }

    /// What is done each second though nobody asks: it is seen whether the database is there, and what is over is
    /// forgotten. Says whether there is more of that.
    pub(super) async fn tick(&self) -> Result<Rest, Fault> {
        let mut connection = self.link.connect().await?;
        let walk = Walk(Some(self.retain.lock().await));
        let asked = OnceLock::new();
        let ticked = link::in_time(self.tick_on(&mut connection, walk, &asked)).await;
        if matches!(ticked, Err(Fault::Lost(_))) {
            link::let_go(connection, asked.get().is_some());
        }
        ticked
    }

    async fn tick_on(
        &self,
        connection: &mut Object,
        mut walk: Walk<'_>,
        asked: &OnceLock<()>,
    ) -> Result<Rest, Fault> {
        let moment = Moment::write(connection).await?;
        let now = self.now(&moment).await?;
        let boot = self.boot();
        let mut batch = Batch::new(&moment, now, (boot, 0), &self.known);
        walk.only_if_due(now);
        let rest = self.tend(&mut batch, &mut walk, STEP_ALONE).await?;
        batch.counted.write(&moment, own_shard(boot)).await?;
        let work_due = batch.work_due;
        let _ = asked.set(());
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
            self.tell_of_work();
        }
        made.answers
    }

    /// Wakes those who wait for work, here and at other gateways.
    pub(super) fn tell_of_work(&self) {
        self.signals.wakeups.send_modify(|count| *count = count.wrapping_add(1));
        if self.others.load(Ordering::Relaxed) {
            self.announce.notify_one();
        }
    }

    /// A commit failed: the same answer to all.
    fn failed(&self, fault: &Fault, count: usize) -> Vec<Answer> {
        if !matches!(fault, Fault::Operation(_)) {
            self.refuse(fault);
        }
        let answer = fault.clone().into_answer();
        (0..count).map(|_| Err(answer.clone())).collect()
    }

    /// Says that the store takes no work. The next tick tries again.
    pub(super) fn refuse(&self, fault: &Fault) {
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

/// How a transaction is tried.
#[derive(Debug, Clone, Copy)]
struct Try {
    /// It was tried before, and nobody knows whether that was committed.
    again: bool,
    /// Some of what it makes may be there.
    careful: bool,
}

/// Whose statements are asked now.
type Turn<'s> = SemaphorePermit<'s>;

/// What goes into one transaction.
#[derive(Default)]
struct Work {
    verbs: Vec<Verb>,
    /// One for each verb.
    replies: Vec<Reply>,
    bytes: usize,
}

impl Work {
    /// Takes what waits, up to the limits, and waits for the first; none if nobody can ask any more. While another
    /// transaction asks its statements it waits a little for more, unless there is enough.
    async fn take<'s>(
        queue: &mut mpsc::Receiver<Op>,
        turns: &'s Semaphore,
    ) -> Option<(Self, Option<Turn<'s>>)> {
        let mut work = Self::default();
        work.add(queue.recv().await?, queue);
        let mut turn = turns.try_acquire().ok();
        if turn.is_none() {
            let waited = async {
                while work.verbs.len() < BATCH_BESIDE && work.bytes < BATCH_BYTES {
                    tokio::select! {
                        biased;
                        turn = turns.acquire() => return turn.ok(),
                        op = queue.recv() => match op {
                            Some(op) => work.add(op, queue),
                            None => return None,
                        },
                    }
                }
                None
            };
            turn = tokio::time::timeout(LINGER, waited).await.ok().flatten();
        }
        while work.verbs.len() < BATCH_MAX
            && work.bytes < BATCH_BYTES
            && let Ok(op) = queue.try_recv()
        {
            work.add(op, queue);
        }
        Some((work, turn))
    }

    fn add(&mut self, op: Op, queue: &mut mpsc::Receiver<Op>) {
        match op {
            Op::Do(verb, reply) => {
                self.bytes += verb.bytes();
                self.verbs.push(verb);
                self.replies.push(reply);
            }
            Op::Tick => {}
            Op::Close => queue.close(),
        }
    }
}
