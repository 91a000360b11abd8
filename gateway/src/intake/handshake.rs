//! Beside the line: a provider that asks whether anyone is there is answered at once. Nothing of it is
//! stored or shown to a plugin.

use axum::{
    body::Body,
    http::{HeaderValue, Response, StatusCode},
};

use hookweir_verify::Rejection;

use super::{
    Refusal,
    receive::{Received, RequestId},
};
use crate::{keys::Keys, learned::NotKept, live::Source};

/// The answer, if the request is a handshake of the source's scheme.
pub(super) async fn answer(
    keys: &Keys,
    received: &Received,
    request: RequestId,
) -> Option<Result<Response<Body>, Refusal>> {
    let Received { source, incoming, received_at, hold: _ } = received;
    let (scheme, secrets) = (&source.config.scheme, source.secrets());
    let shaken = if secrets.is_empty() && scheme.finds_keys() {
        scheme.handshake_with(&source.name, keys, incoming, *received_at).await?
    } else {
        scheme.handshake(&source.name, secrets, incoming, *received_at)?
    };
    let answered = match shaken {
        Ok(answered) => answered,
        Err(refused) => {
            return Some(Err(match refused.rejection {
                Rejection::KeyUnavailable(why) => Refusal::KeyUnavailable(why),
                rejection => Refusal::Handshake(refused.status, rejection),
            }));
        }
    };
    if let Some(url) = &answered.visit
        && let Err(error) = keys.visit(url).await
    {
        let why = format!("the subscription is not confirmed: {url}: {error}");
        return Some(Err(Refusal::KeyUnavailable(why)));
    }
    if let Some(secret) = &answered.secret
        && let Err(refusal) = learn(source, secret, request)
    {
        return Some(Err(refusal));
    }
    tracing::info!(
        target: "hookweir::audit",
        request_id = %request, source = %source.name, scheme = scheme.name(),
        "handshake answered"
    );
    let mut response = Response::new(Body::from(answered.body));
    *response.status_mut() = StatusCode::from_u16(answered.status).unwrap_or(StatusCode::OK);
    let headers = response.headers_mut();
    headers.insert("x-request-id", request.header());
    for (name, value) in answered.headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    }
    Some(Ok(response))
}

/// Keeps the secret that the handshake brought. It is on disk before the provider is told that it was
/// taken.
fn learn(source: &Source, secret: &str, request: RequestId) -> Result<(), Refusal> {
    let scheme = source.config.scheme.name();
    let Some(learned) = &source.learned else {
        return Err(Refusal::Handshake(403, Rejection::SecretIsUnwanted));
    };
    match learned.keep(secret) {
        Ok(()) => {
            tracing::warn!(
                target: "hookweir::audit",
                request_id = %request, source = %source.name, scheme, kept = %learned.path().display(),
                "the first handshake brought the secret, and it is believed from now on"
            );
            Ok(())
        }
        Err(NotKept::Known) => Err(Refusal::Handshake(403, Rejection::SecretIsKnown)),
        Err(NotKept::Fault(fault)) => {
            Err(Refusal::Handshake(403, Rejection::KeyRefused(fault.to_string())))
        }
        Err(NotKept::Io(error)) => {
            tracing::error!(source = %source.name, %error, "failed to keep the secret of a handshake");
            Err(Refusal::StoreRefuses)
        }
    }
}
