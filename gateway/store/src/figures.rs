//! What a store has done since it was opened: counted where it happens, by whoever it happens to, without a
//! lock. Numbers alone; what is made of them is their reader's affair.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use hookweir_event::{Histogram, Spread};

use crate::StoreError;

/// How many operations a commit had.
const BATCHES: &[u64] = &[1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024];
/// How long it took, in microseconds: a fast disk takes 0.2 ms, a slow one 10 ms.
const SYNCS: &[u64] = &[
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 5_000_000,
];

/// What the writer is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the store's verbs")]
pub enum StoreVerb {
    Append,
    Lease,
    Settle,
    GiveBack,
    Mend,
    Unblock,
    Replay,
    WriteState,
    Notice,
    Pause,
    Resume,
}

impl StoreVerb {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Append,
        Self::Lease,
        Self::Settle,
        Self::GiveBack,
        Self::Mend,
        Self::Unblock,
        Self::Replay,
        Self::WriteState,
        Self::Notice,
        Self::Pause,
        Self::Resume,
    ];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Append => "append",
            Self::Lease => "lease",
            Self::Settle => "settle",
            Self::GiveBack => "give-back",
            Self::Mend => "mend",
            Self::Unblock => "unblock",
            Self::Replay => "replay",
            Self::WriteState => "write-state",
            Self::Notice => "notice",
            Self::Pause => "pause",
            Self::Resume => "resume",
        }
    }
}

/// The kinds of [`StoreError`], in the order of [`kind`].
const KINDS: [&str; 6] = ["full", "busy", "failed", "poisoned", "overloaded", "closed"];

fn kind(error: &StoreError) -> usize {
    match error {
        StoreError::Full => 0,
        StoreError::Busy => 1,
        StoreError::Failed(_) => 2,
        StoreError::Poisoned(_) => 3,
        StoreError::Overloaded => 4,
        StoreError::Closed => 5,
    }
}

/// What a store has done since it was opened.
#[derive(Debug, Clone)]
pub struct Figures {
    /// Operations of each commit that wrote something.
    pub batches: Spread,
    /// How long those commits took, in microseconds: the log is written and synced.
    pub syncs: Spread,
    /// Operations that were done, by their verb.
    pub operations: [(StoreVerb, u64); StoreVerb::ALL.len()],
    /// Operations that failed, by a word for why.
    pub errors: [(&'static str, u64); KINDS.len()],
}

/// Where it is counted.
#[derive(Debug)]
pub(crate) struct Counting {
    batches: Histogram,
    syncs: Histogram,
    operations: [AtomicU64; StoreVerb::ALL.len()],
    errors: [AtomicU64; KINDS.len()],
}

impl Default for Counting {
    fn default() -> Self {
        Self {
            batches: Histogram::new(BATCHES),
            syncs: Histogram::new(SYNCS),
            operations: Default::default(),
            errors: Default::default(),
        }
    }
}

impl Counting {
    pub(crate) fn committed(&self, operations: usize, took: Duration) {
        self.batches.count(operations as u64);
        self.syncs.count(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }

    /// What came of the operations of a commit.
    pub(crate) fn answered<'a>(
        &self,
        applied: impl Iterator<Item = (StoreVerb, Result<(), &'a StoreError>)>,
    ) {
        for (verb, result) in applied {
            match result {
                Ok(()) => _ = self.operations[verb as usize].fetch_add(1, Relaxed),
                Err(error) => self.failed(error),
            }
        }
    }

    pub(crate) fn failed(&self, error: &StoreError) {
        self.errors[kind(error)].fetch_add(1, Relaxed);
    }

    pub(crate) fn read(&self) -> Figures {
        let operations =
            StoreVerb::ALL.map(|verb| (verb, self.operations[verb as usize].load(Relaxed)));
        let mut errors = KINDS.map(|kind| (kind, 0));
        for ((_, count), counted) in errors.iter_mut().zip(&self.errors) {
            *count = counted.load(Relaxed);
        }
        Figures { batches: self.batches.spread(), syncs: self.syncs.spread(), operations, errors }
    }
}
