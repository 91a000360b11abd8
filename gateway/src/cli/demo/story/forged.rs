//! What is not genuine, and what came before.

use super::{Chapter, push::ping};
use crate::cli::demo::{
    page::{Page, same, so},
    sender::{Sender, Webhook},
    stage::Stage,
};

/// Forgeries, and a duplicate.
pub(super) struct Forged;

impl Chapter for Forged {
    const TITLE: &'static str = "What is forged is refused, what came before is not run twice";

    async fn play(stage: &mut Stage, page: &mut Page) -> Result<(), String> {
        let before = stage.reader.counts().await.map_err(|error| error.to_string())?;
        let mut refused = Vec::new();
        for webhook in webhooks(&stage.sender)? {
            let answer = stage.sender.forge(&webhook).await?;
            refused.push((webhook.source, answer.status));
        }
        let told = refused.iter().map(|(source, status)| format!("{source} {status}"));
        let told = told.collect::<Vec<_>>().join(", ");
        page.tell(format_args!(
            "One of each source, its body changed after it was signed: {told}."
        ));
        let reason = stage.command(&["source", "refusals", "stripe"])?;
        // Below the head; the last column is the request's id.
        let reason = reason.lines().nth(1).unwrap_or_default().rsplit_once("  ");
        let reason = reason.ok_or("the operator is told of no refusal")?.0.trim_end().to_owned();
        page.tell(
            "The sender is told no reason. `hookweir source refusals stripe` says it to the operator:",
        );
        page.tell(format_args!("   {reason}"));

        let answer = stage.sender.send(&ping(&stage.sender)?).await?;
        page.tell(format_args!("GitHub sent the ping of before once more: {answer}."));

        let others: Vec<_> = refused.iter().filter(|(_, status)| *status != 401).collect();
        page.check(
            "each forgery is refused with 401",
            so(others.is_empty(), || format!("{others:?}")),
        );
        let is_same = answer.status == 202 && answer.duplicate && answer.id.is_some();
        page.check(
            "a duplicate is answered with the first one's id",
            so(is_same, || answer.to_string()),
        );
        let after = stage.reader.counts().await.map_err(|error| error.to_string())?;
        page.check("nothing of it is stored", same(after.events, before.events));
        Ok(())
    }
}

/// One of each source.
fn webhooks(sender: &Sender) -> Result<Vec<Webhook<'static>>, String> {
    let user = sender.body("user-signup", "clerk.user.created.json")?;
    let push = sender.sample("github", "push.json")?;
    let order = sender.body("orders", "orders.create.json")?;
    let payment = sender.sample("payments", "payment_intent.succeeded.json")?;
    let stock = sender.body("inventory", "warehouse.stock.moved.json")?;
    let alert = sender.body("alerts", "alert.latency.json")?;
    Ok(vec![
        Webhook::new("clerk", "", "forged", &user),
        Webhook::new("github", "push", "forged", &push),
        Webhook::new("shopify", "orders/create", "forged", &order),
        Webhook::new("stripe", "", "forged", &payment),
        Webhook::new("warehouse", "stock.moved", "", &stock),
        Webhook::new("monitoring", "alert.latency", "", &alert),
    ])
}
