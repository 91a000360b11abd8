//! A token bucket of a part of a rate: so many starts in so long, with a burst of the whole count, and of both what this
//! gateway may use.
//!
//! The part may change at any time. A smaller one cuts what is in the bucket down to its own burst; a larger one adds
//! nothing but what refills it. So of all buckets of a rate together there is never more in them than the burst, and
//! no more is ever refilled than the rate, as long as their parts are no more than the whole. A bucket of the smallest
//! part holds one token, or a rate of few would let nothing through.

use std::time::{Duration, Instant};

use hookweir_store::WHOLE;

use crate::config::Rate;

/// A bucket. Plain data; whoever has it hands in the time.
#[derive(Debug, Clone)]
pub(super) struct Bucket {
    rate: Rate,
    part: u32,
    /// What was there at `at`. One token is [`Bucket::token`] of these, and each nanosecond brings `count × part` of
    /// them: nothing is ever rounded.
    level: u128,
    at: Instant,
}

impl Bucket {
    /// A full one.
    pub(super) fn new(rate: Rate, part: u32, now: Instant) -> Self {
        let mut bucket = Self { rate, part, level: 0, at: now };
        bucket.level = bucket.full();
        bucket
    }

    fn token(&self) -> u128 {
        self.rate.per.as_nanos().max(1) * u128::from(WHOLE)
    }

    fn full(&self) -> u128 {
        let count = u128::from(self.rate.count.max(1));
        (count * self.rate.per.as_nanos().max(1) * u128::from(self.part)).max(self.token())
    }

    /// What comes in a nanosecond.
    fn inflow(&self) -> u128 {
        u128::from(self.rate.count.max(1)) * u128::from(self.part)
    }

    pub(super) fn part(&self) -> u32 {
        self.part
    }

    /// Lets time pass until `now`. An earlier time changes nothing.
    pub(super) fn settle(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_nanos();
        self.level = self.level.saturating_add(passed * self.inflow()).min(self.full());
        self.at = self.at.max(now);
    }

    /// From `now` on it is of another part. Settle it before.
    pub(super) fn set_part(&mut self, part: u32, now: Instant) {
        self.part = part;
        self.level = self.level.min(self.full());
        self.at = self.at.max(now);
    }

    /// How many may start.
    pub(super) fn available(&self) -> u32 {
        if self.part == 0 {
            return 0;
        }
        u32::try_from(self.level / self.token()).unwrap_or(u32::MAX)
    }

    /// Takes what was started.
    pub(super) fn take(&mut self, count: u32) {
        self.level = self.level.saturating_sub(u128::from(count) * self.token());
    }

    /// How long until one more may start, if none may; without a time if that will not come by itself.
    pub(super) fn wait(&self) -> Option<Duration> {
        self.until(self.token()).filter(|wait| !wait.is_zero())
    }

    /// How long until it is full; without a time likewise.
    pub(super) fn until_full(&self) -> Option<Duration> {
        self.until(self.full())
    }

    fn until(&self, level: u128) -> Option<Duration> {
        let missing = level.saturating_sub(self.level);
        let nanos = (self.part > 0).then(|| missing.div_ceil(self.inflow()))?;
        Some(Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    proptest! {
        /// Over any run of looks and starts, no more start than the burst and the refill allow.
        #[test]
        fn the_rate_is_never_exceeded(
            count in 1_u32..100,
            steps in prop::collection::vec((0_u64..5_000_000, 0_u32..50), 1..60),
        ) {
            let start = Instant::now();
            let mut bucket = Bucket::new(Rate { count, per: MINUTE }, WHOLE, start);
            let (mut now, mut started) = (start, 0_u32);
            for (micros, wanted) in steps {
                now += Duration::from_micros(micros);
                bucket.settle(now);
                let taken = wanted.min(bucket.available());
                bucket.take(taken);
                started += taken;
                let elapsed = (now - start).as_micros() as f64;
                let allowed = f64::from(count) * (1.0 + elapsed / MINUTE.as_micros() as f64);
                prop_assert!(f64::from(started) <= allowed + 1e-6, "{started} of {allowed}");
            }
        }

        /// Two buckets whose parts are moved to and fro between them let no more through than one, but for the token
        /// that the smallest part has. However often they are looked at, nothing is lost of what refills them.
        #[test]
        fn parts_that_move_make_no_more_of_a_rate(
            count in 1_u32..100,
            steps in prop::collection::vec((0_u64..5_000_000, 0_u32..=WHOLE, 0_u32..50, 0_u32..50), 1..60),
        ) {
            let start = Instant::now();
            let rate = Rate { count, per: MINUTE };
            let mut buckets = [Bucket::new(rate, WHOLE / 2, start), Bucket::new(rate, WHOLE / 2, start)];
            let (mut now, mut started) = (start, 0_u32);
            for (micros, part, first, second) in steps {
                now += Duration::from_micros(micros);
                for (bucket, part) in buckets.iter_mut().zip([part, WHOLE - part]) {
                    bucket.settle(now);
                    bucket.set_part(part, now);
                }
                for (bucket, wanted) in buckets.iter_mut().zip([first, second]) {
                    let taken = wanted.min(bucket.available());
                    bucket.take(taken);
                    started += taken;
                }
                let elapsed = (now - start).as_micros() as f64;
                let allowed = 1.0 + f64::from(count) * (1.0 + elapsed / MINUTE.as_micros() as f64);
                prop_assert!(f64::from(started) <= allowed + 1e-6, "{started} of {allowed}");
            }
        }

        #[test]
        fn after_the_wait_one_may_start(count in 1_u32..5000, part in 1_u32..=WHOLE) {
            let start = Instant::now();
            let mut bucket = Bucket::new(Rate { count, per: MINUTE }, part, start);
            bucket.take(bucket.available());
            let wait = bucket.wait().unwrap();
            prop_assert_eq!(bucket.available(), 0);
            bucket.settle(start + wait - Duration::from_nanos(1));
            prop_assert_eq!(bucket.available(), 0);
            bucket.settle(start + wait);
            prop_assert_eq!(bucket.available(), 1);
        }
    }

    #[test]
    fn however_often_it_is_looked_at_it_refills() {
        let start = Instant::now();
        let mut bucket = Bucket::new(Rate { count: 1000, per: MINUTE }, WHOLE / 3, start);
        bucket.take(bucket.available());
        // 5.6 in a second: each look finds a fraction of one.
        for micros in (0..=10_000_000).step_by(37) {
            bucket.settle(start + Duration::from_micros(micros));
        }
        assert_eq!(bucket.available(), 55);
    }

    #[test]
    fn of_the_smallest_part_one_may_start_and_of_none_nothing() {
        let start = Instant::now();
        let rate = Rate { count: 10, per: MINUTE };
        let mut bucket = Bucket::new(rate, 1, start);
        assert_eq!(bucket.available(), 1);
        bucket.set_part(0, start);
        bucket.settle(start + MINUTE * 100);
        assert_eq!((bucket.available(), bucket.wait()), (0, None));
    }
}
