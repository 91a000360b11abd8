//! Memory for requests that are being read, checked, or wait for their commit: for their headers, and for their
//! bodies.
//!
//! A large body takes its announced length before its first byte is read, so that one that was begun can be ended:
//! if all grew as they came, a thousand large ones would starve each other halfway. A small one, and one of unknown
//! length, grows as it comes, in steps that double: who only announces holds nothing.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{
    Budget, Lane, Parties, Pool, Shares, Shed,
    share::{Full, Terms},
};
use crate::{config::Priority, limits::prefix};

/// Bodies up to this size have a lane of their own in each source: however many large ones are about, most
/// webhooks, which have some KiB, find room.
pub(crate) const SMALL: u64 = 64 << 10;
/// The first step of a body of unknown length.
const STEP: u64 = 16 << 10;
/// What an address's large bodies weigh, in quarters: a third of the budget for one that is alone. A source's weigh
/// more, so that no single address takes all that a source may have.
const ADDRESS_LARGE: u64 = 2;
/// The same for its headers and small bodies: a fifth, which is less than what a source of low priority may have.
const ADDRESS_SMALL: u64 = 1;

/// The bytes of all bodies, and of the headers before them.
#[derive(Debug, Default)]
pub struct Bodies {
    pool: Pool,
    /// Those by the client's address. No more entries than requests have room.
    addresses: Mutex<HashMap<IpAddr, Own>>,
}

/// What the requests of one address have.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Own {
    small: u64,
    large: u64,
}

impl Own {
    fn part(&mut self, large: bool) -> &mut u64 {
        if large { &mut self.large } else { &mut self.small }
    }
}

impl Bodies {
    /// How many there are.
    pub fn held(&self) -> u64 {
        self.pool.held()
    }

    /// Leave to read one request's body, of nothing yet, with the memory of its headers, of `head` bytes. `most` are
    /// the bytes of all requests together.
    pub(crate) fn hold(
        (budget, shares): Parties,
        (client, head): (IpAddr, u64),
        (most, priority): (u64, Priority),
    ) -> Result<Hold, Shed> {
        let terms = Terms { most, quarters: priority.quarters(), assured: 0 };
        let client = prefix(client);
        let mut hold =
            Hold { budget, shares, client, terms, head: 0, large: false, bytes: 0, aside: 0 };
        hold.exchange(false, head)?;
        (hold.head, hold.bytes) = (head, 0);
        Ok(hold)
    }

    fn addresses(&self) -> MutexGuard<'_, HashMap<IpAddr, Own>> {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The memory of one request. Given back when dropped.
#[derive(Debug)]
pub(crate) struct Hold {
    budget: Arc<Budget>,
    shares: Arc<Shares>,
    /// The address, or its /64.
    client: IpAddr,
    terms: Terms,
    /// What its headers have, among the small ones whatever its body is.
    head: u64,
    large: bool,
    /// All that its body has.
    bytes: u64,
    /// What of it is not for the body as it is sent.
    aside: u64,
}

impl Hold {
    /// So many bytes are announced: there is room for a large body now, or not at all. A small one has room as it
    /// comes.
    pub(crate) fn announce(&mut self, bytes: u64) -> Result<(), Shed> {
        if bytes > SMALL { self.reserve(bytes) } else { Ok(()) }
    }

    /// Has room for so many bytes at least, now or not at all; what it had it keeps.
    fn reserve(&mut self, bytes: u64) -> Result<(), Shed> {
        let bytes = bytes.saturating_add(self.aside);
        match bytes <= self.bytes {
            true => Ok(()),
            // One that has become large moves to the other lane with all that it has.
            false => self.exchange(bytes > SMALL, bytes),
        }
    }

    /// Has so many bytes for its body in place of those that it had, now or not at all. What it has itself counts as
    /// free: whatever one body may have, it may also grow to.
    fn exchange(&mut self, large: bool, bytes: u64) -> Result<(), Shed> {
        let bodies = &self.budget.bodies;
        let mut addresses = bodies.addresses();
        let mut own = addresses.get(&self.client).copied().unwrap_or_default();
        *own.part(self.large) -= self.bytes;
        let quarters = if large { ADDRESS_LARGE } else { ADDRESS_SMALL };
        let others = bodies.pool.held().saturating_sub(self.head + self.bytes);
        let terms = Terms { quarters, ..self.terms };
        let allowed = terms.allow(others, *own.part(large), bytes);
        allowed.map_err(|full| shed(full, Shed::MemoryAddress))?;
        let (had, wanted) = ((self.lane(self.large), self.bytes), (self.lane(large), bytes));
        let taken = bodies.pool.exchange(had, wanted, self.head, &self.terms);
        taken.map_err(|full| shed(full, Shed::MemoryShare))?;
        *own.part(large) += bytes;
        note(&mut addresses, self.client, own);
        drop(addresses);
        (self.large, self.bytes) = (large, bytes);
        Ok(())
    }

    /// The same as [`Self::reserve`] for a body that has grown to so many bytes, of `max` at most.
    pub(crate) fn grow(&mut self, bytes: u64, max: u64) -> Result<(), Shed> {
        match bytes.saturating_add(self.aside) <= self.bytes {
            true => Ok(()),
            false => self.reserve(bytes.next_power_of_two().max(STEP).min(max).max(bytes)),
        }
    }

    /// Has room for so many bytes beside those of the body as it is sent, now or not at all.
    pub(crate) fn set_aside(&mut self, bytes: u64) -> Result<(), Shed> {
        let sent = self.bytes - self.aside;
        self.aside = bytes;
        self.reserve(sent)
    }

    /// Bytes that there is room for, of the body as it is sent.
    pub(crate) fn room(&self) -> usize {
        usize::try_from(self.bytes.saturating_sub(self.aside)).unwrap_or(usize::MAX)
    }

    /// Gives back what is beyond so many bytes of the body as it is sent.
    pub(crate) fn shrink(&mut self, bytes: u64) {
        self.keep(bytes.saturating_add(self.aside));
    }

    /// The body is as it is to be, of so many bytes: gives back what is beyond them.
    pub(crate) fn settle(&mut self, bytes: u64) {
        self.aside = 0;
        self.keep(bytes);
    }

    fn keep(&mut self, bytes: u64) {
        let spare = self.bytes.saturating_sub(bytes);
        self.give_back(self.large, spare);
        self.bytes -= spare;
    }

    fn give_back(&self, large: bool, size: u64) {
        if size == 0 {
            return;
        }
        let bodies = &self.budget.bodies;
        let mut addresses = bodies.addresses();
        bodies.pool.give_back(self.lane(large), size);
        let mut own = addresses.get(&self.client).copied().unwrap_or_default();
        let part = own.part(large);
        *part = part.saturating_sub(size);
        note(&mut addresses, self.client, own);
    }

    fn lane(&self, large: bool) -> &Lane {
        if large { &self.shares.large } else { &self.shares.small }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.keep(0);
        self.give_back(false, self.head);
    }
}

fn shed(full: Full, own: Shed) -> Shed {
    match full {
        Full::All => Shed::Memory,
        Full::Own => own,
    }
}

/// Notes what an address has, as long as it has anything.
fn note(addresses: &mut HashMap<IpAddr, Own>, client: IpAddr, own: Own) {
    match own == Own::default() {
        true => addresses.remove(&client),
        false => addresses.insert(client, own),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: u64 = 64 << 20;
    const LARGE: u64 = 10_000_000;

    struct House {
        budget: Arc<Budget>,
        shares: Arc<Shares>,
    }

    impl House {
        fn new() -> Self {
            Self { budget: Arc::default(), shares: Arc::default() }
        }

        fn from(
            &self,
            client: impl Into<IpAddr>,
            (head, priority): (u64, Priority),
        ) -> Result<Hold, Shed> {
            let parties = (self.budget.clone(), self.shares.clone());
            Bodies::hold(parties, (client.into(), head), (MOST, priority))
        }

        fn hold(&self, client: u8, bytes: u64) -> Result<Hold, Shed> {
            let mut hold = self.from([192, 0, 2, client], (0, Priority::Normal))?;
            hold.reserve(bytes).map(|()| hold)
        }
    }

    #[test]
    fn large_bodies_leave_room_for_small_ones_and_for_other_sources() {
        let house = House::new();
        let mut holds: Vec<_> = (0..100).filter_map(|n| house.hold(n, LARGE).ok()).collect();
        assert_eq!(holds.len(), 3, "half of the budget");
        assert_eq!(house.hold(200, LARGE).unwrap_err(), Shed::MemoryShare);
        let other = House { shares: Arc::default(), budget: house.budget.clone() };
        assert!(other.hold(200, LARGE).is_ok(), "another source's");
        let small: Vec<_> = (0..100).map(|_| house.hold(1, 8 << 10).unwrap()).collect();
        assert_eq!(other.budget.bodies.held(), 3 * LARGE + (800 << 10));
        holds.pop();
        assert!(house.hold(200, LARGE).is_ok(), "one has ended");
        drop((holds, small));
        assert_eq!((other.budget.bodies.held(), house.shares.body_bytes()), (0, 0));
        assert!(other.budget.bodies.addresses().is_empty());
    }

    #[test]
    fn one_address_does_not_take_all_that_a_source_may_have() {
        let house = House::new();
        let _held: Vec<_> = (0..2).map(|_| house.hold(1, LARGE).unwrap()).collect();
        assert_eq!(house.hold(1, LARGE).unwrap_err(), Shed::MemoryAddress);
        assert!(house.hold(2, LARGE).is_ok());
    }

    #[test]
    fn one_of_unknown_length_grows_in_steps_and_keeps_what_it_has() {
        let house = House::new();
        let mut hold = house.hold(1, 0).unwrap();
        for (bytes, held) in [(1, STEP), (STEP, STEP), (STEP + 1, 2 * STEP), (90_000, 100_000)] {
            hold.grow(bytes, 100_000).unwrap();
            assert_eq!(house.budget.bodies.held(), held, "at {bytes}");
        }
        assert_eq!(hold.grow(MOST, MOST).unwrap_err(), Shed::MemoryAddress);
        assert_eq!((house.budget.bodies.held(), house.shares.body_bytes()), (100_000, 100_000));
        hold.shrink(90_000);
        assert_eq!(house.shares.large.held(), 90_000);
        hold.set_aside(200_000).unwrap();
        assert_eq!(house.budget.bodies.held(), 290_000);
        hold.shrink(80_000);
        assert_eq!(house.budget.bodies.held(), 280_000);
        hold.settle(150_000);
        assert_eq!(house.budget.bodies.held(), 150_000);
    }

    #[test]
    fn who_announces_small_bodies_holds_nothing_before_they_come() {
        let house = House::new();
        let announced: Vec<_> = (0..10_000)
            .map(|_| {
                let mut hold = house.hold(1, 0).unwrap();
                hold.announce(SMALL).unwrap();
                hold
            })
            .collect();
        assert_eq!(house.budget.bodies.held(), 0, "for {} of them", announced.len());
        let mut hold = house.hold(1, 0).unwrap();
        hold.grow(1, 100).unwrap();
        assert_eq!(
            (hold.room(), house.budget.bodies.held()),
            (100, 100),
            "it has no more than 100"
        );
        hold.announce(LARGE).unwrap();
        assert_eq!(house.budget.bodies.held(), LARGE, "this one must not fail halfway");
    }

    #[test]
    fn one_address_leaves_room_for_the_small_bodies_of_others() {
        for priority in [Priority::Low, Priority::Normal, Priority::High] {
            let house = House::new();
            let small = |client: u8| {
                let mut hold = house.from([192, 0, 2, client], (1000, priority))?;
                hold.grow(SMALL, SMALL).map(|()| hold)
            };
            let held: Vec<_> = std::iter::from_fn(|| small(1).ok()).collect();
            let bytes = house.budget.bodies.held();
            assert!((MOST / 6..MOST / 4).contains(&bytes), "a fifth: {bytes} of {}", held.len());
            assert_eq!(small(1).unwrap_err(), Shed::MemoryAddress);
            assert!(small(2).is_ok(), "{priority:?}");
            drop(held);
            // Headers alone likewise.
            let headers = || house.from([192, 0, 2, 1], (1000, priority)).ok();
            let held: Vec<_> = std::iter::from_fn(headers).collect();
            assert_eq!(house.budget.bodies.held(), 1000 * held.len() as u64);
            assert!(small(2).is_ok(), "{priority:?}");
        }
    }

    #[test]
    fn the_addresses_of_one_prefix_are_one() {
        let house = House::new();
        let large = |client: &str| {
            let mut hold = house.from(client.parse::<IpAddr>().unwrap(), (0, Priority::Normal))?;
            hold.announce(LARGE).map(|()| hold)
        };
        let _held = [large("2001:db8::1").unwrap(), large("2001:db8::2").unwrap()];
        assert_eq!(large("2001:db8::3").unwrap_err(), Shed::MemoryAddress);
        assert!(large("2001:db8:0:1::3").is_ok(), "another's");
    }

    /// What the config lets a source have: half of the memory, or a quarter where it is unpacked.
    #[test]
    fn the_largest_body_that_is_allowed_finds_room_when_it_is_alone() {
        for priority in [Priority::Low, Priority::Normal, Priority::High] {
            let house = House::new();
            let mut hold = house.from([192, 0, 2, 1], (1000, priority)).unwrap();
            for bytes in (0..=MOST / 2).step_by(10_000).chain([MOST / 2]) {
                hold.grow(bytes, MOST / 2).unwrap();
            }
            assert_eq!(house.budget.bodies.held(), 1000 + MOST / 2);
            assert!(hold.grow(MOST / 2 + 1, MOST).is_err(), "there is a limit");
            drop(hold);
            let mut hold = house.from([192, 0, 2, 1], (1000, priority)).unwrap();
            hold.set_aside(MOST / 4).unwrap();
            hold.announce(MOST / 4).unwrap();
            assert_eq!(house.budget.bodies.held(), 1000 + MOST / 2);
            drop(hold);
            assert_eq!((house.budget.bodies.held(), house.shares.body_bytes()), (0, 0));
            assert!(house.budget.bodies.addresses().is_empty());
        }
    }
}
