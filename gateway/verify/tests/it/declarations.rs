//! What a wrong declaration is told, word for word: these texts are what an operator works from.

use hookweir_verify::{Declaration, KeyFault, Preset, ReplayGuard, Scheme};

use crate::support::{declaration, declared, erp};

fn faults(result: Result<Scheme, Vec<hookweir_verify::Fault>>) -> Vec<String> {
    let faults = result.expect_err("a fault");
    faults.into_iter().map(|fault| format!("{}: {}", fault.field, fault.message)).collect()
}

const ALGORITHMS: &str = "`hmac-sha256`, `hmac-sha384`, `hmac-sha512`, `hmac-sha1`, `hmac-md5`, `sha256`, `sha512`, `sha1`, `ed25519`, `ecdsa-p256-sha256`, `ecdsa-p256-sha256-fixed`, `rsa-sha256`, `rsa-sha512`, `rsa-sha1`, `rsa-pss-sha256`, `rsa-pss-sha512`, `equal`";

#[test]
fn an_empty_declaration_is_told_all_it_lacks() {
    assert_eq!(
        faults(Scheme::declare(&Declaration::default())),
        [
            "type: missing: where the event type is, such as `header:x-event` or `json:/type`, or `const:NAME`",
            "id: missing: what makes an event a duplicate. Name the place of an id, such as `header:x-id` or `json:/id`; write `content` if events with equal type and body are one, `none` if they are not",
            &format!("algorithm: missing: one of {ALGORITHMS}"),
            "signature: missing: where the signature is, such as `header:x-signature`",
            "signed: missing: what the signature covers, such as `{body}`",
            "encoding: missing: one of `hex`, `hex-lower`, `base64`, `base64url`",
        ]
    );
}

#[test]
fn every_value_that_is_wrong_is_named() {
    let wrong = declaration(&[
        ("signature", "x-signature"),
        ("algorithm", "sha3"),
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
            &format!("algorithm: unknown `sha3`: one of {ALGORITHMS}"),
            "signature: `x-signature` is no place: write `header:NAME`, `query:NAME`, `form:NAME`, `json:/POINTER`, `form-json:NAME:/POINTER`, `part-json:NAME:/POINTER`, `token:PLACE:/POINTER` or `body`",
            "signed: unknown variable `{bdy}`: there are {body}, {ts}, {id}, {url}, {method}, {path}, {secret}, {crc32:body}, {sha256:body}, {sha256-base64:body}, {sha256-base64url:body}, {sha256:url}, {sha256-base64:url}, {sha256-base64url:url}, {form-sorted}, {url-with-port}, {url-without-port}, {url-decoded}, {contentful}, {query-string-hash}, {plivo}, {alipay}, {paddle-classic}, {signature:NAME}, {header:NAME}, {query:NAME}, {form:NAME}, {json:/POINTER} and {sorted:PLACE,PLACE}",
            "encoding: unknown `b64`: one of `hex`, `hex-lower`, `base64`, `base64url`",
            "secret_encoding: unknown `utf8`: one of `raw`, `hex`, `base64`, `whsec`, `nfkd`, `sha1`, `signkey`, `suffix:TEXT`",
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
    let timed = [("timestamp", "header:x-time"), ("signed", "{ts}{body}"), ("tolerance", "0s")];
    assert_eq!(one(&timed), "tolerance: no request arrives at the moment it was signed");
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
        "encoding: `equal` compares the token as it is; remove `encoding`, or write `base64` for HTTP's basic authentication"
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
    for name in ["github", "stripe", "slack", "shopify", "standard-webhooks", "plaid", "rfc9421"] {
        let params = [("algorithm".to_owned(), "ed25519".to_owned())];
        let params = params.into_iter().filter(|_| name == "rfc9421").collect();
        let scheme = Preset::named(name).unwrap().scheme(&params).unwrap();
        assert!(scheme.with_replay_guard(ReplayGuard::Content).is_ok(), "{name}");
    }
    assert!(Scheme::preset("gitlab").unwrap().with_replay_guard(ReplayGuard::Content).is_err());
}

#[test]
fn presets_have_the_names_that_they_are_called_by() {
    assert_eq!(Scheme::preset_names().count(), Preset::all().count());
    for preset in Preset::all() {
        let Some(scheme) = Scheme::preset(preset.name) else {
            assert!(preset.params.iter().any(|name| !name.ends_with('?')), "{}", preset.name);
            continue;
        };
        assert_eq!(scheme.name(), preset.name);
    }
    assert!(Scheme::preset("nobody").is_none());
    assert!(!Scheme::preset("github").unwrap().needs_url());
    assert!(Scheme::preset("square").unwrap().needs_url());
    assert!(declared(&[("signed", "{url}{body}")]).needs_url());
}
