//! Ports for gateways that commands start: their configs name them before they listen.

use std::{
    net::{SocketAddr, TcpListener},
    ops::Range,
};

use crate::chance::Chance;

/// Below those that systems give to outgoing connections, and to who binds to any: else somebody has the port
/// before the gateway does. Two demos that were started together met so.
const PORTS: Range<u16> = 30_000..32_768;

/// A port of this machine at which nobody listens. Dropped, it is anybody's, the gateway's first of all.
pub(super) struct Held(TcpListener);

impl Held {
    pub(super) fn find(chance: &Chance) -> Result<Self, String> {
        let count = u64::from(PORTS.end - PORTS.start);
        // Somewhere else each time, so that what was let go is not what the next one finds.
        let first = PORTS.start + u16::try_from(chance.number() % count).unwrap_or(0);
        let all = (first..PORTS.end).chain(PORTS.start..first);
        let free = all.into_iter().find_map(|port| TcpListener::bind(("127.0.0.1", port)).ok());
        free.map(Self).ok_or_else(|| format!("none of the ports {PORTS:?} is free"))
    }

    pub(super) fn address(&self) -> Result<SocketAddr, String> {
        self.0.local_addr().map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_nobody_elses() {
        let held: Vec<_> = (0..50).map(|_| Held::find(&Chance::system()).unwrap()).collect();
        let mut ports: Vec<_> = held.iter().map(|held| held.address().unwrap().port()).collect();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 50);
        assert!(ports.iter().all(|port| PORTS.contains(port)), "{ports:?}");
    }
}
