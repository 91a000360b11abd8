//! What gateways tell each other of their plugins' breakers.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use hookweir_event::PluginName;
use hookweir_store::{BreakerWord, Heard};
use tokio::sync::Notify;

use super::{breaker::TurnElsewhere, slots::Slots};

/// The breakers of a running dispatch.
#[derive(Debug, Clone)]
pub(crate) struct Breakers {
    pub(super) slots: Arc<Mutex<Slots>>,
    pub(super) freed: Arc<Notify>,
}

impl Breakers {
    /// What others are to know.
    pub(crate) fn say(&self, now: Instant) -> Vec<BreakerWord> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).say(now)
    }

    /// Holds to what others say.
    pub(crate) fn hear(&self, heard: &Heard, now: Instant) {
        let (own, words) = (heard.boot, heard.breakers.clone());
        let turns = self.slots.lock().unwrap_or_else(PoisonError::into_inner).hear(own, words, now);
        tell(&turns);
        if !turns.is_empty() {
            self.look();
        }
    }

    /// Has the driver look again: more may start than it knows.
    pub(crate) fn look(&self) {
        self.freed.notify_one();
    }
}

/// Tells operators what others have changed here.
pub(super) fn tell(turns: &[(PluginName, TurnElsewhere)]) {
    for (plugin, turn) in turns {
        match turn {
            TurnElsewhere::Opened(why) => tracing::error!(
                %plugin, "breaker opened by another gateway: {why}; deliveries wait here too, until its probe succeeds"
            ),
            TurnElsewhere::Closed => {
                tracing::info!(%plugin, "breaker closed by another gateway's probe");
            }
            TurnElsewhere::Left => tracing::warn!(
                %plugin, "another gateway, which had the breaker open, says nothing of it any more; it is probed here"
            ),
        }
    }
}
