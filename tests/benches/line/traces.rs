//! What traces cost: the same gateway that records none, one trace in ten as it does by default, and all of them.
//! They go to a collector on this machine that throws them away.

use std::time::Duration;

use crate::{
    Flags,
    cost::{COLUMNS, Line, Subject},
    figures::{Rounds, Section},
    sink::Sink,
};

const MORE_COLUMNS: [&str; 2] = ["exported bytes/event", "spans dropped/event"];
const ALL_COLUMNS: &[&str] =
    &[COLUMNS[0], COLUMNS[1], COLUMNS[2], COLUMNS[3], MORE_COLUMNS[0], MORE_COLUMNS[1]];

/// How long the last spans of a round may take: they wait for more for a second. What is left of one subject must
/// not be in the way of the next.
const FLUSHED: Duration = Duration::from_millis(1500);

/// A gateway with its collector, if it has one.
struct Traced {
    subject: Subject,
    sink: Option<Sink>,
    bytes: Rounds,
    dropped: Rounds,
}

impl Traced {
    async fn start(name: &'static str, sample: Option<f64>) -> Self {
        let sink = sample.map(|_| Sink::start());
        let config = sink.as_ref().zip(sample).map(|(sink, sample)| {
            let address = sink.address();
            format!("[traces]\nendpoint = \"http://{address}\"\nsample = {sample:?}\n")
        });
        let subject = Subject::start(name, Line::Whole, &config.unwrap_or_default()).await;
        let (bytes, dropped) = Default::default();
        Self { subject, sink, bytes, dropped }
    }

    async fn round(&mut self, flags: &Flags, counts: bool) {
        let before = (self.exported().await, self.dropped());
        self.subject.round(flags, counts).await;
        if self.sink.is_some() {
            tokio::time::sleep(FLUSHED).await;
        }
        if counts {
            let accepted = self.subject.accepted as f64;
            self.bytes.push((self.exported().await - before.0) as f64 / accepted);
            self.dropped.push((self.dropped() - before.1) as f64 / accepted);
        }
    }

    /// Bytes that its collector was sent.
    async fn exported(&self) -> u64 {
        match &self.sink {
            Some(sink) => sink.bytes().await,
            None => 0,
        }
    }

    /// Spans that it says were dropped.
    fn dropped(&self) -> u64 {
        let log = self.subject.house().log();
        let in_all = log.rsplit_once("in_all=").map_or("0", |(_, rest)| rest);
        let digits = in_all.find(|c: char| !c.is_ascii_digit()).unwrap_or(in_all.len());
        in_all[..digits].parse().unwrap()
    }
}

pub(crate) async fn measure(flags: &Flags) -> Section {
    let mut subjects = [
        Traced::start("none recorded", None).await,
        Traced::start("1 trace in 10 recorded, the default", Some(0.1)).await,
        Traced::start("all recorded", Some(1.0)).await,
    ];
    // The first round warms up and is not counted.
    for round in 0..=flags.rounds {
        for subject in &mut subjects {
            subject.round(flags, round > 0).await;
        }
    }
    let mut section = Section::new("traces", Line::Whole.about().to_owned(), ALL_COLUMNS);
    let [none, some, all] = &subjects;
    let over = |this: &Traced| this.subject.rate.over(&none.subject.rate);
    section.ratio("1 in 10 / none", over(some), None);
    section.ratio("all / none", over(all), None);
    for Traced { subject, sink, bytes, dropped } in subjects {
        assert!(sink.is_none() || bytes.median() > 0.0, "the collector was sent nothing");
        subject.row(&mut section, [bytes, dropped]);
    }
    section
}
