//! The connections that a listener may have open: so many together, so many of one address, and what became
//! of those that were turned away.

use std::{
    collections::HashMap,
    net::IpAddr,
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::limits::prefix;

/// The connections that a listener may have open. Clones are the same ones.
#[derive(Debug, Clone)]
pub struct Connections(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    most: usize,
    slots: Arc<Semaphore>,
    open: AtomicUsize,
    /// Of addresses that have one open; so it has `most` entries at most.
    by_address: Mutex<HashMap<IpAddr, usize>>,
    turned_away: [AtomicU64; TurnedAway::ALL.len()],
    /// Told when somebody waits for a slot: whoever is idle for longest gives theirs up.
    wanted: Arc<Notify>,
}

/// The place of one connection.
#[derive(Debug)]
pub(super) struct Slot {
    connections: Connections,
    _permit: OwnedSemaphorePermit,
}

/// A connection among those of its address.
#[derive(Debug)]
pub(super) struct Place {
    connections: Connections,
    address: IpAddr,
}

/// Why a connection was closed before there was a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TurnedAway {
    /// Its address may not come at all.
    Denied,
    /// Its address has as many as it may.
    Address,
    /// There was no PROXY header, none that can be read, or it was no trusted proxy.
    Proxy,
    /// There was no TLS handshake, or it failed.
    Handshake,
}

impl TurnedAway {
    /// All there are.
    pub const ALL: [Self; 4] = [Self::Denied, Self::Address, Self::Proxy, Self::Handshake];

    /// The word in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::Address => "address",
            Self::Proxy => "proxy",
            Self::Handshake => "handshake",
        }
    }
}

/// How often who is idle is told again that a slot is wanted.
const ASK_AGAIN: Duration = Duration::from_secs(1);

impl Connections {
    /// So many at most.
    pub fn at_most(most: usize) -> Self {
        Self(Arc::new(Inner {
            most,
            slots: Arc::new(Semaphore::new(most)),
            open: AtomicUsize::new(0),
            by_address: Mutex::default(),
            turned_away: Default::default(),
            wanted: Arc::default(),
        }))
    }

    /// How many are open.
    pub fn open(&self) -> usize {
        self.0.open.load(Ordering::Relaxed)
    }

    /// How many may be.
    pub fn most(&self) -> usize {
        self.0.most
    }

    /// How many were turned away, and why.
    pub fn turned_away(&self) -> impl Iterator<Item = (TurnedAway, u64)> {
        let count = |why| (why, self.0.turned_away[why as usize].load(Ordering::Relaxed));
        TurnedAway::ALL.into_iter().map(count)
    }

    /// Counts one that is turned away.
    pub(super) fn turn_away(&self, why: TurnedAway) {
        self.0.turned_away[why as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// A slot for a connection that has come, once there is one. While there is none, one connection after another
    /// that is idle gives its own up.
    pub(super) async fn slot(&self) -> Slot {
        let permit = match self.0.slots.clone().try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => loop {
                self.0.wanted.notify_one();
                let free = self.0.slots.clone().acquire_owned();
                if let Ok(permit) = tokio::time::timeout(ASK_AGAIN, free).await {
                    // Whoever was told and has not heard it keeps its slot.
                    pin!(self.0.wanted.notified()).enable();
                    break permit.expect("invariant: the slots are never closed");
                }
            },
        };
        self.0.open.fetch_add(1, Ordering::Relaxed);
        Slot { connections: self.clone(), _permit: permit }
    }

    /// Where an idle connection hears that its slot is wanted.
    pub(super) fn wanted(&self) -> Arc<Notify> {
        self.0.wanted.clone()
    }

    /// A place among the connections of this address, of which there may be `most`.
    pub(super) fn of(&self, address: IpAddr, most: Option<usize>) -> Option<Place> {
        let address = prefix(address);
        let mut by_address = self.0.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        let open = by_address.get(&address).copied().unwrap_or_default();
        if most.is_some_and(|most| open >= most) {
            return None;
        }
        by_address.insert(address, open + 1);
        Some(Place { connections: self.clone(), address })
    }

    /// Returns when all are closed.
    pub(super) async fn closed(&self) {
        let all = u32::try_from(self.0.most).unwrap_or(u32::MAX);
        let _ = self.0.slots.acquire_many(all).await;
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.connections.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let by_address = &self.connections.0.by_address;
        let mut by_address = by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = by_address.get_mut(&self.address) {
            *open -= 1;
            if *open == 0 {
                by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_has_so_many_and_gets_them_back() {
        let connections = Connections::at_most(100);
        let of = |text: &str| connections.of(address(text), Some(2));
        let (first, second) = (of("192.0.2.1"), of("192.0.2.1"));
        assert!(first.is_some() && second.is_some());
        assert!(of("192.0.2.1").is_none());
        assert!(of("::ffff:192.0.2.1").is_none(), "the same, mapped");
        let others: Vec<_> = ["192.0.2.2", "2001:db8::1", "2001:db8::2"].map(of).into();
        assert!(others.iter().all(Option::is_some));
        assert!(of("2001:db8::3").is_none(), "a /64 is one");
        assert!(of("2001:db8:0:1::1").is_some());
        drop(first);
        assert!(of("192.0.2.1").is_some());
        drop((second, others));
        assert!(connections.0.by_address.lock().unwrap().is_empty(), "nothing is left of them");
        assert!(connections.of(address("192.0.2.1"), None).is_some());
    }

    #[tokio::test]
    async fn who_is_idle_hears_that_a_slot_is_wanted() {
        let connections = Connections::at_most(1);
        let slot = connections.slot().await;
        let wanted = connections.wanted();
        let idle = async {
            wanted.notified().await;
            drop(slot);
        };
        let (second, ()) = tokio::join!(connections.slot(), idle);
        drop(second);
        connections.closed().await;
    }

    #[tokio::test]
    async fn nobody_hears_of_a_slot_that_is_not_wanted_any_more() {
        let connections = Connections::at_most(1);
        let slot = connections.slot().await;
        let closes = async {
            tokio::task::yield_now().await;
            drop(slot);
        };
        let (_second, ()) = tokio::join!(connections.slot(), closes);
        let wanted = connections.wanted();
        assert!(!pin!(wanted.notified()).enable());
    }
}
