//! Every way a request can be refused, and the one table of what the sender is told.
//!
//! The reply never says which part of a signature was wrong: the audit log does.

use std::time::Duration;

use axum::{
    body::Body,
    http::{HeaderValue, Response, StatusCode, header},
};

use hookweir_verify::Rejection;

use super::{limits::Limited, receive::RequestId};

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Genuine or not, it can't be understood.
    Malformed(String),
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
    /// The store can't take more for now.
    Overloaded,
    /// The store can't write: a full disk, say.
    StoreRefuses,
    /// The store must not be written any more.
    StorePoisoned,
    /// The gateway is on its way out.
    ShuttingDown,
}

/// What a sender is told to wait when it is not known how long it will take.
const RETRY_AFTER: Duration = Duration::from_secs(5);

impl Refusal {
    /// Status, code, and whether sending it again can help: the contract with senders.
    fn row(&self) -> (StatusCode, &'static str, bool) {
        match self {
            Self::Malformed(_) => (StatusCode::BAD_REQUEST, "malformed", false),
            Self::Unauthenticated(_) => (StatusCode::UNAUTHORIZED, "unauthenticated", false),
            Self::Handshake(status, _) => {
                let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::FORBIDDEN);
                (status, "handshake_refused", false)
            }
            Self::AddressNotAllowed => (StatusCode::FORBIDDEN, "address_not_allowed", false),
            Self::NoSuchSource => (StatusCode::NOT_FOUND, "no_such_source", false),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", false),
            Self::BodyTooSlow => (StatusCode::REQUEST_TIMEOUT, "body_too_slow", true),
            Self::BodyTooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", false),
            Self::CompressedBody => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "compressed_body", false),
            Self::RateLimited(_) => (StatusCode::TOO_MANY_REQUESTS, "rate_limited", true),
            Self::KeyUnavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "key_unavailable", true),
            Self::Overloaded => (StatusCode::SERVICE_UNAVAILABLE, "overloaded", true),
            Self::StoreRefuses => (StatusCode::SERVICE_UNAVAILABLE, "store_refuses", true),
            Self::StorePoisoned => (StatusCode::SERVICE_UNAVAILABLE, "store_poisoned", true),
            Self::ShuttingDown => (StatusCode::SERVICE_UNAVAILABLE, "shutting_down", true),
        }
    }

    /// The word in the reply and in the audit log.
    pub(crate) fn code(&self) -> &'static str {
        self.row().1
    }

    /// Why, as one word and as a sentence: for operators, never for the sender.
    pub(crate) fn reason(&self) -> (&'static str, String) {
        match self {
            Self::Unauthenticated(rejection) | Self::Handshake(_, rejection) => {
                (rejection.reason(), rejection.to_string())
            }
            Self::KeyUnavailable(why) => (self.code(), why.clone()),
            other => (other.code(), other.sentence()),
        }
    }

    /// Whether it counts against the limit of refused requests. What the gateway could not do, and
    /// what a limit already refused, does not.
    pub(crate) fn is_senders_fault(&self) -> bool {
        let status = self.row().0;
        status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS
    }

    fn sentence(&self) -> String {
        match self {
            Self::Malformed(what) => format!("the request is malformed: {what}"),
            Self::Unauthenticated(_) => "the request is not authentic".into(),
            Self::Handshake(..) => "the handshake is not authentic".into(),
            Self::AddressNotAllowed => "this address may not post here".into(),
            Self::NoSuchSource => "no source has this path".into(),
            Self::MethodNotAllowed => "this source takes POST".into(),
            Self::BodyTooSlow => "the body did not arrive in time".into(),
            Self::BodyTooLarge(max) => format!("the body is larger than {max} bytes"),
            Self::CompressedBody => "compressed bodies are not taken".into(),
            Self::RateLimited(limited) => format!("more requests than the {} limit", limited.scope),
            Self::KeyUnavailable(_) => "the sender's key can't be had; try again later".into(),
            Self::Overloaded => "too much is waiting; try again later".into(),
            Self::StoreRefuses => "nothing can be stored right now; try again later".into(),
            Self::StorePoisoned => "nothing can be stored until a restart; try again later".into(),
            Self::ShuttingDown => "shutting down; try again later".into(),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited(limited) => Some(limited.wait),
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
            // What is left of the body will not be read, so the connection can't be used again.
            Self::BodyTooSlow | Self::BodyTooLarge(_) => {
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
            Refusal::Unauthenticated(Rejection::BadSignature),
            Refusal::Handshake(404, Rejection::MissingSignature),
            Refusal::AddressNotAllowed,
            Refusal::NoSuchSource,
            Refusal::MethodNotAllowed,
            Refusal::BodyTooSlow,
            Refusal::BodyTooLarge(1024),
            Refusal::CompressedBody,
            Refusal::RateLimited(limited),
            Refusal::KeyUnavailable("a url".into()),
            Refusal::Overloaded,
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
