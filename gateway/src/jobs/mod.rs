//! Bulk work that operators ask for: dead letters retried, skipped or discarded, events replayed, all that a
//! filter means. A job first finds what is meant, then does it, the oldest first, a commit at a time, and can
//! be asked meanwhile how far it is, and be cancelled between two commits.
//!
//! What is meant is fixed when it is found: what comes later is not touched, so a job ends. A job lives in
//! memory and survives no restart. Asking again for one that mends does nothing twice, since what is not dead
//! any more is passed over. A job that replays replays each event once, and another one with
//! `unless_replayed_since` passes over what the first one did.
//!
//! Bounded: so many run at a time, so many are kept that have ended, so many ids does one hold.

mod walk;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use hookweir_event::{Clock, PluginName, Timestamp};
use hookweir_store::{Filter, Mend, Store};
use thiserror::Error;

pub(crate) use self::walk::routes;
use crate::{chance::Chance, live::Board, tasks::Spawner};

/// Jobs that run at the same time: each has a reader of its own, and all share the writer.
pub const RUNNING_MAX: usize = 4;
/// Jobs that are remembered after they ended.
pub const ENDED_MAX: usize = 32;
/// What one job can mean: 24 MiB of ids.
pub const FOUND_MAX: usize = 1_000_000;

/// What is to be done.
#[derive(Debug, Clone)]
pub struct Order {
    /// What.
    pub work: Work,
    /// To which.
    pub filter: Filter,
    /// Whether to say how much it would be, and to do nothing.
    pub dry_run: bool,
    /// Who asks for it.
    pub by: String,
    /// What was asked for, for operators to read.
    pub asked: BTreeMap<String, String>,
}

/// What a job does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    /// Mends the dead letters among the deliveries that the filter means.
    Mend(Mend),
    /// Replays the events that the filter means.
    Replay {
        /// To this plugin alone, in place of all that subscribe now.
        to: Option<PluginName>,
        /// A plugin that was replayed an event then or later is not sent it once more.
        unless_replayed_since: Option<Timestamp>,
    },
}

/// How a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stage {
    /// It looks for what is meant.
    #[default]
    Searching,
    /// It does what is to be done.
    Running,
    /// It has come to its end.
    Done,
    /// It was cancelled before.
    Cancelled,
    /// It could not go on.
    Failed,
}

impl Stage {
    /// The word in listings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Searching => "searching",
            Self::Running => "running",
            Self::Done => "done",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
        }
    }

    /// Whether nothing more will happen.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::Cancelled | Self::Failed)
    }
}

/// How far a job is. What it found is done, passed over, failed, or left.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Progress {
    /// How it stands.
    pub stage: Stage,
    /// Dead letters, or events, that are meant; more while it searches.
    pub found: u64,
    /// Those that were mended or replayed, or would have been.
    pub done: u64,
    /// Those for which there was nothing to do: not dead any more, forgotten, or wanted by no plugin.
    pub passed: u64,
    /// Those that could not be mended or replayed.
    pub failed: u64,
    /// Deliveries that a replay made, or would have made.
    pub deliveries: u64,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Why it could not go on, or why the first that failed did.
    pub error: Option<String>,
}

impl Progress {
    /// What is still to be done.
    pub fn left(&self) -> u64 {
        self.found.saturating_sub(self.done + self.passed + self.failed)
    }
}

/// One job.
#[derive(Debug)]
pub struct Job {
    /// Its name: no other job ever had it.
    pub id: String,
    /// What it does.
    pub order: Order,
    /// When it was asked for.
    pub started_at: Timestamp,
    cancelled: AtomicBool,
    progress: Mutex<Progress>,
}

impl Job {
    /// How far it is.
    pub fn progress(&self) -> Progress {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }
}

/// Why a job is not begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NotBegun {
    /// As many run as may.
    #[error("{RUNNING_MAX} jobs run already; wait for one, or cancel it")]
    TooMany,
    /// The gateway is on its way out.
    #[error("the gateway is shutting down")]
    ShuttingDown,
}

/// All jobs. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Jobs {
    around: Around,
    chance: Chance,
    spawner: Spawner,
    /// The oldest first. None: no more are taken.
    all: Arc<Mutex<Option<VecDeque<Arc<Job>>>>>,
}

/// What a job works with.
#[derive(Debug, Clone)]
struct Around {
    store: Store,
    board: Arc<Board>,
    clock: Clock,
}

impl Jobs {
    /// None yet; those to come work on this store, by what is on this board.
    pub fn new(
        store: Store,
        board: Arc<Board>,
        (clock, chance): (Clock, Chance),
        spawner: Spawner,
    ) -> Self {
        let all = Arc::new(Mutex::new(Some(VecDeque::new())));
        Self { around: Around { store, board, clock }, chance, spawner, all }
    }

    /// Begins a job.
    ///
    /// # Errors
    /// If too many run, or the gateway is shutting down.
    pub fn begin(&self, order: Order) -> Result<Arc<Job>, NotBegun> {
        let mut all = self.lock();
        let all = all.as_mut().ok_or(NotBegun::ShuttingDown)?;
        let is_over = |job: &Arc<Job>| job.lock().stage.is_over();
        if all.iter().filter(|job| !is_over(job)).count() >= RUNNING_MAX {
            return Err(NotBegun::TooMany);
        }
        let id = uuid::Builder::from_random_bytes(self.chance.bytes()).into_uuid().to_string();
        let job = Arc::new(Job {
            id,
            order,
            started_at: self.around.clock.now(),
            cancelled: AtomicBool::new(false),
            progress: Mutex::default(),
        });
        all.push_back(job.clone());
        let ended = all.iter().filter(|job| is_over(job)).count();
        for _ in ENDED_MAX..ended {
            if let Some(oldest) = all.iter().position(is_over) {
                all.remove(oldest);
            }
        }
        self.spawner.ingress(walk::run(self.around.clone(), job.clone()));
        Ok(job)
    }

    /// All that are known, the newest first.
    pub fn all(&self) -> Vec<Arc<Job>> {
        self.lock().iter().flatten().rev().cloned().collect()
    }

    /// The one of this name.
    pub fn find(&self, id: &str) -> Option<Arc<Job>> {
        self.lock().iter().flatten().find(|job| job.id == id).cloned()
    }

    /// Has a job end after the commit that it is at. One that is over stays as it is.
    pub fn cancel(&self, id: &str) -> Option<Arc<Job>> {
        let job = self.find(id)?;
        job.cancelled.store(true, Ordering::Relaxed);
        Some(job)
    }

    /// Has all jobs end, and takes no more: the gateway is on its way out.
    pub fn close(&self) {
        for job in self.lock().take().into_iter().flatten() {
            job.cancelled.store(true, Ordering::Relaxed);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<VecDeque<Arc<Job>>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
