//! What metrics cost: the same gateway with everything counted, and with nothing counted. One more has its page
//! asked for all the time. A machine's noise is more than the difference; so what is counted of one event is
//! measured by itself as well.

use std::{hint::black_box, time::Duration};

use hookweir::metrics::figures::{Figures, SourceFigures};
use hookweir_event::{Digest, Outcome};
use tokio::time::Instant;

use crate::{
    Flags,
    cost::{COLUMNS, Line, Subject},
    figures::{Rounds, Section},
};

const OFF: &str = "admin.metrics = false\n";
/// With metrics it is to be as fast as without, within 3 %.
const TARGET: f64 = 0.97;

/// Events in a round of counting.
const EVENTS: u32 = 100_000;

pub(crate) async fn measure(flags: &Flags) -> Vec<Section> {
    let mut sections = vec![counting(flags)];
    for line in [Line::Accepts, Line::Whole] {
        let mut subjects = [
            Subject::start("counted", line, "").await,
            Subject::start("not counted", line, OFF).await,
            Subject::start("counted, and scraped ten times a second", line, "").await.scraped(),
        ];
        // The first round warms up and is not counted.
        for round in 0..=flags.rounds {
            for subject in &mut subjects {
                subject.round(flags, round > 0).await;
            }
        }
        let mut section = Section::new("metrics", line.about().to_owned(), COLUMNS);
        let [counted, not_counted, scraped] = &subjects;
        let over = |this: &Subject| this.rate.over(&not_counted.rate);
        section.ratio("counted / not counted", over(counted), Some(TARGET));
        section.ratio("scraped / not counted", over(scraped), None);
        subjects.into_iter().for_each(|subject| subject.row(&mut section, []));
        sections.push(section);
    }
    sections
}

/// All that is counted of an event from its request to done, without the event.
fn counting(flags: &Flags) -> Section {
    let mut section = Section::new(
        "metrics",
        "what is counted of one event from its request to done, by itself, on one thread"
            .to_owned(),
        &["ns/event"],
    );
    for (name, on) in [("counted", true), ("not counted", false)] {
        let version = Digest::of(b"a version");
        let source = SourceFigures::new(on);
        let plugin = Figures::new(on).serving(Some(version));
        let mut rounds = Rounds::default();
        for round in 0..=flags.rounds {
            let start = Instant::now();
            for event in 0..EVENTS {
                let micros = Duration::from_micros(u64::from(black_box(event) % 5000));
                source.requested();
                source.read(1024);
                let attempt = plugin.attempt(version);
                attempt.waited(micros);
                attempt.ran(Outcome::Done, micros, micros, 1 << 20);
                attempt.handled(micros);
                source.acknowledged(false, u64::from(event % 5000));
            }
            // The first round warms up and is not counted.
            if round > 0 {
                rounds.push(start.elapsed().as_nanos() as f64 / f64::from(EVENTS));
            }
        }
        section.row(name, vec![rounds]);
    }
    section
}
