//! What was counted in the last while: of counters that only grow, as they were at some moments.

use std::{collections::VecDeque, time::Duration};

use hookweir_event::Spread;

/// So many moments of a window are remembered.
const MOMENTS: u32 = 30;

/// Counters as they were at a moment, or what they grew by.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    moments: VecDeque<(Duration, Counted)>,
}

impl Window {
    /// What the counters grew by in the last `length`, or since they were first seen; and whether that is all
    /// of it. What they had when they were first seen is new.
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
        let (grown, whole) = match self.moments.front() {
            Some((at, first)) if is_over(*at) => (counted.since(first), true),
            // Not looked at for that long: what was before belongs to it.
            _ => (counted.clone(), false),
        };
        let last = self.moments.back().map(|(at, _)| *at);
        if last.is_none_or(|last| now.saturating_sub(last) >= length / MOMENTS) {
            self.moments.push_back((now, counted.clone()));
        }
        (grown, whole)
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
}
