//! Reads back from the store what became of the story, compares, and prints.

use std::collections::BTreeMap;

use hookweir_event::Origin;
use hookweir_store::{DeliveryState, Shown, ShownDelivery};
use serde::Serialize;

use super::page::{Page, same};
use crate::cli::say;

/// One event for one plugin, or for none.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    event: String,
    source: String,
    #[serde(rename = "type")]
    event_type: String,
    plugin: Option<String>,
    attempts: usize,
    fate: String,
    /// From the reception of the event to the settlement.
    latency_ms: Option<u64>,
    message: Option<String>,
}

/// Whether the store has all that was told, and nothing else.
pub(super) fn page(chapters: &[Page], all: &[Shown], accepted: usize) -> Page {
    let mut page = Page::new("The books: every fate, read back from the store", &[]);
    let of = |is: fn(&Origin) -> bool| all.iter().filter(|shown| is(&shown.event.origin)).count();
    let webhooks = of(|origin| matches!(origin, Origin::Source(_)));
    let made = of(|origin| matches!(origin, Origin::Plugin(_)));
    let alerts = match of(|origin| matches!(origin, Origin::Gateway)) {
        0 => String::new(),
        count => format!(", {count} alerts"),
    };
    let deliveries = || all.iter().flat_map(|shown| &shown.deliveries);
    let count = |state| deliveries().filter(|delivery| delivery.state == state).count();
    let (done, dead) = (count(DeliveryState::Done), count(DeliveryState::Dead));
    let (total, attempts) =
        (deliveries().count(), deliveries().map(|delivery| delivery.attempts.len()).sum::<usize>());
    page.tell(format_args!(
        "{webhooks} webhooks, {made} events that plugins made of them{alerts}; {total} deliveries in {attempts} attempts: \
         {done} done, {dead} dead, {} waiting.",
        total - done - dead
    ));
    page.check("each accepted webhook is there once, and nothing else", same(webhooks, accepted));
    page.check("nothing waits", same(total - done - dead, 0));
    let expected: Vec<_> = chapters.iter().flat_map(|chapter| &chapter.expected).collect();
    let faults: Vec<_> = expected.iter().filter_map(|event| event.compare(all).err()).collect();
    let what = format!(
        "the {} events of the story stand as they were told, after the restart too",
        expected.len()
    );
    page.check(what, if faults.is_empty() { Ok(()) } else { Err(faults.join("\n")) });
    page
}

/// All events, with what became of each.
pub(super) fn rows(all: &[Shown]) -> Vec<Row> {
    all.iter().flat_map(rows_of).collect()
}

fn rows_of(shown: &Shown) -> Vec<Row> {
    let row = || Row {
        event: shown.event.id.to_string(),
        source: shown.event.origin.to_string(),
        event_type: shown.event.event_type.to_string(),
        plugin: None,
        attempts: 0,
        fate: "unrouted".into(),
        latency_ms: None,
        message: None,
    };
    if shown.deliveries.is_empty() {
        return vec![row()];
    }
    let delivered = |delivery: &ShownDelivery| {
        let settled = delivery.settled_at.map(|at| at.since(shown.event.received_at).as_millis());
        Row {
            plugin: Some(delivery.plugin.to_string()),
            attempts: delivery.attempts.len(),
            fate: delivery.state.to_string(),
            latency_ms: settled.and_then(|millis| u64::try_from(millis).ok()),
            message: delivery.attempts.iter().rev().find_map(|made| made.attempt.message.clone()),
            ..row()
        }
    };
    shown.deliveries.iter().map(delivered).collect()
}

/// Prints a line for all rows that are alike: how many, and the slowest of them.
pub(super) fn print(rows: &[Row]) {
    say(format_args!(
        "   {:>6} {:<18} {:<30} {:<12} {:>8} {:<9} {:>8}",
        "EVENTS", "SOURCE", "TYPE", "PLUGIN", "ATTEMPTS", "FATE", "SLOWEST"
    ));
    for ((source, event_type, plugin, attempts, fate), (count, slowest)) in alike(rows) {
        let plugin = plugin.unwrap_or("-");
        let slowest = slowest.map_or_else(|| "-".into(), |millis| format!("{millis} ms"));
        say(format_args!(
            "   {count:>6} {source:<18} {event_type:<30} {plugin:<12} {attempts:>8} {fate:<9} {slowest:>8}"
        ));
    }
    say("");
}

/// What rows have in common: source, type, plugin, attempts, fate.
type Kind<'r> = (&'r str, &'r str, Option<&'r str>, usize, &'r str);

/// How many rows there are of each kind, and the longest time that one took.
fn alike(rows: &[Row]) -> BTreeMap<Kind<'_>, (usize, Option<u64>)> {
    let mut kinds: BTreeMap<_, (usize, Option<u64>)> = BTreeMap::new();
    for row in rows {
        let Row { source, event_type, plugin, attempts, fate, latency_ms, .. } = row;
        let kind = (&**source, &**event_type, plugin.as_deref(), *attempts, &**fate);
        let (count, slowest) = kinds.entry(kind).or_default();
        *count += 1;
        *slowest = (*slowest).max(*latency_ms);
    }
    kinds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_are_alike_are_one_line() {
        let row = |source: &str, attempts, latency_ms| Row {
            event: "id".into(),
            source: source.into(),
            event_type: "push".into(),
            plugin: (attempts > 0).then(|| "ci".into()),
            attempts,
            fate: "done".into(),
            latency_ms,
            message: None,
        };
        let rows =
            [row("b", 1, Some(3)), row("b", 1, Some(7)), row("b", 2, Some(5)), row("a", 0, None)];
        let lines: Vec<_> = alike(&rows).into_iter().collect();
        assert_eq!(
            lines,
            [
                (("a", "push", None, 0, "done"), (1, None)),
                (("b", "push", Some("ci"), 1, "done"), (2, Some(7))),
                (("b", "push", Some("ci"), 2, "done"), (1, Some(5))),
            ]
        );
    }
}
