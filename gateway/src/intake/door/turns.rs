//! Who may call a plugin now: so many at a time, some more in a line, the rest not.
//!
//! A call that has to be run again, since the state it relied on was changed meanwhile, is run with no other
//! call of the plugin beside it. Else, of many that change one entry, all but one would fail each time.

use std::{sync::Arc, time::Duration};

use tokio::sync::{OwnedSemaphorePermit, RwLock, RwLockReadGuard, RwLockWriteGuard, Semaphore};

/// Calls that wait, for each that may run.
const WAITING: usize = 32;

/// The calls of one plugin's api, or of one source's verifier.
#[derive(Debug)]
pub(in crate::intake) struct Turns {
    most: usize,
    running: Arc<Semaphore>,
    /// One for each that runs or waits.
    line: Arc<Semaphore>,
    order: RwLock<()>,
}

/// Leave to call. Given back when dropped.
#[derive(Debug)]
pub(in crate::intake) struct Turn {
    _running: OwnedSemaphorePermit,
    _line: OwnedSemaphorePermit,
}

/// What a call is run beside.
#[derive(Debug)]
pub(super) enum Order<'t> {
    /// Anything.
    Free,
    /// Others.
    Beside { _others: RwLockReadGuard<'t, ()> },
    /// Nothing of the same plugin, but events.
    Alone { _others: RwLockWriteGuard<'t, ()> },
}

/// There is no turn to be had in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Busy;

impl Turns {
    pub(in crate::intake) fn new(most: usize) -> Self {
        Self {
            most,
            running: Arc::new(Semaphore::new(most)),
            line: Arc::new(Semaphore::new(most.saturating_mul(1 + WAITING))),
            order: RwLock::new(()),
        }
    }

    /// How many may run at a time.
    pub(in crate::intake) fn most(&self) -> usize {
        self.most
    }

    /// A turn, within this time.
    pub(super) async fn take(&self, patience: Duration) -> Result<Arc<Turn>, Busy> {
        let line = Arc::clone(&self.line).try_acquire_owned().map_err(|_| Busy)?;
        let running = Arc::clone(&self.running).acquire_owned();
        let running = tokio::time::timeout(patience, running).await.map_err(|_| Busy)?;
        Ok(Arc::new(Turn { _running: running.map_err(|_| Busy)?, _line: line }))
    }

    /// Beside other calls, within this time.
    pub(super) async fn beside(&self, patience: Duration) -> Result<Order<'_>, Busy> {
        let others = tokio::time::timeout(patience, self.order.read()).await;
        others.map(|others| Order::Beside { _others: others }).map_err(|_| Busy)
    }

    /// With no call beside it, within this time.
    pub(super) async fn alone(&self, patience: Duration) -> Result<Order<'_>, Busy> {
        let others = tokio::time::timeout(patience, self.order.write()).await;
        others.map(|others| Order::Alone { _others: others }).map_err(|_| Busy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(1);

    #[tokio::test]
    async fn so_many_run_some_wait_and_the_rest_is_turned_away() {
        let turns = Arc::new(Turns::new(2));
        let first = turns.take(SOON).await.unwrap();
        let second = turns.take(SOON).await.unwrap();
        assert_eq!(turns.take(SOON).await.unwrap_err(), Busy, "its patience is over");
        let wait = || {
            let turns = Arc::clone(&turns);
            tokio::spawn(async move { turns.take(Duration::from_secs(60)).await })
        };
        let waiting: Vec<_> = (0..2 * WAITING).map(|_| wait()).collect();
        while turns.line.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(turns.take(Duration::from_secs(60)).await.unwrap_err(), Busy, "no line so long");
        drop((first, second));
        for waited in waiting {
            assert!(waited.await.unwrap().is_ok());
        }
        assert_eq!(turns.running.available_permits(), 2);
        assert_eq!(turns.line.available_permits(), 2 * (1 + WAITING));
    }

    #[tokio::test]
    async fn one_that_runs_alone_waits_for_the_others_and_they_for_it() {
        let turns = Turns::new(4);
        let beside = turns.beside(SOON).await.unwrap();
        assert!(turns.beside(SOON).await.is_ok());
        assert!(turns.alone(SOON).await.is_err());
        drop(beside);
        let alone = turns.alone(SOON).await.unwrap();
        assert!(turns.beside(SOON).await.is_err());
        drop(alone);
        assert!(turns.beside(SOON).await.is_ok());
    }
}
