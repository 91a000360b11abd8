//! What operators see of the back half: how much of a plugin runs, and whether its breaker holds it back.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use hookweir_event::{Clock, PluginName, Timestamp};

use super::slots::Slots;

/// Looks at a running dispatch.
#[derive(Debug, Clone)]
pub struct Monitor {
    pub(super) slots: Arc<Mutex<Slots>>,
    pub(super) clock: Clock,
}

/// How a plugin's deliveries go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// Attempts that run now.
    pub running: usize,
    /// Its open breaker.
    pub breaker: Option<OpenBreaker>,
}

/// A breaker that holds deliveries back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenBreaker {
    /// When it opened.
    pub since: Timestamp,
    /// Why, in words.
    pub why: String,
    /// From when on a delivery that is due may be the next probe; nothing while one runs.
    pub next_probe: Option<Timestamp>,
    /// Whether it is another gateway that has it open, and probes.
    pub elsewhere: bool,
}

impl Monitor {
    /// How a plugin's deliveries go at this moment.
    pub fn plugin(&self, plugin: &PluginName) -> Seen {
        let (now, wall) = (Instant::now(), self.clock.now());
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((running, shut)) = slots.seen(plugin) else { return Seen::default() };
        let breaker = shut.map(|shut| {
            let passed = now.saturating_duration_since(shut.since).as_millis();
            let passed = i64::try_from(passed).unwrap_or(i64::MAX);
            let since = Timestamp::from_millis(wall.as_millis().saturating_sub(passed));
            let next_probe = shut.probe_at.map(|at| wall + at.saturating_duration_since(now));
            OpenBreaker { since, why: shut.why, next_probe, elsewhere: shut.elsewhere }
        });
        Seen { running, breaker }
    }
}
