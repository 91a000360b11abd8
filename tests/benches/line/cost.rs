//! What something costs that can be switched off: gateways with it and without, by turns in one run. Alerts that
//! judge what is counted are off in all of them, so that nothing is counted for their sake.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use hookweir_tests::house::House;
use tokio::time::Instant;

use crate::{
    Flags,
    figures::{Rounds, Section},
    load::{self, Answered},
    process::{Running, cpu},
    traffic::Traffic,
};

/// Nothing is judged that has to be counted for it.
const NO_ALERTS: &str = "[alerts]\nlatency = \"off\"\nerror_rate = \"off\"\n";
/// Requests in stock for each second: more than the gateway takes, on any machine so far.
const STOCK: u64 = 60_000;
/// How often a page is asked for, by one who asks far too often.
const SCRAPES: Duration = Duration::from_millis(100);
/// How often the books are looked at while the queue drains.
const POLL: Duration = Duration::from_millis(10);
/// How long draining may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// The columns of a [`Subject`]'s row.
pub(crate) const COLUMNS: &[&str] =
    &["per second", "accept p50 ms", "accept p99 ms", "server CPU us/event"];

/// How far events go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line {
    /// Accepted, deduplicated and routed, to a plugin that is not there: a delivery is written and waits.
    Accepts,
    /// The whole line: verified, committed, run through `payments`, each in an instance of its own, and its
    /// output committed. Counted at done.
    Whole,
}

impl Line {
    fn sections(self) -> &'static str {
        match self {
            Self::Accepts => "[plugins.absent]\nsubscribe = [\"github/push\"]\n",
            Self::Whole => "[plugins.payments]\nrate = \"off\"\n",
        }
    }

    fn plugins(self) -> &'static [&'static str] {
        match self {
            Self::Accepts => &[],
            Self::Whole => &["payments"],
        }
    }

    pub(crate) fn about(self) -> &'static str {
        match self {
            Self::Accepts => "accepted, deduplicated and routed, nobody handles it",
            Self::Whole => "from the signed request to done, through `payments`, with the drain",
        }
    }
}

/// A gateway that takes its turns.
pub(crate) struct Subject {
    name: &'static str,
    line: Line,
    running: Running,
    traffic: Traffic,
    scraped: bool,
    /// Accepted in the last round.
    pub(crate) accepted: u64,
    pub(crate) rate: Rounds,
    p50: Rounds,
    p99: Rounds,
    cpu: Rounds,
}

impl Subject {
    /// With these lines at the beginning of its config.
    pub(crate) async fn start(name: &'static str, line: Line, config: &str) -> Self {
        let sections = format!("{config}{NO_ALERTS}{}", line.sections());
        let running = Running::start(&sections, line.plugins()).await;
        let to = running.house.public;
        let traffic = match line {
            Line::Accepts => Traffic::pushes(to),
            Line::Whole => Traffic::payments(to),
        };
        let (scraped, accepted, [rate, p50, p99, cpu]) = Default::default();
        Self { name, line, running, traffic, scraped, accepted, rate, p50, p99, cpu }
    }

    /// The same, whose page of metrics is asked for all the time.
    pub(crate) fn scraped(self) -> Self {
        Self { scraped: true, ..self }
    }

    pub(crate) fn house(&self) -> &House {
        &self.running.house
    }

    /// One round: load, and the drain.
    pub(crate) async fn round(&mut self, flags: &Flags, counts: bool) {
        let stock = self.traffic.stock(STOCK * flags.seconds);
        let (before, used) = (self.done().await, cpu(&self.running.pids()));
        let start = Instant::now();
        let over = AtomicBool::new(!self.scraped);
        let scrape = async {
            while !over.load(Ordering::Relaxed) {
                self.house().metrics().await;
                tokio::time::sleep(SCRAPES).await;
            }
        };
        let drive = async {
            let answered = load::drive(self.house().public, stock, flags.plan()).await;
            while self.line == Line::Whole && self.done().await - before < answered.accepted {
                assert!(start.elapsed() < PATIENCE, "{} does not finish", self.name);
                tokio::time::sleep(POLL).await;
            }
            let took = start.elapsed();
            over.store(true, Ordering::Relaxed);
            (answered, took)
        };
        let ((answered, took), ()) = tokio::join!(drive, scrape);
        let used = cpu(&self.running.pids()) - used;
        assert_eq!(answered.refused, 0, "{} refused\n{}", self.name, self.house().log());
        self.accepted = answered.accepted;
        if counts {
            self.push(&answered, took, used);
        }
    }

    fn push(&mut self, answered: &Answered, took: Duration, used: Duration) {
        let accepted = answered.accepted as f64;
        self.rate.push(accepted / took.as_secs_f64());
        self.p50.push(answered.percentile(0.5));
        self.p99.push(answered.percentile(0.99));
        self.cpu.push(used.as_secs_f64() * 1e6 / accepted);
    }

    async fn done(&self) -> u64 {
        self.house().reader().counts().await.unwrap().done
    }

    /// Its figures, and these behind them.
    pub(crate) fn row(self, section: &mut Section, more: impl IntoIterator<Item = Rounds>) {
        let figures = [self.rate, self.p50, self.p99, self.cpu].into_iter().chain(more);
        section.row(self.name, figures.collect());
    }
}
