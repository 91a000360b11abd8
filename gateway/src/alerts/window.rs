//! What was counted in the last while: of counters that only grow, as they were at some moments.

use std::{collections::VecDeque, time::Duration};

use hookweir_event::Spread;

/// So many moments of a window are remembered.
const MOMENTS: u32 = 30;

/// Counters as they were at a moment, or what they grew by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Counted {
    /// Attempts, or requests.
    pub(super) all: u64,
    /// Those that failed, or were refused.
    pub(super) bad: u64,
    /// How long deliveries took that are over, in milliseconds.
    pub(super) handled: Option<Spread>,
}

impl Counted {
    fn since(&self, earlier: &Self) -> Self {
        let handled = match (&self.handled, &earlier.handled) {
            (Some(now), Some(then)) => Some(now.since(then)),
            (now, _) => now.clone(),
        };
        let all = self.all.saturating_sub(earlier.all);
        Self { all, bad: self.bad.saturating_sub(earlier.bad), handled }
    }
}

/// The counters of one plugin or source, over a while.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// The first is where the window begins. One whose counters were just seen for the first time begins with
    /// nothing, at that moment.
    moments: VecDeque<(Duration, Counted)>,
}

impl Window {
    /// For how long at most something is in a window of this length after it was first counted: the moment that is
    /// remembered next may come later than the next look.
    pub(super) fn reach(length: Duration) -> Duration {
        length + length / MOMENTS * 2
    }

    /// What the counters grew by in the last `length`, or since they were first seen, or since what is
    /// remembered if the window was a shorter one; and whether that is all of it. What they had when they were
    /// first seen is new.
    pub(super) fn look(
        &mut self,
        now: Duration,
        length: Duration,
        counted: &Counted,
    ) -> (Counted, bool) {
        // Another plugin of the same name: its counters begin anew.
        if self.moments.back().is_some_and(|(_, last)| counted.all < last.all) {
            self.moments.clear();
        }
        let is_over = |at: Duration| now.saturating_sub(at) >= length;
        while self.moments.get(1).is_some_and(|(at, _)| is_over(*at)) {
            self.moments.pop_front();
        }
        let last = self.moments.back().map(|(at, _)| *at);
        if last.is_none() {
            self.moments.push_back((now, Counted::default()));
        }
        if last.is_none_or(|last| now.saturating_sub(last) >= length / MOMENTS) {
            self.moments.push_back((now, counted.clone()));
        }
        match self.moments.front() {
            Some((at, first)) => (counted.since(first), is_over(*at)),
            None => (counted.clone(), false),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LENGTH: Duration = Duration::from_secs(30);

    fn counted(all: u64) -> Counted {
        Counted { all, bad: all / 2, handled: None }
    }

    proptest! {
        /// What a window says is never less than what came within it, and no more than what came within it
        /// and the moment before.
        #[test]
        fn it_says_what_came_within_it(
            steps in prop::collection::vec((1_u64..3_000, 0_u64..50), 1..200),
        ) {
            let (mut window, mut now, mut all) = (Window::default(), Duration::ZERO, 0);
            let mut came: Vec<(Duration, u64)> = Vec::new();
            for (millis, more) in steps {
                now += Duration::from_millis(millis);
                all += more;
                came.push((now, more));
                let (grown, _) = window.look(now, LENGTH, &counted(all));
                let within = |reach: Duration| -> u64 {
                    let recent = came.iter().filter(|(at, _)| now - *at < reach);
                    recent.map(|(_, more)| more).sum()
                };
                prop_assert!(grown.all >= within(LENGTH));
                // Looks are up to 3 s apart here, and moments a thirtieth of the window.
                prop_assert!(grown.all <= within(LENGTH + Duration::from_secs(5)));
                prop_assert!(window.moments.len() <= MOMENTS as usize + 2);
            }
        }
    }

    #[test]
    fn counters_that_begin_anew_are_no_other_ones() {
        let mut window = Window::default();
        window.look(Duration::ZERO, LENGTH, &counted(100));
        window.look(LENGTH, LENGTH, &counted(110));
        let (grown, whole) = window.look(LENGTH * 2, LENGTH, &counted(4));
        assert_eq!((grown.all, whole), (4, false));
    }

    #[test]
    fn another_length_brings_back_nothing_that_is_over() {
        let mut window = Window::default();
        let second = Duration::from_secs(1);
        // A bad hour, a good minute.
        for (seconds, all) in (0_u32..).zip((0..3600).chain([3600; 60])) {
            window.look(second * seconds, LENGTH, &counted(all));
        }
        let mut looked = |seconds: u32, length, all| {
            let (grown, whole) = window.look(second * seconds, length, &counted(all));
            (grown.all, whole)
        };
        assert_eq!(looked(3660, LENGTH * 10, 3600), (0, false), "it knows of no more than it had");
        assert_eq!(looked(3670, LENGTH * 10, 3605), (5, false));
        assert_eq!(looked(3950, LENGTH * 10, 3605), (5, true));
        assert_eq!(looked(3951, LENGTH, 3605), (0, true), "and a shorter one forgets");
    }
}
