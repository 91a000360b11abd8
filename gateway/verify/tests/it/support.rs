//! What the tests share: short ways to make schemes, secrets and requests.

use hookweir_event::{SourceName, Timestamp};
use hookweir_verify::{Declaration, Incoming, Key, Outgoing, Rejection, Scheme, Secret, Verified};

/// A time on a whole second.
pub(crate) const NOW: Timestamp = Timestamp::from_secs(1_768_425_954);

pub(crate) fn source() -> SourceName {
    "shop".parse().unwrap()
}

/// A declaration from key and value pairs.
pub(crate) fn declaration(pairs: &[(&str, &str)]) -> Declaration {
    let mut declaration = Declaration::default();
    for (key, value) in pairs {
        *declaration.value_mut(key).unwrap() = Some((*value).to_owned());
    }
    declaration
}

/// A whole declaration with some keys replaced, added or (by an empty value) removed.
pub(crate) fn erp(changes: &[(&str, &str)]) -> Declaration {
    let mut declaration = declaration(&[
        ("signature", "header:x-signature"),
        ("algorithm", "hmac-sha256"),
        ("encoding", "hex"),
        ("signed", "{body}"),
        ("type", "header:x-webhook-type"),
        ("id", "content"),
    ]);
    for (key, value) in changes {
        let value = (!value.is_empty()).then(|| (*value).to_owned());
        *declaration.value_mut(key).unwrap() = value;
    }
    declaration
}

pub(crate) fn declared(changes: &[(&str, &str)]) -> Scheme {
    Scheme::declare(&erp(changes)).unwrap()
}

/// What arrives when `sent` is signed with `key`.
pub(crate) fn signed(scheme: &Scheme, key: &Key, sent: &Outgoing) -> Incoming {
    scheme.sign(key, sent.clone(), NOW).unwrap().into()
}

/// A `POST` with this type, id and body.
pub(crate) fn event(event_type: &str, id: &str, body: &str) -> Outgoing {
    let mut sent = Outgoing::post("/in", body.to_owned());
    sent.event_type = Some(event_type.parse().unwrap());
    sent.id = Some(id.to_owned());
    sent
}

pub(crate) fn verify(
    scheme: &Scheme,
    key: &Key,
    request: &Incoming,
) -> Result<Verified, Rejection> {
    scheme.verify(&source(), &[Secret::new(key.clone())], request.clone(), NOW)
}

/// The value of a header, to read or to change.
pub(crate) fn header<'a>(request: &'a mut Incoming, name: &str) -> &'a mut Vec<u8> {
    &mut request.headers.iter_mut().find(|(header, _)| header == name).unwrap().1
}
