//! Rate limits at the door: by client address, by refused requests, by source.
//!
//! Each is a GCRA (governor): a burst of `count`, refilled evenly. The maps by address are bounded:
//! past [`ADDRESSES_MAX`] new addresses share one bucket, so a flood of addresses costs no memory.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use governor::{
    Quota, RateLimiter,
    clock::{Clock as _, DefaultClock},
    state::{InMemoryState, NotKeyed, keyed::DashMapStateStore},
};
use http::{HeaderMap, HeaderValue};

use crate::config::Rate;

/// Addresses that have a bucket of their own. An entry takes about 60 bytes.
const ADDRESSES_MAX: usize = 100_000;
/// How many requests pass between two looks at the size of the map.
const SWEEP_EVERY: usize = 4096;

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
        let (scope, quota, window) = (self.scope, self.rate.count, self.rate.per.as_secs());
        let reset = self.wait.as_millis().div_ceil(1000);
        let policy = format!("\"{scope}\";q={quota};w={window}");
        let state = format!("\"{scope}\";r=0;t={reset}");
        for (name, value) in [("ratelimit-policy", policy), ("ratelimit", state)] {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        }
    }
}

fn quota(rate: Rate) -> Quota {
    let count = NonZeroU32::new(rate.count).unwrap_or(NonZeroU32::MIN);
    let period = (rate.per / rate.count.max(1)).max(Duration::from_nanos(1));
    Quota::with_period(period).expect("invariant: the period is not zero").allow_burst(count)
}

/// One bucket for a whole source.
#[derive(Debug)]
pub(crate) struct SourceLimit {
    rate: Option<Rate>,
    bucket: Option<RateLimiter<NotKeyed, InMemoryState, DefaultClock>>,
}

impl SourceLimit {
    pub(crate) fn new(rate: Option<Rate>) -> Self {
        Self { rate, bucket: rate.map(|rate| RateLimiter::direct(quota(rate))) }
    }

    pub(crate) fn rate(&self) -> Option<Rate> {
        self.rate
    }

    pub(crate) fn take(&self) -> Result<(), Limited> {
        let (Some(rate), Some(bucket)) = (self.rate, &self.bucket) else { return Ok(()) };
        bucket.check().map_err(|until| {
            let wait = until.wait_time_from(DefaultClock::default().now());
            Limited { scope: "source", rate, wait }
        })
    }
}

type Buckets = RateLimiter<IpAddr, DashMapStateStore<IpAddr>, DefaultClock>;

/// One bucket for each client address.
#[derive(Debug)]
pub(crate) struct AddressLimit {
    scope: &'static str,
    rate: Option<Rate>,
    buckets: Option<Buckets>,
    taken: AtomicUsize,
    crowded: AtomicUsize,
}

impl AddressLimit {
    pub(crate) fn new(scope: &'static str, rate: Option<Rate>) -> Self {
        let buckets = rate.map(|rate| RateLimiter::dashmap(quota(rate)));
        Self { scope, rate, buckets, taken: AtomicUsize::new(0), crowded: AtomicUsize::new(0) }
    }

    pub(crate) fn rate(&self) -> Option<Rate> {
        self.rate
    }

    pub(crate) fn take(&self, client: IpAddr) -> Result<(), Limited> {
        let (Some(rate), Some(buckets)) = (self.rate, &self.buckets) else { return Ok(()) };
        if self.taken.fetch_add(1, Ordering::Relaxed).is_multiple_of(SWEEP_EVERY) {
            buckets.retain_recent();
            self.crowded.store(usize::from(buckets.len() > ADDRESSES_MAX), Ordering::Relaxed);
        }
        let crowded = self.crowded.load(Ordering::Relaxed) == 1;
        let key = if crowded { IpAddr::V6(Ipv6Addr::UNSPECIFIED) } else { prefix(client) };
        buckets.check_key(&key).map_err(|until| {
            let wait = until.wait_time_from(DefaultClock::default().now());
            Limited { scope: self.scope, rate, wait }
        })
    }
}

/// Who holds an IPv6 address holds its /64, so that is what is counted.
pub(crate) fn prefix(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64))),
    }
}

/// Addresses that had too many requests refused. They are turned away unread until their bucket has
/// refilled; an address that is refused nothing is never in the way of anything here.
#[derive(Debug)]
pub(crate) struct RefusedLimit {
    spent: AddressLimit,
    banned: Mutex<HashMap<IpAddr, Instant>>,
    /// The size of `banned`, so that the common case takes no lock.
    any: AtomicUsize,
}

impl RefusedLimit {
    pub(crate) fn new(rate: Option<Rate>) -> Self {
        Self {
            spent: AddressLimit::new("refused", rate),
            banned: Mutex::default(),
            any: AtomicUsize::new(0),
        }
    }

    pub(crate) fn rate(&self) -> Option<Rate> {
        self.spent.rate()
    }

    /// Whether the address may go on.
    pub(crate) fn check(&self, client: IpAddr) -> Result<(), Limited> {
        let Some(rate) = self.rate().filter(|_| self.any.load(Ordering::Relaxed) > 0) else {
            return Ok(());
        };
        let now = DefaultClock::default().now();
        let mut banned = self.banned.lock().unwrap_or_else(PoisonError::into_inner);
        let client = prefix(client);
        let Some(&until) = banned.get(&client) else { return Ok(()) };
        if until > now {
            let wait = until.duration_since(now);
            return Err(Limited { scope: "refused", rate, wait });
        }
        banned.remove(&client);
        self.any.store(banned.len(), Ordering::Relaxed);
        Ok(())
    }

    /// Counts a refusal.
    pub(crate) fn count(&self, client: IpAddr) {
        let Err(limited) = self.spent.take(client) else { return };
        let now = DefaultClock::default().now();
        let mut banned = self.banned.lock().unwrap_or_else(PoisonError::into_inner);
        if banned.len() >= ADDRESSES_MAX {
            banned.retain(|_, until| *until > now);
        }
        if banned.len() < ADDRESSES_MAX {
            banned.insert(prefix(client), now + limited.wait);
        }
        self.any.store(banned.len(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { count: 3, per: Duration::from_secs(3600) };

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_has_its_own_burst() {
        let limit = AddressLimit::new("address", Some(RATE));
        for _ in 0..3 {
            assert!(limit.take(address("192.0.2.1")).is_ok());
        }
        let limited = limit.take(address("192.0.2.1")).unwrap_err();
        assert!(
            limited.wait > Duration::from_secs(1100) && limited.wait <= Duration::from_secs(1200)
        );
        assert!(limit.take(address("192.0.2.2")).is_ok());
    }

    #[test]
    fn a_v6_prefix_and_a_mapped_v4_are_one_address() {
        assert_eq!(prefix(address("2001:db8::1")), prefix(address("2001:db8::ffff:1")));
        assert_ne!(prefix(address("2001:db8::1")), prefix(address("2001:db8:0:1::1")));
        assert_eq!(prefix(address("::ffff:192.0.2.1")), address("192.0.2.1"));
    }

    #[test]
    fn only_refusals_count_against_the_refused_limit() {
        let limit = RefusedLimit::new(Some(RATE));
        let client = address("192.0.2.1");
        for _ in 0..3 {
            limit.count(client);
            assert!(limit.check(client).is_ok(), "the burst is not used up");
        }
        limit.count(client);
        assert_eq!(limit.check(client).unwrap_err().scope, "refused");
        assert!(limit.check(address("192.0.2.2")).is_ok());
    }

    #[test]
    fn without_a_rate_nothing_is_limited() {
        let limit = SourceLimit::new(None);
        assert!((0..10_000).all(|_| limit.take().is_ok()));
    }
}
