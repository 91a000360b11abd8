//! Every recorded vector through the public face. Their number is known, so that none can pass by
//! being left out.

use hookweir_verify::vector::{Outcome, Vector};

/// Vectors whose recommendation is not followed, and why.
const DIFFERENT: [(&str, &str); 1] = [(
    "open/linear/006-valid-empty-body",
    "Linear signs its time inside the body; an empty body has none, and would be good for ever",
)];

#[test]
fn every_vector_gets_its_verdict() {
    let path = format!("{}/tests/vectors/open.jsonl", env!("CARGO_MANIFEST_DIR"));
    let lines = std::fs::read_to_string(&path).unwrap();
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
    assert_eq!((passed, advisory, DIFFERENT.len()), (2575, 42, 1));
}
