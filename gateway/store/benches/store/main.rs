//! The store measured by itself, beside the floor: `cargo bench -p hookweir-store --bench store`
//! (`-- --help` for its flags).
//!
//! Each round of each subject is a process of its own, so that memory and bytes written are its own, and
//! the subjects take turns. What counts are ratios; the figures behind them move with the machine.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark")]
#![allow(clippy::cast_precision_loss, reason = "no figure here needs more than three digits")]

mod held;
mod log;
mod payload;
mod postgres;
mod process;
mod search;
mod subject;

use std::{path::PathBuf, time::Duration};

use clap::{Parser, ValueEnum};
use hookweir_ground::figures::{Rounds, Section};
use serde_json::{Value, json};

use self::{
    process::{child, killed_child},
    subject::Subject,
};

/// Measures the store: ratios first, then what they were made of, as median [least-most] of the rounds.
#[derive(Debug, Clone, Parser)]
#[command(name = "cargo bench -p hookweir-store --bench store --", max_term_width = 100)]
struct Flags {
    /// What to measure; everything, if nothing is named
    parts: Vec<Part>,
    /// Length of one round
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Rounds; the subjects take turns in each
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Deliveries that wait behind the lifecycles and at the start
    #[arg(long, default_value_t = 1_000_000)]
    backlog: u64,
    /// Events to search in
    #[arg(long, default_value_t = 10_000_000)]
    events: u64,
    /// One JSON object in place of the tables
    #[arg(long)]
    json: bool,
    /// Cargo says so
    #[arg(long, hide = true)]
    bench: bool,
    /// Is one round, for another process of this benchmark
    #[arg(long, hide = true)]
    subject: Option<Subject>,
    /// The database that round is at
    #[arg(long, hide = true)]
    url: Option<String>,
    /// The schema in it
    #[arg(long, hide = true, default_value = "hookweir")]
    schema: String,
    /// How many send in that round
    #[arg(long, hide = true, default_value_t = 64)]
    senders: usize,
    /// Where that round keeps its files
    #[arg(long, hide = true)]
    folder: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Durable appends, beside an append-only file with one sync for each batch
    Appends,
    /// Append, lease and settle, with nothing behind it and with a backlog
    Lifecycles,
    /// Opening a store with a backlog, after a close and after a kill
    Start,
    /// What operators look for, in a store of many events
    Search,
    /// Leases beside a backlog that is held, holding it and letting it go
    Held,
    /// Appends and lifecycles in PostgreSQL, beside SQLite and single inserts, and of two gateways at one server
    Postgres,
}

impl Flags {
    fn measures(&self, part: Part) -> bool {
        self.parts.is_empty() || self.parts.contains(&part)
    }

    fn time(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }
}

fn main() {
    let flags = Flags::parse();
    if let (Some(subject), Some(folder)) = (flags.subject, &flags.folder) {
        println!("{}", subject.run(folder, &flags));
        return;
    }
    let mut sections = Vec::new();
    let mut show = |section: Section| {
        if !flags.json {
            print!("{section}");
        }
        sections.push(section.json());
    };
    if flags.measures(Part::Appends) {
        show(appends(&flags));
    }
    if flags.measures(Part::Lifecycles) || flags.measures(Part::Start) {
        let behind = tempfile::tempdir().unwrap();
        let filled = child(Subject::Fill, behind.path(), &flags);
        if !flags.json {
            let rate = one(&filled, "rate");
            println!("\nfilled with {} deliveries that wait, {rate}/s", flags.backlog);
        }
        if flags.measures(Part::Lifecycles) {
            show(lifecycles(&flags, behind.path()));
        }
        if flags.measures(Part::Start) {
            show(start(&flags, behind.path()));
        }
    }
    if flags.measures(Part::Search) {
        show(search_times(&flags));
    }
    if flags.measures(Part::Held) {
        show(held_figures(&flags));
    }
    if flags.measures(Part::Postgres) {
        postgres::sections(&flags).into_iter().for_each(&mut show);
    }
    if flags.json {
        println!("{}", json!({ "sections": sections }));
    }
}

/// One figure of one round.
fn one(round: &Value, name: &str) -> Rounds {
    let mut rounds = Rounds::default();
    rounds.push(round[name].as_f64().unwrap());
    rounds
}

/// A column: its heading, and its name in what a round prints.
type Column = (&'static str, &'static str);

/// The columns of a subject.
const COLUMNS: [Column; 8] = [
    ("events/s", "rate"),
    ("p50 ms", "p50"),
    ("p99 ms", "p99"),
    ("p99.9 ms", "p999"),
    ("CPU us/event", "cpu"),
    ("writer's CPU us/event", "writer"),
    ("bytes written/byte", "written"),
    ("resident MiB", "resident"),
];

/// The columns of a subject at a server.
pub(crate) const AT_A_SERVER: [Column; 8] = [
    COLUMNS[0],
    COLUMNS[1],
    COLUMNS[2],
    COLUMNS[3],
    COLUMNS[4],
    ("server's CPU us/event", "server"),
    ("events/commit", "per_commit"),
    COLUMNS[7],
];

/// All rounds of one subject.
pub(crate) struct Table {
    columns: [Column; 8],
    pub(crate) rounds: [Rounds; 8],
}

impl Table {
    pub(crate) fn of(columns: [Column; 8]) -> Self {
        Self { columns, rounds: Default::default() }
    }

    /// What a round does not say is not known.
    pub(crate) fn push(&mut self, round: &Value) {
        for (rounds, (_, name)) in self.rounds.iter_mut().zip(self.columns) {
            rounds.push(round[name].as_f64().unwrap_or(f64::NAN));
        }
    }

    /// Events each second.
    pub(crate) fn rate(&self) -> &Rounds {
        &self.rounds[0]
    }
}

/// A section with these columns.
pub(crate) fn section(title: &'static str, about: String, columns: [Column; 8]) -> Section {
    Section::new(title, about, columns.map(|(heading, _)| heading).to_vec().leak())
}

fn appends(flags: &Flags) -> Section {
    let (mut store, mut floor) = (Table::of(COLUMNS), Table::of(COLUMNS));
    for _ in 0..flags.rounds {
        let fresh = || tempfile::tempdir().unwrap();
        store.push(&child(Subject::Append, fresh().path(), flags));
        floor.push(&child(Subject::Log, fresh().path(), flags));
    }
    let about = "64 senders, events of 1 KiB with two claims, routed to one plugin".to_owned();
    let mut section = section("appends", about, COLUMNS);
    section.ratio("store / append-only file", store.rate().over(floor.rate()), None);
    section.row("store", store.rounds.into());
    section.row("append-only file, one fdatasync a batch", floor.rounds.into());
    section
}

fn lifecycles(flags: &Flags, behind: &std::path::Path) -> Section {
    let (mut empty, mut backlog) = (Table::of(COLUMNS), Table::of(COLUMNS));
    for _ in 0..flags.rounds {
        let fresh = tempfile::tempdir().unwrap();
        empty.push(&child(Subject::Life, fresh.path(), flags));
        backlog.push(&child(Subject::Life, behind, flags));
    }
    let about = format!("appended, leased, settled with one output; {} wait", flags.backlog);
    let mut section = section("lifecycles", about, COLUMNS);
    section.ratio("with the backlog / empty", backlog.rate().over(empty.rate()), Some(0.8));
    section.row("empty", empty.rounds.into());
    section.row("with the backlog", backlog.rounds.into());
    section
}

fn start(flags: &Flags, behind: &std::path::Path) -> Section {
    let (mut closed, mut killed) = (Rounds::default(), Rounds::default());
    for _ in 0..flags.rounds {
        closed.push(child(Subject::Open, behind, flags)["open"].as_f64().unwrap());
        killed_child(Subject::Life, behind, flags);
        killed.push(child(Subject::Open, behind, flags)["open"].as_f64().unwrap());
    }
    let about = format!("until the store takes work, with {} that wait", flags.backlog);
    let mut section = Section::new("start", about, &["ms"]);
    section.row("after a close", vec![closed]);
    section.row("after a kill -9 under load", vec![killed]);
    section
}

fn search_times(flags: &Flags) -> Section {
    let folder = tempfile::tempdir().unwrap();
    let round = child(Subject::Search, folder.path(), flags);
    let (filled, size) = (one(&round, "filled"), one(&round, "GiB"));
    let about = format!(
        "pages of 50, in {} events ({} GiB, filled in {} s)",
        flags.events,
        size.median(),
        filled.median()
    );
    let mut section = Section::new("searches", about, &["p50 ms", "p99 ms"]);
    for (name, times) in round["searches"].as_object().unwrap() {
        let mut times: Vec<_> =
            times.as_array().unwrap().iter().map(|time| time.as_f64().unwrap()).collect();
        times.sort_by(f64::total_cmp);
        let at = |share: usize| {
            let mut rounds = Rounds::default();
            rounds.push(times[(times.len() * share / 100).min(times.len() - 1)]);
            rounds
        };
        section.row(name.clone().leak(), vec![at(50), at(99)]);
    }
    section
}

fn held_figures(flags: &Flags) -> Section {
    let folder = tempfile::tempdir().unwrap();
    let round = child(Subject::Held, folder.path(), flags);
    let about = format!(
        "{} deliveries of a source: set aside at {}/s, the hold lifted in {} ms, let go, leased and settled at {}/s",
        flags.backlog,
        one(&round, "set_aside"),
        one(&round, "lifted"),
        one(&round, "let_go"),
    );
    let mut section = Section::new("held", about, &["p50 ms", "p99 ms"]);
    for (name, times) in [
        ("a lease beside none that are held", "beside_none"),
        ("a lease beside all of them", "beside_all"),
    ] {
        let mut times: Vec<_> =
            round[times].as_array().unwrap().iter().map(|time| time.as_f64().unwrap()).collect();
        times.sort_by(f64::total_cmp);
        let at = |share: usize| {
            let mut rounds = Rounds::default();
            rounds.push(times[(times.len() * share / 100).min(times.len() - 1)]);
            rounds
        };
        section.row(name, vec![at(50), at(99)]);
    }
    section
}
