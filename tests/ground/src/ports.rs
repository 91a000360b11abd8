//! Ports at which nobody listens.

use std::{
    net::{SocketAddr, TcpListener},
    sync::{
        OnceLock,
        atomic::{AtomicU16, Ordering},
    },
};

/// An address of this machine at which nobody listens: at a port below those that the system gives to outgoing
/// connections (32768 on): else, while a server is down, somebody's connection may take its port, or a client be
/// connected with itself.
pub fn free_port() -> SocketAddr {
    static NEXT: OnceLock<AtomicU16> = OnceLock::new();
    // Test processes that run side by side start apart from one another.
    let start = || AtomicU16::new(u16::try_from(std::process::id() % 199).unwrap() * 100);
    let free = |_| {
        let at = NEXT.get_or_init(start).fetch_add(1, Ordering::Relaxed) % 20_000;
        TcpListener::bind(("127.0.0.1", 10_000 + at)).ok()?.local_addr().ok()
    };
    (0..20_000).find_map(free).unwrap()
}
