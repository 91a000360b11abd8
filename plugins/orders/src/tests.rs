//! The samples through the handler and the api, on the SDK's in-memory host.

use hookweir_sdk::testing::{Host, Sample};
use serde_json::{Value, json};

use super::*;

const CREATED: &str = include_str!("../samples/orders.create.json");
const PAID: &str = include_str!("../samples/orders.paid.json");
const FULFILLED: &str = include_str!("../samples/orders.fulfilled.json");
const SHIPPED: &str = include_str!("../samples/fulfillments.create.json");
const PAYMENT: &str = include_str!("../samples/payments.order.paid.json");
const DELETED: &str = include_str!("../samples/orders.delete.json");
const NO_TIME: &str = include_str!("../samples/orders.create.no-time.json");
const ID: &str = "820982911946154500";

fn run(host: &Host, sample: &str) {
    assert!(Sample::parse(sample).run(host, handle).unwrap().is_empty());
}

fn ask(host: &Host, method: &str, path: &str) -> (u16, Value) {
    let answer = host.respond(respond, Request::builder(method, path).build()).unwrap();
    (answer.status_code(), answer.parse().unwrap_or_default())
}

fn shown(host: &Host) -> Value {
    let (status, order) = ask(host, "GET", &format!("/{ID}"));
    assert_eq!(status, 200);
    order
}

#[test]
fn an_order_is_looked_up_after_its_webhook() {
    let host = Host::new();
    assert_eq!(ask(&host, "GET", &format!("/{ID}")).0, 404);
    for (sample, state) in [(CREATED, "open"), (PAID, "paid"), (FULFILLED, "fulfilled")] {
        run(&host, sample);
        assert_eq!(shown(&host)["shop"]["is"]["state"], state);
    }
    run(&host, SHIPPED);
    run(&host, PAYMENT);
    let expected = json!({
        "shop": {
            "updated_at": "2022-01-01T00:30:00Z",
            "is": { "name": "#9999", "state": "fulfilled", "total": "398.00", "currency": "USD" },
        },
        "shipment": {
            "updated_at": "2022-01-01T00:00:00Z",
            "is": { "status": "pending", "company": "UPS", "tracking_numbers": ["1z827wk74630"] },
        },
        "payment": { "payment": "pi_3MhUT5E0b6fckueS0yDzkvQW", "status": "paid" },
    });
    assert_eq!(shown(&host), expected);
}

#[test]
fn the_newest_news_stay_in_whatever_order_they_come() {
    for order in
        [[CREATED, PAID, FULFILLED], [FULFILLED, CREATED, PAID], [PAID, FULFILLED, CREATED]]
    {
        let host = Host::new();
        for sample in order.into_iter().chain(order) {
            run(&host, sample);
        }
        assert_eq!(shown(&host)["shop"]["is"]["state"], "fulfilled");
    }
}

#[test]
fn an_order_that_was_cancelled_or_refunded_says_so() {
    for (field, value, state) in [
        ("cancelled_at", "2022-01-01T01:00:00Z", "cancelled"),
        ("financial_status", "refunded", "refunded"),
    ] {
        let (host, sample) = (Host::new(), Sample::parse(FULFILLED));
        let mut body = sample.body().clone();
        body[field] = value.into();
        host.run(handle, sample.event().json(&body).build()).unwrap();
        assert_eq!(shown(&host)["shop"]["is"]["state"], state);
    }
}

#[test]
fn a_payment_that_failed_is_no_news_of_one_that_went_through() {
    let (host, sample) = (Host::new(), Sample::parse(PAYMENT));
    let mut failed = sample.body().clone();
    failed["payment"] = "pi_other".into();
    let failed = || Event::builder("plugin.payments", "order.payment_failed").json(&failed).build();
    host.run(handle, failed()).unwrap();
    let expected = json!({ "payment": "pi_other", "status": "payment_failed" });
    assert_eq!(shown(&host)["payment"], expected);
    run(&host, PAYMENT);
    host.run(handle, failed()).unwrap();
    assert_eq!(shown(&host)["payment"]["status"], "paid");
}

#[test]
fn a_deleted_order_is_forgotten() {
    let host = Host::new();
    run(&host, CREATED);
    run(&host, DELETED);
    assert_eq!(ask(&host, "GET", &format!("/{ID}")).0, 404);
}

#[test]
fn all_orders_are_listed_page_by_page() {
    let host = (0..150).fold(Host::new(), |host, n| host.state(format!("order:{n:03}"), "{}"));
    let first: Vec<String> = serde_json::from_value(ask(&host, "GET", "/").1).unwrap();
    assert_eq!((first.len(), &*first[0], &*first[99]), (100, "000", "099"));
    let next = Request::builder("GET", "/").query("after=099").build();
    let next: Vec<String> = host.respond(respond, next).unwrap().parse().unwrap();
    assert_eq!((next.len(), &*next[49]), (50, "149"));
    assert_eq!(ask(&host, "DELETE", "/000").0, 405);
}

#[test]
fn what_says_no_time_is_rejected() {
    let failure = Sample::parse(NO_TIME).run(&Host::new(), handle).unwrap_err();
    assert!(failure.message().contains("missing field `updated_at`"), "{failure}");
}
