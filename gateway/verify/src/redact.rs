//! Credentials do not outlive the check. A signature proves one request and is no credential; a
//! static token, a password or a cookie opens the door for ever and reads `[redacted]` from here on.

use bytes::Bytes;
use hookweir_event::REDACTED;

use crate::{
    json,
    key::Algorithm,
    place::Place,
    request::{Incoming, View},
    rule::Rule,
};

/// Headers that carry credentials whatever the scheme. RFC 9110, sections 11.6.2 and 11.7.2; RFC
/// 6265, section 5.4.
const ALWAYS: [&str; 3] = ["authorization", "proxy-authorization", "cookie"];

/// Overwrites the credentials that the request and its scheme carry.
pub(crate) fn credentials(rule: &Rule, request: &mut Incoming) {
    let check = rule.check.as_ref().filter(|check| check.algorithm == Algorithm::Equal);
    let token = check.map(|check| &check.signature);
    for (name, value) in &mut request.headers {
        let named = matches!(token, Some(Place::Header(token)) if **token == **name);
        if named || ALWAYS.contains(&name.as_str()) {
            *value = REDACTED.as_bytes().to_vec();
        }
    }
    match token {
        Some(Place::Query(name)) => {
            let query = request.query.take().map(|query| form(query.as_bytes(), name));
            request.query = query.map(|query| String::from_utf8_lossy(&query).into_owned());
        }
        Some(Place::Form(name) | Place::FormJson(name, _)) => {
            request.body = form(&request.body, name).into();
        }
        Some(Place::Json(index)) => {
            let view = View::of(request, &rule.pointers);
            let found = view.json()[*index].and_then(|raw| json::range_in(&request.body, raw));
            if let Some(range) = found {
                let (before, after) = (&request.body[..range.start], &request.body[range.end..]);
                let text = format!("\"{REDACTED}\"");
                request.body = Bytes::from([before, text.as_bytes(), after].concat());
            }
        }
        Some(Place::Header(_) | Place::Const(_)) | None => {}
    }
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
