//! The last stage: the answer. A 2xx is made here, from a [`Receipt`], and nowhere else.

use axum::{
    body::Body,
    http::{HeaderValue, Response, StatusCode, header},
};
use hookweir_store::Receipt;

use super::receive::RequestId;
use crate::live::Source;

pub(super) fn ack(source: &Source, receipt: &Receipt, request: RequestId) -> Response<Body> {
    let reply = &source.config.reply;
    let body = match &reply.body {
        Some(body) => body.clone(),
        None => format!(
            r#"{{"accepted":true,"id":"{}","duplicate":{}}}"#,
            receipt.id(),
            receipt.is_duplicate()
        ),
    };
    let content_type =
        if reply.body.is_some() { "text/plain; charset=utf-8" } else { "application/json" };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::ACCEPTED);
    let headers = response.headers_mut();
    // RFC 9110, section 15.3.5: a 204 has no content to have a type.
    if reply.status != 204 {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    headers.insert("x-request-id", request.header());
    response
}
