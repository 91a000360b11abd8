//! Versions on probation: what replaced another is watched, and taken back by itself when it fails where
//! the one before did not. What failed meanwhile is tried again by the normal wait, on the one before.

use std::time::{Duration, Instant};

use hookweir_event::{Digest, PluginName};
use hookweir_store::{Away, Proposing};

use super::{Moment, News, Shelf, exchange::new};
use crate::{
    config::Config,
    health::Tally,
    reload::{
        probation::{self, Judgement, judge},
        versions::Record,
    },
    standing::{Cause, TurnedAway},
};

/// How long a version that can't be made now is left alone.
const AGAIN: Duration = Duration::from_secs(5);

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
    /// When the version before is tried again, after it could not be made for a while.
    again: Option<Instant>,
}

impl Trial {
    /// When it is to be judged even if nothing happens.
    fn next(&self, now: Instant) -> Instant {
        if let Some(again) = self.again.filter(|again| *again > now) {
            return again;
        }
        let idle = self.since + probation::IDLE;
        let period = self.busy_since.map(|busy| busy + probation::PERIOD);
        // Past that and not over, it waits for what comes.
        period.filter(|period| *period > now).map_or(idle, |period| idle.min(period))
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
        let record = self.versions.record(name).filter(|record| record.pin.is_none());
        let own = self.items.get(name).and_then(|item| item.trial).filter(|_| record.is_some());
        // The same version with another grant goes on where it was.
        if self.live(name) == Some(version) {
            return own;
        }
        let live = record.and_then(|record| record.live).filter(|live| live.version == version);
        let before = live.and_then(|live| live.probation);
        let baseline = self.health.begin(name, version, before.is_some());
        let before = before?;
        // It replaces one that did not prove itself, whose failures must not speak for it.
        let own = own.filter(|own| own.before == before);
        let baseline = own.map_or(baseline, |own| own.baseline);
        Some(Trial { before, baseline, since: moment.now, busy_since: None, again: None })
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
            if trial.again.is_some_and(|again| moment.now < again) {
                continue;
            }
            let trial = *trial;
            let passed = |since: Instant| moment.now.saturating_duration_since(since);
            let busy = trial.busy_since.map(passed);
            let own = config.plugins.get(&name);
            let attempts = own.map(|own| own.policy).unwrap_or_default().max_attempts;
            match judge(tally, trial.baseline, attempts, busy, passed(trial.since)) {
                Judgement::Wait => continue,
                Judgement::Stay => {
                    self.end_probation(&name).await;
                    changed = true;
                }
                Judgement::Go => {
                    changed |= self.take_back(&name, trial, tally, config, moment).await;
                }
            }
        }
        changed
    }

    /// How long until a version on probation is to be judged even if nothing happens.
    pub(in crate::reload) fn judges_in(&self, now: Instant) -> Option<Duration> {
        let trials = self.items.values().filter_map(|item| item.trial.as_ref());
        let next = trials.map(|trial| trial.next(now)).min();
        next.map(|next| next.saturating_duration_since(now))
    }

    /// The live version stays.
    pub(super) async fn end_probation(&mut self, name: &PluginName) {
        self.items.entry(name.clone()).or_default().trial = None;
        self.health.unwatch(name);
        self.versions.note(name, Record::trust).await;
    }

    /// The version before serves again. Where it can't, the live one stays: something is better than
    /// nothing, and the breaker holds it where it only fails. Where it can't for now, it is tried again.
    /// Whether anything has changed.
    async fn take_back(
        &mut self,
        name: &PluginName,
        trial: Trial,
        tally: Tally,
        config: &Config,
        moment: Moment,
    ) -> bool {
        let Some(version) = self.live(name) else { return false };
        let Trial { before, baseline, .. } = trial;
        let reason = format!(
            "failed its probation: {} of {} attempts failed, and {} of {} on the version before it",
            tally.failures, tally.attempts, baseline.failures, baseline.attempts
        );
        if self.shares() {
            return self.take_back_for_all(name, (version, trial), &reason, config, moment).await;
        }
        let made = match self.made_of_kept(name, before, config).await {
            Ok(made) => made,
            Err(fault) if fault.passing => {
                tracing::warn!(
                    plugin = %name, version = version.short(), before = before.short(),
                    "{reason}; that one can't be made now and is tried again: {fault}"
                );
                let item = self.items.entry(name.clone()).or_default();
                let again = Some(moment.now + AGAIN);
                item.trial = item.trial.map(|trial| Trial { again, ..trial });
                return false;
            }
            Err(fault) => {
                tracing::error!(
                    plugin = %name, version = version.short(), before = before.short(),
                    "{reason}; it stays live, for that one can't serve: {fault}"
                );
                self.end_probation(name).await;
                return true;
            }
        };
        self.say(News::RolledBack {
            plugin: name.clone(),
            version,
            restored: before,
            reason: reason.clone(),
        });
        let now = moment.timestamp();
        let away = TurnedAway { version, cause: Cause::Probation, reason, at: now };
        let restore = |record: &mut Record| {
            record.go_live(before, now, false);
            record.turn_away(away);
        };
        self.versions.note(name, restore).await;
        self.go_live(name, made, moment);
        true
    }

    /// The same where gateways share versions: what was live before is proposed to all. A version that fails goes on
    /// until all are ready, and stays if one of them is not. Whether anything has changed.
    async fn take_back_for_all(
        &mut self,
        name: &PluginName,
        (version, trial): (Digest, Trial),
        reason: &str,
        config: &Config,
        moment: Moment,
    ) -> bool {
        let before = trial.before;
        let proposal =
            self.shared.as_ref().and_then(|shared| shared.plugin(name)?.proposal.as_ref());
        let refused = proposal.filter(|proposal| proposal.version == Some(before));
        if let Some(refused) = refused.and_then(|proposal| proposal.refused.as_ref()) {
            let (by, why) = (&refused.by, &refused.reason);
            tracing::error!(
                plugin = %name, version = version.short(), before = before.short(),
                "{reason}; it stays live, for that one was refused by gateway {by}: {why}"
            );
            self.end_probation(name).await;
            return true;
        }
        let (cause, at) = (Cause::Probation.as_str().to_owned(), moment.timestamp());
        let away = Some(Away { version, cause, reason: reason.to_owned(), at });
        let (before, instead_of) = (Some(before), Some(version));
        let what =
            Proposing { version: before, instead_of, trusted: true, away, ..new(name.clone()) };
        match self.propose_kept(&what, config).await {
            Ok(number) => {
                tracing::warn!(plugin = %name, version = version.short(), number, "{reason}; the one before it is proposed to all gateways");
            }
            Err(refusal) => {
                tracing::warn!(plugin = %name, version = version.short(), "{reason}; the one before it can't be proposed now, and is tried again: {refusal}");
            }
        }
        let item = self.items.entry(name.clone()).or_default();
        let again = Some(moment.now + AGAIN);
        item.trial = item.trial.map(|trial| Trial { again, ..trial });
        false
    }
}
