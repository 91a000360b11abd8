//! What became of plugins' attempts since the start: counted by outcome for operators, and by the version
//! that ran for reload, which takes a version back that fails more than the one before it; and of reloads.
//!
//! Dispatch records, reload and admin look. Bounded: one version of each plugin that is on the board.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use hookweir_event::{Digest, EventId, Outcome, PluginName};
use tokio::sync::Notify;

/// What became of all plugins' attempts.
#[derive(Debug, Default)]
pub struct Health {
    plugins: Mutex<BTreeMap<PluginName, PluginHealth>>,
    news: Notify,
}

#[derive(Debug, Default)]
struct PluginHealth {
    outcomes: BTreeMap<&'static str, u64>,
    reloads: [u64; Reloaded::ALL.len()],
    run: Option<Run>,
}

/// What became of a version that was to go live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reloaded {
    /// It did.
    Published,
    /// It did not.
    Refused,
    /// It had, and was taken back by itself; the one before it went live once more.
    RolledBack,
}

impl Reloaded {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Published, Self::Refused, Self::RolledBack];

    /// The word in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Refused => "refused",
            Self::RolledBack => "rolled-back",
        }
    }
}

/// The version that serves now, since it does.
#[derive(Debug)]
struct Run {
    version: Digest,
    tally: Tally,
    /// The event that failed first.
    failed: Option<EventId>,
    /// Somebody waits for each outcome.
    watched: bool,
}

/// How many attempts ended, and how many of those because the plugin's code failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Attempts that ended, in whatever way.
    pub attempts: u64,
    /// Traps, timeouts, limits and invalid outputs among them.
    pub failures: u64,
    /// Whether those were of more than one event: else it may be the event.
    pub several: bool,
}

impl Health {
    /// An attempt ended. What ran on a version that serves no more counts for the plugin only.
    pub fn record(&self, plugin: &PluginName, version: Digest, event: EventId, outcome: Outcome) {
        let mut plugins = self.plugins();
        let Some(health) = plugins.get_mut(plugin) else { return };
        *health.outcomes.entry(outcome.as_str()).or_default() += 1;
        let Some(run) = health.run.as_mut().filter(|run| run.version == version) else { return };
        run.tally.attempts += 1;
        if outcome.is_system_failure() {
            run.tally.failures += 1;
            run.tally.several |= *run.failed.get_or_insert(event) != event;
        }
        if run.watched {
            self.news.notify_one();
        }
    }

    /// A version serves from now on. Answers the tally of the one before it. What serves already goes on
    /// with its own.
    pub fn begin(&self, plugin: &PluginName, version: Digest, watched: bool) -> Tally {
        let mut plugins = self.plugins();
        let run = &mut plugins.entry(plugin.clone()).or_default().run;
        if let Some(run) = run.as_mut().filter(|run| run.version == version) {
            run.watched = watched;
            return run.tally;
        }
        let new = Run { version, tally: Tally::default(), failed: None, watched };
        run.replace(new).map(|before| before.tally).unwrap_or_default()
    }

    /// Nobody waits for a plugin's outcomes any more.
    pub fn unwatch(&self, plugin: &PluginName) {
        if let Some(run) = self.plugins().get_mut(plugin).and_then(|health| health.run.as_mut()) {
            run.watched = false;
        }
    }

    /// How the version did that serves now.
    pub fn tally(&self, plugin: &PluginName) -> Tally {
        let plugins = self.plugins();
        let run = plugins.get(plugin).and_then(|health| health.run.as_ref());
        run.map(|run| run.tally).unwrap_or_default()
    }

    /// How often each outcome came, over all versions.
    pub fn outcomes(&self, plugin: &PluginName) -> BTreeMap<&'static str, u64> {
        self.plugins().get(plugin).map(|health| health.outcomes.clone()).unwrap_or_default()
    }

    /// That became of a version that was to go live.
    pub fn reloaded(&self, plugin: &PluginName, reloaded: Reloaded) {
        let mut plugins = self.plugins();
        plugins.entry(plugin.clone()).or_default().reloads[reloaded as usize] += 1;
    }

    /// How often each became of one, in the order of [`Reloaded::ALL`].
    pub fn reloads(&self, plugin: &PluginName) -> [u64; Reloaded::ALL.len()] {
        self.plugins().get(plugin).map(|health| health.reloads).unwrap_or_default()
    }

    /// Counts for these plugins alone from now on.
    pub fn keep_only(&self, known: impl Fn(&PluginName) -> bool) {
        self.plugins().retain(|plugin, _| known(plugin));
    }

    /// Returns when a watched plugin's attempt has ended.
    pub async fn news(&self) {
        self.news.notified().await;
    }

    fn plugins(&self) -> MutexGuard<'_, BTreeMap<PluginName, PluginHealth>> {
        self.plugins.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use hookweir_event::Timestamp;

    use super::*;

    fn event(number: u8) -> EventId {
        EventId::new(Timestamp::from_millis(0), [number; 10])
    }

    #[test]
    fn a_version_is_held_to_account_for_what_ran_on_it() {
        let health = Health::default();
        let ci: PluginName = "ci".parse().unwrap();
        let [one, two] = [b"1", b"2"].map(|bytes| Digest::of(bytes));
        let [first, second] = [1, 2].map(event);
        health.record(&ci, one, first, Outcome::Done);
        assert!(health.outcomes(&ci).is_empty(), "not on the board");
        health.begin(&ci, one, false);
        for outcome in [Outcome::Done, Outcome::Trap, Outcome::Retry] {
            health.record(&ci, one, first, outcome);
        }
        let before = health.begin(&ci, two, true);
        assert_eq!(before, Tally { attempts: 3, failures: 1, several: false });
        // One that was running still when the version was replaced.
        health.record(&ci, one, first, Outcome::Trap);
        health.record(&ci, two, second, Outcome::MemoryLimit);
        assert_eq!(health.tally(&ci), Tally { attempts: 1, failures: 1, several: false });
        assert_eq!(health.begin(&ci, two, false), health.tally(&ci), "it goes on");
        let outcomes = health.outcomes(&ci);
        assert_eq!((outcomes["trap"], outcomes["done"], outcomes["memory-limit"]), (2, 1, 1));
        health.keep_only(|_| false);
        assert_eq!(health.tally(&ci), Tally::default());
    }

    #[test]
    fn one_event_that_fails_again_and_again_is_told_from_several() {
        let health = Health::default();
        let (ci, version): (PluginName, _) = ("ci".parse().unwrap(), Digest::of(b"1"));
        health.begin(&ci, version, true);
        for (id, outcome, several) in [
            (1, Outcome::Trap, false),
            (2, Outcome::Done, false),
            (1, Outcome::Timeout, false),
            (3, Outcome::Retry, false),
            (2, Outcome::Trap, true),
            (1, Outcome::Trap, true),
        ] {
            health.record(&ci, version, event(id), outcome);
            assert_eq!(health.tally(&ci).several, several, "{id} {outcome:?}");
        }
    }
}
