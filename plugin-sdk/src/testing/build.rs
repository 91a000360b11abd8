//! Events and requests for tests.

use serde::Serialize;

use crate::{Event, Request, export::bindings::hookweir::plugin::types};

/// An event in the making; see [`Event::builder`].
///
/// ```
/// use hookweir_sdk::{prelude::*, testing::EventBuilder};
///
/// /// What all tests of a crate begin with.
/// fn paid(order: &str) -> EventBuilder {
///     let body = serde_json::json!({ "id": order, "total": 5 });
///     Event::builder("shop", "order.paid").header("x-shop", "eu").json(&body)
/// }
///
/// assert_eq!(paid("A1").attempt(2).build().attempt(), 2);
/// ```
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
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// let [first, second] = ["1", "2"].map(|id| Event::builder("shop", "order").id(id).build());
    /// assert_ne!(first.id(), second.id());
    /// ```
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.0.id = id.into();
        self
    }

    /// Which attempt this is, counted from 1.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// assert_eq!(Event::builder("shop", "order").attempt(5).build().attempt(), 5);
    /// ```
    pub fn attempt(mut self, attempt: u32) -> Self {
        self.0.attempt = attempt;
        self
    }

    /// When it was received: Unix time in milliseconds.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// let event = Event::builder("shop", "order").received_at_ms(1_700_000_000_000).build();
    /// assert_eq!(event.received_at_ms() / 86_400_000, 19_675);
    /// ```
    pub fn received_at_ms(mut self, millis: u64) -> Self {
        self.0.received_at_ms = millis;
        self
    }

    /// Another method than `POST`.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// assert_eq!(Event::builder("cms", "page").method("PUT").build().method(), "PUT");
    /// ```
    pub fn method(mut self, method: impl Into<String>) -> Self {
        self.0.method = method.into();
        self
    }

    /// Another path than `/webhooks/SOURCE`.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// assert_eq!(Event::builder("cms", "page").build().path(), "/webhooks/cms");
    /// assert_eq!(Event::builder("cms", "page").path("/cms/en").build().path(), "/cms/en");
    /// ```
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.0.path = path.into();
        self
    }

    /// A query, without the `?`.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// assert_eq!(Event::builder("cms", "page").query("lang=en").build().query(), Some("lang=en"));
    /// ```
    pub fn query(mut self, query: impl Into<String>) -> Self {
        self.0.query = Some(query.into());
        self
    }

    /// One header more.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// let event = Event::builder("github", "push").header("x-github-event", "push").build();
    /// assert_eq!(event.header("X-GitHub-Event"), Some("push"));
    /// ```
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.0.headers.push((name.into(), value.into()));
        self
    }

    /// One attribute more.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// let event = Event::builder("shop", "order").attribute("order-key", "ada").build();
    /// assert_eq!(event.attribute("order-key"), Some("ada"));
    /// ```
    pub fn attribute(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.attributes.push((name.into(), value.into()));
        self
    }

    /// The raw body: a captured one, say, by `include_bytes!("../samples/push.json")`.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// assert_eq!(Event::builder("shop", "order").body("id=A1").build().body(), b"id=A1");
    /// ```
    pub fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.0.body = body.as_ref().to_vec();
        self
    }

    /// The body as JSON, with the content type that says so.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// let event = Event::builder("shop", "order").json(&serde_json::json!({ "id": "A1" })).build();
    /// assert_eq!(event.header("content-type"), Some("application/json"));
    /// ```
    ///
    /// # Panics
    /// If `value` can't be written as JSON.
    pub fn json<T: Serialize + ?Sized>(self, value: &T) -> Self {
        self.header("content-type", "application/json").body(written(value))
    }

    /// The event.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    /// use hookweir_sdk::testing::Host;
    ///
    /// fn handle(event: Event) -> Result<Outputs, Failure> {
    ///     Ok(outputs![Output::new("seen", event.id())])
    /// }
    /// let event: Event = Event::builder("shop", "order").build();
    /// assert!(Host::new().run(handle, event).is_ok());
    /// ```
    pub fn build(self) -> Event {
        Event::from_wire(self.0)
    }
}

/// A request in the making; see [`Request::builder`].
///
/// ```
/// use hookweir_sdk::{prelude::*, testing::RequestBuilder};
///
/// /// What all tests of a verifier begin with.
/// fn delivery(signature: &str) -> RequestBuilder {
///     Request::builder("POST", "/webhooks/erp").secret("s3cret").header("x-signature", signature)
/// }
///
/// assert_eq!(delivery("ab").body("{}").build().header("x-signature"), Some("ab"));
/// ```
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
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// let request = Request::builder("GET", "/orders").query("page=2").build();
    /// assert_eq!(request.parameter("page").as_deref(), Some("2"));
    /// ```
    pub fn query(mut self, query: impl Into<String>) -> Self {
        self.0.query = Some(query.into());
        self
    }

    /// One header more.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// let request = Request::builder("GET", "/").header("accept", "text/csv").build();
    /// assert_eq!(request.header("Accept"), Some("text/csv"));
    /// ```
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.0.headers.push((name.into(), value.into()));
        self
    }

    /// One attribute more.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// let request = Request::builder("GET", "/").attribute("client", "192.0.2.1").build();
    /// assert_eq!(request.attribute("client"), Some("192.0.2.1"));
    /// ```
    pub fn attribute(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.attributes.push((name.into(), value.into()));
        self
    }

    /// One secret of the source more, for a verifier.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// // While one is rotated there are two.
    /// let request = Request::builder("POST", "/").secret("old").secret("new").build();
    /// assert_eq!(request.secrets().collect::<Vec<_>>(), ["old", "new"]);
    /// ```
    pub fn secret(self, secret: impl Into<String>) -> Self {
        self.attribute("secret", secret)
    }

    /// The raw body.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// assert_eq!(Request::builder("POST", "/").body("a=1").build().body(), b"a=1");
    /// ```
    pub fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.0.body = body.as_ref().to_vec();
        self
    }

    /// The body as JSON, with the content type that says so.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// let request = Request::builder("POST", "/").json(&[1, 2]).build();
    /// assert_eq!(request.text(), "[1,2]");
    /// ```
    ///
    /// # Panics
    /// If `value` can't be written as JSON.
    pub fn json<T: Serialize + ?Sized>(self, value: &T) -> Self {
        self.header("content-type", "application/json").body(written(value))
    }

    /// The request.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    /// use hookweir_sdk::testing::Host;
    ///
    /// fn respond(request: Request) -> Result<Response, Failure> {
    ///     Ok(Response::text(request.path()))
    /// }
    /// let request: Request = Request::builder("GET", "/orders").build();
    /// assert_eq!(Host::new().respond(respond, request).expect("answered").body(), b"/orders");
    /// ```
    pub fn build(self) -> Request {
        Request::from_wire(self.0)
    }
}

fn written<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value)
        .unwrap_or_else(|e| panic!("the body of a test can't be written as JSON: {e}"))
}
