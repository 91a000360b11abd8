//! Beside the line: a provider that asks whether anyone is there is answered at once. Nothing of it is
//! stored or shown to a plugin.

use axum::{
    body::Body,
    http::{HeaderValue, Response, StatusCode},
};

use super::{
    Refusal,
    receive::{Received, RequestId},
};

/// The answer, if the request is a handshake of the source's scheme.
pub(super) fn answer(
    received: &Received,
    request: RequestId,
) -> Option<Result<Response<Body>, Refusal>> {
    let Received { source, incoming, received_at } = received;
    let config = &source.config;
    let shaken = config.scheme.handshake(&source.name, &config.secrets, incoming, *received_at)?;
    Some(match shaken {
        Ok(answered) => {
            tracing::info!(
                target: "hookweir::audit",
                request_id = %request, source = %source.name, scheme = config.scheme.name(),
                "handshake answered"
            );
            let mut response = Response::new(Body::from(answered.body));
            *response.status_mut() =
                StatusCode::from_u16(answered.status).unwrap_or(StatusCode::OK);
            let headers = response.headers_mut();
            headers.insert("x-request-id", request.header());
            for (name, value) in answered.headers {
                if let Ok(value) = HeaderValue::from_str(&value) {
                    headers.insert(name, value);
                }
            }
            Ok(response)
        }
        Err(refused) => {
            let rejection = refused.rejection;
            tracing::warn!(
                target: "hookweir::audit",
                request_id = %request, source = %source.name, scheme = config.scheme.name(),
                reason = rejection.reason(), "handshake refused: {rejection}"
            );
            Err(Refusal::Handshake(refused.status))
        }
    })
}
