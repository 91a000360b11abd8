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
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// fn respond(request: Request) -> Result<Response, Failure> {
    ///     match request.method() {
    ///         "GET" => Ok(Response::json(&state::json::<u64>("count")?)?),
    ///         "DELETE" => state::delete("count").map(|_| Response::new(204)),
    ///         _ => Ok(Response::new(405)),
    ///     }
    /// }
    /// # let host = hookweir_sdk::testing::Host::new();
    /// # let answer = host.respond(respond, Request::builder("DELETE", "/").build()).expect("answered");
    /// # assert_eq!(answer.status_code(), 204);
    /// ```
    pub fn method(&self) -> &str {
        &self.0.method
    }

    /// The path as received, undecoded: for an api, what comes after `/api/NAME`.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// /// GET /api/NAME/orders/A1
    /// fn respond(request: Request) -> Result<Response, Failure> {
    ///     match request.path().strip_prefix("/orders/") {
    ///         Some(order) => Ok(Response::text(order)),
    ///         None => Ok(Response::new(404)),
    ///     }
    /// }
    /// # let host = hookweir_sdk::testing::Host::new();
    /// # let answer = host.respond(respond, Request::builder("GET", "/orders/A1").build()).expect("answered");
    /// # assert_eq!(answer.body(), b"A1");
    /// ```
    pub fn path(&self) -> &str {
        &self.0.path
    }

    /// The query as received, without the `?`.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// let request = Request::builder("GET", "/").query("a=1&b=%20").build();
    /// assert_eq!(request.query(), Some("a=1&b=%20"));
    /// ```
    pub fn query(&self) -> Option<&str> {
        self.0.query.as_deref()
    }

    /// The first parameter of that name in the query, decoded.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// let request = Request::builder("GET", "/orders").query("status=paid%20late&page=2").build();
    /// assert_eq!(request.parameter("status").as_deref(), Some("paid late"));
    /// let page: usize = request.parameter("page").map_or(Ok(1), |page| page.parse()).or_reject()?;
    /// assert_eq!(page, 2);
    /// # Ok::<(), Failure>(())
    /// ```
    pub fn parameter(&self, name: &str) -> Option<Cow<'_, str>> {
        self.parameters().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// All parameters in the query, decoded, in their order. A name may occur more than once.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// let request = Request::builder("GET", "/").query("tag=a&tag=b").build();
    /// let tags: Vec<_> = request.parameters().filter(|(name, _)| name == "tag").map(|(_, tag)| tag).collect();
    /// assert_eq!(tags, ["a", "b"]);
    /// ```
    pub fn parameters(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        form_urlencoded::parse(self.query().unwrap_or_default().as_bytes())
    }

    /// The first header of that name, in whichever case, if its value is UTF-8.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// let request = Request::builder("GET", "/").header("Accept", "text/csv").build();
    /// assert_eq!(request.header("accept"), Some("text/csv"));
    /// ```
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers().find(|(known, _)| known.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(value).ok()
    }

    /// All headers with their raw values, in the order received. A name may occur more than once.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// let request = Request::builder("GET", "/").header("accept", "text/csv").build();
    /// assert_eq!(request.headers().collect::<Vec<_>>(), [("accept", b"text/csv".as_slice())]);
    /// ```
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice()))
    }

    /// The raw body.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// fn verify(request: Request) -> Result<Verified, String> {
    ///     match request.body() {
    ///         [] => Err("no body".to_owned()),
    ///         [..] => Ok(Verified::new("order.paid")),
    ///     }
    /// }
    /// # let host = hookweir_sdk::testing::Host::new();
    /// # assert!(host.verify(verify, Request::builder("POST", "/").build()).is_err());
    /// ```
    pub fn body(&self) -> &[u8] {
        &self.0.body
    }

    /// The body as text; what is not UTF-8 reads as U+FFFD.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// let request = Request::builder("POST", "/notes").body("call ada").build();
    /// assert_eq!(request.text(), "call ada");
    /// ```
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.0.body)
    }

    /// The body from JSON.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// /// A body that does not fit is answered with 400 and why.
    /// fn respond(request: Request) -> Result<Response, Failure> {
    ///     let amounts: Vec<u32> = request.json()?;
    ///     Response::json(&amounts.iter().sum::<u32>())
    /// }
    ///
    /// # use hookweir_sdk::testing::Host;
    /// let request = Request::builder("POST", "/sum").json(&[1, 2]).build();
    /// assert_eq!(Host::new().respond(respond, request).expect("answered").body(), b"3");
    /// ```
    ///
    /// # Errors
    /// A reject, which is answered with 400, that says what did not fit and where, never what the body holds.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        json::read("body", &self.0.body)
    }

    /// The body from `application/x-www-form-urlencoded`.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// #[derive(serde::Deserialize)]
    /// struct SignUp {
    ///     email: String,
    /// }
    ///
    /// let request = Request::builder("POST", "/").body("email=ada%40example.com").build();
    /// assert_eq!(request.form::<SignUp>()?.email, "ada@example.com");
    /// # Ok::<(), Failure>(())
    /// ```
    ///
    /// # Errors
    /// A reject that says what did not fit, never what the body holds.
    pub fn form<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        form::parse(&self.0.body)
    }

    /// What the gateway tells beside the request: for an api `client`, the address that asks, and
    /// `request-id`; for a verifier `source`, and `url` where the source has a `public_url`.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// fn respond(request: Request) -> Result<Response, Failure> {
    ///     let client = request.attribute("client").unwrap_or_default();
    ///     let asked = state::increment_for(&format!("asked:{client}"), 1, std::time::Duration::from_secs(60))?;
    ///     Ok(Response::new(if asked > 100 { 429 } else { 204 }))
    /// }
    /// # let host = hookweir_sdk::testing::Host::new();
    /// # let request = Request::builder("GET", "/").attribute("client", "192.0.2.1").build();
    /// # assert_eq!(host.respond(respond, request).expect("answered").status_code(), 204);
    /// ```
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// All attributes. Later gateways may add some.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// let request = Request::builder("POST", "/").attribute("source", "erp").build();
    /// assert_eq!(request.attributes().collect::<Vec<_>>(), [("source", "erp")]);
    /// ```
    pub fn attributes(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.attributes.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// For a verifier: the source's secrets that are valid now. While one is rotated there are two, and any of
    /// them will do.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// # fn is_signed(_: &[u8], _: &str, _: &str) -> bool { true }
    /// fn verify(request: Request) -> Result<Verified, String> {
    ///     let signature = request.header("x-signature").ok_or("no signature")?;
    ///     let known = request.secrets().any(|secret| is_signed(request.body(), secret, signature));
    ///     if known { Ok(Verified::new("order.paid")) } else { Err("another signature".to_owned()) }
    /// }
    ///
    /// # use hookweir_sdk::testing::Host;
    /// let request = Request::builder("POST", "/").secret("old").secret("new").header("x-signature", "..").build();
    /// assert!(Host::new().verify(verify, request).is_ok());
    /// ```
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
