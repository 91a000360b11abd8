//! The end of a transaction: asked for by whoever asks its last statements.

use std::{sync::OnceLock, time::Duration};

use tokio::{sync::SemaphorePermit, time::Instant};

/// How a transaction ends.
pub(super) struct End<'e> {
    /// Where what it counts is written.
    pub(super) shard: i32,
    asked: &'e OnceLock<Option<i64>>,
    /// Let go when the rows are written.
    turn: Option<SemaphorePermit<'e>>,
    begun: Option<Instant>,
    wrote: Option<bool>,
}

impl<'e> End<'e> {
    /// `asked` is where it says that the commit was asked for, and what by if it leased anything.
    pub(super) fn new(
        shard: i32,
        asked: &'e OnceLock<Option<i64>>,
        turn: Option<SemaphorePermit<'e>>,
    ) -> Self {
        Self { shard, asked, turn, begun: None, wrote: None }
    }

    /// From now on nobody knows whether it is committed, until there is an answer.
    pub(super) fn asks(&self, leased_in: Option<i64>) {
        let _ = self.asked.set(leased_in);
    }

    /// The rows are written: the next transaction may ask its statements.
    pub(super) fn goes_on(&mut self) {
        self.turn = None;
        self.begun = Some(Instant::now());
    }

    /// It is committed, with anything in it or not.
    pub(super) fn is_over(&mut self, wrote: bool) {
        self.wrote = Some(wrote);
    }

    /// Whether it is committed, and if there was anything in it.
    pub(super) fn wrote(&self) -> Option<bool> {
        self.wrote
    }

    /// How long the commit took, as far as it was waited for: where it was asked for along with the rows, since those were
    /// seen to be written.
    pub(super) fn took(&self) -> Duration {
        self.begun.map_or(Duration::ZERO, |begun| begun.elapsed())
    }
}
