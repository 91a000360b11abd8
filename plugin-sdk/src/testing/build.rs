//! Events and requests for tests.

use serde::Serialize;

use crate::{Event, Request, export::bindings::hookweir::plugin::types};

/// An event in the making; see [`Event::builder`].
pub struct EventBuilder(types::Event);

impl Event {
    /// An event of this source and type for a test: first attempt, `POST`, empty body.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// let event = Event::builder("shopify", "orders/create")
    ///     .header("x-shopify-topic", "orders/create")
    ///     .json(&serde_json::json!({ "id": 1 }))
    ///     .attempt(3)
    ///     .build();
    /// assert_eq!(event.attempt(), 3);
    /// assert_eq!(event.text(), r#"{"id":1}"#);
    /// ```
    pub fn builder(source: impl Into<String>, event_type: impl Into<String>) -> EventBuilder {
        let source = source.into();
        EventBuilder(types::Event {
            id: "0190a5c4-8f3e-7000-8000-000000000001".into(),
            path: format!("/webhooks/{source}"),
            source,
            event_type: event_type.into(),
            attempt: 1,
            received_at_ms: 0,
            method: "POST".into(),
            query: None,
            headers: Vec::new(),
            body: Vec::new(),
            attributes: Vec::new(),
        })
    }
}

impl EventBuilder {
    /// Another id than the one that all test events share.
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.0.id = id.into();
        self
    }

    /// Which attempt this is, counted from 1.
    pub fn attempt(mut self, attempt: u32) -> Self {
        self.0.attempt = attempt;
        self
    }

    /// When it was received: Unix time in milliseconds.
    pub fn received_at_ms(mut self, millis: u64) -> Self {
        self.0.received_at_ms = millis;
        self
    }

    /// Another method than `POST`.
    pub fn method(mut self, method: impl Into<String>) -> Self {
        self.0.method = method.into();
        self
    }

    /// Another path than `/webhooks/SOURCE`.
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.0.path = path.into();
        self
    }

    /// A query, without the `?`.
    pub fn query(mut self, query: impl Into<String>) -> Self {
        self.0.query = Some(query.into());
        self
    }

    /// One header more.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.0.headers.push((name.into(), value.into()));
        self
    }

    /// One attribute more.
    pub fn attribute(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.attributes.push((name.into(), value.into()));
        self
    }

    /// The raw body: a captured one, say, by `include_bytes!("../samples/push.json")`.
    pub fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.0.body = body.as_ref().to_vec();
        self
    }

    /// The body as JSON, with the content type that says so.
    ///
    /// # Panics
    /// If `value` can't be written as JSON.
    pub fn json<T: Serialize + ?Sized>(self, value: &T) -> Self {
        self.header("content-type", "application/json").body(written(value))
    }

    /// The event.
    pub fn build(self) -> Event {
        Event::from_wire(self.0)
    }
}

/// A request in the making; see [`Request::builder`].
pub struct RequestBuilder(types::Request);

impl Request {
    /// A request for a test: this method and path, no body.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// let request = Request::builder("GET", "/orders").query("status=paid%20late").build();
    /// assert_eq!(request.parameter("status").as_deref(), Some("paid late"));
    /// ```
    pub fn builder(method: impl Into<String>, path: impl Into<String>) -> RequestBuilder {
        RequestBuilder(types::Request {
            method: method.into(),
            path: path.into(),
            query: None,
            headers: Vec::new(),
            body: Vec::new(),
            attributes: Vec::new(),
        })
    }
}

impl RequestBuilder {
    /// A query, without the `?`.
    pub fn query(mut self, query: impl Into<String>) -> Self {
        self.0.query = Some(query.into());
        self
    }

    /// One header more.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.0.headers.push((name.into(), value.into()));
        self
    }

    /// One attribute more.
    pub fn attribute(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.attributes.push((name.into(), value.into()));
        self
    }

    /// One secret of the source more, for a verifier.
    pub fn secret(self, secret: impl Into<String>) -> Self {
        self.attribute("secret", secret)
    }

    /// The raw body.
    pub fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.0.body = body.as_ref().to_vec();
        self
    }

    /// The body as JSON, with the content type that says so.
    ///
    /// # Panics
    /// If `value` can't be written as JSON.
    pub fn json<T: Serialize + ?Sized>(self, value: &T) -> Self {
        self.header("content-type", "application/json").body(written(value))
    }

    /// The request.
    pub fn build(self) -> Request {
        Request::from_wire(self.0)
    }
}

fn written<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value)
        .unwrap_or_else(|e| panic!("the body of a test can't be written as JSON: {e}"))
}
