//! Places in a request: `header:x-id`, `query:sig`, `form:token`, `json:/data/id`,
//! `form-json:payload:/type`, `part-json:json:/event`, `const:text`. What a declaration writes, parsed once.

use std::fmt;

use crate::json::{MAX_POINTERS, Pointer};

/// Where a value is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// A header, its name in lower case.
    Header(Box<str>),
    /// All headers whose names begin so: `header:x-docusign-signature-*`. Only signatures are looked
    /// for in them.
    Headers(Box<str>),
    /// A query parameter.
    Query(Box<str>),
    /// A field of a form-encoded body.
    Form(Box<str>),
    /// The rule's JSON pointer with this index; all of a rule's pointers are looked up in one pass.
    Json(usize),
    /// A pointer into the JSON that a form field holds, as Slack and GitHub send it.
    FormJson(Box<str>, Pointer),
    /// A pointer into the JSON that a part of a `multipart/form-data` body holds: Dropbox Sign.
    PartJson(Box<str>, Pointer),
    /// A pointer into the claims of the JSON Web Token at another place:
    /// `token:json:/signedPayload:/notificationType`.
    Token(Box<Place>, Pointer),
    /// The body as a whole: a signature that holds what it signs, such as Wix's token.
    Body,
    /// Not in the request at all.
    Const(Box<str>),
}

impl Place {
    /// Parses a place; a JSON pointer is added to `pointers`, unless it is there.
    pub(crate) fn parse(text: &str, pointers: &mut Vec<Pointer>) -> Result<Self, String> {
        let Some((kind, rest)) = text.split_once(':') else {
            return if text == "body" { Ok(Self::Body) } else { Err(unknown(text)) };
        };
        match kind {
            "header" => match rest.strip_suffix('*') {
                Some(start) => header_name(start).map(Self::Headers),
                None => header_name(rest).map(Self::Header),
            },
            "query" => field_name(rest).map(Self::Query),
            "form" => field_name(rest).map(Self::Form),
            "json" => intern(Pointer::parse(rest)?, pointers).map(Self::Json),
            "form-json" | "part-json" => match rest.split_once(':') {
                Some((field, pointer)) => {
                    let (field, pointer) = (field_name(field)?, Pointer::parse(pointer)?);
                    let place = if kind == "form-json" { Self::FormJson } else { Self::PartJson };
                    Ok(place(field, pointer))
                }
                None => Err(format!("`{text}`: write `{kind}:FIELD:/POINTER`")),
            },
            "token" => match rest.rsplit_once(':') {
                Some((place, pointer)) => {
                    let place = Self::parse(place, pointers)?;
                    Ok(Self::Token(Box::new(place), Pointer::parse(pointer)?))
                }
                None => Err(format!("`{text}`: write `token:PLACE:/POINTER`")),
            },
            "const" if !rest.is_empty() => Ok(Self::Const(rest.into())),
            _ => Err(unknown(text)),
        }
    }

    /// Whether the value is part of the body.
    pub(crate) fn in_body(&self) -> bool {
        match self {
            Self::Token(place, _) => place.in_body(),
            Self::Body
            | Self::Form(_)
            | Self::Json(_)
            | Self::FormJson(..)
            | Self::PartJson(..) => true,
            Self::Header(_) | Self::Headers(_) | Self::Query(_) | Self::Const(_) => false,
        }
    }

    /// The place as a declaration writes it.
    pub(crate) fn describe<'a>(&'a self, pointers: &'a [Pointer]) -> impl fmt::Display + 'a {
        Described(self, pointers)
    }
}

struct Described<'a>(&'a Place, &'a [Pointer]);

impl fmt::Display for Described<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Place::Header(name) => write!(f, "header:{name}"),
            Place::Query(name) => write!(f, "query:{name}"),
            Place::Form(name) => write!(f, "form:{name}"),
            Place::Json(index) => match self.1.get(*index) {
                Some(pointer) => write!(f, "json:{pointer}"),
                None => f.write_str("json"),
            },
            Place::FormJson(name, pointer) => write!(f, "form-json:{name}:{pointer}"),
            Place::Headers(start) => write!(f, "header:{start}*"),
            Place::PartJson(name, pointer) => write!(f, "part-json:{name}:{pointer}"),
            Place::Token(place, pointer) => {
                write!(f, "token:{}:{pointer}", place.describe(self.1))
            }
            Place::Body => f.write_str("body"),
            Place::Const(text) => write!(f, "const:{text}"),
        }
    }
}

fn unknown(text: &str) -> String {
    format!(
        "`{text}` is no place: write `header:NAME`, `query:NAME`, `form:NAME`, `json:/POINTER`, `form-json:NAME:/POINTER`, `part-json:NAME:/POINTER`, `token:PLACE:/POINTER` or `body`"
    )
}

/// RFC 9110, section 5.6.2: a token. Lower case, since HTTP/2 sends names so and 1.1 ignores case.
fn header_name(text: &str) -> Result<Box<str>, String> {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if text.is_empty() || !text.bytes().all(token) {
        return Err(format!("`{text}` is no header name"));
    }
    Ok(text.to_ascii_lowercase().into())
}

fn field_name(text: &str) -> Result<Box<str>, String> {
    if text.is_empty() {
        Err("the name of the field is missing".to_owned())
    } else {
        Ok(text.into())
    }
}

fn intern(pointer: Pointer, pointers: &mut Vec<Pointer>) -> Result<usize, String> {
    if let Some(index) = pointers.iter().position(|known| *known == pointer) {
        return Ok(index);
    }
    if pointers.len() == MAX_POINTERS {
        return Err(format!("a scheme has at most {MAX_POINTERS} JSON pointers"));
    }
    pointers.push(pointer);
    Ok(pointers.len() - 1)
}
