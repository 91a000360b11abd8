//! What plugins are called for: to handle an event, to answer a request, to verify one.
//!
//! All that goes in is borrowed: the one copy is the one into the guest.

use bytes::Bytes;
use hookweir_event::{Event, Headers, NewOutput};

use crate::{
    attempt::{Job, Said, Started},
    bindings::plugin::exports::hookweir::plugin::{api, handler},
    outcome,
};

/// A request that a plugin answers or verifies.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// In upper case.
    pub method: String,
    /// As received, undecoded.
    pub path: String,
    /// Without the `?`, undecoded.
    pub query: Option<String>,
    /// Names in lower case.
    pub headers: Headers,
    /// The raw bytes.
    pub body: Bytes,
    /// What the gateway tells beside it. A name may occur more than once.
    pub attributes: Vec<(String, String)>,
}

/// What a plugin answers a request with. Its size is checked, and nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// Any number.
    pub status: u16,
    /// As the plugin wrote them.
    pub headers: Headers,
    /// The body.
    pub body: Vec<u8>,
}

/// What a plugin says of a request that it found genuine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Genuine {
    /// The sender's own id for the event, if it has one.
    pub id: Option<String>,
    /// What happened; any text.
    pub event_type: String,
    /// What else it says. A name may occur more than once.
    pub attributes: Vec<(String, String)>,
}

/// One attempt on an event.
pub(crate) struct Handle<'a> {
    pub(crate) event: &'a Event,
    pub(crate) attempt: u32,
}

impl Job for Handle<'_> {
    type Answer = Vec<NewOutput>;

    async fn call(&self, guest: Started<'_>) -> Said<Vec<NewOutput>> {
        let Started { version, limits, store, instance } = guest;
        let handler = version.interfaces.handler.load(&mut *store, &instance)?;
        let Self { event, attempt } = self;
        let (id, source) = (event.id.to_string(), event.origin.to_string());
        let (headers, attributes) = (headers(&event.headers), texts(&event.attributes));
        let lent = handler::Event {
            id: &id,
            source: &source,
            event_type: event.event_type.as_str(),
            attempt: *attempt,
            received_at_ms: u64::try_from(event.received_at.as_millis()).unwrap_or(0),
            method: &event.method,
            path: &event.path,
            query: event.query.as_deref(),
            headers: &headers,
            body: &event.body,
            attributes: &attributes,
        };
        Ok(match handler.call_handle(store, lent).await? {
            Ok(outputs) => outcome::outputs(outputs, limits),
            Err(said) => Err(outcome::failed(&said, version.egress.redaction())),
        })
    }
}

/// A request to answer.
pub(crate) struct Respond<'a>(pub(crate) &'a Request);

impl Job for Respond<'_> {
    type Answer = Response;

    async fn call(&self, guest: Started<'_>) -> Said<Response> {
        let Started { version, limits, store, instance } = guest;
        let api = version.interfaces.api()?.load(&mut *store, &instance)?;
        let Self(request) = self;
        let (headers, attributes) = (headers(&request.headers), texts(&request.attributes));
        let lent = lent(request, &headers, &attributes);
        Ok(match api.call_respond(store, lent).await? {
            Ok(response) => outcome::response(response, limits),
            Err(said) => Err(outcome::failed(&said, version.egress.redaction())),
        })
    }
}

/// A request whose sender is to be proven. That it is not genuine is an answer too.
pub(crate) struct Verify<'a>(pub(crate) &'a Request);

impl Job for Verify<'_> {
    type Answer = Result<Genuine, String>;

    async fn call(&self, guest: Started<'_>) -> Said<Self::Answer> {
        let Started { version, limits, store, instance } = guest;
        let verifier = version.interfaces.verifier()?.load(&mut *store, &instance)?;
        let Self(request) = self;
        let (headers, attributes) = (headers(&request.headers), texts(&request.attributes));
        let lent = lent(request, &headers, &attributes);
        Ok(match verifier.call_verify(store, lent).await? {
            Ok(verified) => outcome::genuine(verified, limits).map(Ok),
            Err(why) => Ok(Err(outcome::line(&why, version.egress.redaction()))),
        })
    }
}

/// A request as the contract has it.
fn lent<'a>(
    request: &'a Request,
    headers: &'a [(&'a str, &'a [u8])],
    attributes: &'a [(&'a str, &'a str)],
) -> api::Request<'a> {
    api::Request {
        method: &request.method,
        path: &request.path,
        query: request.query.as_deref(),
        headers,
        body: &request.body,
        attributes,
    }
}

fn headers(headers: &Headers) -> Vec<(&str, &[u8])> {
    headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect()
}

fn texts(pairs: &[(String, String)]) -> Vec<(&str, &str)> {
    pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}
