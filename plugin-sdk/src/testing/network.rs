//! The in-memory host's network: answers that the test has put there, and what was sent.

use crate::http::{HttpError, Request, Response};

/// An answer that a test has put there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Canned(Result<Response, HttpError>);

impl Canned {
    /// An answer without a body.
    pub fn new(status: u16) -> Self {
        Self(Ok(Response { status, headers: Vec::new(), body: Vec::new() }))
    }

    /// No answer: code `timeout`, which is tried again.
    pub fn timeout() -> Self {
        Self(Err(HttpError {
            code: "timeout".to_owned(),
            message: "there was no answer in time".to_owned(),
            is_retryable: true,
        }))
    }

    /// With this body.
    pub fn body(self, body: impl AsRef<[u8]>) -> Self {
        let body = body.as_ref().to_vec();
        Self(self.0.map(|answer| Response { body, ..answer }))
    }

    /// With one more header.
    pub fn header(mut self, name: impl Into<String>, value: impl AsRef<[u8]>) -> Self {
        if let Ok(answer) = &mut self.0 {
            answer.headers.push((name.into(), value.as_ref().to_vec()));
        }
        self
    }
}

/// A request that a handler sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent(Request);

impl Sent {
    /// Method and URL, as [`Host::http`](super::Host::http) takes them.
    pub fn line(&self) -> String {
        format!("{} {}", self.0.method, self.0.url)
    }

    /// The first header of this name, whatever its case, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.0.headers.iter();
        let (_, value) = headers.find(|(found, _)| found.eq_ignore_ascii_case(name))?;
        str::from_utf8(value).ok()
    }

    /// The template of the first secret header of this name.
    pub fn secret_header(&self, name: &str) -> Option<&str> {
        let mut headers = self.0.secret_headers.iter();
        let (_, template) = headers.find(|(found, _)| found.eq_ignore_ascii_case(name))?;
        Some(template)
    }

    /// The body.
    pub fn body(&self) -> &[u8] {
        &self.0.body
    }

    /// The body as text; what is no UTF-8 is replaced.
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
