//! A bad day: the warehouse goes down, comes back as another, and an operator mends what came of it.
//!
//! Whatever the operator does is a command of `hookweir`, run as a person would run it.

mod look;
mod mend;
mod outage;
mod power;
mod refused;
mod trial;

use serde_json::{Value, json};

use super::{Chapter, alert::Alert, live::Live, reaching};
use crate::cli::demo::{book::Book, outside::Outside, page::Page, stage::Stage};

pub(super) const PLUGINS: [&str; 3] = ["alerts", "fulfilment", "payments"];

/// A production gateway judges by five minutes, which nobody wants to watch.
pub(super) const ALERTS: &str = "\
queue_age = \"off\"
window = \"5s\"           # the rest is so that nobody has to watch for long
at_least = 10
error_rate = 0.2
dead_letters = 5
";

/// What the warehouse takes an order's number as, before it is another and after.
const OLD_FIELD: &str = "order_reference";
const NEW_FIELD: &str = "purchase_number";
/// Orders that are paid while the warehouse is down.
const ORDERS: usize = 25;

pub(super) fn config(outside: &Outside) -> String {
    let warehouse = outside.warehouse.origin();
    let reaching = reaching("https://warehouse.example.com", std::slice::from_ref(&warehouse));
    let alerts = Alert::config(outside);
    format!(
        r#"
[plugins.payments]
rate = "off"

[plugins.fulfilment]
{reaching}config = {{ warehouse_url = "{warehouse}/v1/shipments" }}
record_requests = "256KiB"    # what the warehouse was asked and answered is kept with each attempt
backoff = "200ms"             # this and the next: so that nobody has to watch for long
backoff_max = "1s"
breaker_probe_max = "2s"
max_attempts = 100

[plugins.fulfilment.secrets]
WAREHOUSE_KEY = {{ env = "WAREHOUSE_KEY", hosts = ["{warehouse}"] }}
{alerts}"#
    )
}

pub(super) async fn tell(book: &mut Book, stage: &mut Stage) -> Result<(), String> {
    book.write::<Live>(stage).await?;
    book.write::<outage::Outage>(stage).await?;
    book.write::<power::Power>(stage).await?;
    book.write::<refused::Refused>(stage).await?;
    book.write::<look::Look>(stage).await?;
    book.write::<trial::Trial>(stage).await?;
    book.write::<mend::Mend>(stage).await
}

/// What one may do when all is told.
pub(super) fn to_try(folder: impl std::fmt::Display) -> String {
    format!(
        "  hookweir alerts                           # raised and cleared, as the chat was told
  hookweir events list --match 'gateway/alert.*'
  hookweir events list --plugin fulfilment  # each with its attempts
  hookweir events show ID --requests        # what the warehouse was asked, and answered
  hookweir audit                            # who retried what
  hookweir plugin rollback fulfilment       # back to the version that the warehouse refuses
  hookweir send stripe --body plugins/payments/samples/payment_intent.succeeded.json
  hookweir tail                             # what becomes of it

  cp your-own.wasm {folder}/      # live at once; see plugin-sdk/README.md
"
    )
}

/// The orders that are paid while the warehouse is down.
fn orders() -> impl Iterator<Item = String> {
    (1..=ORDERS).map(|number| format!("evt_demo_incident_{number}"))
}

/// Waits until an alert is in this state, and answers it.
async fn until_alert(stage: &Stage, alert: &str, state: &str) -> Result<Value, String> {
    let stands = |alerts: &Value| {
        let mut alerts = alerts["items"].as_array().into_iter().flatten();
        alerts.find(|it| it["alert"] == *alert && it["state"] == *state).cloned()
    };
    stage.until("alerts", &format!("{alert} to be {state}"), stands).await
}

/// What the chat was told that begins so, each time.
fn said_in_chat(stage: &Stage, beginning: &str) -> usize {
    let came = stage.outside.chat.came();
    came.iter().filter(|came| first_line(&came.json()).starts_with(beginning)).count()
}

fn first_line(message: &Value) -> String {
    let text = message["text"].as_str().unwrap_or_default();
    text.lines().next().unwrap_or_default().to_owned()
}

/// How many deliveries of `fulfilment` are in each of these states, in one reading: between two, an attempt may end.
async fn counts<const N: usize>(stage: &Stage, states: [&str; N]) -> Result<[usize; N], String> {
    let all = stage.events(None).await?;
    let deliveries = all.iter().flat_map(|shown| &shown.deliveries);
    let of = deliveries.filter(|delivery| delivery.plugin.as_str() == "fulfilment");
    let of: Vec<_> = of.map(|delivery| delivery.state.to_string()).collect();
    Ok(states.map(|state| of.iter().filter(|it| *it == state).count()))
}

/// Tells what a command prints, its first lines, below the command.
fn tell_command(page: &mut Page, args: &[&str], said: &str, lines: usize) {
    page.tell(format_args!("$ hookweir {}", args.join(" ")));
    let all: Vec<_> = said.lines().collect();
    all.iter().take(lines).for_each(|line| page.tell(format_args!("  {}", line.trim_end())));
    if all.len() > lines {
        page.tell(format_args!("  … {} lines more", all.len() - lines));
    }
}

/// What the warehouse answers to an order that it takes.
fn shipped(key: &str) -> Value {
    // The same for the same key: it knows what it was asked before.
    json!({ "shipment": format!("S-{}", super::short(key)) })
}
