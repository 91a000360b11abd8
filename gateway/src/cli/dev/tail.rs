//! What becomes of events, as it happens: a line for each attempt, with what the plugin logged below it.

use std::{collections::BTreeMap, path::Path, time::Duration};

use hookweir_event::{EventId, LogLine};
use hookweir_store::{DeliveryId, DeliveryState, ReadError, Reader, Shown, ShownAttempt};

use crate::{
    cli::{operator::printable, say, tell},
    tasks::Stop,
};

/// How often the store is looked at.
const EVERY: Duration = Duration::from_millis(200);
/// Events that are followed at a time; of more, the oldest are followed no further.
const OPEN_MAX: usize = 1000;
/// Events of one look.
const PAGE: usize = 100;

/// What the columns are.
pub(super) fn head() -> String {
    row(["EVENT", "SOURCE/TYPE", "PLUGIN", "OUTCOME", "TOOK"])
}

fn row([event, kind, plugin, outcome, took]: [&str; 5]) -> String {
    format!("{event:<9} {kind:<40} {plugin:<14} {outcome:<13} {took:>9}")
}

/// Tells until it is to stop, and then what there is still to tell.
pub(super) async fn follow(database: &Path, mut stop: Stop) {
    let (reader, mut tail) = (Reader::at(database), Tail::default());
    loop {
        let mut more = false;
        match tail.look(&reader).await {
            Ok((lines, whole_page)) => {
                lines.into_iter().for_each(say);
                more = whole_page;
            }
            Err(error) => tell(format_args!("failed to look at the events: {error}")),
        }
        if more {
            continue;
        }
        if stop.is_asked() {
            return;
        }
        tokio::select! {
            () = stop.asked() => {}
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

/// What was told already.
#[derive(Default)]
struct Tail {
    after: Option<EventId>,
    /// Events with a delivery that is not settled: how many attempts of each were told.
    open: BTreeMap<EventId, BTreeMap<DeliveryId, usize>>,
}

impl Tail {
    /// What is new, a page at a time, and whether the page was whole: there may be more.
    async fn look(&mut self, reader: &Reader) -> Result<(Vec<String>, bool), ReadError> {
        let mut lines = Vec::new();
        for id in self.open.keys().copied().collect::<Vec<_>>() {
            match reader.show(id).await? {
                Some(shown) => lines.extend(self.tell(&shown)),
                None => _ = self.open.remove(&id),
            }
        }
        let page = reader.events(self.after, PAGE).await?;
        if let Some(last) = page.last() {
            self.after = Some(last.event.id);
        }
        for shown in &page {
            if shown.deliveries.is_empty() {
                lines.push(line(shown, "-", "unrouted", "-"));
            } else {
                lines.extend(self.tell(shown));
            }
        }
        Ok((lines, page.len() >= PAGE))
    }

    /// The attempts that were not told yet.
    fn tell(&mut self, shown: &Shown) -> Vec<String> {
        let id = shown.event.id;
        let mut told = self.open.remove(&id).unwrap_or_default();
        let mut lines = Vec::new();
        for delivery in &shown.deliveries {
            let before = told.entry(delivery.id).or_default();
            for made in delivery.attempts.iter().skip(*before) {
                lines.extend(attempt(shown, delivery.plugin.as_str(), made));
            }
            *before = delivery.attempts.len();
        }
        let is_open = |state| {
            !matches!(state, DeliveryState::Done | DeliveryState::Dead | DeliveryState::Discarded)
        };
        if shown.deliveries.iter().any(|delivery| is_open(delivery.state)) {
            self.open.insert(id, told);
            if self.open.len() > OPEN_MAX {
                self.open.pop_first();
            }
        }
        lines
    }
}

fn attempt(shown: &Shown, plugin: &str, made: &ShownAttempt) -> Vec<String> {
    let attempt = &made.attempt;
    let took = format!("{:.1} ms", attempt.wall.as_secs_f64() * 1e3);
    let mut lines = vec![line(shown, plugin, attempt.outcome.as_str(), &took)];
    lines.extend(
        attempt.message.as_ref().map(|message| format!("          └ {}", printable(message))),
    );
    let log = |LogLine { level, text }: &LogLine| format!("          {:<5} {text}", level.as_str());
    lines.extend(attempt.logs.iter().map(log));
    lines
}

fn line(shown: &Shown, plugin: &str, outcome: &str, took: &str) -> String {
    let id = shown.event.id.to_string();
    // The last digits of an id are random: the first ones are the time.
    let id = format!("…{}", &id[id.len() - 7..]);
    let kind = format!("{}/{}", shown.event.origin, shown.event.event_type);
    row([&id, &kind, plugin, outcome, took])
}
