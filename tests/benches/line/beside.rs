//! Answers to senders beside 64 guests that spin, and beside a plugin that has nothing to do.
//!
//! At a steady pace, some 30 % of what the gateway takes: at full speed the load itself would make most of
//! the latency. A new gateway for each round, so that what one leaves in the queue does not meet the next.

use hookweir_store::Counts;

use crate::{
    Flags,
    figures::{Rounds, Section},
    load::{Answered, Plan, drive},
    process::{Running, cpu},
    traffic::{self, Traffic},
};

const SECTIONS: &str = "[plugins.hostile]\nrate = \"off\"\nconcurrency = 64\nbreaker = \"off\"\ncpu = \"10m\"\n\
    timeout = \"10m\"\n[plugins.absent]\nsubscribe = [\"github/push\"]";
const COLUMNS: &[&str] = &["p50 ms", "p99 ms", "p99.9 ms", "gateway CPU, cores"];
/// Requests in a second.
const PACE: u32 = 6000;
/// Events that spin, each for longer than a round.
const SPINS: usize = 64;

#[derive(Default)]
struct Figures {
    p50: Rounds,
    p99: Rounds,
    p999: Rounds,
    cores: Rounds,
}

impl Figures {
    fn push(&mut self, (answered, cores): (Answered, f64)) {
        self.p50.push(answered.percentile(0.5));
        self.p99.push(answered.percentile(0.99));
        self.p999.push(answered.percentile(0.999));
        self.cores.push(cores);
    }

    fn row(self) -> Vec<Rounds> {
        vec![self.p50, self.p99, self.p999, self.cores]
    }
}

pub(crate) async fn measure(flags: &Flags) -> Section {
    let (mut quiet, mut spinning) = (Figures::default(), Figures::default());
    for _ in 0..flags.rounds {
        quiet.push(round(flags, 0).await);
        spinning.push(round(flags, SPINS).await);
    }
    let about = format!("{PACE} requests/s while {SPINS} guests spin without end");
    let mut section = Section::new("beside a spinning plugin", about, COLUMNS);
    section.ratio("p99 quiet / p99 spinning", quiet.p99.over(&spinning.p99), None);
    section.row("quiet", quiet.row());
    section.row("spinning", spinning.row());
    section
}

/// The answers, and how many cores the gateway kept busy meanwhile.
async fn round(flags: &Flags, spins: usize) -> (Answered, f64) {
    let running = Running::start(SECTIONS, &["hostile"]).await;
    let traffic = Traffic::pushes(running.house.public);
    let plan = Plan { pace: Some(PACE), ..flags.plan() };
    traffic::spin(&running.house.sender("test"), spins).await;
    let all = |counts: &Counts| counts.leased >= spins as u64;
    running.house.until("the guests to spin", all).await;
    let stock = traffic.stock(u64::from(PACE) * (flags.seconds + 1));
    let used = cpu(&running.pids());
    let answered = drive(running.house.public, stock, plan).await;
    let used = cpu(&running.pids()) - used;
    assert_eq!(answered.refused, 0, "the gateway refused\n{}", running.house.log());
    let cores = used.as_secs_f64() / answered.elapsed.as_secs_f64();
    assert!(spins == 0 || cores > 0.3, "the plugin did not spin: {cores} cores");
    (answered, cores)
}
