//! A sample event as its author writes it: JSON in a file of its own, with the state and the answers that the
//! plugin is to find, and what is to come of it. Pure.
//!
//! ```json
//! { "source": "stripe", "type": "payment_intent.succeeded", "body": { "id": "evt_1" },
//!   "state": { "order:1": "open" }, "http": { "POST https://api.example.com/v1": { "status": 201 } },
//!   "expect": "done" }
//! ```

use std::collections::BTreeMap;

use bytes::Bytes;
use hookweir_event::{Event, EventId, Headers, Hops, NameError, Outcome, Timestamp};
use http::{HeaderName, HeaderValue, Method, Response, StatusCode, Uri};
use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

use crate::Rehearsal;

/// A sample that can be run.
#[derive(Debug, Clone)]
pub struct Sample {
    /// What a version is run on.
    pub rehearsal: Rehearsal,
    /// `done`, `retry` or `reject`.
    pub expect: Outcome,
}

/// Why a text is no sample. Completes "the sample X …".
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SampleError {
    /// No JSON, or a field is missing, unknown or of another type.
    #[error("is no sample: {0}")]
    Malformed(String),
    /// The source has no name that a source could have.
    #[error("has no source: {0}")]
    Source(NameError),
    /// The type is none.
    #[error("has no type: {0}")]
    Type(NameError),
    /// An outcome that no plugin can ask for.
    #[error("expects neither done, retry nor reject")]
    Expect,
    /// Attempts are counted from 1.
    #[error("is of attempt 0; attempts are counted from 1")]
    Attempt,
    /// What is answered is no method and URL.
    #[error("answers `{0}`, which is no method and URL, such as `GET https://api.example.com/v1`")]
    Line(String),
    /// An answer has no status or header that HTTP has.
    #[error("answers `{line}` with {what}")]
    Answer {
        /// Method and URL.
        line: String,
        /// What is wrong.
        what: String,
    },
}

/// A sample as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    source: String,
    #[serde(rename = "type")]
    event_type: String,
    /// Text as it is, anything else as JSON.
    #[serde(default)]
    body: Value,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    query: Option<String>,
    #[serde(default = "first")]
    attempt: u32,
    #[serde(default)]
    state: BTreeMap<String, Value>,
    #[serde(default)]
    http: BTreeMap<String, WrittenAnswer>,
    #[serde(default = "done")]
    expect: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenAnswer {
    status: u16,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: Value,
}

fn first() -> u32 {
    1
}

fn done() -> String {
    Outcome::Done.as_str().to_owned()
}

impl Sample {
    /// Reads a sample's text. The event is received `now`.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn parse(text: &[u8], now: Timestamp) -> Result<Self, SampleError> {
        let written: Written = serde_json::from_slice(text)
            .map_err(|error| SampleError::Malformed(error.to_string()))?;
        let expect = Outcome::from_word(&written.expect)
            .filter(|outcome| matches!(outcome, Outcome::Done | Outcome::Retry | Outcome::Reject));
        let expect = expect.ok_or(SampleError::Expect)?;
        if written.attempt == 0 {
            return Err(SampleError::Attempt);
        }
        let headers = written.headers.into_iter();
        let headers = headers.map(|(name, value)| (name.to_lowercase(), value.into_bytes()));
        let (source, event_type) = (&written.source, &written.event_type);
        let event = event(source, event_type, headers.collect(), bytes(written.body), now)?;
        let event = Event { query: written.query, ..event };
        let state = written.state.into_iter().map(|(key, value)| (key, bytes(value)));
        let rehearsal = Rehearsal {
            event,
            attempt: written.attempt,
            state: state.collect(),
            answers: read_answers(written.http)?,
        };
        Ok(Self { rehearsal, expect })
    }

    /// Reads answers alone, written as in a sample's `http`.
    ///
    /// # Errors
    /// The first thing that is wrong with them.
    pub fn parse_answers(text: &[u8]) -> Result<BTreeMap<String, Response<Bytes>>, SampleError> {
        let written = serde_json::from_slice(text);
        read_answers(written.map_err(|error| SampleError::Malformed(error.to_string()))?)
    }

    /// A sample of a bare body: nothing in the state, no answers, and it is to be done.
    ///
    /// # Errors
    /// If source or type are none.
    pub fn of_body(
        source: &str,
        event_type: &str,
        headers: Headers,
        body: Vec<u8>,
        now: Timestamp,
    ) -> Result<Self, SampleError> {
        let event = event(source, event_type, headers, body, now)?;
        let (state, answers) = (BTreeMap::new(), BTreeMap::new());
        Ok(Self {
            rehearsal: Rehearsal { event, attempt: 1, state, answers },
            expect: Outcome::Done,
        })
    }
}

/// By method and URL.
fn read_answers(
    written: BTreeMap<String, WrittenAnswer>,
) -> Result<BTreeMap<String, Response<Bytes>>, SampleError> {
    let answer = |(text, answer): (String, WrittenAnswer)| {
        let line = request_line(&text).ok_or_else(|| SampleError::Line(text.clone()))?;
        let read = answer.read().map_err(|what| SampleError::Answer { line: text, what })?;
        Ok((line, read))
    };
    written.into_iter().map(answer).collect()
}

impl WrittenAnswer {
    fn read(self) -> Result<Response<Bytes>, String> {
        let mut answer = Response::new(Bytes::from(bytes(self.body)));
        *answer.status_mut() = StatusCode::from_u16(self.status)
            .map_err(|_| format!("{}, which is no status", self.status))?;
        for (name, value) in self.headers {
            let (Ok(header), Ok(value)) =
                (name.parse::<HeaderName>(), HeaderValue::try_from(value))
            else {
                return Err(format!("the header `{name}`, which is none"));
            };
            answer.headers_mut().append(header, value);
        }
        Ok(answer)
    }
}

/// Method and URL as requests are told apart by: `GET https://a.test` is `GET https://a.test/`. `None` if the
/// text is neither.
pub fn request_line(text: &str) -> Option<String> {
    let (method, url) = text.trim().split_once(' ')?;
    let (method, url): (Method, Uri) = (method.parse().ok()?, url.trim().parse().ok()?);
    url.host()?;
    Some(format!("{method} {url}"))
}

fn event(
    source: &str,
    event_type: &str,
    headers: Headers,
    body: Vec<u8>,
    now: Timestamp,
) -> Result<Event, SampleError> {
    Ok(Event {
        id: EventId::new(now, [0; 10]),
        origin: source.parse().map_err(SampleError::Source)?,
        event_type: event_type.parse().map_err(SampleError::Type)?,
        received_at: now,
        method: "POST".to_owned(),
        path: format!("/webhooks/{source}"),
        query: None,
        headers,
        body,
        attributes: Vec::new(),
        hops: Hops::default(),
    })
}

fn bytes(value: Value) -> Vec<u8> {
    match value {
        Value::Null => Vec::new(),
        Value::String(text) => text.into_bytes(),
        other => other.to_string().into_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Sample, SampleError> {
        Sample::parse(text.as_bytes(), Timestamp::default())
    }

    fn fault(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    #[test]
    fn a_sample_is_an_event_with_what_it_needs() {
        let text = r#"{ "source": "shop", "type": "order", "body": {"id":1}, "headers": {"X-A":"b"},
            "attempt": 2, "state": {"k":"v"}, "expect": "retry",
            "http": {"GET https://a.test": {"status": 503, "body": "x", "headers": {"Retry-After": "7"}}} }"#;
        let Sample { rehearsal, expect } = parse(text).unwrap();
        assert_eq!((expect, rehearsal.attempt), (Outcome::Retry, 2));
        assert_eq!(rehearsal.event.body, br#"{"id":1}"#);
        assert_eq!(rehearsal.event.headers, [("x-a".to_owned(), b"b".to_vec())]);
        assert_eq!(rehearsal.state["k"], b"v");
        let answer = &rehearsal.answers["GET https://a.test/"];
        assert_eq!((answer.status().as_u16(), &answer.body()[..]), (503, &b"x"[..]));
        assert_eq!(answer.headers()["retry-after"], "7");
    }

    #[test]
    fn what_is_none_is_said() {
        assert!(fault("{").starts_with("is no sample"));
        assert!(fault(r#"{"source":"a","type":"b","bdy":1}"#).contains("unknown field `bdy`"));
        assert!(fault(r#"{"source":"A b","type":"b"}"#).starts_with("has no source"));
        assert!(fault(r#"{"source":"a","type":""}"#).starts_with("has no type"));
        let expect = r#"{"source":"a","type":"b","expect":"trap"}"#;
        assert_eq!(fault(expect), "expects neither done, retry nor reject");
        assert!(fault(r#"{"source":"a","type":"b","attempt":0}"#).contains("counted from 1"));
        let answer = |answer: &str| {
            fault(&format!(
                r#"{{"source":"a","type":"b","http":{{"GET https://a.test/":{answer}}}}}"#
            ))
        };
        assert!(answer(r#"{"status":1000}"#).ends_with("with 1000, which is no status"));
        assert!(answer(r#"{"status":200,"headers":{"a b":"c"}}"#).contains("header `a b`"));
        let line = r#"{"source":"a","type":"b","http":{"https://a.test/":{"status":200}}}"#;
        assert!(fault(line).contains("no method and URL"));
    }
}
