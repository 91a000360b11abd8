//! When an alert is raised and when it is cleared: pure, with the time as a number.
//!
//! What is measured is put as a load: 1 is the threshold, more is wrong. Raised above 1, cleared at four fifths
//! of it or below, and not raised again within a window of having been cleared: what swings around the threshold
//! is said once in a while, and not each time.

use std::time::Duration;

/// At or below this load it is well again.
const WELL: f64 = 0.8;

/// What was measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Measure {
    /// Nothing can be said now.
    Unknown,
    /// Nothing happened in a whole window, and nothing waits to.
    Quiet,
    /// A load, from too little for something to be wrong.
    Few(f64),
    /// A load.
    Enough(f64),
}

impl Measure {
    /// The same, where what is over the threshold may be so for having been held up: then nothing can be said.
    pub(super) fn unless_held(self, held: bool) -> Self {
        match self {
            Self::Few(load) | Self::Enough(load) if held && load > 1.0 => Self::Unknown,
            measure => measure,
        }
    }
}

/// A change that is to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    Raise,
    Clear,
}

/// Whether one thing that is watched is wrong.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Alarm {
    raised: bool,
    cleared: Option<Cleared>,
}

/// When something was well again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cleared {
    /// In ticks of the clock.
    at: Duration,
    /// How long before that: it may be from before the gateway started, when there were no ticks.
    before: Duration,
}

impl Alarm {
    /// One that was raised before the gateway started.
    pub(super) fn raised() -> Self {
        Self { raised: true, cleared: None }
    }

    /// One that was cleared before the gateway started, so long before `now`.
    pub(super) fn cleared(before: Duration, now: Duration) -> Self {
        Self { raised: false, cleared: Some(Cleared { at: now, before }) }
    }

    pub(super) fn is_raised(self) -> bool {
        self.raised
    }

    /// Whether it was cleared less than `rest` ago, and is not raised again yet.
    pub(super) fn is_resting(self, now: Duration, rest: Duration) -> bool {
        let ago = |cleared: Cleared| now.saturating_sub(cleared.at).saturating_add(cleared.before);
        self.cleared.is_some_and(|cleared| ago(cleared) < rest)
    }

    /// What is to be told of this.
    pub(super) fn judge(self, measure: Measure, now: Duration, rest: Duration) -> Option<Turn> {
        match (self.raised, measure) {
            (false, Measure::Enough(load)) if load > 1.0 && !self.is_resting(now, rest) => {
                Some(Turn::Raise)
            }
            (true, Measure::Quiet) => Some(Turn::Clear),
            (true, Measure::Few(load) | Measure::Enough(load)) if load <= WELL => Some(Turn::Clear),
            _ => None,
        }
    }

    /// It was told.
    pub(super) fn turn(&mut self, turn: Turn, now: Duration) {
        *self = match turn {
            Turn::Raise => Self::raised(),
            Turn::Clear => Self::cleared(Duration::ZERO, now),
        };
    }
}

/// How much of what is allowed.
pub(super) fn load(value: f64, threshold: f64) -> f64 {
    // A threshold of nothing is crossed by anything, and by nothing else.
    if value <= 0.0 { 0.0 } else { value / threshold }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WINDOW: Duration = Duration::from_secs(10);

    fn measures() -> impl Strategy<Value = Measure> {
        prop_oneof![
            1 => Just(Measure::Unknown),
            1 => Just(Measure::Quiet),
            4 => (0.0..3.0_f64).prop_map(Measure::Few),
            8 => (0.0..3.0_f64).prop_map(Measure::Enough),
        ]
    }

    proptest! {
        /// Whatever is measured: raises and clears take turns, none is raised from little or below its
        /// threshold, and none within a window of its last clear.
        #[test]
        fn it_is_raised_once_and_cleared_once(
            steps in prop::collection::vec((measures(), 0_u64..20_000), 1..200),
        ) {
            let (mut alarm, mut now) = (Alarm::default(), Duration::ZERO);
            let (mut raised, mut cleared_at) = (false, None);
            for (measure, millis) in steps {
                now += Duration::from_millis(millis);
                let Some(turn) = alarm.judge(measure, now, WINDOW) else { continue };
                match turn {
                    Turn::Raise => {
                        prop_assert!(!raised, "two raises without a clear between them");
                        prop_assert!(matches!(measure, Measure::Enough(load) if load > 1.0));
                        prop_assert!(cleared_at.is_none_or(|at| now >= at + WINDOW));
                    }
                    Turn::Clear => {
                        prop_assert!(raised, "a clear of what was not raised");
                        prop_assert!(!matches!(measure, Measure::Enough(load) | Measure::Few(load) if load > WELL));
                        cleared_at = Some(now);
                    }
                }
                raised = turn == Turn::Raise;
                alarm.turn(turn, now);
                prop_assert_eq!(alarm.is_raised(), raised);
            }
        }
    }

    #[test]
    fn around_the_threshold_it_stays_as_it_is() {
        let mut alarm = Alarm::default();
        let second = Duration::from_secs(1);
        let judge = |alarm: Alarm, measure| alarm.judge(measure, second, WINDOW);
        assert_eq!(judge(alarm, Measure::Enough(1.0)), None, "as much as is allowed");
        assert_eq!(judge(alarm, Measure::Enough(1.01)), Some(Turn::Raise));
        alarm.turn(Turn::Raise, second);
        for load in [0.81, 1.0, 5.0] {
            assert_eq!(judge(alarm, Measure::Enough(load)), None);
        }
        assert_eq!(judge(alarm, Measure::Unknown), None);
        assert_eq!(judge(alarm, Measure::Few(0.8)), Some(Turn::Clear));
        assert_eq!(judge(Alarm::raised(), Measure::Quiet), Some(Turn::Clear));
    }

    #[test]
    fn what_was_cleared_before_the_start_rests_for_what_is_left_of_its_window() {
        let seconds = Duration::from_secs;
        let alarm = Alarm::cleared(seconds(7), seconds(1));
        let bad = Measure::Enough(2.0);
        assert_eq!(alarm.judge(bad, seconds(1), WINDOW), None);
        assert_eq!(alarm.judge(bad, seconds(3), WINDOW), None);
        assert_eq!(alarm.judge(bad, seconds(4), WINDOW), Some(Turn::Raise));
        assert_eq!(alarm.judge(bad, seconds(2), seconds(8)), Some(Turn::Raise), "a window now");
    }

    #[test]
    fn what_was_held_up_is_not_wrong_for_that() {
        for measure in [Measure::Few(1.1), Measure::Enough(1.1)] {
            assert_eq!(measure.unless_held(true), Measure::Unknown);
            assert_eq!(measure.unless_held(false), measure);
        }
        for measure in [Measure::Enough(1.0), Measure::Few(0.1), Measure::Quiet] {
            assert_eq!(measure.unless_held(true), measure);
        }
    }

    #[test]
    fn a_threshold_of_nothing_is_crossed_by_one() {
        assert!(load(1.0, 0.0) > 1.0);
        assert_eq!(load(0.0, 0.0), 0.0);
    }
}
