//! CloudEvents over HTTP: which events a request holds, in its three content modes.
//! <https://github.com/cloudevents/spec/blob/main/cloudevents/bindings/http-protocol-binding.md>

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use thiserror::Error;

use crate::Incoming;

/// How events are laid out in a request. Section 3 of the binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Attributes in headers, data in the body.
    Binary,
    /// One event, whole, as JSON.
    Structured,
    /// A JSON array of events.
    Batch,
}

/// The attributes that every event has. CloudEvents 1.0.2, "Required attributes".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attributes {
    /// Tells it apart from others of its source.
    pub id: String,
    /// Where it happened.
    pub source: String,
    /// What happened.
    pub event_type: String,
    /// When, as its sender wrote it.
    pub time: Option<String>,
}

/// Why a request holds no events.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Fault {
    /// Neither the media type nor a header says that it does.
    #[error("this is no CloudEvent")]
    None,
    /// A required attribute is missing or empty.
    #[error("the attribute `{0}` is missing")]
    Missing(&'static str),
    /// Another version than 1.0.
    #[error("`specversion` is not 1.0")]
    Version,
    /// The body is not the JSON that its media type says it is.
    #[error("the body is no CloudEvent in JSON")]
    Json,
}

/// The events in `request`, and how they are laid out.
///
/// # Errors
/// See [`Fault`]; one event without a required attribute refuses a batch.
pub fn read(request: &Incoming) -> Result<(Mode, Vec<Attributes>), Fault> {
    let media_type = header(request, "content-type").unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match media_type.as_str() {
        "application/cloudevents+json" => {
            let event: Json<'_> = serde_json::from_slice(&request.body).map_err(|_| Fault::Json)?;
            Ok((Mode::Structured, vec![event.attributes()?]))
        }
        "application/cloudevents-batch+json" => {
            let events: Vec<Json<'_>> =
                serde_json::from_slice(&request.body).map_err(|_| Fault::Json)?;
            let events = events.iter().map(Json::attributes).collect::<Result<_, _>>()?;
            Ok((Mode::Batch, events))
        }
        _ => binary(request).map(|event| (Mode::Binary, vec![event])),
    }
}

/// The attributes of an event in JSON; all others, and the data, are passed over unread.
#[derive(Deserialize)]
struct Json<'a> {
    #[serde(borrow, default)]
    specversion: Option<&'a RawValue>,
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    source: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "type")]
    event_type: Option<&'a RawValue>,
    #[serde(borrow, default)]
    time: Option<&'a RawValue>,
}

impl Json<'_> {
    fn attributes(&self) -> Result<Attributes, Fault> {
        let text = |raw: Option<&RawValue>| -> Option<String> {
            serde_json::from_str(raw?.get()).ok().filter(|text: &String| !text.is_empty())
        };
        if text(self.specversion).ok_or(Fault::Missing("specversion"))? != "1.0" {
            return Err(Fault::Version);
        }
        Ok(Attributes {
            id: text(self.id).ok_or(Fault::Missing("id"))?,
            source: text(self.source).ok_or(Fault::Missing("source"))?,
            event_type: text(self.event_type).ok_or(Fault::Missing("type"))?,
            time: text(self.time),
        })
    }
}

/// Section 3.1.3: attributes are headers behind `ce-`, percent-encoded where they are not ASCII.
fn binary(request: &Incoming) -> Result<Attributes, Fault> {
    let attribute = |name: &str| header(request, name).filter(|value| !value.is_empty());
    let version = attribute("ce-specversion").ok_or(Fault::None)?;
    if version != "1.0" {
        return Err(Fault::Version);
    }
    let decoded = |name: &str, missing| Ok(decode(&attribute(name).ok_or(missing)?).into_owned());
    Ok(Attributes {
        id: decoded("ce-id", Fault::Missing("id"))?,
        source: decoded("ce-source", Fault::Missing("source"))?,
        event_type: decoded("ce-type", Fault::Missing("type"))?,
        time: attribute("ce-time").map(Cow::into_owned),
    })
}

/// A header's value as text; none if it is not there, or there more than once.
fn header<'r>(request: &'r Incoming, name: &str) -> Option<Cow<'r, str>> {
    let mut values = request.headers.iter().filter(|(header, _)| header == name);
    match (values.next(), values.next()) {
        (Some((_, value)), None) => Some(String::from_utf8_lossy(value)),
        _ => None,
    }
}

/// Percent-decoding, with what is no escape left as it is. A plus sign is one.
fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let escaped = after.get(..2).and_then(|hex| str::from_utf8(hex).ok());
        let escaped = escaped.filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
        match escaped.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) if first == b'%' => {
                bytes.push(byte);
                rest = &after[2..];
            }
            _ => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}
