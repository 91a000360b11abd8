//! Who may start how much: slots, rates and breakers for each plugin, and the pool that all share.
//!
//! Fair between plugins: what is free is dealt round and round, so a plugin with a long queue takes
//! what others leave and never what they need. Plain data; the driver hands in the time.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use hookweir_event::{Digest, PluginName};
use hookweir_store::{BreakerWord, Want};

use super::breaker::{self, Breaker, Room, Shut, TurnElsewhere};
use crate::{
    config::Policy,
    limits::{SharedRate, SharedRates},
};

/// What runs now, and what may.
#[derive(Debug)]
pub(super) struct Slots {
    /// Attempts at the same time, over all plugins.
    pool: usize,
    /// Memory that running attempts may have been granted, in bytes.
    memory: u64,
    running: usize,
    granted: u64,
    /// Who was dealt to first the last time.
    first: usize,
    /// Those that all gateways share, plugins' among them.
    rates: Arc<SharedRates>,
    plugins: BTreeMap<PluginName, PluginSlots>,
    /// What was heard last: it holds for a plugin or a version that comes before others speak again.
    heard: Option<Words>,
}

/// What other gateways say of breakers.
#[derive(Debug)]
struct Words {
    /// This gateway's boot id.
    own: [u8; 16],
    /// In the order of boot ids.
    words: Vec<([u8; 16], BreakerWord)>,
    heard_at: Instant,
}

#[derive(Debug)]
struct PluginSlots {
    running: usize,
    rate: Option<Arc<SharedRate>>,
    breaker: Breaker,
    /// Whether it has one.
    guarded: bool,
    /// Which version runs.
    version: Digest,
    /// Whether all that it was dealt was there, the last time: there may be more.
    more: bool,
}

/// What to ask the store for, and when to ask again even if nothing happens.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// At least one of each.
    pub(super) wants: Vec<Want>,
    /// When a rate or a breaker that holds somebody back lets the next one through.
    pub(super) again: Option<Duration>,
    /// Which plugins came upon what other gateways say of their breakers.
    pub(super) turns: Vec<(PluginName, TurnElsewhere)>,
}

/// A plugin that can run: it has a version.
#[derive(Debug, Clone, Copy)]
pub(super) struct Runnable<'a> {
    pub(super) name: &'a PluginName,
    /// What runs.
    pub(super) version: Digest,
    /// Another whenever it begins anew.
    pub(super) generation: u64,
    pub(super) policy: &'a Policy,
    /// What one attempt may take, in bytes.
    pub(super) memory: u64,
}

/// How much one plugin can take, and what it is dealt.
struct Hand<'a> {
    plugin: Runnable<'a>,
    room: usize,
    dealt: usize,
}

impl Slots {
    pub(super) fn new(pool: usize, memory: u64, rates: Arc<SharedRates>) -> Self {
        let (plugins, heard) = (BTreeMap::new(), None);
        Self { pool, memory, running: 0, granted: 0, first: 0, rates, plugins, heard }
    }

    /// Forgets plugins that are gone, once nothing of theirs runs.
    pub(super) fn keep_only(&mut self, known: impl Fn(&PluginName) -> bool) {
        self.plugins.retain(|name, slots| slots.running > 0 || known(name));
    }

    /// Deals what is free to the plugins that can run.
    pub(super) fn plan<'a>(
        &mut self,
        plugins: impl Iterator<Item = Runnable<'a>>,
        now: Instant,
    ) -> Plan {
        let (mut again, mut turns) = (None, Vec::new());
        let mut hands = Vec::new();
        for plugin in plugins {
            let known = self.plugins.get(plugin.name).map(|slots| slots.version);
            let slots = match self.plugins.get_mut(plugin.name) {
                Some(slots) => slots,
                None => self.plugins.entry(plugin.name.clone()).or_insert(PluginSlots {
                    running: 0,
                    rate: None,
                    breaker: Breaker::default(),
                    guarded: false,
                    version: plugin.version,
                    more: false,
                }),
            };
            slots.follow(plugin, &self.rates, now);
            let (tokens, rate_wait) = slots.tokens(now);
            if let Some(heard) = self.heard.as_ref().filter(|_| known != Some(plugin.version)) {
                let turn = slots.hear(plugin.name, heard);
                turns.extend(turn.map(|turn| (plugin.name.clone(), turn)));
            }
            let (most, breaker_wait) = match slots.breaker.room(now) {
                Room::All => (usize::MAX, None),
                Room::Probe => (1, None),
                Room::Nothing(wait) => (0, wait),
            };
            // Where both hold it back, the later one lets it through.
            again = [again, rate_wait.max(breaker_wait)].into_iter().flatten().min();
            let concurrency = usize::try_from(plugin.policy.concurrency).unwrap_or(usize::MAX);
            let room = concurrency.saturating_sub(slots.running).min(tokens).min(most);
            hands.push(Hand { plugin, room, dealt: 0 });
        }
        self.deal(&mut hands);
        let want = |hand: &Hand<'_>| Want { plugin: hand.plugin.name.clone(), max: hand.dealt };
        let wants = hands.iter().filter(|hand| hand.dealt > 0).map(want).collect();
        Plan { wants, again, turns }
    }

    /// One at a time, round and round, beginning with another plugin each time, so that none is
    /// last for ever where there are more plugins than slots. An attempt may always run alone,
    /// however much memory it wants: a budget that is too small slows a plugin, it does not stop it.
    fn deal(&mut self, hands: &mut [Hand<'_>]) {
        let mut slots = self.pool.saturating_sub(self.running);
        let mut memory = self.memory.saturating_sub(self.granted);
        let mut alone = self.running == 0;
        if hands.is_empty() {
            return;
        }
        self.first = (self.first + 1) % hands.len();
        hands.rotate_left(self.first);
        let mut dealt = true;
        while std::mem::take(&mut dealt) {
            for hand in &mut *hands {
                let fits = memory >= hand.plugin.memory || alone;
                if slots > 0 && hand.dealt < hand.room && fits {
                    hand.dealt += 1;
                    slots -= 1;
                    memory = memory.saturating_sub(hand.plugin.memory);
                    (alone, dealt) = (false, true);
                }
            }
        }
    }

    /// An attempt starts. Whether it is what an open breaker let through.
    pub(super) fn start(&mut self, plugin: &PluginName, memory: u64) -> bool {
        self.running += 1;
        self.granted += memory;
        let Some(slots) = self.plugins.get_mut(plugin) else { return false };
        slots.running += 1;
        if let Some(rate) = &slots.rate {
            rate.start();
        }
        slots.breaker.start()
    }

    /// Whether all that a plugin was dealt was there.
    pub(super) fn took(&mut self, plugin: &PluginName, all: bool) {
        if let Some(slots) = self.plugins.get_mut(plugin) {
            slots.more = all;
        }
    }

    /// An attempt has ended.
    pub(super) fn end(&mut self, plugin: &PluginName, memory: u64) {
        self.running = self.running.saturating_sub(1);
        self.granted = self.granted.saturating_sub(memory);
        if let Some(slots) = self.plugins.get_mut(plugin) {
            slots.running = slots.running.saturating_sub(1);
        }
    }

    pub(super) fn running(&self) -> usize {
        self.running
    }

    pub(super) fn breaker(&mut self, plugin: &PluginName) -> Option<&mut Breaker> {
        self.plugins.get_mut(plugin).map(|slots| &mut slots.breaker)
    }

    /// How many attempts of a plugin run, and its breaker if that holds it back.
    pub(super) fn seen(&self, plugin: &PluginName) -> Option<(usize, Option<Shut>)> {
        self.plugins.get(plugin).map(|slots| (slots.running, slots.breaker.shut()))
    }

    /// What other gateways are to know of breakers.
    pub(super) fn say(&mut self, now: Instant) -> Vec<BreakerWord> {
        let word = |(name, slots): (&PluginName, &mut PluginSlots)| {
            let (open, open_for) = slots.breaker.say(now)?;
            let (plugin, version) = (name.clone(), slots.version);
            Some(BreakerWord { plugin, version, open, open_for })
        };
        self.plugins.iter_mut().filter_map(word).collect()
    }

    /// What other gateways say of breakers, in the order of their boot ids, of which `own` is this one's. Answers what
    /// that has changed.
    pub(super) fn hear(
        &mut self,
        own: [u8; 16],
        words: Vec<([u8; 16], BreakerWord)>,
        now: Instant,
    ) -> Vec<(PluginName, TurnElsewhere)> {
        let heard = self.heard.insert(Words { own, words, heard_at: now });
        let turn = |(name, slots): (&PluginName, &mut PluginSlots)| {
            Some((name.clone(), slots.hear(name, heard)?))
        };
        self.plugins.iter_mut().filter_map(turn).collect()
    }
}

impl PluginSlots {
    /// What others say of its breaker; nothing to one that is switched off here.
    fn hear(&mut self, name: &PluginName, heard: &Words) -> Option<TurnElsewhere> {
        let words = breaker::about(&heard.words, name, self.version);
        self.guarded.then(|| self.breaker.hear(heard.own, words, heard.heard_at))?
    }

    /// Goes by the version, the breaker and the rate that the plugin has now.
    fn follow(&mut self, plugin: Runnable<'_>, rates: &SharedRates, now: Instant) {
        (self.version, self.guarded) = (plugin.version, plugin.policy.breaker.is_some());
        self.breaker.follow(plugin.generation, plugin.policy.breaker);
        let rate = plugin.policy.rate;
        if self.rate.as_ref().map(|shared| shared.rate()) != rate {
            let name = format!("plugin/{}", plugin.name);
            self.rate = rate.map(|rate| rates.rate(&name, rate, now));
        }
    }

    /// How many may start by its rate, and if none, how long until one may.
    fn tokens(&self, now: Instant) -> (usize, Option<Duration>) {
        let Some(rate) = &self.rate else { return (usize::MAX, None) };
        let tokens = rate.available(now);
        if tokens > 0 {
            return (tokens, None);
        }
        if self.more {
            rate.hold_back();
        }
        (0, rate.wait())
    }
}

#[cfg(test)]
mod tests {
    use hookweir_event::Outcome;

    use super::*;
    use crate::{
        config::{BreakerConfig, Rate},
        order::OnDead,
    };

    const FREE: Policy = Policy {
        concurrency: 100,
        rate: None,
        max_attempts: 5,
        backoff: hookweir_event::Backoff {
            base: Duration::from_secs(1),
            max: Duration::from_secs(1),
            retry_after_max: Duration::from_secs(1),
        },
        order_on_dead: OnDead::Block,
        breaker: None,
    };

    fn slots(pool: usize, memory: u64) -> Slots {
        Slots::new(pool, memory, Arc::new(SharedRates::alone()))
    }

    fn runs<'a>(name: &'a PluginName, policy: &'a Policy, memory: u64) -> Runnable<'a> {
        Runnable { name, version: Digest::of(b"1"), generation: 1, policy, memory }
    }

    /// What each plugin is dealt, by name.
    fn deal(slots: &mut Slots, plugins: &[(&str, Policy, u64)]) -> Vec<(String, usize)> {
        let names: Vec<PluginName> =
            plugins.iter().map(|(name, ..)| name.parse().unwrap()).collect();
        let runnable = names.iter().zip(plugins);
        let runnable = runnable.map(|(name, (_, policy, memory))| runs(name, policy, *memory));
        let plan = slots.plan(runnable, Instant::now());
        let mut dealt: Vec<_> =
            plan.wants.iter().map(|want| (want.plugin.to_string(), want.max)).collect();
        dealt.sort();
        dealt
    }

    fn dealt(pairs: &[(&str, usize)]) -> Vec<(String, usize)> {
        pairs.iter().map(|(name, max)| ((*name).to_owned(), *max)).collect()
    }

    #[test]
    fn what_is_free_is_dealt_evenly_and_what_one_leaves_goes_to_others() {
        let few = Policy { concurrency: 2, ..FREE };
        let mut slots = slots(10, u64::MAX);
        assert_eq!(
            deal(&mut slots, &[("a", FREE, 1), ("b", FREE, 1)]),
            dealt(&[("a", 5), ("b", 5)])
        );
        assert_eq!(
            deal(&mut slots, &[("a", few, 1), ("b", FREE, 1)]),
            dealt(&[("a", 2), ("b", 8)])
        );
    }

    #[test]
    fn nobody_is_last_for_ever() {
        let mut slots = slots(1, u64::MAX);
        let plugins = [("a", FREE, 1), ("b", FREE, 1), ("c", FREE, 1)];
        let first: Vec<_> = (0..6).map(|_| deal(&mut slots, &plugins)[0].0.clone()).collect();
        for name in ["a", "b", "c"] {
            assert_eq!(first.iter().filter(|dealt| *dealt == name).count(), 2, "{first:?}");
        }
    }

    #[test]
    fn what_runs_takes_its_place() {
        let name: PluginName = "a".parse().unwrap();
        let three = Policy { concurrency: 3, ..FREE };
        let mut slots = slots(10, u64::MAX);
        assert_eq!(deal(&mut slots, &[("a", three, 1)]), dealt(&[("a", 3)]));
        slots.start(&name, 1);
        slots.start(&name, 1);
        assert_eq!(deal(&mut slots, &[("a", three, 1)]), dealt(&[("a", 1)]));
        slots.end(&name, 1);
        assert_eq!(deal(&mut slots, &[("a", three, 1)]), dealt(&[("a", 2)]));
    }

    #[test]
    fn a_plugin_that_is_gone_is_forgotten_when_its_last_attempt_has_ended() {
        let [gone, stays]: [PluginName; 2] = ["gone", "stays"].map(|name| name.parse().unwrap());
        let mut slots = slots(10, u64::MAX);
        deal(&mut slots, &[("gone", FREE, 1), ("stays", FREE, 1)]);
        slots.start(&gone, 1);
        slots.keep_only(|name| *name == stays);
        assert_eq!(slots.seen(&gone), Some((1, None)));
        slots.end(&gone, 1);
        slots.keep_only(|name| *name == stays);
        assert_eq!(slots.seen(&gone), None);
        assert_eq!(slots.seen(&stays), Some((0, None)));
    }

    #[test]
    fn memory_is_a_budget_and_never_a_wall() {
        let mut slots = slots(10, 100);
        assert_eq!(deal(&mut slots, &[("a", FREE, 30)]), dealt(&[("a", 3)]));
        assert_eq!(deal(&mut slots, &[("a", FREE, 1000)]), dealt(&[("a", 1)]));
        slots.start(&"a".parse().unwrap(), 1000);
        assert_eq!(deal(&mut slots, &[("a", FREE, 1000)]), dealt(&[]));
    }

    #[test]
    fn a_rate_that_is_used_up_says_when_to_look_again() {
        let name: PluginName = "a".parse().unwrap();
        let rate = Some(Rate { count: 2, per: Duration::from_secs(60) });
        let limited = Policy { rate, ..FREE };
        let mut slots = slots(10, u64::MAX);
        let now = Instant::now();
        let mut plan = || slots.plan([runs(&name, &limited, 1)].into_iter(), now);
        assert_eq!(plan().wants[0].max, 2);
        slots.start(&name, 1);
        slots.start(&name, 1);
        let plan = slots.plan([runs(&name, &limited, 1)].into_iter(), now);
        assert!(plan.wants.is_empty());
        assert_eq!(plan.again, Some(Duration::from_secs(30)));
    }

    #[test]
    fn behind_an_open_breaker_one_is_dealt_at_its_time_and_others_go_on() {
        let second = Duration::from_secs(1);
        let [bad, good]: [PluginName; 2] = ["bad", "good"].map(|name| name.parse().unwrap());
        let breaker = Some(BreakerConfig { failures: 1, probe_max: second });
        // Slower than the probes: the rate holds them back as well.
        let policy = Policy { breaker, rate: Some(Rate { count: 1, per: 4 * second }), ..FREE };
        let mut slots = slots(10, u64::MAX);
        let plan = |slots: &mut Slots, now| {
            let plugins = [runs(&bad, &policy, 1), runs(&good, &FREE, 1)];
            let plan = slots.plan(plugins.into_iter(), now);
            let dealt = |name| plan.wants.iter().find(|want| want.plugin == name).map(|w| w.max);
            assert!(dealt(good.clone()).is_some_and(|dealt| dealt >= 9));
            (dealt(bad.clone()), plan.again)
        };
        let now = Instant::now();
        assert_eq!(plan(&mut slots, now), (Some(1), None));
        assert!(!slots.start(&bad, 1));
        slots.breaker(&bad).unwrap().end(1, false, Outcome::Trap, breaker, now);
        slots.end(&bad, 1);
        assert_eq!(plan(&mut slots, now), (None, Some(4 * second)));
        assert_eq!(plan(&mut slots, now + second), (None, Some(3 * second)));
        let now = now + 4 * second;
        assert_eq!(plan(&mut slots, now), (Some(1), None));
        assert!(slots.start(&bad, 1), "it is a probe");
        assert_eq!(plan(&mut slots, now + 9 * second), (None, None), "one at a time");
        slots.breaker(&bad).unwrap().end(1, true, Outcome::Done, breaker, now);
        slots.end(&bad, 1);
        assert_eq!(plan(&mut slots, now + 9 * second).0, Some(1));
    }

    #[test]
    fn a_rate_that_others_share_holds_back_what_is_beyond_its_part() {
        let name: PluginName = "a".parse().unwrap();
        let now = Instant::now();
        let rates = Arc::new(SharedRates::since(now));
        let mut slots = Slots::new(100, u64::MAX, rates.clone());
        let rate = Some(Rate { count: 10, per: Duration::from_secs(10) });
        let limited = Policy { rate, ..FREE };
        let plan = |slots: &mut Slots, now| slots.plan([runs(&name, &limited, 1)].into_iter(), now);
        assert_eq!(plan(&mut slots, now).wants[0].max, 10);
        let shared = rates.all()["plugin/a"][0].clone();
        shared.set_part(hookweir_store::WHOLE / 2, now);
        assert_eq!(plan(&mut slots, now).wants[0].max, 5);
        (0..5).for_each(|_| _ = slots.start(&name, 1));
        assert!(!shared.look().held_back, "nobody knows whether there is more");
        slots.took(&name, true);
        let waits = plan(&mut slots, now);
        assert_eq!((waits.wants, waits.again), (Vec::new(), Some(Duration::from_secs(2))));
        let asked = shared.look();
        assert_eq!((asked.count, asked.held_back), (0, true));
        // Out of touch nothing starts, and nothing says when it will.
        rates.in_touch_until(now);
        let later = plan(&mut slots, now + Duration::from_secs(9));
        assert!(later.wants.is_empty());
    }

    /// That its breaker is open, by another gateway.
    fn sick(name: &PluginName, version: &[u8]) -> Vec<([u8; 16], BreakerWord)> {
        let word = BreakerWord {
            plugin: name.clone(),
            version: Digest::of(version),
            open: Some("it is sick".to_owned()),
            open_for: Duration::ZERO,
        };
        vec![([2; 16], word)]
    }

    const GUARDED: Policy = Policy {
        breaker: Some(BreakerConfig { failures: 10, probe_max: Duration::from_secs(5) }),
        ..FREE
    };

    #[test]
    fn what_other_gateways_say_of_breakers_is_about_a_version() {
        let name: PluginName = "a".parse().unwrap();
        let (mut slots, now) = (slots(10, u64::MAX), Instant::now());
        assert_eq!(deal(&mut slots, &[("a", GUARDED, 1)]), dealt(&[("a", 10)]));
        assert!(slots.hear([1; 16], sick(&name, b"2"), now).is_empty());
        assert_eq!(slots.hear([1; 16], sick(&name, b"1"), now).len(), 1);
        assert!(slots.seen(&name).unwrap().1.is_some_and(|shut| shut.elsewhere));
        // One that is switched off here stays so.
        for _ in 0..2 {
            assert_eq!(deal(&mut slots, &[("a", FREE, 1)]), dealt(&[("a", 10)]));
            assert!(slots.hear([1; 16], sick(&name, b"1"), now).is_empty());
        }
    }

    #[test]
    fn what_others_said_last_holds_for_what_comes_and_not_for_what_begins_anew() {
        let name: PluginName = "a".parse().unwrap();
        let (mut slots, now) = (slots(10, u64::MAX), Instant::now());
        let mut words = sick(&name, b"1");
        words.extend(sick(&name, b"2"));
        assert!(slots.hear([1; 16], words, now).is_empty(), "it is not there");
        let plan = |slots: &mut Slots, version: &[u8], generation| {
            let version = Digest::of(version);
            let runnable = Runnable { version, generation, ..runs(&name, &GUARDED, 1) };
            slots.plan([runnable].into_iter(), now + Duration::from_secs(9))
        };
        let turns = vec![(name.clone(), TurnElsewhere::Opened("it is sick".to_owned()))];
        let held = Plan { turns, ..Plan::default() };
        assert_eq!(plan(&mut slots, b"1", 1), held);
        assert_eq!(slots.seen(&name).unwrap().1.unwrap().since, now, "when it was heard");
        assert_eq!(plan(&mut slots, b"1", 1), Plan::default(), "that is no news");
        // Whoever has it begin anew knows better, until others speak again.
        assert_eq!(plan(&mut slots, b"1", 2).wants[0].max, 10);
        assert_eq!(slots.hear([1; 16], sick(&name, b"2"), now), []);
        assert_eq!(plan(&mut slots, b"2", 3), held);
        assert_eq!(plan(&mut slots, b"3", 4).wants[0].max, 10);
    }
}
