//! Requests that a plugin is asked about: to answer one, or to say whether it is genuine.

use std::{borrow::Cow, fmt};

use serde::de::DeserializeOwned;

use crate::{Failure, export::bindings::hookweir::plugin::types, form, json};

/// A request that a plugin answers ([`macro@crate::api`]) or verifies ([`macro@crate::verifier`]).
///
/// ```
/// use hookweir_sdk::prelude::*;
///
/// fn respond(request: Request) -> Result<Response, Failure> {
///     match (request.method(), request.path()) {
///         ("GET", "/orders") => {
///             let status = request.parameter("status").unwrap_or("any".into());
///             Response::json(&state::keys(&format!("{status}:"), None, 100)?)
///         }
///         _ => Ok(Response::new(404)),
///     }
/// }
///
/// # use hookweir_sdk::testing::Host;
/// let host = Host::new().state("paid:7", "").state("open:8", "");
/// let request = Request::builder("GET", "/orders").query("status=paid").build();
/// assert_eq!(host.respond(respond, request).expect("answered").body(), br#"["paid:7"]"#);
/// ```
pub struct Request(types::Request);

impl Request {
    pub(crate) fn from_wire(request: types::Request) -> Self {
        Self(request)
    }

    /// The method, in upper case.
    pub fn method(&self) -> &str {
        &self.0.method
    }

    /// The path as received, undecoded: for an api, what comes after `/api/NAME`.
    pub fn path(&self) -> &str {
        &self.0.path
    }

    /// The query as received, without the `?`.
    pub fn query(&self) -> Option<&str> {
        self.0.query.as_deref()
    }

    /// The first parameter of that name in the query, decoded.
    pub fn parameter(&self, name: &str) -> Option<Cow<'_, str>> {
        self.parameters().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// All parameters in the query, decoded, in their order. A name may occur more than once.
    pub fn parameters(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        form_urlencoded::parse(self.query().unwrap_or_default().as_bytes())
    }

    /// The first header of that name, in whichever case, if its value is UTF-8.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers().find(|(known, _)| known.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(value).ok()
    }

    /// All headers with their raw values, in the order received. A name may occur more than once.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice()))
    }

    /// The raw body.
    pub fn body(&self) -> &[u8] {
        &self.0.body
    }

    /// The body as text; what is not UTF-8 reads as U+FFFD.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.0.body)
    }

    /// The body from JSON.
    ///
    /// # Errors
    /// A reject, which is answered with 400, that says what did not fit and where, never what the body holds.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        json::read("body", &self.0.body)
    }

    /// The body from `application/x-www-form-urlencoded`.
    ///
    /// # Errors
    /// A reject that says what did not fit, never what the body holds.
    pub fn form<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        form::parse(&self.0.body)
    }

    /// What the gateway tells beside the request: for an api `client`, the address that asks, and
    /// `request-id`; for a verifier `source`, and `url` where the source has a `public_url`.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// All attributes. Later gateways may add some.
    pub fn attributes(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.attributes.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// For a verifier: the source's secrets that are valid now. While one is rotated there are two, and any of
    /// them will do.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        self.attributes().filter(|(name, _)| *name == "secret").map(|(_, secret)| secret)
    }
}

/// Without query, headers, attributes and body: a log line is no place for them.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.0.method)
            .field("path", &self.0.path)
            .field("body_bytes", &self.0.body.len())
            .finish_non_exhaustive()
    }
}
