//! A running attempt's place among the slots, and where its outcome is noted. Dropping it, in whatever way
//! the attempt ended, frees the slot.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use hookweir_event::{Digest, EventId, Outcome, PluginName};
use tokio::sync::Notify;

use super::{breaker::Turn, slots::Slots};
use crate::{config::BreakerConfig, health::Health};

/// The place of one attempt.
pub(super) struct Place {
    pub(super) slots: Arc<Mutex<Slots>>,
    pub(super) freed: Arc<Notify>,
    pub(super) health: Arc<Health>,
    pub(super) plugin: PluginName,
    pub(super) version: Digest,
    pub(super) event: EventId,
    pub(super) generation: u64,
    pub(super) breaker: Option<BreakerConfig>,
    /// In bytes.
    pub(super) memory: u64,
    /// Whether it is what an open breaker let through.
    pub(super) probe: bool,
    /// Whether there was an outcome.
    pub(super) ended: bool,
}

impl Place {
    /// The plugin's code ran, and this came of it. Noted before it is committed, so that nothing starts in
    /// between that the breaker would not let through.
    pub(super) fn end(&mut self, outcome: Outcome, now: Instant) {
        self.ended = true;
        self.health.record(&self.plugin, self.version, self.event, outcome);
        let turn = {
            let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            let breaker = slots.breaker(&self.plugin);
            breaker.and_then(|b| b.end(self.generation, self.probe, outcome, self.breaker, now))
        };
        match turn {
            Some(Turn::Opened(why)) => tracing::error!(
                plugin = %self.plugin, version = self.version.short(),
                "breaker opened: {why}; its deliveries wait for a probe that succeeds"
            ),
            Some(Turn::Closed) => {
                tracing::info!(plugin = %self.plugin, version = self.version.short(), "breaker closed");
            }
            None => {}
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(breaker) = slots.breaker(&self.plugin).filter(|_| !self.ended) {
            breaker.not_run(self.generation, self.probe);
        }
        slots.end(&self.plugin, self.memory);
        drop(slots);
        self.freed.notify_one();
    }
}
