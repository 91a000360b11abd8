//! Who answers at the operators' address: probes from the beginning of a start, and all else when the gateway stands.

use std::sync::{Arc, OnceLock};

use axum::{
    body::Body,
    http::{Request, Response},
    response::IntoResponse as _,
};
use hyper::body::Incoming;

use super::{Admin, fault::Fault, reply};
use crate::{
    readiness::Readiness,
    serve::{HEADERS_MAX, Peer, Tls},
};

/// Answers whoever comes. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Reception {
    readiness: Readiness,
    /// How the listener speaks TLS until there is a config in force.
    tls: Option<Tls>,
    admin: Arc<OnceLock<Admin>>,
}

impl Reception {
    /// Answers probes.
    pub fn new(readiness: Readiness, tls: Option<Tls>) -> Self {
        Self { readiness, tls, admin: Arc::default() }
    }

    /// And from now on all else.
    pub fn admit(&self, admin: Admin) {
        // There is one: whoever came first is it.
        let _ = self.admin.set(admin);
    }

    /// How TLS is spoken, if it is.
    pub fn tls(&self) -> Option<Tls> {
        match self.admin.get() {
            Some(admin) => admin.board.load().config.admin.tls.clone(),
            None => self.tls.clone(),
        }
    }

    /// Answers one request: to a probe 200 with `ok`, or 503 with the reason.
    pub async fn answer(self, request: Request<Incoming>, peer: Peer) -> Response<Body> {
        // Over HTTP/2 nobody has counted them yet.
        if request.headers().len() > HEADERS_MAX {
            return Fault::too_many_headers().into_response();
        }
        match request.uri().path() {
            "/healthz" => return reply::probe(self.readiness.unhealthy()),
            "/readyz" => return reply::probe(self.readiness.unready()),
            _ => {}
        }
        match self.admin.get() {
            Some(admin) => admin.clone().answer(request, &peer).await,
            None => Fault::starting(self.readiness.unready()).into_response(),
        }
    }
}
