//! Credentials do not outlive the check. A signature proves one request and is no credential; a
//! static token, a password or a cookie opens the door for ever and reads `[redacted]` from here on.

use std::ops::Range;

use bytes::Bytes;
use hookweir_event::REDACTED;

use crate::{json, key::Algorithm, place::Place, request::Incoming, rule::Rule};

/// Headers that carry credentials whatever the scheme. RFC 9110, sections 11.6.2 and 11.7.2; RFC
/// 6265, section 5.4.
const ALWAYS: [&str; 3] = ["authorization", "proxy-authorization", "cookie"];

/// Overwrites the credentials that the request and its scheme carry: those of all its rules, since a
/// request may bring more than the one that it was taken for.
pub(crate) fn credentials(rules: &[Rule], applied: &Rule, request: &mut Incoming) {
    overwrite(rules.iter().flat_map(tokens), request);
    for token in tokens(applied) {
        if let Place::Json(index) = token {
            json_value(applied, *index, request);
        }
    }
}

/// Overwrites what is at these places, but for those inside JSON, and the headers that always go.
pub(crate) fn overwrite<'p>(places: impl IntoIterator<Item = &'p Place>, request: &mut Incoming) {
    let all: Vec<_> = places.into_iter().collect();
    for (name, value) in &mut request.headers {
        let named = all.iter().any(|token| matches!(token, Place::Header(t) if **t == **name));
        if named || ALWAYS.contains(&name.as_str()) {
            *value = REDACTED.as_bytes().to_vec();
        }
    }
    for token in all {
        match token {
            Place::Query(name) => {
                let query = request.query.take().map(|query| form(query.as_bytes(), name));
                request.query = query.map(|query| String::from_utf8_lossy(&query).into_owned());
            }
            Place::Form(name) | Place::FormJson(name, _) => {
                request.body = form(&request.body, name).into();
            }
            // Headers are done; a JSON pointer is its own rule's.
            Place::Header(_)
            | Place::Headers(_)
            | Place::Json(_)
            | Place::PartJson(..)
            | Place::Token(..)
            | Place::Body
            | Place::Const(_) => {}
        }
    }
}

/// The places of a rule's static tokens.
fn tokens(rule: &Rule) -> &[Place] {
    match &rule.check {
        Some(check) if check.algorithms == [Algorithm::Equal] => &check.signature,
        _ => &[],
    }
}

/// Overwrites what the pointer leads to, in each item if the body is a batch.
fn json_value(rule: &Rule, index: usize, request: &mut Incoming) {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    match rule.check.as_ref().and_then(|check| check.each.as_ref()) {
        Some(each) => {
            let found = json::find(&request.body, std::slice::from_ref(&each.items))[0];
            for item in found.and_then(json::elements).into_iter().flatten() {
                let raw = json::find(item.get().as_bytes(), &each.pointers)[index];
                ranges.extend(raw.and_then(|raw| json::range_in(&request.body, raw)));
            }
        }
        None => {
            let raw = json::find(&request.body, &rule.pointers)[index];
            ranges.extend(raw.and_then(|raw| json::range_in(&request.body, raw)));
        }
    }
    if ranges.is_empty() {
        return;
    }
    let mut redacted = Vec::with_capacity(request.body.len());
    let mut from = 0;
    for range in ranges {
        redacted.extend_from_slice(&request.body[from..range.start]);
        redacted.extend_from_slice(format!("\"{REDACTED}\"").as_bytes());
        from = range.end;
    }
    redacted.extend_from_slice(&request.body[from..]);
    request.body = Bytes::from(redacted);
}

/// A form or query with the values of `name` overwritten; the rest stays byte for byte.
fn form(encoded: &[u8], name: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(encoded.len());
    for (index, pair) in encoded.split(|b| *b == b'&').enumerate() {
        if index > 0 {
            out.push(b'&');
        }
        let named = form_urlencoded::parse(pair).next().is_some_and(|(field, _)| field == name);
        match pair.iter().position(|b| *b == b'=') {
            Some(end) if named => {
                out.extend_from_slice(&pair[..=end]);
                out.extend_from_slice(REDACTED.as_bytes());
            }
            _ => out.extend_from_slice(pair),
        }
    }
    out
}
