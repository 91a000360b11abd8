//! The sample through the handler, on the SDK's in-memory host.

use std::time::Duration;

use hookweir_sdk::testing::{Canned, Host, Sample};
use serde_json::Value;

use super::*;

const PAID: &str = include_str!("../samples/order.paid.json");
const URL: &str = "https://warehouse.example/v1/shipments";
const WAREHOUSE: &str = "POST https://warehouse.example/v1/shipments";

fn host(answers: impl IntoIterator<Item = Canned>) -> Host {
    let host = Host::new().config("warehouse_url", URL);
    answers.into_iter().fold(host, |host, answer| host.http(WAREHOUSE, answer))
}

/// The sample's event, without the answer that comes with it.
fn paid() -> Event {
    Sample::parse(PAID).event().build()
}

#[test]
fn a_paid_order_goes_to_the_warehouse() {
    let host = host([]);
    let outputs = Sample::parse(PAID).run(&host, handle).unwrap();
    let made: Vec<_> = outputs.iter().map(Output::event_type).collect();
    assert_eq!(made, ["order.fulfilled"]);
    let fulfilled: Fulfilled = serde_json::from_slice(outputs[0].body()).unwrap();
    assert_eq!((&*fulfilled.order, &*fulfilled.shipment), ("order-4711", "S-17"));
    let sent = &host.requests()[0];
    let body: Value = serde_json::from_slice(sent.body()).unwrap();
    assert_eq!(body, json!({ "order_reference": "order-4711", "customer": "cus_NSPHp4fOlXGw8P" }));
    assert_eq!(sent.secret_header("authorization"), Some("Bearer {WAREHOUSE_KEY}"));
    assert_eq!(sent.header("idempotency-key"), Some("0198c0f4-2f6e-7000-8000-000000004711"));
}

#[test]
fn a_warehouse_that_is_down_is_asked_again_with_the_same_key() {
    let host = host([
        Canned::new(503).header("retry-after", "30"),
        Canned::timeout(),
        Canned::new(201).body(r#"{ "shipment": "S-17" }"#),
    ]);
    let down = host.run(handle, paid()).unwrap_err();
    assert_eq!(down.retry_after(), Some(Duration::from_secs(30)), "{down}");
    assert!(host.run(handle, paid()).unwrap_err().is_retry());
    assert_eq!(host.run(handle, paid()).unwrap().len(), 1);
    let requests = host.requests();
    let keys: Vec<_> = requests.iter().map(|sent| sent.header("idempotency-key")).collect();
    assert_eq!(keys, [keys[0]; 3]);
}

#[test]
fn what_the_warehouse_will_never_take_is_rejected_and_its_words_are_in_the_log() {
    let host = host([Canned::new(422).body(r#"{ "error": "unknown field" }"#)]);
    let failure = host.run(handle, paid()).unwrap_err();
    assert_eq!(failure, Failure::reject("answered with 422"));
    let logs = host.logs();
    let last = &logs.last().expect("a line").message;
    assert_eq!(last, r#"answered with 422: { "error": "unknown field" }"#);
}

#[test]
fn an_answer_that_names_no_shipment_is_asked_for_again() {
    let host = host([Canned::new(200).body("{}")]);
    assert!(host.run(handle, paid()).unwrap_err().is_retry());
}

#[test]
fn what_is_no_paid_order_is_rejected_and_nothing_sent() {
    let host = host([]);
    let event = Event::builder("plugin.payments", "order.paid").body("{}").build();
    assert!(!host.run(handle, event).unwrap_err().is_retry());
    assert!(host.requests().is_empty());
}
