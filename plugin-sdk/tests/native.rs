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
