//! Whether traffic should come: one latch for each step of the start. Ready when all are dropped,
//! never again once a stop was asked for, and not while the store can't be written.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use hookweir_store::Health;
use tokio::sync::watch;

use crate::tasks::Stop;

/// Tells whether the gateway is ready.
#[derive(Debug, Clone)]
pub struct Readiness {
    closed: Arc<AtomicUsize>,
    store: watch::Receiver<Health>,
    stop: Stop,
}

/// Holds readiness back until it is dropped.
#[derive(Debug)]
pub struct Latch(Arc<AtomicUsize>);

impl Drop for Latch {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Readiness {
    /// Follows the store's health and the stop.
    pub fn new(store: watch::Receiver<Health>, stop: Stop) -> Self {
        Self { closed: Arc::default(), store, stop }
    }

    /// One more step that has to be taken first.
    pub fn latch(&self) -> Latch {
        self.closed.fetch_add(1, Ordering::AcqRel);
        Latch(self.closed.clone())
    }

    /// Nothing, or why no traffic should come.
    pub fn unready(&self) -> Option<String> {
        if self.stop.is_asked() {
            return Some("shutting down".into());
        }
        if self.closed.load(Ordering::Acquire) > 0 {
            return Some("starting".into());
        }
        match &*self.store.borrow() {
            Health::Ready => None,
            Health::Refusing(reason) => Some(format!("the store refuses: {reason}")),
            Health::Poisoned(reason) => Some(format!("the store is poisoned: {reason}")),
        }
    }

    /// Nothing, or why the process should be restarted.
    pub fn unhealthy(&self) -> Option<String> {
        match &*self.store.borrow() {
            Health::Poisoned(reason) => Some(format!("the store is poisoned: {reason}")),
            Health::Ready | Health::Refusing(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::Stopper;

    #[test]
    fn ready_when_every_latch_is_dropped_and_the_store_takes_work() {
        let (health, store) = watch::channel(Health::Ready);
        let (stopper, stop) = Stopper::new();
        let readiness = Readiness::new(store, stop);
        let (one, two) = (readiness.latch(), readiness.latch());
        drop(one);
        assert_eq!(readiness.unready().as_deref(), Some("starting"));
        drop(two);
        assert_eq!(readiness.unready(), None);
        health.send_replace(Health::Refusing("disk full".into()));
        assert!(readiness.unready().is_some() && readiness.unhealthy().is_none());
        health.send_replace(Health::Poisoned("sync failed".into()));
        assert!(readiness.unready().is_some() && readiness.unhealthy().is_some());
        health.send_replace(Health::Ready);
        stopper.stop();
        assert_eq!(readiness.unready().as_deref(), Some("shutting down"));
    }
}
