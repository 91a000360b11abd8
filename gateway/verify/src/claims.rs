//! What an authentic request says: what happened, and what makes a later one a duplicate of it.

use std::borrow::Cow;

use hookweir_event::{Digest, EventType, SourceName};

use crate::{
    Facts, Rejection,
    place::Place,
    request::View,
    rule::{Dedupe, Id, Rule, Type},
    verify::Authentic,
};

/// What happened.
pub(crate) fn event_type<'a>(
    rule: &'a Rule,
    view: &View<'a>,
    facts: &mut Facts,
) -> Result<EventType, Rejection> {
    // A value that can't be a type, such as one with spaces, leaves it to the next alternative.
    let mut refused = None;
    for Type(places) in &rule.event_type {
        let [first, rest @ ..] = places.as_slice() else { continue };
        let Some(value) = view.find(first)? else { continue };
        let mut bytes = value.into_owned();
        let mut signed = rule.signs(first);
        for place in rest {
            signed &= rule.signs(place);
            if let Some(value) = view.find(place)? {
                bytes.push(b'.');
                bytes.extend_from_slice(&value);
            }
        }
        if let Some(event_type) = str::from_utf8(&bytes).ok().and_then(|text| text.parse().ok()) {
            facts.type_signed = signed;
            return Ok(event_type);
        }
        let place = first.describe(&rule.pointers);
        refused.get_or_insert_with(|| Rejection::Malformed(format!("the type at {place}")));
    }
    if let Some(refused) = refused {
        return Err(refused);
    }
    let places = rule.event_type.iter().flat_map(|Type(places)| places);
    Err(Rejection::MissingType(describe(rule, places)))
}

/// What makes a later request a duplicate of this one. Each claim holds the source, so that two
/// sources never take each other's ids.
///
/// - A signed id stands alone. An unsigned one stands with the type, since providers give one id to
///   several topics (Shopify's event id names the cause of all that it leads to).
/// - `content` is source, type and body. It counts as signed if the body is.
/// - The replay guard adds the signed bytes, with the type for the same reason: orders paid at once
///   arrive under two topics with equal bodies. A MAC stands for the bytes it is of. There is one for
///   each of the source's secrets, so that a request with the signatures of two can't come again
///   with one of them, nor after the other secret is gone.
pub(crate) fn claims<'a>(
    rule: &'a Rule,
    view: &View<'a>,
    source: &SourceName,
    event_type: &EventType,
    authentic: &Authentic<'a>,
    facts: &mut Facts,
) -> Result<Vec<Digest>, Rejection> {
    let (source, kind) = (source.as_str().as_bytes(), event_type.as_str().as_bytes());
    let content = || content(source, kind, view.body);
    let mut claims = Vec::with_capacity(2);
    match &rule.dedupe {
        Dedupe::None => {}
        Dedupe::Content => {
            facts.id_signed = facts.body_authenticated;
            claims.push(content());
        }
        Dedupe::Id { ids, or_content } => match first_of(ids, view)? {
            Some(Found { id, first, rest }) => {
                facts.id_signed = id.0.iter().all(|place| rule.signs(place));
                let kind = if facts.id_signed { b"" } else { kind };
                claims.push(of_id(source, kind, &first, &rest));
            }
            None if *or_content => {
                facts.id_signed = facts.body_authenticated;
                claims.push(content());
            }
            None => {
                let places = ids.iter().filter_map(|Id(places)| places.first());
                return Err(Rejection::MissingId(describe(rule, places)));
            }
        },
    }
    if rule.guards(facts.id_signed) {
        let signed = |bytes: &[u8]| Digest::of_fields(&[b"signed", source, kind, bytes]);
        match authentic.tags.as_slice() {
            [] => claims.push(signed(&authentic.message.joined())),
            tags => {
                for claim in tags.iter().map(|tag| signed(tag.as_bytes())) {
                    // Two secrets with the same text make the same.
                    if !claims.contains(&claim) {
                        claims.push(claim);
                    }
                }
            }
        }
    }
    Ok(claims)
}

/// What makes a later request a duplicate of one that a verifier vouches for: its id, which then stands
/// alone as a signed one does, or its content.
pub(crate) fn vouched(
    source: &SourceName,
    event_type: &EventType,
    id: Option<&str>,
    body: &[u8],
) -> Digest {
    match id {
        Some(id) => claim_of_id(source, None, &[id]),
        None => content(source.as_str().as_bytes(), event_type.as_str().as_bytes(), body),
    }
}

fn content(source: &[u8], kind: &[u8], body: &[u8]) -> Digest {
    Digest::of_fields(&[b"content", source, kind, body])
}

/// The claim of an event with this id, which may have several parts: of the source alone, if its scheme
/// signs the id, or else of the source and the type.
pub fn claim_of_id(source: &SourceName, event_type: Option<&EventType>, id: &[&str]) -> Digest {
    let kind = event_type.map_or("", EventType::as_str);
    let (first, rest) = id.split_first().unwrap_or((&"", &[]));
    of_id(source.as_str().as_bytes(), kind.as_bytes(), first.as_bytes(), rest)
}

/// What the claim of an id of a source's is made of, beside the source and the id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdClaim {
    /// Nothing: the id is signed, or vouched for.
    Alone,
    /// The type as well: the id is not signed.
    WithType,
    /// The type as well, for some of its requests.
    Either,
    /// There is none: requests are told apart by their content, or not at all.
    NoId,
}

impl IdClaim {
    /// Of all the rules of a scheme.
    pub(crate) fn of(rules: &[Rule]) -> Self {
        let mut alone = Vec::new();
        for rule in rules {
            if let Dedupe::Id { ids, .. } = &rule.dedupe {
                alone.extend(ids.iter().map(|id| id.0.iter().all(|place| rule.signs(place))));
            }
        }
        match (alone.contains(&true), alone.contains(&false)) {
            (true, false) => Self::Alone,
            (false, true) => Self::WithType,
            (true, true) => Self::Either,
            (false, false) => Self::NoId,
        }
    }
}

fn of_id(source: &[u8], kind: &[u8], first: &[u8], rest: &[impl AsRef<[u8]>]) -> Digest {
    if rest.is_empty() {
        return Digest::of_fields(&[b"id", source, kind, first]);
    }
    let mut fields = vec![b"id".as_slice(), source, kind, first];
    fields.extend(rest.iter().map(AsRef::as_ref));
    Digest::of_fields(&fields)
}

/// An id and the values that it is made of.
struct Found<'a> {
    id: &'a Id,
    first: Cow<'a, [u8]>,
    rest: Vec<Cow<'a, [u8]>>,
}

/// The first id that is in the request.
fn first_of<'a>(ids: &'a [Id], view: &View<'a>) -> Result<Option<Found<'a>>, Rejection> {
    for id in ids {
        let [place, places @ ..] = id.0.as_slice() else { continue };
        let Some(first) = view.find(place)? else { continue };
        let rest = places.iter().map(|place| Ok(view.find(place)?.unwrap_or_default()));
        return Ok(Some(Found { id, first, rest: rest.collect::<Result<_, _>>()? }));
    }
    Ok(None)
}

fn describe<'p>(rule: &Rule, places: impl IntoIterator<Item = &'p Place>) -> String {
    let places: Vec<_> =
        places.into_iter().map(|p| p.describe(&rule.pointers).to_string()).collect();
    places.join(" | ")
}
