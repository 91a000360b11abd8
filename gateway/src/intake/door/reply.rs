//! From what a plugin answered to an HTTP response. The gateway frames it: what says how long it is, how it
//! is sent and over which connection is not the plugin's to say.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use axum::{
    body::{Body, HttpBody},
    http::{HeaderName, HeaderValue, Response, StatusCode, header},
};

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;

use crate::intake::receive::RequestId;

/// Header fields of one response. As many as a request may have.
const HEADERS_MAX: usize = 128;

/// Fields that belong to the connection (RFC 9110, section 7.6.1), to the framing, or to the gateway.
/// They are left out.
const NOT_THEIRS: [&str; 12] = [
    "connection",
    "content-length",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
    "x-request-id",
];

/// The response, or what is wrong with the answer.
pub(super) fn response(
    answer: hookweir_host::Response,
    request: RequestId,
) -> Result<Response<Body>, String> {
    let hookweir_host::Response { status, headers, body } = answer;
    let final_status = StatusCode::from_u16(status).ok().filter(|_| (200..600).contains(&status));
    let status = final_status.ok_or_else(|| format!("its status {status} is not 200 to 599"))?;
    if headers.len() > HEADERS_MAX {
        return Err(format!("its answer has {} headers, at most {HEADERS_MAX}", headers.len()));
    }
    // RFC 9110, sections 15.3.5 and 15.4.5: these have no content.
    let is_bare = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let mut response = Response::new(if is_bare { Body::empty() } else { Body::from(body) });
    *response.status_mut() = status;
    for (name, value) in headers {
        let parsed = HeaderName::from_bytes(name.as_bytes()).ok();
        let parsed = parsed.ok_or_else(|| format!("its header {name:?} is no name"))?;
        if NOT_THEIRS.contains(&parsed.as_str()) {
            continue;
        }
        let value = HeaderValue::from_bytes(&value)
            .map_err(|_| format!("the value of its header {parsed} can't be sent"))?;
        response.headers_mut().extend([(parsed, value)]);
    }
    if is_bare {
        response.headers_mut().remove(header::CONTENT_TYPE);
    }
    response.headers_mut().insert("x-request-id", request.header());
    Ok(response)
}

/// An answer with its place among those that wait to be read: until it is sent or its connection is gone.
struct Held {
    body: Body,
    _place: OwnedSemaphorePermit,
}

/// The answer with its place. What the place has more than it needs is given back.
pub(super) fn held(response: Response<Body>, mut place: OwnedSemaphorePermit) -> Response<Body> {
    let bytes = response.body().size_hint().exact().unwrap_or(0);
    let kib = usize::try_from(bytes.div_ceil(1024)).unwrap_or(usize::MAX);
    drop(place.split(place.num_permits().saturating_sub(kib)));
    response.map(|body| Body::new(Held { body, _place: place }))
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(status: u16, headers: &[(&str, &str)]) -> Result<Response<Body>, String> {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).into()));
        let answer =
            hookweir_host::Response { status, headers: headers.collect(), body: b"x".to_vec() };
        response(answer, RequestId::from_u128(1))
    }

    #[test]
    fn the_plugins_headers_are_kept_and_those_of_the_connection_are_not() {
        let headers = [
            ("Content-Type", "text/csv"),
            ("set-cookie", "a=1"),
            ("set-cookie", "b=2"),
            ("Connection", "x-gone"),
            ("content-length", "999"),
            ("Transfer-Encoding", "chunked"),
            ("X-Request-Id", "forged"),
        ];
        let response = made(207, &headers).unwrap();
        assert_eq!(response.status(), 207);
        let names: Vec<_> = response.headers().keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["content-type", "set-cookie", "x-request-id"]);
        assert_eq!(response.headers().get_all("set-cookie").iter().count(), 2);
        assert_ne!(response.headers()["x-request-id"], "forged");
    }

    #[test]
    fn an_answer_that_can_not_be_sent_is_the_plugins_fault() {
        for status in [0, 100, 101, 199, 600, 999, u16::MAX] {
            assert!(made(status, &[]).is_err(), "{status}");
        }
        assert!(made(200, &[("a b", "x")]).unwrap_err().contains("is no name"));
        assert!(made(200, &[("", "x")]).is_err());
        assert!(made(200, &[("x-a", "a\r\nset-cookie: b")]).unwrap_err().contains("x-a"));
        assert!(made(200, &[("x-a", "a"); HEADERS_MAX + 1]).is_err());
    }

    #[test]
    fn what_has_no_content_has_none() {
        use axum::body::HttpBody as _;
        let response = made(204, &[("content-type", "text/plain")]).unwrap();
        assert_eq!(response.body().size_hint().exact(), Some(0));
        assert!(!response.headers().contains_key(header::CONTENT_TYPE));
    }
}
