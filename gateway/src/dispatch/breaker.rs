//! A plugin's breaker: deliveries that would fail wait instead, so that they keep their attempts and leave
//! the machine, and whoever the plugin depends on, in peace.
//!
//! It opens after system failures in a row, or when nearly all of the last attempts asked for a retry. While
//! it is open, probes run one at a time, with growing waits between; one that succeeds closes it, and so does
//! whatever makes the plugin begin anew. Plain data; the driver hands in the time.
//!
//! Gateways tell each other of the breakers that they opened themselves. One that hears of another's lets nothing
//! through, not even probes, until the other says that a probe has closed it, or says nothing of it any more: then it
//! sees for itself. Of several that opened it the one with the lowest boot id probes.

use std::{
    fmt,
    time::{Duration, Instant},
};

use hookweir_event::{Digest, Outcome};
use hookweir_store::BreakerWord;

use crate::config::{BreakerConfig, PROBE_FIRST};

/// How many of the last attempts count (DESIGN §6).
const WINDOW: u32 = 20;
/// Fewer say nothing.
const WINDOW_MIN: u32 = 10;
/// The share of retries among them that opens it, in percent.
const RETRIES_PERCENT: u32 = 90;
/// So often it is said that a probe closed it: as often as others may miss what is said.
const SAID_CLOSED: u8 = 5;

/// The breaker of one plugin.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    /// What of the plugin it judges: attempts of another generation don't count.
    generation: u64,
    /// System failures in a row.
    failures: u32,
    recent: Recent,
    open: Option<Open>,
    /// Another gateway's, which that one probes.
    told: Option<Told>,
    /// How often it is to be said still that a probe closed it.
    say_closed: u8,
}

/// Another gateway's open breaker.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Told {
    by: [u8; 16],
    since: Instant,
    why: String,
}

/// How it holds deliveries back, for those who look on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shut {
    pub(super) since: Instant,
    pub(super) why: String,
    /// When the next probe may start; none while one runs, and where another gateway probes.
    pub(super) probe_at: Option<Instant>,
    /// Whether it is another gateway that has it open, and probes.
    pub(super) elsewhere: bool,
}

/// While deliveries are held back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Open {
    since: Instant,
    why: Why,
    /// When the next probe may start; while one runs, when it did.
    probe_at: Instant,
    /// The wait before it.
    wait: Duration,
    probing: bool,
}

/// Why it opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// So many system failures in a row, the last of them this.
    Failures(u32, Outcome),
    /// So many retries among so many attempts.
    Retries(u32, u32),
    /// Another gateway had it open, and says nothing of it any more.
    Left,
}

/// What may start now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// As much as there is room for.
    All,
    /// One attempt.
    Probe,
    /// Nothing for so long; without a time, until the probe that runs has ended.
    Nothing(Option<Duration>),
}

/// A change that operators want to know of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    Opened(Why),
    Closed,
}

/// The same, where it is another gateway's doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TurnElsewhere {
    /// Another has it open; why, in its words.
    Opened(String),
    /// The probe of another has closed it.
    Closed,
    /// The other says nothing of it any more: it is probed here.
    Left,
}

/// Whether each of the last attempts asked for a retry, as bits; the newest is the lowest.
#[derive(Debug, Default)]
struct Recent {
    retries: u32,
    attempts: u32,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failures(count, last) => write!(f, "{count} failures in a row, the last: {last}"),
            Self::Retries(retries, attempts) => {
                write!(f, "{retries} of the last {attempts} attempts asked for a retry")
            }
            Self::Left => f.write_str("another gateway had it open, and is gone"),
        }
    }
}

impl Recent {
    fn note(&mut self, retry: bool) {
        self.retries = ((self.retries << 1) | u32::from(retry)) & ((1 << WINDOW) - 1);
        self.attempts = (self.attempts + 1).min(WINDOW);
    }

    fn too_many(&self) -> Option<Why> {
        let retries = self.retries.count_ones();
        let many = retries * 100 >= self.attempts * RETRIES_PERCENT;
        (self.attempts >= WINDOW_MIN && many).then_some(Why::Retries(retries, self.attempts))
    }
}

impl Breaker {
    /// Judges this generation from now on. With another it begins anew, and without a config it is always closed.
    pub(super) fn follow(&mut self, generation: u64, config: Option<BreakerConfig>) {
        if self.generation != generation || config.is_none() {
            *self = Self { generation, ..Self::default() };
        }
    }

    /// What may start.
    pub(super) fn room(&self, now: Instant) -> Room {
        match self.open {
            _ if self.told.is_some() => Room::Nothing(None),
            None => Room::All,
            Some(open) if open.probing => Room::Nothing(None),
            Some(open) if now >= open.probe_at => Room::Probe,
            Some(open) => Room::Nothing(Some(open.probe_at - now)),
        }
    }

    /// An attempt starts. Whether it is a probe.
    pub(super) fn start(&mut self) -> bool {
        let Some(open) = &mut self.open else { return false };
        !std::mem::replace(&mut open.probing, true)
    }

    /// An attempt ended so.
    pub(super) fn end(
        &mut self,
        generation: u64,
        probe: bool,
        outcome: Outcome,
        config: Option<BreakerConfig>,
        now: Instant,
    ) -> Option<Turn> {
        let config = config.filter(|_| self.generation == generation)?;
        if let Some(open) = &mut self.open {
            // What was running already when it opened says nothing new.
            if !probe {
                return None;
            }
            if outcome != Outcome::Retry && !outcome.is_system_failure() {
                let (told, say_closed) = (self.told.take(), SAID_CLOSED);
                *self = Self { generation, told, say_closed, ..Self::default() };
                return Some(Turn::Closed);
            }
            open.wait = (open.wait * 2).min(config.probe_max);
            (open.probe_at, open.probing) = (now + open.wait, false);
            return None;
        }
        if self.told.is_some() {
            return None;
        }
        self.failures = if outcome.is_system_failure() { self.failures + 1 } else { 0 };
        self.recent.note(outcome == Outcome::Retry);
        let failures = Why::Failures(self.failures, outcome);
        let failures = (self.failures >= config.failures).then_some(failures);
        let why = failures.or_else(|| self.recent.too_many())?;
        let wait = PROBE_FIRST;
        self.open = Some(Open { since: now, why, probe_at: now + wait, wait, probing: false });
        self.say_closed = 0;
        Some(Turn::Opened(why))
    }

    /// An attempt ended without an outcome: another may probe in its stead.
    pub(super) fn not_run(&mut self, generation: u64, probe: bool) {
        if let Some(open) = self.open.as_mut().filter(|_| probe && self.generation == generation) {
            open.probing = false;
        }
    }

    /// How it holds deliveries back, if it does.
    pub(super) fn shut(&self) -> Option<Shut> {
        if let Some(Told { since, why, .. }) = &self.told {
            return Some(Shut { since: *since, why: why.clone(), probe_at: None, elsewhere: true });
        }
        let Open { since, why, probe_at, probing, .. } = self.open?;
        let probe_at = (!probing).then_some(probe_at);
        Some(Shut { since, why: why.to_string(), probe_at, elsewhere: false })
    }

    /// What is to be said of it to other gateways: why it is open here, and for how long, or that a probe has closed
    /// it.
    pub(super) fn say(&mut self, now: Instant) -> Option<(Option<String>, Duration)> {
        if let Some(open) = self.open {
            return Some((Some(open.why.to_string()), now.saturating_duration_since(open.since)));
        }
        self.say_closed = self.say_closed.checked_sub(1)?;
        Some((None, Duration::ZERO))
    }

    /// What others say of it, in the order of their boot ids, of which `own` is this one's.
    pub(super) fn hear<'w>(
        &mut self,
        own: [u8; 16],
        words: impl Iterator<Item = (&'w [u8; 16], &'w BreakerWord)> + Clone,
        now: Instant,
    ) -> Option<TurnElsewhere> {
        let probes_here = self.open.is_some();
        let before = self.told.take();
        let closed = before.as_ref().is_some_and(|told| {
            words.clone().any(|(by, word)| *by == told.by && word.open.is_none())
        });
        if closed {
            *self = Self { generation: self.generation, ..Self::default() };
        }
        let first = words
            .filter(|(by, _)| !probes_here || closed || **by < own)
            .find_map(|(by, word)| Some((by, word.open.clone()?, word.open_for)));
        if let Some((by, why, open_for)) = first {
            let since = now.checked_sub(open_for).unwrap_or(now);
            let since = before.as_ref().filter(|told| told.by == *by).map_or(since, |t| t.since);
            self.told = Some(Told { by: *by, since, why: why.clone() });
            return before.is_none().then_some(TurnElsewhere::Opened(why));
        }
        let before = before?;
        if closed {
            return Some(TurnElsewhere::Closed);
        }
        if self.open.is_none() {
            let (since, why, wait) = (before.since, Why::Left, PROBE_FIRST);
            self.open = Some(Open { since, why, probe_at: now, wait, probing: false });
        }
        Some(TurnElsewhere::Left)
    }
}

/// The words that are about this version of a plugin.
pub(super) fn about<'w>(
    words: &'w [([u8; 16], BreakerWord)],
    plugin: &'w hookweir_event::PluginName,
    version: Digest,
) -> impl Iterator<Item = (&'w [u8; 16], &'w BreakerWord)> + Clone {
    let named = words.iter().map(|(by, word)| (by, word));
    named.filter(move |(_, word)| word.plugin == *plugin && word.version == version)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: Option<BreakerConfig> =
        Some(BreakerConfig { failures: 10, probe_max: Duration::from_secs(5) });
    const SECOND: Duration = Duration::from_secs(1);

    /// A breaker after attempts that ended so, and when it opened, as the number of the attempt.
    fn after(outcomes: impl IntoIterator<Item = Outcome>) -> (Breaker, Option<usize>) {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        breaker.follow(1, CONFIG);
        assert_eq!(breaker.room(now), Room::All);
        for (number, outcome) in (1..).zip(outcomes) {
            assert!(!breaker.start());
            if breaker.end(1, false, outcome, CONFIG, now).is_some() {
                return (breaker, Some(number));
            }
        }
        (breaker, None)
    }

    fn opens(outcomes: &[(Outcome, usize)]) -> Option<usize> {
        after(outcomes.iter().flat_map(|(outcome, n)| std::iter::repeat_n(*outcome, *n))).1
    }

    #[test]
    fn it_opens_after_failures_in_a_row_or_when_nearly_all_ask_for_a_retry() {
        use Outcome::{CpuLimit, Done, Invalid, MemoryLimit, Reject, Retry, Timeout, Trap};
        for (outcomes, opened) in [
            (&[(Trap, 9), (Done, 1), (Trap, 9)][..], None),
            (&[(Trap, 2), (Timeout, 2), (CpuLimit, 2), (MemoryLimit, 2), (Invalid, 2)], Some(10)),
            (&[(Done, 100), (Trap, 10)], Some(110)),
            (&[(Trap, 9), (Retry, 1), (Trap, 9)], None),
            (&[(Retry, 9)], None),
            (&[(Retry, 10)], Some(10)),
            (&[(Done, 1), (Retry, 9)], Some(10)),
            (&[(Done, 2), (Retry, 17)], None),
            (&[(Done, 2), (Retry, 18)], Some(20)),
            (&[(Done, 100), (Retry, 17)], None),
            (&[(Done, 100), (Retry, 18)], Some(118)),
            (&[(Reject, 100)], None),
        ] {
            assert_eq!(opens(outcomes), opened, "{outcomes:?}");
        }
    }

    #[test]
    fn probes_run_one_at_a_time_with_doubling_waits_until_one_succeeds() {
        let (mut breaker, _) = after([Outcome::Trap; 10]);
        let mut now = breaker.open.unwrap().since;
        for wait in [1, 2, 4, 5, 5] {
            let wait = SECOND * wait;
            assert_eq!(breaker.room(now), Room::Nothing(Some(wait)));
            now += wait;
            assert_eq!(breaker.room(now), Room::Probe);
            assert!(breaker.start());
            assert_eq!(breaker.room(now + SECOND * 99), Room::Nothing(None));
            assert_eq!(breaker.end(1, true, Outcome::Retry, CONFIG, now), None);
        }
        now += SECOND * 5;
        assert_eq!(breaker.room(now), Room::Probe);
        assert!(breaker.start());
        assert_eq!(breaker.end(1, true, Outcome::Reject, CONFIG, now), Some(Turn::Closed));
        assert_eq!(breaker.room(now), Room::All);
        // And begins to count anew.
        assert_eq!(breaker.end(1, false, Outcome::Trap, CONFIG, now), None);
    }

    #[test]
    fn what_ran_already_when_it_opened_changes_nothing() {
        let (mut breaker, _) = after([Outcome::Trap; 10]);
        let open = breaker.open;
        let now = open.unwrap().since + SECOND;
        assert_eq!(breaker.end(1, false, Outcome::Done, CONFIG, now), None);
        assert_eq!(breaker.end(1, false, Outcome::Trap, CONFIG, now), None);
        assert_eq!(breaker.open, open);
    }

    #[test]
    fn a_probe_that_was_not_run_leaves_its_place_to_another() {
        let (mut breaker, _) = after([Outcome::Trap; 10]);
        let now = breaker.open.unwrap().since + SECOND;
        assert!(breaker.start());
        breaker.not_run(1, false);
        assert_eq!(breaker.room(now), Room::Nothing(None), "the probe runs still");
        breaker.not_run(1, true);
        assert_eq!(breaker.room(now), Room::Probe);
    }

    #[test]
    fn a_plugin_that_begins_anew_and_one_without_a_breaker_run() {
        let (mut breaker, _) = after([Outcome::Trap; 10]);
        let now = breaker.open.unwrap().since;
        breaker.follow(2, CONFIG);
        assert_eq!(breaker.room(now), Room::All);
        for _ in 0..99 {
            assert_eq!(breaker.end(1, true, Outcome::Trap, CONFIG, now), None, "of the one before");
            assert_eq!(breaker.end(2, false, Outcome::Trap, None, now), None, "switched off");
        }
        let (mut breaker, _) = after([Outcome::Trap; 10]);
        breaker.follow(1, None);
        assert_eq!(breaker.room(now), Room::All);
    }

    const VERSION: [u8; 32] = [7; 32];

    fn word(by: u8, open: Option<&str>) -> ([u8; 16], BreakerWord) {
        let word = BreakerWord {
            plugin: "a".parse().unwrap(),
            version: Digest::from_bytes(VERSION),
            open: open.map(str::to_owned),
            open_for: SECOND,
        };
        ([by; 16], word)
    }

    /// What a breaker of the gateway 5 makes of these words.
    fn hears(
        breaker: &mut Breaker,
        words: &[([u8; 16], BreakerWord)],
        now: Instant,
    ) -> Option<TurnElsewhere> {
        let plugin = "a".parse().unwrap();
        breaker.hear([5; 16], about(words, &plugin, Digest::from_bytes(VERSION)), now)
    }

    #[test]
    fn what_another_has_open_is_shut_here_until_its_probe_has_closed_it() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        breaker.follow(1, CONFIG);
        assert_eq!(breaker.room(now), Room::All);
        let open = [word(9, Some("it is sick"))];
        let opened = TurnElsewhere::Opened("it is sick".to_owned());
        assert_eq!(hears(&mut breaker, &open, now), Some(opened));
        assert_eq!(hears(&mut breaker, &open, now + SECOND), None, "it is no news");
        for later in [0, 1, 3600] {
            assert_eq!(breaker.room(now + SECOND * later), Room::Nothing(None));
        }
        // What ran already says nothing new.
        for _ in 0..20 {
            assert_eq!(breaker.end(1, false, Outcome::Trap, CONFIG, now), None);
        }
        let shut = breaker.shut().unwrap();
        assert_eq!((shut.since, shut.probe_at, shut.elsewhere), (now - SECOND, None, true));
        assert_eq!(breaker.say(now), None, "the other says so");
        assert_eq!(hears(&mut breaker, &[word(9, None)], now), Some(TurnElsewhere::Closed));
        assert_eq!((breaker.room(now), breaker.shut()), (Room::All, None));
        // It is said several times, and is no news either.
        assert_eq!(hears(&mut breaker, &[word(9, None)], now), None);
    }

    #[test]
    fn when_the_other_is_gone_it_is_probed_here() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        breaker.follow(1, CONFIG);
        assert_eq!(breaker.room(now), Room::All);
        hears(&mut breaker, &[word(9, Some("it is sick"))], now).unwrap();
        // Of another version it says something else.
        let mut other = word(9, None);
        other.1.version = Digest::from_bytes([8; 32]);
        assert_eq!(hears(&mut breaker, &[other], now), Some(TurnElsewhere::Left));
        assert_eq!(breaker.room(now), Room::Probe);
        assert!(breaker.say(now).is_some_and(|(why, _)| why.is_some()));
    }

    #[test]
    fn of_two_that_have_it_open_the_lower_one_probes() {
        let (mut breaker, _) = after([Outcome::Trap; 10]);
        let now = breaker.open.unwrap().since + SECOND;
        let higher = [word(9, Some("it is sick"))];
        assert_eq!(hears(&mut breaker, &higher, now), None);
        assert_eq!(breaker.room(now), Room::Probe);
        let both = [word(1, Some("it is sick")), word(9, Some("it is sick"))];
        assert!(hears(&mut breaker, &both, now).is_some());
        assert_eq!(breaker.room(now), Room::Nothing(None));
        // The lower one is gone: the higher one has seen that this one has it open, and waits.
        assert_eq!(hears(&mut breaker, &higher, now), Some(TurnElsewhere::Left));
        assert_eq!(breaker.room(now), Room::Probe);
        // And if it closes it, it is closed here, whoever opened it.
        assert!(hears(&mut breaker, &both, now).is_some());
        let closed = [word(1, None)];
        assert_eq!(hears(&mut breaker, &closed, now), Some(TurnElsewhere::Closed));
        assert_eq!(breaker.room(now), Room::All);
    }

    #[test]
    fn that_a_probe_closed_it_is_said_a_few_times() {
        let (mut breaker, _) = after([Outcome::Trap; 10]);
        let now = breaker.open.unwrap().since + SECOND;
        let (why, open_for) = breaker.say(now).unwrap();
        assert_eq!(
            (why.as_deref(), open_for),
            (Some("10 failures in a row, the last: trap"), SECOND)
        );
        assert!(breaker.start());
        assert_eq!(breaker.end(1, true, Outcome::Done, CONFIG, now), Some(Turn::Closed));
        for _ in 0..SAID_CLOSED {
            assert_eq!(breaker.say(now), Some((None, Duration::ZERO)));
        }
        assert_eq!(breaker.say(now), None);
    }
}
