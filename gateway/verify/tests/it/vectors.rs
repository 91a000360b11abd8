//! Every recorded vector through the public face. Their number is known, so that none can pass by
//! being left out.

use hookweir_verify::vector::{Outcome, Vector};
use serde_json::{Value, json};

/// Vectors whose recommendation is not followed, and why.
const DIFFERENT: [(&str, &str); 1] = [(
    "open/linear/006-valid-empty-body",
    "Linear signs its time inside the body; an empty body has none, and would be good for ever",
)];

fn vectors() -> String {
    let read = |name| {
        let path = format!("{}/tests/vectors/{name}.jsonl", env!("CARGO_MANIFEST_DIR"));
        std::fs::read_to_string(path).unwrap()
    };
    read("open") + &read("more")
}

#[test]
fn every_vector_gets_its_verdict() {
    let lines = vectors();
    let (mut passed, mut advisory, mut failed) = (0, 0, Vec::new());
    for line in lines.lines() {
        let vector = Vector::parse(line).unwrap();
        match vector.run() {
            Outcome::Passed => passed += 1,
            Outcome::Advisory(_) => advisory += 1,
            Outcome::Failed(_) if DIFFERENT.iter().any(|(id, _)| *id == vector.id) => {}
            Outcome::Failed(reason) => failed.push((vector.id, vector.why, reason)),
        }
    }
    assert!(failed.is_empty(), "{} failed:\n{failed:#?}", failed.len());
    assert_eq!((passed, advisory, DIFFERENT.len()), (2619, 42, 1));
}

/// What every request survives: a header gone, empty, sent twice, far too long, or not of this
/// world; half a body.
#[test]
fn a_mangled_request_is_refused_or_taken_and_never_a_panic() {
    let lines = vectors();
    let mut run = 0;
    for line in lines.lines() {
        let vector: Value = serde_json::from_str(line).unwrap();
        let mut mangled = Vec::new();
        for name in vector["headers"].as_object().unwrap().keys() {
            for value in [
                Value::Null,
                json!(""),
                json!(","),
                json!("="),
                json!("t=,v1=,v1=,"),
                json!("a.b.c"),
                json!("a".repeat(9000)),
                json!("v1,".repeat(3000)),
                json!("é\u{0}\u{feff}"),
                json!([vector["headers"][name], vector["headers"][name]]),
            ] {
                let mut changed = vector.clone();
                let headers = changed["headers"].as_object_mut().unwrap();
                if value.is_null() {
                    headers.remove(name);
                } else {
                    headers.insert(name.clone(), value);
                }
                mangled.push(changed);
            }
        }
        let body = vector["body_b64"].as_str().unwrap();
        let mut half = vector.clone();
        half["body_b64"] = body[..body.len() / 8 * 4].into();
        mangled.push(half);
        for changed in mangled {
            let Ok(vector) = Vector::parse(&changed.to_string()) else { continue };
            let _ = vector.run();
            run += 1;
        }
    }
    assert!(run > 50_000, "{run}");
}
