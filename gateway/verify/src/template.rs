//! The string to sign: literals and variables such as `v0:{ts}:{body}`. A variable stands for raw
//! bytes of the request, or for what a provider makes of them. The result is fed to the MAC piece by
//! piece and joined only for signatures that want it whole.

use std::borrow::Cow;

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use sha2::{Digest as _, Sha256};

use crate::{Rejection, canonical, encoding::Encoding, json::Pointer, place::Place, request::View};

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
    /// The secret itself, in schemes older than HMAC.
    Secret,
    At(Place),
    /// The secret and these values, sorted, with nothing between them: WeChat.
    Sorted(Vec<Place>),
    /// The item `NAME=…` beside the signature.
    Item(Box<str>),
    /// SHA-256 of the body or the URL.
    Sha256(Subject, Spelling),
    /// CRC-32 of the body in decimal: PayPal. It protects against accidents, not against people.
    Crc32,
    /// What no template can say.
    Canonical(Canonical),
    /// These parts if everything in them is in the request; otherwise nothing.
    Optional(Template),
}

/// What is hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    Body,
    Url,
}

/// How a hash is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spelling {
    Hex,
    Base64,
    /// Without padding.
    Base64Url,
}

/// Texts that providers make of a request by rules of their own; see [`canonical`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Canonical {
    FormSorted,
    UrlWithPort,
    UrlWithoutPort,
    UrlDecoded,
    Contentful,
    QueryString,
    Plivo,
    Alipay,
    PaddleClassic,
}

impl Canonical {
    /// Whether it holds all fields of the body's form.
    fn covers_form(self) -> bool {
        matches!(self, Self::FormSorted | Self::Plivo | Self::Alipay | Self::PaddleClassic)
    }
}

/// The variables that have no argument.
static PLAIN: [(&str, Part); 23] = [
    ("body", Part::Body),
    ("ts", Part::Timestamp),
    ("id", Part::Id),
    ("url", Part::Url),
    ("method", Part::Method),
    ("path", Part::Path),
    ("secret", Part::Secret),
    ("crc32:body", Part::Crc32),
    ("sha256:body", Part::Sha256(Subject::Body, Spelling::Hex)),
    ("sha256-base64:body", Part::Sha256(Subject::Body, Spelling::Base64)),
    ("sha256-base64url:body", Part::Sha256(Subject::Body, Spelling::Base64Url)),
    ("sha256:url", Part::Sha256(Subject::Url, Spelling::Hex)),
    ("sha256-base64:url", Part::Sha256(Subject::Url, Spelling::Base64)),
    ("sha256-base64url:url", Part::Sha256(Subject::Url, Spelling::Base64Url)),
    ("form-sorted", Part::Canonical(Canonical::FormSorted)),
    ("url-with-port", Part::Canonical(Canonical::UrlWithPort)),
    ("url-without-port", Part::Canonical(Canonical::UrlWithoutPort)),
    ("url-decoded", Part::Canonical(Canonical::UrlDecoded)),
    ("contentful", Part::Canonical(Canonical::Contentful)),
    ("query-string-hash", Part::Canonical(Canonical::QueryString)),
    ("plivo", Part::Canonical(Canonical::Plivo)),
    ("alipay", Part::Canonical(Canonical::Alipay)),
    ("paddle-classic", Part::Canonical(Canonical::PaddleClassic)),
];

/// A parsed string to sign.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Template(pub(crate) Vec<Part>);

/// The bytes that are signed, in pieces.
#[derive(Default)]
pub(crate) struct Message<'a>(Vec<Piece<'a>>);

/// A run of the bytes that are signed.
#[derive(Clone)]
pub(crate) enum Piece<'a> {
    Bytes(Cow<'a, [u8]>),
    /// Where the secret goes. It is not written down here, so a message can be shown.
    Secret,
    /// The secret goes among these, wherever it sorts.
    Sorted(Vec<Cow<'a, [u8]>>),
}

/// What a template takes from the check that it serves.
pub(crate) struct Context<'c, 'a> {
    pub(crate) view: &'c View<'a>,
    pub(crate) pointers: &'c [Pointer],
    /// The signed time as the sender wrote it.
    pub(crate) timestamp: Option<&'c Cow<'a, [u8]>>,
    /// The place that `{id}` stands for.
    pub(crate) id: Option<&'a Place>,
    /// The value that holds the signature, and what parts its items.
    pub(crate) items: Option<(&'c str, Option<&'a str>)>,
}

impl<'a> Message<'a> {
    /// A message of one piece.
    pub(crate) fn of(bytes: impl Into<Cow<'a, [u8]>>) -> Self {
        Self(vec![Piece::Bytes(bytes.into())])
    }

    pub(crate) fn pieces(&self) -> impl Iterator<Item = &Piece<'a>> {
        self.0.iter()
    }

    /// The bytes without the secret.
    pub(crate) fn bytes(&self) -> impl Iterator<Item = &[u8]> {
        self.0
            .iter()
            .flat_map(|piece| match piece {
                Piece::Bytes(bytes) => std::slice::from_ref(bytes),
                Piece::Secret => &[],
                Piece::Sorted(values) => values.as_slice(),
            })
            .map(AsRef::as_ref)
    }

    /// The bytes in one run; copied only if there is more than one piece.
    pub(crate) fn joined(&self) -> Cow<'_, [u8]> {
        match self.0.as_slice() {
            [Piece::Bytes(one)] => Cow::Borrowed(one),
            _ => Cow::Owned(self.bytes().collect::<Vec<_>>().concat()),
        }
    }

    /// Adds the pieces of `other`.
    pub(crate) fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }
}

impl Template {
    /// Parses variables with literals between. `{{` and `}}` are braces; `{?` and `?}` enclose what
    /// is left out if a part of it is missing.
    pub(crate) fn parse(text: &str, pointers: &mut Vec<Pointer>) -> Result<Self, String> {
        let mut open: Option<Vec<Part>> = None;
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}', '?']) {
            literal.push_str(&rest[..at]);
            rest = &rest[at..];
            let mut flush = |parts: &mut Vec<Part>| {
                if !literal.is_empty() {
                    parts.push(Part::Literal(std::mem::take(&mut literal).into()));
                }
            };
            if let Some(after) = rest.strip_prefix("{?") {
                flush(&mut parts);
                if open.replace(std::mem::take(&mut parts)).is_some() {
                    return Err("`{?` inside `{?`".to_owned());
                }
                rest = after;
            } else if let Some(after) = rest.strip_prefix("?}").filter(|_| open.is_some()) {
                flush(&mut parts);
                let inner = std::mem::replace(&mut parts, open.take().unwrap_or_default());
                parts.push(Part::Optional(Self(inner)));
                rest = after;
            } else if let Some(after) = rest.strip_prefix("{{") {
                literal.push('{');
                rest = after;
            } else if let Some(after) = rest.strip_prefix("}}") {
                literal.push('}');
                rest = after;
            } else if let Some(after) = rest.strip_prefix('?') {
                literal.push('?');
                rest = after;
            } else {
                let variable = rest.strip_prefix('{').and_then(|rest| rest.split_once('}'));
                let Some((name, after)) = variable else {
                    let brace = &rest[..1];
                    return Err(format!(
                        "a `{brace}` without its other half; as text, write it twice"
                    ));
                };
                flush(&mut parts);
                parts.push(variable_part(name, pointers)?);
                rest = after;
            }
        }
        if open.is_some() {
            return Err("a `{?` without its `?}`".to_owned());
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Literal(literal.into()));
        }
        Ok(Self(parts))
    }

    /// Whether it has a part like this, optional ones included.
    pub(crate) fn any(&self, is: &dyn Fn(&Part) -> bool) -> bool {
        self.0.iter().any(|part| match part {
            Part::Optional(inner) => inner.any(is),
            part => is(part),
        })
    }

    pub(crate) fn contains(&self, part: &Part) -> bool {
        self.any(&|p| p == part)
    }

    /// Whether every byte of the body is covered.
    pub(crate) fn covers_body(&self) -> bool {
        self.any(&|part| {
            matches!(
                part,
                Part::Body
                    | Part::Sha256(Subject::Body, _)
                    | Part::Canonical(Canonical::Contentful)
            )
        })
    }

    /// Whether the URL is covered, and its query with it.
    pub(crate) fn covers_url(&self) -> bool {
        self.any(&|part| {
            matches!(
                part,
                Part::Url
                    | Part::Sha256(Subject::Url, _)
                    | Part::Canonical(
                        Canonical::UrlWithPort
                            | Canonical::UrlWithoutPort
                            | Canonical::UrlDecoded
                            | Canonical::Contentful
                            | Canonical::QueryString
                            | Canonical::Plivo
                    )
            )
        })
    }

    /// Whether a change of the value at `place` changes what is signed.
    pub(crate) fn covers(&self, place: &Place) -> bool {
        match place {
            Place::Const(_) => true,
            place if place.in_body() && self.covers_body() => true,
            Place::Form(_) | Place::FormJson(..)
                if self.any(&|part| matches!(part, Part::Canonical(c) if c.covers_form())) =>
            {
                true
            }
            Place::Query(_) if self.covers_url() => true,
            Place::Header(name) if &**name == "x-contentful-timestamp" => {
                self.contains(&Part::Canonical(Canonical::Contentful))
            }
            place => self.any(&|part| match part {
                Part::At(at) => at == place,
                Part::Sorted(places) => places.contains(place),
                _ => false,
            }),
        }
    }

    /// Whether anything in it differs from one request to the next.
    pub(crate) fn varies(&self) -> bool {
        self.any(&|part| {
            !matches!(
                part,
                Part::Literal(_)
                    | Part::Url
                    | Part::Method
                    | Part::Path
                    | Part::Secret
                    | Part::Sha256(Subject::Url, _)
                    | Part::Canonical(
                        Canonical::UrlWithPort | Canonical::UrlWithoutPort | Canonical::UrlDecoded
                    )
            )
        })
    }

    /// The bytes of this request that are signed.
    pub(crate) fn render<'a>(
        &'a self,
        context: &Context<'_, 'a>,
    ) -> Result<Message<'a>, Rejection> {
        let mut pieces = Vec::with_capacity(self.0.len());
        for (index, part) in self.0.iter().enumerate() {
            let piece = match part {
                Part::Secret => {
                    pieces.push(Piece::Secret);
                    continue;
                }
                Part::Sorted(places) => {
                    let values = places.iter().map(|place| context.at(place));
                    pieces.push(Piece::Sorted(values.collect::<Result<_, _>>()?));
                    continue;
                }
                Part::Optional(inner) => {
                    match inner.render(context) {
                        Ok(message) => pieces.extend(message.0),
                        Err(Rejection::MissingPart(_)) => {}
                        Err(rejection) => return Err(rejection),
                    }
                    continue;
                }
                part => context.value(part, self.0.get(index + 1))?,
            };
            pieces.push(Piece::Bytes(piece));
        }
        Ok(Message(pieces))
    }
}

impl<'a> Context<'_, 'a> {
    fn at(&self, place: &'a Place) -> Result<Cow<'a, [u8]>, Rejection> {
        let missing = || Rejection::MissingPart(place.describe(self.pointers).to_string());
        self.view.find(place)?.ok_or_else(missing)
    }

    fn value(&self, part: &'a Part, next: Option<&Part>) -> Result<Cow<'a, [u8]>, Rejection> {
        let missing = |what: &str| Rejection::MissingPart(what.to_owned());
        let view = self.view;
        Ok(match part {
            Part::Literal(text) => Cow::Borrowed(text.as_bytes()),
            Part::Body => Cow::Borrowed(view.body),
            Part::Timestamp => self.timestamp.cloned().ok_or(Rejection::MissingTimestamp)?,
            Part::Id => {
                let id = self.id.map(|id| view.find(id)).transpose()?.flatten();
                let id = id.ok_or_else(|| missing("{id}"))?;
                unambiguous(&id, next)?;
                id
            }
            Part::Url => Cow::Borrowed(view.url.ok_or_else(|| missing("{url}"))?.as_bytes()),
            Part::Method => Cow::Borrowed(view.method.as_bytes()),
            Part::Path => Cow::Borrowed(view.path.as_bytes()),
            Part::At(place) => self.at(place)?,
            Part::Item(name) => {
                let value = self.items.and_then(|(text, separator)| item(text, separator, name));
                let value = value.ok_or_else(|| missing(&format!("signature:{name}")))?;
                Cow::Owned(value.as_bytes().to_vec())
            }
            Part::Sha256(subject, spelling) => {
                let subject = match subject {
                    Subject::Body => view.body,
                    Subject::Url => view.url.ok_or_else(|| missing("{url}"))?.as_bytes(),
                };
                Cow::Owned(spelling.write(&Sha256::digest(subject)).into_bytes())
            }
            Part::Crc32 => Cow::Owned(crc32fast::hash(view.body).to_string().into_bytes()),
            Part::Canonical(kind) => {
                let text = canonical::text(*kind, view)?;
                Cow::Owned(text)
            }
            Part::Secret | Part::Sorted(_) | Part::Optional(_) => Cow::Borrowed(b"".as_slice()),
        })
    }
}

impl Spelling {
    fn write(self, bytes: &[u8]) -> String {
        match self {
            Self::Hex => Encoding::Hex.encode(bytes),
            Self::Base64 => STANDARD.encode(bytes),
            Self::Base64Url => URL_SAFE_NO_PAD.encode(bytes),
        }
    }
}

/// The items of a value: what lies between separators, or all of it. Spaces before an item are not
/// part of it: WorkOS and Ghost write `, `.
pub(crate) fn items<'t>(text: &'t str, separator: Option<&str>) -> impl Iterator<Item = &'t str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest.take()?;
        let found = separator.and_then(|separator| match separator.as_bytes() {
            // Nearly all separators are one character, which is found without setting up a search.
            [byte] => text.split_once(char::from(*byte)),
            _ => text.split_once(separator),
        });
        match found {
            Some((item, after)) => {
                rest = Some(after);
                Some(item.trim_start_matches(' '))
            }
            None => Some(text.trim_start_matches(' ')),
        }
    })
}

/// The value of the first item `NAME=…`.
fn item<'t>(text: &'t str, separator: Option<&str>, name: &str) -> Option<&'t str> {
    items(text, separator).find_map(|item| item.strip_prefix(name)?.strip_prefix('='))
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
    if let Some((_, part)) = PLAIN.iter().find(|(known, _)| *known == name) {
        return Ok(part.clone());
    }
    if let Some(item) = name.strip_prefix("signature:").filter(|item| !item.is_empty()) {
        return Ok(Part::Item(item.into()));
    }
    if let Some(places) = name.strip_prefix("sorted:") {
        let places = places.split(',').map(|place| Place::parse(place, pointers));
        return places.collect::<Result<_, _>>().map(Part::Sorted);
    }
    if name.contains(':') && !name.starts_with("const:") && !name.ends_with('*') {
        return Place::parse(name, pointers).map(Part::At);
    }
    let plain: Vec<_> = PLAIN.iter().map(|(name, _)| format!("{{{name}}}")).collect();
    Err(format!(
        "unknown variable `{{{name}}}`: there are {}, {{signature:NAME}}, {{header:NAME}}, {{query:NAME}}, {{form:NAME}}, {{json:/POINTER}} and {{sorted:PLACE,PLACE}}",
        plain.join(", ")
    ))
}
