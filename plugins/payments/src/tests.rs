//! The samples through the handler, on the SDK's in-memory host.

use hookweir_sdk::testing::{EventBuilder, Host, Sample};
use serde_json::{Value, json};

use super::*;

const SUCCEEDED: &str = include_str!("../samples/payment_intent.succeeded.json");
const FAIL_ONCE: &str = include_str!("../samples/payment_intent.succeeded.fail-once.json");
const PAYMENT_FAILED: &str = include_str!("../samples/payment_intent.payment_failed.json");
const PROCESSING: &str = include_str!("../samples/payment_intent.processing.json");

fn event(body: impl AsRef<[u8]>) -> EventBuilder {
    let body = body.as_ref();
    let parsed: Value = serde_json::from_slice(body).unwrap_or_default();
    let event_type = parsed["type"].as_str().unwrap_or("payment_intent.succeeded");
    Event::builder("stripe", event_type).body(body)
}

fn run(event: Event) -> Result<Outputs, Failure> {
    Host::new().run(handle, event)
}

/// The succeeded sample with other metadata.
fn with_metadata(metadata: &Value) -> EventBuilder {
    let mut body: Value = serde_json::from_str(SUCCEEDED).unwrap();
    body["data"]["object"]["metadata"] = metadata.clone();
    event(body.to_string())
}

#[test]
fn a_payment_makes_one_paid_order() {
    let outputs = run(event(SUCCEEDED).id("0190a5c4").build()).unwrap();
    assert_eq!(outputs.len(), 1);
    assert_eq!(outputs[0].event_type(), "order.paid");
    let expected = Paid {
        order: "order-4711".into(),
        payment: "pi_3MhUT5E0b6fckueS0yDzkvQW".into(),
        customer: Some("cus_NSPHp4fOlXGw8P".into()),
        amount: 4999,
        currency: "eur".into(),
        fulfilment: Fulfilment { requested: true, idempotency_key: "0190a5c4".into() },
    };
    assert_eq!(outputs[0].parse::<Paid>().unwrap(), expected);
}

#[test]
fn the_sample_events_come_to_what_they_expect() {
    for (sample, outputs) in [
        (include_str!("../samples/event.paid.json"), 1),
        (include_str!("../samples/event.paid-already.json"), 0),
        (include_str!("../samples/event.warehouse-silent.json"), 0),
        (include_str!("../samples/event.no-order.json"), 0),
    ] {
        let made = Sample::parse(sample).run(&Host::new(), handle);
        assert_eq!(made.unwrap_or_default().len(), outputs);
    }
}

#[test]
fn a_failed_payment_says_why() {
    let host = Host::new();
    let outputs = host.run(handle, event(PAYMENT_FAILED).build()).unwrap();
    assert_eq!(outputs[0].event_type(), "order.payment_failed");
    assert_eq!(outputs[0].parse::<PaymentFailed>().unwrap().reason, "card_declined");
    assert_eq!(host.logs()[0].message, "payment failed");
}

#[test]
fn the_other_types_make_nothing() {
    let host = Host::new();
    assert!(host.run(handle, event(PROCESSING).build()).unwrap().is_empty());
    assert_eq!(status(&host, "order-4711"), "processing");
    let created = Event::builder("stripe", "payment_intent.created").body("{}").build();
    assert!(host.run(handle, created).unwrap().is_empty());
}

/// What is kept of an order.
fn status(host: &Host, order: &str) -> String {
    let kept = host.stored(&format!("order:{order}")).unwrap();
    let kept: Value = serde_json::from_slice(&kept).unwrap();
    kept["status"].as_str().unwrap().to_owned()
}

/// An event of one order: its type, when it happened, and by which payment.
fn news(kind: &str, created: u64, payment: &str) -> Event {
    let mut body: Value = serde_json::from_str(SUCCEEDED).unwrap();
    body["type"] = format!("payment_intent.{kind}").into();
    body["created"] = created.into();
    body["data"]["object"]["id"] = payment.into();
    event(body.to_string()).id(format!("{kind}-{created}-{payment}")).build()
}

#[test]
fn an_order_is_fulfilled_once_whatever_comes_and_in_whatever_order() {
    let told = [("processing", 1), ("payment_failed", 2), ("processing", 3), ("succeeded", 4)];
    for order in [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2], [2, 3, 1, 0]] {
        let (host, mut paid) = (Host::new(), 0);
        for n in order.into_iter().chain(order) {
            let (kind, created) = told[n];
            let outputs = host.run(handle, news(kind, created, "pi_1")).unwrap();
            paid += outputs.iter().filter(|o| o.event_type() == "order.paid").count();
        }
        assert_eq!((paid, &*status(&host, "order-4711")), (1, "paid"), "{order:?}");
    }
}

#[test]
fn the_newest_of_what_is_not_paid_holds() {
    let host = Host::new();
    for (kind, created, made, then) in [
        ("payment_failed", 5, 1, "failed"),
        ("payment_failed", 5, 0, "failed"),
        ("processing", 4, 0, "failed"),
        ("processing", 6, 0, "processing"),
        ("canceled", 7, 0, "canceled"),
        ("payment_failed", 5, 0, "canceled"),
    ] {
        let outputs = host.run(handle, news(kind, created, "pi_1")).unwrap();
        assert_eq!(
            (outputs.len(), &*status(&host, "order-4711")),
            (made, then),
            "{kind} {created}"
        );
    }
}

#[test]
fn a_second_payment_of_an_order_ships_nothing_and_is_said() {
    let host = Host::new();
    host.run(handle, news("succeeded", 1, "pi_1")).unwrap();
    let outputs = host.run(handle, news("succeeded", 2, "pi_2")).unwrap();
    let expected = PaidAgain {
        order: "order-4711".into(),
        payment: "pi_2".into(),
        first_payment: "pi_1".into(),
    };
    assert_eq!(outputs.iter().map(Output::event_type).collect::<Vec<_>>(), ["order.paid_again"]);
    assert_eq!(outputs[0].parse::<PaidAgain>().unwrap(), expected);
    let replayed = host.run(handle, news("succeeded", 2, "pi_2")).unwrap();
    assert!(replayed.is_empty(), "said once: {replayed:?}");
}

#[test]
fn an_attempt_that_fails_leaves_the_order_as_it_was() {
    let host = Host::new();
    assert!(host.run(handle, event(FAIL_ONCE).build()).is_err());
    assert_eq!(host.stored("order:order-4712"), None);
    host.run(handle, event(FAIL_ONCE).attempt(2).build()).unwrap();
    assert_eq!(status(&host, "order-4712"), "paid");
}

#[test]
fn a_silent_warehouse_is_tried_again() {
    let failure = run(event(FAIL_ONCE).build()).unwrap_err();
    assert!(failure.is_retry(), "{failure}");
    let outputs = run(event(FAIL_ONCE).attempt(2).build()).unwrap();
    assert_eq!(outputs[0].event_type(), "order.paid");

    let thrice = json!({ "order_id": "1", "downstream": "fail:3" });
    for attempt in 1..=4 {
        let answer = run(with_metadata(&thrice).attempt(attempt).build());
        assert_eq!(answer.is_ok(), attempt == 4, "attempt {attempt}");
    }
}

#[test]
fn what_can_never_be_handled_is_rejected() {
    let cases = [
        (event("not JSON"), "malformed body: it is no JSON at line 1 column 2"),
        (event("{}"), "malformed body: missing field `data` at line 1 column 2"),
        (with_metadata(&json!({})), "no metadata.order_id: not a payment of the shop's"),
        (
            with_metadata(&json!({ "order_id": "" })),
            "no metadata.order_id: not a payment of the shop's",
        ),
        (
            with_metadata(&json!({ "order_id": "1", "downstream": "broken" })),
            "metadata.downstream is neither `fail-once` nor `fail:N`",
        ),
    ];
    for (event, expected) in cases {
        assert_eq!(run(event.build()).unwrap_err(), Failure::reject(expected));
    }
}
