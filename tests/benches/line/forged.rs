//! Answers to honest senders beside a flood of forged requests at full speed, and without one.
//!
//! The flood comes from a thread of its own, so that it does not wait for the honest senders; on the same cores. A
//! new gateway for each round. Forgeries come from the honest senders' address, and no limit of refused
//! requests turns them away unread: the worst case, where each has its signature checked.

use std::{
    net::SocketAddr,
    thread::{self, JoinHandle},
};

use crate::{
    Flags,
    figures::{Rounds, Section},
    load::{Answered, Plan, drive},
    process::{Running, cpu},
    traffic::Traffic,
};

const SECTIONS: &str = "[plugins.absent]\nsubscribe = [\"github/push\"]";
const COLUMNS: &[&str] = &["p50 ms", "p99 ms", "p99.9 ms", "forged/s", "gateway CPU, cores"];
/// Honest requests in a second.
const PACE: u32 = 2000;
/// What a flood may make of the p99 at most.
const TARGET: f64 = 1.0 / 3.0;

#[derive(Default)]
struct Figures {
    p50: Rounds,
    p99: Rounds,
    p999: Rounds,
    forged: Rounds,
    cores: Rounds,
}

impl Figures {
    fn push(&mut self, (honest, forged, cores): (Answered, f64, f64)) {
        self.p50.push(honest.percentile(0.5));
        self.p99.push(honest.percentile(0.99));
        self.p999.push(honest.percentile(0.999));
        self.forged.push(forged);
        self.cores.push(cores);
    }

    fn row(self) -> Vec<Rounds> {
        vec![self.p50, self.p99, self.p999, self.forged, self.cores]
    }
}

pub(crate) async fn measure(flags: &Flags) -> Section {
    let (mut quiet, mut flooded) = (Figures::default(), Figures::default());
    for _ in 0..flags.rounds {
        quiet.push(round(flags, false).await);
        flooded.push(round(flags, true).await);
    }
    let about = format!(
        "{PACE} honest requests/s beside forged ones at full speed, by {} connections each",
        flags.connections
    );
    let mut section = Section::new("beside a flood of forged requests", about, COLUMNS);
    section.ratio("p99 quiet / p99 beside it", quiet.p99.over(&flooded.p99), Some(TARGET));
    section.row("quiet", quiet.row());
    section.row("beside the flood", flooded.row());
    section
}

/// The honest answers, forged requests in a second, and how many cores the gateway kept busy.
async fn round(flags: &Flags, flooded: bool) -> (Answered, f64, f64) {
    let running = Running::start(SECTIONS, &[]).await;
    let address = running.house.public;
    let traffic = Traffic::pushes(address);
    let stock = traffic.stock(u64::from(PACE) * (flags.seconds + 1));
    let flood = flooded.then(|| flood(address, flags.plan()));
    let used = cpu(&running.pids());
    let plan = Plan { pace: Some(PACE), ..flags.plan() };
    let honest = drive(address, stock, plan).await;
    let used = cpu(&running.pids()) - used;
    assert_eq!(honest.refused, 0, "an honest request was refused\n{}", running.house.log());
    let forged = flood.map_or(0.0, |flood| {
        let Answered { accepted, refused, elapsed, .. } = flood.join().unwrap();
        assert_eq!(accepted, 0, "a forged request was taken");
        refused as f64 / elapsed.as_secs_f64()
    });
    assert!(!flooded || forged > 1000.0, "there was no flood: {forged}/s");
    let kept = running.house.reader().counts().await.unwrap().events;
    assert_eq!(kept, honest.accepted, "each that was acknowledged is kept, and no other");
    let cores = used.as_secs_f64() / honest.elapsed.as_secs_f64();
    (honest, forged, cores)
}

fn flood(address: SocketAddr, plan: Plan) -> JoinHandle<Answered> {
    let mut stock = Traffic::forgeries(address).stock(1000);
    stock.endless = true;
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(drive(address, stock, plan))
    })
}
