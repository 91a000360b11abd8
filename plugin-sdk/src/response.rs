//! What a plugin answers a request with.

use std::fmt;

use serde::{Serialize, de::DeserializeOwned};

use crate::{Failure, export::bindings::hookweir::plugin::types, json};

/// The answer to a request. It leaves the gateway when what the call changed of the state is on disk.
///
/// ```
/// use hookweir_sdk::prelude::*;
///
/// let created = Response::json(&["A1"])?.status(201).header("location", "/api/orders/A1");
/// assert_eq!(created.status_code(), 201);
/// assert_eq!(created.parse::<Vec<String>>()?, ["A1"]);
/// # Ok::<(), Failure>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Response {
    status: u16,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

impl Response {
    /// A response without a body. The status is 200 to 599; the gateway answers 502 for another.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// assert_eq!(Response::new(204).status_code(), 204);
    /// ```
    pub fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new() }
    }

    /// 200 with a text.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// assert_eq!(Response::text("paid").body(), b"paid");
    /// ```
    pub fn text(text: impl Into<String>) -> Self {
        let text: String = text.into();
        Self::new(200).header("content-type", "text/plain; charset=utf-8").with_body(text)
    }

    /// 200 with `value` as JSON.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// let answer = Response::json(&serde_json::json!({ "status": "paid" }))?;
    /// assert_eq!(answer.body(), br#"{"status":"paid"}"#);
    /// # Ok::<(), Failure>(())
    /// ```
    ///
    /// # Errors
    /// A reject if `value` can't be written as JSON: a map with keys that are no strings.
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self, Failure> {
        let body = json::write(value)?;
        Ok(Self::new(200).header("content-type", "application/json").with_body(body))
    }

    /// With another status.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// let gone = Response::text("it was cancelled").status(410);
    /// assert_eq!(gone.status_code(), 410);
    /// ```
    pub fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// With one header more. Those of the connection and of the framing are the gateway's, and left out.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// let moved = Response::new(303).header("location", "/api/orders/A1");
    /// assert!(moved.headers().any(|(name, _)| name == "location"));
    /// ```
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// With these bytes as its body.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// let csv = Response::new(200).header("content-type", "text/csv").with_body("id,total\nA1,5\n");
    /// assert_eq!(csv.body().len(), 14);
    /// ```
    pub fn with_body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// The status.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    /// use hookweir_sdk::testing::Host;
    ///
    /// fn respond(_: Request) -> Result<Response, Failure> {
    ///     Ok(Response::new(404))
    /// }
    /// let answer = Host::new().respond(respond, Request::builder("GET", "/").build()).expect("answered");
    /// assert_eq!(answer.status_code(), 404);
    /// ```
    pub fn status_code(&self) -> u16 {
        self.status
    }

    /// The headers, in the order written.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// let text = Response::text("paid");
    /// assert_eq!(text.headers().next(), Some(("content-type", &b"text/plain; charset=utf-8"[..])));
    /// ```
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice()))
    }

    /// The body.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// assert!(Response::new(204).body().is_empty());
    /// ```
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The body from JSON, for tests.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// assert_eq!(Response::json(&[1, 2])?.parse::<Vec<u32>>()?, [1, 2]);
    /// # Ok::<(), Failure>(())
    /// ```
    ///
    /// # Errors
    /// A reject that says what did not fit.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        json::read("response", &self.body)
    }

    pub(crate) fn into_wire(self) -> types::Response {
        let Self { status, headers, body } = self;
        types::Response { status, headers, body }
    }
}

/// Without headers and body: a log line is no place for either.
impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("status", &self.status)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}
