//! The check itself. Order: find the rule whose signature is in the request, compare in constant
//! time, judge the signed time, and only then read type and id. `Verified` has no other constructor,
//! so holding one is the proof.

use std::borrow::Cow;

use bytes::Bytes;
use hookweir_event::{Digest, EventType, Headers, SourceName, Timestamp};

use crate::{
    Rejection,
    encoding::Claimed,
    key::Secret,
    place::Place,
    redact,
    request::{Incoming, View},
    rule::{Check, Dedupe, Rule, SignedTime, TimeFrom},
    template::Message,
};

/// The longest value that signatures are looked for in. The longest honest one, a Stripe header in
/// the middle of a secret's rotation, stays under 1 KiB.
const SIGNATURE_MAX: usize = 8 * 1024;
/// The most signatures that are tried. Senders that rotate send two.
const CANDIDATES_MAX: usize = 32;

/// A request whose sender is proven, credentials redacted. Only [`crate::Scheme::verify`] makes one.
#[derive(Debug)]
pub struct Verified {
    parts: Parts,
}

/// What a verified request consists of.
#[derive(Debug)]
#[non_exhaustive]
pub struct Parts {
    /// What happened.
    pub event_type: EventType,
    /// What tells it apart: an event that shares one of these with an earlier one is a duplicate.
    pub claims: Vec<Digest>,
    /// The request's method.
    pub method: String,
    /// The request's path.
    pub path: String,
    /// The request's query, credentials redacted.
    pub query: Option<String>,
    /// The request's headers, credentials redacted.
    pub headers: Headers,
    /// The raw body; as received, unless it holds a credential.
    pub body: Bytes,
    /// What the check showed.
    pub facts: Facts,
}

/// What the check showed, for the audit log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Facts {
    /// Which of the given secrets matched.
    pub secret_index: Option<usize>,
    /// Now minus the signed time, in milliseconds.
    pub skew_ms: Option<i64>,
    /// Whether the dedupe id can't be changed without breaking the signature.
    pub id_signed: bool,
    /// Whether the event type can't.
    pub type_signed: bool,
    /// Whether the body can't: not so with static tokens.
    pub body_authenticated: bool,
}

impl Verified {
    /// What happened.
    pub fn event_type(&self) -> &EventType {
        &self.parts.event_type
    }

    /// What tells it apart; see [`Parts::claims`].
    pub fn claims(&self) -> &[Digest] {
        &self.parts.claims
    }

    /// The headers, credentials redacted.
    pub fn headers(&self) -> &Headers {
        &self.parts.headers
    }

    /// The query, credentials redacted.
    pub fn query(&self) -> Option<&str> {
        self.parts.query.as_deref()
    }

    /// The body.
    pub fn body(&self) -> &Bytes {
        &self.parts.body
    }

    /// What the check showed.
    pub fn facts(&self) -> Facts {
        self.parts.facts
    }

    /// Takes it apart, and with it the proof.
    pub fn into_parts(self) -> Parts {
        self.parts
    }
}

pub(crate) fn verify(
    rules: &[Rule],
    source: &SourceName,
    secrets: &[Secret],
    mut request: Incoming,
    now: Timestamp,
) -> Result<Verified, Rejection> {
    let (index, rule) = applicable(rules, &request)?;
    let (event_type, claims, facts) = {
        let view = View::of(&request, &rule.pointers);
        let mut facts = Facts { body_authenticated: rule.body_signed(), ..Facts::default() };
        let message = match &rule.check {
            Some(check) => authenticate(rule, check, index, &view, secrets, now, &mut facts)?,
            None => Message::default(),
        };
        let event_type = read_type(rule, &view, &mut facts)?;
        let claims = claims(rule, &view, source, &event_type, &message, &mut facts)?;
        (event_type, claims, facts)
    };
    redact::credentials(rule, &mut request);
    let Incoming { method, path, query, url: _, headers, body } = request;
    Ok(Verified { parts: Parts { event_type, claims, method, path, query, headers, body, facts } })
}

/// The first rule whose signature is in the request. That one decides: a request can't fall back to
/// another by failing it.
fn applicable<'r>(rules: &'r [Rule], request: &Incoming) -> Result<(usize, &'r Rule), Rejection> {
    for (index, rule) in rules.iter().enumerate() {
        let Some(check) = &rule.check else { return Ok((index, rule)) };
        if View::of(request, &rule.pointers).find(&check.signature)?.is_some() {
            return Ok((index, rule));
        }
    }
    Err(Rejection::MissingSignature)
}

/// Checks signature and signed time; returns the bytes that were signed.
fn authenticate<'a>(
    rule: &'a Rule,
    check: &'a Check,
    index: usize,
    view: &View<'a>,
    secrets: &[Secret],
    now: Timestamp,
    facts: &mut Facts,
) -> Result<Message<'a>, Rejection> {
    let signature = view.find(&check.signature)?.ok_or(Rejection::MissingSignature)?;
    if signature.len() > SIGNATURE_MAX {
        return Err(Rejection::MalformedSignature);
    }
    let signature = match signature {
        Cow::Borrowed(bytes) => str::from_utf8(bytes).ok().map(Cow::Borrowed),
        Cow::Owned(bytes) => String::from_utf8(bytes).ok().map(Cow::Owned),
    };
    let signature = signature.ok_or(Rejection::MalformedSignature)?;
    let claimed = candidates(check, &signature)?;
    let (time, time_text) = match &check.timestamp {
        Some(time) => {
            let text = time_text(time, check, &signature, view)?;
            let signed_at = time.unit.read(&text).ok_or(Rejection::MalformedTimestamp)?;
            (Some((time, signed_at)), Some(text))
        }
        None => (None, None),
    };
    let id = rule.dedupe.signed_place();
    let message = check.template.render(view, &rule.pointers, time_text.as_ref(), id)?;

    let mut valid = secrets.iter().enumerate().filter(|(_, s)| s.is_valid(now)).peekable();
    valid.peek().ok_or(Rejection::NoValidSecret)?;
    let matches = |secret: &Secret| {
        let key = secret.key.for_rule(index);
        key.is_some_and(|key| key.matches(check.algorithm, &message, &claimed))
    };
    let (secret_index, _) = valid.find(|(_, s)| matches(s)).ok_or(Rejection::BadSignature)?;
    facts.secret_index = Some(secret_index);

    if let Some((time, signed_at)) = time {
        let skew_ms = time.unit.skew(signed_at, now);
        facts.skew_ms = Some(skew_ms);
        time.tolerance.check(skew_ms)?;
    }
    Ok(message)
}

/// The signatures that `text` holds, decoded. Those of other versions are passed over.
fn candidates<'a>(check: &'a Check, text: &'a str) -> Result<Vec<Claimed<'a>>, Rejection> {
    let mut claimed = Vec::with_capacity(1);
    let mut tried = 0;
    for signature in items(check, text).filter_map(|item| item.strip_prefix(&*check.prefix)) {
        tried += 1;
        if tried > CANDIDATES_MAX {
            return Err(Rejection::MalformedSignature);
        }
        claimed.extend(check.encoding.decode(signature));
    }
    if claimed.is_empty() { Err(Rejection::MalformedSignature) } else { Ok(claimed) }
}

fn items<'t>(check: &Check, text: &'t str) -> impl Iterator<Item = &'t str> {
    let separator = check.separator.as_deref();
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest.take()?;
        match separator.and_then(|separator| text.split_once(separator)) {
            Some((item, after)) => {
                rest = Some(after);
                Some(item)
            }
            None => Some(text),
        }
    })
}

/// The signed time as the sender wrote it.
fn time_text<'a>(
    time: &'a SignedTime,
    check: &Check,
    signature: &Cow<'a, str>,
    view: &View<'a>,
) -> Result<Cow<'a, [u8]>, Rejection> {
    match &time.from {
        TimeFrom::At(place) => view.find(place)?.ok_or(Rejection::MissingTimestamp),
        TimeFrom::Item(name) => match signature {
            Cow::Borrowed(text) => {
                item(check, text, name).map(|time| Cow::Borrowed(time.as_bytes()))
            }
            Cow::Owned(text) => {
                item(check, text, name).map(|time| Cow::Owned(time.as_bytes().to_vec()))
            }
        },
    }
}

/// The one item of `text` that begins with `name`, without it.
fn item<'t>(check: &Check, text: &'t str, name: &str) -> Result<&'t str, Rejection> {
    let mut found = items(check, text).filter_map(|item| item.strip_prefix(name));
    match (found.next(), found.next()) {
        (Some(value), None) => Ok(value),
        (None, _) => Err(Rejection::MissingTimestamp),
        (_, Some(_)) => Err(Rejection::MalformedTimestamp),
    }
}

fn read_type<'a>(
    rule: &'a Rule,
    view: &View<'a>,
    facts: &mut Facts,
) -> Result<EventType, Rejection> {
    let Some((place, value)) = first_of(&rule.event_type, view)? else {
        return Err(Rejection::MissingType(describe(rule, &rule.event_type)));
    };
    facts.type_signed = rule.signs(place);
    str::from_utf8(&value).ok().and_then(|text| text.parse().ok()).ok_or_else(|| {
        Rejection::Malformed(format!("the type at {}", place.describe(&rule.pointers)))
    })
}

/// What makes a later request a duplicate of this one. Each claim holds the source, so that two
/// sources never take each other's ids.
///
/// - A signed id stands alone. An unsigned one stands with the type, since providers give one id to
///   several topics (Shopify's event id names the cause of all that it leads to).
/// - `content` is source, type and body. It counts as signed if the body is.
/// - The replay guard adds the signed bytes, with the type for the same reason: orders paid at once
///   arrive under two topics with equal bodies.
fn claims<'a>(
    rule: &'a Rule,
    view: &View<'a>,
    source: &SourceName,
    event_type: &EventType,
    message: &Message<'a>,
    facts: &mut Facts,
) -> Result<Vec<Digest>, Rejection> {
    let (source, kind) = (source.as_str().as_bytes(), event_type.as_str().as_bytes());
    let content = || Digest::of_fields(&[b"content", source, kind, view.body]);
    let mut claims = Vec::with_capacity(2);
    match &rule.dedupe {
        Dedupe::None => {}
        Dedupe::Content => {
            facts.id_signed = facts.body_authenticated;
            claims.push(content());
        }
        Dedupe::Id { places, or_content } => match first_of(places, view)? {
            Some((place, id)) => {
                facts.id_signed = rule.signs(place);
                let kind = if facts.id_signed { b"" } else { kind };
                claims.push(Digest::of_fields(&[b"id", source, kind, &id]));
            }
            None if *or_content => {
                facts.id_signed = facts.body_authenticated;
                claims.push(content());
            }
            None => return Err(Rejection::MissingId(describe(rule, places))),
        },
    }
    if rule.guards(facts.id_signed) {
        claims.push(Digest::of_fields(&[b"signed", source, kind, &message.joined()]));
    }
    Ok(claims)
}

/// A value and where it was found.
type Located<'a> = (&'a Place, Cow<'a, [u8]>);

fn first_of<'a>(places: &'a [Place], view: &View<'a>) -> Result<Option<Located<'a>>, Rejection> {
    for place in places {
        if let Some(value) = view.find(place)? {
            return Ok(Some((place, value)));
        }
    }
    Ok(None)
}

fn describe(rule: &Rule, places: &[Place]) -> String {
    let places: Vec<_> = places.iter().map(|p| p.describe(&rule.pointers).to_string()).collect();
    places.join(" | ")
}
