//! Rate limits at the door: by client address, by refused requests, by source, and of all that is verified; and the
//! rates that gateways share, of which plugins have one too.
//!
//! Each has a burst of `count`, refilled evenly: those by address are GCRAs (governor) of this gateway's own, the others
//! buckets of the part that it has. Time is the system's monotonic clock
//! (`std::time::Instant`, which is what governor's default clock is here), so that setting the wall clock
//! neither forgives nor forbids anything. A limit lasts over reloads while its rate stays; one whose rate was
//! changed begins anew, with its whole burst.

mod address;
mod bucket;
mod refused;
mod shared;

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use governor::{
    Quota,
    clock::{Clock as _, DefaultClock},
};
use http::{HeaderMap, HeaderValue};

pub(crate) use self::{
    address::{AddressLimit, prefix},
    refused::RefusedLimit,
    shared::{Asked, Left, SharedRate, SharedRates, Short},
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

/// A request passed a limit; this is what is left of it, here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Allowance {
    scope: &'static str,
    policy: HeaderValue,
    left: Left,
}

impl Allowance {
    /// Sets the same headers. They reset when the whole burst is there again, if nothing comes meanwhile.
    pub(crate) fn describe(self, headers: &mut HeaderMap) {
        let Left { count, reset } = self.left;
        describe(headers, self.policy, (self.scope, count, reset));
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

/// One limit for verified requests: a source's, or of all together.
#[derive(Debug)]
pub(crate) struct VerifiedLimit {
    scope: &'static str,
    policy: Option<HeaderValue>,
    shared: Option<Arc<SharedRate>>,
}

/// Why a verified request does not pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NotPassed {
    /// It is one too many.
    Limited(Limited),
    /// Nobody knows how many the other gateways let through.
    OutOfTouch,
}

impl VerifiedLimit {
    /// The limit of this name among all gateways. It goes on where it was, if there was one.
    pub(crate) fn new(
        scope: &'static str,
        name: &str,
        rate: Option<Rate>,
        rates: &SharedRates,
    ) -> Self {
        let policy = rate.and_then(|rate| policy(scope, rate));
        let now = DefaultClock::default().now();
        Self { scope, policy, shared: rate.map(|rate| rates.rate(name, rate, now)) }
    }

    /// What is left after this request; none if there is no limit.
    pub(crate) fn take(&self) -> Result<Option<Allowance>, NotPassed> {
        let Some(shared) = &self.shared else { return Ok(None) };
        match shared.take(DefaultClock::default().now()) {
            Ok(left) => {
                let policy = self.policy.clone();
                Ok(policy.map(|policy| Allowance { scope: self.scope, policy, left }))
            }
            Err(Short::Wait(wait)) => {
                let (scope, rate) = (self.scope, shared.rate());
                Err(NotPassed::Limited(Limited { scope, rate, wait }))
            }
            Err(Short::OutOfTouch) => Err(NotPassed::OutOfTouch),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(rate: Option<Rate>) -> VerifiedLimit {
        VerifiedLimit::new("source", "source/github", rate, &SharedRates::alone())
    }

    #[test]
    fn without_a_rate_nothing_is_limited() {
        let limit = limit(None);
        assert!((0..10_000).all(|_| limit.take() == Ok(None)));
    }

    #[test]
    fn what_is_left_is_told_and_when_there_is_more() {
        let rate = Rate { count: 3, per: Duration::from_secs(3600) };
        let limit = limit(Some(rate));
        for (left, reset) in [(2, 1200), (1, 2400), (0, 3600)] {
            let mut headers = HeaderMap::new();
            limit.take().unwrap().unwrap().describe(&mut headers);
            assert_eq!(headers["ratelimit-policy"], "\"source\";q=3;w=3600");
            assert_eq!(headers["ratelimit"], format!("\"source\";r={left};t={reset}"));
        }
        let mut headers = HeaderMap::new();
        let NotPassed::Limited(limited) = limit.take().unwrap_err() else { panic!("in touch") };
        assert!(limited.wait > Duration::from_secs(1100), "{limited:?}");
        Limited { wait: Duration::from_millis(1_199_001), ..limited }.describe(&mut headers);
        assert_eq!(headers["ratelimit"], "\"source\";r=0;t=1200");
    }

    /// What the two headers cost each accepted request.
    #[test]
    fn telling_costs_next_to_nothing() {
        let rate = Rate { count: u32::MAX, per: Duration::from_secs(3600) };
        let limit = limit(Some(rate));
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
