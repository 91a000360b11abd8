//! The kit's clock: it shows a time that moves when it is told to, or another clock's, moved.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use hookweir_event::{Clock, Timestamp};

/// When tests begin unless they say otherwise: 2026-01-01T00:00:00Z.
pub(crate) const START: Timestamp = Timestamp::from_secs(1_767_225_600);

/// A clock with a hand for tests.
#[derive(Debug, Clone)]
pub(crate) struct Time {
    base: Clock,
    ahead_ms: Arc<AtomicU64>,
}

impl Time {
    /// Stands still.
    pub(crate) fn at(now: Timestamp) -> Self {
        Self::from(Clock::new(move || now))
    }

    /// Moves it on.
    pub(crate) fn advance(&self, by: Duration) {
        let millis = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        self.ahead_ms.fetch_add(millis, Relaxed);
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.base.now() + Duration::from_millis(self.ahead_ms.load(Relaxed))
    }

    /// As the engine has it.
    pub(crate) fn clock(&self) -> Clock {
        let time = self.clone();
        Clock::new(move || time.now())
    }
}

impl From<Clock> for Time {
    fn from(base: Clock) -> Self {
        Self { base, ahead_ms: Arc::default() }
    }
}
