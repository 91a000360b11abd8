//! Credentials end with the check; everything else stays byte for byte.

use hookweir_verify::{Incoming, Rejection, Scheme};

use crate::support::{declared, event, header, signed, verify};

const TOKEN: &str = "a-static-token";

fn token_at(place: &str) -> Scheme {
    let changes = [
        ("signature", place),
        ("algorithm", "equal"),
        ("encoding", ""),
        ("signed", ""),
        ("id", "none"),
    ];
    declared(&changes)
}

fn request(headers: &[(&str, &str)], query: Option<&str>, body: &str) -> Incoming {
    let mut all = vec![("x-webhook-type".to_owned(), b"a.b".to_vec())];
    all.extend(headers.iter().map(|(n, v)| ((*n).to_owned(), v.as_bytes().to_vec())));
    Incoming {
        method: "POST".into(),
        path: "/in".into(),
        query: query.map(str::to_owned),
        headers: all,
        body: body.to_owned().into(),
        ..Incoming::default()
    }
}

#[test]
fn a_token_is_redacted_wherever_it_was() {
    let both = format!("a=%20&token={TOKEN}&b=+");
    let json = format!(r#"{{ "n": 1.0, "token":  "{TOKEN}", "z":[] }}"#);
    let cases = [
        ("header:x-token", request(&[("x-token", TOKEN)], None, "kept")),
        ("query:token", request(&[], Some(&both), "kept")),
        ("form:token", request(&[], Some("kept"), &both)),
        ("json:/token", request(&[], None, &json)),
    ];
    for (place, request) in cases {
        let scheme = token_at(place);
        let key = scheme.secret(TOKEN).unwrap();
        let verified = verify(&scheme, &key, &request).unwrap();
        assert!(!verified.facts().body_authenticated);
        let text = format!("{verified:?}");
        assert!(!text.contains(TOKEN), "{place}: {text}");
        assert!(
            text.contains("[redacted]") || text.contains("91, 114, 101, 100"),
            "{place}: {text}"
        );

        let other = scheme.secret("another-token").unwrap();
        assert_eq!(verify(&scheme, &other, &request).unwrap_err(), Rejection::BadSignature);
    }
}

#[test]
fn what_is_around_a_token_stays() {
    let scheme = token_at("query:token");
    let key = scheme.secret(TOKEN).unwrap();
    let query = format!("a=%20&token={TOKEN}&b=+");
    let verified = verify(&scheme, &key, &request(&[], Some(&query), "kept")).unwrap();
    assert_eq!(verified.query(), Some("a=%20&token=[redacted]&b=+"));
    assert_eq!(&verified.body()[..], b"kept");

    let scheme = token_at("form:token");
    let mut request = request(&[], None, "");
    request.body = [b"a=\xff&%74oken=", TOKEN.as_bytes(), b"&&b"].concat().into();
    let verified = verify(&scheme, &key, &request).unwrap();
    assert_eq!(&verified.body()[..], b"a=\xff&%74oken=[redacted]&&b");

    let scheme = token_at("json:/token");
    let body = format!(r#"{{ "n": 1.0, "token":  "{TOKEN}", "z":[] }}"#);
    request.body = body.into();
    let verified = verify(&scheme, &key, &request).unwrap();
    assert_eq!(&verified.body()[..], br#"{ "n": 1.0, "token":  "[redacted]", "z":[] }"#);
}

#[test]
fn credentials_of_any_scheme_are_redacted_and_signatures_are_not() {
    let scheme = Scheme::preset("github").unwrap();
    let key = scheme.secret("hunter2").unwrap();
    let mut request = signed(&scheme, &key, &event("push", "1", "{}"));
    for name in ["authorization", "proxy-authorization", "cookie"] {
        request.headers.push((name.to_owned(), b"Basic aHVudGVyMg==".to_vec()));
    }
    let signature = header(&mut request, "x-hub-signature-256").clone();
    let parts = verify(&scheme, &key, &request).unwrap().into_parts();
    let value = |name: &str| parts.headers.iter().find(|(n, _)| n == name).unwrap().1.clone();
    for name in ["authorization", "proxy-authorization", "cookie"] {
        assert_eq!(value(name), b"[redacted]", "{name}");
    }
    assert_eq!(value("x-hub-signature-256"), signature);
}

#[test]
fn a_bearer_token_is_compared_behind_its_word() {
    let scheme = declared(&[
        ("signature", "header:authorization"),
        ("prefix", "Bearer "),
        ("algorithm", "equal"),
        ("encoding", ""),
        ("signed", ""),
    ]);
    let key = scheme.secret(TOKEN).unwrap();
    let request = signed(&scheme, &key, &event("a.b", "1", "{}"));
    assert!(verify(&scheme, &key, &request).is_ok());
    let bare = self::request(&[("authorization", TOKEN)], None, "{}");
    assert_eq!(verify(&scheme, &key, &bare).unwrap_err(), Rejection::MalformedSignature);
}

#[test]
fn a_token_that_was_not_needed_is_redacted_too() {
    let scheme = Scheme::preset("cloudevents").unwrap();
    let key = scheme.secret("hunter2").unwrap();
    let request = Incoming {
        method: "POST".into(),
        path: "/in".into(),
        query: Some("access_token=hunter2&a=1".into()),
        headers: vec![("authorization".into(), b"Bearer hunter2".to_vec())],
        body: "{}".into(),
        ..Incoming::default()
    };
    let verified = verify(&scheme, &key, &request).unwrap();
    assert_eq!(verified.query(), Some("access_token=[redacted]&a=1"));
    assert!(!format!("{verified:?}").contains("hunter2"));
}

#[test]
fn the_token_in_each_item_of_a_batch_is_redacted() {
    let scheme = Scheme::preset("ms-graph").unwrap();
    let key = scheme.secret("hunter2").unwrap();
    let body = r#"{"value":[{"clientState":"hunter2","a":1},{"b":2,"clientState":"hunter2"}]}"#;
    let request = Incoming {
        method: "POST".into(),
        path: "/in".into(),
        body: body.into(),
        ..Incoming::default()
    };
    let verified = verify(&scheme, &key, &request).unwrap();
    let wanted = body.replace("hunter2", "[redacted]");
    assert_eq!(verified.body(), wanted.as_bytes());
}
