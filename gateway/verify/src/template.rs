//! The string to sign: literals and variables such as `v0:{ts}:{body}`. A variable stands for raw
//! bytes of the request. The result is fed to the MAC piece by piece and never joined.

use std::borrow::Cow;

use crate::{Rejection, json::Pointer, place::Place, request::View};

/// A piece of the string to sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    Literal(Box<str>),
    Body,
    Timestamp,
    Id,
    Url,
    Method,
    Path,
    At(Place),
}

/// A parsed string to sign.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Template(pub(crate) Vec<Part>);

/// The bytes that are signed, in pieces.
#[derive(Default)]
pub(crate) struct Message<'a>(Vec<Cow<'a, [u8]>>);

impl<'a> Message<'a> {
    pub(crate) fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(AsRef::as_ref)
    }

    /// The bytes in one run; copied only if there is more than one piece.
    pub(crate) fn joined(&self) -> Cow<'_, [u8]> {
        match self.0.as_slice() {
            [one] => Cow::Borrowed(one),
            pieces => Cow::Owned(pieces.concat()),
        }
    }
}

impl Template {
    /// Parses `{body}`, `{ts}`, `{id}`, `{url}`, `{method}`, `{path}`, `{header:x}` and the other
    /// places, with literals between. `{{` and `}}` are braces.
    pub(crate) fn parse(text: &str, pointers: &mut Vec<Pointer>) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            literal.push_str(&rest[..at]);
            let brace = &rest[at..=at];
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix(brace) {
                literal.push_str(brace);
                rest = after;
                continue;
            }
            let variable = if brace == "{" { rest.split_once('}') } else { None };
            let Some((name, after)) = variable else {
                return Err(format!("a `{brace}` without its other half; as text, write it twice"));
            };
            if !literal.is_empty() {
                parts.push(Part::Literal(std::mem::take(&mut literal).into()));
            }
            parts.push(variable_part(name, pointers)?);
            rest = after;
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Literal(literal.into()));
        }
        Ok(Self(parts))
    }

    pub(crate) fn contains(&self, part: &Part) -> bool {
        self.0.contains(part)
    }

    /// Whether it covers `place` by name.
    pub(crate) fn contains_place(&self, place: &Place) -> bool {
        self.0.iter().any(|part| matches!(part, Part::At(at) if at == place))
    }

    /// Whether anything in it differs from one request to the next.
    pub(crate) fn varies(&self) -> bool {
        let fixed =
            |part: &Part| matches!(part, Part::Literal(_) | Part::Url | Part::Method | Part::Path);
        !self.0.iter().all(fixed)
    }

    /// The bytes of this request that are signed.
    pub(crate) fn render<'a>(
        &'a self,
        view: &View<'a>,
        pointers: &[Pointer],
        timestamp: Option<&Cow<'a, [u8]>>,
        id: Option<&'a Place>,
    ) -> Result<Message<'a>, Rejection> {
        let mut pieces = Vec::with_capacity(self.0.len());
        for (index, part) in self.0.iter().enumerate() {
            let piece = match part {
                Part::Literal(text) => Cow::Borrowed(text.as_bytes()),
                Part::Body => Cow::Borrowed(view.body),
                Part::Timestamp => timestamp.cloned().ok_or(Rejection::MissingTimestamp)?,
                Part::Id => {
                    let id = id.map(|id| view.find(id)).transpose()?.flatten();
                    let id = id.ok_or_else(|| Rejection::MissingPart("{id}".to_owned()))?;
                    unambiguous(&id, self.0.get(index + 1))?;
                    id
                }
                Part::Url => Cow::Borrowed(
                    view.url.ok_or_else(|| Rejection::MissingPart("{url}".to_owned()))?.as_bytes(),
                ),
                Part::Method => Cow::Borrowed(view.method.as_bytes()),
                Part::Path => Cow::Borrowed(view.path.as_bytes()),
                Part::At(place) => view
                    .find(place)?
                    .ok_or_else(|| Rejection::MissingPart(place.describe(pointers).to_string()))?,
            };
            pieces.push(piece);
        }
        Ok(Message(pieces))
    }
}

/// An id that holds the text behind it could be cut elsewhere without a change to the signed bytes.
fn unambiguous(id: &[u8], next: Option<&Part>) -> Result<(), Rejection> {
    match next {
        Some(Part::Literal(text)) if id.windows(text.len()).any(|w| w == text.as_bytes()) => {
            Err(Rejection::AmbiguousId)
        }
        _ => Ok(()),
    }
}

fn variable_part(name: &str, pointers: &mut Vec<Pointer>) -> Result<Part, String> {
    Ok(match name {
        "body" => Part::Body,
        "ts" => Part::Timestamp,
        "id" => Part::Id,
        "url" => Part::Url,
        "method" => Part::Method,
        "path" => Part::Path,
        place if place.contains(':') && !place.starts_with("const:") => {
            Part::At(Place::parse(place, pointers)?)
        }
        other => {
            return Err(format!(
                "unknown variable `{{{other}}}`: there are {{body}}, {{ts}}, {{id}}, {{url}}, {{method}}, {{path}}, {{header:NAME}}, {{query:NAME}}, {{form:NAME}} and {{json:/POINTER}}"
            ));
        }
    })
}
