//! The operators' listener: `/healthz` and `/readyz`, open to whoever reaches it, and `/metrics` and the
//! admin API below `/v1/`, for who has a token.
//!
//! A route is a handler that says what it takes and answers, and a line in `routes` that says who
//! may call it:
//!
//! ```text
//! /// List the colours.
//! ///
//! /// In the order of their names.
//! #[utoipa::path(get, path = "/v1/colours/{name}", operation_id = "colours.list", tag = "gateway",
//!     params(("name" = String, Path, description = "Whose."), Listed),     // a struct with `IntoParams`
//!     responses((status = 200, description = "The colours.", body = Page<Colour>),   // .. with `ToSchema`
//!               (status = 404, description = "Nothing has this name.", body = Refused)))]
//! async fn list(
//!     State(desk): State<Desk>,               // what handlers work with
//!     At(name): At<String>,                   // the names in the path
//!     Params(asked): Params<Listed>,          // the parameters in the query
//!     Order(order): Order<ColourOrder>,       // of a change: the body
//! ) -> Answer<Page<Colour>> { .. }            // `Json(..)`, or a `Fault`
//!
//! .add(Scope::Read, routes!(colours::list))
//! ```
//!
//! The description of what all routes have in common is added there: the scope, and 400, 401, 403, 413, 421, 429
//! and, of changes, 503. A parameter that is not described is refused. Whatever is no GET is a change, and in
//! the audit log before it is begun, but for what `Scope::Read` may ask with a body; a field of its body that
//! must not be there is `#[schema(write_only)]`, and one that is not described is not there either. Schemas need no list of their own, and no two may have one name. A test has a table of all operations, to which a new one is added.

mod alerts;
mod apis;
mod asked;
mod audit;
mod deliveries;
mod document;
mod events;
mod export;
mod fault;
mod filter;
mod gateway;
mod jobs;
mod list;
mod mend;
mod missing;
mod pauses;
mod plugins;
mod queues;
mod reception;
mod reply;
mod requests;
mod routes;
mod shown;
mod sources;
mod state;
mod tail;
mod token;

use std::{fmt, net::IpAddr, sync::Arc};

use axum::{
    Extension, Router,
    body::Body,
    http::{Method, Request, Response, StatusCode},
    response::IntoResponse as _,
};
use hookweir_event::{Clock, Timestamp};
use hookweir_store::Store;
use hyper::body::Incoming;
use tower_service::Service as _;
use utoipa_axum::routes;

pub(crate) use self::token::new_token;
pub use self::{
    audit::Audit,
    reception::Reception,
    token::{Guard, token_file},
};
use self::{document::Document, fault::Fault, routes::Routes};
use crate::{
    config::Scope,
    dispatch::Monitor,
    health::Health,
    jobs::Jobs,
    live::Board,
    metrics::{MEDIA_TYPE, Metrics},
    pauses::Pauses,
    readiness::Readiness,
    reload::Wishes,
    serve::Peer,
    well_formed,
    windows::Windows,
};

/// Answers operators, and whoever reads metrics.
#[derive(Clone)]
pub struct Admin {
    board: Arc<Board>,
    guard: Guard,
    clock: Clock,
    router: Router,
    /// None: they are switched off.
    metrics: Option<Metrics>,
}

/// What handlers work with.
#[derive(Debug, Clone)]
pub struct Desk {
    /// When this process started.
    pub started_at: Timestamp,
    /// What is in force.
    pub board: Arc<Board>,
    /// Where events are.
    pub store: Store,
    /// What became of plugins' attempts.
    pub health: Arc<Health>,
    /// How their deliveries go.
    pub monitor: Monitor,
    /// Does what is asked of their versions.
    pub wishes: Wishes,
    /// Bulk work.
    pub jobs: Jobs,
    /// What is held up.
    pub pauses: Pauses,
    /// For how long dedupe keys were kept.
    pub windows: Windows,
    /// The time.
    pub clock: Clock,
    /// Where changes are written down.
    pub audit: Audit,
}

/// Who asks: whoever has a token that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Caller {
    /// The token's name.
    who: String,
    /// What it is for.
    scope: Scope,
    /// Where the request comes from.
    client: IpAddr,
}

/// All routes, each with the scope that it wants.
fn routes(audit: Audit) -> Routes {
    Routes::new(audit)
        .add(Scope::Read, routes!(document::describe))
        .add(Scope::Read, routes!(gateway::status))
        .add(Scope::Read, routes!(gateway::config))
        .add(Scope::Admin, routes!(gateway::reload))
        .add(Scope::Read, routes!(audit::list))
        .add(Scope::Read, routes!(sources::list))
        .add(Scope::Read, routes!(sources::refusals))
        .add(Scope::Read, routes!(apis::list))
        .add(Scope::Read, routes!(apis::refusals))
        .add(Scope::Read, routes!(plugins::list))
        .add(Scope::Read, routes!(plugins::show))
        .add(Scope::Operate, routes!(plugins::rollback))
        .add(Scope::Operate, routes!(plugins::pin))
        .add(Scope::Admin, routes!(plugins::approve))
        .add(Scope::Read, routes!(events::list))
        .add(Scope::Read, routes!(events::show))
        .add(Scope::Read, routes!(mend::blocked))
        .add(Scope::Operate, routes!(mend::replay))
        .add(Scope::Operate, routes!(mend::retry))
        .add(Scope::Operate, routes!(mend::skip))
        .add(Scope::Operate, routes!(mend::discard))
        .add(Scope::Read, routes!(deliveries::list))
        .add(Scope::Read, routes!(deliveries::show))
        .add(Scope::Read, routes!(requests::show))
        .add(Scope::Read, routes!(jobs::list))
        .add(Scope::Read, routes!(jobs::show))
        .add(Scope::Operate, routes!(jobs::begin))
        .add(Scope::Operate, routes!(jobs::cancel))
        .add(Scope::Read, routes!(alerts::list))
        .add(Scope::Read, routes!(queues::list))
        .add(Scope::Read, routes!(pauses::list))
        .add(Scope::Operate, routes!(pauses::pause_everything))
        .add(Scope::Operate, routes!(pauses::resume_everything))
        .add(Scope::Operate, routes!(pauses::pause_source))
        .add(Scope::Operate, routes!(pauses::resume_source))
        .add(Scope::Operate, routes!(pauses::pause_plugin))
        .add(Scope::Operate, routes!(pauses::resume_plugin))
        .add(Scope::Read, routes!(export::export))
        .add(Scope::Read, routes!(tail::tail))
        .add(Scope::Read, routes!(missing::missing))
        .add(Scope::Read, routes!(state::list))
        .add(Scope::Read, routes!(state::get))
        .add(Scope::Admin, routes!(state::set))
        .add(Scope::Admin, routes!(state::delete))
}

impl Admin {
    /// Tells operators what `desk` knows, and has done what they ask, if `guard` lets them in. Without
    /// `metrics` there is no page of them.
    pub fn new(readiness: &Readiness, guard: Guard, desk: Desk, metrics: Option<Metrics>) -> Self {
        let (board, clock) = (desk.board.clone(), desk.clock.clone());
        let (router, document) = routes(desk.audit.clone()).split();
        let router = router
            .layer(Extension(Document(Arc::new(document))))
            .layer(Extension(readiness.clone()))
            .fallback(async || Fault::no_place())
            .method_not_allowed_fallback(async || Fault::method())
            .with_state(desk);
        Self { board, guard, clock, router, metrics }
    }

    /// Answers one request.
    async fn answer(mut self, request: Request<Incoming>, peer: &Peer) -> Response<Body> {
        let (version, method, uri) = (request.version(), request.method(), request.uri());
        if let Err(what) = well_formed::check(version, method, uri, request.headers()) {
            return reply::last(Fault::bad(what).into_response());
        }
        let live = self.board.load_full();
        let head = (request.headers(), request.uri());
        let shown = (peer.address().ip(), peer.certificate());
        let caller = match self.guard.check(&live.config, head, shown, self.clock.now()) {
            Ok(caller) => caller,
            Err(fault) => return fault.into_response(),
        };
        if request.uri().path() == "/metrics" {
            return self.page(request.method()).await;
        }
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(caller);
        let Ok(response) = self.router.call(request).await;
        response
    }

    /// The page of metrics, for who has a token of any scope.
    async fn page(&self, method: &Method) -> Response<Body> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            return Fault::method().into_response();
        }
        match &self.metrics {
            Some(metrics) => reply::of(StatusCode::OK, metrics.text().await, MEDIA_TYPE),
            None => Fault::missing("admin.metrics is false").into_response(),
        }
    }
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Admin")
    }
}
