//! The fuzzer's twin: the same function over inputs of its three kinds, in every `cargo test`.

use hookweir_verify::Declaration;
use hookweir_verify_fuzz::one;
use proptest::prelude::*;

/// Something like the request of some sender.
fn request() -> impl Strategy<Value = Vec<u8>> {
    let name = prop_oneof![
        "(x-|webhook-|svix-)?(hub-|shopify-)?(signature|timestamp|id|event)(-256|-v2)?",
        "authorization|content-type|signature-input|content-digest|paypal-cert-url",
        "[a-z-]{1,20}",
    ];
    let value = prop_oneof![
        "(t|ts|v0|v1|h1|sha256)=[0-9a-f]{0,64}(,(v1|h1)=[0-9a-f]{0,64})?",
        "(v1,|sha256=|Bearer |Basic )?[A-Za-z0-9+/=_.-]{0,90}",
        "176842[0-9]{4}([0-9]{3})?",
        ".{0,40}",
    ];
    let body = prop_oneof![
        "\\{(\"[a-z]{1,8}\":(\"[^\"]{0,8}\"|[0-9]{1,20}|\\[\\]|\\{\\}),){0,4}\"type\":\"a\"\\}"
            .prop_map(String::into_bytes),
        "([a-z_]{1,9}=[a-z0-9%+]{0,9}&){0,6}".prop_map(String::into_bytes),
        any::<Vec<u8>>(),
    ];
    let headers = proptest::collection::vec((name, value), 0..6);
    ("[a-zA-Z0-9=&%]{0,30}", headers, body).prop_map(|(query, headers, body)| {
        let headers: String =
            headers.into_iter().map(|(name, value)| format!("\n{name}:{value}")).collect();
        [query.as_bytes(), headers.as_bytes(), b"\n\n", &body].concat()
    })
}

fn declaration() -> impl Strategy<Value = Vec<u8>> {
    let value = prop_oneof![
        "(header|query|form|json|signature|claim):/?[a-z-]{0,9}",
        "(hmac-)?sha(1|256|512)|ed25519|equal|HS256|jwt|http-message|hex|base64|content|5m|ms|any",
        "(\\{(body|ts|id|url|secret|form-sorted|plivo|sorted:query:a)\\}[.:]?){1,3}",
        ".{0,20}",
    ];
    let line = (0..Declaration::KEYS.len(), value);
    proptest::collection::vec(line, 0..12).prop_map(|lines| {
        let line = |(key, value): (usize, String)| format!("{} {value}\n", Declaration::KEYS[key]);
        lines.into_iter().map(line).collect::<String>().into_bytes()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_preset_takes_nothing_made_up(number: [u8; 2], request in request()) {
        one(&[&number[..], &request].concat());
    }

    #[test]
    fn a_declared_scheme_is_taken_or_refused(declaration in declaration(), request in request()) {
        one(&[b"d", &declaration[..], b"\n\n", &request].concat());
    }

    #[test]
    fn a_broken_vector_is_no_surprise(at: prop::sample::Index, cut: prop::sample::Index, byte: u8) {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors/more.jsonl");
        let vectors = std::fs::read_to_string(path).unwrap();
        let lines: Vec<_> = vectors.lines().collect();
        let mut line = at.get(&lines).as_bytes().to_vec();
        let cut = cut.index(line.len() - 1) + 1;
        line[cut] = byte;
        one(&line);
    }
}
