//! The store's own time: what is due and what has expired is decided by it.
//!
//! It follows the clock on the wall while that goes forwards. When the clock was set back it goes on, at
//! seven eighths of its pace, until the clock has caught up: a delivery that is due in two seconds runs
//! in two and a bit, not in an hour, and nothing ever happens before what it followed.

use std::time::Duration;

use hookweir_event::{Clock, Timestamp};

/// A time that never goes back.
#[derive(Debug)]
pub(crate) struct Steady {
    clock: Clock,
    last: Timestamp,
    /// What has passed since `last` and is no whole millisecond yet.
    rest: Duration,
    ticks: Duration,
}

impl Steady {
    /// Begins no earlier than `least`, where the process before this one ended.
    pub(crate) fn new(clock: Clock, least: Timestamp) -> Self {
        let (last, ticks) = (clock.now().max(least), clock.ticks());
        Self { clock, last, rest: Duration::ZERO, ticks }
    }

    /// What has passed since some moment, by the clock that is never set.
    pub(crate) fn ticks(&self) -> Duration {
        self.clock.ticks()
    }

    /// The time now.
    pub(crate) fn now(&mut self) -> Timestamp {
        let (wall, ticks) = (self.clock.now(), self.clock.ticks());
        let passed = ticks.saturating_sub(self.ticks);
        self.ticks = ticks;
        let on = self.rest + passed * 7 / 8;
        let whole = Duration::from_millis(u64::try_from(on.as_millis()).unwrap_or(u64::MAX));
        (self.last, self.rest) = match self.last + whole {
            slow if slow > wall => (slow, on.saturating_sub(whole)),
            _ => (wall, Duration::ZERO),
        };
        self.last
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

    use std::sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    };

    use proptest::prelude::*;

    use super::*;

    /// The clock on the wall, and what has passed.
    #[derive(Default, Clone)]
    struct Time(Arc<(AtomicI64, AtomicU64)>);

    impl Time {
        fn pass(&self, millis: u64) {
            self.0.0.fetch_add(millis.cast_signed(), Ordering::Relaxed);
            self.0.1.fetch_add(millis, Ordering::Relaxed);
        }

        fn set(&self, by: i64) {
            self.0.0.fetch_add(by, Ordering::Relaxed);
        }

        fn clock(&self) -> Clock {
            let (wall, ticks) = (self.clone(), self.clone());
            Clock::new(move || Timestamp::from_millis(wall.0.0.load(Ordering::Relaxed)))
                .with_ticks(move || Duration::from_millis(ticks.0.1.load(Ordering::Relaxed)))
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn it_never_goes_back_and_never_stands(
            steps in prop::collection::vec((0..10_000_u64, -4_000_000..4_000_000_i64), 1..50),
        ) {
            let time = Time::default();
            let mut steady = Steady::new(time.clock(), Timestamp::default());
            let mut last = steady.now();
            for (pass, set) in steps {
                time.set(set);
                time.pass(pass);
                let now = steady.now();
                prop_assert!(now.since(last) + Duration::from_millis(1) >= Duration::from_millis(pass * 7 / 8));
                prop_assert!(now >= last && now >= time.clock().now());
                last = now;
            }
        }
    }

    #[test]
    fn an_hour_back_is_made_up_for_in_eight() {
        let time = Time::default();
        time.set(3_600_000);
        let mut steady = Steady::new(time.clock(), Timestamp::default());
        time.set(-3_600_000);
        time.pass(8 * 3_600_000 - 1000);
        assert!(steady.now() > time.clock().now());
        time.pass(1000);
        assert_eq!(steady.now(), time.clock().now());
    }

    #[test]
    fn it_begins_where_the_process_before_ended() {
        let time = Time::default();
        let mut steady = Steady::new(time.clock(), Timestamp::from_millis(500));
        assert_eq!(steady.now(), Timestamp::from_millis(500));
    }
}
