//! The last stage: the answer. A 2xx is made here, from a [`Receipt`], and nowhere else.

use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, Response, StatusCode, header},
};
use hookweir_store::Receipt;

use super::receive::{Received, RequestId};
use crate::{limits::Allowance, live::Source};

/// A header of the request that its provider wants back: Adobe Sign. Kept aside, since it carries the
/// credential that verifying redacts.
pub(super) struct Echo(Option<(&'static str, HeaderValue)>);

impl Echo {
    pub(super) fn of(received: &Received) -> Self {
        let value = received.source.config.echoes.and_then(|echoed| {
            let mut headers = received.incoming.headers.iter();
            let (_, value) = headers.find(|(name, _)| name == echoed)?;
            Some((echoed, HeaderValue::from_bytes(value).ok()?))
        });
        Self(value)
    }
}

pub(super) fn ack(
    source: &Source,
    receipt: &Receipt,
    Echo(echo): Echo,
    allowance: Option<Allowance>,
    request: RequestId,
) -> Response<Body> {
    let reply = &source.config.reply;
    let body = match &reply.body {
        Some(body) => body.clone(),
        None => format!(
            r#"{{"accepted":true,"id":"{}","duplicate":{}}}"#,
            receipt.id(),
            receipt.is_duplicate()
        ),
    };
    let content_type = match &reply.body {
        Some(body) if !body.starts_with('{') => "text/plain; charset=utf-8",
        _ => "application/json",
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::ACCEPTED);
    let headers = response.headers_mut();
    // RFC 9110, section 15.3.5: a 204 has no content to have a type.
    if reply.status != 204 {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    headers.insert("x-request-id", request.header());
    if let Some(allowance) = allowance {
        allowance.describe(headers);
    }
    headers.extend(echo.map(|(name, value)| (HeaderName::from_static(name), value)));
    response
}
