//! The admin API, asked by an operator who may do everything: no answer is a server's fault, and each refusal has the
//! shape that is documented.

use serde_json::Value;

use crate::house::{House, TOKEN, exchange};

/// The first line is the method and the target, the rest the body.
pub(crate) fn one(input: &[u8]) {
    let end = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
    let body = input.get(end + 1..).unwrap_or_default();
    let line = String::from_utf8_lossy(&input[..end]);
    // What follows the news for ever has an answer that does not end.
    if line.contains("tail") {
        return;
    }
    let house = House::of_this_process();
    let (host, length) = (house.admin, body.len());
    let head = format!(
        "{line} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {TOKEN}\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    );
    let answer = house.alone(|| exchange(house.admin, &[head.as_bytes(), body].concat()));
    let Some(rest) = answer.strip_prefix(b"HTTP/1.1 ") else {
        assert!(answer.is_empty(), "{}", String::from_utf8_lossy(&answer));
        return;
    };
    let status = rest[0];
    assert_ne!(status, b'5', "{}", String::from_utf8_lossy(&answer));
    let at = answer.windows(4).position(|part| part == b"\r\n\r\n").unwrap();
    let (head, content) = answer.split_at(at + 4);
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    if status == b'4' && head.contains("content-type: application/json") && !content.is_empty() {
        let fault: Value = serde_json::from_slice(content).unwrap();
        assert!(fault["error"].is_string() && fault["code"].is_string(), "{fault}");
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let id = "0199f5d4-3c2b-7a10-8000-000000000001";
    [
        "GET /v1/status".to_owned(),
        "GET /v1/events?limit=10&match=open/*&since=2026-01-01T00:00:00Z&text=a".to_owned(),
        format!("GET /v1/events/{id}"),
        format!("GET /v1/deliveries/{id}/0/attempts/1/requests"),
        "GET /v1/deliveries?state=dead&plugin=a".to_owned(),
        "GET /v1/export?since=2026-01-01T00:00:00Z".to_owned(),
        "GET /v1/sources/open".to_owned(),
        "POST /v1/sources/open/pause\n{\"why\":\"a\"}".to_owned(),
        "POST /v1/sources/open/resume\n".to_owned(),
        "POST /v1/sources/open/missing\n{\"ids\":[\"a\",\"b\"]}".to_owned(),
        "POST /v1/jobs?state=dead\n{\"action\":\"retry\",\"dryRun\":true}".to_owned(),
        "GET /v1/jobs".to_owned(),
        "GET /v1/plugins/a/state?prefix=b&limit=3".to_owned(),
        "PUT /v1/plugins/a/state/b\n{\"value\":\"c\"}".to_owned(),
        "DELETE /v1/plugins/a/state/b".to_owned(),
        "GET /v1/queues".to_owned(),
        "GET /v1/alerts".to_owned(),
        "GET /v1/audit?limit=3".to_owned(),
        "GET /v1/config".to_owned(),
        "GET /metrics".to_owned(),
        "GET /openapi.json".to_owned(),
    ]
    .map(String::into_bytes)
    .into()
}
