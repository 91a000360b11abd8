//! A soak at four fifths of what the machine can do: first for how much that is, then for `--soak` seconds.

use std::time::Duration;

use hookweir_tests::{
    soak::{self, Plan, Report},
    world::World,
};

use crate::{
    Flags,
    figures::{Rounds, Section},
    process::Running,
};

/// How long capacity is measured.
const TRIAL: Duration = Duration::from_secs(10);
/// Connections of each source.
const CONNECTIONS: usize = 3;
/// What the soak has of it.
const SHARE: f64 = 0.8;

const COLUMNS: &[&str] = &[
    "acknowledged",
    "per second",
    "p50 ms",
    "p99 ms",
    "p99.9 ms",
    "drain s",
    "resident MiB, 2nd quarter",
    "last quarter",
];

pub(crate) async fn measure(flags: &Flags) -> Section {
    let trial = run(Plan { time: TRIAL, pace: None, connections: CONNECTIONS }).await;
    // What is acknowledged must be handled, too.
    let whole = trial.sending + trial.draining;
    let capacity = trial.accepted as f64 / whole.as_secs_f64();
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate")]
    let pace = (capacity * SHARE) as u32;
    let time = Duration::from_secs(flags.soak);
    let soaked = run(Plan { time, pace: Some(pace), connections: CONNECTIONS }).await;
    println!("{soaked}");
    let about = format!(
        "{} sources, mixed faults, a server downstream that is down: nothing acknowledged is lost",
        soak::SOURCES
    );
    let mut section = Section::new("soak", about, COLUMNS);
    section.row("as fast as it goes, to find the limit", figures(&trial));
    section.row("at four fifths of that", figures(&soaked));
    section
}

async fn run(plan: Plan) -> Report {
    let down = World::start("127.0.0.1").await;
    let sections = soak::config(down.address);
    let running = Running::start(&sections, &["hostile", "reach"]).await;
    soak::run(&running.house, &running.gateway, &down, plan).await
}

fn figures(report: &Report) -> Vec<Rounds> {
    let [before, after] = report.memory().map(|bytes| (bytes >> 20) as f64);
    let figures = [
        report.accepted as f64,
        report.accepted as f64 / report.sending.as_secs_f64(),
        report.percentile(0.5),
        report.percentile(0.99),
        report.percentile(0.999),
        report.draining.as_secs_f64(),
        before,
        after,
    ];
    let one = |figure| {
        let mut rounds = Rounds::default();
        rounds.push(figure);
        rounds
    };
    figures.map(one).into()
}
