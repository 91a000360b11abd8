//! The operators' listener: `/healthz` and `/readyz`, open to whoever reaches it, and `/v1/…` for who
//! has the token.

mod sources;
mod token;

use std::sync::Arc;

use axum::{
    body::Body,
    http::{HeaderValue, Method, Request, Response, StatusCode, header},
};
use hyper::body::Incoming;
use serde_json::{Value, json};

use self::token::Barred;
pub use self::token::{Guard, token_file};
use crate::{live::Board, readiness::Readiness};

/// Answers operators and their supervisors.
#[derive(Debug, Clone)]
pub struct Admin {
    readiness: Readiness,
    board: Arc<Board>,
    guard: Guard,
}

impl Admin {
    /// Tells what `readiness` and `board` know.
    pub fn new(readiness: Readiness, board: Arc<Board>, guard: Guard) -> Self {
        Self { readiness, board, guard }
    }

    /// Answers one request: to a probe 200 with `ok`, or 503 with the reason.
    pub async fn answer(self, request: Request<Incoming>) -> Response<Body> {
        let path = request.uri().path();
        match path {
            "/healthz" => return probe(self.readiness.unhealthy()),
            "/readyz" => return probe(self.readiness.unready()),
            _ => {}
        }
        let Some(path) = path.strip_prefix("/v1/") else {
            return text(
                StatusCode::NOT_FOUND,
                "there are /healthz, /readyz and /v1/sources".into(),
            );
        };
        match self.guard.check(request.headers(), request.uri()) {
            Ok(()) => self.v1(request.method(), path),
            Err(Barred::Token) => {
                let mut response = fault(
                    StatusCode::UNAUTHORIZED,
                    "unauthenticated",
                    "a token is needed: Authorization: Bearer ..",
                );
                let bearer = HeaderValue::from_static("Bearer");
                response.headers_mut().insert(header::WWW_AUTHENTICATE, bearer);
                response
            }
            Err(Barred::Host) => fault(
                StatusCode::MISDIRECTED_REQUEST,
                "wrong_host",
                "this is not the host's name; admin.hosts lists those that are",
            ),
        }
    }

    fn v1(&self, method: &Method, path: &str) -> Response<Body> {
        if method != Method::GET {
            return fault(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "this takes GET");
        }
        let live = self.board.load();
        let steps: Vec<_> = path.split('/').collect();
        match steps.as_slice() {
            ["sources"] => json_reply(StatusCode::OK, &sources::list(&live)),
            ["sources", name, "refusals"] => {
                match name.parse().ok().and_then(|name| live.source(&name)) {
                    Some(source) => json_reply(StatusCode::OK, &sources::refusals(source)),
                    None => {
                        fault(StatusCode::NOT_FOUND, "no_such_source", "no source has this name")
                    }
                }
            }
            _ => fault(
                StatusCode::NOT_FOUND,
                "not_found",
                "there are /v1/sources and /v1/sources/NAME/refusals",
            ),
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
    reply(status, line + "\n", "text/plain; charset=utf-8")
}

fn json_reply(status: StatusCode, value: &Value) -> Response<Body> {
    reply(status, value.to_string(), "application/json")
}

fn fault(status: StatusCode, code: &str, sentence: &str) -> Response<Body> {
    json_reply(status, &json!({ "error": sentence, "code": code }))
}

fn reply(status: StatusCode, body: String, media_type: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
