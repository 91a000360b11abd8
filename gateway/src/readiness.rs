//! Whether traffic should come: one latch for each step of the start. Ready when all are dropped,
//! never again once a stop was asked for, and not while the store can't be written.

use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use hookweir_store::Health;
use tokio::sync::watch;

use crate::tasks::Stop;

/// Tells whether the gateway is ready. Clones tell the same.
#[derive(Debug, Clone)]
pub struct Readiness {
    /// In the order in which they are taken.
    steps: Arc<Mutex<Vec<Weak<Step>>>>,
    /// Once it is open.
    store: Arc<OnceLock<watch::Receiver<Health>>>,
    stop: Stop,
}

/// Holds readiness back until it is dropped.
#[derive(Debug)]
pub struct Latch {
    _step: Arc<Step>,
}

/// One step of the start, in words that complete "starting: ..".
#[derive(Debug)]
struct Step(&'static str);

impl Readiness {
    /// Follows the stop.
    pub fn new(stop: Stop) -> Self {
        Self { steps: Arc::default(), store: Arc::default(), stop }
    }

    /// One more step that has to be taken first, in words that complete "starting: ..".
    pub fn latch(&self, step: &'static str) -> Latch {
        let step = Arc::new(Step(step));
        let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        steps.push(Arc::downgrade(&step));
        Latch { _step: step }
    }

    /// From now on the store's health is followed too.
    pub fn follow(&self, store: watch::Receiver<Health>) {
        // A gateway has one store: whoever came first is it.
        let _ = self.store.set(store);
    }

    /// Nothing, or why no traffic should come.
    pub fn unready(&self) -> Option<String> {
        if self.stop.is_asked() {
            return Some("shutting down".into());
        }
        if let Some(step) = self.step() {
            return Some(format!("starting: {step}"));
        }
        match &*self.store.get()?.borrow() {
            Health::Ready => None,
            Health::Refusing(reason) => Some(format!("the store refuses: {reason}")),
            Health::Poisoned(reason) => Some(format!("the store is poisoned: {reason}")),
        }
    }

    /// Nothing, or why the process should be restarted.
    pub fn unhealthy(&self) -> Option<String> {
        match &*self.store.get()?.borrow() {
            Health::Poisoned(reason) => Some(format!("the store is poisoned: {reason}")),
            Health::Ready | Health::Refusing(_) => None,
        }
    }

    /// The first step that is not taken.
    fn step(&self) -> Option<&'static str> {
        let steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        steps.iter().find_map(Weak::upgrade).map(|step| step.0)
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
        let readiness = Readiness::new(stop);
        let (one, two) = (readiness.latch("one"), readiness.latch("two"));
        assert_eq!(readiness.unready().as_deref(), Some("starting: one"));
        assert_eq!(readiness.unhealthy(), None, "a start needs no restart");
        drop(one);
        readiness.follow(store);
        assert_eq!(readiness.unready().as_deref(), Some("starting: two"));
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
