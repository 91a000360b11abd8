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

use std::time::Duration;

use serde::Serialize;

pub use crate::answer::{HttpError, Response};
pub use crate::each::{send_again, send_each};
use crate::{Failure, host, json};

/// A request that is being made. Nothing is sent before [`Request::send`] or [`send_all`].
///
/// ```
/// use std::time::Duration;
/// use hookweir_sdk::{http::Request, prelude::*};
///
/// /// What all requests to this server have.
/// fn api(request: Request) -> Request {
///     request.bearer("API_KEY").header("accept", "application/json").timeout(Duration::from_secs(2))
/// }
///
/// fn handle(event: Event) -> Result<Outputs, Failure> {
///     api(http::get(format!("https://api.example.com/orders/{}", event.text()))).send()?.ok_or_retry()?;
///     Ok(outputs![])
/// }
/// # use hookweir_sdk::testing::{Canned, Host};
/// # let host = Host::new().http("GET https://api.example.com/orders/A1", Canned::new(200));
/// # host.run(handle, Event::builder("s", "t").body("A1").build()).expect("handled");
/// ```
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
///
/// ```
/// use hookweir_sdk::prelude::*;
///
/// fn handle(_: Event) -> Result<Outputs, Failure> {
///     let rates = http::get("https://rates.example.com/eur").send()?.ok_or_retry()?;
///     Ok(outputs![Output::new("rates", rates.body())])
/// }
/// # use hookweir_sdk::testing::{Canned, Host};
/// # let host = Host::new().http("GET https://rates.example.com/eur", Canned::new(200).body("1.1"));
/// # assert_eq!(host.run(handle, Event::builder("s", "t").build()).expect("handled")[0].body(), b"1.1");
/// ```
pub fn get(url: impl Into<String>) -> Request {
    Request::new("GET", url)
}

/// Posts to `url`.
///
/// ```
/// use hookweir_sdk::prelude::*;
///
/// fn handle(event: Event) -> Result<Outputs, Failure> {
///     let text = serde_json::json!({ "text": format!("order {} is paid", event.text()) });
///     http::post("https://chat.example.com/hook").json(&text)?.send()?.ok_or_retry()?;
///     Ok(outputs![])
/// }
/// # use hookweir_sdk::testing::{Canned, Host};
/// # let host = Host::new().http("POST https://chat.example.com/hook", Canned::new(200));
/// # host.run(handle, Event::builder("s", "t").body("A1").build()).expect("handled");
/// ```
pub fn post(url: impl Into<String>) -> Request {
    Request::new("POST", url)
}

/// Puts to `url`.
///
/// ```
/// use hookweir_sdk::prelude::*;
///
/// fn handle(event: Event) -> Result<Outputs, Failure> {
///     let url = format!("https://crm.example.com/contacts/{}", event.id());
///     http::put(url).body(event.body()).send()?.ok_or_retry()?;
///     Ok(outputs![])
/// }
/// # use hookweir_sdk::testing::{Canned, Host};
/// # let host = Host::new().http("PUT https://crm.example.com/contacts/7", Canned::new(201));
/// # host.run(handle, Event::builder("s", "t").id("7").build()).expect("handled");
/// ```
pub fn put(url: impl Into<String>) -> Request {
    Request::new("PUT", url)
}

/// Changes what is at `url`.
///
/// ```
/// use hookweir_sdk::prelude::*;
///
/// fn handle(event: Event) -> Result<Outputs, Failure> {
///     let status = serde_json::json!({ "status": event.event_type() });
///     http::patch("https://crm.example.com/orders/A1").json(&status)?.send()?.ok_or_retry()?;
///     Ok(outputs![])
/// }
/// # use hookweir_sdk::testing::{Canned, Host};
/// # let host = Host::new().http("PATCH https://crm.example.com/orders/A1", Canned::new(200));
/// # host.run(handle, Event::builder("s", "t").build()).expect("handled");
/// ```
pub fn patch(url: impl Into<String>) -> Request {
    Request::new("PATCH", url)
}

/// Removes what is at `url`.
///
/// ```
/// use hookweir_sdk::prelude::*;
///
/// fn handle(event: Event) -> Result<Outputs, Failure> {
///     let answer = http::delete(format!("https://crm.example.com/contacts/{}", event.text())).send()?;
///     if answer.status() != 404 {                                   // gone already
///         answer.ok_or_retry()?;
///     }
///     Ok(outputs![])
/// }
/// # use hookweir_sdk::testing::{Canned, Host};
/// # let host = Host::new().http("DELETE https://crm.example.com/contacts/7", Canned::new(404));
/// # host.run(handle, Event::builder("s", "t").body("7").build()).expect("handled");
/// ```
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
    ///
    /// ```
    /// use hookweir_sdk::{http::Request, prelude::*};
    ///
    /// fn handle(_: Event) -> Result<Outputs, Failure> {
    ///     let answer = Request::new("HEAD", "https://files.example.com/report.pdf").send()?;
    ///     Ok(outputs![Output::new("report", if answer.is_ok() { "there" } else { "missing" })])
    /// }
    /// # use hookweir_sdk::testing::{Canned, Host};
    /// # let host = Host::new().http("HEAD https://files.example.com/report.pdf", Canned::new(404));
    /// # assert_eq!(host.run(handle, Event::builder("s", "t").build()).expect("handled")[0].body(), b"missing");
    /// ```
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
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// fn handle(event: Event) -> Result<Outputs, Failure> {
    ///     // One key for all that is done about an order, whichever event it is about.
    ///     let key = format!("order-{}", event.text());
    ///     http::post("https://pay.example.com/charge").header("idempotency-key", key).send()?.ok_or_retry()?;
    ///     Ok(outputs![])
    /// }
    /// # use hookweir_sdk::testing::{Canned, Host};
    /// # let host = Host::new().http("POST https://pay.example.com/charge", Canned::new(200));
    /// # host.run(handle, Event::builder("s", "t").body("A1").build()).expect("handled");
    /// # assert_eq!(host.requests()[0].header("Idempotency-Key"), Some("order-A1"));
    /// ```
    pub fn header(mut self, name: impl Into<String>, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.into(), value.as_ref().to_vec()));
        self
    }

    /// One more header, in which `{NAME}` stands for a granted secret: `Token {API_KEY}`. The gateway
    /// puts it in, and only towards the hosts that the secret's grant names.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// fn handle(_: Event) -> Result<Outputs, Failure> {
    ///     http::get("https://api.example.com/").secret_header("x-auth", "{USER}:{KEY}").send()?.ok_or_retry()?;
    ///     Ok(outputs![])
    /// }
    /// # use hookweir_sdk::testing::{Canned, Host};
    /// # let host = Host::new().http("GET https://api.example.com/", Canned::new(200));
    /// # host.run(handle, Event::builder("s", "t").build()).expect("handled");
    /// # assert_eq!(host.requests()[0].secret_header("x-auth"), Some("{USER}:{KEY}"));
    /// ```
    pub fn secret_header(mut self, name: impl Into<String>, template: impl Into<String>) -> Self {
        self.secret_headers.push((name.into(), template.into()));
        self
    }

    /// `Authorization: Bearer`, with a secret of this name.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// #[plugin(subscribe = ["shop/order.paid"], http = ["https://api.example.com"], secrets = ["API_KEY"])]
    /// fn handle(_: Event) -> Result<Outputs, Failure> {
    ///     http::post("https://api.example.com/fulfil").bearer("API_KEY").send()?.ok_or_retry()?;
    ///     Ok(outputs![])
    /// }
    /// # use hookweir_sdk::testing::{Canned, Host};
    /// # let host = Host::new().http("POST https://api.example.com/fulfil", Canned::new(200));
    /// # host.run(handle, Event::builder("s", "t").build()).expect("handled");
    /// ```
    pub fn bearer(self, secret: &str) -> Self {
        self.secret_header("authorization", format!("Bearer {{{secret}}}"))
    }

    /// The body.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// fn handle(event: Event) -> Result<Outputs, Failure> {
    ///     let xml = format!("<order>{}</order>", event.id());
    ///     let request = http::post("https://erp.example.com/").header("content-type", "text/xml").body(xml);
    ///     request.send()?.ok_or_retry()?;
    ///     Ok(outputs![])
    /// }
    /// # use hookweir_sdk::testing::{Canned, Host};
    /// # let host = Host::new().http("POST https://erp.example.com/", Canned::new(200));
    /// # host.run(handle, Event::builder("s", "t").id("7").build()).expect("handled");
    /// # assert_eq!(host.requests()[0].body(), b"<order>7</order>");
    /// ```
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// The body as JSON, and the header that says so.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// #[derive(serde::Serialize)]
    /// struct Mail<'m> {
    ///     to: &'m str,
    ///     template: &'m str,
    /// }
    ///
    /// fn handle(event: Event) -> Result<Outputs, Failure> {
    ///     let mail = Mail { to: &event.text(), template: "welcome" };
    ///     http::post("https://mail.example.com/send").json(&mail)?.send()?.ok_or_retry()?;
    ///     Ok(outputs![])
    /// }
    /// # use hookweir_sdk::testing::{Canned, Host};
    /// # let host = Host::new().http("POST https://mail.example.com/send", Canned::new(202));
    /// # host.run(handle, Event::builder("s", "t").body("ada").build()).expect("handled");
    /// # assert_eq!(host.requests()[0].text(), r#"{"to":"ada","template":"welcome"}"#);
    /// ```
    ///
    /// # Errors
    /// A reject if it can't be JSON.
    pub fn json<T: Serialize + ?Sized>(self, value: &T) -> Result<Self, Failure> {
        Ok(self.header("content-type", "application/json").body(json::write(value)?))
    }

    /// Gives up after this long; what the operator allows may be less.
    ///
    /// ```
    /// use std::time::Duration;
    /// use hookweir_sdk::prelude::*;
    ///
    /// /// Goes on without the picture if it takes too long.
    /// fn handle(_: Event) -> Result<Outputs, Failure> {
    ///     let picture = http::get("https://files.example.com/logo").timeout(Duration::from_millis(500)).send();
    ///     let picture = picture.map(|answer| answer.body().to_vec()).unwrap_or_default();
    ///     Ok(outputs![Output::new("page", picture)])
    /// }
    /// # use hookweir_sdk::testing::{Canned, Host};
    /// # let host = Host::new().http("GET https://files.example.com/logo", Canned::timeout());
    /// # host.run(handle, Event::builder("s", "t").build()).expect("handled");
    /// ```
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sends it and waits for the answer, whatever its status.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// fn handle(event: Event) -> Result<Outputs, Failure> {
    ///     let answer = http::post("https://api.example.com/orders").body(event.body()).send()?;
    ///     match answer.status() {
    ///         409 => Ok(outputs![]),                                    // it has this order
    ///         _ => answer.ok_or_retry().map(|_| outputs![]),
    ///     }
    /// }
    /// # use hookweir_sdk::testing::{Canned, Host};
    /// # let host = Host::new().http("POST https://api.example.com/orders", Canned::new(409));
    /// # host.run(handle, Event::builder("s", "t").build()).expect("handled");
    /// ```
    ///
    /// # Errors
    /// If there is none. `?` makes a failure of it: see [`HttpError`].
    pub fn send(self) -> Result<Response, HttpError> {
        host::http_send(self)
    }
}
