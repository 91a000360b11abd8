//! What an address may have refused.
//!
//! There is no such limit for all addresses together: it could only turn away requests before it is known
//! who sent them, and so would let strangers spend what honest senders need.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use governor::clock::{Clock as _, DefaultClock};

use super::{
    AddressLimit, Limited,
    address::{ADDRESSES_MAX, prefix},
};
use crate::config::Rate;

/// How long the addresses that are turned away are let be, when there are as many as may, before it is looked
/// which of them need not be any more.
const SWEEP_PAUSE: Duration = Duration::from_secs(1);

/// Addresses that had too many requests refused. They are turned away unread until their bucket has
/// refilled; an address that is refused nothing is never in the way of anything here. Fails open: when
/// [`ADDRESSES_MAX`] are turned away, more are not.
#[derive(Debug)]
pub(crate) struct RefusedLimit {
    spent: AddressLimit,
    banned: Mutex<Banned>,
    /// The size of `banned`, so that the common case takes no lock.
    any: AtomicUsize,
}

#[derive(Debug, Default)]
struct Banned {
    until: HashMap<IpAddr, Instant>,
    swept: Option<Instant>,
}

impl Banned {
    fn insert(&mut self, client: IpAddr, now: Instant, wait: Duration) {
        let rested = |swept| now.saturating_duration_since(swept) >= SWEEP_PAUSE;
        if self.until.len() >= ADDRESSES_MAX && self.swept.is_none_or(rested) {
            self.until.retain(|_, until| *until > now);
            self.swept = Some(now);
        }
        if self.until.len() < ADDRESSES_MAX {
            self.until.insert(prefix(client), now + wait);
        }
    }
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
        let Some(&until) = banned.until.get(&client) else { return Ok(()) };
        if until > now {
            let wait = until.duration_since(now);
            return Err(Limited { scope: "refused", rate, wait });
        }
        banned.until.remove(&client);
        self.any.store(banned.until.len(), Ordering::Relaxed);
        Ok(())
    }

    /// Counts a refusal.
    pub(crate) fn count(&self, client: IpAddr) {
        let Err(limited) = self.spent.take(client) else { return };
        let now = DefaultClock::default().now();
        let mut banned = self.banned.lock().unwrap_or_else(PoisonError::into_inner);
        banned.insert(client, now, limited.wait);
        self.any.store(banned.until.len(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::address::tests::{flood, tell},
        *,
    };

    const RATE: Rate = Rate { count: 3, per: Duration::from_secs(3600) };

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
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
    fn a_flood_of_addresses_that_are_refused_takes_little_memory_and_bans_no_one_else() {
        // One refusal is allowed in a day: with the second each is turned away, as many as may be.
        let rate = Rate { count: 1, per: Duration::from_secs(86_400) };
        let limit = RefusedLimit::new(Some(rate));
        let honest = address("192.0.2.1");
        for (n, address) in (0_u32..).zip(flood()) {
            limit.count(address);
            limit.count(address);
            if n % 10_000 == 0 {
                assert!(limit.check(honest).is_ok(), "after {n} others");
            }
        }
        let banned = limit.banned.into_inner().unwrap().until;
        assert!((ADDRESSES_MAX - 1..=ADDRESSES_MAX).contains(&banned.len()), "{}", banned.len());
        let bans = banned.capacity() * 8 / 7 * (size_of::<(IpAddr, Instant)>() + 1);
        let bytes = limit.spent.bytes() + bans;
        tell("refusals by address", bytes);
        assert!(bytes < 24 << 20, "{bytes} bytes");
    }
}
