//! What is watched now, and what was measured of it: each with its load, and with what an alert of it tells.

use std::{collections::BTreeMap, time::Duration};

use hookweir_event::{PluginName, SourceName, Timestamp};
use hookweir_store::{Depth, Survey};
use serde_json::{Value, json};

use super::{
    judge::{Measure, load},
    name::{About, Kind, Name},
    window::{Counted, Window},
};
use crate::{
    config::AlertsConfig,
    live::{Live, Plugin, Source},
};

/// One thing that is watched.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) name: Name,
    pub(super) measure: Measure,
    /// How long it is not raised again after it was cleared.
    pub(super) rest: Duration,
    /// What was measured and what is allowed, as an alert tells it.
    pub(super) facts: Vec<(&'static str, Value)>,
}

/// The time, by both clocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    /// What has passed.
    pub(super) ticks: Duration,
    /// On the wall.
    pub(super) wall: Timestamp,
}

/// What is looked at.
#[derive(Clone, Copy)]
pub(super) struct Sight<'s> {
    pub(super) live: &'s Live,
    /// None: nothing is known of what the store holds.
    pub(super) survey: Option<&'s Survey>,
    pub(super) is_paused: &'s dyn Fn(&PluginName) -> bool,
    pub(super) moment: Moment,
}

/// What is remembered of all plugins and sources that are watched.
#[derive(Debug, Default)]
pub(super) struct Windows {
    plugins: BTreeMap<PluginName, Seen>,
    sources: BTreeMap<SourceName, Window>,
}

/// What is remembered of a plugin.
#[derive(Debug, Default)]
struct Seen {
    counted: Window,
    /// When it was seen paused last.
    paused_at: Option<Timestamp>,
    /// Whether at the last look it was paused, or something waited that had waited through a pause.
    held: bool,
    /// How many of its deliveries were held, by their source, at the last look.
    kept: u64,
    /// Until when, in ticks, what ended after such a wait may be counted.
    late_until: Duration,
}

impl Seen {
    /// Notes whether it is held up, or the first that is due was.
    fn hold(
        &mut self,
        is_paused: bool,
        due_at: Option<Timestamp>,
        (held, let_go): (u64, u64),
        now: Moment,
        window: Duration,
    ) {
        if is_paused {
            self.paused_at = Some(now.wall);
        }
        // Those that a source's hold kept are due since it was lifted; only how long they took counts the rest.
        let was_kept = std::mem::replace(&mut self.kept, held) > held || let_go > 0;
        let waited =
            self.paused_at.zip(due_at).is_some_and(|(paused_at, due_at)| due_at <= paused_at);
        let was_held = std::mem::replace(&mut self.held, is_paused || waited || was_kept);
        // What ended since the last look was counted in this one.
        if self.held || was_held {
            self.late_until = now.ticks + Window::reach(window);
        }
    }

    /// Whether what is counted may have waited through a pause.
    fn is_late(&self, now: Moment) -> bool {
        now.ticks < self.late_until
    }

    /// Since when a delivery waits that is due since then, but for what held it up.
    fn waits_since(&self, due_at: Timestamp) -> Timestamp {
        self.paused_at.map_or(due_at, |paused_at| paused_at.max(due_at))
    }
}

impl Windows {
    /// All that is watched.
    pub(super) fn look(&mut self, sight: Sight<'_>) -> Vec<Watched> {
        let Sight { live, survey, moment, .. } = sight;
        self.plugins.retain(|name, _| live.plugins().contains_key(name));
        self.sources.retain(|name, _| live.source(name).is_some());
        let mut watched = Vec::new();
        for (name, plugin) in live.plugins() {
            self.look_at_plugin(name, plugin, sight, &mut watched);
        }
        for source in live.sources() {
            watched.extend(self.look_at_source(source, moment));
        }
        watched.extend(disk(&live.config.alerts, survey));
        watched
    }

    fn look_at_plugin(
        &mut self,
        name: &PluginName,
        plugin: &Plugin,
        Sight { survey, is_paused, moment, .. }: Sight<'_>,
        watched: &mut Vec<Watched>,
    ) {
        let AlertsConfig { window: length, at_least, .. } = plugin.alerts;
        let figures = &plugin.figures.plugin;
        let handled = Some(figures.handled());
        let counted = Counted { all: figures.attempts.get(), bad: figures.failed.get(), handled };
        let seen = self.plugins.entry(name.clone()).or_default();
        let (grown, whole) = seen.counted.look(moment.ticks, length, &counted);
        let depth = survey.map(|survey| survey.depths.iter().find(|depth| depth.plugin == *name));
        let due_at = depth.map(|depth| depth.and_then(|depth| depth.due_at));
        let kept = depth.flatten().map_or((0, 0), |depth| (depth.held, depth.let_go));
        seen.hold(is_paused(name), due_at.flatten(), kept, moment, length);
        let waits = depth.is_none_or(|depth| depth.is_some_and(is_waiting));
        let over = |value: Option<f64>, count, threshold| match value {
            Some(value) if count >= at_least => Measure::Enough(load(value, threshold)),
            Some(value) => Measure::Few(load(value, threshold)),
            None if whole && !waits => Measure::Quiet,
            None => Measure::Unknown,
        };
        let mut add = |kind, measure, facts: Vec<_>| {
            let name = Name::plugin(kind, name);
            watched.push(Watched { name, measure, rest: length, facts });
        };
        if let Some(threshold) = plugin.alerts.latency {
            let spread = grown.handled.as_ref();
            let value = spread.and_then(|spread| spread.percentile(95));
            let count = spread.map_or(0, hookweir_event::Spread::count);
            let measure = over(value.map(number), count, number(millis(threshold)));
            let measure = measure.unless_held(seen.is_late(moment));
            let facts = [("latency_ms", json!(value)), ("threshold_ms", json!(millis(threshold)))];
            add(Kind::Latency, measure, [&facts[..], &[("deliveries", json!(count))]].concat());
        }
        if let Some(threshold) = plugin.alerts.error_rate {
            let rate = share(grown.bad, grown.all);
            let facts = [("error_rate", json!(rate)), ("threshold", json!(threshold))];
            let facts = [&facts[..], &[("attempts", json!(grown.all))]].concat();
            add(Kind::ErrorRate, over(rate, grown.all, threshold), facts);
        }
        if let Some(threshold) = plugin.alerts.queue_age.map(millis) {
            let since = |at: Timestamp| millis(moment.wall.since(at));
            let age = due_at.map(|due_at| due_at.map_or(0, since));
            let own = due_at.flatten().map_or(0, |due_at| since(seen.waits_since(due_at)));
            let measure = known(age.map(number), number(threshold));
            let facts = vec![("age_ms", json!(age)), ("threshold_ms", json!(threshold))];
            add(Kind::QueueAge, measure.unless_held(own <= threshold), facts);
        }
        if let Some(threshold) = plugin.alerts.dead_letters {
            let dead = depth.map(|depth| depth.map_or(0, |depth| depth.dead));
            let facts = vec![("dead_letters", json!(dead)), ("threshold", json!(threshold))];
            add(Kind::DeadLetters, known(dead.map(number), number(threshold)), facts);
        }
    }

    fn look_at_source(&mut self, source: &Source, moment: Moment) -> Option<Watched> {
        let AlertsConfig { window: length, at_least, refusal_rate, .. } = source.config.alerts;
        let record = &source.record;
        // Who paused a source knows that it refuses.
        let refused = record.refused_by_reason();
        let bad = refused.iter().filter(|(reason, _)| **reason != "paused").map(|(_, n)| n).sum();
        // Those that are being read are in neither.
        let all = record.accepted() + bad;
        let window = self.sources.entry(source.name.clone()).or_default();
        let counted = Counted { all, bad, handled: None };
        // Also while nobody is told: switched on, it is judged by what is recent.
        let (grown, whole) = window.look(moment.ticks, length, &counted);
        let threshold = refusal_rate?;
        let rate = share(grown.bad, grown.all);
        let measure = match rate {
            Some(rate) if grown.all >= at_least => Measure::Enough(load(rate, threshold)),
            Some(rate) => Measure::Few(load(rate, threshold)),
            None if whole => Measure::Quiet,
            None => Measure::Unknown,
        };
        let facts = vec![
            ("refusal_rate", json!(rate)),
            ("threshold", json!(threshold)),
            ("requests", json!(grown.all)),
        ];
        let name = Name { kind: Kind::Refusals, about: About::Source(source.name.clone()) };
        Some(Watched { name, measure, rest: length, facts })
    }
}

fn disk(config: &AlertsConfig, survey: Option<&Survey>) -> Option<Watched> {
    let threshold = config.disk_free?;
    let free = survey.and_then(|survey| survey.disk_free_bytes);
    // The less is left, the worse it is.
    let measure = match free {
        Some(0) => Measure::Enough(f64::INFINITY),
        Some(free) => Measure::Enough(load(number(threshold), number(free))),
        None => Measure::Unknown,
    };
    let facts = vec![("free_bytes", json!(free)), ("threshold_bytes", json!(threshold))];
    let name = Name { kind: Kind::Disk, about: About::Gateway };
    Some(Watched { name, measure, rest: config.window, facts })
}

fn is_waiting(depth: &Depth) -> bool {
    depth.due + depth.behind + depth.held + depth.leased > 0
}

/// What needs no number of cases to be judged.
fn known(value: Option<f64>, threshold: f64) -> Measure {
    value.map_or(Measure::Unknown, |value| Measure::Enough(load(value, threshold)))
}

/// A share, to four digits; none of nothing.
fn share(part: u64, all: u64) -> Option<f64> {
    (all > 0).then(|| (number(part) / number(all) * 1e4).round() / 1e4)
}

#[expect(clippy::cast_precision_loss, reason = "counts and milliseconds up to 2^53 are exact")]
fn number(number: u64) -> f64 {
    number as f64
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waited_through_a_pause_is_late_for_as_long_as_it_is_counted() {
        for length in [1, 2, 30, 300].map(Duration::from_secs) {
            let mut seen = Seen::default();
            let looks = 3 * u32::try_from(length.as_secs()).unwrap() + 10;
            let mut was_counted = false;
            for look in 0..looks {
                let ticks = Duration::from_millis(1100) * look;
                let wall = Timestamp::default() + ticks;
                // Paused in the second look; what waited is over in the third, and it was the only one.
                let (is_paused, ended) = (look == 1, u64::from(look >= 2));
                let due_at = is_paused.then(Timestamp::default);
                let counted = Counted { all: ended, ..Counted::default() };
                let now = Moment { ticks, wall };
                let (grown, _) = seen.counted.look(ticks, length, &counted);
                seen.hold(is_paused, due_at, (0, 0), now, length);
                assert!(grown.all == 0 || seen.is_late(now), "at look {look} of {length:?}");
                was_counted |= grown.all > 0;
                assert!(look + 1 < looks || !seen.is_late(now), "it is judged again");
            }
            assert!(was_counted);
        }
    }

    #[test]
    fn a_delivery_waits_since_its_plugin_went_on() {
        let at = Timestamp::from_secs;
        let mut seen = Seen::default();
        assert_eq!(seen.waits_since(at(5)), at(5));
        let now = Moment { ticks: Duration::ZERO, wall: at(9) };
        seen.hold(true, Some(at(5)), (0, 0), now, Duration::from_secs(1));
        assert_eq!((seen.waits_since(at(5)), seen.waits_since(at(11))), (at(9), at(11)));
    }
}
