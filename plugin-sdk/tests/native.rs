//! The SDK as a plugin author meets it in `cargo test`: the attribute, the in-memory host, and what
//! of a handler reaches the contract.

use std::time::Duration;

use hookweir_sdk::export::{self, bindings::hookweir::plugin::types};
use hookweir_sdk::prelude::*;
use hookweir_sdk::testing::{Host, LogLine};
use serde::Deserialize;
use serde_json::{Value, json};

#[plugin(subscribe = ["crm/*"])]
fn handle(event: Event) -> Result<Outputs, Failure> {
    match event.event_type() {
        "panic" => panic!("on purpose"),
        "late" => Err(Failure::retry("later").after(Duration::from_millis(1_500))),
        "never" => Err(Failure::reject("never").after(Duration::from_secs(1))),
        _ => Ok(outputs![Output::new("seen", event.body()).attribute("by", event.source())]),
    }
}

#[api]
fn respond(request: Request) -> Result<Response, Failure> {
    match (request.method(), request.path()) {
        ("POST", "/count") => {
            let sum = state::increment("count", 1)?;
            Ok(Response::json(&sum)?.status(201).header("x-by", request.text().as_bytes()))
        }
        ("POST", "/fail") => {
            state::increment("count", 1)?;
            Err(Failure::reject("as asked"))
        }
        _ => Ok(Response::new(404)),
    }
}

#[verifier]
fn verify(request: Request) -> Result<Verified, String> {
    let known = request.secrets().any(|secret| request.header("x-key") == Some(secret));
    match (known, state::get("seen")) {
        (_, Ok(_)) => Err("it has state".to_owned()),
        (false, _) => Err("another key".to_owned()),
        (true, Err(_)) => {
            let source = request.attribute("source").unwrap_or_default();
            Ok(Verified::new("paid").id(source).redact("header:x-key"))
        }
    }
}

#[derive(Deserialize)]
struct Config {
    currency: String,
}

#[init]
fn init(config: Config) -> Result<(), String> {
    if config.currency == "eur" { Ok(()) } else { Err(format!("no {}", config.currency)) }
}

/// An event in the contract's words.
fn wire(event_type: &str) -> types::Event {
    types::Event {
        id: "1".into(),
        source: "crm".into(),
        event_type: event_type.into(),
        attempt: 1,
        received_at_ms: 5,
        method: "POST".into(),
        path: "/webhooks/crm".into(),
        query: None,
        headers: vec![("x-raw".into(), vec![0xff])],
        body: b"body".to_vec(),
        attributes: Vec::new(),
    }
}

#[test]
fn the_export_speaks_the_contract() {
    let outputs = export::run(handle, wire("made")).expect("handled");
    assert_eq!(outputs[0].event_type, "seen");
    assert_eq!(outputs[0].body, b"body");
    assert_eq!(outputs[0].attributes, [("by".to_owned(), "crm".to_owned())]);

    let failure = export::run(handle, wire("late")).expect_err("late");
    assert_eq!(failure.kind, types::FailureKind::Retry);
    assert_eq!(failure.retry_after_ms, Some(1_500));

    let failure = export::run(handle, wire("never")).expect_err("never");
    assert_eq!(failure.kind, types::FailureKind::Reject);
    assert_eq!(failure.retry_after_ms, None, "a reject has no wait");
}

#[test]
fn the_optional_exports_speak_the_contract() {
    let request = |path: &str| types::Request {
        method: "POST".into(),
        path: path.into(),
        query: None,
        headers: vec![("x-key".into(), b"new".to_vec())],
        body: b"me".to_vec(),
        attributes: vec![
            ("secret".into(), "old".into()),
            ("source".into(), "erp".into()),
            ("secret".into(), "new".into()),
        ],
    };
    let host = Host::new();
    let wired = |_: Request| export::respond(respond, request("/count")).map_err(|_| unreachable());
    let response = host.respond(|r| wired(r).map(|_| Response::new(200)), made("POST", "/count"));
    assert_eq!(
        (response.expect("answered").status_code(), host.stored("count")),
        (200, Some(b"1".to_vec()))
    );

    let verified = host.verify(
        |_| {
            let verified = export::verify(verify, request("/"))?;
            assert_eq!((verified.id.as_deref(), &*verified.event_type), (Some("erp"), "paid"));
            assert_eq!(verified.attributes, [("redact".to_owned(), "header:x-key".to_owned())]);
            Ok(Verified::new("seen"))
        },
        made("POST", "/"),
    );
    assert_eq!(verified.expect("genuine").event_type(), "seen");
    assert_eq!(export::init(init, r#"{"currency":"usd"}"#), Err("no usd".to_owned()));
}

fn unreachable() -> Failure {
    Failure::retry("it is answered")
}

fn made(method: &str, path: &str) -> Request {
    Request::builder(method, path).build()
}

#[test]
fn requests_are_answered_and_what_a_failed_one_wrote_is_gone() {
    let host = Host::new();
    for expected in ["1", "2"] {
        let request = Request::builder("POST", "/count").body("me").build();
        let response = host.respond(respond, request).expect("answered");
        assert_eq!((response.status_code(), response.body()), (201, expected.as_bytes()));
        assert!(response.headers().any(|header| header == ("x-by", b"me".as_slice())));
    }
    let failure = host.respond(respond, made("POST", "/fail")).expect_err("as asked");
    assert_eq!((failure.is_retry(), host.stored("count")), (false, Some(b"2".to_vec())));
    assert_eq!(host.respond(respond, made("GET", "/x")).expect("answered").status_code(), 404);
}

#[test]
fn a_verifier_is_shown_secrets_and_has_no_state() {
    let host = Host::new().state("seen", "1");
    let request = |key: &str| {
        let request = Request::builder("POST", "/webhooks/erp").secret("s3cret");
        request.attribute("source", "erp").header("x-key", key).build()
    };
    let verified = host.verify(verify, request("s3cret")).expect("genuine");
    assert_eq!((verified.event_type(), verified.dedupe_id()), ("paid", Some("erp")));
    assert_eq!(verified.redacted().collect::<Vec<_>>(), ["header:x-key"]);
    assert_eq!(host.verify(verify, request("guess")), Err("another key".to_owned()));
    // The next call has its state again.
    assert!(host.respond(respond, made("POST", "/count")).is_ok());
}

#[test]
fn an_init_reads_the_config_and_may_refuse_it() {
    let init_with = |currency: &str| Host::new().config("currency", currency).init(init);
    assert_eq!((init_with("eur"), init_with("usd")), (Ok(()), Err("no usd".to_owned())));
    let why = Host::new().config("currency", 7).init(init).expect_err("a number");
    assert!(why.starts_with("malformed config: invalid type"), "{why}");
}

#[test]
fn debugging_a_request_or_a_response_shows_no_body_and_no_header() {
    let request = Request::builder("POST", "/p").secret("s3cret").header("h", "s3cret");
    let request = request.query("t=s3cret").body("s3cret").build();
    let response = Response::text("s3cret").header("h", "s3cret");
    let shown = format!("{request:?} {response:?}");
    assert!(shown.contains("body_bytes: 6") && !shown.contains("s3cret"), "{shown}");
}

#[test]
fn headers_are_found_in_any_case_and_may_be_raw() {
    let read = |event: Event| {
        assert_eq!(event.header("CONTENT-type"), Some("text/plain"));
        assert_eq!(event.header("x-raw"), None, "not UTF-8");
        assert_eq!(event.header("x-absent"), None);
        assert_eq!(event.headers().count(), 3);
        assert_eq!(event.attribute("parent"), Some("0"));
        assert_eq!(event.query(), Some("a=1"));
        Ok(outputs![])
    };
    let event = Event::builder("crm", "t")
        .header("Content-Type", "text/plain")
        .header("content-type", "second")
        .header("X-Raw", vec![0xff])
        .attribute("parent", "0")
        .query("a=1")
        .build();
    Host::new().run(read, event).expect("handled");
}

#[test]
fn debugging_an_event_or_an_output_shows_no_body_and_no_header() {
    let event = Event::builder("crm", "t").header("h", "s3cret").body("s3cret").build();
    let output = Output::new("t", "s3cret").header("h", "s3cret");
    let shown = format!("{event:?} {output:?}");
    assert!(shown.contains("body_bytes: 6") && !shown.contains("s3cret"), "{shown}");
}

#[test]
fn config_reads_as_text_and_as_a_type() {
    #[derive(Deserialize)]
    struct Config {
        currency: String,
        limits: Vec<u32>,
    }
    let read = |_: Event| {
        assert_eq!(config::get("currency").as_deref(), Some("eur"));
        assert_eq!(config::get("limits").as_deref(), Some("[1,2]"));
        assert_eq!(config::get("absent"), None);
        let config: Config = config::all()?;
        Ok(outputs![Output::new(config.currency, config.limits.len().to_string())])
    };
    let host = Host::new().config("currency", "eur").config("limits", json!([1, 2]));
    let outputs = host.run(read, Event::builder("crm", "t").build()).expect("handled");
    assert_eq!((outputs[0].event_type(), outputs[0].body()), ("eur", b"2".as_slice()));

    // The operator's fault, not the event's.
    let failure = Host::new().run(read_only_typed, Event::builder("crm", "t").build());
    let failure = failure.expect_err("no config");
    assert!(failure.is_retry());
    assert!(failure.message().starts_with("malformed config: missing field"), "{failure}");

    fn read_only_typed(_: Event) -> Result<Outputs, Failure> {
        let config: Config = config::all()?;
        Ok(outputs![Output::new(config.currency, "")])
    }
}

#[test]
fn log_lines_are_recorded_over_several_runs() {
    let write = |event: Event| {
        log::warn!(attempt = event.attempt(), source = event.source(), "at {}", clock::now_ms());
        Ok(outputs![])
    };
    let host = Host::new().now_ms(7);
    for attempt in 1..=2 {
        host.run(write, Event::builder("crm", "t").attempt(attempt).build()).expect("handled");
    }
    let expected = LogLine {
        level: log::Level::Warn,
        message: "at 7".into(),
        fields: vec![("attempt".into(), "2".into()), ("source".into(), "crm".into())],
    };
    assert_eq!(host.logs()[1], expected);
}

#[test]
fn chance_is_the_same_for_the_same_seed() {
    let draw = |seed: u64| {
        let numbers = |_: Event| Ok(outputs![Output::json("n", &[random::u64(), random::u64()])?]);
        let host = Host::new().seed(seed);
        let outputs = host.run(numbers, Event::builder("crm", "t").build()).expect("handled");
        outputs[0].parse::<Value>().expect("JSON")
    };
    assert_eq!(draw(1), draw(1));
    assert_ne!(draw(1), draw(2));
    assert_ne!(draw(1)[0], draw(1)[1]);
}

#[test]
fn a_host_is_gone_after_its_run_even_after_a_panic() {
    let host = Host::new();
    let run = || host.run(handle, Event::builder("crm", "panic").build());
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err());
    assert!(std::panic::catch_unwind(clock::now_ms).is_err(), "no host outside of a run");
    assert!(host.run(handle, Event::builder("crm", "t").build()).is_ok());
}

#[test]
fn the_macros_and_the_sdk_are_of_one_version() {
    // `#[plugin]` writes the macros' version into the section, and calls it the SDK's.
    let macros = include_str!("../macros/Cargo.toml");
    assert!(macros.contains("version.workspace = true"));
    assert!(include_str!("../Cargo.toml").contains("version.workspace = true"));
}
