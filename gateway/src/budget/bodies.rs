//! Memory for bodies that are being read, checked, or wait for their commit.
//!
//! A body takes its announced length before its first byte is read, so that one that was begun can be ended:
//! if all grew as they came, a thousand large ones would starve each other halfway. One of unknown length grows
//! in steps that double.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{
    Budget, Lane, Parties, Pool, Shares, Shed,
    share::{Full, Terms},
};
use crate::config::Priority;

/// Bodies up to this size have a lane of their own in each source: however many large ones are about, most
/// webhooks, which have some KiB, find room.
pub(super) const SMALL: u64 = 64 << 10;
/// The first step of a body of unknown length.
const STEP: u64 = 16 << 10;
/// What an address's large bodies weigh: a third of the budget for one that is alone. A source's weigh more, so
/// that no single address takes all that a source may have.
const ADDRESS_HALVES: u64 = 1;

/// The bytes of all bodies.
#[derive(Debug, Default)]
pub struct Bodies {
    pool: Pool,
    /// Those of large ones, by the client's address. No more entries than large bodies have room.
    addresses: Mutex<HashMap<IpAddr, u64>>,
}

impl Bodies {
    /// How many there are.
    pub fn held(&self) -> u64 {
        self.pool.held()
    }

    /// Leave to read one request's body, of nothing yet. `most` are the bytes of all bodies together.
    pub(crate) fn hold(
        parties: Parties,
        client: IpAddr,
        (most, priority): (u64, Priority),
    ) -> Hold {
        let (budget, shares) = parties;
        let terms = Terms { most, halves: priority.halves(), assured: 0 };
        Hold { budget, shares, client, terms, large: false, bytes: 0, aside: 0 }
    }

    fn addresses(&self) -> MutexGuard<'_, HashMap<IpAddr, u64>> {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_for(&self, client: IpAddr, more: u64, terms: &Terms) -> Result<(), Shed> {
        let mut addresses = self.addresses();
        let own = addresses.get(&client).copied().unwrap_or_default();
        let terms = Terms { halves: ADDRESS_HALVES, ..*terms };
        match terms.allow(self.pool.held(), own, more) {
            Ok(()) => _ = addresses.insert(client, own + more),
            Err(Full::All) => return Err(Shed::Memory),
            Err(Full::Own) => return Err(Shed::MemoryAddress),
        }
        Ok(())
    }

    fn give_back_for(&self, client: IpAddr, size: u64) {
        let mut addresses = self.addresses();
        if let Some(own) = addresses.get_mut(&client) {
            *own = own.saturating_sub(size);
            if *own == 0 {
                addresses.remove(&client);
            }
        }
    }
}

/// The memory of one body. Given back when dropped.
#[derive(Debug)]
pub(crate) struct Hold {
    budget: Arc<Budget>,
    shares: Arc<Shares>,
    client: IpAddr,
    terms: Terms,
    large: bool,
    /// All that it has.
    bytes: u64,
    /// What of it is not for the body as it is sent.
    aside: u64,
}

impl Hold {
    /// Has room for so many bytes at least, now or not at all; what it had it keeps.
    pub(crate) fn reserve(&mut self, bytes: u64) -> Result<(), Shed> {
        let bytes = bytes.saturating_add(self.aside);
        if bytes <= self.bytes {
            return Ok(());
        }
        let large = bytes > SMALL;
        // One that has become large moves to the other lane with all that it has.
        let more = if large == self.large { bytes - self.bytes } else { bytes };
        let bodies = &self.budget.bodies;
        if large {
            bodies.take_for(self.client, more, &self.terms)?;
        }
        if let Err(full) = bodies.pool.take(self.lane(large), more, &self.terms) {
            if large {
                bodies.give_back_for(self.client, more);
            }
            return Err(match full {
                Full::All => Shed::Memory,
                Full::Own => Shed::MemoryShare,
            });
        }
        if large != self.large {
            bodies.pool.give_back(self.lane(self.large), self.bytes);
        }
        (self.large, self.bytes) = (large, bytes);
        Ok(())
    }

    /// The same for a body of unknown length that has grown to so many bytes, of `max` at most.
    pub(crate) fn grow(&mut self, bytes: u64, max: u64) -> Result<(), Shed> {
        match bytes.saturating_add(self.aside) <= self.bytes {
            true => Ok(()),
            false => self.reserve(bytes.next_power_of_two().max(STEP).min(max).max(bytes)),
        }
    }

    /// Has room for so many bytes beside those of the body as it is sent, now or not at all.
    pub(crate) fn set_aside(&mut self, bytes: u64) -> Result<(), Shed> {
        self.aside = bytes;
        self.reserve(0)
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
        if spare == 0 {
            return;
        }
        let bodies = &self.budget.bodies;
        bodies.pool.give_back(self.lane(self.large), spare);
        if self.large {
            bodies.give_back_for(self.client, spare);
        }
        self.bytes -= spare;
    }

    fn lane(&self, large: bool) -> &Lane {
        if large { &self.shares.large } else { &self.shares.small }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.keep(0);
    }
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
        fn hold(&self, client: u8, bytes: u64) -> Result<Hold, Shed> {
            let parties = (self.budget.clone(), self.shares.clone());
            let client = IpAddr::from([192, 0, 2, client]);
            let mut hold = Bodies::hold(parties, client, (MOST, Priority::Normal));
            hold.reserve(bytes).map(|()| hold)
        }
    }

    #[test]
    fn large_bodies_leave_room_for_small_ones_and_for_other_sources() {
        let house = House { budget: Arc::default(), shares: Arc::default() };
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
        let house = House { budget: Arc::default(), shares: Arc::default() };
        let _held: Vec<_> = (0..2).map(|_| house.hold(1, LARGE).unwrap()).collect();
        assert_eq!(house.hold(1, LARGE).unwrap_err(), Shed::MemoryAddress);
        assert!(house.hold(2, LARGE).is_ok());
    }

    #[test]
    fn one_of_unknown_length_grows_in_steps_and_keeps_what_it_has() {
        let house = House { budget: Arc::default(), shares: Arc::default() };
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
        hold.reserve(100_000).unwrap();
        hold.shrink(80_000);
        assert_eq!(house.budget.bodies.held(), 280_000);
        hold.settle(150_000);
        assert_eq!(house.budget.bodies.held(), 150_000);
    }
}
