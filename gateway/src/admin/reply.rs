//! Answers: JSON for programs, a line for probes.

use axum::{
    body::Body,
    http::{HeaderValue, Response, StatusCode, header},
    response::IntoResponse,
};
use hookweir_event::Timestamp;
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use super::fault::Fault;

/// What was asked for, or why not.
pub(super) type Answer<T> = Result<Json<T>, Fault>;

/// What was asked for.
#[derive(Debug)]
pub(super) struct Json<T>(pub(super) T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response<Body> {
        json(StatusCode::OK, &self.0)
    }
}

/// Some of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Page<T> {
    /// What was found.
    pub(super) items: Vec<T>,
    /// The `cursor` that goes on after these. Null: these are the last.
    pub(super) next: Option<String>,
}

/// A moment, in RFC 3339 and UTC.
#[derive(Debug, Clone, Copy, ToSchema)]
#[schema(value_type = String, format = DateTime, examples("2026-11-01T12:00:00.25Z"))]
pub(super) struct Time(pub(super) Timestamp);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&time(self.0))
    }
}

/// RFC 3339, in UTC.
pub(super) fn time(at: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(at.as_millis())
        .map_or_else(|_| String::new(), |t| t.to_string())
}

/// 200 with `ok`, or 503 with the reason.
pub(super) fn probe(fault: Option<String>) -> Response<Body> {
    let (status, line) = match fault {
        None => (StatusCode::OK, "ok".to_owned()),
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, reason),
    };
    of(status, line + "\n", "text/plain; charset=utf-8")
}

/// JSON with this status.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    match serde_json::to_string(value) {
        Ok(text) => of(status, text, "application/json"),
        // No type here has a key that is no text, or a `Serialize` that fails.
        Err(error) => of(StatusCode::INTERNAL_SERVER_ERROR, error.to_string(), "text/plain"),
    }
}

pub(super) fn of(status: StatusCode, body: String, media_type: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

/// The last answer on its connection: nobody knows where the request ends.
pub(super) fn last(mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}
