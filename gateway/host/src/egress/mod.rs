//! The way out: what a plugin may send to whom, and how it gets there.
//!
//! The host decides by the operator's grant: which origins, which headers, which secrets go where, how
//! much and how long. A [`Transport`] that the gateway gives it does the rest: it resolves names,
//! connects only to addresses that are allowed and follows no redirect. One attempt's requests are
//! [`Requests`]; what they share with the other attempts of a version is its [`Egress`].

mod allowance;
mod origin;
mod record;
mod redaction;
mod request;
mod secret;
mod wasi;

use std::{
    collections::BTreeMap,
    fmt,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use hookweir_event::{Event, EventId, Exchanges, PluginName};
use http::Response;
use ipnet::IpNet;
use thiserror::Error;
use tokio::sync::{Semaphore, watch};

pub use self::{
    allowance::Allowance,
    origin::{HttpOrigin, OriginError},
    record::RecordLimits,
    redaction::Redaction,
    secret::SecretText,
};
pub(crate) use self::{
    allowance::{Budget, Lent},
    record::Recorder,
    request::{Ready, Wish},
    wasi::Hooks,
};
use crate::Grant;

/// Bytes of bodies that one attempt may have begun and not sent.
pub(crate) const GATHERED_MAX: u64 = 16 << 20;

/// What a [`Transport`] answers in time.
pub type Sending<'a> =
    Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpFault>> + Send + 'a>>;

/// Makes ways out. The gateway gives it to the host, which opens no connection itself.
pub trait Network: Send + Sync {
    /// A way out for one version of one plugin, with connections of its own. Addresses that are not
    /// public are connected to only if they are among `addresses`.
    fn open(&self, addresses: &[IpNet]) -> Arc<dyn Transport>;

    /// What a version has that is granted no way out.
    fn closed(&self) -> Arc<dyn Transport> {
        Arc::new(NoNetwork)
    }
}

/// One plugin version's way out.
pub trait Transport: Send + Sync {
    /// Sends a request and reads the answer, whatever its status; each piece of its body takes of the allowance
    /// as it comes. No redirect is followed. Dropping the future ends the request.
    fn send(&self, request: http::Request<Bytes>, allowance: Allowance) -> Sending<'_>;

    /// A request came to nothing before it was sent: the grant or a limit is against it. For those who keep
    /// account of all that a plugin wanted.
    fn refused(&self, _method: &str, _url: &str, _fault: &HttpFault) {}
}

/// No way out: for trials and tests.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoNetwork;

impl Network for NoNetwork {
    fn open(&self, _: &[IpNet]) -> Arc<dyn Transport> {
        Arc::new(Self)
    }
}

impl Transport for NoNetwork {
    fn send(&self, _: http::Request<Bytes>, _: Allowance) -> Sending<'_> {
        Box::pin(async { Err(HttpFault::Denied("there is no network here".to_owned())) })
    }
}

/// Why a request has no answer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HttpFault {
    /// The operator's grant does not allow it.
    #[error("{0}")]
    Denied(String),
    /// It is no request that can be sent.
    #[error("{0}")]
    Invalid(String),
    /// More than a limit.
    #[error("{0}")]
    Limit(String),
    /// No answer in time.
    #[error("there was no answer within {0:?}")]
    Timeout(Duration),
    /// The host can't be found or connected to.
    #[error("{0}")]
    Connect(String),
    /// The connection is not safe.
    #[error("{0}")]
    Tls(String),
    /// The connection broke off, or what came is no HTTP.
    #[error("{0}")]
    Protocol(String),
    /// The answer's body has more bytes than this.
    #[error("the answer has more than {0} bytes")]
    TooLarge(u64),
}

impl HttpFault {
    /// One word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Denied(_) => "denied",
            Self::Invalid(_) => "invalid",
            Self::Limit(_) => "limit",
            Self::Timeout(_) => "timeout",
            Self::Connect(_) => "connect",
            Self::Tls(_) => "tls",
            Self::Protocol(_) => "protocol",
            Self::TooLarge(_) => "too-large",
        }
    }

    /// Whether the same request may be answered later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Timeout(_) | Self::Connect(_) | Self::Tls(_) | Self::Protocol(_))
    }
}

/// What the operator grants of the world.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct HttpGrant {
    /// Where requests may go.
    pub origins: Vec<HttpOrigin>,
    /// Addresses that may be connected to though they are not public.
    pub addresses: Vec<IpNet>,
}

/// A secret of a plugin's.
#[derive(Debug, Clone, PartialEq)]
pub struct SecretGrant {
    /// The secret itself.
    pub value: SecretText,
    /// Where the host may send it.
    pub hosts: Vec<HttpOrigin>,
    /// Whether the plugin may read it.
    pub readable: bool,
}

/// What the requests of one attempt may come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpLimits {
    /// How many.
    pub requests: u32,
    /// How many at the same time, over all attempts of the plugin.
    pub at_once: u32,
    /// From the first step to the last byte of the answer; a plugin may ask for less.
    pub timeout: Duration,
    /// Header fields of one request.
    pub headers: usize,
    /// Bytes of all their names and values.
    pub header_bytes: usize,
    /// Bytes of one request's body.
    pub request_bytes: u64,
    /// Bytes of one answer's body.
    pub response_bytes: u64,
    /// Bytes of all answers' bodies together.
    pub received_bytes: u64,
    /// How much of them is kept with an attempt; `None`: nothing.
    pub record: Option<RecordLimits>,
}

impl Default for HttpLimits {
    fn default() -> Self {
        const MIB: u64 = 1 << 20;
        Self {
            // An event that becomes more than this is a batch job, as with outputs.
            requests: 100,
            at_once: 64,
            // Half of an attempt's wall time: the plugin learns that there was no answer, and can do
            // something about it, before the whole attempt is over.
            timeout: Duration::from_secs(5),
            // What servers commonly take.
            headers: 100,
            header_bytes: 64 << 10,
            request_bytes: MIB,
            response_bytes: 4 * MIB,
            received_bytes: 16 * MIB,
            record: None,
        }
    }
}

/// What all attempts of one version share.
pub(crate) struct Egress {
    plugin: PluginName,
    origins: Vec<HttpOrigin>,
    secrets: BTreeMap<String, SecretGrant>,
    limits: HttpLimits,
    transport: Arc<dyn Transport>,
    at_once: Semaphore,
    redaction: Arc<Redaction>,
}

impl Egress {
    pub(crate) fn new(plugin: PluginName, grant: &Grant, network: &dyn Network) -> Self {
        let limits = grant.limits.http.clone();
        let HttpGrant { origins, addresses } = grant.http.clone().unwrap_or_default();
        let transport =
            if origins.is_empty() { network.closed() } else { network.open(&addresses) };
        let at_once = Semaphore::new(limits.at_once as usize);
        let redaction = Redaction::new(grant.secrets.values().map(|secret| &secret.value));
        let redaction = Arc::new(redaction);
        let secrets = grant.secrets.clone();
        Self { plugin, origins, secrets, limits, transport, at_once, redaction }
    }

    /// What must not be seen of what the plugin says.
    pub(crate) fn redaction(&self) -> &Arc<Redaction> {
        &self.redaction
    }

    /// Bytes of one request's headers.
    pub(crate) fn header_bytes(&self) -> usize {
        self.limits.header_bytes
    }

    /// Tells of a request that nothing came of.
    pub(crate) fn refused(&self, method: &str, url: &str, fault: &HttpFault) {
        self.transport.refused(method, url, fault);
    }

    /// A secret that the plugin may read.
    pub(crate) fn readable(&self, name: &str) -> Result<String, String> {
        match self.secrets.get(name) {
            Some(secret) if secret.readable => Ok(secret.value.expose().to_owned()),
            Some(_) => Err(format!(
                "the secret `{name}` is put into requests by the gateway and can't be read; to allow it, say readable = true in [plugins.{}] secrets",
                self.plugin
            )),
            None => Err(self.no_secret(name)),
        }
    }

    fn no_secret(&self, name: &str) -> String {
        format!(
            "the secret `{name}` is not granted: add it to secrets in [plugins.{}]",
            self.plugin
        )
    }
}

/// For whom a request is made, which is the same however often the plugin is run for it; and the trace
/// that it is part of.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    pub(crate) id: SubjectId,
    pub(crate) traceparent: Option<String>,
}

/// An event's id, or a request's.
#[derive(Debug, Clone)]
pub(crate) enum SubjectId {
    Event(EventId),
    Request(String),
}

impl Subject {
    /// Of an attempt on this event.
    pub(crate) fn of(event: &Event) -> Self {
        Self { id: SubjectId::Event(event.id), traceparent: traceparent(&event.attributes) }
    }

    /// Of a request that a plugin answers, if it has an id.
    pub(crate) fn of_request(request: &crate::Request) -> Option<Self> {
        let id = SubjectId::Request(attribute(&request.attributes, "request-id")?);
        Some(Self { id, traceparent: traceparent(&request.attributes) })
    }
}

/// The trace, as the gateway took it from the sender's headers.
fn traceparent(attributes: &[(String, String)]) -> Option<String> {
    attribute(attributes, "traceparent")
}

fn attribute(attributes: &[(String, String)], name: &str) -> Option<String> {
    attributes.iter().find(|(found, _)| found == name).map(|(_, value)| value.clone())
}

impl fmt::Display for SubjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Event(id) => id.fmt(f),
            Self::Request(id) => id.fmt(f),
        }
    }
}

/// The requests of one attempt.
pub(crate) struct Requests {
    egress: Arc<Egress>,
    subject: Option<Subject>,
    /// Why there is no network, where there is none: in a trial, say.
    closed: Option<&'static str>,
    numbers: AtomicU32,
    received: Budget,
    /// Bodies that components of other toolchains are writing.
    gathered: Budget,
    over: watch::Sender<bool>,
    /// In place of the version's own.
    transport: Option<Arc<dyn Transport>>,
    /// Notes them, if they are to be kept.
    recorder: Option<Recorder>,
}

/// A request that is not sent.
#[derive(Debug)]
pub(crate) struct Unsent {
    method: String,
    url: String,
    fault: HttpFault,
}

/// A request's place among those of its attempt.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Number(u32);

impl Requests {
    pub(crate) fn new(
        egress: Arc<Egress>,
        subject: Option<Subject>,
        closed: Option<&'static str>,
        transport: Option<Arc<dyn Transport>>,
        record: Option<RecordLimits>,
    ) -> Self {
        let received = Budget::new(egress.limits.received_bytes);
        let gathered = Budget::new(GATHERED_MAX.max(egress.limits.request_bytes));
        let (numbers, over) = (AtomicU32::new(0), watch::Sender::new(false));
        let recorder = record.map(Recorder::new);
        Self { egress, subject, closed, numbers, received, gathered, over, transport, recorder }
    }

    /// Bytes of answers so far.
    pub(crate) fn received(&self) -> u64 {
        self.received.taken()
    }

    /// The call that they belong to has ended: what is on its way is dropped.
    pub(crate) fn end(&self) {
        self.over.send_replace(true);
    }

    /// What was sent and answered, if it was noted.
    pub(crate) fn recorded(&self) -> Option<Exchanges> {
        self.recorder.as_ref().map(Recorder::finish)
    }

    /// Allowance for a body that is being written.
    pub(crate) fn lend_body(&self) -> Lent {
        Lent(self.gathered.allow(self.egress.limits.request_bytes))
    }

    /// The next request's number: asked for in the order in which the plugin makes them, so that it is
    /// the same in the next attempt. Each counts, also one that is refused.
    pub(crate) fn number(&self) -> Result<Number, HttpFault> {
        let number = self.numbers.fetch_add(1, Relaxed).saturating_add(1);
        let max = self.egress.limits.requests;
        if number > max {
            return Err(HttpFault::Limit(format!("it sent more than the {max} requests allowed")));
        }
        if let Some(why) = self.closed {
            return Err(HttpFault::Denied(why.to_owned()));
        }
        Ok(Number(number))
    }

    /// Holds a URL against the grant, and takes the next number.
    pub(crate) fn allows(&self, method: &str, url: &str) -> Result<Number, HttpFault> {
        let checked = |number| request::checked_url(&self.egress, url).map(|_| number);
        let allowed = self.number().and_then(checked);
        allowed.inspect_err(|fault| self.transport().refused(method, url, fault))
    }

    /// Holds a wish against the grant and the limits.
    pub(crate) fn prepare(
        &self,
        number: Result<Number, HttpFault>,
        wish: Wish,
    ) -> Result<Ready, Unsent> {
        let ready = number.and_then(|Number(number)| {
            request::prepare(&self.egress, self.subject.as_ref(), number, &wish)
        });
        ready.map_err(|fault| Unsent { method: wish.method, url: wish.url, fault })
    }

    /// Sends one.
    pub(crate) async fn send(
        &self,
        ready: Result<Ready, Unsent>,
    ) -> Result<Response<Bytes>, HttpFault> {
        let Ready { number, request, timeout } = match ready {
            Ok(ready) => ready,
            Err(Unsent { method, url, fault }) => {
                self.transport().refused(&method, &url, &fault);
                return Err(fault);
            }
        };
        let (host, method) = (request.uri().host().map(str::to_owned), request.method().clone());
        let recorder = self.recorder.as_ref().map(|recorder| (recorder, &*self.egress.redaction));
        if let Some((recorder, hide)) = recorder {
            recorder.sent(hide, number, &request);
        }
        let answered = self.until_over(tokio::time::timeout(timeout, self.exchange(request)));
        let answered = answered.await?.unwrap_or(Err(HttpFault::Timeout(timeout)));
        if let Some((recorder, hide)) = recorder {
            recorder.answered(hide, number, &answered);
        }
        let outcome = match &answered {
            Ok(answer) => answer.status().as_u16().to_string(),
            Err(fault) => fault.code().to_owned(),
        };
        tracing::debug!(plugin = %self.egress.plugin, host, %method, outcome, "request sent");
        answered
    }

    /// Does `work` for as long as the call goes on.
    pub(crate) async fn until_over<T>(
        &self,
        work: impl Future<Output = T>,
    ) -> Result<T, HttpFault> {
        let mut over = self.over.subscribe();
        tokio::select! {
            done = work => Ok(done),
            _ = over.wait_for(|over| *over) => {
                Err(HttpFault::Denied("the call that made it has ended".to_owned()))
            }
        }
    }

    async fn exchange(&self, request: http::Request<Bytes>) -> Result<Response<Bytes>, HttpFault> {
        let Egress { limits, at_once, .. } = &*self.egress;
        let _place = at_once.acquire().await;
        self.transport().send(request, self.received.allow(limits.response_bytes)).await
    }

    fn transport(&self) -> &dyn Transport {
        &**self.transport.as_ref().unwrap_or(&self.egress.transport)
    }

    /// Sends all at the same time; the answers are in the order of the wishes.
    pub(crate) async fn send_all(
        &self,
        wishes: Vec<Wish>,
    ) -> Vec<Result<Response<Bytes>, HttpFault>> {
        let ready = |wish| self.prepare(self.number(), wish);
        let ready: Vec<_> = wishes.into_iter().map(ready).collect();
        let at_once = self.egress.limits.at_once as usize;
        stream::iter(ready).map(|ready| self.send(ready)).buffered(at_once.max(1)).collect().await
    }
}
