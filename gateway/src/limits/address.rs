//! One bucket for each client address.
//!
//! Memory is bounded whatever comes: past [`ADDRESSES_MAX`] addresses with a bucket of their own, newcomers
//! share [`SHARED`] more, each by its hash, which a stranger can't foresee. Who has a bucket keeps it, and is
//! not touched by the flood. So this fails open, with a coarser grain: a newcomer is in the way of those few
//! that share its bucket, and of nobody else.

use std::{
    hash::{BuildHasher as _, RandomState},
    net::{IpAddr, Ipv6Addr},
    sync::atomic::{AtomicUsize, Ordering},
};

use governor::{
    RateLimiter,
    clock::{Clock as _, DefaultClock},
    nanos::Nanos,
    state::{
        InMemoryState, NotKeyed, StateStore,
        keyed::{DashMapStateStore, ShrinkableKeyedStateStore},
    },
};

use super::{Limited, quota};
use crate::config::Rate;

/// Addresses that have a bucket of their own. An entry takes about 60 bytes.
pub(super) const ADDRESSES_MAX: usize = 100_000;
/// Buckets that the others share. A million of them are 250 to a bucket.
const SHARED: usize = 4096;
/// How many requests pass between two looks at which buckets are full again, and so need not be kept. Each walks
/// the map, which takes a millisecond or two when it is full.
const SWEEP_EVERY: usize = 32_768;

/// Buckets by address.
#[derive(Debug)]
struct Buckets {
    own: DashMapStateStore<IpAddr>,
    /// The size of `own`, give or take: to ask it takes all its locks.
    count: AtomicUsize,
    shared: Box<[InMemoryState]>,
    hasher: RandomState,
}

impl Buckets {
    fn new() -> Self {
        let shared = std::iter::repeat_with(InMemoryState::default).take(SHARED).collect();
        Self {
            own: Default::default(),
            count: Default::default(),
            shared,
            hasher: RandomState::new(),
        }
    }

    /// What the maps take, in bytes.
    #[cfg(test)]
    fn bytes(&self) -> usize {
        // hashbrown: a byte of control for each slot, of which 7 in 8 may be taken.
        let slot = size_of::<(IpAddr, InMemoryState)>() + 1;
        self.own.capacity() * 8 / 7 * slot + size_of_val(&*self.shared)
    }
}

impl StateStore for Buckets {
    type Key = IpAddr;

    fn measure_and_replace<T, F, E>(&self, key: &Self::Key, measure: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        if let Some(own) = self.own.get(key) {
            return own.measure_and_replace(&NotKeyed::NonKey, measure);
        }
        if self.count.load(Ordering::Relaxed) < ADDRESSES_MAX {
            self.count.fetch_add(1, Ordering::Relaxed);
            let own = self.own.entry(*key).or_default();
            return own.measure_and_replace(&NotKeyed::NonKey, measure);
        }
        let hash = usize::try_from(self.hasher.hash_one(key) % SHARED as u64).unwrap_or_default();
        self.shared[hash].measure_and_replace(&NotKeyed::NonKey, measure)
    }
}

impl ShrinkableKeyedStateStore<IpAddr> for Buckets {
    fn retain_recent(&self, drop_below: Nanos) {
        ShrinkableKeyedStateStore::retain_recent(&self.own, drop_below);
        self.count.store(self.own.len(), Ordering::Relaxed);
    }

    fn len(&self) -> usize {
        self.own.len()
    }

    fn is_empty(&self) -> bool {
        self.own.is_empty()
    }
}

/// A limit for each client address.
#[derive(Debug)]
pub(crate) struct AddressLimit {
    scope: &'static str,
    rate: Option<Rate>,
    buckets: Option<RateLimiter<IpAddr, Buckets, DefaultClock>>,
    taken: AtomicUsize,
}

impl AddressLimit {
    pub(crate) fn new(scope: &'static str, rate: Option<Rate>) -> Self {
        let limiter = |rate| RateLimiter::new(quota(rate), Buckets::new(), DefaultClock::default());
        Self { scope, rate, buckets: rate.map(limiter), taken: AtomicUsize::new(0) }
    }

    pub(crate) fn rate(&self) -> Option<Rate> {
        self.rate
    }

    pub(crate) fn take(&self, client: IpAddr) -> Result<(), Limited> {
        let (Some(rate), Some(buckets)) = (self.rate, &self.buckets) else { return Ok(()) };
        if self.taken.fetch_add(1, Ordering::Relaxed).is_multiple_of(SWEEP_EVERY) {
            buckets.retain_recent();
        }
        buckets.check_key(&prefix(client)).map_err(|until| {
            let wait = until.wait_time_from(DefaultClock::default().now());
            Limited { scope: self.scope, rate, wait }
        })
    }

    /// What it takes, in bytes.
    #[cfg(test)]
    pub(super) fn bytes(self) -> usize {
        self.buckets.map_or(0, |buckets| buckets.into_state_store().bytes())
    }
}

/// Who holds an IPv6 address holds its /64, so that is what is counted.
pub(crate) fn prefix(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64))),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::{net::Ipv4Addr, time::Duration};

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

    pub(in crate::limits) const MILLION: u32 = 1_000_000;

    /// A million of each kind, none of which is another's neighbour.
    pub(in crate::limits) fn flood() -> impl Iterator<Item = IpAddr> {
        let v4 = (0..MILLION).map(|n| IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + n)));
        let v6 = (0..MILLION)
            .map(|n| IpAddr::V6(Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(n) << 64 | 7)));
        v4.chain(v6)
    }

    pub(in crate::limits) fn tell(what: &str, bytes: usize) {
        println!("{what}: {} KiB after 2 million addresses", bytes >> 10);
    }

    #[test]
    fn a_flood_of_addresses_takes_little_memory_and_touches_no_one_else() {
        // None of its buckets is full again within the test: the worst case.
        let rate = Rate { count: 2000, per: Duration::from_secs(86_400) };
        let limit = AddressLimit::new("address", Some(rate));
        let honest = address("192.0.2.1");
        assert!(limit.take(honest).is_ok());
        let mut newcomers = 0;
        for (n, address) in (0_u32..).zip(flood()) {
            // Most of the flood passes: what is bounded by this limit is each address, not all of them.
            newcomers += u32::from(limit.take(address).is_ok());
            if n % 10_000 == 0 {
                assert!(limit.take(honest).is_ok(), "after {n} others");
            }
        }
        assert!(newcomers > 2 * MILLION - MILLION / 10, "honest newcomers too: {newcomers}");
        // What it spent is in its own bucket: 2000 are not left.
        let left = (0..2000).take_while(|_| limit.take(honest).is_ok()).count();
        assert!((1790..1810).contains(&left), "{left}");
        assert!(limit.take(honest).is_err());
        let bytes = limit.bytes();
        tell("buckets by address", bytes);
        assert!(bytes < 16 << 20, "{bytes} bytes");
    }
}
