//! A plugin's breaker: deliveries that would fail wait instead, so that they keep their attempts and leave
//! the machine, and whoever the plugin depends on, in peace.
//!
//! It opens after system failures in a row, or when nearly all of the last attempts asked for a retry. While
//! it is open, probes run one at a time, with growing waits between; one that succeeds closes it, and so does
//! whatever makes the plugin begin anew. Plain data; the driver hands in the time.

use std::{
    fmt,
    time::{Duration, Instant},
};

use hookweir_event::Outcome;

use crate::config::{BreakerConfig, PROBE_FIRST};

/// How many of the last attempts count (DESIGN §6).
const WINDOW: u32 = 20;
/// Fewer say nothing.
const WINDOW_MIN: u32 = 10;
/// The share of retries among them that opens it, in percent.
const RETRIES_PERCENT: u32 = 90;

/// The breaker of one plugin.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    /// What of the plugin it judges: attempts of another generation don't count.
    generation: u64,
    /// System failures in a row.
    failures: u32,
    recent: Recent,
    open: Option<Open>,
}

/// While deliveries are held back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Open {
    pub(super) since: Instant,
    pub(super) why: Why,
    /// When the next probe may start; while one runs, when it did.
    pub(super) probe_at: Instant,
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
    /// What may start of this generation. Without a config it is always closed.
    pub(super) fn room(
        &mut self,
        generation: u64,
        config: Option<BreakerConfig>,
        now: Instant,
    ) -> Room {
        if self.generation != generation || config.is_none() {
            *self = Self { generation, ..Self::default() };
        }
        match self.open {
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
                *self = Self { generation, ..Self::default() };
                return Some(Turn::Closed);
            }
            open.wait = (open.wait * 2).min(config.probe_max);
            (open.probe_at, open.probing) = (now + open.wait, false);
            return None;
        }
        self.failures = if outcome.is_system_failure() { self.failures + 1 } else { 0 };
        self.recent.note(outcome == Outcome::Retry);
        let failures = Why::Failures(self.failures, outcome);
        let failures = (self.failures >= config.failures).then_some(failures);
        let why = failures.or_else(|| self.recent.too_many())?;
        let wait = PROBE_FIRST;
        self.open = Some(Open { since: now, why, probe_at: now + wait, wait, probing: false });
        Some(Turn::Opened(why))
    }

    /// An attempt ended without an outcome: another may probe in its stead.
    pub(super) fn not_run(&mut self, generation: u64, probe: bool) {
        if let Some(open) = self.open.as_mut().filter(|_| probe && self.generation == generation) {
            open.probing = false;
        }
    }

    /// How it is open, if it is.
    pub(super) fn open(&self) -> Option<Open> {
        self.open
    }
}

impl Open {
    /// Whether a probe runs.
    pub(super) fn is_probing(&self) -> bool {
        self.probing
    }
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
        assert_eq!(breaker.room(1, CONFIG, now), Room::All);
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
        let mut now = breaker.open().unwrap().since;
        for wait in [1, 2, 4, 5, 5] {
            let wait = SECOND * wait;
            assert_eq!(breaker.room(1, CONFIG, now), Room::Nothing(Some(wait)));
            now += wait;
            assert_eq!(breaker.room(1, CONFIG, now), Room::Probe);
            assert!(breaker.start());
            assert_eq!(breaker.room(1, CONFIG, now + SECOND * 99), Room::Nothing(None));
            assert_eq!(breaker.end(1, true, Outcome::Retry, CONFIG, now), None);
        }
        now += SECOND * 5;
        assert_eq!(breaker.room(1, CONFIG, now), Room::Probe);
        assert!(breaker.start());
        assert_eq!(breaker.end(1, true, Outcome::Reject, CONFIG, now), Some(Turn::Closed));
        assert_eq!(breaker.room(1, CONFIG, now), Room::All);
        // And begins to count anew.
        assert_eq!(breaker.end(1, false, Outcome::Trap, CONFIG, now), None);
    }

    #[test]
    fn what_ran_already_when_it_opened_changes_nothing() {
        let (mut breaker, _) = after([Outcome::Trap; 10]);
        let open = breaker.open();
        let now = open.unwrap().since + SECOND;
        assert_eq!(breaker.end(1, false, Outcome::Done, CONFIG, now), None);
        assert_eq!(breaker.end(1, false, Outcome::Trap, CONFIG, now), None);
        assert_eq!(breaker.open(), open);
    }

    #[test]
    fn a_probe_that_was_not_run_leaves_its_place_to_another() {
        let (mut breaker, _) = after([Outcome::Trap; 10]);
        let now = breaker.open().unwrap().since + SECOND;
        assert!(breaker.start());
        breaker.not_run(1, false);
        assert_eq!(breaker.room(1, CONFIG, now), Room::Nothing(None), "the probe runs still");
        breaker.not_run(1, true);
        assert_eq!(breaker.room(1, CONFIG, now), Room::Probe);
    }

    #[test]
    fn a_plugin_that_begins_anew_and_one_without_a_breaker_run() {
        let (mut breaker, _) = after([Outcome::Trap; 10]);
        let now = breaker.open().unwrap().since;
        assert_eq!(breaker.room(2, CONFIG, now), Room::All);
        for _ in 0..99 {
            assert_eq!(breaker.end(1, true, Outcome::Trap, CONFIG, now), None, "of the one before");
            assert_eq!(breaker.end(2, false, Outcome::Trap, None, now), None, "switched off");
        }
        let (mut breaker, _) = after([Outcome::Trap; 10]);
        assert_eq!(breaker.room(1, None, now), Room::All);
    }
}
