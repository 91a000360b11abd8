//! What a wrong declaration is told, word for word: these texts are what an operator works from.

use hookweir_verify::{Declaration, KeyFault, ReplayGuard, Scheme};

use crate::support::{declaration, declared, erp};

fn faults(result: Result<Scheme, Vec<hookweir_verify::Fault>>) -> Vec<String> {
    let faults = result.expect_err("a fault");
    faults.into_iter().map(|fault| format!("{}: {}", fault.field, fault.message)).collect()
}

#[test]
fn an_empty_declaration_is_told_all_it_lacks() {
    assert_eq!(
        faults(Scheme::declare(&Declaration::default())),
        [
            "type: missing: where the event type is, such as `header:x-event` or `json:/type`, or `const:NAME`",
            "id: missing: what makes an event a duplicate. Name the place of an id, such as `header:x-id` or `json:/id`; write `content` if events with equal type and body are one, `none` if they are not",
            "algorithm: missing: one of `hmac-sha1`, `hmac-sha256`, `hmac-sha512`, `equal`",
            "signature: missing: where the signature is, such as `header:x-signature`",
            "encoding: missing: one of `hex`, `hex-lower`, `base64`, `base64url`",
            "signed: missing: what the signature covers, such as `{body}`",
        ]
    );
}

#[test]
fn every_value_that_is_wrong_is_named() {
    let wrong = declaration(&[
        ("signature", "x-signature"),
        ("algorithm", "sha256"),
        ("encoding", "b64"),
        ("signed", "{bdy}"),
        ("secret_encoding", "utf8"),
        ("timestamp", "header:x y"),
        ("timestamp_unit", "sec"),
        ("tolerance", "5 minutes"),
        ("tolerance_future", "-1s"),
        ("type", "json:type"),
        ("id", "const:1"),
        ("separator", ""),
        ("replay_guard", "on"),
    ]);
    assert_eq!(
        faults(Scheme::declare(&wrong)),
        [
            "type: `type` is no JSON pointer: write `/name` or `/outer/inner`",
            "id: a constant id would make all events one",
            "algorithm: unknown `sha256`: one of `hmac-sha1`, `hmac-sha256`, `hmac-sha512`, `equal`",
            "signature: `x-signature` is no place: write `header:NAME`, `query:NAME`, `form:NAME`, `json:/POINTER` or `form-json:NAME:/POINTER`",
            "encoding: unknown `b64`: one of `hex`, `hex-lower`, `base64`, `base64url`",
            "signed: unknown variable `{bdy}`: there are {body}, {ts}, {id}, {url}, {method}, {path}, {header:NAME}, {query:NAME}, {form:NAME} and {json:/POINTER}",
            "secret_encoding: unknown `utf8`: one of `raw`, `hex`, `base64`, `whsec`",
            "separator: the separator is empty",
            "timestamp_unit: unknown `sec`: one of `s`, `ms`, `rfc3339`",
            "tolerance: `5 minutes` is no duration: write `30s`, `5m` or `2h`",
            "tolerance_future: `-1s` is no duration: write `30s`, `5m` or `2h`",
            "timestamp: `x y` is no header name",
            "replay_guard: unknown `on`: one of `content`, `none`",
        ]
    );
}

/// The only fault of the erp declaration so changed.
fn one(changes: &[(&str, &str)]) -> String {
    let faults = faults(Scheme::declare(&erp(changes)));
    assert_eq!(faults.len(), 1, "{faults:?}");
    faults.into_iter().next().unwrap()
}

#[test]
fn parts_that_deny_each_other_are_faults() {
    assert_eq!(
        one(&[("timestamp", "header:x-ts")]),
        "timestamp: the signature does not cover the timestamp, so a replay could carry a fresh one; put `{ts}` into `signed` or remove `timestamp`"
    );
    assert_eq!(
        one(&[("signed", "{ts}{body}")]),
        "signed: `{ts}` needs `timestamp`, the place of the signed time"
    );
    assert_eq!(
        one(&[("signed", "{id}{body}")]),
        "signed: `{id}` needs an `id` that has a place in the request"
    );
    assert_eq!(
        one(&[("signed", "{url}")]),
        "signed: nothing in it differs from one request to the next; does it lack `{body}`?"
    );
    assert_eq!(
        one(&[("signed", "{body")]),
        "signed: a `{` without its other half; as text, write it twice"
    );
    assert_eq!(
        one(&[("signature", "json:/signature")]),
        "signed: a signature inside the body can't sign the body"
    );
    assert_eq!(one(&[("tolerance", "5m")]), "tolerance: has no effect without `timestamp`");
    assert_eq!(
        one(&[("timestamp", "signature:t"), ("signed", "{ts}{body}")]),
        "timestamp: `signature:NAME` needs `separator`, what parts the items"
    );
}

#[test]
fn what_can_not_work_with_the_rest_is_a_fault() {
    assert_eq!(
        one(&[("algorithm", "equal"), ("encoding", "")]),
        "signed: `equal` signs nothing; remove `signed`"
    );
    assert_eq!(
        one(&[("algorithm", "equal"), ("signed", "")]),
        "encoding: `equal` compares the token as it is; remove `encoding`"
    );
    assert_eq!(
        one(&[("id", "none"), ("replay_guard", "content")]),
        "replay_guard: `id = \"none\"` says that equal requests are different events, and the guard would make them one; write `id = \"content\"`"
    );
    assert_eq!(
        one(&[
            ("algorithm", "equal"),
            ("encoding", ""),
            ("signed", ""),
            ("replay_guard", "content")
        ]),
        "replay_guard: nothing is signed that could be remembered"
    );
    assert_eq!(
        one(&[("type", "const:a b")]),
        "type: an event type is 1 to 256 bytes without white space or control characters"
    );
}

#[test]
fn an_insecure_source_has_no_keys_for_a_check() {
    let reads = declaration(&[("type", "json:/type"), ("id", "none")]);
    let scheme = Scheme::insecure(&reads).unwrap();
    assert!(scheme.is_insecure());
    assert_eq!(scheme.secret("abc").unwrap_err(), KeyFault::Insecure);
    let wrong = declaration(&[("type", "json:/type"), ("signed", "{body}")]);
    assert_eq!(
        faults(Scheme::insecure(&wrong)),
        [
            "id: missing: what makes an event a duplicate. Name the place of an id, such as `header:x-id` or `json:/id`; write `content` if events with equal type and body are one, `none` if they are not",
            "signed: an insecure source checks nothing; only `type` and `id` are read",
        ]
    );
}

#[test]
fn a_guard_that_can_not_work_is_refused() {
    let token = declared(&[("algorithm", "equal"), ("encoding", ""), ("signed", "")]);
    let fault = token.with_replay_guard(ReplayGuard::Content).unwrap_err();
    assert_eq!(fault.field, "replay_guard");
    let none = declared(&[("id", "none")]);
    assert!(none.clone().with_replay_guard(ReplayGuard::Content).is_err());
    assert!(none.with_replay_guard(ReplayGuard::None).is_ok());
    for name in Scheme::preset_names() {
        let scheme = Scheme::preset(name).unwrap();
        assert!(scheme.with_replay_guard(ReplayGuard::Content).is_ok(), "{name}");
    }
}

#[test]
fn the_presets_are_these() {
    let names: Vec<_> = Scheme::preset_names().collect();
    assert_eq!(names, ["github", "stripe", "slack", "shopify", "standard-webhooks"]);
    assert!(Scheme::preset("svix").is_none());
    assert!(names.iter().all(|name| Scheme::preset(name).is_some_and(|s| s.name() == *name)));
    assert!(!Scheme::preset("github").unwrap().needs_url());
    assert!(declared(&[("signed", "{url}{body}")]).needs_url());
}
