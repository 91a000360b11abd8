//! All is well, and then the warehouse is down: webhooks are taken all the same.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use super::{
    Chapter, ORDERS, counts, first_line, orders, said_in_chat, shipped, tell_command, until_alert,
};
use crate::cli::demo::{
    ending::{done, done_after},
    page::{Page, same, so},
    stage::Stage,
    stand_in::Reply,
    story::reload::pay,
};

/// Attempts that an order may take: how many it takes is the clock's.
const ATTEMPTS_MAX: usize = 100;

/// The warehouse goes down.
pub(super) struct Outage;

impl Chapter for Outage {
    const TITLE: &'static str = "The warehouse goes down";
    const PLUGINS: &'static [&'static str] = &["payments", "fulfilment", "alerts"];

    async fn play(stage: &mut Stage, page: &mut Page) -> Result<(), String> {
        stage.outside.warehouse.answer_with(takes_all);
        let answer = pay(stage, "evt_demo_before").await?;
        let outputs = vec![("order.paid", vec![done("fulfilment")])];
        page.expect("a payment while all is well", &answer, vec![done("payments")], outputs)?;
        stage.settle(page).await?;
        page.tell(
            "Stripe sent a payment, signed. `payments` made order.paid of it, and with that `fulfilment` \
             asked the warehouse, which took it.",
        );

        stage.outside.warehouse.be_down(true);
        page.tell("Then the warehouse is down: 503 to whatever it is asked. Stripe knows nothing of that:");
        let mut slowest = 0;
        for order in orders() {
            let answer = pay(stage, &order).await?;
            slowest = slowest.max(answer.took.as_millis());
            let outputs = vec![("order.paid", vec![done_after("fulfilment", 2..=ATTEMPTS_MAX)])];
            page.expect("a payment in the outage", &answer, vec![done("payments")], outputs)?;
        }
        page.tell(format_args!(
            "{ORDERS} more payments came, and each was answered with 202, the slowest after {slowest} ms."
        ));
        let breaker = stage
            .until_plugin("fulfilment", "its breaker to open", |it| {
                it["breaker"]["state"] == "open"
            })
            .await?;
        page.tell(format_args!(
            "`fulfilment` asks for retries, until its breaker opens ({}). From now on one order at a time is tried, and \
             the others keep their attempts.",
            breaker["breaker"]["why"].as_str().unwrap_or("-")
        ));
        until_alert(stage, "error-rate", "raised").await?;
        // Until the chat knows, too.
        let told =
            |_: &serde_json::Value| (said_in_chat(stage, "*demo*: too many") > 0).then_some(());
        stage.until("status", "the chat to be told", told).await?;
        let chat = stage.outside.chat.came();
        page.tell(
            "The gateway raised an alert. It is an event, which `alerts` says in the team's chat:",
        );
        page.tell(format_args!("  {}", first_line(&chat[0].json())));
        let args = ["status"];
        tell_command(page, &args, &stage.command(&args)?, 20);

        let fates = counts(stage, ["done", "dead"]).await?;
        page.check(
            "no payment was refused, and none is lost: all orders wait",
            same(fates, [1, 0]),
        );
        let words = "*demo*: too many attempts fail at `fulfilment`";
        page.check("the chat was told once", same(said_in_chat(stage, words), 1));
        let taken = stage.outside.warehouse.came().iter().filter(|it| it.answered == 201).count();
        page.check("the warehouse has taken one order, from before", same(taken, 1));
        let asked = stage.outside.warehouse.came().len();
        let few = so(asked < ORDERS * 8, || format!("{asked} requests"));
        page.check("it is not stormed while it is down", few);
        Ok(())
    }
}

fn takes_all(headers: &HeaderMap, _: &Bytes) -> Reply {
    let key = headers.get("idempotency-key").and_then(|key| key.to_str().ok());
    Reply { status: StatusCode::CREATED, body: shipped(key.unwrap_or_default()), fault: None }
}
