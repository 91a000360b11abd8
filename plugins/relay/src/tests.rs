//! Samples and publishing on the SDK's in-memory host; the rest in files of its own.

mod delivery;
mod rest;
mod signature;

use hookweir_sdk::testing::{Canned, Host, Sample, Sent};
use serde_json::{Value, json};

use super::*;

pub(crate) const URL: &str = "https://hooks.example.com/orders";
/// 2026-01-01T00:00:00Z.
pub(crate) const START: u64 = 1_767_225_600_000;
pub(crate) const HOUR: u64 = 3_600_000;

/// A host at the start, where this URL may be reached.
pub(crate) fn host() -> Host {
    reachable(Host::new().now_ms(START), URL)
}

pub(crate) fn reachable(host: Host, url: &str) -> Host {
    host.http(format!("HEAD {url}"), Canned::new(405))
}

/// The status and the JSON that the api answers.
pub(crate) fn ask(host: &Host, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let request = Request::builder(method, path).json(body).build();
    let answer = host.respond(respond, request).unwrap();
    (answer.status_code(), answer.parse().unwrap_or_default())
}

/// Registers an endpoint; its id and its secret.
pub(crate) fn register(host: &Host, url: &str, types: &[&str]) -> (String, String) {
    let (status, made) = ask(host, "POST", "/endpoints", &json!({ "url": url, "types": types }));
    assert_eq!(status, 201, "{made}");
    let text = |name: &str| made[name].as_str().unwrap().to_owned();
    (text("id"), text("secret"))
}

pub(crate) fn shown(host: &Host, id: &str) -> Value {
    let (status, shown) = ask(host, "GET", &format!("/endpoints/{id}"), &Value::Null);
    assert_eq!(status, 200, "{shown}");
    shown
}

/// What is published, with an id of its own.
pub(crate) fn published(host: &Host, id: &str, event_type: &str) -> Vec<Output> {
    let event = Event::builder("erp", event_type).id(id).received_at_ms(START);
    let event = event.json(&json!({ "order": "4711" })).build();
    host.run(handle, event).unwrap().into_iter().collect()
}

/// The event that an output becomes, at this attempt.
pub(crate) fn came_back(output: &Output, attempt: u32) -> Event {
    let event = Event::builder("plugin.relay", output.event_type()).body(output.body());
    let event = output.headers().fold(event, |event, (name, value)| event.header(name, value));
    event.attempt(attempt).build()
}

pub(crate) fn posts(host: &Host) -> Vec<Sent> {
    host.requests().into_iter().filter(|sent| sent.line().starts_with("POST")).collect()
}

fn header(output: &Output, name: &str) -> String {
    let (_, value) = output.headers().find(|(found, _)| *found == name).unwrap();
    String::from_utf8(value.to_vec()).unwrap()
}

fn sample(text: &str) -> Result<Vec<Output>, Failure> {
    let outputs = Sample::parse(text).run(&Host::new().now_ms(START), handle);
    outputs.map(|outputs| outputs.into_iter().collect())
}

fn types(outputs: &[Output]) -> Vec<&str> {
    outputs.iter().map(Output::event_type).collect()
}

#[test]
fn the_samples_come_to_what_they_expect() {
    let outputs = sample(include_str!("../samples/erp.order.paid.json")).unwrap();
    assert_eq!(types(&outputs), ["relay.deliver"]);
    assert_eq!(header(&outputs[0], "relay-endpoint"), "ep_00000000000000a1");
    assert!(sample(include_str!("../samples/relay.deliver.json")).unwrap().is_empty());
    let down = sample(include_str!("../samples/relay.deliver.down.json")).unwrap();
    assert_eq!(types(&down), ["relay.retry"]);
    assert_eq!(header(&down[0], "relay-not-before-ms"), (START + 120_000).to_string());
    let gone = sample(include_str!("../samples/relay.retry.gone.json")).unwrap();
    assert_eq!(types(&gone), ["endpoint.disabled"]);
    for (text, why) in [
        (include_str!("../samples/relay.deliver.no-endpoint.json"), "no header `relay-endpoint`"),
        (include_str!("../samples/relay.retry.down.json"), "answered with 500"),
        (include_str!("../samples/relay.retry.disabled.json"), "is disabled: it answered 410 Gone"),
    ] {
        let failure = sample(text).unwrap_err();
        assert!(failure.message().contains(why), "{failure}");
    }
}

#[test]
fn each_endpoint_that_wants_a_type_gets_a_delivery_of_its_own() {
    let other = "https://other.example.com/";
    let host = reachable(host(), other);
    let (orders, _) = register(&host, URL, &["order.*"]);
    let (all, _) = register(&host, other, &["*"]);
    let to = |event_type| {
        let outputs = published(&host, "evt", event_type);
        assert!(outputs.iter().all(|output| output.event_type() == "relay.deliver"));
        let mut to: Vec<_> =
            outputs.iter().map(|output| header(output, "relay-endpoint")).collect();
        to.sort();
        to
    };
    let mut both = vec![orders.clone(), all.clone()];
    both.sort();
    assert_eq!((to("order.paid"), to("invoice.paid")), (both, vec![all.clone()]));
    let (status, _) = ask(&host, "DELETE", &format!("/endpoints/{all}"), &Value::Null);
    assert_eq!((status, to("order.paid"), to("invoice.paid")), (204, vec![orders], vec![]));
    assert!(posts(&host).is_empty(), "publishing sends nothing");
}

#[test]
fn a_pattern_is_met_as_the_gateways_are() {
    for (pattern, meant, not_meant) in [
        ("order.paid", vec!["order.paid"], vec!["order.paid.", "order", ""]),
        ("order.*", vec!["order.", "order.a.b"], vec!["order", "reorder.a"]),
        ("*", vec!["", "a"], vec![]),
        ("*.paid", vec!["order.paid", ".paid"], vec!["order.paid.late"]),
        ("a*b*a", vec!["aba", "abba", "axbxa"], vec!["aa", "ab", "abab"]),
        ("ab*ba", vec!["abba", "abxba"], vec!["aba"]),
        ("a**b", vec!["ab", "axb"], vec!["a"]),
    ] {
        let met = |text: &&str| endpoint::matches(pattern, text);
        assert!(meant.iter().all(met), "{pattern} {meant:?}");
        assert!(!not_meant.iter().any(met), "{pattern} {not_meant:?}");
    }
}

fn payload(body: &[u8]) -> String {
    let event = Event::builder("erp", "order.paid").received_at_ms(START).body(body).build();
    String::from_utf8(payload::of(&event).unwrap()).unwrap()
}

#[test]
fn what_is_sent_has_the_shape_and_every_digit_of_it() {
    let wrapped = |data: &str| {
        format!(r#"{{"type":"order.paid","timestamp":"2026-01-01T00:00:00Z",{data}}}"#)
    };
    for (body, data) in [
        (r#"{"a":1.0,"b":12345678901234567890,"a":2}"#, None),
        (r#"[1, "\u00e9"]"#, None),
        ("7", None),
        ("a=b&c=d", Some(r#""a=b&c=d""#)),
        ("say \"hi\"\n", Some(r#""say \"hi\"\n""#)),
        ("", Some(r#""""#)),
    ] {
        let expected = wrapped(&format!(r#""data":{}"#, data.unwrap_or(body)));
        assert_eq!(payload(body.as_bytes()), expected, "{body}");
        serde_json::from_str::<Value>(&expected).unwrap();
    }
    assert_eq!(payload(b" {}\r\n"), wrapped(r#""data":{}"#));
    assert_eq!(payload(&[0xff, 0]), wrapped(r#""data_base64":"/wA=""#));
    assert_eq!(payload(b"\"\xff\""), wrapped(r#""data_base64":"Iv8i""#));
}

#[test]
fn what_has_the_shape_already_is_left_alone() {
    let whole =
        r#"{ "timestamp": "2025-12-31T23:59:59+02:00", "type": "order.paid", "data": [1.0] }"#;
    assert_eq!(payload(whole.as_bytes()), whole);
    for other in [
        whole.replace("order.paid", "order.lost"),
        whole.replace("2025-12-31T23:59:59+02:00", "yesterday"),
        whole.replace("\"data\"", "\"object\""),
    ] {
        assert!(payload(other.as_bytes()).ends_with(&format!(r#""data":{other}}}"#)), "{other}");
    }
}

#[test]
fn a_config_with_a_slip_does_not_go_live() {
    assert_eq!(Host::new().init(init), Ok(()));
    let good = Host::new().config("disable_after", "12h").config("endpoints_max", 300);
    assert_eq!(good.init(init), Ok(()));
    for (key, value, why) in [
        ("disable_after", json!("soon"), "such as"),
        ("disable_after", json!("0d"), "such as"),
        ("disable_after", json!("36501d"), "such as"),
        ("disable_after", json!("99999999999999999d"), "such as"),
        ("endpoints_max", json!(0), "1 to 300"),
        ("endpoints_max", json!(301), "1 to 300"),
        ("disable", json!("5d"), "unknown field"),
    ] {
        let refused = Host::new().config(key, value.clone()).init(init).unwrap_err();
        assert!(refused.contains(why), "{key} {value}: {refused}");
    }
}
