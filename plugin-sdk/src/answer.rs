//! What comes of a request: an answer, or why there is none, and what a plugin makes of either.

use std::{
    fmt,
    time::{Duration, UNIX_EPOCH},
};

use serde::de::DeserializeOwned;

use crate::{Failure, clock, host, json, log};

/// Characters of an answer that is a failure which go into the log.
const SAID_MAX: usize = 300;

/// An answer.
///
/// ```
/// use hookweir_sdk::{http::Response, prelude::*};
///
/// /// This server says 200, and in the body that it is busy.
/// fn checked(answer: Response) -> Result<Response, Failure> {
///     match answer.text().as_str() {
///         "BUSY" => Err(Failure::retry("it is busy")),
///         _ => answer.ok_or_retry(),
///     }
/// }
///
/// fn handle(_: Event) -> Result<Outputs, Failure> {
///     checked(http::get("https://old.example.com/").send()?).map(|_| outputs![])
/// }
/// # use hookweir_sdk::testing::{Canned, Host};
/// # let host = Host::new().http("GET https://old.example.com/", Canned::new(200).body("BUSY"));
/// # assert!(host.run(handle, Event::builder("s", "t").build()).is_err_and(|failure| failure.is_retry()));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// The status.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// fn handle(_: Event) -> Result<Outputs, Failure> {
    ///     let status = http::get("https://api.example.com/").send()?.status();
    ///     Ok(outputs![Output::new("up", status.to_string())])
    /// }
    /// # use hookweir_sdk::testing::{Canned, Host};
    /// # let host = Host::new().http("GET https://api.example.com/", Canned::new(302));
    /// # assert_eq!(host.run(handle, Event::builder("s", "t").build()).expect("handled")[0].body(), b"302");
    /// ```
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Whether the status is 2xx.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// fn handle(event: Event) -> Result<Outputs, Failure> {
    ///     if !http::post("https://stats.example.com/").body(event.body()).send()?.is_ok() {
    ///         log::warn!("it is not counted");                          // and that is all
    ///     }
    ///     Ok(outputs![])
    /// }
    /// # use hookweir_sdk::testing::{Canned, Host};
    /// # let host = Host::new().http("POST https://stats.example.com/", Canned::new(500));
    /// # host.run(handle, Event::builder("s", "t").build()).expect("handled");
    /// ```
    pub fn is_ok(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The first header of this name, whatever its case, if it is text.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// fn handle(event: Event) -> Result<Outputs, Failure> {
    ///     let made = http::post("https://api.example.com/orders").body(event.body()).send()?.ok_or_retry()?;
    ///     let place = made.header("location").ok_or("it does not say where").or_retry()?;
    ///     Ok(outputs![Output::new("order.made", place)])
    /// }
    /// # use hookweir_sdk::testing::{Canned, Host};
    /// # let made = Canned::new(201).header("Location", "/orders/1");
    /// # let host = Host::new().http("POST https://api.example.com/orders", made);
    /// # assert_eq!(host.run(handle, Event::builder("s", "t").build()).expect("handled")[0].body(), b"/orders/1");
    /// ```
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(found, _)| found.eq_ignore_ascii_case(name))?;
        str::from_utf8(value).ok()
    }

    /// The body.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// fn handle(_: Event) -> Result<Outputs, Failure> {
    ///     let label = http::get("https://post.example.com/label.pdf").send()?.ok_or_retry()?;
    ///     Ok(outputs![Output::new("label", label.body())])
    /// }
    /// # use hookweir_sdk::testing::{Canned, Host};
    /// # let host = Host::new().http("GET https://post.example.com/label.pdf", Canned::new(200).body([0xff]));
    /// # assert_eq!(host.run(handle, Event::builder("s", "t").build()).expect("handled")[0].body(), [0xff]);
    /// ```
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The body as text; what is no UTF-8 is replaced.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// fn handle(_: Event) -> Result<Outputs, Failure> {
    ///     let version = http::get("https://api.example.com/version").send()?.ok_or_retry()?.text();
    ///     Ok(outputs![Output::new("version", version.trim())])
    /// }
    /// # use hookweir_sdk::testing::{Canned, Host};
    /// # let host = Host::new().http("GET https://api.example.com/version", Canned::new(200).body("7\n"));
    /// # assert_eq!(host.run(handle, Event::builder("s", "t").build()).expect("handled")[0].body(), b"7");
    /// ```
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as a type of the plugin's own, from JSON.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Customer {
    ///     email: String,
    /// }
    ///
    /// fn handle(event: Event) -> Result<Outputs, Failure> {
    ///     let url = format!("https://crm.example.com/customers/{}", event.text());
    ///     let customer: Customer = http::get(url).send()?.ok_or_retry()?.json()?;
    ///     Ok(outputs![Output::new("mail", customer.email)])
    /// }
    /// # use hookweir_sdk::testing::{Canned, Host};
    /// # let ada = Canned::new(200).body(r#"{ "email": "ada@example.com", "id": 7 }"#);
    /// # let host = Host::new().http("GET https://crm.example.com/customers/7", ada);
    /// # host.run(handle, Event::builder("s", "t").body("7").build()).expect("handled");
    /// ```
    ///
    /// # Errors
    /// A retry: the server may answer properly the next time.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        json::read("the answer", &self.body).map_err(|fault| Failure::retry(fault.message()))
    }

    /// Itself, if the status is 2xx.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    /// use hookweir_sdk::testing::{Canned, Host};
    ///
    /// fn handle(_: Event) -> Result<Outputs, Failure> {
    ///     http::get("https://api.example.com/").send()?.ok_or_retry()?;
    ///     Ok(outputs![])
    /// }
    ///
    /// let retry = |status: u16| {
    ///     let host = Host::new().http("GET https://api.example.com/", Canned::new(status));
    ///     host.run(handle, Event::builder("s", "t").build()).err().map(|failure| failure.is_retry())
    /// };
    /// assert_eq!([200, 503, 404].map(retry), [None, Some(true), Some(false)]);
    /// ```
    ///
    /// What a server says of why it does not do it, the first 300 characters of the body, is a line in the
    /// attempt's log: an operator who looks into a dead letter finds it there.
    ///
    /// # Errors
    /// A retry for what may pass (408, 425, 429, 5xx), not before the answer's `Retry-After`; for
    /// anything else a reject.
    pub fn ok_or_retry(self) -> Result<Self, Failure> {
        if self.is_ok() {
            return Ok(self);
        }
        if !self.body.is_empty() {
            let said: String = self.text().chars().take(SAID_MAX).collect();
            let said = format!("answered with {}: {}", self.status, said.trim_end());
            host::note(log::Level::Warn, said);
        }
        match self.status {
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
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// fn handle(_: Event) -> Result<Outputs, Failure> {
    ///     let answer = http::get("https://api.example.com/").send()?;
    ///     match answer.retry_after() {
    ///         Some(wait) => Err(Failure::retry("it wants to be left alone").after(wait)),
    ///         None => answer.ok_or_retry().map(|_| outputs![]),
    ///     }
    /// }
    /// # use hookweir_sdk::testing::{Canned, Host};
    /// # let host = Host::new().http("GET https://api.example.com/", Canned::new(200).header("retry-after", "3"));
    /// # let failure = host.run(handle, Event::builder("s", "t").build()).unwrap_err();
    /// # assert_eq!(failure.retry_after(), Some(std::time::Duration::from_secs(3)));
    /// ```
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
///
/// ```
/// use hookweir_sdk::prelude::*;
///
/// fn handle(_: Event) -> Result<Outputs, Failure> {
///     match http::get("https://slow.example.com/").send() {
///         Err(error) if error.code() == "timeout" => Ok(outputs![Output::new("slow", "")]),
///         answer => answer?.ok_or_retry().map(|_| outputs![]),
///     }
/// }
/// # use hookweir_sdk::testing::{Canned, Host};
/// # let host = Host::new().http("GET https://slow.example.com/", Canned::timeout());
/// # assert_eq!(host.run(handle, Event::builder("s", "t").build()).expect("handled").len(), 1);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpError {
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) is_retryable: bool,
}

impl HttpError {
    /// One word: `denied`, `invalid`, `limit`, `timeout`, `connect`, `tls`, `protocol` or `too-large`;
    /// later gateways may have more.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// fn handle(_: Event) -> Result<Outputs, Failure> {
    ///     let error = http::get("https://elsewhere.example.com/").send().expect_err("nobody granted it");
    ///     assert_eq!(error.code(), "denied");
    ///     Ok(outputs![])
    /// }
    /// # let host = hookweir_sdk::testing::Host::new();
    /// # host.run(handle, Event::builder("s", "t").build()).expect("handled");
    /// ```
    pub fn code(&self) -> &str {
        &self.code
    }

    /// Why, for people.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// fn handle(_: Event) -> Result<Outputs, Failure> {
    ///     if let Err(error) = http::get("https://stats.example.com/").send() {
    ///         log::warn!(code = error.code(), "{}", error.message());
    ///     }
    ///     Ok(outputs![])
    /// }
    /// # let host = hookweir_sdk::testing::Host::new();
    /// # host.run(handle, Event::builder("s", "t").build()).expect("handled");
    /// # assert!(host.logs()[0].message.contains("no answer"));
    /// ```
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Whether the same request may be answered later.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// /// A second server, for what the first one may answer later.
    /// fn handle(_: Event) -> Result<Outputs, Failure> {
    ///     let answer = match http::get("https://one.example.com/").send() {
    ///         Err(error) if error.is_retryable() => http::get("https://two.example.com/").send(),
    ///         answer => answer,
    ///     };
    ///     Ok(outputs![Output::new("got", answer?.text())])
    /// }
    /// # use hookweir_sdk::testing::{Canned, Host};
    /// # let host = Host::new()
    /// #     .http("GET https://one.example.com/", Canned::timeout())
    /// #     .http("GET https://two.example.com/", Canned::new(200).body("two"));
    /// # assert_eq!(host.run(handle, Event::builder("s", "t").build()).expect("handled")[0].body(), b"two");
    /// ```
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
