//! The in-memory host's network: answers that the test has put there, and what was sent.

use crate::http::{HttpError, Request, Response};

/// An answer that a test has put there.
///
/// ```
/// use hookweir_sdk::prelude::*;
/// use hookweir_sdk::testing::{Canned, Host};
///
/// fn handle(_: Event) -> Result<Outputs, Failure> {
///     let stock: u64 = http::get("https://stock.example.com/pen").send()?.ok_or_retry()?.json()?;
///     Ok(outputs![Output::new("stock", stock.to_string())])
/// }
///
/// let outcome = |answer: Canned| {
///     let host = Host::new().http("GET https://stock.example.com/pen", answer);
///     host.run(handle, Event::builder("shop", "order").build())
/// };
/// assert!(outcome(Canned::new(200).body("7")).is_ok());
/// assert!(outcome(Canned::new(404)).is_err_and(|failure| !failure.is_retry()));
/// assert!(outcome(Canned::timeout()).is_err_and(|failure| failure.is_retry()));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Canned(Result<Response, HttpError>);

impl Canned {
    /// An answer without a body.
    ///
    /// ```
    /// use hookweir_sdk::testing::{Canned, Host};
    ///
    /// let host = Host::new().http("DELETE https://crm.example.com/contacts/7", Canned::new(204));
    /// # drop(host);
    /// ```
    pub fn new(status: u16) -> Self {
        Self(Ok(Response { status, headers: Vec::new(), body: Vec::new() }))
    }

    /// No answer: code `timeout`, which is tried again.
    ///
    /// ```
    /// use hookweir_sdk::testing::{Canned, Host};
    ///
    /// // The first time nobody answers.
    /// let line = "POST https://crm.example.com/";
    /// let host = Host::new().http(line, Canned::timeout()).http(line, Canned::new(200));
    /// # drop(host);
    /// ```
    pub fn timeout() -> Self {
        Self(Err(HttpError {
            code: "timeout".to_owned(),
            message: "there was no answer in time".to_owned(),
            is_retryable: true,
        }))
    }

    /// With this body.
    ///
    /// ```
    /// use hookweir_sdk::testing::{Canned, Host};
    ///
    /// let ada = Canned::new(200).body(r#"{ "email": "ada@example.com" }"#);
    /// let host = Host::new().http("GET https://crm.example.com/contacts/7", ada);
    /// # drop(host);
    /// ```
    pub fn body(self, body: impl AsRef<[u8]>) -> Self {
        let body = body.as_ref().to_vec();
        Self(self.0.map(|answer| Response { body, ..answer }))
    }

    /// With one more header.
    ///
    /// ```
    /// use hookweir_sdk::testing::{Canned, Host};
    ///
    /// let busy = Canned::new(429).header("retry-after", "30");
    /// let host = Host::new().http("GET https://crm.example.com/contacts/7", busy);
    /// # drop(host);
    /// ```
    pub fn header(mut self, name: impl Into<String>, value: impl AsRef<[u8]>) -> Self {
        if let Ok(answer) = &mut self.0 {
            answer.headers.push((name.into(), value.as_ref().to_vec()));
        }
        self
    }
}

/// A request that a handler sent.
///
/// ```
/// use hookweir_sdk::prelude::*;
/// use hookweir_sdk::testing::{Canned, Host, Sent};
///
/// fn handle(_: Event) -> Result<Outputs, Failure> {
///     let all = ["one", "two"].map(|name| http::get(format!("https://{name}.example.com/")));
///     http::send_all(all).into_iter().try_for_each(|answer| answer?.ok_or_retry().map(drop))?;
///     Ok(outputs![])
/// }
///
/// let host = Host::new()
///     .http("GET https://one.example.com/", Canned::new(200))
///     .http("GET https://two.example.com/", Canned::new(200));
/// host.run(handle, Event::builder("s", "t").build()).expect("handled");
/// let sent: Vec<Sent> = host.requests();
/// assert_eq!(sent.len(), 2);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent(Request);

impl Sent {
    /// Method and URL, as [`Host::http`](super::Host::http) takes them.
    ///
    /// ```
    /// # use hookweir_sdk::prelude::*;
    /// # use hookweir_sdk::testing::{Canned, Host};
    /// # fn handle(_: Event) -> Result<Outputs, Failure> {
    /// #     http::put("https://crm.example.com/").send()?.ok_or_retry()?;
    /// #     Ok(outputs![])
    /// # }
    /// let host = Host::new().http("PUT https://crm.example.com/", Canned::new(200));
    /// host.run(handle, Event::builder("shop", "order").build()).expect("handled");
    /// assert_eq!(host.requests()[0].line(), "PUT https://crm.example.com/");
    /// ```
    pub fn line(&self) -> String {
        format!("{} {}", self.0.method, self.0.url)
    }

    /// The first header of this name, whatever its case, if it is text.
    ///
    /// ```
    /// # use hookweir_sdk::prelude::*;
    /// # use hookweir_sdk::testing::{Canned, Host};
    /// # fn handle(event: Event) -> Result<Outputs, Failure> {
    /// #     let request = http::put("https://crm.example.com/").header("If-Match", event.id());
    /// #     request.send()?.ok_or_retry()?;
    /// #     Ok(outputs![])
    /// # }
    /// let host = Host::new().http("PUT https://crm.example.com/", Canned::new(200));
    /// host.run(handle, Event::builder("shop", "order").id("7").build()).expect("handled");
    /// assert_eq!(host.requests()[0].header("if-match"), Some("7"));
    /// ```
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.0.headers.iter();
        let (_, value) = headers.find(|(found, _)| found.eq_ignore_ascii_case(name))?;
        str::from_utf8(value).ok()
    }

    /// The template of the first secret header of this name.
    ///
    /// ```
    /// # use hookweir_sdk::prelude::*;
    /// # use hookweir_sdk::testing::{Canned, Host};
    /// # fn handle(_: Event) -> Result<Outputs, Failure> {
    /// #     http::put("https://crm.example.com/").bearer("CRM_KEY").send()?.ok_or_retry()?;
    /// #     Ok(outputs![])
    /// # }
    /// let host = Host::new().http("PUT https://crm.example.com/", Canned::new(200));
    /// host.run(handle, Event::builder("shop", "order").build()).expect("handled");
    /// assert_eq!(host.requests()[0].secret_header("authorization"), Some("Bearer {CRM_KEY}"));
    /// ```
    pub fn secret_header(&self, name: &str) -> Option<&str> {
        let mut headers = self.0.secret_headers.iter();
        let (_, template) = headers.find(|(found, _)| found.eq_ignore_ascii_case(name))?;
        Some(template)
    }

    /// The body.
    ///
    /// ```
    /// # use hookweir_sdk::prelude::*;
    /// # use hookweir_sdk::testing::{Canned, Host};
    /// # fn handle(event: Event) -> Result<Outputs, Failure> {
    /// #     http::put("https://crm.example.com/").body(event.body()).send()?.ok_or_retry()?;
    /// #     Ok(outputs![])
    /// # }
    /// let host = Host::new().http("PUT https://crm.example.com/", Canned::new(200));
    /// host.run(handle, Event::builder("shop", "order").body([0xff]).build()).expect("handled");
    /// assert_eq!(host.requests()[0].body(), [0xff]);
    /// ```
    pub fn body(&self) -> &[u8] {
        &self.0.body
    }

    /// The body as text; what is no UTF-8 is replaced.
    ///
    /// ```
    /// # use hookweir_sdk::prelude::*;
    /// # use hookweir_sdk::testing::{Canned, Host};
    /// # fn handle(event: Event) -> Result<Outputs, Failure> {
    /// #     http::put("https://crm.example.com/").body(event.body()).send()?.ok_or_retry()?;
    /// #     Ok(outputs![])
    /// # }
    /// let host = Host::new().http("PUT https://crm.example.com/", Canned::new(200));
    /// host.run(handle, Event::builder("shop", "order").body("A1").build()).expect("handled");
    /// assert_eq!(host.requests()[0].text(), "A1");
    /// ```
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.body).into_owned()
    }
}

/// Answers by method and URL, and what was sent, in order.
#[derive(Debug, Default)]
pub(super) struct Network {
    /// For each line the answers that are left; the last one stays.
    canned: Vec<(String, Vec<Canned>)>,
    sent: Vec<Sent>,
}

impl Network {
    pub(super) fn can(&mut self, line: String, answer: Canned) {
        match self.canned.iter_mut().find(|(known, _)| *known == line) {
            Some((_, answers)) => answers.push(answer),
            None => self.canned.push((line, vec![answer])),
        }
    }

    pub(super) fn send(&mut self, request: Request) -> Result<Response, HttpError> {
        let sent = Sent(request);
        let line = sent.line();
        self.sent.push(sent);
        let answers = self.canned.iter_mut().find(|(known, _)| *known == line);
        match answers {
            Some((_, answers)) if answers.len() > 1 => answers.remove(0).0,
            Some((_, answers)) => answers[0].0.clone(),
            None => Err(HttpError {
                code: "denied".to_owned(),
                message: format!("the test has no answer for `{line}`"),
                is_retryable: false,
            }),
        }
    }

    pub(super) fn sent(&self) -> Vec<Sent> {
        self.sent.clone()
    }
}
