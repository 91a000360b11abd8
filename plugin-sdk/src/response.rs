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
    pub fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new() }
    }

    /// 200 with a text.
    pub fn text(text: impl Into<String>) -> Self {
        let text: String = text.into();
        Self::new(200).header("content-type", "text/plain; charset=utf-8").with_body(text)
    }

    /// 200 with `value` as JSON.
    ///
    /// # Errors
    /// A reject if `value` can't be written as JSON: a map with keys that are no strings.
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self, Failure> {
        let body = json::write(value)?;
        Ok(Self::new(200).header("content-type", "application/json").with_body(body))
    }

    /// With another status.
    pub fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// With one header more. Those of the connection and of the framing are the gateway's, and left out.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// With these bytes as its body.
    pub fn with_body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// The status.
    pub fn status_code(&self) -> u16 {
        self.status
    }

    /// The headers, in the order written.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice()))
    }

    /// The body.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The body from JSON, for tests.
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
