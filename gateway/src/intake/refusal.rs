//! Every way a request can be refused, and the one table of what the sender is told.
//!
//! The reply never says which part of a signature was wrong: the audit log does.

use std::time::Duration;

use axum::{
    body::Body,
    http::{HeaderValue, Response, StatusCode, header},
};

use hookweir_store::Pause;
use hookweir_verify::Rejection;

use super::receive::RequestId;
use crate::{budget::Shed, limits::Limited};

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Genuine or not, it can't be understood.
    Malformed(String),
    /// There is more than one way to read it.
    IllFormed(&'static str),
    /// The source wants a certificate of its senders, and there was none.
    NoCertificate,
    /// The certificate is not by the source's authority, or for another name; why is for the audit log.
    UntrustedCertificate(String),
    /// It did not prove who sent it. Why is for the audit log.
    Unauthenticated(Rejection),
    /// A provider's handshake without what it must have; answered with this status and nothing
    /// else, as providers want it.
    Handshake(u16, Rejection),
    /// The source does not take requests from this address.
    AddressNotAllowed,
    /// No source has this path.
    NoSuchSource,
    /// The source does not take this method.
    MethodNotAllowed,
    /// It has more header fields than a request may have.
    TooManyHeaders,
    /// The body did not arrive in time.
    BodyTooSlow,
    /// The body is larger than the source takes, in bytes.
    BodyTooLarge(u64),
    /// The body is compressed.
    CompressedBody,
    /// More requests than a limit allows.
    RateLimited(Limited),
    /// The key that the request was signed with can't be fetched now.
    KeyUnavailable(String),
    /// The source's verifier can't be asked now.
    VerifierUnavailable(Rejection),
    /// The source's verifier came to no answer on this request.
    VerifierFailed(Rejection),
    /// No plugin answers at this path, or none that may.
    NoSuchApi,
    /// Plugins are not asked with this method.
    ApiMethodNotAllowed,
    /// The plugin's token is missing or another one.
    NoToken,
    /// The plugin says that the request is wrong, and in these words why.
    PluginRejected(String),
    /// The plugin says that it can't answer now; why, and for how long if it said.
    PluginLater(String, Option<Duration>),
    /// As many ask the plugin as it may answer.
    PluginBusy,
    /// The plugin can't be asked now.
    PluginUnavailable(String),
    /// The plugin came to no answer, or to one that can't be sent.
    PluginFailed(String),
    /// The plugin took longer than it may.
    PluginTimeout(String),
    /// An operator has paused the source, or everything.
    Paused(Pause),
    /// There is no room for more now.
    Overloaded(Shed),
    /// The store can't write: a full disk, say.
    StoreRefuses,
    /// The store must not be written any more.
    StorePoisoned,
    /// The gateway is on its way out.
    ShuttingDown,
}

/// What a sender is told to wait when it is not known how long it will take.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// The same while an operator has paused the source, which takes longer.
const RETRY_AFTER_PAUSE: Duration = Duration::from_secs(60);
/// The longest wait that a plugin can ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 3600);

impl Refusal {
    /// Status, code, and whether sending it again can help: the contract with senders.
    fn row(&self) -> (StatusCode, &'static str, bool) {
        match self {
            Self::Malformed(_) | Self::IllFormed(_) => {
                (StatusCode::BAD_REQUEST, "malformed", false)
            }
            Self::Unauthenticated(_) | Self::NoCertificate | Self::UntrustedCertificate(_) => {
                (StatusCode::UNAUTHORIZED, "unauthenticated", false)
            }
            Self::Handshake(status, _) => {
                let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::FORBIDDEN);
                (status, "handshake_refused", false)
            }
            Self::AddressNotAllowed => (StatusCode::FORBIDDEN, "address_not_allowed", false),
            Self::NoSuchSource => (StatusCode::NOT_FOUND, "no_such_source", false),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", false),
            Self::TooManyHeaders => {
                (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "too_many_headers", false)
            }
            Self::BodyTooSlow => (StatusCode::REQUEST_TIMEOUT, "body_too_slow", true),
            Self::BodyTooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", false),
            Self::CompressedBody => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "compressed_body", false),
            Self::RateLimited(_) => (StatusCode::TOO_MANY_REQUESTS, "rate_limited", true),
            Self::KeyUnavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "key_unavailable", true),
            Self::VerifierUnavailable(_) => {
                (StatusCode::SERVICE_UNAVAILABLE, "verifier_unavailable", true)
            }
            Self::VerifierFailed(_) => (StatusCode::SERVICE_UNAVAILABLE, "verifier_failed", true),
            Self::NoSuchApi => (StatusCode::NOT_FOUND, "no_such_api", false),
            Self::ApiMethodNotAllowed => {
                (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", false)
            }
            Self::NoToken => (StatusCode::UNAUTHORIZED, "unauthenticated", false),
            Self::PluginRejected(_) => (StatusCode::BAD_REQUEST, "rejected", false),
            Self::PluginLater(..) => (StatusCode::SERVICE_UNAVAILABLE, "try_later", true),
            Self::PluginBusy => (StatusCode::SERVICE_UNAVAILABLE, "plugin_busy", true),
            Self::PluginUnavailable(_) => {
                (StatusCode::SERVICE_UNAVAILABLE, "plugin_unavailable", true)
            }
            Self::PluginFailed(_) => (StatusCode::BAD_GATEWAY, "plugin_failed", true),
            Self::PluginTimeout(_) => (StatusCode::GATEWAY_TIMEOUT, "plugin_timeout", true),
            Self::Paused(_) => (StatusCode::SERVICE_UNAVAILABLE, "paused", true),
            Self::Overloaded(_) => (StatusCode::SERVICE_UNAVAILABLE, "overloaded", true),
            Self::StoreRefuses => (StatusCode::SERVICE_UNAVAILABLE, "store_refuses", true),
            Self::StorePoisoned => (StatusCode::SERVICE_UNAVAILABLE, "store_poisoned", true),
            Self::ShuttingDown => (StatusCode::SERVICE_UNAVAILABLE, "shutting_down", true),
        }
    }

    /// The reply's status.
    pub(super) fn status(&self) -> StatusCode {
        self.row().0
    }

    /// The word in the reply and in the audit log.
    pub(crate) fn code(&self) -> &'static str {
        self.row().1
    }

    /// Why, as one word and as a sentence: for operators, never for the sender.
    pub(crate) fn reason(&self) -> (&'static str, String) {
        match self {
            Self::Unauthenticated(rejection)
            | Self::Handshake(_, rejection)
            | Self::VerifierUnavailable(rejection)
            | Self::VerifierFailed(rejection) => (rejection.reason(), rejection.to_string()),
            Self::KeyUnavailable(why)
            | Self::PluginRejected(why)
            | Self::PluginLater(why, _)
            | Self::PluginUnavailable(why)
            | Self::PluginFailed(why)
            | Self::PluginTimeout(why) => (self.code(), why.clone()),
            Self::NoCertificate => ("no-certificate", "it showed no certificate".to_owned()),
            Self::UntrustedCertificate(why) => ("bad-certificate", why.clone()),
            Self::Paused(Pause { by, why, .. }) => {
                let why = why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
                (self.code(), format!("paused by {by}{why}"))
            }
            Self::Overloaded(shed) => (shed.reason(), shed.sentence().to_owned()),
            other => (other.code(), other.sentence()),
        }
    }

    /// Whether it counts against the limit of refused requests: what a sender did wrong. What the
    /// gateway could not do, and what a limit already refused, does not, nor what a plugin that was asked
    /// finds wrong. Who makes a verifier fail does it harm, whatever the reason.
    pub(crate) fn counts_against_address(&self) -> bool {
        let status = self.row().0;
        match self {
            Self::VerifierFailed(_) => true,
            Self::PluginRejected(_) => false,
            _ => status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS,
        }
    }

    fn sentence(&self) -> String {
        match self {
            Self::Malformed(what) => format!("the request is malformed: {what}"),
            Self::IllFormed(what) => format!("the request is malformed: {what}"),
            Self::Unauthenticated(_) | Self::NoCertificate | Self::UntrustedCertificate(_) => {
                "the request is not authentic".into()
            }
            Self::Handshake(..) => "the handshake is not authentic".into(),
            Self::AddressNotAllowed => "this address may not post here".into(),
            Self::NoSuchSource => "no source has this path".into(),
            Self::MethodNotAllowed => "this source takes POST".into(),
            Self::TooManyHeaders => "the request has more header fields than may be".into(),
            Self::BodyTooSlow => "the body did not arrive in time".into(),
            Self::BodyTooLarge(max) => format!("the body is larger than {max} bytes"),
            Self::CompressedBody => "compressed bodies are not taken".into(),
            Self::RateLimited(limited) => format!("more requests than the {} limit", limited.scope),
            Self::KeyUnavailable(_) => "the sender's key can't be had; try again later".into(),
            Self::VerifierUnavailable(_) | Self::VerifierFailed(_) => {
                "the request can't be verified now; try again later".into()
            }
            Self::NoSuchApi => "nothing answers at this path".into(),
            Self::ApiMethodNotAllowed => "plugins are not asked with this method".into(),
            Self::NoToken => "the token is missing or wrong".into(),
            Self::PluginRejected(why) => why.clone(),
            Self::PluginLater(..) => "the plugin can't answer now; try again later".into(),
            Self::PluginBusy => "too many ask this plugin; try again later".into(),
            Self::PluginUnavailable(_) => "the plugin can't be asked now; try again later".into(),
            Self::PluginFailed(_) => "the plugin failed".into(),
            Self::PluginTimeout(_) => "the plugin took too long".into(),
            Self::Paused(_) => "this source is paused; try again later".into(),
            Self::Overloaded(_) => "too much is waiting; try again later".into(),
            Self::StoreRefuses => "nothing can be stored right now; try again later".into(),
            Self::StorePoisoned => "nothing can be stored until a restart; try again later".into(),
            Self::ShuttingDown => "shutting down; try again later".into(),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited(limited) => Some(limited.wait),
            Self::PluginLater(_, Some(wait)) => Some((*wait).min(RETRY_AFTER_MAX)),
            Self::Paused(_) => Some(RETRY_AFTER_PAUSE),
            _ if self.row().0 == StatusCode::SERVICE_UNAVAILABLE => Some(RETRY_AFTER),
            _ => None,
        }
    }

    /// The reply.
    pub(crate) fn into_response(self, id: RequestId) -> Response<Body> {
        let (status, code, retryable) = self.row();
        if let Self::Handshake(..) = self {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = status;
            response.headers_mut().insert("x-request-id", id.header());
            return response;
        }
        let body = serde_json::json!({
            "error": self.sentence(), "code": code, "retryable": retryable, "requestId": id.to_string(),
        });
        let mut response = Response::new(Body::from(body.to_string()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert("x-request-id", id.header());
        if let Some(wait) = self.retry_after() {
            // Rounded up: coming back a second early would only be refused again.
            let seconds = u64::try_from(wait.as_millis().div_ceil(1000)).unwrap_or(u64::MAX);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        match &self {
            Self::MethodNotAllowed => {
                headers.insert(header::ALLOW, HeaderValue::from_static("POST"));
            }
            Self::ApiMethodNotAllowed => {
                let taken = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE");
                headers.insert(header::ALLOW, taken);
            }
            Self::NoToken => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            // What is left of the body will not be read, or nobody knows where it ends: the connection can't be
            // used again.
            Self::BodyTooSlow | Self::BodyTooLarge(_) | Self::IllFormed(_) => {
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Self::RateLimited(limited) => limited.describe(headers),
            _ => {}
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use hookweir_event::Timestamp;
    use hookweir_store::Pausable;
    use http_body_util::BodyExt as _;

    use super::*;
    use crate::config::Rate;

    #[tokio::test]
    async fn each_refusal_has_its_row() {
        let rate = Rate { count: 10, per: Duration::from_secs(60) };
        let limited = Limited { scope: "address", rate, wait: Duration::from_millis(1500) };
        let mut lines = Vec::new();
        for refusal in [
            Refusal::Malformed("no event type at /type".into()),
            Refusal::IllFormed("two hosts that differ"),
            Refusal::Unauthenticated(Rejection::BadSignature),
            Refusal::NoCertificate,
            Refusal::UntrustedCertificate("UnknownIssuer".into()),
            Refusal::Handshake(404, Rejection::MissingSignature),
            Refusal::AddressNotAllowed,
            Refusal::NoSuchSource,
            Refusal::MethodNotAllowed,
            Refusal::TooManyHeaders,
            Refusal::BodyTooSlow,
            Refusal::BodyTooLarge(1024),
            Refusal::CompressedBody,
            Refusal::RateLimited(limited),
            Refusal::KeyUnavailable("a url".into()),
            Refusal::VerifierUnavailable(Rejection::VerifierUnavailable("not loaded".into())),
            Refusal::VerifierFailed(Rejection::VerifierFailed("it aborted".into())),
            Refusal::NoSuchApi,
            Refusal::ApiMethodNotAllowed,
            Refusal::NoToken,
            Refusal::PluginRejected("no such order".into()),
            Refusal::PluginLater("out of stock".into(), None),
            Refusal::PluginLater("out of stock".into(), Some(Duration::MAX)),
            Refusal::PluginBusy,
            Refusal::PluginUnavailable("it is not loaded".into()),
            Refusal::PluginFailed("it aborted".into()),
            Refusal::PluginTimeout("it took longer than 5s".into()),
            Refusal::Paused(Pause {
                what: Pausable::Source("github".parse().unwrap()),
                since: Timestamp::default(),
                by: "anna".into(),
                why: Some("a secret".into()),
            }),
            Refusal::Overloaded(Shed::Memory),
            Refusal::StoreRefuses,
            Refusal::StorePoisoned,
            Refusal::ShuttingDown,
        ] {
            let response = refusal.into_response(RequestId::from_u128(0));
            let status = response.status();
            let mut headers: Vec<_> = response
                .headers()
                .iter()
                .filter(|(name, _)| *name != header::CONTENT_TYPE)
                .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
                .collect();
            headers.sort();
            let body = response.into_body().collect().await.unwrap().to_bytes();
            lines.push(format!(
                "{status}\n  {}\n  {}",
                headers.join(" | "),
                String::from_utf8_lossy(&body)
            ));
        }
        insta::assert_snapshot!(lines.join("\n"));
    }
}
