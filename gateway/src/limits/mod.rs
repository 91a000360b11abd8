//! Rate limits at the door: by client address, by refused requests, by source, and of all that is verified.
//!
//! Each is a GCRA (governor): a burst of `count`, refilled evenly. Time is the system's monotonic clock
//! (`std::time::Instant`, which is what governor's default clock is here), so that setting the wall clock
//! neither forgives nor forbids anything. A limit lasts over reloads while its rate stays; one whose rate was
//! changed begins anew, with its whole burst.

mod address;
mod refused;

use std::{num::NonZeroU32, time::Duration};

use governor::{
    Quota, RateLimiter,
    clock::{Clock as _, DefaultClock},
    middleware::StateInformationMiddleware,
    state::{InMemoryState, NotKeyed},
};
use http::{HeaderMap, HeaderValue};

pub(crate) use self::{
    address::{AddressLimit, prefix},
    refused::RefusedLimit,
};
use crate::config::Rate;

/// A limit was reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Limited {
    /// Which limit.
    pub(crate) scope: &'static str,
    /// What it allows.
    pub(crate) rate: Rate,
    /// Until the next request may pass.
    pub(crate) wait: Duration,
}

impl Limited {
    /// Sets the headers of draft-ietf-httpapi-ratelimit-headers.
    pub(crate) fn describe(&self, headers: &mut HeaderMap) {
        if let Some(policy) = policy(self.scope, self.rate) {
            describe(headers, policy, (self.scope, 0, self.wait));
        }
    }
}

/// A request passed a limit; this is what is left of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Allowance {
    scope: &'static str,
    rate: Rate,
    policy: HeaderValue,
    /// Requests that may follow at once.
    left: u32,
}

impl Allowance {
    /// Sets the same headers. They reset when the whole burst is there again, if nothing comes meanwhile.
    pub(crate) fn describe(self, headers: &mut HeaderMap) {
        let spent = self.rate.count.saturating_sub(self.left);
        let reset = period(self.rate).saturating_mul(spent);
        describe(headers, self.policy, (self.scope, self.left, reset));
    }
}

/// `RateLimit-Policy` and `RateLimit` of draft-ietf-httpapi-ratelimit-headers-10: a quota `q` in a window of
/// `w` seconds, of which `r` are left, and `t` seconds until there are more. Rounded up: who came back a
/// second early would only be refused.
fn describe(
    headers: &mut HeaderMap,
    policy: HeaderValue,
    (scope, left, reset): (&str, u32, Duration),
) {
    let reset = reset.as_millis().div_ceil(1000);
    if let Ok(state) = HeaderValue::try_from(format!("\"{scope}\";r={left};t={reset}")) {
        headers.insert("ratelimit-policy", policy);
        headers.insert("ratelimit", state);
    }
}

/// What is allowed, as the first of these headers says it: it is the same for all requests, and made once.
fn policy(scope: &str, rate: Rate) -> Option<HeaderValue> {
    let (quota, window) = (rate.count, rate.per.as_secs());
    HeaderValue::try_from(format!("\"{scope}\";q={quota};w={window}")).ok()
}

fn period(rate: Rate) -> Duration {
    (rate.per / rate.count.max(1)).max(Duration::from_nanos(1))
}

fn quota(rate: Rate) -> Quota {
    let count = NonZeroU32::new(rate.count).unwrap_or(NonZeroU32::MIN);
    let quota = Quota::with_period(period(rate)).expect("invariant: the period is not zero");
    quota.allow_burst(count)
}

type Bucket = RateLimiter<NotKeyed, InMemoryState, DefaultClock, StateInformationMiddleware>;

/// One bucket for verified requests: a source's, or all together.
#[derive(Debug)]
pub(crate) struct VerifiedLimit {
    scope: &'static str,
    rate: Option<Rate>,
    policy: Option<HeaderValue>,
    bucket: Option<Bucket>,
}

impl VerifiedLimit {
    pub(crate) fn new(scope: &'static str, rate: Option<Rate>) -> Self {
        let bucket = |rate| RateLimiter::direct(quota(rate)).with_middleware();
        let policy = rate.and_then(|rate| policy(scope, rate));
        Self { scope, rate, policy, bucket: rate.map(bucket) }
    }

    pub(crate) fn rate(&self) -> Option<Rate> {
        self.rate
    }

    /// What is left after this request; none if there is no limit.
    pub(crate) fn take(&self) -> Result<Option<Allowance>, Limited> {
        let (Some(rate), Some(bucket)) = (self.rate, &self.bucket) else { return Ok(None) };
        match bucket.check() {
            Ok(state) => {
                let left = state.remaining_burst_capacity();
                let policy = self.policy.clone();
                Ok(policy.map(|policy| Allowance { scope: self.scope, rate, policy, left }))
            }
            Err(until) => {
                let wait = until.wait_time_from(DefaultClock::default().now());
                Err(Limited { scope: self.scope, rate, wait })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_rate_nothing_is_limited() {
        let limit = VerifiedLimit::new("source", None);
        assert!((0..10_000).all(|_| limit.take() == Ok(None)));
    }

    #[test]
    fn what_is_left_is_told_and_when_there_is_more() {
        let rate = Rate { count: 3, per: Duration::from_secs(3600) };
        let limit = VerifiedLimit::new("source", Some(rate));
        for (left, reset) in [(2, 1200), (1, 2400), (0, 3600)] {
            let mut headers = HeaderMap::new();
            limit.take().unwrap().unwrap().describe(&mut headers);
            assert_eq!(headers["ratelimit-policy"], "\"source\";q=3;w=3600");
            assert_eq!(headers["ratelimit"], format!("\"source\";r={left};t={reset}"));
        }
        let mut headers = HeaderMap::new();
        let limited = limit.take().unwrap_err();
        assert!(limited.wait > Duration::from_secs(1100), "{limited:?}");
        Limited { wait: Duration::from_millis(1_199_001), ..limited }.describe(&mut headers);
        assert_eq!(headers["ratelimit"], "\"source\";r=0;t=1200");
    }

    /// What the two headers cost each accepted request.
    #[test]
    fn telling_costs_next_to_nothing() {
        let rate = Rate { count: u32::MAX, per: Duration::from_secs(3600) };
        let limit = VerifiedLimit::new("source", Some(rate));
        let (rounds, begun) = (10_000, std::time::Instant::now());
        for _ in 0..rounds {
            let mut headers = HeaderMap::new();
            limit.take().unwrap().unwrap().describe(&mut headers);
            assert_eq!(headers.len(), 2);
        }
        let each = begun.elapsed() / rounds;
        println!("a token and two headers: {each:?}");
    }
}
