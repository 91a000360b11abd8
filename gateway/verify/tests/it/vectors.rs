//! Every recorded vector through the public face. Each file's size is known, so that none of them
//! can pass by being empty.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hookweir_event::Timestamp;
use hookweir_verify::{Incoming, Scheme, Secret};
use serde_json::Value;

/// File, preset, vectors, and how many of them bind: those any correct verifier agrees on, or for
/// which a strict answer is recommended.
const FILES: [(&str, &str, usize, usize); 9] = [
    ("github", "github", 39, 39),
    ("stripe", "stripe", 42, 41),
    ("slack", "slack", 44, 44),
    ("shopify", "shopify", 31, 30),
    ("standard-webhooks", "standard-webhooks", 57, 56),
    ("svix", "standard-webhooks", 55, 54),
    ("resend", "standard-webhooks", 48, 47),
    ("clerk", "standard-webhooks", 49, 47),
    ("openai", "standard-webhooks", 51, 50),
];

#[test]
fn every_vector_gets_its_verdict() {
    for (file, preset, vectors, binding) in FILES {
        let path = format!("{}/tests/vectors/{file}.jsonl", env!("CARGO_MANIFEST_DIR"));
        let lines = std::fs::read_to_string(&path).unwrap();
        let scheme = Scheme::preset(preset).unwrap();
        let mut bound = 0;
        for line in lines.lines() {
            let vector: Value = serde_json::from_str(line).unwrap();
            let verdict = verdict(&scheme, &vector);
            let wanted = match (&vector["must"], &vector["recommended"]) {
                (Value::Bool(true), _) => &vector["expect"],
                (_, Value::String(_)) => &vector["recommended"],
                _ => continue,
            };
            bound += 1;
            assert_eq!(verdict, *wanted, "{}: {}", vector["id"], vector["why"]);
        }
        assert_eq!((lines.lines().count(), bound), (vectors, binding), "{file}");
    }
}

/// What the scheme makes of it. Some vectors are authentic without being events of the provider (an
/// empty body, no type); authenticity is what they are about.
fn verdict(scheme: &Scheme, vector: &Value) -> &'static str {
    let secrets: Vec<_> = match &vector["secrets"] {
        Value::Array(secrets) => secrets.iter().map(|s| s.as_str().unwrap()).collect(),
        _ => vec![vector["secret"].as_str().unwrap()],
    };
    let secrets: Vec<_> =
        secrets.into_iter().map(|text| Secret::new(scheme.secret(text).unwrap())).collect();
    let now = Timestamp::from_secs(vector["now_unix"].as_i64().unwrap());
    match scheme.verify(&"vector".parse().unwrap(), &secrets, request(vector), now) {
        Ok(_) => "accept",
        Err(rejection) if rejection.is_authentic() => "accept",
        Err(_) => "reject",
    }
}

fn request(vector: &Value) -> Incoming {
    let mut headers = Vec::new();
    for (name, value) in vector["headers"].as_object().unwrap() {
        let values = match value {
            Value::Array(values) => values.as_slice(),
            one => std::slice::from_ref(one),
        };
        for value in values {
            headers.push((name.to_ascii_lowercase(), value.as_str().unwrap().into()));
        }
    }
    Incoming {
        method: vector["method"].as_str().unwrap().to_owned(),
        path: "/in".to_owned(),
        url: vector["url"].as_str().map(str::to_owned),
        headers,
        body: STANDARD.decode(vector["body_b64"].as_str().unwrap()).unwrap().into(),
        ..Incoming::default()
    }
}
