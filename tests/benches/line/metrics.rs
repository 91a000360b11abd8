//! What metrics cost: the same gateway with everything counted, and with nothing counted, in turns. One more has
//! its page asked for all the time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crate::{
    Flags,
    figures::{Rounds, Section},
    load,
    process::{Running, cpu},
    traffic::Traffic,
};

/// Nothing is counted: alerts are judged by the same figures.
const OFF: &str = "admin.metrics = false\n[alerts]\nlatency = \"off\"\nerror_rate = \"off\"\n";
/// Routed to a plugin that is not there, so a delivery is written and waits.
const ABSENT: &str = "[plugins.absent]\nsubscribe = [\"github/push\"]\n";
/// Handled by a plugin that does nothing, so that what is left is the gateway's.
const ECHO: &str = "[plugins.echo]\nsubscribe = [\"github/push\"]\nrate = \"off\"\n";
const COLUMNS: &[&str] = &["per second", "p50 ms", "p99 ms", "server CPU us/request"];
/// With metrics it is to be as fast as without, within 3 %.
const TARGET: f64 = 0.97;
/// Requests in stock for each second: more than the gateway takes, on any machine so far.
const STOCK: u64 = 60_000;
/// How often a page is asked for, by one who asks far too often.
const SCRAPES: Duration = Duration::from_millis(100);

#[derive(Default)]
struct Figures {
    rate: Rounds,
    p50: Rounds,
    p99: Rounds,
    cpu: Rounds,
}

struct Subject {
    name: &'static str,
    running: Running,
    traffic: Traffic,
    scraped: bool,
    /// Whether its plugin is there.
    handled: bool,
    figures: Figures,
}

impl Subject {
    async fn start(name: &'static str, sections: &str, plugins: &[&str], scraped: bool) -> Self {
        let running = Running::start(sections, plugins).await;
        let traffic = Traffic::pushes(running.house.public);
        let (handled, figures) = (!plugins.is_empty(), Figures::default());
        Self { name, running, traffic, scraped, handled, figures }
    }

    async fn round(&mut self, flags: &Flags, counts: bool) {
        let stock = self.traffic.stock(STOCK * flags.seconds);
        let used = cpu(&self.running.pids());
        let stop = Arc::new(AtomicBool::new(!self.scraped));
        let house = &self.running.house;
        let scrape = async {
            while !stop.load(Ordering::Relaxed) {
                house.metrics().await;
                tokio::time::sleep(SCRAPES).await;
            }
        };
        let drive = async {
            let answered = load::drive(house.public, stock, flags.plan()).await;
            stop.store(true, Ordering::Relaxed);
            answered
        };
        let (answered, ()) = tokio::join!(drive, scrape);
        assert_eq!(answered.refused, 0, "the gateway refused\n{}", house.log());
        let used = cpu(&self.running.pids()) - used;
        // What is left of it must not be in the way of the next subject.
        if self.handled {
            house.until("what waits", |counts| counts.due + counts.leased == 0).await;
        }
        if counts {
            self.figures.rate.push(answered.rate());
            self.figures.p50.push(answered.percentile(0.5));
            self.figures.p99.push(answered.percentile(0.99));
            self.figures.cpu.push(used.as_secs_f64() * 1e6 / answered.accepted as f64);
        }
    }
}

pub(crate) async fn measure(flags: &Flags) -> Vec<Section> {
    let accepts = ("accepted, deduplicated and routed, nobody handles it", ABSENT, &[][..]);
    let through = ("accepted, while a plugin that does nothing handles it", ECHO, &["echo"][..]);
    let mut sections = Vec::new();
    for (about, routed, plugins) in [accepts, through] {
        let without = format!("{OFF}{routed}");
        let mut subjects = [
            Subject::start("counted", routed, plugins, false).await,
            Subject::start("not counted", &without, plugins, false).await,
            Subject::start("counted, and scraped ten times a second", routed, plugins, true).await,
        ];
        // The first round warms up and is not counted.
        for round in 0..=flags.rounds {
            for subject in &mut subjects {
                subject.round(flags, round > 0).await;
            }
        }
        let mut section = Section::new("metrics", about.to_owned(), COLUMNS);
        let [counted, not_counted, scraped] = &subjects;
        let over = |this: &Subject| this.figures.rate.over(&not_counted.figures.rate);
        section.ratio("counted / not counted", over(counted), Some(TARGET));
        section.ratio("scraped / not counted", over(scraped), None);
        for Subject { name, figures: Figures { rate, p50, p99, cpu }, .. } in subjects {
            section.row(name, vec![rate, p50, p99, cpu]);
        }
        sections.push(section);
    }
    sections
}
