//! Checkpoints: pages travel from the log into the database file off the writer's path.
//!
//! A passive checkpoint copies what was in the log when it began. While commits go on it never
//! reaches the log's end, and a log that is not copied to its end can't start anew. So a thread does
//! the long pass, and right after it the writer, between two batches, copies the short rest: the next
//! commit then writes from the log's beginning.
//!
//! SQLite syncs the database file only when a pass reaches the log's end, which would be the writer's: 18 ms
//! for what the thread had copied. So the thread has the file written out itself, through a handle of its
//! own, and the writer's sync finds little to do. Nothing is built on that first sync but time.

use std::{
    sync::{Arc, Condvar, Mutex, PoisonError, mpsc},
    thread::JoinHandle,
    time::Duration,
};

use rusqlite::{Connection, MAIN_DB, wal::CheckpointMode};
use tokio::sync::mpsc::WeakSender;

use super::{Op, anchor::Anchor, fault::Fault};

/// A pass starts when 1 MiB of log is not copied yet. While a pass is written out, a commit's sync waits
/// behind it: 16 ms with passes of 8 MiB.
const PASS_BYTES: u32 = 1 << 20;
/// When the log has 8 MiB, the writer copies a rest of up to 1 MiB itself; for a longer one it waits for
/// another pass.
const RESTART_BYTES: u32 = 8 << 20;
const REST_BYTES: u32 = 1 << 20;
/// At 48 MiB the writer waits: for the pass that runs, and for readers that keep the log from starting
/// anew. New readers are no hindrance once all is copied, so that takes as long as one query. With the
/// largest batch on top the log stays below 64 MiB, unless one query reads for longer than two
/// seconds; then it grows by as much again before the next wait.
const HARD_BYTES: u32 = 48 << 20;
/// How often it looks whether a reader is gone, and how many times: for two seconds.
const LOOK_AGAIN: Duration = Duration::from_millis(1);
const LOOKS: usize = 2000;
/// How often the writer is reminded that time passes: after a failed commit it tries another, and it
/// forgets what is over.
const TICK: Duration = Duration::from_secs(1);

/// Asks for a pass over the log as it is since it started anew so often.
struct Pass {
    restarts: u32,
}

/// The limits above, in frames of the log: pages, each.
#[derive(Debug, Clone, Copy)]
struct Limits {
    pass: u32,
    restart: u32,
    rest: u32,
    hard: u32,
}

impl Limits {
    fn with_pages_of(bytes: u32) -> Self {
        let [pass, restart, rest, hard] =
            [PASS_BYTES, RESTART_BYTES, REST_BYTES, HARD_BYTES].map(|limit| limit / bytes);
        Self { pass, restart, rest, hard }
    }
}

#[derive(Debug, Default)]
struct Progress {
    running: bool,
    /// How many frames of the log are known to be in the database file.
    copied: u32,
    /// How often the log started anew. What a pass copied before that does not count after it.
    restarts: u32,
    poison: Option<String>,
}

type Shared = Arc<(Mutex<Progress>, Condvar)>;

/// The writer's side of the checkpointer. Dropping it ends the thread.
pub(super) struct Checkpointer {
    jobs: Option<mpsc::SyncSender<Pass>>,
    thread: Option<JoinHandle<()>>,
    shared: Shared,
    limits: Limits,
    frames_seen: u32,
    /// Below this many frames there is no use in trying again.
    next_try: u32,
}

impl Checkpointer {
    /// Starts the thread, which owns `connection` to the database that `file` is, and sends ticks to the
    /// writer through `back`.
    pub(super) fn start(
        connection: Connection,
        file: Anchor,
        page_bytes: u32,
        back: WeakSender<Op>,
    ) -> std::io::Result<Self> {
        // Another is not asked for while one runs.
        let (jobs, queue) = mpsc::sync_channel(1);
        let limits = Limits::with_pages_of(page_bytes);
        let shared = Shared::default();
        let state = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("store-checkpoint".into())
            .spawn(move || work(|| pass(&connection, &file), &queue, &back, &state))?;
        Ok(Self {
            jobs: Some(jobs),
            thread: Some(thread),
            shared,
            limits,
            frames_seen: 0,
            next_try: 0,
        })
    }

    /// Why the thread found that the store is poisoned, if it did.
    pub(super) fn poison(&self) -> Option<String> {
        lock(&self.shared).poison.clone()
    }

    /// After each commit: `frames` is the length of the log. The writer calls it between batches, on
    /// its own connection.
    pub(super) fn after_commit(&mut self, writer: &Connection, frames: u32) -> Result<(), Fault> {
        if frames < self.frames_seen {
            let mut progress = lock(&self.shared);
            progress.copied = 0;
            progress.restarts += 1;
            drop(progress);
            self.next_try = 0;
        }
        self.frames_seen = frames;
        let Limits { pass, restart, rest, hard } = self.limits;
        if frames < pass.max(self.next_try) {
            return Ok(());
        }
        let Some(copied) = self.idle_pass(frames >= hard) else {
            return Ok(());
        };
        let left = frames.saturating_sub(copied);
        if frames < hard && (frames < restart || left > rest) {
            if left >= pass {
                self.start_pass();
            }
            return Ok(());
        }
        let (copied, pause) = match frames >= hard {
            false => (copy(writer, CheckpointMode::PASSIVE)?, rest),
            true => (copy_all(writer, frames)?, hard),
        };
        lock(&self.shared).copied = copied;
        // Unless the next commit starts the log anew, a reader is in the way.
        self.next_try = frames + pause;
        Ok(())
    }

    /// How far the last pass came; `None` while one runs, unless `wait` says to wait for it.
    fn idle_pass(&self, wait: bool) -> Option<u32> {
        let mut pass = lock(&self.shared);
        while pass.running && wait {
            pass = self.shared.1.wait(pass).unwrap_or_else(PoisonError::into_inner);
        }
        (!pass.running).then_some(pass.copied)
    }

    fn start_pass(&self) {
        let Some(jobs) = &self.jobs else { return };
        let mut progress = lock(&self.shared);
        progress.running = true;
        let restarts = progress.restarts;
        drop(progress);
        if jobs.try_send(Pass { restarts }).is_err() {
            lock(&self.shared).running = false;
        }
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn lock(shared: &Shared) -> std::sync::MutexGuard<'_, Progress> {
    shared.0.lock().unwrap_or_else(PoisonError::into_inner)
}

fn work(
    pass: impl Fn() -> Result<u32, Fault>,
    jobs: &mpsc::Receiver<Pass>,
    back: &WeakSender<Op>,
    shared: &Shared,
) {
    let _farewell = Farewell(shared, back);
    loop {
        match jobs.recv_timeout(TICK) {
            Ok(asked) => finish_pass(pass(), &asked, shared),
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => return,
        }
        // After a pass too: it may have found that the store is poisoned, and nobody may be asking.
        tick(back);
    }
}

/// Reminds the writer. A full queue serves as well.
fn tick(back: &WeakSender<Op>) {
    if let Some(back) = back.upgrade() {
        let _ = back.try_send(Op::Tick);
    }
}

/// The thread's last word. If it ended in the middle of a pass, the writer, which may wait for that, is told that there
/// will be none.
struct Farewell<'w>(&'w Shared, &'w WeakSender<Op>);

impl Drop for Farewell<'_> {
    fn drop(&mut self) {
        let mut pass = lock(self.0);
        if pass.running && std::thread::panicking() {
            pass.running = false;
            pass.poison = Some("the thread of checkpoints ended early".to_owned());
        }
        drop(pass);
        self.0.1.notify_all();
        tick(self.1);
    }
}

fn finish_pass(copied: Result<u32, Fault>, asked: &Pass, shared: &Shared) {
    let mut pass = lock(shared);
    pass.running = false;
    match copied {
        Ok(frames) if pass.restarts == asked.restarts => pass.copied = frames,
        Ok(_) => {}
        Err(Fault::Poison(reason)) => pass.poison = Some(reason),
        // Nothing is lost: the log keeps the pages, and the next pass tries again.
        Err(fault) => tracing::warn!(?fault, "a checkpoint failed"),
    }
    drop(pass);
    shared.1.notify_all();
}

/// Copies what it can, and has it written out.
fn pass(connection: &Connection, file: &Anchor) -> Result<u32, Fault> {
    let copied = copy(connection, CheckpointMode::PASSIVE)?;
    match file.sync_data() {
        Ok(()) => Ok(copied),
        // What any failed sync means.
        Err(error) => Err(Fault::Poison(format!("a sync failed ({error})"))),
    }
}

/// Copies what it can; says how much of the log is known to be copied now.
fn copy(connection: &Connection, mode: CheckpointMode) -> Result<u32, Fault> {
    match checkpoint(connection, mode) {
        Ok((_, copied)) => Ok(copied),
        Err(Fault::Passing(crate::StoreError::Busy)) => Ok(0),
        Err(fault) => Err(fault),
    }
}

/// Copies the whole log, and waits until nobody reads from it. While this waits nothing is committed, so
/// whoever begins to read has all there is and is in nobody's way; who began before ends with the query.
///
/// SQLite's own wait would be for a moment in which nobody reads at all, which one who reads page after page
/// never leaves it: that took the whole busy timeout, and for nothing.
fn copy_all(connection: &Connection, frames: u32) -> Result<u32, Fault> {
    let mut copied = 0;
    for _ in 0..LOOKS {
        copied = copy(connection, CheckpointMode::PASSIVE)?;
        if copied >= frames {
            return copy(connection, CheckpointMode::RESTART);
        }
        std::thread::sleep(LOOK_AGAIN);
    }
    Ok(copied)
}

/// Copies the whole log, syncs, and cuts it to nothing. Fails if a reader is in the way for longer
/// than the busy timeout.
pub(super) fn truncate(connection: &Connection) -> Result<(), Fault> {
    checkpoint(connection, CheckpointMode::TRUNCATE).map(|_| ())
}

fn checkpoint(connection: &Connection, mode: CheckpointMode) -> Result<(u32, u32), Fault> {
    let (log, copied) = connection.wal_checkpoint_v2(Some(MAIN_DB), mode)?;
    Ok((u32::try_from(log).unwrap_or(0), u32::try_from(copied).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_for_a_pass_is_told_when_the_thread_is_gone() {
        let shared = Shared::default();
        let (asking, jobs) = mpsc::sync_channel(1);
        let (queue, mut told) = tokio::sync::mpsc::channel(1);
        let (state, back) = (Arc::clone(&shared), queue.downgrade());
        lock(&shared).running = true;
        asking.send(Pass { restarts: 0 }).unwrap();
        let thread = std::thread::spawn(move || {
            work(|| panic!("a pass that fails so"), &jobs, &back, &state);
        });
        let limit = Duration::from_secs(60);
        let waiting = shared.1.wait_timeout_while(lock(&shared), limit, |pass| pass.running);
        let (pass, waited) = waiting.unwrap();
        assert!(!waited.timed_out() && pass.poison.is_some(), "{pass:?}");
        drop(pass);
        assert!(thread.join().is_err());
        assert!(matches!(told.try_recv(), Ok(Op::Tick)), "the writer is told");
    }
}
