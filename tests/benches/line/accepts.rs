//! Durable accepts: a 202 means that the event, its claims and its delivery are on disk. Beside a
//! server that only checks the signature and answers the same.

use std::net::SocketAddr;

use crate::{
    Flags,
    figures::{Rounds, Section},
    load::{self, Answered, Plan, Stock},
    process::{BARE, Running, Server, cpu},
    traffic::Traffic,
    wrk,
};

/// Routed to a plugin that is not there, so a delivery is written and waits.
const SECTIONS: &str = "[plugins.absent]\nsubscribe = [\"github/push\"]";
const COLUMNS: &[&str] =
    &["accepted/s", "p50 ms", "p99 ms", "server CPU us/request", "commits/s", "accepts/commit"];
/// What the gateway should reach of the bare server: a prototype with the same promises reached it.
const TARGET: f64 = 0.35;
/// Requests in stock for each second: more than the gateway takes, on any machine so far.
const STOCK: u64 = 60_000;

#[derive(Default)]
struct Figures {
    rate: Rounds,
    p50: Rounds,
    p99: Rounds,
    cpu: Rounds,
    commits: Rounds,
    batch: Rounds,
}

impl Figures {
    fn push(&mut self, answered: &Answered, cpu: std::time::Duration) {
        self.rate.push(answered.rate());
        self.p50.push(answered.percentile(0.5));
        self.p99.push(answered.percentile(0.99));
        self.cpu.push(cpu.as_secs_f64() * 1e6 / answered.accepted as f64);
    }

    fn row(self) -> Vec<Rounds> {
        vec![self.rate, self.p50, self.p99, self.cpu, self.commits, self.batch]
    }
}

pub(crate) async fn measure(flags: &Flags) -> Section {
    let gateway = Running::start(SECTIONS, &[]).await;
    let bare = Server::start(BARE);
    let (ours, theirs) = (Traffic::pushes(gateway.house.public), Traffic::pushes(bare.address));
    let (mut durable, mut floor) = (Figures::default(), Figures::default());
    let plan = flags.plan();
    let mut accepted = 0;
    // The first round warms up and is not counted.
    for round in 0..=flags.rounds {
        let stock = ours.stock(STOCK * flags.seconds);
        let (used, commits) = (cpu(&gateway.pids()), gateway.commits());
        let answered = drive(flags, gateway.house.public, stock, plan).await;
        let used = cpu(&gateway.pids()) - used;
        let commits = f64::from(gateway.commits().wrapping_sub(commits));
        assert_eq!(answered.refused, 0, "the gateway refused\n{}", gateway.house.log());
        accepted += answered.accepted;

        let mut stock = theirs.stock(STOCK);
        stock.endless = true;
        let bare_used = cpu(&bare.pids());
        let bare_answered = drive(flags, bare.address, stock, plan).await;
        let bare_used = cpu(&bare.pids()) - bare_used;
        assert_eq!(bare_answered.refused, 0, "the bare server refused");
        if round > 0 {
            durable.push(&answered, used);
            durable.commits.push(commits / answered.elapsed.as_secs_f64());
            durable.batch.push(answered.accepted as f64 / commits);
            floor.push(&bare_answered, bare_used);
        }
    }
    let counts = gateway.house.reader().counts().await.unwrap();
    // wrk goes away without waiting for the last answers.
    let unheard = if flags.wrk { flags.connections * (flags.rounds + 1) } else { 0 };
    let kept = accepted..=accepted + unheard as u64;
    assert!(kept.contains(&counts.events), "{} of {kept:?}: each 202 is an event", counts.events);
    assert_eq!((counts.due, counts.duplicates), (counts.events, 0), "each is new, and waits");

    let generator = if flags.wrk { "wrk" } else { "our own generator" };
    let about =
        format!("durable, deduplicated, routed to one plugin, before the 202; by {generator}");
    let mut section = Section::new("accepts", about, COLUMNS);
    section.ratio("gateway / bare axum", durable.rate.over(&floor.rate), Some(TARGET));
    section.row("gateway", durable.row());
    section.row("bare axum + HMAC", floor.row());
    section
}

async fn drive(flags: &Flags, address: SocketAddr, stock: Stock, plan: Plan) -> Answered {
    if flags.wrk {
        wrk::drive(address, &stock, plan)
    } else {
        load::drive(address, stock, plan).await
    }
}
