//! CloudEvents 1.0 over HTTP: the envelope in the body (structured mode) or in `ce-` headers (binary mode).
//! <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md>

use std::{collections::BTreeMap, fmt};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{Event, Failure, json};

/// A CloudEvent, in whichever of the two modes it came; see [`Event::cloud_event`].
///
/// ```
/// use hookweir_sdk::prelude::*;
///
/// fn handle(event: Event) -> Result<Outputs, Failure> {
///     let paid: CloudEvent<serde_json::Value> = event.cloud_event()?;
///     let customer = paid.subject.as_deref().or_reject()?;
///     let shard = paid.attributes.get("partitionkey").map_or("0", String::as_str);
///     Ok(outputs![Output::new("paid", format!("{customer} {shard} {}", paid.data["total"]))])
/// }
///
/// # use hookweir_sdk::testing::Host;
/// let event = Event::builder("erp", "com.example.paid")
///     .header("ce-specversion", "1.0")
///     .header("ce-id", "1")
///     .header("ce-source", "/erp")
///     .header("ce-type", "com.example.paid")
///     .header("ce-subject", "ada")
///     .header("ce-partitionkey", "7")
///     .body(r#"{ "total": 5 }"#);
/// assert_eq!(Host::new().run(handle, event.build()).expect("handled")[0].body(), b"ada 7 5");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct CloudEvent<T> {
    /// Together with `source` unique for each event.
    pub id: String,
    /// Where it happened, in the sender's words: a URI.
    pub source: String,
    /// What happened: `com.example.order.paid`.
    pub event_type: String,
    /// What it happened to, within the source.
    pub subject: Option<String>,
    /// When, as of RFC 3339.
    pub time: Option<String>,
    /// All other attributes: `datacontenttype`, `dataschema`, extensions such as `partitionkey`.
    pub attributes: BTreeMap<String, String>,
    /// What it brings.
    pub data: T,
}

impl Event {
    /// The body, and the envelope around it, from a CloudEvent with JSON as its data. One that brings none
    /// has null: take an `Option`.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Order {
    ///     total: u64,
    /// }
    ///
    /// fn handle(event: Event) -> Result<Outputs, Failure> {
    ///     let paid: CloudEvent<Order> = event.cloud_event()?;
    ///     assert_eq!(paid.event_type, "com.example.order.paid");
    ///     assert_eq!((paid.subject.as_deref(), paid.data.total), (Some("A1"), 5));
    ///     Ok(outputs![])
    /// }
    ///
    /// # use hookweir_sdk::testing::Host;
    /// let structured = Event::builder("erp", "com.example.order.paid")
    ///     .header("content-type", "application/cloudevents+json")
    ///     .body(
    ///         r#"{ "specversion": "1.0", "id": "1", "source": "/erp", "type": "com.example.order.paid",
    ///              "subject": "A1", "data": { "total": 5 } }"#,
    ///     );
    /// assert!(Host::new().run(handle, structured.build()).is_ok());
    /// let binary = Event::builder("erp", "com.example.order.paid")
    ///     .header("ce-specversion", "1.0")
    ///     .header("ce-id", "1")
    ///     .header("ce-source", "/erp")
    ///     .header("ce-type", "com.example.order.paid")
    ///     .header("ce-subject", "A1")
    ///     .body(r#"{ "total": 5 }"#);
    /// assert!(Host::new().run(handle, binary.build()).is_ok());
    /// ```
    ///
    /// # Errors
    /// A reject that says what is missing or does not fit, never what the body holds; also for a batch of
    /// CloudEvents, and for another version of their specification than 1.0.
    pub fn cloud_event<T: DeserializeOwned>(&self) -> Result<CloudEvent<T>, Failure> {
        let content_type = self.header("content-type").unwrap_or_default().to_ascii_lowercase();
        if content_type.starts_with("application/cloudevents-batch") {
            return Err(Failure::reject("malformed CloudEvent: it is a batch of some"));
        }
        if content_type.starts_with("application/cloudevents") {
            structured(self.body())
        } else {
            binary(self)
        }
    }
}

/// The envelope's attributes as text, and its data.
#[derive(Deserialize)]
struct Structured(BTreeMap<String, Value>);

fn structured<T: DeserializeOwned>(body: &[u8]) -> Result<CloudEvent<T>, Failure> {
    let Structured(mut members) = json::read("CloudEvent", body)?;
    let data = match (members.remove("data"), members.remove("data_base64")) {
        (data, None) => data.unwrap_or_default(),
        (None, Some(packed)) => {
            let bytes = packed.as_str().and_then(|packed| STANDARD.decode(packed).ok());
            let bytes =
                bytes.ok_or_else(|| Failure::reject("malformed CloudEvent: data_base64"))?;
            json::read("data", &bytes)?
        }
        (Some(_), Some(_)) => {
            return Err(Failure::reject("malformed CloudEvent: data and data_base64"));
        }
    };
    let text = |value: Value| match value {
        Value::Null => None,
        Value::String(text) => Some(text),
        other => Some(other.to_string()),
    };
    let attributes = members.into_iter().filter_map(|(name, value)| Some((name, text(value)?)));
    let data = json::read_value("data", data)?;
    CloudEvent::new(attributes.collect(), data)
}

fn binary<T: DeserializeOwned>(event: &Event) -> Result<CloudEvent<T>, Failure> {
    let attribute = |(name, value): (&str, &[u8])| {
        let name = name.to_ascii_lowercase();
        let name = name.strip_prefix("ce-")?;
        Some((name.to_owned(), unescaped(value)))
    };
    let mut attributes: BTreeMap<_, _> = event.headers().filter_map(attribute).collect();
    if let Some(content_type) = event.header("content-type") {
        attributes.insert("datacontenttype".to_owned(), content_type.to_owned());
    }
    let body = if event.body().is_empty() { b"null" } else { event.body() };
    let data = json::read("data", body);
    // What is no CloudEvent at all is said before what its data lack.
    CloudEvent::new(attributes, ()).and_then(|envelope| Ok(envelope.with(data?)))
}

impl<T> CloudEvent<T> {
    fn new(mut attributes: BTreeMap<String, String>, data: T) -> Result<Self, Failure> {
        let mut required = |name: &str| {
            let value = attributes.remove(name).filter(|value| !value.is_empty());
            value.ok_or_else(|| Failure::reject(format!("malformed CloudEvent: no `{name}`")))
        };
        if required("specversion")? != "1.0" {
            return Err(Failure::reject("malformed CloudEvent: its specversion is not 1.0"));
        }
        let (id, source, event_type) = (required("id")?, required("source")?, required("type")?);
        let (subject, time) = (attributes.remove("subject"), attributes.remove("time"));
        Ok(Self { id, source, event_type, subject, time, attributes, data })
    }

    fn with<D>(self, data: D) -> CloudEvent<D> {
        let Self { id, source, event_type, subject, time, attributes, data: _ } = self;
        CloudEvent { id, source, event_type, subject, time, attributes, data }
    }
}

/// A header's value, whose characters beyond ASCII are percent-encoded UTF-8.
fn unescaped(value: &[u8]) -> String {
    let digit = |at: usize| char::from(*value.get(at)?).to_digit(16);
    let (mut bytes, mut at) = (Vec::with_capacity(value.len()), 0);
    while let Some(&byte) = value.get(at) {
        match (byte, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                bytes.extend(u8::try_from(high * 16 + low));
                at += 3;
            }
            _ => {
                bytes.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Without the data: a log line is no place for them.
impl<T> fmt::Debug for CloudEvent<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CloudEvent")
            .field("id", &self.id)
            .field("source", &self.source)
            .field("event_type", &self.event_type)
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, not(target_family = "wasm")))]
mod tests {
    use serde_json::json;

    use super::*;

    fn structured(body: &Value) -> Result<CloudEvent<Value>, Failure> {
        let event = Event::builder("s", "t").json(body).build();
        // The one that `json` sets comes behind.
        let event = Event::builder("s", "t")
            .header("Content-Type", "application/cloudevents+json; charset=utf-8")
            .body(event.body());
        event.build().cloud_event()
    }

    fn envelope(more: &[(&str, Value)]) -> Value {
        let mut body = json!({ "specversion": "1.0", "id": "1", "source": "/s", "type": "t" });
        for (name, value) in more {
            body[*name] = value.clone();
        }
        body
    }

    #[test]
    fn all_that_an_envelope_says_is_read() {
        let event = structured(&envelope(&[
            ("time", json!("2026-01-01T00:00:00Z")),
            ("partitionkey", json!(7)),
            ("subject", Value::Null),
            ("data_base64", json!("eyJhIjoxfQ==")),
        ]));
        let event = event.expect("a CloudEvent");
        assert_eq!((&*event.id, &*event.source, &*event.event_type), ("1", "/s", "t"));
        assert_eq!((event.subject, event.time.as_deref()), (None, Some("2026-01-01T00:00:00Z")));
        assert_eq!(event.attributes["partitionkey"], "7");
        assert_eq!(event.data, json!({ "a": 1 }));
        let none = structured(&envelope(&[])).expect("a CloudEvent");
        assert_eq!(none.data, Value::Null);
    }

    #[test]
    fn headers_are_read_with_their_escapes() {
        let event = Event::builder("s", "t")
            .header("CE-SpecVersion", "1.0")
            .header("ce-id", "Euro%20%E2%82%AC%2G")
            .header("ce-source", "/s")
            .header("ce-type", "t")
            .header("content-type", "application/json");
        let event: CloudEvent<Option<u8>> = event.build().cloud_event().expect("a CloudEvent");
        assert_eq!((&*event.id, event.data), ("Euro €%2G", None));
        assert_eq!(event.attributes["datacontenttype"], "application/json");
    }

    #[test]
    fn what_is_none_is_said_and_not_quoted() {
        let reject = |body: &Value| structured(body).expect_err("none").message().to_owned();
        for (name, why) in [
            ("id", "malformed CloudEvent: no `id`"),
            ("specversion", "malformed CloudEvent: its specversion is not 1.0"),
        ] {
            let value = if name == "id" { json!("") } else { json!("0.3") };
            assert_eq!(reject(&envelope(&[(name, value)])), why);
        }
        let both = envelope(&[("data", json!(1)), ("data_base64", json!("MQ=="))]);
        assert_eq!(reject(&both), "malformed CloudEvent: data and data_base64");
        let torn = envelope(&[("data_base64", json!("s3cret?"))]);
        assert_eq!(reject(&torn), "malformed CloudEvent: data_base64");
        assert!(reject(&json!([])).starts_with("malformed CloudEvent: invalid type: sequence"));

        let plain = Event::builder("s", "t").body("s3cret").build();
        let failure = plain.cloud_event::<Value>().expect_err("no CloudEvent");
        assert_eq!(failure, Failure::reject("malformed CloudEvent: no `specversion`"));
        let batch = Event::builder("s", "t")
            .header("content-type", "application/cloudevents-batch+json")
            .body("[]");
        let failure = batch.build().cloud_event::<Value>().expect_err("a batch");
        assert_eq!(failure, Failure::reject("malformed CloudEvent: it is a batch of some"));
    }
}
