//! What becomes of deliveries, and what an endpoint's failures lead to.

use std::time::Duration;

use super::*;

const POST: &str = "POST https://hooks.example.com/orders";

fn down() -> Canned {
    Canned::new(500)
}

/// What is delivered of one event that is published, at its first attempt.
fn first(host: &Host, id: &str) -> Vec<Output> {
    let outputs = published(host, id, "order.paid");
    assert_eq!(outputs.len(), 1);
    host.run(handle, came_back(&outputs[0], 1)).unwrap().into_iter().collect()
}

fn again(host: &Host, output: &Output, attempt: u32) -> Result<Vec<Output>, Failure> {
    host.run(handle, came_back(output, attempt)).map(|outputs| outputs.into_iter().collect())
}

#[test]
fn a_delivery_is_signed_and_noted() {
    let host = host().http(POST, Canned::new(202));
    let (id, _) = register(&host, URL, &["order.*"]);
    let host = host.now_ms(START + HOUR);
    assert!(first(&host, "evt").is_empty());
    let sent = &posts(&host)[0];
    assert_eq!(sent.header("webhook-id"), Some(&*format!("msg_evt_{id}")));
    assert_eq!(sent.header("webhook-timestamp"), Some("1767229200"));
    assert_eq!(sent.header("content-type"), Some("application/json"));
    let body =
        r#"{"type":"order.paid","timestamp":"2026-01-01T00:00:00Z","data":{"order":"4711"}}"#;
    assert_eq!(sent.text(), body);
    let shown = shown(&host, &id);
    assert_eq!((&shown["last_status"], &shown["last_error"]), (&json!(202), &Value::Null));
    assert_eq!(
        (&shown["last_at"], &shown["failing_since"]),
        (&json!("2026-01-01T01:00:00Z"), &Value::Null)
    );
}

#[test]
fn one_that_fails_is_tried_again_under_the_same_id_at_another_time() {
    for answer in [down(), Canned::timeout(), Canned::new(302), Canned::new(404), Canned::new(429)]
    {
        let host =
            host().http(POST, answer.clone()).http(POST, answer).http(POST, Canned::new(200));
        let (id, _) = register(&host, URL, &["*"]);
        let left = first(&host, "evt");
        assert_eq!(types(&left), ["relay.retry"]);
        let host = host.now_ms(START + HOUR);
        let failure = again(&host, &left[0], 1).unwrap_err();
        assert!(failure.is_retry() && failure.message().starts_with(&*format!("endpoint {id}: ")));
        assert_eq!(shown(&host, &id)["failing_since"], "2026-01-01T00:00:00Z");
        let host = host.now_ms(START + 2 * HOUR);
        assert!(again(&host, &left[0], 2).unwrap().is_empty());
        let posts = posts(&host);
        let said =
            |name: &str| posts.iter().map(|sent| sent.header(name).unwrap()).collect::<Vec<_>>();
        let webhook_id = format!("msg_evt_{id}");
        assert_eq!(said("webhook-id"), [&*webhook_id; 3]);
        assert_eq!(said("idempotency-key"), [&*webhook_id; 3]);
        assert_eq!(said("webhook-timestamp"), ["1767225600", "1767229200", "1767232800"]);
        assert_eq!(posts[0].body(), posts[2].body());
        let signatures = said("webhook-signature");
        assert_ne!(signatures[0], signatures[1], "the time is signed");
        assert_eq!(shown(&host, &id)["failing_since"], Value::Null);
    }
}

#[test]
fn an_endpoint_that_asks_for_time_gets_it() {
    let busy = || Canned::new(429).header("retry-after", "60");
    let host = host().http(POST, busy()).http(POST, busy()).http(POST, Canned::new(200));
    register(&host, URL, &["*"]);
    let left = first(&host, "evt");
    let host = host.now_ms(START + 20_000);
    let early = again(&host, &left[0], 1).unwrap_err();
    assert_eq!((early.retry_after(), posts(&host).len()), (Some(Duration::from_secs(40)), 1));
    let host = host.now_ms(START + 60_000);
    let busy = again(&host, &left[0], 2).unwrap_err();
    assert_eq!((busy.retry_after(), posts(&host).len()), (Some(Duration::from_secs(60)), 2));
    let host = host.now_ms(START + 120_000);
    assert!(again(&host, &left[0], 3).unwrap().is_empty());
}

#[test]
fn it_waits_no_longer_than_the_operator_lets_it() {
    let busy = Canned::new(503).header("retry-after", "86400");
    let host = host().http(POST, busy).http(POST, Canned::new(200));
    register(&host, URL, &["*"]);
    let left = first(&host, "evt");
    assert!(again(&host, &left[0], 1).unwrap_err().retry_after().is_some());
    // `retry_after_max` was shorter: the gateway has waited for as long as it may.
    let host = host.now_ms(START + HOUR);
    assert!(again(&host, &left[0], 2).unwrap().is_empty());
    assert_eq!(posts(&host).len(), 2);
}

#[test]
fn an_endpoint_shows_the_last_that_was_noted_and_the_first_of_a_row_of_failures() {
    let answers = [500, 503, 200, 429, 404];
    let host =
        answers.into_iter().fold(host(), |host, status| host.http(POST, Canned::new(status)));
    let (id, _) = register(&host, URL, &["*"]);
    let mut seen = Vec::new();
    let host = (0..5).fold(host, |host, hour| {
        let host = host.now_ms(START + hour * HOUR);
        first(&host, &format!("evt-{hour}"));
        let shown = shown(&host, &id);
        seen.push(["last_status", "last_error", "failing_since"].map(|name| shown[name].clone()));
        host
    });
    let since = |hour: &str| json!(format!("2026-01-01T{hour}:00:00Z"));
    let failed =
        |status, hour| [json!(status), json!(format!("answered with {status}")), since(hour)];
    let expected = [
        failed(500, "00"),
        failed(503, "00"),
        [json!(200), Value::Null, Value::Null],
        failed(429, "03"),
        failed(404, "03"),
    ];
    assert_eq!(seen, expected);
    // At another URL nothing has failed yet.
    let host = reachable(host, "https://other.example.com/");
    let moved = json!({ "url": "https://other.example.com/" });
    let (status, moved) = ask(&host, "PATCH", &format!("/endpoints/{id}"), &moved);
    assert_eq!((status, &moved["failing_since"]), (200, &Value::Null));
}

#[test]
fn one_that_fails_for_long_is_disabled_and_can_be_sent_when_it_is_enabled() {
    let host = host().config("disable_after", "5d");
    let host = (0..3).fold(host, |host, _| host.http(POST, down()));
    let host = host.http(POST, Canned::new(200));
    let (id, _) = register(&host, URL, &["*"]);
    let left = first(&host, "evt");
    let host = host.now_ms(START + 5 * 24 * HOUR - 1);
    assert!(again(&host, &left[0], 2).unwrap_err().is_retry());
    assert_eq!(shown(&host, &id)["state"], "enabled");
    let host = host.now_ms(START + 5 * 24 * HOUR);
    let ended = again(&host, &left[0], 3).unwrap();
    assert_eq!(types(&ended), ["endpoint.disabled", "relay.retry"]);
    let because = "it has failed since 2026-01-01T00:00:00Z, the last time so: answered with 500";
    let told = json!({ "id": id, "url": URL, "because": because });
    assert_eq!(ended[0].parse::<Value>().unwrap(), told);
    let off = shown(&host, &id);
    assert_eq!((&off["state"], &off["disabled_because"]), (&json!("disabled"), &json!(because)));
    assert_eq!(off["disabled_at"], "2026-01-06T00:00:00Z");
    // Nothing is sent, and nothing made, while it is disabled; what waits is rejected.
    assert!(published(&host, "evt-2", "order.paid").is_empty());
    let failure = again(&host, &ended[1], 1).unwrap_err();
    assert_eq!(failure, Failure::reject(format!("endpoint {id} is disabled: {because}")));
    assert_eq!(posts(&host).len(), 3);
    let enable = json!({ "state": "enabled" });
    let (status, on) = ask(&host, "PATCH", &format!("/endpoints/{id}"), &enable);
    assert_eq!((status, &on["failing_since"]), (200, &Value::Null));
    // The dead letter, retried by the operator.
    assert!(again(&host, &ended[1], 2).unwrap().is_empty());
    let posts = posts(&host);
    assert_eq!(posts[3].header("webhook-id"), posts[0].header("webhook-id"));
}

#[test]
fn an_endpoint_that_is_enabled_again_has_all_its_time() {
    let host = host().config("disable_after", "1h").http(POST, down());
    let (id, _) = register(&host, URL, &["*"]);
    let left = first(&host, "evt");
    let host = host.now_ms(START + HOUR);
    assert_eq!(again(&host, &left[0], 2).unwrap().len(), 2);
    ask(&host, "PATCH", &format!("/endpoints/{id}"), &json!({ "state": "enabled" }));
    assert_eq!(types(&first(&host, "evt-2")), ["relay.retry"]);
    let host = host.now_ms(START + 2 * HOUR - 1);
    assert!(again(&host, &left[0], 3).unwrap_err().is_retry());
    assert_eq!(shown(&host, &id)["state"], "enabled");
}

#[test]
fn one_event_that_is_never_taken_disables_no_endpoint_that_takes_others() {
    let host = host().config("disable_after", "1h");
    let host = host.http(POST, Canned::new(422)).http(POST, Canned::new(200)).http(POST, down());
    let (id, _) = register(&host, URL, &["*"]);
    let poison = first(&host, "poison");
    let host = host.now_ms(START + HOUR - 1);
    assert!(first(&host, "good").is_empty());
    let host = host.now_ms(START + 10 * HOUR);
    assert!(again(&host, &poison[0], 2).unwrap_err().is_retry());
    assert_eq!(shown(&host, &id)["state"], "enabled");
    // A new row of failures begins with the first of them.
    first(&host, "other");
    assert_eq!(shown(&host, &id)["failing_since"], "2026-01-01T10:00:00Z");
}

#[test]
fn gone_is_gone_at_once() {
    let host = host().http(POST, Canned::new(410));
    let (id, _) = register(&host, URL, &["*"]);
    assert_eq!(types(&first(&host, "evt")), ["endpoint.disabled"]);
    let off = shown(&host, &id);
    let because = json!("it answered 410 Gone");
    assert_eq!((&off["state"], &off["disabled_because"]), (&json!("disabled"), &because));
    assert!(published(&host, "evt-2", "order.paid").is_empty());
}

#[test]
fn what_waits_for_a_deleted_endpoint_ends_with_a_line_in_the_log() {
    let host = host().http(POST, down());
    let (id, _) = register(&host, URL, &["*"]);
    let left = first(&host, "evt");
    ask(&host, "DELETE", &format!("/endpoints/{id}"), &Value::Null);
    assert!(again(&host, &left[0], 1).unwrap().is_empty());
    assert_eq!(posts(&host).len(), 1);
    let line = host.logs().pop().unwrap();
    assert_eq!((&*line.message, &*line.fields[0].1), ("not sent: the endpoint was deleted", &*id));
    for entry in ["endpoint", "taken", "failed"] {
        assert_eq!(host.stored(&format!("{entry}:{id}")), None, "{entry}");
    }
}

#[test]
fn where_the_gateway_may_not_send_any_more_the_endpoint_says_so() {
    // The test's host denies what it has no answer for.
    let host = host();
    let (id, _) = register(&host, URL, &["*"]);
    assert_eq!(types(&first(&host, "evt")), ["relay.retry"]);
    let shown = shown(&host, &id);
    assert!(shown["last_error"].as_str().unwrap().contains("no answer for"), "{shown}");
    assert_eq!((&shown["last_status"], &shown["state"]), (&Value::Null, &json!("enabled")));
}

#[test]
fn nobody_else_makes_deliveries() {
    let host = host().http(POST, Canned::new(200));
    register(&host, URL, &["relay.*"]);
    let outputs = published(&host, "evt", "relay.deliver");
    let own = came_back(&outputs[0], 1);
    let headers: Vec<_> = own.headers().collect();
    for source in ["erp", "plugin.other", "gateway"] {
        let event = Event::builder(source, "relay.deliver").body(own.body());
        let event = headers.iter().fold(event, |event, (name, value)| event.header(*name, *value));
        let outputs = host.run(handle, event.build()).unwrap();
        assert_eq!(types(&outputs), ["relay.deliver"], "{source}: it is published like any other");
    }
    assert!(posts(&host).is_empty());
}
