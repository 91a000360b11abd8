//! The other direction: the headers that make a request verify. It renders the same template as the
//! check does, so the two can't drift apart.

use std::borrow::Cow;

use bytes::Bytes;
use hookweir_event::Timestamp;
use thiserror::Error;

use crate::{
    Rejection, jwt,
    key::Key,
    place::Place,
    request::{Outgoing, View},
    rule::{Check, Dedupe, Proof, Rule, TimeFrom, Type},
    template::{Context, Message},
    verify::first_unmet,
};

/// Why a request can't be signed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SignError {
    /// The scheme signs, and no key was given, or one that was made for another scheme.
    #[error("the scheme needs a key that was made for it")]
    Key,
    /// Signatures in a query or a body would change what is sent.
    #[error("the scheme puts its signature outside the headers")]
    NotAHeader,
    /// HTTP message signatures, and what needs a private key.
    #[error("requests of this scheme can't be signed here yet")]
    Unsupported,
    /// The scheme reads the id from this header, and the request has none.
    #[error("the request needs an id, for the header `{0}`")]
    MissingId(String),
    /// The scheme reads the type from this header, and the request has none.
    #[error("the request needs an event type, for the header `{0}`")]
    MissingType(String),
    /// The time can't be written as the scheme writes it.
    #[error("the time is out of range")]
    Time,
    /// Something that the signature covers is not in the request.
    #[error("the request can't be signed: {0}")]
    Part(Rejection),
}

pub(crate) fn sign(
    rules: &[Rule],
    key: Option<&Key>,
    request: &Outgoing,
    now: Timestamp,
) -> Result<Vec<(String, String)>, SignError> {
    let mut lacking = SignError::Key;
    let mut chosen = None;
    for (index, rule) in rules.iter().enumerate() {
        let view = View::of_outgoing(request, &request.headers, &rule.pointers);
        match first_unmet(&rule.require, &view).map_err(SignError::Part)? {
            Some(unmet) => {
                let place = unmet.place.describe(&rule.pointers).to_string();
                lacking = SignError::Part(Rejection::MissingPart(place));
            }
            None => {
                chosen = Some((index, rule));
                break;
            }
        }
    }
    let (index, rule) = chosen.ok_or(lacking)?;
    let mut added = Vec::new();
    if let Some(Type(places)) = rule.event_type.first()
        && let Some(Place::Header(name)) = places.first()
    {
        let event_type = request.event_type.as_ref();
        set(&mut added, request, name, event_type.map(|t| t.as_str().to_owned()))
            .then_some(())
            // Where the scheme looks elsewhere too, a request without this header is one it sends.
            .or((rule.event_type.len() > 1).then_some(()))
            .ok_or_else(|| SignError::MissingType(name.to_string()))?;
    }
    if let Dedupe::Id { places, or_content } = &rule.dedupe
        && let Some(Place::Header(name)) = places.first()
    {
        let given = set(&mut added, request, name, request.id.clone());
        if !given && !or_content {
            return Err(SignError::MissingId(name.to_string()));
        }
    }
    if let Some(check) = &rule.check {
        let key = key.ok_or(SignError::Key)?;
        signature((index, rule), check, key, request, now, &mut added)?;
    }
    Ok(added)
}

/// Adds a header; true if it is there, now or already.
fn set(
    added: &mut Vec<(String, String)>,
    request: &Outgoing,
    name: &str,
    value: Option<String>,
) -> bool {
    if request.headers.iter().any(|(header, _)| header == name) {
        return true;
    }
    let given = value.is_some();
    added.extend(value.map(|value| (name.to_owned(), value)));
    given
}

fn signature(
    (index, rule): (usize, &Rule),
    check: &Check,
    key: &Key,
    request: &Outgoing,
    now: Timestamp,
    added: &mut Vec<(String, String)>,
) -> Result<(), SignError> {
    let Some(Place::Header(header)) = check.signature.first() else {
        return Err(SignError::NotAHeader);
    };
    let mut value = String::new();
    let mut time = None;
    if let Some(signed_time) = &check.timestamp {
        let text = signed_time.unit.write(now).ok_or(SignError::Time)?;
        match &signed_time.from {
            TimeFrom::Item(name) => {
                let separator = check.separator.as_deref().unwrap_or_default();
                value = format!("{name}{text}{separator}");
                time = Some(Cow::Owned(text.into_bytes()));
            }
            // Every token says when it was made.
            TimeFrom::Claim(_) => {}
            TimeFrom::At(place) => {
                time = Some(Cow::Owned(timestamp_at(place, text, rule, request, added)?));
            }
        }
    }
    let mut headers = request.headers.clone();
    headers.extend(added.iter().map(|(name, value)| (name.clone(), value.clone().into_bytes())));
    let view = View::of_outgoing(request, &headers, &rule.pointers);
    let context = Context {
        view: &view,
        pointers: &rule.pointers,
        timestamp: time.as_ref(),
        id: rule.dedupe.signed_place(),
        items: None,
    };
    let algorithm = check.algorithms.first().copied().ok_or(SignError::Key)?;
    let key = key.for_rule(index, algorithm).ok_or(SignError::Key)?;
    let message = match &check.proof {
        Proof::Jwt { claims, .. } => {
            let claims = jwt::claims(claims, &context, now).map_err(SignError::Part)?;
            let token = jwt::write(algorithm, &claims, |message| key.sign(message));
            value.push_str(&check.prefix);
            value.push_str(&token.ok_or(SignError::Unsupported)?);
            added.push((header.to_string(), value));
            return Ok(());
        }
        Proof::Token => Message::default(),
        Proof::Message(texts) => {
            let text = texts.first().ok_or(SignError::Key)?;
            text.render(&context).map_err(SignError::Part)?
        }
        Proof::HttpMessage(_) => return Err(SignError::Unsupported),
    };
    let tag = key.sign(&message).ok_or(SignError::Unsupported)?;
    value.push_str(&check.prefix);
    value.push_str(&check.encoding.encode(&tag));
    added.push((header.to_string(), value));
    Ok(())
}

/// The time to sign: written to its header, or, if it lies elsewhere, as the request has it.
fn timestamp_at(
    place: &Place,
    now: String,
    rule: &Rule,
    request: &Outgoing,
    added: &mut Vec<(String, String)>,
) -> Result<Vec<u8>, SignError> {
    if let Place::Header(name) = place
        && !request.headers.iter().any(|(header, _)| header.as_str() == &**name)
    {
        added.push((name.to_string(), now.clone()));
        return Ok(now.into_bytes());
    }
    let view = View::of_outgoing(request, &request.headers, &rule.pointers);
    let found = view.find(place).map_err(SignError::Part)?;
    found.map(Cow::into_owned).ok_or(SignError::Part(Rejection::MissingTimestamp))
}

impl Outgoing {
    /// A `POST` of `body` to `path`.
    pub fn post(path: &str, body: impl Into<Bytes>) -> Self {
        Self {
            method: "POST".to_owned(),
            path: path.to_owned(),
            body: body.into(),
            ..Self::default()
        }
    }
}
