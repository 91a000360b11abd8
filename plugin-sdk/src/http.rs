//! Requests to the outside world: only to the hosts that the operator granted, and with secrets that the
//! plugin never sees.
//!
//! A call waits for its answer; [`send_all`] sends many at the same time, and [`send_each`] has those that
//! fail tried again each on its own. Redirects are not followed: an answer with 302 is an answer. On every
//! request but the safe ones (GET, HEAD, OPTIONS) the gateway puts an `Idempotency-Key` that is the same on
//! each attempt of the event, so that a server that knows such keys does a thing once, however often the
//! handler is run.
//!
//! ```
//! use hookweir_sdk::prelude::*;
//!
//! fn handle(event: Event) -> Result<Outputs, Failure> {
//!     let order = event.text();
//!     let answer = http::post("https://api.example.com/fulfil")
//!         .bearer("API_KEY") // the gateway's, which puts it in
//!         .json(&serde_json::json!({ "order": order }))?
//!         .send()?
//!         .ok_or_retry()?; // 5xx, 429: tried again, not before Retry-After
//!     log::info!("fulfilled: {}", answer.status());
//!     Ok(outputs![])
//! }
//!
//! # use hookweir_sdk::testing::{Canned, Host};
//! let host = Host::new().http("POST https://api.example.com/fulfil", Canned::new(201));
//! host.run(handle, Event::builder("shop", "order").body("4711").build()).expect("handled");
//! assert_eq!(host.requests()[0].text(), r#"{"order":"4711"}"#);
//! assert_eq!(host.requests()[0].secret_header("authorization"), Some("Bearer {API_KEY}"));
//! ```

use std::{
    fmt,
    time::{Duration, UNIX_EPOCH},
};

use serde::{Serialize, de::DeserializeOwned};

pub use crate::each::{send_again, send_each};
use crate::{Failure, clock, host, json};

/// A request that is being made. Nothing is sent before [`Request::send`] or [`send_all`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a request does nothing until it is sent"]
pub struct Request {
    pub(crate) method: String,
    pub(crate) url: String,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) secret_headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) timeout: Option<Duration>,
}

/// Asks for what is at `url`.
pub fn get(url: impl Into<String>) -> Request {
    Request::new("GET", url)
}

/// Posts to `url`.
pub fn post(url: impl Into<String>) -> Request {
    Request::new("POST", url)
}

/// Puts to `url`.
pub fn put(url: impl Into<String>) -> Request {
    Request::new("PUT", url)
}

/// Changes what is at `url`.
pub fn patch(url: impl Into<String>) -> Request {
    Request::new("PATCH", url)
}

/// Removes what is at `url`.
pub fn delete(url: impl Into<String>) -> Request {
    Request::new("DELETE", url)
}

/// Sends all at the same time and answers in their order; one that fails is no end of the others.
///
/// ```
/// use hookweir_sdk::prelude::*;
///
/// fn handle(event: Event) -> Result<Outputs, Failure> {
///     let to = ["https://crm.example.com/events", "https://bi.example.com/events"];
///     let requests = to.map(|url| http::post(url).body(event.body().to_vec()));
///     for answer in http::send_all(requests) {
///         answer?.ok_or_retry()?;
///     }
///     Ok(outputs![])
/// }
/// # use hookweir_sdk::testing::{Canned, Host};
/// # let host = Host::new()
/// #     .http("POST https://crm.example.com/events", Canned::new(200))
/// #     .http("POST https://bi.example.com/events", Canned::new(503));
/// # let failure = host.run(handle, Event::builder("s", "t").build()).expect_err("one is down");
/// # assert!(failure.is_retry() && host.requests().len() == 2);
/// ```
pub fn send_all(requests: impl IntoIterator<Item = Request>) -> Vec<Result<Response, HttpError>> {
    host::http_send_all(requests.into_iter().collect())
}

impl Request {
    /// A request with any method.
    pub fn new(method: impl Into<String>, url: impl Into<String>) -> Self {
        Self {
            method: method.into(),
            url: url.into(),
            headers: Vec::new(),
            secret_headers: Vec::new(),
            body: Vec::new(),
            timeout: None,
        }
    }

    /// One more header. `Host`, `Content-Length`, `Connection` and the like are the gateway's.
    pub fn header(mut self, name: impl Into<String>, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.into(), value.as_ref().to_vec()));
        self
    }

    /// One more header, in which `{NAME}` stands for a granted secret: `Token {API_KEY}`. The gateway
    /// puts it in, and only towards the hosts that the secret's grant names.
    pub fn secret_header(mut self, name: impl Into<String>, template: impl Into<String>) -> Self {
        self.secret_headers.push((name.into(), template.into()));
        self
    }

    /// `Authorization: Bearer`, with a secret of this name.
    pub fn bearer(self, secret: &str) -> Self {
        self.secret_header("authorization", format!("Bearer {{{secret}}}"))
    }

    /// The body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// The body as JSON, and the header that says so.
    ///
    /// # Errors
    /// A reject if it can't be JSON.
    pub fn json<T: Serialize + ?Sized>(self, value: &T) -> Result<Self, Failure> {
        Ok(self.header("content-type", "application/json").body(json::write(value)?))
    }

    /// Gives up after this long; what the operator allows may be less.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sends it and waits for the answer, whatever its status.
    ///
    /// # Errors
    /// If there is none. `?` makes a failure of it: see [`HttpError`].
    pub fn send(self) -> Result<Response, HttpError> {
        host::http_send(self)
    }
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// The status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Whether the status is 2xx.
    pub fn is_ok(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The first header of this name, whatever its case, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(found, _)| found.eq_ignore_ascii_case(name))?;
        str::from_utf8(value).ok()
    }

    /// The body.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The body as text; what is no UTF-8 is replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as a type of the plugin's own, from JSON.
    ///
    /// # Errors
    /// A retry: the server may answer properly the next time.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        json::read("the answer", &self.body).map_err(|fault| Failure::retry(fault.message()))
    }

    /// Itself, if the status is 2xx.
    ///
    /// # Errors
    /// A retry for what may pass (408, 425, 429, 5xx), not before the answer's `Retry-After`; for
    /// anything else a reject.
    pub fn ok_or_retry(self) -> Result<Self, Failure> {
        match self.status {
            200..300 => Ok(self),
            status @ (408 | 425 | 429 | 500..) => {
                let failure = Failure::retry(format!("answered with {status}"));
                Err(match self.retry_after() {
                    Some(wait) => failure.after(wait),
                    None => failure,
                })
            }
            status => Err(Failure::reject(format!("answered with {status}"))),
        }
    }

    /// How long the server wants to be left alone, if it says so: in seconds, or up to a date, which is
    /// compared with the gateway's clock.
    pub fn retry_after(&self) -> Option<Duration> {
        let said = self.header("retry-after")?.trim();
        if let Ok(seconds) = said.parse() {
            return Some(Duration::from_secs(seconds));
        }
        let date = httpdate::parse_http_date(said).ok()?.duration_since(UNIX_EPOCH).ok()?;
        Some(date.saturating_sub(Duration::from_millis(clock::now_ms())))
    }
}

/// Why there is no answer.
///
/// `?` makes a [`Failure`] of it. What may pass is tried again; a request that can't be sent at all is not,
/// nor is one that the operator has not granted: it waits as a dead letter, which can be tried again once it
/// is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpError {
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) is_retryable: bool,
}

impl HttpError {
    /// One word: `denied`, `invalid`, `limit`, `timeout`, `connect`, `tls`, `protocol` or `too-large`;
    /// later gateways may have more.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// Why, for people.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Whether the same request may be answered later.
    pub fn is_retryable(&self) -> bool {
        self.is_retryable
    }
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for HttpError {}

impl From<HttpError> for Failure {
    fn from(error: HttpError) -> Self {
        match error.is_retryable {
            true => Self::retry(error.message),
            false => Self::reject(error.message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16, headers: &[(&str, &str)]) -> Response {
        let header = |(name, value): &(&str, &str)| ((*name).to_owned(), value.as_bytes().to_vec());
        Response { status, headers: headers.iter().map(header).collect(), body: b"{}".to_vec() }
    }

    #[test]
    fn a_status_is_an_outcome() {
        assert!(answered(204, &[]).ok_or_retry().is_ok());
        for (status, is_retry) in [
            (302, false),
            (400, false),
            (404, false),
            (408, true),
            (429, true),
            (500, true),
            (503, true),
        ] {
            let failure = answered(status, &[]).ok_or_retry().expect_err("no 2xx");
            assert_eq!(failure.is_retry(), is_retry, "{status}");
        }
        let later = answered(429, &[("Retry-After", "7")]).ok_or_retry().expect_err("no 2xx");
        assert_eq!(later.retry_after(), Some(Duration::from_secs(7)));
        assert_eq!(answered(503, &[("retry-after", "soon")]).retry_after(), None);
    }

    #[cfg(not(target_family = "wasm"))]
    #[test]
    fn a_date_is_a_wait_from_the_hosts_time_on() {
        use crate::{Event, Outputs, testing::Host};

        #[expect(clippy::needless_pass_by_value, reason = "a handler's type")]
        fn handle(event: Event) -> Result<Outputs, Failure> {
            let date = event.text().into_owned();
            answered(503, &[("retry-after", &date)]).ok_or_retry().map(|_| Outputs::default())
        }

        // 2026-10-21T07:27:00Z.
        let host = Host::new().now_ms(1_792_567_620_000);
        let wait = |date: &str| {
            let event = Event::builder("s", "t").body(date).build();
            host.run(handle, event).expect_err("no 2xx").retry_after()
        };
        let minute = Some(Duration::from_secs(60));
        assert_eq!(wait("Wed, 21 Oct 2026 07:28:00 GMT"), minute);
        assert_eq!(wait("Wednesday, 21-Oct-26 07:28:00 GMT"), minute, "as of RFC 850");
        assert_eq!(wait("Wed, 21 Oct 2026 07:26:00 GMT"), Some(Duration::ZERO), "it is over");
        assert_eq!(wait("Wed, 21 Oct 2026 07:28:00"), None, "no date that HTTP has");
    }

    #[test]
    fn an_error_is_a_failure() {
        let failure = |code: &str, is_retryable| {
            Failure::from(HttpError { code: code.into(), message: "why".into(), is_retryable })
        };
        assert!(failure("timeout", true).is_retry());
        assert!(!failure("denied", false).is_retry(), "it waits for the operator");
        assert!(!failure("invalid", false).is_retry());
        assert_eq!(failure("invalid", false).message(), "why");
    }
}
