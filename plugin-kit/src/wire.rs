//! The world as a plugin meets it in the kit: requests are recorded, and answered by the test. What has no
//! answer is denied, unless there is a way out.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use hookweir_event::{Exchange, REDACTED};
use hookweir_host::{Allowance, HttpFault, Network, Redaction, Sending, Transport, request_line};
use http::{HeaderName, HeaderValue, Response, StatusCode};

use crate::{Recall, record::Record};

/// An answer that a test has put there.
#[derive(Debug, Clone)]
pub struct Canned(Result<Response<Bytes>, HttpFault>);

impl Canned {
    /// An answer without a body.
    ///
    /// # Panics
    /// If HTTP has no such status.
    #[track_caller]
    pub fn new(status: u16) -> Self {
        let Ok(status) = StatusCode::from_u16(status) else { panic!("{status} is no status") };
        let mut answer = Response::new(Bytes::new());
        *answer.status_mut() = status;
        Self(Ok(answer))
    }

    /// No answer: code `timeout`, which is tried again.
    pub fn timeout() -> Self {
        Self(Err(HttpFault::Timeout(Duration::from_secs(10))))
    }

    /// With this body.
    #[must_use]
    pub fn body(self, body: impl AsRef<[u8]>) -> Self {
        let body = Bytes::copy_from_slice(body.as_ref());
        Self(self.0.map(|answer| answer.map(|_| body)))
    }

    /// With one more header.
    ///
    /// # Panics
    /// If it is none.
    #[track_caller]
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let (Ok(header), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(value))
        else {
            panic!("{name}: {value} is no header");
        };
        if let Ok(answer) = &mut self.0 {
            answer.headers_mut().append(header, value);
        }
        self
    }
}

impl From<Response<Bytes>> for Canned {
    fn from(answer: Response<Bytes>) -> Self {
        Self(Ok(answer))
    }
}

/// A request that a plugin sent.
#[derive(Debug, Clone)]
pub struct Sent {
    line: String,
    /// What the plugin may read, and must not be shown.
    hide: Arc<Redaction>,
    headers: Vec<(String, Vec<u8>)>,
    body: Bytes,
    answer: Option<Result<u16, HttpFault>>,
    canned: bool,
    refused: bool,
    recall: Recall,
}

impl Sent {
    /// Method and URL, as [`Kit::http`](crate::Kit::http) takes them.
    pub fn line(&self) -> &str {
        &self.line
    }

    /// The same for people to see: values in the query, who it is in front of the host, and secrets that the
    /// plugin has read and put there, read `[redacted]`.
    pub fn shown_line(&self) -> String {
        without_values(&self.answerable_line())
    }

    /// What an answer to it is given for, but for secrets that the plugin has read and for who it is in front of
    /// the host, which read `[redacted]`.
    pub fn answerable_line(&self) -> String {
        let shown = self.shown_bytes(without_user(&self.line).as_bytes());
        String::from_utf8_lossy(&shown).into_owned()
    }

    /// Names in lower case. A header with a secret in it reads `[redacted]`.
    pub fn headers(&self) -> &[(String, Vec<u8>)] {
        &self.headers
    }

    /// The same for people to see: secrets that the plugin has read read `[redacted]`.
    pub fn shown_headers(&self) -> Vec<(String, Vec<u8>)> {
        let shown = |(name, value): &(String, Vec<u8>)| (name.clone(), self.shown_bytes(value));
        self.headers.iter().map(shown).collect()
    }

    /// The first header of this name, whatever its case, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(found, _)| found.eq_ignore_ascii_case(name));
        found.and_then(|(_, value)| str::from_utf8(value).ok())
    }

    /// The body.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The same for people to see: secrets that the plugin has read read `[redacted]`.
    pub fn shown_body(&self) -> Vec<u8> {
        self.shown_bytes(&self.body)
    }

    /// The body as text; what is no UTF-8 is replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The answer's status, or why there is none; `None` if the call ended before.
    pub fn answer(&self) -> Option<&Result<u16, HttpFault>> {
        self.answer.as_ref()
    }

    /// Whether the test, or the sample, had an answer.
    pub fn is_canned(&self) -> bool {
        self.canned
    }

    /// Whether it came to nothing before it was sent: the grant or a limit is against it. Of such a one headers
    /// and body are not told.
    pub fn is_refused(&self) -> bool {
        self.refused
    }

    /// What the record of an attempt had for it, where requests are answered from one.
    pub fn recall(&self) -> Recall {
        self.recall
    }

    fn shown_bytes(&self, bytes: &[u8]) -> Vec<u8> {
        self.hide.bytes(bytes)
    }
}

/// What answers, and what was sent.
#[derive(Clone, Default)]
pub(crate) struct Wire(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// For each line the answers that are left; the last one stays.
    canned: Mutex<BTreeMap<String, VecDeque<Canned>>>,
    /// For lines that have none, by how they begin.
    below: Mutex<BTreeMap<String, Canned>>,
    sent: Mutex<Vec<Sent>>,
    out: Mutex<Option<Arc<dyn Network>>>,
    /// What the plugin may read, and must not be shown.
    hide: Mutex<Arc<Redaction>>,
    /// What answers before all else, in the call that it was put there for.
    record: Mutex<Option<(Record, Arc<Redaction>)>>,
}

impl Wire {
    /// One answer more for a line.
    pub(crate) fn can(&self, line: &str, answer: Canned) {
        let line = request_line(line).unwrap_or_else(|| line.to_owned());
        lock(&self.0.canned).entry(line).or_default().push_back(answer);
    }

    /// What lines are answered with that have no answer of their own and begin so.
    pub(crate) fn can_below(&self, beginning: &str, answer: Canned) {
        lock(&self.0.below).insert(beginning.to_owned(), answer);
    }

    /// No answers are left.
    pub(crate) fn clear(&self) {
        lock(&self.0.canned).clear();
    }

    /// Where requests go that have no answer here.
    pub(crate) fn let_out(&self, network: Arc<dyn Network>) {
        *lock(&self.0.out) = Some(network);
    }

    /// Does not show these.
    pub(crate) fn hide(&self, hide: Redaction) {
        *lock(&self.0.hide) = Arc::new(hide);
    }

    /// What answers the next call's requests before all else, if anything.
    pub(crate) fn play(&self, record: Option<(Record, Arc<Redaction>)>) {
        *lock(&self.0.record) = record;
    }

    /// What of that nobody asked for.
    pub(crate) fn unasked(&self) -> Vec<Exchange> {
        let record = lock(&self.0.record).take();
        record.map(|(record, _)| record.into_left()).unwrap_or_default()
    }

    fn recall(
        &self,
        request: &http::Request<Bytes>,
    ) -> (Recall, Option<Result<Response<Bytes>, HttpFault>>) {
        match &mut *lock(&self.0.record) {
            Some((record, hide)) => record.recall(hide, request),
            None => (Recall::NoRecord, None),
        }
    }

    /// What was sent since it was taken last.
    pub(crate) fn take(&self) -> Vec<Sent> {
        std::mem::take(&mut *lock(&self.0.sent))
    }

    fn answer(&self, line: &str) -> Option<Canned> {
        let mut canned = lock(&self.0.canned);
        let Some(answers) = canned.get_mut(line) else { return self.answer_below(line) };
        if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() }
    }

    fn answer_below(&self, line: &str) -> Option<Canned> {
        let below = lock(&self.0.below);
        let fitting = below.iter().filter(|(beginning, _)| line.starts_with(beginning.as_str()));
        // In the order of their bytes, of those that fit the last is the longest.
        fitting.last().map(|(_, answer)| answer.clone())
    }

    /// Notes a request before anything comes of it: it may be cut off. Answers its place.
    fn note(&self, sent: Sent) -> usize {
        let mut all = lock(&self.0.sent);
        all.push(sent);
        all.len() - 1
    }

    fn hidden(&self) -> Arc<Redaction> {
        Arc::clone(&lock(&self.0.hide))
    }

    fn answered(&self, place: usize, answer: &Result<Response<Bytes>, HttpFault>) {
        // None, if its call has ended meanwhile.
        if let Some(sent) = lock(&self.0.sent).get_mut(place) {
            let answer = answer.as_ref().map(|answer| answer.status().as_u16());
            sent.answer = Some(answer.map_err(Clone::clone));
        }
    }
}

impl Network for Wire {
    fn open(&self, addresses: &[ipnet::IpNet]) -> Arc<dyn Transport> {
        let out = lock(&self.0.out).as_ref().map(|network| network.open(addresses));
        Arc::new(Road { wire: self.clone(), out })
    }

    fn closed(&self) -> Arc<dyn Transport> {
        Arc::new(Road { wire: self.clone(), out: None })
    }
}

/// One version's way.
struct Road {
    wire: Wire,
    out: Option<Arc<dyn Transport>>,
}

impl Transport for Road {
    fn send(&self, request: http::Request<Bytes>, mut allowance: Allowance) -> Sending<'_> {
        Box::pin(async move {
            let mut sent = noted(&request, self.wire.hidden());
            let (recall, recorded) = self.wire.recall(&request);
            let canned = match recall {
                Recall::Answered => None,
                _ => self.wire.answer(&sent.line).map(|Canned(answer)| answer),
            };
            (sent.recall, sent.canned) = (recall, canned.is_some());
            let shown = sent.shown_line();
            let place = self.wire.note(sent);
            let answer = match (canned.or(recorded), &self.out) {
                (Some(answer), _) => answer.and_then(|answer| {
                    allowance.take(answer.body().len())?;
                    Ok(answer)
                }),
                (None, Some(out)) => out.send(request, allowance).await,
                (None, None) => Err(HttpFault::Denied(format!("there is no answer for `{shown}`"))),
            };
            self.wire.answered(place, &answer);
            answer
        })
    }

    fn refused(&self, method: &str, url: &str, fault: &HttpFault) {
        let line = format!("{method} {url}");
        let line = request_line(&line).unwrap_or(line);
        self.wire.note(Sent {
            line,
            hide: self.wire.hidden(),
            headers: Vec::new(),
            body: Bytes::new(),
            answer: Some(Err(fault.clone())),
            canned: false,
            refused: true,
            recall: Recall::NoRecord,
        });
    }
}

/// A line whose query has names alone.
pub(crate) fn without_values(line: &str) -> String {
    let Some((place, query)) = line.split_once('?') else { return line.to_owned() };
    let hidden = |pair: &str| match pair.split_once('=') {
        Some((name, _)) => format!("{name}={REDACTED}"),
        None => REDACTED.to_owned(),
    };
    let hidden: Vec<_> = query.split('&').map(hidden).collect();
    format!("{place}?{}", hidden.join("&"))
}

/// A line with nobody in front of its host. Of what is no URL, and is refused, all that may be meant as such is
/// hidden.
fn without_user(line: &str) -> String {
    let (_, url) = line.split_once(' ').unwrap_or(("", line));
    let parsed: Option<http::Uri> = url.parse().ok();
    let user_ends = match parsed.as_ref().and_then(proper_authority).zip(url.find("://")) {
        Some((authority, at)) => authority.rfind('@').map(|user| at + "://".len() + user),
        None => url.rfind('@'),
    };
    let Some(user_ends) = user_ends else { return line.to_owned() };
    let (before, host) = url.split_at(user_ends);
    let begins = before.find("://").map_or(0, |at| at + "://".len());
    format!("{}{REDACTED}{host}", &line[..line.len() - url.len() + begins])
}

/// What stands between a URL's scheme and its path, if that is a host as it should be.
fn proper_authority(url: &http::Uri) -> Option<&str> {
    let authority = url.scheme().and(url.authority())?;
    let (host, port) = (authority.host(), authority.port_u16());
    let named = port.map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    let text = authority.as_str();
    let ends_so =
        text.strip_suffix(&named).is_some_and(|user| user.is_empty() || user.ends_with('@'));
    ends_so.then_some(text)
}

fn noted(request: &http::Request<Bytes>, hide: Arc<Redaction>) -> Sent {
    let header = |(name, value): (&HeaderName, &HeaderValue)| {
        let value = if value.is_sensitive() { REDACTED.as_bytes() } else { value.as_bytes() };
        (name.to_string(), value.to_vec())
    };
    Sent {
        line: format!("{} {}", request.method(), request.uri()),
        hide,
        headers: request.headers().iter().map(header).collect(),
        body: request.body().clone(),
        answer: None,
        canned: false,
        refused: false,
        recall: Recall::NoRecord,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_shown_in_front_of_a_host() {
        for (line, shown) in [
            ("GET https://me:word@api.test/@x?a=b@c", "GET https://[redacted]@api.test/@x?a=b@c"),
            ("GET https://api.test/@x?a=b@c", "GET https://api.test/@x?a=b@c"),
            // No URLs, but meant as some.
            ("GET me:word@api.test/x", "GET [redacted]@api.test/x"),
            ("GET https:/me:word@api.test/x", "GET [redacted]@api.test/x"),
            ("GET https://me:w?rd@api.test/x", "GET https://[redacted]@api.test/x"),
            ("GET https://me:w@rd/@api.test/x y", "GET https://[redacted]@api.test/x y"),
            ("A B https://me:word@api.test/", "A B https://[redacted]@api.test/"),
            ("GET https@://x", "GET [redacted]@://x"),
            ("GET", "GET"),
        ] {
            assert_eq!(without_user(line), shown);
        }
    }
}
