//! An order: changed by webhooks of two providers, looked up by REST a moment later.

use hookweir_event::EventId;
use serde_json::{Value, json};

use super::Chapter;
use crate::cli::demo::{
    ending::{dead, done, done_after},
    outside::Outside,
    page::{Page, same},
    sender::{Answer, Webhook},
    stage::{Stage, plain},
};

/// The order that it is about, as Shopify's sample has it.
pub(super) const ORDER: &str = "820982911946154500";

/// One order, and a payment that is nobody's.
pub(super) struct Order;

impl Chapter for Order {
    const TITLE: &'static str =
        "An order: changed by webhooks of Shopify and Stripe, looked up by REST a moment later";
    const PLUGINS: &'static [&'static str] = &["orders", "payments"];

    fn config(_: &Outside) -> String {
        r#"
[plugins.orders]
api = "public"       # for you to try; else a token
rate = "off"         # one chapter sends as fast as it can
backoff = "100ms"

[plugins.payments]
rate = "off"
backoff = "100ms"    # so that nobody waits long for the retry
"#
        .to_owned()
    }

    async fn play(stage: &mut Stage, page: &mut Page) -> Result<(), String> {
        let before = look(stage).await?.0;
        let shop = stage.sender.body("orders", "orders.create.json")?;
        let answer = shopify(stage, "orders/create", "demo-order-1", &shop).await?;
        page.tell(format_args!("Shopify sent orders/create, signed: {answer}."));
        page.expect("a new order", &answer, vec![done("orders")], vec![])?;
        stage.settled().await?;
        let (created, open) = look(stage).await?;
        page.tell(format_args!(
            "GET /api/orders/{ORDER} said {before} before that, and {created} a moment later: {}, {} {}.",
            plain(&open["shop"]["is"]["state"]),
            plain(&open["shop"]["is"]["total"]),
            plain(&open["shop"]["is"]["currency"]),
        ));
        pay(stage, page).await?;

        let paid = stage.sender.body("orders", "orders.paid.json")?;
        let answer = shopify(stage, "orders/paid", "demo-order-2", &paid).await?;
        page.expect("the order is paid", &answer, vec![done("orders")], vec![])?;
        stage.settled().await?;
        // Late: it was made before the one that came.
        let mut late = shop;
        late["note"] = json!("please ring twice");
        let answer = shopify(stage, "orders/updated", "demo-order-3", &late).await?;
        page.expect("late news of the order", &answer, vec![done("orders")], vec![])?;
        stage.settle(page).await?;
        let (status, last) = look(stage).await?;
        page.tell(format_args!(
            "Shopify sent orders/paid, and then older news, late. GET said {status}: shop {}, payment {}.",
            plain(&last["shop"]["is"]["state"]),
            plain(&last["payment"]["status"])
        ));

        page.check(
            "the lookup knew nothing of the order before its webhook, and all a moment later",
            {
                let state = open["shop"]["is"]["state"].clone();
                same((before, created, state), (404, 200, json!("open")))
            },
        );
        let (state, payment) = (&last["shop"]["is"]["state"], &last["payment"]["status"]);
        let both = same((state, payment), (&json!("paid"), &json!("paid")));
        page.check(
            "in the end it is paid, by Shopify's word and by Stripe's: late news changed nothing",
            both,
        );
        Ok(())
    }
}

/// What Stripe has to say: a card that is declined, a payment, and one that belongs to no order.
async fn pay(stage: &Stage, page: &mut Page) -> Result<(), String> {
    let failed = stripe(stage, "payment_intent.payment_failed.json", "evt_demo_failed", 1).await?;
    let outputs = vec![("order.payment_failed", vec![done("orders")])];
    page.expect("a payment that was declined", &failed, vec![done("payments")], outputs)?;
    stage.settled().await?;
    let declined = look(stage).await?.1;
    page.tell(format_args!(
        "Stripe sent payment_intent.payment_failed, signed: {}. GET said: payment {}.",
        failed.status,
        plain(&declined["payment"]["status"])
    ));
    let paid = stripe(stage, "payment_intent.succeeded.fail-once.json", "evt_demo_paid", 2).await?;
    let outputs = vec![("order.paid", vec![done("orders")])];
    let twice = vec![done_after("payments", 2..=2)];
    let id = page.expect("a payment that is retried", &paid, twice, outputs)?;
    let orphan =
        stripe(stage, "payment_intent.succeeded.no-order.json", "evt_demo_orphan", 3).await?;
    page.expect("a payment of no order", &orphan, vec![dead("payments")], vec![])?;
    stage.settled().await?;
    page.tell(format_args!(
        "Stripe sent payment_intent.succeeded: {}. Attempt 1 failed ({}), attempt 2 is done.",
        paid.status,
        message(stage, id).await?
    ));
    let orphan = orphan.id.ok_or("the payment of no order was not accepted")?;
    page.tell(format_args!(
        "Another names no order, and is a dead letter at once ({}).",
        message(stage, orphan).await?
    ));
    let failed = same(&declined["payment"]["status"], &json!("payment_failed"));
    page.check(
        "`orders` knows what `payments` found out: first that the card was declined",
        failed,
    );
    Ok(())
}

/// What the order looks like from outside.
async fn look(stage: &Stage) -> Result<(u16, Value), String> {
    stage.ask(&format!("orders/{ORDER}")).await
}

async fn shopify(stage: &Stage, topic: &str, id: &str, order: &Value) -> Result<Answer, String> {
    stage.sender.send(&Webhook::new("shopify", topic, id, order)).await
}

/// A sample of Stripe, about this order where it names one. Stripe's id, type and time are in the signed body.
async fn stripe(stage: &Stage, sample: &str, id: &str, second: u64) -> Result<Answer, String> {
    let mut event = stage.sender.sample("payments", sample)?;
    event["id"] = json!(id);
    event["created"] = json!(1_677_834_000 + second);
    if let Some(order) = event.pointer_mut("/data/object/metadata/order_id") {
        *order = json!(ORDER);
    }
    stage.sender.send(&Webhook::new("stripe", "", id, &event)).await
}

/// Why the first attempt on an event failed.
async fn message(stage: &Stage, id: EventId) -> Result<String, String> {
    let shown = stage.show(id).await?;
    let attempts = shown.into_iter().flat_map(|shown| shown.deliveries).flat_map(|d| d.attempts);
    let message = attempts.filter_map(|made| made.attempt.message).next();
    message.ok_or_else(|| format!("no attempt on {id} has failed"))
}
