//! The line measured end to end, through the real HTTP port of the real gateway:
//! `cargo bench -p hookweir-tests` (`-- --help` for its flags).
//!
//! Everything shares this machine's cores, so what counts are ratios between subjects that took turns
//! in one run; the figures behind them move with the machine. Never run as a test: a busy machine
//! would fail it.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark")]
#![allow(clippy::cast_precision_loss, reason = "no figure here needs more than three digits")]

mod accepts;
mod beside;
mod calls;
mod compile;
mod cost;
mod forged;
mod languages;
mod load;
mod metrics;
mod process;
mod sink;
mod soak;
mod start;
mod swaps;
mod through;
mod traces;
mod traffic;
mod wrk;

use std::time::Duration;

use clap::{Parser, ValueEnum};
use hookweir_ground::figures;
use serde_json::json;

use self::{figures::Section, load::Plan};

/// Measures the line: ratios first, then what they were made of, as median [least-most] of the rounds.
#[derive(Debug, Parser)]
#[command(name = "cargo bench -p hookweir-tests --", max_term_width = 100)]
struct Flags {
    /// What to measure; everything but `languages` and `soak`, if nothing is named
    parts: Vec<Part>,
    /// Length of one round
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// Rounds; the subjects take turns in each
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Length of the soak, in seconds
    #[arg(long, default_value_t = 600)]
    soak: u64,
    /// Connections of the load generator
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Also measures what a team would build today (tests/peers/README.md says what that needs)
    #[arg(long)]
    peers: bool,
    /// Loads `accepts` with wrk, which must be installed
    #[arg(long)]
    wrk: bool,
    /// One JSON object in place of the tables
    #[arg(long)]
    json: bool,
    /// Cargo says so
    #[arg(long, hide = true)]
    bench: bool,
    /// Is the bare server, for another process of this benchmark
    #[arg(long, hide = true)]
    serve_bare: bool,
    /// Is the collector of traces, for another process of this benchmark
    #[arg(long, hide = true)]
    serve_sink: bool,
    /// Compiles one module, for another process of this benchmark
    #[arg(long, hide = true)]
    compile: Option<String>,
}

/// A part of the benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Durable accepts, beside a bare server that keeps nothing
    Accepts,
    /// Events through a plugin, from the signature to done; with --peers, beside the peer
    Through,
    /// Answers beside 64 guests that spin, beside a quiet gateway
    Beside,
    /// Answers to honest senders beside a flood of forged requests
    Forged,
    /// Accepts, and events through a plugin, with metrics and without, in turns
    Metrics,
    /// Events through a plugin, with traces that go to a collector and without, in turns
    Traces,
    /// One call of a plugin: native, in a kept instance, in a fresh one
    Calls,
    /// How long a swap takes, and what an idle plugin costs
    Swaps,
    /// From the start of the process to ready, and the size of the binary
    Start,
    /// What the compiler takes for modules made to hurt it
    Compile,
    /// A plugin in Rust, JavaScript and Python (`cargo ci --only languages` builds them)
    Languages,
    /// Ten minutes near the machine's limit, with faults of all kinds; see --soak
    Soak,
}

impl Flags {
    /// Everything is all that needs no more than this workspace.
    fn measures(&self, part: Part) -> bool {
        let by_name = matches!(part, Part::Languages | Part::Soak);
        self.parts.contains(&part) || (self.parts.is_empty() && !by_name)
    }

    fn time(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    /// As fast as answers come.
    fn plan(&self) -> Plan {
        Plan { connections: self.connections, time: self.time(), pace: None }
    }
}

fn main() {
    let flags = Flags::parse();
    if flags.serve_bare {
        return process::serve_bare();
    }
    if flags.serve_sink {
        return sink::serve();
    }
    if let Some(shape) = &flags.compile {
        return compile::compile(shape);
    }
    // One thread: the load generator must not take more of the machine than it needs.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(measure(&flags));
}

async fn measure(flags: &Flags) {
    let configuration = configuration(flags);
    if !flags.json {
        println!("{configuration}");
    }
    let mut sections = Vec::new();
    let mut show = |section: Section| {
        if !flags.json {
            print!("{section}");
        }
        sections.push(section.json());
    };
    if flags.measures(Part::Accepts) {
        show(accepts::measure(flags).await);
    }
    if flags.measures(Part::Through) {
        show(through::measure(flags).await);
    }
    if flags.measures(Part::Beside) {
        show(beside::measure(flags).await);
    }
    if flags.measures(Part::Forged) {
        show(forged::measure(flags).await);
    }
    if flags.measures(Part::Metrics) {
        metrics::measure(flags).await.into_iter().for_each(&mut show);
    }
    if flags.measures(Part::Traces) {
        show(traces::measure(flags).await);
    }
    if flags.measures(Part::Calls) {
        calls::measure(flags).await.into_iter().for_each(&mut show);
    }
    if flags.measures(Part::Swaps) {
        show(swaps::measure(flags).await);
    }
    if flags.measures(Part::Start) {
        show(start::measure(flags).await);
    }
    if flags.measures(Part::Compile) {
        show(compile::measure(flags));
    }
    if flags.measures(Part::Languages) {
        languages::measure(flags).await.into_iter().for_each(&mut show);
    }
    if flags.measures(Part::Soak) {
        show(soak::measure(flags).await);
    }
    if flags.json {
        println!("{}", json!({ "configuration": configuration, "sections": sections }));
    }
}

fn configuration(flags: &Flags) -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let folder = std::env::temp_dir();
    let disk = match rustix::fs::statfs(&folder) {
        Ok(found) if found.f_type == TMPFS => "MEMORY, so nothing is durable: set TMPDIR",
        _ => "a disk",
    };
    let log = std::env::var("RUST_LOG").unwrap_or_else(|_| "info".into());
    let Flags { rounds, seconds, connections, .. } = flags;
    format!(
        "{cores} cores, shared by all subjects and the load generator; store in {} ({disk}); log level {log}\n\
         bodies of 1 KiB, every id and body unique; {connections} connections, each waits for its answer; \
         {rounds} rounds of {seconds} s in turns\n\
         figures: median [least-most] of the rounds",
        folder.display(),
    )
}

/// statfs(2): a folder in memory.
const TMPFS: rustix::fs::FsWord = 0x0102_1994;
