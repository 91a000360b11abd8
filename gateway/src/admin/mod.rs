//! The operators' listener: `/healthz` and `/readyz`, open to whoever reaches it, `/metrics` and `/v1/…`
//! for who has the token.

mod alerts;
mod apis;
mod events;
mod plugins;
mod sources;
mod token;

use std::{fmt, sync::Arc};

use axum::{
    body::Body,
    http::{HeaderValue, Method, Request, Response, StatusCode, header},
};
use bytes::Bytes;
use hookweir_event::Timestamp;
use hookweir_store::{Mend, ReadError, Store, StoreError};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use serde_json::{Value, json};

use self::token::Barred;
pub use self::{
    plugins::Plugins,
    token::{Guard, token_file},
};
use crate::{
    live::Board,
    metrics::{MEDIA_TYPE, Metrics},
    readiness::Readiness,
};

/// Answers operators and their supervisors.
#[derive(Debug, Clone)]
pub struct Admin {
    readiness: Readiness,
    board: Arc<Board>,
    store: Store,
    guard: Guard,
    plugins: Plugins,
    metrics: Option<Metrics>,
}

impl Admin {
    /// Tells what `readiness`, `board`, `store` and `plugins` know, and has done to the store and to plugins'
    /// versions what it is asked to. Without metrics there is no page of them.
    pub fn new(
        readiness: Readiness,
        board: Arc<Board>,
        store: Store,
        guard: Guard,
        plugins: Plugins,
        metrics: Option<Metrics>,
    ) -> Self {
        Self { readiness, board, store, guard, plugins, metrics }
    }

    /// Answers one request: to a probe 200 with `ok`, or 503 with the reason.
    pub async fn answer(self, request: Request<Incoming>) -> Response<Body> {
        let path = request.uri().path();
        match path {
            "/healthz" => return probe(self.readiness.unhealthy()),
            "/readyz" => return probe(self.readiness.unready()),
            _ => {}
        }
        let is_metrics = path == "/metrics";
        if !is_metrics && !path.starts_with("/v1/") {
            let places = "there are /healthz, /readyz, /metrics and /v1/";
            return text(StatusCode::NOT_FOUND, places.into());
        }
        match self.guard.check(request.headers(), request.uri()) {
            Ok(()) if is_metrics => self.metrics(request.method()).await,
            Ok(()) => self.v1(request).await,
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

    async fn metrics(&self, method: &Method) -> Response<Body> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            return fault(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "GET /metrics");
        }
        match &self.metrics {
            Some(metrics) => reply(StatusCode::OK, metrics.text().await, MEDIA_TYPE),
            None => fault(StatusCode::NOT_FOUND, "not_found", "admin.metrics is false"),
        }
    }

    async fn v1(&self, request: Request<Incoming>) -> Response<Body> {
        let (head, body) = request.into_parts();
        let path = head.uri.path().strip_prefix("/v1/").unwrap_or_default();
        let steps: Vec<_> = path.split('/').collect();
        let query = head.uri.query().unwrap_or_default();
        let answered = match head.method {
            Method::GET => self.show(&steps, query).await,
            Method::POST => match collect(body).await {
                Ok(body) => self.change(&steps, &body).await,
                Err(fault) => Err(fault),
            },
            _ => Err(Fault::method()),
        };
        match answered {
            Ok(answer) => json_reply(StatusCode::OK, &answer),
            Err(Fault { status, code, sentence }) => fault(status, code, &sentence),
        }
    }

    async fn show(&self, steps: &[&str], query: &str) -> Result<Value, Fault> {
        let live = self.board.load_full();
        match steps {
            ["sources"] => Ok(sources::list(&live)),
            ["sources", name, "refusals"] => {
                let source = name.parse().ok().and_then(|name| live.source(&name));
                let source = source.ok_or_else(|| Fault::missing("no source has this name"))?;
                Ok(sources::refusals(&source.record))
            }
            ["apis"] => Ok(apis::list(&live)),
            ["apis", name, "refusals"] => {
                let plugin = name.parse().ok().and_then(|name| live.plugins().get(&name));
                let plugin = plugin.ok_or_else(|| Fault::missing("no plugin has this name"))?;
                Ok(sources::refusals(&plugin.record))
            }
            ["plugins"] => Ok(self.plugins.list()),
            ["plugins", name] => self.plugins.one(name),
            ["events"] => events::list(&self.store, query).await,
            ["events", id] => events::show(&self.store, id).await,
            ["alerts"] => alerts::list(&self.store).await,
            ["blocked"] => events::blocked(&self.store).await,
            ["replay"] | ["dead", _] | ["plugins", _, "rollback" | "pin" | "approve"] => {
                Err(Fault::method())
            }
            _ => Err(Fault::missing(PLACES)),
        }
    }

    async fn change(&self, steps: &[&str], body: &[u8]) -> Result<Value, Fault> {
        match steps {
            ["replay"] => events::replay(&self.store, &self.board.load_full(), body).await,
            ["dead", "retry"] => events::mend(&self.store, Mend::Retry, body).await,
            ["dead", "skip"] => events::mend(&self.store, Mend::Skip, body).await,
            ["plugins", name, verb @ ("rollback" | "pin" | "approve")] => {
                self.plugins.order(name, verb, body).await
            }
            ["sources" | "apis" | "alerts" | "events" | "blocked" | "plugins", ..] => {
                Err(Fault::method())
            }
            _ => Err(Fault::missing(PLACES)),
        }
    }
}

/// What there is.
const PLACES: &str = "there are GET sources, sources/NAME/refusals, apis, apis/NAME/refusals, plugins, plugins/NAME, alerts, events, \
                      events/ID and blocked, and POST plugins/NAME/rollback, /pin and /approve, replay, dead/retry and dead/skip";
/// The largest body that is taken: a thousand ids and more.
const BODY_MAX: usize = 256 << 10;

async fn collect(body: Incoming) -> Result<Bytes, Fault> {
    match Limited::new(body, BODY_MAX).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) => Err(Fault::bad(format_args!("the body: {error}"))),
    }
}

/// Why a request is not answered with what it asks for.
struct Fault {
    status: StatusCode,
    code: &'static str,
    sentence: String,
}

impl Fault {
    fn new(status: StatusCode, code: &'static str, sentence: impl fmt::Display) -> Self {
        Self { status, code, sentence: sentence.to_string() }
    }

    fn bad(sentence: impl fmt::Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed", sentence)
    }

    fn missing(sentence: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", sentence)
    }

    fn method() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", PLACES)
    }
}

impl From<ReadError> for Fault {
    fn from(error: ReadError) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "store", error)
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "store", error)
    }
}

/// RFC 3339, in UTC.
fn time(at: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(at.as_millis())
        .map_or_else(|_| String::new(), |t| t.to_string())
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
