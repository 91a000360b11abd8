//! Versions on probation: what replaced another is watched, and taken back by itself when it fails where
//! the one before did not. What failed meanwhile is tried again by the normal wait, on the one before.

use std::time::{Duration, Instant};

use hookweir_event::{Digest, PluginName};

use super::{Moment, Shelf};
use crate::{
    config::Config,
    health::Tally,
    reload::probation::{self, Judgement, judge},
    standing::{Cause, TurnedAway},
};

/// A version's probation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trial {
    /// The version that comes back if this one fails.
    before: Digest,
    /// How that one did.
    baseline: Tally,
    since: Instant,
    /// When its first attempt was seen to have ended.
    busy_since: Option<Instant>,
}

impl Trial {
    /// When it is over, whatever happens.
    fn end(&self) -> Instant {
        let idle = self.since + probation::IDLE;
        self.busy_since.map_or(idle, |busy| idle.min(busy + probation::PERIOD))
    }
}

impl Shelf {
    /// The probation of a version that goes live, if the record says that it is on it.
    pub(super) fn trial(
        &mut self,
        name: &PluginName,
        version: Digest,
        moment: Moment,
    ) -> Option<Trial> {
        // The same version with another grant goes on where it was.
        if self.live(name) == Some(version) {
            return self.items.get(name).and_then(|item| item.trial);
        }
        let live = self.versions.record(name).and_then(|record| record.live);
        let before = live.filter(|live| live.version == version).and_then(|live| live.probation);
        let baseline = self.health.begin(name, version, before.is_some());
        Some(Trial { before: before?, baseline, since: moment.now, busy_since: None })
    }

    /// Judges the versions on probation. Whether one goes or stays for good.
    pub(in crate::reload) async fn judge(&mut self, config: &Config, moment: Moment) -> bool {
        let mut changed = false;
        let on_trial = |(name, item): (&PluginName, &super::Item)| item.trial.map(|_| name.clone());
        let names: Vec<_> = self.items.iter().filter_map(on_trial).collect();
        for name in names {
            let tally = self.health.tally(&name);
            let item = self.items.entry(name.clone()).or_default();
            let Some(trial) = &mut item.trial else { continue };
            if tally.attempts > 0 {
                trial.busy_since.get_or_insert(moment.now);
            }
            let trial = *trial;
            let passed = |since: Instant| moment.now.saturating_duration_since(since);
            let busy = trial.busy_since.map(passed);
            let own = config.plugins.get(&name);
            let attempts = own.map(|own| own.policy).unwrap_or_default().max_attempts;
            match judge(tally, trial.baseline, attempts, busy, passed(trial.since)) {
                Judgement::Wait => continue,
                Judgement::Stay => self.end_probation(&name).await,
                Judgement::Go => self.take_back(&name, trial, tally, config, moment).await,
            }
            changed = true;
        }
        changed
    }

    /// How long until a probation is over by itself.
    pub(in crate::reload) fn probation_ends_in(&self, now: Instant) -> Option<Duration> {
        let ends = self.items.values().filter_map(|item| item.trial.as_ref()).map(Trial::end);
        ends.min().map(|end| end.saturating_duration_since(now))
    }

    /// The live version stays.
    pub(super) async fn end_probation(&mut self, name: &PluginName) {
        self.items.entry(name.clone()).or_default().trial = None;
        self.health.unwatch(name);
        let clear = |record: &mut crate::reload::versions::Record| {
            if let Some(live) = &mut record.live {
                live.probation = None;
            }
        };
        self.versions.note(name, clear).await;
    }

    /// The version before serves again. Where it can't, the live one stays: something is better than
    /// nothing, and the breaker holds it where it only fails.
    async fn take_back(
        &mut self,
        name: &PluginName,
        trial: Trial,
        tally: Tally,
        config: &Config,
        moment: Moment,
    ) {
        let Some(version) = self.live(name) else { return };
        let Trial { before, baseline, .. } = trial;
        let reason = format!(
            "failed its probation: {} of {} attempts failed, and {} of {} on the version before it",
            tally.failures, tally.attempts, baseline.failures, baseline.attempts
        );
        let made = match self.made_of_kept(name, before, config).await {
            Ok(made) => made,
            Err(fault) => {
                tracing::error!(
                    plugin = %name, version = version.short(), before = before.short(),
                    "{reason}; it stays live, for that one can't serve: {fault}"
                );
                return self.end_probation(name).await;
            }
        };
        tracing::error!(
            plugin = %name, version = version.short(), restored = before.short(),
            "{reason}; rolled back"
        );
        let now = moment.timestamp();
        let away = TurnedAway { version, cause: Cause::Probation, reason, at: now };
        let restore = |record: &mut crate::reload::versions::Record| {
            record.go_live(before, now, false);
            record.turn_away(away);
        };
        self.versions.note(name, restore).await;
        self.go_live(name, made, moment);
    }
}
