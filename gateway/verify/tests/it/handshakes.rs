//! Every recorded handshake through the public face.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hookweir_event::Timestamp;
use hookweir_verify::{Incoming, Preset, Secret};
use serde_json::Value;

use crate::support::source;

/// Handshakes that are not answered here, and why.
const ELSEWHERE: [(&str, &str); 1] =
    [("open/handshake/038-dropbox-sign-event-ack", "an event, and the preset's reply to one")];

#[test]
fn every_handshake_is_answered_as_its_provider_wants() {
    let path = format!("{}/tests/vectors/handshakes.jsonl", env!("CARGO_MANIFEST_DIR"));
    let lines = std::fs::read_to_string(path).unwrap();
    let mut answered = 0;
    for line in lines.lines() {
        let vector: Value = serde_json::from_str(line).unwrap();
        let id = vector["id"].as_str().unwrap();
        if ELSEWHERE.iter().any(|(other, _)| *other == id) {
            continue;
        }
        check(&vector, &answer(&vector), id);
        answered += 1;
    }
    assert_eq!(answered + ELSEWHERE.len(), 38);
}

/// X and Braintree sign events with the key that answers challenges, and sign no challenge. Whoever
/// could have a body signed as one could forge events.
#[test]
fn a_challenge_that_could_be_an_event_is_not_signed() {
    let params = [("public_key".to_owned(), "pub".to_owned())];
    for (name, query, wanted) in [
        ("x-twitter", "crc_token=6fL1Key0sM9gGqmRAlM4Mkqb", true),
        ("x-twitter", "crc_token=%7B%22for_user_id%22%3A1%7D", false),
        ("x-twitter", &format!("crc_token={}", "a".repeat(129)), false),
        ("braintree", "bt_challenge=c451d466a31cde2b59b655dd", true),
        ("braintree", "bt_challenge=PG5vdGlmaWNhdGlvbj48L25vdGlmaWNhdGlvbj4=", false),
    ] {
        let params = params.clone().into_iter().filter(|_| name == "braintree").collect();
        let scheme = Preset::named(name).unwrap().scheme(&params).unwrap();
        let secrets = [Secret::new(scheme.secret("a secret").unwrap())];
        let request = Incoming {
            method: "GET".into(),
            path: "/in".into(),
            query: Some(query.to_owned()),
            ..Incoming::default()
        };
        let answer = scheme.handshake(&source(), &secrets, &request, Timestamp::default());
        assert_eq!(answer.unwrap().is_ok(), wanted, "{name}: {query}");
    }
}

/// Status, headers and body.
type Answer = (u16, Vec<(String, String)>, String);

fn answer(vector: &Value) -> Answer {
    let name = match vector["provider"].as_str().unwrap() {
        "microsoft-graph" => "ms-graph",
        name => name,
    };
    let preset = Preset::named(name).unwrap_or_else(|| panic!("no preset {name}"));
    let config = vector["config"].as_object().unwrap();
    let text = |name: &str| config.get(name).and_then(Value::as_str).map(str::to_owned);
    let list = |name: &str| {
        let items = config.get(name)?.as_array()?.iter().filter_map(Value::as_str);
        Some(items.collect::<Vec<_>>().join(" "))
    };
    let params = [
        ("verify_token", text("verify_token")),
        ("verify_code", text("verify_code")),
        ("verification_token", text("verification_token")),
        ("public_key", text("public_key_id")),
        ("topics", list("topics")),
        ("allowed_origins", list("allowed_origins")),
    ];
    let params: BTreeMap<_, _> =
        params.into_iter().filter_map(|(k, v)| Some((k.to_owned(), v?))).collect();
    let scheme = preset.scheme(&params).unwrap();
    let secrets = ["secret", "public_key", "client_id", "token"].map(text);
    let secrets = secrets.into_iter().flatten();
    let secrets: Vec<_> = secrets.map(|text| Secret::new(scheme.secret(&text).unwrap())).collect();

    let request = incoming(&vector["request"]);
    let now = vector["now_unix"].as_i64().map_or(Timestamp::default(), Timestamp::from_secs);
    assert!(scheme.takes(&request.method));
    match scheme.handshake(&source(), &secrets, &request, now) {
        Some(Ok(answered)) => {
            let headers = answered.headers.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
            (answered.status, headers, answered.body)
        }
        Some(Err(refused)) => (refused.status, Vec::new(), String::new()),
        None => panic!("{} is taken for an event", vector["id"]),
    }
}

fn incoming(request: &Value) -> Incoming {
    let url = request["url"].as_str().unwrap();
    let (path, query) = url.split_once('?').map_or((url, None), |(p, q)| (p, Some(q.to_owned())));
    let headers = request["headers"].as_object().into_iter().flatten();
    let body = request["body_b64"].as_str().unwrap_or_default();
    Incoming {
        method: request["method"].as_str().unwrap().to_owned(),
        path: path.to_owned(),
        query,
        url: None,
        headers: headers
            .map(|(name, value)| (name.to_ascii_lowercase(), value.as_str().unwrap().into()))
            .collect(),
        body: STANDARD.decode(body).unwrap().into(),
        decode: None,
    }
}

fn check(vector: &Value, answer: &Answer, id: &str) {
    let (status, headers, body) = answer;
    let wanted = &vector["expect_response"];
    let header = |name: &str| {
        headers.iter().find(|(k, _)| k.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    };
    let has = |wanted: &Value| {
        let headers = wanted["headers"].as_object().into_iter().flatten();
        let same = |(name, value): (&String, &Value)| {
            let (found, value) = (header(name), value.as_str().unwrap());
            found.is_some_and(|found| found.starts_with(value) || found == "*")
        };
        headers.into_iter().all(same)
            && wanted.get("json").is_none_or(|json| {
                serde_json::from_str::<Value>(body).is_ok_and(|body| body == *json)
            })
    };
    if let Some(wanted) = wanted["status"].as_u64() {
        assert_eq!(u64::from(*status), wanted, "{id}");
    }
    if let Some(any) = wanted["status_any_of"].as_array() {
        assert!(any.contains(&Value::from(*status)), "{id}: {status}");
    }
    if let Some(text) = wanted["body"].as_str() {
        assert_eq!(body, text, "{id}");
    }
    if let Some(any) = wanted["body_any_of"].as_array() {
        assert!(any.iter().any(|text| text == body), "{id}: {body}");
    }
    if let Some(any) = wanted["content_type_any_of"].as_array() {
        let found = header("content-type").unwrap();
        assert!(any.iter().any(|t| found.starts_with(t.as_str().unwrap())), "{id}: {found}");
    }
    if let Some(text) = wanted["must_not_contain"].as_str() {
        assert!(!body.contains(text), "{id}");
    }
    for name in wanted["header_absent"].as_array().into_iter().flatten() {
        assert_eq!(header(name.as_str().unwrap()), None, "{id}");
    }
    assert!(has(wanted), "{id}: {headers:?} {body}");
    if let Some(any) = wanted["any_of"].as_array() {
        assert!(any.iter().any(has), "{id}");
    }
}
