//! Content codings: signatures are over what was sent, everything else is read from what it was made of, and nothing
//! is decoded for who is not proven.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use hookweir_verify::{Decode, Incoming, Rejection};

use crate::support::{declared, event, signed, verify};

/// Turns a body around, and counts how often.
fn reversed(asked: &Arc<AtomicUsize>) -> Decode {
    let asked = asked.clone();
    Decode::new(move |body| {
        asked.fetch_add(1, Ordering::Relaxed);
        Ok(body.iter().rev().copied().collect::<Bytes>())
    })
}

#[test]
fn the_body_is_decoded_once_its_sender_is_proven() {
    let scheme = declared(&[("type", "json:/type"), ("id", "json:/id")]);
    let key = scheme.secret("a secret").unwrap();
    let asked = Arc::<AtomicUsize>::default();
    // What is sent, backwards: {"type":"a.b","id":"1"}
    let mut sent = event("a.b", "1", "}\"1\":\"di\",\"b.a\":\"epyt\"{");
    (sent.event_type, sent.id) = (None, None);
    sent.headers.push(("content-encoding".into(), b"backwards".to_vec()));
    let request = Incoming { decode: Some(reversed(&asked)), ..signed(&scheme, &key, &sent) };
    let verified = verify(&scheme, &key, &request).unwrap();
    assert_eq!(verified.event_type().as_str(), "a.b");
    assert_eq!(&verified.body()[..], br#"{"type":"a.b","id":"1"}"#);
    assert!(!verified.headers().iter().any(|(name, _)| name == "content-encoding"));
    assert_eq!(asked.load(Ordering::Relaxed), 1);

    let forged = Incoming { body: "}\"2\":\"di\",\"b.a\":\"epyt\"{".into(), ..request.clone() };
    assert_eq!(verify(&scheme, &key, &forged).unwrap_err(), Rejection::BadSignature);
    assert_eq!(asked.load(Ordering::Relaxed), 1, "not for a stranger");

    let large = |_: &Bytes| Err(Rejection::ContentTooLarge(5));
    let bomb = Incoming { decode: Some(Decode::new(large)), ..request };
    let refused = verify(&scheme, &key, &bomb).unwrap_err();
    assert_eq!(refused, Rejection::ContentTooLarge(5));
    assert!(refused.is_authentic());
}
