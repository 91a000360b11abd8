//! The samples through the handler, on the SDK's in-memory host.

use std::time::Duration;

use hookweir_sdk::testing::{Canned, Host, Sample};
use serde_json::{Value, json};

use super::*;

const LATENCY: &str = include_str!("../samples/alert.latency.json");
const ERRORS: &str = include_str!("../samples/alert.error-rate.json");
const URL: &str = "https://hooks.slack.example/services/T00000000/B00000000/s3cret";

fn host() -> Host {
    Host::new().secret("WEBHOOK_URL", URL).config("gateway", "hooks-eu")
}

fn answering(answer: Canned) -> Host {
    host().http(format!("POST {URL}"), answer)
}

fn said(host: &Host) -> String {
    let body: Value = serde_json::from_slice(host.requests()[0].body()).unwrap();
    body["text"].as_str().unwrap().to_owned()
}

#[test]
fn an_alert_is_said_in_the_chat() {
    for (sample, expected) in [
        (
            LATENCY,
            "*hooks-eu*: events take too long at `payments`\n• deliveries: 250\n• latency ms: 7312\n\
             • plugin: payments\n• since: 2026-11-01T09:30:00Z\n• threshold ms: 5000",
        ),
        (
            ERRORS,
            "*hooks-eu*: too many attempts fail at `payments`\n• attempts: 250\n• error rate: 0.048\n\
             • plugin: payments\n• since: 2026-11-01T09:30:00Z\n• threshold: 0.01",
        ),
    ] {
        let host = host();
        assert!(Sample::parse(sample).run(&host, handle).unwrap().is_empty());
        assert_eq!(said(&host), expected);
    }
}

#[test]
fn an_alert_of_a_later_gateway_is_said_all_the_same() {
    let host = answering(Canned::new(200));
    let alert = json!({ "source": "stripe", "why": null, "more": { "a": 1 } });
    host.run(handle, Event::builder("gateway", "alert.silence").json(&alert).build()).unwrap();
    assert_eq!(said(&host), "*hooks-eu*: silence at `stripe`\n• source: stripe");
}

#[test]
fn what_is_over_is_said_to_be() {
    let host = answering(Canned::new(200));
    let alert = json!({ "state": "cleared", "plugin": "payments", "dead_letters": 0 });
    host.run(handle, Event::builder("gateway", "alert.dead-letters").json(&alert).build()).unwrap();
    let over = "*hooks-eu*: over: too many dead letters at `payments`";
    assert_eq!(said(&host), format!("{over}\n• dead letters: 0\n• plugin: payments"));
}

#[test]
fn what_an_alert_quotes_calls_nobody_and_is_short() {
    let host = answering(Canned::new(200));
    let alert = json!({ "plugin": "<!channel>", "message": "x".repeat(1_000) });
    host.run(handle, Event::builder("gateway", "alert.latency").json(&alert).build()).unwrap();
    let said = said(&host);
    assert!(said.contains("&lt;!channel&gt;") && !said.contains('<'), "{said}");
    assert!(said.len() < 500, "{said}");
}

#[test]
fn a_chat_that_is_busy_is_left_alone_for_as_long_as_it_says() {
    let host = answering(Canned::new(429).header("retry-after", "30"));
    let failure = host.run(handle, Sample::parse(LATENCY).event().build()).unwrap_err();
    assert_eq!(failure.retry_after(), Some(Duration::from_secs(30)));
}

#[test]
fn the_url_is_told_nobody() {
    for answer in [Canned::new(200), Canned::new(404), Canned::new(500), Canned::timeout()] {
        let host = answering(answer);
        let result = host.run(handle, Sample::parse(LATENCY).event().build());
        assert!(!format!("{result:?}{:?}", host.logs()).contains("s3cret"));
    }
    let failure = Host::new().run(handle, Sample::parse(LATENCY).event().build()).unwrap_err();
    assert!(failure.is_retry(), "it waits for the operator: {failure}");
}

#[test]
fn what_is_no_alert_is_rejected() {
    let event = Event::builder("gateway", "alert.latency").body("7312").build();
    assert!(!host().run(handle, event).unwrap_err().is_retry());
}
