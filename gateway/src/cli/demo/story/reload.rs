//! A plugin is replaced while webhooks for it keep coming.

use std::collections::BTreeSet;

use hookweir_event::{Digest, EventId};
use hookweir_store::Shown;
use serde_json::json;

use super::Chapter;
use crate::cli::demo::{
    ending::{done, same},
    module,
    page::Page,
    sender::{Answer, Webhook},
    stage::Stage,
};

/// Webhooks sent before, and at least after, the new version is live.
const BATCH: usize = 20;
/// Webhooks sent at most while the gateway takes the new version up.
const BATCH_MAX: usize = 2000;

/// Payments, and a new version in the midst of them.
pub(super) struct Reload;

impl Chapter for Reload {
    const TITLE: &'static str = "A plugin is replaced under load";
    const PLUGINS: &'static [&'static str] = &["payments"];

    async fn play(stage: &mut Stage, page: &mut Page) -> Result<(), String> {
        let events = replace(stage).await?;
        stage.settled().await?;
        let first = events.first().copied();
        let mut all = stage.events(first).await?;
        if let Some(first) = first {
            all.extend(stage.show(first).await?);
        }
        let (told, result) = compare(&events, &all);
        page.tell(told);
        page.check("nothing is lost: each was handled once, and made one order.paid", result);
        Ok(())
    }
}

/// The payment of an order of its own.
pub(super) async fn pay(stage: &Stage, id: &str) -> Result<Answer, String> {
    let mut event = stage.sender.sample("payments", "payment_intent.succeeded.json")?;
    event["id"] = json!(id);
    event["data"]["object"]["metadata"]["order_id"] = json!(format!("order-{id}"));
    stage.sender.send(&Webhook::new("stripe", "", id, &event)).await
}

/// Sends payments, puts another version there, and sends on until that has run for a while.
async fn replace(stage: &Stage) -> Result<Vec<EventId>, String> {
    let (mut events, mut since) = (Vec::new(), None);
    for number in 0..BATCH_MAX {
        if number == BATCH {
            stage.replace("payments", &module::same(&stage.read("payments")?))?;
        }
        let answer = pay(stage, &format!("evt_demo_reload_{number}")).await?;
        let accepted = answer.id.filter(|_| answer.is_news());
        events
            .push(accepted.ok_or_else(|| format!("webhook {number} was answered with {answer}"))?);
        if number > BATCH && number % 10 == 0 && since.is_none() {
            since = two_versions(stage, &events).await?.then_some(number);
        }
        if since.is_some_and(|since| number >= since + BATCH) {
            break;
        }
    }
    Ok(events)
}

/// Whether both the old and the new version have run.
async fn two_versions(stage: &Stage, events: &[EventId]) -> Result<bool, String> {
    let mut seen = BTreeSet::new();
    for id in [events.first(), events.iter().rev().nth(3)].into_iter().flatten() {
        seen.extend(stage.ran_on(*id).await?);
    }
    Ok(seen.len() > 1)
}

/// What became of them; whether each is done, once, with its one output, and both versions have run.
fn compare(events: &[EventId], all: &[Shown]) -> (String, Result<(), String>) {
    let ids: BTreeSet<_> = events.iter().collect();
    let shown: Vec<_> = all.iter().filter(|shown| ids.contains(&shown.event.id)).collect();
    let is_done = |shown: &&&Shown| same(&shown.deliveries, &[done("payments")]).is_ok();
    let is_output = |shown: &&Shown| {
        shown.event.parent.is_some_and(|parent| ids.contains(&parent))
            && same(&shown.deliveries, &[done("orders")]).is_ok()
    };
    let (count, outputs) =
        (shown.iter().filter(is_done).count(), all.iter().filter(is_output).count());
    let versions: BTreeSet<_> = shown
        .iter()
        .flat_map(|shown| &shown.deliveries)
        .flat_map(|delivery| &delivery.attempts)
        .filter_map(|made| made.attempt.version)
        .collect();
    let by: Vec<_> = versions.iter().map(Digest::short).collect();
    let told = format!(
        "{} payments came, signed, while payments.wasm was replaced: {count} done, with {outputs} outputs, by the \
         versions {}.",
        events.len(),
        by.join(" and ")
    );
    let is_well = count == events.len() && outputs == events.len() && versions.len() == 2;
    (told.clone(), if is_well { Ok(()) } else { Err(told) })
}
