//! The operators' listener: `/healthz` and `/readyz`, open to whoever reaches it.

use axum::{
    body::Body,
    http::{HeaderValue, Request, Response, StatusCode, header},
};
use hyper::body::Incoming;

use crate::readiness::Readiness;

/// Answers operators and their supervisors.
#[derive(Debug, Clone)]
pub struct Admin {
    readiness: Readiness,
}

impl Admin {
    /// Tells what `readiness` knows.
    pub fn new(readiness: Readiness) -> Self {
        Self { readiness }
    }

    /// Answers one request: 200 with `ok`, or 503 with the reason.
    pub async fn answer(self, request: Request<Incoming>) -> Response<Body> {
        match request.uri().path() {
            "/healthz" => probe(self.readiness.unhealthy()),
            "/readyz" => probe(self.readiness.unready()),
            _ => text(StatusCode::NOT_FOUND, "there are /healthz and /readyz".into()),
        }
    }
}

fn probe(fault: Option<String>) -> Response<Body> {
    match fault {
        None => text(StatusCode::OK, "ok".into()),
        Some(reason) => text(StatusCode::SERVICE_UNAVAILABLE, reason),
    }
}

fn text(status: StatusCode, line: String) -> Response<Body> {
    let mut response = Response::new(Body::from(line + "\n"));
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response
}
