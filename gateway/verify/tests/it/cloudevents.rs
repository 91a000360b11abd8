//! Every recorded CloudEvent in its content mode.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hookweir_verify::{
    Incoming,
    cloudevents::{Fault, Mode, read},
};
use serde_json::Value;

/// The one vector on which readers differ: `specversion` 2.0. It is refused here.
const OTHER_VERSION: &str = "open/cloudevents/011-unknown-specversion";

#[test]
fn every_recorded_request_is_read_as_its_mode_says() {
    let path = format!("{}/tests/vectors/cloudevents.jsonl", env!("CARGO_MANIFEST_DIR"));
    let lines = std::fs::read_to_string(path).unwrap();
    let mut seen = 0;
    for line in lines.lines() {
        let vector: Value = serde_json::from_str(line).unwrap();
        let id = vector["id"].as_str().unwrap();
        let headers = vector["headers"].as_object().unwrap().iter();
        let request = Incoming {
            method: "POST".into(),
            path: "/in".into(),
            headers: headers
                .map(|(name, value)| (name.to_ascii_lowercase(), value.as_str().unwrap().into()))
                .collect(),
            body: STANDARD.decode(vector["body_b64"].as_str().unwrap()).unwrap().into(),
            ..Incoming::default()
        };
        let read = read(&request);
        seen += 1;
        if id == OTHER_VERSION {
            assert_eq!(read, Err(Fault::Version));
            continue;
        }
        let expect = &vector["expect"];
        let Some(events) = expect["events"].as_array() else {
            assert!(read.is_err(), "{id}: {read:?}");
            continue;
        };
        let (mode, found) = read.unwrap_or_else(|fault| panic!("{id}: {fault}"));
        let name = match mode {
            Mode::Binary => "binary",
            Mode::Structured => "structured",
            Mode::Batch => "batch",
        };
        assert_eq!(name, expect["mode"], "{id}");
        assert_eq!(found.len(), events.len(), "{id}");
        for (found, wanted) in found.iter().zip(events) {
            assert_eq!(found.id, wanted["id"], "{id}");
            assert_eq!(found.source, wanted["source"], "{id}");
            assert_eq!(found.event_type, wanted["type"], "{id}");
        }
    }
    assert_eq!(seen, 13);
}

#[test]
fn attributes_in_headers_are_percent_decoded() {
    let headers = [
        ("ce-specversion", "1.0"),
        ("ce-id", "1%2B+%zz%"),
        ("ce-source", "/Euro%20%E2%82%AC"),
        ("ce-type", "a"),
    ];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()));
    let request = Incoming { headers: headers.to_vec(), ..Incoming::default() };
    let (mode, events) = read(&request).unwrap();
    assert_eq!(mode, Mode::Binary);
    assert_eq!((events[0].id.as_str(), events[0].source.as_str()), ("1++%zz%", "/Euro €"));
}
