//! Through a plugin: payments from the signed request to the delivery that is done, with its output
//! committed. Each runs in an instance of its own. With `--peers`, beside what a team would build today.

use std::{net::SocketAddr, time::Duration};

use hookweir_store::Reader;
use tokio::time::Instant;

use crate::{
    Flags,
    figures::{Rounds, Section},
    load::{Answered, drive},
    process::{Peer, Running, cpu},
    traffic::Traffic,
};

const SECTIONS: &str = "[plugins.payments]\nrate = \"off\"";
const COLUMNS: &[&str] = &[
    "done/s, with the drain",
    "done/s under load",
    "accepted/s",
    "accept p50 ms",
    "accept p99 ms",
    "CPU us/event",
];
/// What the gateway should reach of the peer.
const TARGET: f64 = 10.0;
/// Requests in stock for each second.
const STOCK: u64 = 60_000;
/// How often the books are looked at while the queue drains.
const POLL: Duration = Duration::from_millis(10);
/// How long draining may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// Where events go and where they are counted.
struct Subject {
    name: &'static str,
    address: SocketAddr,
    traffic: Traffic,
    books: Books,
    pids: Vec<u32>,
    figures: Figures,
}

enum Books {
    Store(Reader),
    Peer(Peer, reqwest::Client),
}

#[derive(Default)]
struct Figures {
    through: Rounds,
    under_load: Rounds,
    rate: Rounds,
    p50: Rounds,
    p99: Rounds,
    cpu: Rounds,
}

impl Books {
    async fn done(&self) -> u64 {
        match self {
            Self::Store(reader) => reader.counts().await.unwrap().done,
            Self::Peer(peer, client) => peer.done(client).await,
        }
    }
}

impl Subject {
    /// One round: load, then the drain.
    async fn round(&mut self, flags: &Flags, counted: bool) {
        let stock = self.traffic.stock(STOCK * flags.seconds);
        let (before, used) = (self.books.done().await, cpu(&self.pids));
        let start = Instant::now();
        let answered = drive(self.address, stock, flags.plan()).await;
        let under_load = self.books.done().await - before;
        let loaded = start.elapsed();
        assert_eq!(answered.refused, 0, "{} refused", self.name);
        while self.books.done().await - before < answered.accepted {
            assert!(start.elapsed() < PATIENCE, "{} does not finish", self.name);
            tokio::time::sleep(POLL).await;
        }
        let whole = start.elapsed();
        let used = cpu(&self.pids) - used;
        if counted {
            self.figures.push(&answered, whole, used);
            self.figures.under_load.push(under_load as f64 / loaded.as_secs_f64());
        }
    }
}

impl Figures {
    fn push(&mut self, answered: &Answered, whole: Duration, used: Duration) {
        let accepted = answered.accepted as f64;
        self.through.push(accepted / whole.as_secs_f64());
        self.rate.push(answered.rate());
        self.p50.push(answered.percentile(0.5));
        self.p99.push(answered.percentile(0.99));
        self.cpu.push(used.as_secs_f64() * 1e6 / accepted);
    }

    fn row(self) -> Vec<Rounds> {
        vec![self.through, self.under_load, self.rate, self.p50, self.p99, self.cpu]
    }
}

pub(crate) async fn measure(flags: &Flags) -> Section {
    let running = Running::start(SECTIONS, &["payments"]).await;
    let mut gateway = Subject {
        name: "gateway",
        address: running.house.public,
        traffic: Traffic::payments(running.house.public),
        books: Books::Store(running.house.reader()),
        pids: running.pids(),
        figures: Figures::default(),
    };
    let (mut peer, missing) = peer(flags);
    // The first round warms up and is not counted.
    for round in 0..=flags.rounds {
        gateway.round(flags, round > 0).await;
        if let Some(peer) = &mut peer {
            peer.round(flags, round > 0).await;
        }
    }
    let counts = running.house.reader().counts().await.unwrap();
    assert_eq!((counts.dead, counts.due, counts.outputs), (0, 0, counts.done), "{counts:?}");

    let about = "the `payments` plugin, a fresh instance for each event, one output each";
    let about = missing.map_or(about.to_owned(), |what| format!("{about}\n  NO PEER: {what}"));
    let mut section = Section::new("through a plugin", about, COLUMNS);
    if let Some(peer) = &peer {
        let ratio = gateway.figures.through.over(&peer.figures.through);
        section.ratio("gateway / Express + BullMQ + Redis", ratio, Some(TARGET));
    }
    section.row(gateway.name, gateway.figures.row());
    if let Some(peer) = peer {
        section.row(peer.name, peer.figures.row());
    }
    section
}

/// The peer, or why it is not there.
fn peer(flags: &Flags) -> (Option<Subject>, Option<String>) {
    if !flags.peers {
        return (None, None);
    }
    let peer = match Peer::start() {
        Ok(peer) => peer,
        Err(missing) => return (None, Some(missing)),
    };
    // Node drops connections that were quiet for some seconds, as they are while it works.
    let client = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).build().unwrap();
    let subject = Subject {
        name: "Express + BullMQ + Redis",
        address: peer.address,
        traffic: Traffic::peer_payments(peer.address),
        pids: peer.pids(),
        books: Books::Peer(peer, client),
        figures: Figures::default(),
    };
    (Some(subject), None)
}
