//! Reads back from the store what became of the story, compares, and prints.

use std::collections::BTreeSet;

use hookweir_event::{EventId, Origin};
use hookweir_store::{DeliveryState, Reader, Shown, ShownDelivery};
use serde::Serialize;

use super::story::Told;
use crate::cli::say;

/// Plugin, state, and how many attempts were made.
pub(super) type Delivery = (&'static str, DeliveryState, usize);

/// An event whose fate is known beforehand.
pub(super) struct Expected {
    pub(super) event: EventId,
    pub(super) what: &'static str,
    pub(super) deliveries: Vec<Delivery>,
    /// By type, each with its own deliveries.
    pub(super) outputs: Vec<(&'static str, Vec<Delivery>)>,
}

/// One thing that must be so.
#[derive(Debug, Serialize)]
pub(super) struct Check {
    pub(super) what: String,
    pub(super) ok: bool,
    pub(super) detail: String,
}

/// One line of the table.
#[derive(Debug, Serialize)]
struct Row {
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

/// Everything that the demo found.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    events: Vec<Row>,
    checks: Vec<Check>,
    pub(super) ok: bool,
}

/// Compares the store with the story. The store is read as any operator's tool would read it.
pub(super) async fn compare(told: Told, reader: &Reader) -> Result<Report, String> {
    let all = all(reader).await?;
    let Told { expected, mut checks, reload, accepted } = told;
    let replaced: BTreeSet<_> = reload.iter().copied().collect();
    let shown: Vec<_> = all
        .iter()
        .filter(|shown| !replaced.contains(&shown.event.id))
        .filter(|shown| shown.event.parent.is_none_or(|parent| !replaced.contains(&parent)))
        .collect();
    checks.extend(expected.iter().map(|expected| expected.check(&all)));
    checks.push(reloaded(&reload, &all));
    let webhooks = all.iter().filter(|s| matches!(s.event.origin, Origin::Source(_))).count();
    checks.push(Check {
        what: "the store holds each accepted webhook once, and nothing else".into(),
        ok: webhooks == accepted,
        detail: format!("{accepted} accepted, {webhooks} kept"),
    });
    let ok = checks.iter().all(|check| check.ok);
    Ok(Report { events: shown.into_iter().flat_map(rows).collect(), checks, ok })
}

async fn all(reader: &Reader) -> Result<Vec<Shown>, String> {
    let mut all: Vec<Shown> = Vec::new();
    loop {
        let after = all.last().map(|shown| shown.event.id);
        let page = reader.events(after, 500).await.map_err(|error| error.to_string())?;
        if page.is_empty() {
            return Ok(all);
        }
        all.extend(page);
    }
}

impl Expected {
    fn check(&self, all: &[Shown]) -> Check {
        let result = self.matches(all);
        let detail = result.as_ref().err().cloned().unwrap_or_else(|| "as expected".into());
        Check { what: self.what.into(), ok: result.is_ok(), detail }
    }

    fn matches(&self, all: &[Shown]) -> Result<(), String> {
        let shown = all
            .iter()
            .find(|shown| shown.event.id == self.event)
            .ok_or("it is not in the store")?;
        same(&shown.deliveries, &self.deliveries)?;
        let children = all.iter().filter(|shown| shown.event.parent == Some(self.event));
        if children.clone().count() != self.outputs.len() {
            return Err(format!("{} outputs instead of {}", children.count(), self.outputs.len()));
        }
        self.outputs.iter().try_for_each(|(event_type, deliveries)| {
            let output = children.clone().find(|s| s.event.event_type.as_str() == *event_type);
            same(&output.ok_or(format!("no output {event_type}"))?.deliveries, deliveries)
        })
    }
}

fn same(found: &[ShownDelivery], expected: &[Delivery]) -> Result<(), String> {
    let found: Vec<_> =
        found.iter().map(|d| (d.plugin.as_str(), d.state, d.attempts.len())).collect();
    if found == expected { Ok(()) } else { Err(format!("{found:?} instead of {expected:?}")) }
}

/// Every webhook that came while a plugin was replaced is done, once, and both versions have run.
fn reloaded(events: &[EventId], all: &[Shown]) -> Check {
    let ids: BTreeSet<_> = events.iter().collect();
    let shown: Vec<_> = all.iter().filter(|shown| ids.contains(&shown.event.id)).collect();
    let done =
        |shown: &&&Shown| same(&shown.deliveries, &[("payments", DeliveryState::Done, 1)]).is_ok();
    let done = shown.iter().filter(done).count();
    let outputs =
        all.iter().filter(|s| s.event.parent.is_some_and(|parent| ids.contains(&parent))).count();
    let versions: BTreeSet<_> = shown
        .iter()
        .flat_map(|shown| &shown.deliveries)
        .flat_map(|delivery| &delivery.attempts)
        .filter_map(|made| made.attempt.version)
        .collect();
    let ok = done == events.len() && outputs == events.len() && versions.len() == 2;
    let versions: Vec<_> = versions.iter().map(hookweir_event::Digest::short).collect();
    let detail = format!(
        "{} webhooks while payments.wasm was replaced: {done} done, {outputs} outputs, by {}",
        events.len(),
        versions.join(" and ")
    );
    Check { what: "a hot reload loses nothing".into(), ok, detail }
}

fn rows(shown: &Shown) -> Vec<Row> {
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

impl Report {
    pub(super) fn print(&self, json: bool) {
        if json {
            say(serde_json::to_string_pretty(self).unwrap_or_default());
            return;
        }
        say(format_args!(
            "{:<9} {:<14} {:<30} {:<9} {:>8} {:<9} {:>8}",
            "EVENT", "SOURCE", "TYPE", "PLUGIN", "ATTEMPTS", "FATE", "LATENCY"
        ));
        for row in &self.events {
            let latency =
                row.latency_ms.map_or_else(|| "-".into(), |millis| format!("{millis} ms"));
            // The last digits of an id are random: the first ones are the time.
            let event = format!("…{}", &row.event[row.event.len() - 7..]);
            let plugin = row.plugin.as_deref().unwrap_or("-");
            say(format_args!(
                "{event:<9} {:<14} {:<30} {plugin:<9} {:>8} {:<9} {latency:>8}",
                row.source, row.event_type, row.attempts, row.fate
            ));
            if let Some(message) = &row.message {
                say(format_args!("          └ {message}"));
            }
        }
        say("");
        for check in &self.checks {
            let mark = if check.ok { "ok  " } else { "FAIL" };
            say(format_args!("{mark} {}: {}", check.what, check.detail));
        }
    }
}
