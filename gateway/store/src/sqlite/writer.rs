//! The writer: takes what waits, makes one transaction of it, syncs, answers.
//!
//! A batch runs without savepoints. Only when one of its operations is itself at fault, which honest
//! use never is, the batch is rolled back and run again with a savepoint around each.

use std::{path::PathBuf, sync::atomic::Ordering};

use hookweir_event::Timestamp;
use rusqlite::Connection;
use tokio::sync::mpsc;

use super::{
    Done, Op, Reply, Signals, Verb,
    append::Batch,
    checkpoint::{self, Checkpointer},
    fault::Fault,
    known::Known,
    memory::Totals,
    open::Database,
    retain::Rest,
    state,
};
use crate::{Health, Room, SqliteFile, StoreError};

/// The most operations in one transaction. 64 senders make batches of 32 to 64; a flood is cut here,
/// so that an answer waits for 30 ms of work at most.
const BATCH_MAX: usize = 1024;

/// The most bytes of bodies in one transaction, give or take the last event: what the log may grow by
/// between two looks at its length.
const BATCH_BYTES: usize = 8 << 20;

/// How many events retention looks at: in a commit of its own, of which there may be so many in a row
/// while nobody waits, and in one with other work, beside two for each that came.
const STEP_ALONE: usize = 256;
const STEPS_IN_A_ROW: u32 = 8;
const STEP_BESIDE: usize = 64;
/// How many expired entries of plugins' state a commit deletes.
const EXPIRED_MAX: i64 = 256;

/// An operation's own result; the batch's failure is the `Err` around a list of these.
type Results = Vec<Result<Done, StoreError>>;

pub(super) struct Writer<'s> {
    room: Room,
    /// Where the room is looked for.
    folder: PathBuf,
    database: Database,
    checkpointer: Checkpointer,
    signals: &'s Signals,
    poison: Option<String>,
    /// Whether retention has more to do.
    rest: Rest,
}

/// A commit.
struct Made {
    results: Results,
    /// Whether it made work due.
    work_due: bool,
    /// Whether anything was written, which proves that the disk takes it.
    wrote: bool,
    rest: Rest,
}

impl<'s> Writer<'s> {
    pub(super) fn new(
        file: &SqliteFile,
        database: Database,
        checkpointer: Checkpointer,
        signals: &'s Signals,
    ) -> Self {
        let room = file.room.clone();
        let folder = super::folder_of(&file.path).to_owned();
        Self { room, folder, database, checkpointer, signals, poison: None, rest: Rest::Nothing }
    }

    /// Serves until nobody can ask any more, then leaves an empty log behind.
    pub(super) fn serve(mut self, mut queue: mpsc::Receiver<Op>) {
        while let Some(first) = queue.blocking_recv() {
            let mut work = Work::default();
            work.push(first, &mut queue);
            self.batch(work, &mut queue);
            for _ in 0..STEPS_IN_A_ROW {
                if self.rest == Rest::Nothing || !queue.is_empty() {
                    break;
                }
                self.batch(Work { tick: true, ..Work::default() }, &mut queue);
            }
        }
        let finished = &self.signals.finished;
        let ended = self.end();
        finished.send_replace(Some(ended));
    }

    /// One batch from the transaction to the answers, then the log's upkeep.
    fn batch(&mut self, mut work: Work, queue: &mut mpsc::Receiver<Op>) {
        self.rest = Rest::Nothing;
        // Looked at for each batch, and each second: it costs a system call, a batch a sync.
        let left = self.room.left(&self.folder);
        self.signals.left.store(left.unwrap_or(u64::MAX), Ordering::Relaxed);
        if work.verbs.is_empty() && !(work.tick && self.has_upkeep()) {
            return;
        }
        work.lack = self.room.lack(left);
        let outcome = self.poisoned().and_then(|()| {
            let made = self.commit(&mut work, queue)?;
            // The checkpointer may have found out meanwhile that syncs fail.
            self.poisoned()?;
            Ok(made)
        });
        match outcome {
            Ok(Made { results, work_due, wrote, rest }) => {
                self.rest = rest;
                // Before the answers: who was refused may ask at once whether it is ready.
                match &work.lack {
                    None if wrote => self.recovered(),
                    // The next tick tries, if it refuses.
                    None => {}
                    Some(lack) => self.refuse(&Health::Refusing(lack.clone())),
                }
                let applied = work.verbs.iter().map(Verb::word).zip(&results);
                let applied = applied.map(|(verb, result)| (verb, result.as_ref().map(|_| ())));
                self.signals.figures.answered(applied);
                for (reply, result) in work.replies.into_iter().zip(results) {
                    let _ = reply.send(result);
                }
                if work_due {
                    self.signals.wakeups.send_modify(|count| *count = count.wrapping_add(1));
                }
                self.keep_log_short();
            }
            Err(fault) => {
                self.failed(&fault);
                let answer = fault.into_answer();
                for reply in work.replies {
                    self.signals.figures.failed(&answer);
                    let _ = reply.send(Err(answer.clone()));
                }
            }
        }
    }

    /// Whether there is a reason for a commit although nobody asks for one.
    fn has_upkeep(&mut self) -> bool {
        let Database { steady, retain, known, .. } = &mut self.database;
        // What is poisoned fails, and that is how it is said.
        *self.signals.health.borrow() != Health::Ready
            || self.checkpointer.poison().is_some()
            || retain.is_due(steady.now(), &known.memory.totals)
    }

    fn poisoned(&mut self) -> Result<(), Fault> {
        if self.poison.is_none() {
            self.poison = self.checkpointer.poison();
        }
        self.poison.clone().map_or(Ok(()), |reason| Err(Fault::Poison(reason)))
    }

    /// Applies and commits. When this returns `Ok`, the log is synced.
    fn commit(&mut self, work: &mut Work, queue: &mut mpsc::Receiver<Op>) -> Result<Made, Fault> {
        let totals = self.database.known.memory.totals;
        let made = match self.transact(work, queue, totals, Care::Fast) {
            Err(Fault::Operation(_)) => {
                self.roll_back(totals)?;
                self.transact(work, queue, totals, Care::EachAlone)
            }
            made => made,
        };
        if made.is_err() {
            self.roll_back(totals)?;
        }
        made
    }

    fn transact(
        &mut self,
        work: &mut Work,
        queue: &mut mpsc::Receiver<Op>,
        before: Totals,
        care: Care,
    ) -> Result<Made, Fault> {
        let database = &mut self.database;
        let connection = &database.connection;
        // Immediate: what is read here is still so when it is written.
        connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let now = database.steady.now();
        database.known.refresh(connection)?;
        let known = &mut database.known;
        let mut work_due = false;
        let mut results = Vec::with_capacity(work.verbs.len());
        // What comes while others are applied still joins them: the sync is what takes time.
        while results.len() < work.verbs.len() || work.take(queue) {
            for verb in &work.verbs[results.len()..] {
                if work.lack.is_some() && verb.wants_room() {
                    results.push(Err(StoreError::Full));
                    continue;
                }
                let mut apply = |known: &mut Known| {
                    let mut batch = Batch::new(connection, now, known);
                    let done = batch.apply(verb);
                    work_due |= batch.work_due;
                    done
                };
                results.push(match care {
                    Care::Fast => Ok(apply(known)?),
                    Care::EachAlone => alone(connection, known, apply)?,
                });
            }
        }
        known.write(connection, now)?;
        // With each commit: one with state makes fewer than that, and what has expired counts until it is gone.
        state::expire(connection, now.as_millis(), EXPIRED_MAX)?;
        let rest = forget(database, now, before)?;
        let Database { connection, known, steady, .. } = database;
        // A commit that writes nothing would prove nothing.
        let changed = known.fresh.is_changed() || known.depths.is_changed();
        let wrote = work.tick || known.memory.totals != before || changed;
        if wrote {
            known.memory.totals.clock = now.as_millis();
            known.memory.totals.write(connection, &known.fresh, &known.depths)?;
        }
        let begun = steady.ticks();
        connection.prepare_cached("COMMIT")?.execute([])?;
        if wrote {
            self.signals.figures.committed(results.len(), steady.ticks().saturating_sub(begun));
        }
        known.committed();
        Ok(Made { results, work_due, wrote, rest })
    }

    /// Undoes a batch. A failed commit may leave its transaction open, or may have closed it.
    fn roll_back(&mut self, totals: Totals) -> Result<(), Fault> {
        let database = &mut self.database;
        database.known.rolled_back(totals);
        database.retain.rolled_back();
        if database.connection.is_autocommit() {
            return Ok(());
        }
        let undone = database.connection.execute_batch("ROLLBACK");
        if database.connection.is_autocommit() {
            return Ok(());
        }
        Err(Fault::Poison(format!("a transaction could not be rolled back ({undone:?})")))
    }

    fn recovered(&self) {
        self.signals.health.send_if_modified(|health| {
            let refusing = matches!(health, Health::Refusing(_));
            if refusing {
                tracing::info!("the store takes work again");
                *health = Health::Ready;
            }
            refusing
        });
    }

    fn failed(&mut self, fault: &Fault) {
        let answer = fault.clone().into_answer();
        let health = match fault {
            Fault::Poison(reason) => {
                self.poison = Some(reason.clone());
                Health::Poisoned(reason.clone())
            }
            Fault::Passing(_) | Fault::Operation(_) => Health::Refusing(answer.to_string()),
        };
        self.refuse(&health);
    }

    /// Says that it takes no work. Unless that is for good, the next tick tries again.
    fn refuse(&self, health: &Health) {
        if self.signals.health.send_if_modified(|was| {
            let changed = was != health;
            was.clone_from(health);
            changed
        }) {
            tracing::error!(?health, "the store refuses work");
        }
    }

    fn keep_log_short(&mut self) {
        let frames = self.database.frames.load(Ordering::Relaxed);
        match self.checkpointer.after_commit(&self.database.connection, frames) {
            Ok(()) => {}
            Err(fault @ Fault::Poison(_)) => self.failed(&fault),
            Err(fault) => tracing::warn!(?fault, "a checkpoint failed"),
        }
    }

    /// The last checkpoint. The log alone would do; without one the next start is quicker.
    fn end(mut self) -> Result<(), StoreError> {
        self.poisoned().map_err(Fault::into_answer)?;
        let Self { database, checkpointer, .. } = self;
        drop(checkpointer);
        match checkpoint::truncate(&database.connection) {
            // A reader is in the way, or the disk is full: the log keeps it all.
            Ok(()) | Err(Fault::Passing(_)) => Ok(()),
            Err(fault) => Err(fault.into_answer()),
        }
    }
}

/// What goes into one transaction.
#[derive(Default)]
struct Work {
    verbs: Vec<Verb>,
    /// One for each verb.
    replies: Vec<Reply>,
    bytes: usize,
    /// Whether a second has passed.
    tick: bool,
    /// Why events are refused, if there is too little room on the disk.
    lack: Option<String>,
}

impl Work {
    /// Takes what waits, up to the limits; false if there is nothing to apply.
    fn take(&mut self, queue: &mut mpsc::Receiver<Op>) -> bool {
        let before = self.verbs.len();
        while self.verbs.len() < BATCH_MAX && self.bytes < BATCH_BYTES {
            match queue.try_recv() {
                Ok(op) => self.push(op, queue),
                Err(_) => break,
            }
        }
        self.verbs.len() > before
    }

    fn push(&mut self, op: Op, queue: &mut mpsc::Receiver<Op>) {
        let (verb, reply) = match op {
            Op::Do(verb, reply) => (verb, reply),
            Op::Tick => {
                self.tick = true;
                return;
            }
            Op::Close => {
                queue.close();
                return;
            }
        };
        self.bytes += verb.bytes();
        self.verbs.push(verb);
        self.replies.push(reply);
    }
}

/// Retention's part of a transaction. It may fail alone: then everything is kept, for a while.
fn forget(database: &mut Database, now: Timestamp, before: Totals) -> Result<Rest, Fault> {
    let Database { connection, known, retain, .. } = database;
    let Known { memory, parcels, depths, .. } = known;
    if !retain.is_due(now, &memory.totals) {
        return Ok(Rest::Nothing);
    }
    let run = |sql| connection.prepare_cached(sql)?.execute([]);
    let came = usize::try_from(memory.totals.events - before.events).unwrap_or(0);
    let alone = memory.totals == before;
    let limit = if alone { STEP_ALONE } else { STEP_BESIDE + 2 * came };
    let before = (memory.totals, depths.clone());
    run("SAVEPOINT retention")?;
    let rest = match retain.step(connection, now, (&mut memory.totals, parcels, depths), limit) {
        Err(Fault::Operation(reason)) => {
            tracing::error!(reason, "retention failed; it will be tried again");
            run("ROLLBACK TO retention")?;
            (memory.totals, *depths) = before;
            retain.pause(now);
            Rest::Nothing
        }
        rest => rest?,
    };
    run("RELEASE retention")?;
    Ok(rest)
}

/// How a batch is applied.
#[derive(Debug, Clone, Copy)]
enum Care {
    /// An operation's fault is the batch's.
    Fast,
    /// An operation's fault is its own.
    EachAlone,
}

impl Batch<'_> {
    fn apply(&mut self, verb: &Verb) -> Result<Done, Fault> {
        match verb {
            Verb::Append(new) => self.append(new).map(Done::Append),
            Verb::Lease(wants) => self.lease(wants).map(Done::Lease),
            Verb::Settle(settlement) => self.settle(settlement).map(Done::Settle),
            Verb::GiveBack(leases, after) => {
                self.give_back(leases, *after).map(|()| Done::GiveBack)
            }
            Verb::Mend(which, how) => self.mend(which, *how).map(Done::Mended),
            Verb::Replay(replays) => self.replay(replays).map(Done::Replayed),
            Verb::Unblock(plugin) => self.unblock(plugin).map(Done::Mended),
            Verb::Notice(notice) => self.notice(notice).map(Done::Noticed),
            Verb::WriteState(plugin, changes, _) => {
                self.write_state(plugin, changes).map(Done::WroteState)
            }
            Verb::Pause(what, by, why) => self.pause(what, by, why.as_deref()).map(Done::Paused),
            Verb::Resume(what) => self.resume(what).map(Done::Resumed),
        }
    }
}

/// Applies an operation so that it fails alone.
fn alone(
    connection: &Connection,
    known: &mut Known,
    apply: impl FnOnce(&mut Known) -> Result<Done, Fault>,
) -> Result<Result<Done, StoreError>, Fault> {
    let run = |sql| connection.prepare_cached(sql)?.execute([]);
    let mark = known.mark();
    run("SAVEPOINT operation")?;
    let done = match apply(known) {
        Ok(done) => Ok(done),
        Err(Fault::Operation(reason)) => {
            run("ROLLBACK TO operation")?;
            known.back_to(mark);
            Err(StoreError::Failed(reason))
        }
        Err(fault) => return Err(fault),
    };
    run("RELEASE operation")?;
    Ok(done)
}
