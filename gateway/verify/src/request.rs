//! Requests as schemes see them: what came in, what goes out, and a borrowed view of either in which
//! places are looked up. The body is parsed as JSON at most once, and only if a place asks for it.

use std::{borrow::Cow, cell::OnceCell, fmt, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use hookweir_event::{EventType, Headers};

use crate::{
    Rejection,
    json::{self, Found, Pointer},
    multipart,
    place::Place,
};

/// A request as it was received.
#[derive(Debug, Clone, Default)]
pub struct Incoming {
    /// In upper case.
    pub method: String,
    /// As received, undecoded.
    pub path: String,
    /// Without the `?`, undecoded.
    pub query: Option<String>,
    /// The whole URL, query included, that the sender called: the configured public one, never made
    /// from the Host header. Needed if [`crate::Scheme::needs_url`].
    pub url: Option<String>,
    /// Names in lower case.
    pub headers: Headers,
    /// The raw bytes, as they were sent: what signatures are over.
    pub body: Bytes,
    /// What undoes the body's content coding, if it has one. It is asked once the sender is proven; type, id
    /// and what is kept are of the body that it makes.
    pub decode: Option<Decode>,
}

/// Undoes a content coding (RFC 9110, section 8.4). Given by who reads requests: there is none in this crate.
#[derive(Clone)]
pub struct Decode(Arc<DecodeBody>);

type DecodeBody = dyn Fn(&Bytes) -> Result<Bytes, Rejection> + Send + Sync;

impl Decode {
    /// By this function, which says [`Rejection::ContentCoding`] or [`Rejection::ContentTooLarge`] if it can't.
    pub fn new(
        decode: impl Fn(&Bytes) -> Result<Bytes, Rejection> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(decode))
    }
}

impl fmt::Debug for Decode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Decode")
    }
}

impl Incoming {
    /// The request as if it had been sent without a content coding; itself, if it was. Only for one whose
    /// sender is proven: it is work, and a stranger must not be able to ask for it.
    pub(crate) fn decoded(self) -> Result<Self, Rejection> {
        let Some(Decode(decode)) = &self.decode else { return Ok(self) };
        let body = decode(&self.body)?;
        let mut headers = self.headers;
        headers.retain(|(name, _)| name != "content-encoding" && name != "content-length");
        Ok(Self { body, headers, decode: None, ..self })
    }
}

/// A request about to be sent.
#[derive(Debug, Clone, Default)]
pub struct Outgoing {
    /// In upper case.
    pub method: String,
    /// Without the query.
    pub path: String,
    /// Without the `?`.
    pub query: Option<String>,
    /// The whole URL, for schemes that sign it.
    pub url: Option<String>,
    /// Those already set, names in lower case.
    pub headers: Headers,
    /// The raw bytes.
    pub body: Bytes,
    /// Written to the header in which the scheme reads the type, if it reads it in one.
    pub event_type: Option<EventType>,
    /// Written to the header in which the scheme reads the id, if it reads it in one.
    pub id: Option<String>,
}

/// A borrowed request in which places are looked up.
pub(crate) struct View<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) query: Option<&'a str>,
    pub(crate) url: Option<&'a str>,
    pub(crate) headers: &'a [(String, Vec<u8>)],
    pub(crate) body: &'a [u8],
    pointers: &'a [Pointer],
    json: OnceCell<Found<'a>>,
}

impl<'a> View<'a> {
    pub(crate) fn of(request: &'a Incoming, pointers: &'a [Pointer]) -> Self {
        Self {
            method: &request.method,
            path: &request.path,
            query: request.query.as_deref(),
            url: request.url.as_deref(),
            headers: &request.headers,
            body: &request.body,
            pointers,
            json: OnceCell::new(),
        }
    }

    pub(crate) fn of_outgoing(request: &'a Outgoing, pointers: &'a [Pointer]) -> Self {
        Self {
            method: &request.method,
            path: &request.path,
            query: request.query.as_deref(),
            url: request.url.as_deref(),
            headers: &request.headers,
            body: &request.body,
            pointers,
            json: OnceCell::new(),
        }
    }

    /// The value at `place`. An empty value counts as none: no sender signs or identifies with it.
    pub(crate) fn find(&self, place: &'a Place) -> Result<Option<Cow<'a, [u8]>>, Rejection> {
        let value = match place {
            Place::Header(name) => self.header(name)?.map(Cow::Borrowed),
            Place::Query(name) => match self.query {
                Some(query) => unique_field(query.as_bytes(), name)?.map(into_bytes),
                None => None,
            },
            Place::Form(name) => unique_field(self.body, name)?.map(into_bytes),
            Place::Json(index) => self.json()[*index].and_then(json::text).map(into_bytes),
            Place::FormJson(name, pointer) => {
                unique_field(self.body, name)?.and_then(|text| json_in(text.as_bytes(), pointer))
            }
            Place::PartJson(name, pointer) => {
                let content_type = self.header("content-type")?.unwrap_or_default();
                let part = multipart::part(content_type, self.body, name)?;
                part.and_then(|part| json_in(part, pointer))
            }
            // Only signatures are in several headers; see `find_all`.
            Place::Headers(_) => None,
            Place::Token(place, pointer) => {
                let token = self.find(place)?.unwrap_or_default();
                let claims = token.split(|byte| *byte == b'.').nth(1).unwrap_or_default();
                let claims = URL_SAFE_NO_PAD.decode(claims).ok();
                claims.and_then(|claims| json_in(&claims, pointer))
            }
            Place::Body => Some(Cow::Borrowed(self.body)),
            Place::Const(text) => Some(Cow::Borrowed(text.as_bytes())),
        };
        Ok(value.filter(|value| !value.is_empty()))
    }

    /// Whether any of `places` has a value.
    pub(crate) fn has_any(&self, places: &'a [Place]) -> Result<bool, Rejection> {
        for place in places {
            let found = match place {
                Place::Headers(start) => {
                    self.headers.iter().any(|(name, _)| name.starts_with(&**start))
                }
                place => self.find(place)?.is_some(),
            };
            if found {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The values at all of `places` that have one.
    pub(crate) fn find_all(&self, places: &'a [Place]) -> Result<Vec<Cow<'a, [u8]>>, Rejection> {
        let mut found = Vec::with_capacity(1);
        for place in places {
            match place {
                Place::Headers(start) => {
                    for (name, value) in
                        self.headers.iter().filter(|(n, _)| n.starts_with(&**start))
                    {
                        // The same header twice is a fault, as everywhere.
                        self.header(name)?;
                        found.push(Cow::Borrowed(value.as_slice()));
                    }
                }
                place => found.extend(self.find(place)?),
            }
        }
        Ok(found)
    }

    /// The same request with `item` for its body, and other pointers into it.
    pub(crate) fn of_item(&self, item: &'a [u8], pointers: &'a [Pointer]) -> Self {
        Self { body: item, pointers, json: OnceCell::new(), ..*self }
    }

    /// The value of a header that may occur once.
    pub(crate) fn header(&self, name: &str) -> Result<Option<&'a [u8]>, Rejection> {
        let mut values = self.headers.iter().filter(|(header, _)| header == name);
        match (values.next(), values.next()) {
            (_, Some(_)) => Err(Rejection::DuplicatedHeader(name.to_owned())),
            (first, None) => Ok(first.map(|(_, value)| value.as_slice())),
        }
    }

    /// The raw values that the scheme's pointers lead to.
    pub(crate) fn json(&self) -> &Found<'a> {
        self.json.get_or_init(|| json::find(self.body, self.pointers))
    }
}

/// The scalar at `pointer` in a JSON text.
fn json_in<'a>(text: &[u8], pointer: &Pointer) -> Option<Cow<'a, [u8]>> {
    let found = json::find(text, std::slice::from_ref(pointer))[0]?;
    json::text(found).map(|text| Cow::Owned(text.into_owned().into_bytes()))
}

fn into_bytes(text: Cow<'_, str>) -> Cow<'_, [u8]> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    }
}

fn unique_field<'a>(encoded: &'a [u8], name: &str) -> Result<Option<Cow<'a, str>>, Rejection> {
    let mut values = form_urlencoded::parse(encoded).filter(|(field, _)| field == name);
    match (values.next(), values.next()) {
        (_, Some(_)) => Err(Rejection::DuplicatedHeader(name.to_owned())),
        (first, None) => Ok(first.map(|(_, value)| value)),
    }
}
