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
    /// Not raised again before.
    rests_until: Duration,
}

impl Alarm {
    /// One that was raised before the gateway started.
    pub(super) fn raised() -> Self {
        Self { raised: true, ..Self::default() }
    }

    pub(super) fn is_raised(self) -> bool {
        self.raised
    }

    /// What is to be told of this.
    pub(super) fn judge(self, measure: Measure, now: Duration) -> Option<Turn> {
        match (self.raised, measure) {
            (false, Measure::Enough(load)) if load > 1.0 && now >= self.rests_until => {
                Some(Turn::Raise)
            }
            (true, Measure::Quiet) => Some(Turn::Clear),
            (true, Measure::Few(load) | Measure::Enough(load)) if load <= WELL => Some(Turn::Clear),
            _ => None,
        }
    }

    /// It was told.
    pub(super) fn turn(&mut self, turn: Turn, now: Duration, window: Duration) {
        self.raised = turn == Turn::Raise;
        if turn == Turn::Clear {
            self.rests_until = now + window;
        }
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
                let Some(turn) = alarm.judge(measure, now) else { continue };
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
                alarm.turn(turn, now, WINDOW);
                prop_assert_eq!(alarm.is_raised(), raised);
            }
        }
    }

    #[test]
    fn around_the_threshold_it_stays_as_it_is() {
        let mut alarm = Alarm::default();
        let second = Duration::from_secs(1);
        assert_eq!(alarm.judge(Measure::Enough(1.0), second), None, "as much as is allowed");
        assert_eq!(alarm.judge(Measure::Enough(1.01), second), Some(Turn::Raise));
        alarm.turn(Turn::Raise, second, WINDOW);
        for load in [0.81, 1.0, 5.0] {
            assert_eq!(alarm.judge(Measure::Enough(load), second), None);
        }
        assert_eq!(alarm.judge(Measure::Unknown, second), None);
        assert_eq!(alarm.judge(Measure::Few(0.8), second), Some(Turn::Clear));
        assert_eq!(Alarm::raised().judge(Measure::Quiet, second), Some(Turn::Clear));
    }

    #[test]
    fn a_threshold_of_nothing_is_crossed_by_one() {
        assert!(load(1.0, 0.0) > 1.0);
        assert_eq!(load(0.0, 0.0), 0.0);
    }
}
