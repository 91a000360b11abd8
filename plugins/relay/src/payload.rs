//! What endpoints are sent: `{"type", "timestamp", "data"}`, as the Standard Webhooks specification has it.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hookweir_sdk::prelude::*;
use jiff::Timestamp;
use serde::{
    Deserialize,
    de::{Error as _, IgnoredAny},
};

/// A body that has that shape already.
#[derive(Deserialize)]
#[expect(dead_code, reason = "only whether it fits counts")]
struct Whole {
    #[serde(rename = "type")]
    event_type: String,
    #[serde(deserialize_with = "time")]
    timestamp: Timestamp,
    data: IgnoredAny,
}

fn time<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
    String::deserialize(from)?.parse().map_err(D::Error::custom)
}

/// The body of an event's webhook. JSON is left as it is, to the last digit: as `data`, or as the whole if
/// it has the shape and the event's type. Other text is a string, and what is no text is base64 in `data_base64`.
pub(crate) fn of(event: &Event) -> Result<Vec<u8>, Failure> {
    let Ok(text) = str::from_utf8(event.body()) else {
        let data = format!("\"{}\"", STANDARD.encode(event.body()));
        return wrapped(event, "data_base64", &data);
    };
    let is_whole = |whole: Whole| whole.event_type == event.event_type();
    if serde_json::from_str::<Whole>(text).is_ok_and(is_whole) {
        return Ok(event.body().to_vec());
    }
    match serde_json::from_str::<IgnoredAny>(text) {
        Ok(_) => wrapped(event, "data", text.trim_ascii()),
        Err(_) => wrapped(event, "data", &serde_json::to_string(text)?),
    }
}

/// Written by hand: what is read and written again is not what was signed by its sender.
fn wrapped(event: &Event, name: &str, data: &str) -> Result<Vec<u8>, Failure> {
    let at = Timestamp::from_millisecond(event.received_at_ms().cast_signed()).or_reject()?;
    let event_type = serde_json::to_string(event.event_type())?;
    let whole = format!(r#"{{"type":{event_type},"timestamp":"{at}","{name}":{data}}}"#);
    Ok(whole.into_bytes())
}
