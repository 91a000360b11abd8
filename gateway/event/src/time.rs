//! Time as a value, the clock as a parameter, and the wait between attempts.

use std::{
    fmt,
    ops::Add,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Unix time in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From milliseconds since 1970.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// From seconds since 1970, saturating.
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs.saturating_mul(1000))
    }

    /// Milliseconds since 1970.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// How long after `earlier` this is; zero if it is before.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX)))
    }
}

/// Where the drivers get the time. `main` makes the system's; tests make one that moves when told.
#[derive(Clone)]
pub struct Clock {
    now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    ticks: Arc<dyn Fn() -> Duration + Send + Sync>,
}

impl Clock {
    /// The machine's clocks: the one on the wall, which is set now and then, and the one that is not.
    pub fn system() -> Self {
        let start = Instant::now();
        let wall = || {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
        };
        Self::new(wall).with_ticks(move || start.elapsed())
    }

    /// Any other source of time, which is never set back.
    pub fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        let now: Arc<dyn Fn() -> Timestamp + Send + Sync> = Arc::new(now);
        let (wall, start) = (Arc::clone(&now), now());
        Self { now, ticks: Arc::new(move || wall().since(start)) }
    }

    /// The same with another count of the time that passes, however the clock is set.
    #[must_use]
    pub fn with_ticks(self, ticks: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self { ticks: Arc::new(ticks), ..self }
    }

    /// The time now. It jumps when the clock is set, forwards or backwards.
    pub fn now(&self) -> Timestamp {
        (self.now)()
    }

    /// The time that has passed since some moment. It never jumps.
    pub fn ticks(&self) -> Duration {
        (self.ticks)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

/// How long a delivery waits between attempts: exponential, capped, jittered, so that a thousand
/// deliveries that failed together do not come back together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The wait is `base · 2^attempt` before the cap and the jitter.
    pub base: Duration,
    /// The longest wait before the jitter.
    pub max: Duration,
    /// The longest wait that a plugin may ask for.
    pub retry_after_max: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            base: Duration::from_secs(1),
            max: Duration::from_secs(3600),
            retry_after_max: Duration::from_secs(24 * 3600),
        }
    }
}

impl Backoff {
    /// The wait after attempt number `attempt` (counted from 1) failed: `min(base · 2^attempt, max)`
    /// times a factor in [0.8, 1.2] drawn by `chance`. If the plugin named a wait, that one counts
    /// instead, up to `retry_after_max`, and is jittered upward only, so that it is never undercut.
    pub fn wait(&self, attempt: u32, retry_after: Option<Duration>, chance: u64) -> Duration {
        match retry_after {
            Some(asked) => scaled(asked.min(self.retry_after_max), 1000 + chance % 201),
            None => {
                let factor = 1_u32.checked_shl(attempt).unwrap_or(u32::MAX);
                scaled(self.base.saturating_mul(factor).min(self.max), 800 + chance % 401)
            }
        }
    }
}

/// `wait` times `per_mille` thousandths.
fn scaled(wait: Duration, per_mille: u64) -> Duration {
    let micros = u64::try_from(wait.as_micros()).unwrap_or(u64::MAX);
    Duration::from_micros((micros / 1000).saturating_mul(per_mille))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_wait_is_exponential_capped_and_jittered(attempt in 1_u32..100, chance: u64) {
            let backoff = Backoff::default();
            let plain = (2_f64.powi(i32::try_from(attempt).unwrap())).min(3600.0);
            let wait = backoff.wait(attempt, None, chance).as_secs_f64();
            prop_assert!(wait >= plain * 0.8 - 0.001 && wait <= plain * 1.2 + 0.001, "{wait} for {plain}");
        }

        #[test]
        fn a_wait_that_was_asked_for_is_never_undercut(secs in 0_u64..100_000, chance: u64) {
            let backoff = Backoff::default();
            let asked = Duration::from_secs(secs).min(backoff.retry_after_max);
            let wait = backoff.wait(1, Some(Duration::from_secs(secs)), chance);
            prop_assert!(wait >= asked && wait <= asked.mul_f64(1.2));
        }
    }

    #[test]
    fn the_jitter_reaches_both_ends() {
        let backoff = Backoff::default();
        assert_eq!(backoff.wait(1, None, 0), Duration::from_millis(1600));
        assert_eq!(backoff.wait(1, None, 400), Duration::from_millis(2400));
    }
}
