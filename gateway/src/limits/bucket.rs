//! A token bucket for one plugin's rate. Unlike the limiters at the door it must say how many may
//! start now and when the next one may, because dispatch leases that many and sleeps that long.

use std::time::{Duration, Instant};

use crate::config::Rate;

/// So many starts in so long, with a burst of the whole count.
#[derive(Debug, Clone)]
pub(super) struct Bucket {
    rate: Option<Rate>,
    /// Tokens at `at`, in thousandths, so that slow rates add up.
    milli: u64,
    at: Instant,
}

impl Bucket {
    /// A full bucket.
    pub(super) fn new(rate: Option<Rate>, now: Instant) -> Self {
        let milli = rate.map_or(0, |rate| u64::from(rate.count) * 1000);
        Self { rate, milli, at: now }
    }

    pub(super) fn rate(&self) -> Option<Rate> {
        self.rate
    }

    /// How many may start now.
    pub(super) fn available(&mut self, now: Instant) -> usize {
        let Some(rate) = self.rate else { return usize::MAX };
        let full = u64::from(rate.count) * 1000;
        let passed = now.saturating_duration_since(self.at);
        let refill = passed.as_micros() * u128::from(full) / rate.per.as_micros().max(1);
        // Time is only used up in whole thousandths of a token; the rest stays for the next look.
        if refill > 0 {
            self.milli = full.min(self.milli.saturating_add(u64::try_from(refill).unwrap_or(full)));
            self.at = now;
        }
        usize::try_from(self.milli / 1000).unwrap_or(usize::MAX)
    }

    /// Takes what was started.
    pub(super) fn take(&mut self, count: usize) {
        self.milli = self.milli.saturating_sub(count as u64 * 1000);
    }

    /// How long until one more may start, if none may now.
    pub(super) fn wait(&self) -> Option<Duration> {
        let rate = self.rate?;
        let missing = 1000_u64.checked_sub(self.milli).filter(|&missing| missing > 0)?;
        let micros = u128::from(missing) * rate.per.as_micros();
        let micros = micros.div_ceil(u128::from(rate.count) * 1000);
        Some(Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX)))
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
            steps in prop::collection::vec((0_u64..5_000_000, 0_usize..50), 1..60),
        ) {
            let start = Instant::now();
            let rate = Rate { count, per: MINUTE };
            let mut bucket = Bucket::new(Some(rate), start);
            let (mut now, mut started) = (start, 0_u64);
            for (micros, wanted) in steps {
                now += Duration::from_micros(micros);
                let taken = wanted.min(bucket.available(now));
                bucket.take(taken);
                started += taken as u64;
                let elapsed = (now - start).as_micros() as f64;
                let allowed = f64::from(count) * (1.0 + elapsed / MINUTE.as_micros() as f64);
                prop_assert!(started as f64 <= allowed + 1e-6, "{started} of {allowed}");
            }
        }

        #[test]
        fn after_the_wait_one_may_start(count in 1_u32..5000) {
            let start = Instant::now();
            let mut bucket = Bucket::new(Some(Rate { count, per: MINUTE }), start);
            let burst = bucket.available(start);
            bucket.take(burst);
            let wait = bucket.wait().unwrap();
            prop_assert_eq!(bucket.available(start), 0);
            prop_assert!(bucket.available(start + wait) >= 1);
        }
    }

    #[test]
    fn without_a_rate_there_is_no_wait() {
        let mut bucket = Bucket::new(None, Instant::now());
        assert_eq!(bucket.available(Instant::now()), usize::MAX);
        assert_eq!(bucket.wait(), None);
    }
}
