//! Samples natively: the files that `NAME.samples/` beside a plugin's module holds, and that the gateway
//! runs each new version on before it goes live.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::{Canned, EventBuilder, Host};
use crate::{Event, Failure, Outputs};

/// A sample: an event, the state and the answers that it meets, and what comes of it.
///
/// ```
/// use hookweir_sdk::prelude::*;
/// use hookweir_sdk::testing::{Host, Sample};
///
/// fn handle(event: Event) -> Result<Outputs, Failure> {
///     let order: serde_json::Value = event.json()?;
///     state::get("open").or_retry()?.ok_or("not open").or_retry()?;
///     http::post("https://api.example.com/fulfil").json(&order["id"])?.send()?.ok_or_retry()?;
///     Ok(outputs![])
/// }
///
/// // Mostly: include_str!("../samples/order.paid.json").
/// let sample = Sample::parse(
///     r#"{ "source": "shop", "type": "order.paid", "body": { "id": "A1" }, "state": { "open": "1" },
///          "http": { "POST https://api.example.com/fulfil": { "status": 503 } }, "expect": "retry" }"#,
/// );
/// let failure = sample.run(&Host::new(), handle).expect_err("as the sample expects");
/// assert_eq!(failure.message(), "answered with 503");
/// ```
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sample {
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
    http: BTreeMap<String, Answer>,
    #[serde(default = "done")]
    expect: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
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
    "done".to_owned()
}

impl Sample {
    /// A sample from the text of its file.
    ///
    /// ```
    /// use hookweir_sdk::testing::Sample;
    ///
    /// let sample = Sample::parse(r#"{ "source": "shop", "type": "order.paid", "body": { "id": "A1" } }"#);
    /// assert_eq!(sample.body()["id"], "A1");
    /// ```
    ///
    /// # Panics
    /// If it is none.
    pub fn parse(text: &str) -> Self {
        serde_json::from_str(text).unwrap_or_else(|e| panic!("this is no sample: {e}"))
    }

    /// Its event, for a test that changes some of it.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    /// use hookweir_sdk::testing::{Host, Sample};
    ///
    /// fn handle(event: Event) -> Result<Outputs, Failure> {
    ///     if event.attempt() > 4 { Err(Failure::reject("enough")) } else { Err(Failure::retry("later")) }
    /// }
    /// let sample = Sample::parse(r#"{ "source": "shop", "type": "order.paid", "expect": "retry" }"#);
    /// let fifth = sample.event().attempt(5).build();
    /// assert!(Host::new().run(handle, fifth).is_err_and(|failure| !failure.is_retry()));
    /// ```
    pub fn event(&self) -> EventBuilder {
        let event = Event::builder(&self.source, &self.event_type).body(bytes(&self.body));
        let event = event.attempt(self.attempt);
        let event = match &self.query {
            Some(query) => event.query(query),
            None => event,
        };
        self.headers.iter().fold(event, |event, (name, value)| event.header(name, value.as_str()))
    }

    /// Its body, for a test that makes other events of it.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    /// use hookweir_sdk::testing::Sample;
    ///
    /// let sample = Sample::parse(r#"{ "source": "shop", "type": "order.paid", "body": { "id": "A1" } }"#);
    /// let mut body = sample.body().clone();
    /// body["id"] = "A2".into();
    /// let other = Event::builder("shop", "order.paid").json(&body).build();
    /// assert_eq!(other.text(), r#"{"id":"A2"}"#);
    /// ```
    pub fn body(&self) -> &Value {
        &self.body
    }

    /// Puts its state and its answers into a host and runs a handler there on its event.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    /// use hookweir_sdk::testing::{Host, Sample};
    ///
    /// fn handle(event: Event) -> Result<Outputs, Failure> {
    ///     let order: serde_json::Value = event.json()?;
    ///     state::set(&format!("order:{}", order["id"].as_str().or_reject()?), "paid")?;
    ///     Ok(outputs![])
    /// }
    ///
    /// // Mostly: include_str!("../samples/paid.json").
    /// let sample = Sample::parse(r#"{ "source": "shop", "type": "order.paid", "body": { "id": "A1" } }"#);
    /// let host = Host::new();
    /// sample.run(&host, handle).expect("done, as the sample expects");
    /// assert!(host.stored("order:A1").is_some());
    /// ```
    ///
    /// # Errors
    /// What the handler returned.
    ///
    /// # Panics
    /// If that is not what the sample expects.
    pub fn run<H>(&self, host: &Host, handle: H) -> Result<Outputs, Failure>
    where
        H: FnOnce(Event) -> Result<Outputs, Failure>,
    {
        for (key, value) in &self.state {
            host.keep(key, bytes(value));
        }
        for (line, answer) in &self.http {
            let canned = Canned::new(answer.status).body(bytes(&answer.body));
            let headers = answer.headers.iter();
            host.can(
                line,
                headers.fold(canned, |canned, (name, value)| canned.header(name, value)),
            );
        }
        let result = host.run(handle, self.event().build());
        let outcome = match &result {
            Ok(_) => "done",
            Err(failure) if failure.is_retry() => "retry",
            Err(_) => "reject",
        };
        assert!(outcome == self.expect, "it expects {} and came to {result:?}", self.expect);
        result
    }
}

fn bytes(value: &Value) -> Vec<u8> {
    match value {
        Value::Null => Vec::new(),
        Value::String(text) => text.clone().into_bytes(),
        other => other.to_string().into_bytes(),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::needless_pass_by_value, reason = "a handler's type")]

    use super::*;

    fn echo(event: Event) -> Result<Outputs, Failure> {
        match event.text().as_ref() {
            "" => Err(Failure::reject("nothing there")),
            text => Ok(crate::Output::new("seen", format!("{text}{:?}", event.query())).into()),
        }
    }

    #[test]
    fn a_body_is_text_or_json_or_nothing() {
        let event = r#""source": "s", "type": "t", "query": "a=b""#;
        for (body, seen) in [(r#""x""#, r#"xSome("a=b")"#), (r#"{"a":1}"#, r#"{"a":1}Some("a=b")"#)]
        {
            let sample = Sample::parse(&format!(r#"{{ {event}, "body": {body} }}"#));
            assert_eq!(sample.run(&Host::new(), echo).unwrap()[0].body(), seen.as_bytes());
        }
        let none = Sample::parse(&format!(r#"{{ {event}, "expect": "reject" }}"#));
        assert!(none.run(&Host::new(), echo).is_err());
    }

    #[test]
    fn an_attempt_and_the_headers_of_an_answer_are_taken() {
        fn ask(event: Event) -> Result<Outputs, Failure> {
            assert_eq!(event.attempt(), 2);
            crate::http::get("https://a.test/").send()?.ok_or_retry()?;
            Ok(Outputs::default())
        }
        let sample = Sample::parse(
            r#"{ "source": "s", "type": "t", "attempt": 2, "expect": "retry",
                 "http": { "GET https://a.test/": { "status": 503, "headers": { "retry-after": "7" } } } }"#,
        );
        let failure = sample.run(&Host::new(), ask).unwrap_err();
        assert_eq!(failure.retry_after(), Some(std::time::Duration::from_secs(7)));
    }

    #[test]
    #[should_panic(expected = "it expects retry and came to Ok")]
    fn another_outcome_fails_the_test() {
        let text = r#"{ "source": "s", "type": "t", "body": "x", "expect": "retry" }"#;
        let _ = Sample::parse(text).run(&Host::new(), echo);
    }

    #[test]
    #[should_panic(expected = "unknown field `bdy`")]
    fn a_sample_with_a_slip_is_none() {
        Sample::parse(r#"{ "source": "s", "type": "t", "bdy": "x" }"#);
    }
}
