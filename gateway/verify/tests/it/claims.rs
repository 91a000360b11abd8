//! What is a duplicate of what, and what the check says about itself.

use hookweir_event::{Digest, Timestamp};
use hookweir_verify::{Declaration, IdClaim, Incoming, Rejection, Scheme, Secret};

use crate::support::{NOW, declared, event, header, signed, source, verify};

fn claims(scheme: &Scheme, event_type: &str, id: &str, body: &str) -> Vec<Digest> {
    let key = scheme.secret("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    let request = signed(scheme, &key, &event(event_type, id, body));
    verify(scheme, &key, &request).unwrap().claims().to_vec()
}

/// Whether an event with `later` claims is a duplicate of one with `earlier`.
fn collides(earlier: &[Digest], later: &[Digest]) -> bool {
    earlier.iter().any(|claim| later.contains(claim))
}

#[test]
fn a_captured_request_is_not_replayed_under_a_new_id() {
    let github = Scheme::preset("github").unwrap();
    let first = claims(&github, "push", "1", "{}");
    assert_eq!(first.len(), 2);
    assert!(collides(&first, &claims(&github, "push", "2", "{}")));
    assert!(collides(&first, &claims(&github, "push", "1", "[]")));
    assert!(!collides(&first, &claims(&github, "push", "2", "[]")));

    let open = github.without_replay_guard();
    let first = claims(&open, "push", "1", "{}");
    assert_eq!(first.len(), 1);
    assert!(!collides(&first, &claims(&open, "push", "2", "{}")));
}

/// A sender that signs with two secrets, as in a rotation, gives two ways to come again: with one of
/// the signatures, and after the other secret is gone.
#[test]
fn a_request_with_two_signatures_can_not_come_again_with_one() {
    let scheme =
        declared(&[("separator", ","), ("id", "header:x-id"), ("replay_guard", "content")]);
    let [a, b] = ["secret a", "secret b"].map(|text| scheme.secret(text).unwrap());
    let mut sent = event("a", "1", "{}");
    sent.headers.push(("x-id".into(), b"1".to_vec()));
    let [by_a, by_b] = [&a, &b].map(|key| signed(&scheme, key, &sent));
    let signature = |request: &Incoming| {
        let mut request = request.clone();
        String::from_utf8(header(&mut request, "x-signature").clone()).unwrap()
    };
    let mut both = by_a.clone();
    *header(&mut both, "x-signature") =
        format!("{},{}", signature(&by_a), signature(&by_b)).into_bytes();
    let [a, b] = [a, b].map(Secret::new);
    let claims = |secrets: &[Secret], request: &Incoming, id: &str| {
        let mut request = request.clone();
        *header(&mut request, "x-id") = id.into();
        let verified = scheme.verify(&source(), secrets, request, NOW).unwrap();
        verified.claims().to_vec()
    };
    let first = claims(&[a.clone(), b.clone()], &both, "1");
    for (secrets, request) in [
        (&[a.clone(), b.clone()][..], &by_a),
        (&[a.clone(), b.clone()], &by_b),
        (&[b.clone(), a.clone()], &both),
        (std::slice::from_ref(&b), &by_b),
        (std::slice::from_ref(&a), &both),
    ] {
        assert!(collides(&first, &claims(secrets, request, "2")));
    }
    let mut other = event("a", "1", "[]");
    other.headers.push(("x-id".into(), b"1".to_vec()));
    let other = signed(&scheme, &a.key, &other);
    assert!(!collides(&first, &claims(&[a.clone(), b], &other, "2")));
    // One secret named twice is one claim.
    assert_eq!(claims(&[a.clone(), a], &by_a, "3").len(), 2);
}

#[test]
fn topics_with_one_id_and_one_body_are_different_events() {
    let shopify = Scheme::preset("shopify").unwrap();
    let created = claims(&shopify, "orders/create", "1", "{}");
    assert!(!collides(&created, &claims(&shopify, "orders/paid", "1", "{}")));
    assert!(collides(&created, &claims(&shopify, "orders/create", "2", "{}")));
}

#[test]
fn a_signed_id_stands_alone() {
    for (name, body) in [
        ("stripe", r#"{"id":"evt_1","type":"a"}"#),
        ("slack", r#"{"event_id":"Ev1","event":{"type":"a"}}"#),
        ("standard-webhooks", r#"{"type":"a"}"#),
    ] {
        let scheme = Scheme::preset(name).unwrap();
        assert_eq!(claims(&scheme, "x", "1", body).len(), 1, "{name}");
    }
    let stripe = Scheme::preset("stripe").unwrap();
    let first = claims(&stripe, "x", "1", r#"{"id":"evt_1","type":"a"}"#);
    assert!(collides(&first, &claims(&stripe, "x", "1", r#"{"id":"evt_1","type":"b"}"#)));
    assert!(!collides(&first, &claims(&stripe, "x", "1", r#"{"id":"evt_2","type":"a"}"#)));
}

/// What a token inside the body claims: the App Store's type and id.
#[test]
fn an_event_inside_a_token_has_its_type_and_id() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/more.jsonl");
    let vectors = std::fs::read_to_string(path).unwrap();
    let vector = vectors.lines().find(|line| line.contains("more/app-store/001-valid")).unwrap();
    let vector: serde_json::Value = serde_json::from_str(vector).unwrap();
    let scheme = Scheme::preset("app-store").unwrap();
    let root = scheme.secret(vector["public_key"].as_str().unwrap()).unwrap();
    let body = base64::Engine::decode(
        &base64::engine::general_purpose::STANDARD,
        vector["body_b64"].as_str().unwrap(),
    );
    let request = Incoming { body: body.unwrap().into(), ..Incoming::default() };
    let now = Timestamp::from_secs(vector["now_unix"].as_i64().unwrap());
    let verified = scheme.verify(&source(), &[Secret::new(root.clone())], request.clone(), now);
    let verified = verified.unwrap();
    assert_eq!(verified.event_type().as_str(), "SUBSCRIBED.INITIAL_BUY");
    let facts = verified.facts();
    assert!(facts.id_signed && facts.type_signed, "{facts:?}");
    // The token holds the event; what else stands beside it in the body nobody signed.
    assert!(!facts.body_authenticated);
    assert_eq!(verified.claims().len(), 1);
    // Certificates end.
    let late = Timestamp::from_secs(vector["now_unix"].as_i64().unwrap() + 4001 * 86_400);
    let verdict = scheme.verify(&source(), &[Secret::new(root)], request, late);
    assert_eq!(verdict.unwrap_err(), Rejection::BadSignature);
}

/// CloudEvents, section 3.1.1: source and id together tell an event apart.
#[test]
fn an_id_may_need_its_source_beside_it() {
    let scheme = Scheme::preset("cloudevents").unwrap();
    let key = scheme.secret("a token of some length").unwrap();
    let claims = |id: &str, from: &str, binary: bool| {
        let body = format!(r#"{{"id":"{id}","source":"{from}","type":"a"}}"#);
        let mut sent = event("a", id, if binary { "{}" } else { &body });
        sent.headers.push(("authorization".into(), b"Bearer a token of some length".to_vec()));
        if binary {
            for (name, value) in [("ce-id", id), ("ce-source", from), ("ce-type", "a")] {
                sent.headers.push((name.into(), value.into()));
            }
        }
        let request = Incoming::from(sent);
        verify(&scheme, &key, &request).unwrap().claims().to_vec()
    };
    let first = claims("1", "/a", true);
    assert_eq!(first, claims("1", "/a", false), "both modes are one event");
    assert!(!collides(&first, &claims("1", "/b", true)));
    assert!(!collides(&first, &claims("2", "/a", false)));
}

#[test]
fn content_is_source_type_and_body() {
    let erp = declared(&[]);
    let first = claims(&erp, "a", "1", "{}");
    assert_eq!(first, claims(&erp, "a", "2", "{}"));
    assert!(!collides(&first, &claims(&erp, "b", "1", "{}")));
    assert!(!collides(&first, &claims(&erp, "a", "1", "[]")));
    assert_eq!(first, [Digest::of_fields(&[b"content", b"shop", b"a", b"{}"])]);
}

#[test]
fn none_claims_nothing() {
    assert_eq!(claims(&declared(&[("id", "none")]), "a", "1", "{}"), []);
}

#[test]
fn sources_do_not_share_claims() {
    let scheme = Scheme::preset("github").unwrap();
    let key = scheme.secret("hunter2").unwrap();
    let request = signed(&scheme, &key, &event("push", "1", "{}"));
    let at = |name: &str| {
        let secrets = [Secret::new(key.clone())];
        let verified =
            scheme.verify(&name.parse().unwrap(), &secrets, request.clone(), NOW).unwrap();
        verified.claims().to_vec()
    };
    assert!(!collides(&at("one"), &at("two")));
}

#[test]
fn the_facts_say_what_is_signed() {
    let facts = |name: &str, body: &str| {
        let scheme = Scheme::preset(name).unwrap();
        let key = scheme.secret("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let request = signed(&scheme, &key, &event("a", "1", body));
        let facts = verify(&scheme, &key, &request).unwrap().facts();
        assert!(facts.body_authenticated && facts.secret_index == Some(0), "{name}");
        (facts.id_signed, facts.type_signed, facts.skew_ms)
    };
    assert_eq!(facts("github", "{}"), (false, false, None));
    assert_eq!(facts("stripe", r#"{"id":"1","type":"a"}"#), (true, true, Some(0)));
    assert_eq!(facts("standard-webhooks", r#"{"type":"a"}"#), (true, true, Some(0)));
}

#[test]
fn slack_has_three_kinds_of_bodies() {
    let slack = Scheme::preset("slack").unwrap();
    let key = slack.secret("8f742231b10e8888abcd99yyyzzz85a5").unwrap();
    let kind = |body: &str| {
        let request = signed(&slack, &key, &event("x", "1", body));
        verify(&slack, &key, &request).unwrap().event_type().to_string()
    };
    assert_eq!(kind(r#"{"type":"event_callback","event":{"type":"message"}}"#), "message");
    assert_eq!(kind(r#"{"type":"url_verification","challenge":"x"}"#), "url_verification");
    assert_eq!(kind("payload=%7B%22type%22%3A%22block_actions%22%7D"), "block_actions");
    assert_eq!(kind("token=x&command=%2Fweather&text=94070"), "slash_command");
}

#[test]
fn secrets_are_tried_while_they_are_valid() {
    let scheme = Scheme::preset("github").unwrap();
    let (old, new) = (scheme.secret("old").unwrap(), scheme.secret("new").unwrap());
    let request = signed(&scheme, &old, &event("push", "1", "{}"));
    let verify = |secrets: &[Secret]| {
        let verified = scheme.verify(&source(), secrets, request.clone(), NOW);
        verified.map(|verified| verified.facts().secret_index)
    };
    let until =
        |secs| Secret { until: Some(Timestamp::from_secs(secs)), ..Secret::new(old.clone()) };
    let (ended, running) = (until(1), until(2_000_000_000));
    assert_eq!(verify(&[Secret::new(new.clone()), running]), Ok(Some(1)));
    assert_eq!(verify(&[Secret::new(new), ended.clone()]), Err(Rejection::BadSignature));
    assert_eq!(verify(&[ended]), Err(Rejection::NoValidSecret));
    assert_eq!(verify(&[]), Err(Rejection::NoValidSecret));
}

#[test]
fn a_key_of_another_scheme_never_matches() {
    let sha256 = declared(&[]);
    let sha1 = declared(&[("algorithm", "hmac-sha1")]);
    let (key, other) = (sha256.secret("a").unwrap(), sha1.secret("a").unwrap());
    let request = signed(&sha1, &other, &event("a", "1", "{}"));
    assert_eq!(verify(&sha256, &other, &request).unwrap_err(), Rejection::BadSignature);
    assert_eq!(verify(&sha1, &key, &request).unwrap_err(), Rejection::BadSignature);
}

#[test]
fn refusals_name_their_cause() {
    let scheme = Scheme::preset("standard-webhooks").unwrap();
    let key = scheme.secret("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    let good = signed(&scheme, &key, &event("a", "1", "{}"));
    let refused = |change: &dyn Fn(&mut Incoming)| {
        let mut request = good.clone();
        change(&mut request);
        verify(&scheme, &key, &request).unwrap_err()
    };
    let without = |name: &'static str| {
        move |request: &mut Incoming| request.headers.retain(|(header, _)| header != name)
    };
    assert_eq!(refused(&without("webhook-signature")), Rejection::MissingSignature);
    assert_eq!(refused(&without("webhook-timestamp")), Rejection::MissingTimestamp);
    assert_eq!(refused(&without("webhook-id")), Rejection::MissingPart("{id}".into()));
    assert_eq!(
        refused(&|r| r.headers.extend(r.headers.clone())),
        Rejection::DuplicatedHeader("webhook-signature".into())
    );
    assert_eq!(refused(&|r| *header(r, "webhook-id") = b"1.2".to_vec()), Rejection::AmbiguousId);
    assert_eq!(
        refused(&|r| *header(r, "webhook-signature") = b"v1,AAAA ".repeat(33)),
        Rejection::MalformedSignature
    );
    assert_eq!(
        refused(&|r| *header(r, "webhook-signature") = b"v1,AAAA ".repeat(32)),
        Rejection::BadSignature
    );
    let late = Timestamp::from_millis(NOW.as_millis() + 301_000);
    let secrets = [Secret::new(key.clone())];
    let stale = scheme.verify(&source(), &secrets, good.clone(), late).unwrap_err();
    assert_eq!(stale.to_string(), "the timestamp is stale by 301000 ms");
    let early = Timestamp::from_millis(NOW.as_millis() - 301_000);
    let future = scheme.verify(&source(), &secrets, good.clone(), early).unwrap_err();
    assert_eq!(future.to_string(), "the timestamp lies 301000 ms in the future");
}

#[test]
fn what_is_genuine_but_no_event_is_a_bad_request() {
    let erp = declared(&[("type", "json:/type"), ("id", "json:/id")]);
    let key = erp.secret("abc").unwrap();
    let refused = |body: &str| {
        let rejection = verify(&erp, &key, &signed(&erp, &key, &event("x", "1", body)));
        let rejection = rejection.unwrap_err();
        assert!(rejection.is_authentic());
        rejection.to_string()
    };
    assert_eq!(refused(""), "no event type at json:/type");
    assert_eq!(refused(r#"{"type":"a"}"#), "no id at json:/id");
    assert_eq!(refused(r#"{"type":"a b","id":"1"}"#), "malformed: the type at json:/type");
    assert!(!Rejection::BadSignature.is_authentic());
}

#[test]
fn a_preset_loses_nothing_for_want_of_a_type_or_an_id() {
    let stripe = Scheme::preset("stripe").unwrap();
    let key = stripe.secret("whsec_x").unwrap();
    let taken = |body: &str| {
        let request = signed(&stripe, &key, &event("x", "1", body));
        verify(&stripe, &key, &request).unwrap()
    };
    let bare = taken("{}");
    assert_eq!(bare.event_type().as_str(), "untyped");
    assert_eq!(bare.claims(), taken("{}").claims());
    assert_ne!(bare.claims(), taken("{ }").claims());
    // What can't be a type is none.
    assert_eq!(taken(r#"{"type":"Push Hook"}"#).event_type().as_str(), "untyped");
}

#[test]
fn svix_names_serve_the_same_preset() {
    let scheme = Scheme::preset("standard-webhooks").unwrap();
    let key = scheme.secret("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    let mut request = signed(&scheme, &key, &event("a", "1", r#"{"type":"a"}"#));
    let first = verify(&scheme, &key, &request).unwrap();
    for (name, _) in &mut request.headers {
        *name = name.replace("webhook-", "svix-");
    }
    let renamed = verify(&scheme, &key, &request).unwrap();
    // Renaming the headers makes no new event of a captured request.
    assert_eq!(first.claims(), renamed.claims());
}

#[test]
fn a_scheme_says_what_the_claim_of_its_ids_is_made_of() {
    let of = |name: &str| Scheme::preset(name).unwrap().id_claim();
    assert_eq!(of("stripe"), IdClaim::Alone, "the body is signed, and the id is in it");
    assert_eq!(of("github"), IdClaim::WithType, "the delivery's id is in a header that is not");
    assert_eq!(Scheme::vouched("plugin:a").id_claim(), IdClaim::Alone);
    let declared = |id: &str| {
        let text = |text: &str| Some(text.to_owned());
        let scheme = Scheme::declare(&Declaration {
            signature: text("header:x-signature"),
            algorithm: text("hmac-sha256"),
            encoding: text("hex"),
            signed: text("{body}"),
            event_type: text("json:/type"),
            id: text(id),
            ..Declaration::default()
        });
        scheme.unwrap().id_claim()
    };
    assert_eq!(declared("json:/id"), IdClaim::Alone);
    assert_eq!(declared("header:x-id"), IdClaim::WithType);
    assert_eq!(declared("content"), IdClaim::NoId);
}
