//! The front half of the line: receive, verify, admit, append, ack.
//!
//! Each stage consumes the proof that the one before made, so the order can't be changed and no
//! stage left out. Ends at the store; knows nothing of what is done with an event. Beside the line is a
//! door, through which plugins answer requests themselves, or say who sent one.

mod ack;
mod admit;
mod append;
mod decode;
mod desk;
mod door;
mod handshake;
mod receive;
mod refusal;
mod verify;

use std::{net::IpAddr, sync::Arc};

use axum::{
    body::Body,
    http::{Method, Request, Response, StatusCode},
};
use hookweir_event::{Clock, PluginName};
use hookweir_store::Store;
use hyper::body::Incoming;

use self::{
    append::Ledger,
    desk::{Desk, Desks},
    receive::{RequestId, Stopwatch},
    verify::Referees,
};
pub(crate) use self::{door::Door, refusal::Refusal};
use crate::{
    budget::{Budget, Shed},
    chance::Chance,
    client::Client,
    config::Priority,
    keys::Keys,
    limits::SharedRates,
    live::{Board, Plugin, Source},
    metrics::figures::Count,
    pauses::Pauses,
    record::Refused,
    serve::Peer,
    tasks::Spawner,
    trace::{Begun, Context, Fact, Kind, Tracer},
};

/// What the line stands on.
pub struct Intake {
    board: Arc<Board>,
    ledger: Ledger,
    keys: Keys,
    door: Door,
    pauses: Pauses,
    chance: Chance,
    tracer: Tracer,
    desks: Desks,
    strays: Arc<Count>,
}

impl Intake {
    /// The front half over this store, with the sources on this board. `strays` counts requests that lead
    /// nowhere.
    pub(crate) fn new(
        board: Arc<Board>,
        (store, spawner, budget, rates): (Store, Spawner, Arc<Budget>, Arc<SharedRates>),
        (keys, door, pauses): (Keys, Door, Pauses),
        (clock, chance): (Clock, Chance),
        (tracer, strays): (Tracer, Arc<Count>),
    ) -> Self {
        let ledger = Ledger { store, clock, spawner };
        let desks = Desks::new(budget, rates);
        Self { board, ledger, keys, door, pauses, chance, tracer, desks, strays }
    }

    /// Answers one request. This is the only road to the store from outside, but for operators.
    pub async fn answer(&self, request: Request<Incoming>, peer: &Peer) -> Response<Body> {
        let request = request.map(Body::new);
        let watch = Stopwatch::start();
        let id = RequestId::new(self.chance.bytes());
        let desk = self.desks.current(&self.board);
        let client = receive::client(&desk, peer.address().ip(), request.headers());
        let address = client.address;
        let path = request.uri().path();
        let source = desk.live.source_at(path).cloned();
        // Only what leads to a plugin is named: the rest is anybody's text.
        let plugin = door::plugin(&desk.live, path);
        match (&source, plugin) {
            (Some(source), _) => source.figures.requested(),
            (None, Some((_, plugin))) => plugin.figures.plugin.asked(),
            (None, None) => self.strays.one(),
        }
        let mut span = self.begin(source.as_deref(), &request);
        let answered = match receive::admit(&desk, &request, client) {
            Err(refusal) => Err(refusal),
            Ok(()) if door::is_api(path) => match self.pauses.everything() {
                Some(pause) => Err(Refusal::Paused(pause)),
                None => self.door.answer(&desk, request, address, id).await,
            },
            Ok(()) => self.line(&desk, request, (peer, client), (id, &watch), &mut span).await,
        };
        match answered {
            Ok(response) => {
                answers(&mut span, response.status());
                response
            }
            Err(refusal) => {
                answers(&mut span, refusal.status());
                span.note("error.type", || Fact::named(refusal.code()));
                if refusal.counts_against_address() {
                    desk.refused.count(address);
                }
                let whose = (source.as_deref(), plugin);
                let trace_id = span.context().map(|context| context.id());
                self.note(whose, &refusal, (id, trace_id), address, watch.micros());
                refusal.into_response(id)
            }
        }
    }

    /// The span of a request to a source, if its trace is recorded.
    fn begin(&self, source: Option<&Source>, request: &Request<Body>) -> Begun {
        let Some(source) = source else { return Begun::default() };
        let parent = || {
            let named = request.headers().get("traceparent")?.to_str().ok()?;
            Context::parse(named)
        };
        let mut span =
            self.tracer.begin(Kind::Server, parent, || format!("receive {}", source.name));
        span.note("hookweir.source", || Fact::named(&source.name));
        span.note("http.request.method", || Fact::Text(known(request.method()).to_owned()));
        span
    }

    /// Notes a refusal: in the audit log, and in the record of the source or the plugin.
    fn note(
        &self,
        (source, plugin): (Option<&Source>, Option<(&PluginName, &Plugin)>),
        refusal: &Refusal,
        (id, trace_id): (RequestId, Option<String>),
        client: IpAddr,
        elapsed_us: u64,
    ) {
        let (code, (reason, detail)) = (refusal.code(), refusal.reason());
        tracing::info!(
            target: "hookweir::audit",
            request_id = %id, trace_id, %client, source = source.map(|source| source.name.as_str()),
            scheme = source.map(|source| source.config.scheme.name()),
            plugin = plugin.map(|(name, _)| name.as_str()),
            code, reason, elapsed_us, "refused: {detail}"
        );
        let record = source.map(|source| &source.record);
        if let Some(record) = record.or(plugin.map(|(_, plugin)| &plugin.record)) {
            let (at, request_id) = (self.ledger.clock.now(), id.to_string());
            record.refused(Refused { at, request_id, client, code, reason, detail });
        }
    }

    /// The line itself.
    async fn line(
        &self,
        desk: &Desk,
        request: Request<Body>,
        (peer, client): (&Peer, Client),
        (id, watch): (RequestId, &Stopwatch),
        span: &mut Begun,
    ) -> Result<Response<Body>, Refusal> {
        let from = (peer, client, self.ledger.clock.now());
        let head = receive::head(desk, &self.pauses, request, from)?;
        let source = head.source().clone();
        self.shed(desk, &source)?;
        let received = head.read(desk, || self.ledger.clock.now()).await?;
        source.figures.read(received.incoming.body.len());
        if let Some(answer) = handshake::answer(&self.keys, &received, id).await {
            if answer.is_ok() {
                source.record.count_accepted();
                source.figures.shook_hands();
            }
            return answer;
        }
        let echo = ack::Echo::of(&received);
        let referees = Referees { keys: &self.keys, door: &self.door, desk };
        let verifying = span.child("verify");
        let proven = verify::verify(referees, received, id).await?;
        drop(verifying);
        let admitted = admit::admit(desk, proven)?;
        let allowance = admitted.allowance();
        let appending = span.child("append");
        let (chance, context) = (self.chance.bytes(), span.context());
        let receipt = append::append(&self.ledger, desk, admitted, chance, context).await?;
        drop(appending);
        span.note("hookweir.event", || Fact::named(&receipt.id()));
        span.note("hookweir.duplicate", || Fact::Flag(receipt.is_duplicate()));
        tracing::debug!(
            request_id = %id, event_id = %receipt.id(), source = %source.name,
            trace_id = context.map(|context| context.id()),
            duplicate = receipt.is_duplicate(), "accepted"
        );
        let answer = ack::ack(&source, &receipt, echo, allowance, id);
        source.record.count_accepted();
        source.figures.acknowledged(receipt.is_duplicate(), watch.micros());
        Ok(answer)
    }
}

impl Intake {
    /// Turns a request away that would find no room in the end, before its body is read.
    fn shed(&self, desk: &Desk, source: &Source) -> Result<(), Refusal> {
        let (config, priority) = (&desk.live.config, source.config.priority);
        let is_low = self.ledger.store.disk_left() < config.store.disk_free_low();
        if is_low && priority == Priority::Low {
            return Err(Refusal::Overloaded(Shed::DiskLow));
        }
        let places = &desk.budget.places;
        places.look(&source.shares, &config.server, priority).map_err(Refusal::Overloaded)
    }
}

/// A method by its name; any other is a stranger's text, of any length (OpenTelemetry's HTTP conventions).
fn known(method: &Method) -> &str {
    match *method {
        Method::GET | Method::HEAD | Method::POST | Method::PUT | Method::DELETE => method.as_str(),
        Method::PATCH | Method::OPTIONS | Method::CONNECT | Method::TRACE => method.as_str(),
        _ => "_OTHER",
    }
}

/// Notes the answer's status; only what is the gateway's own fault is a failure.
fn answers(span: &mut Begun, status: StatusCode) {
    span.note("http.response.status_code", || Fact::Number(status.as_u16().into()));
    if status.is_server_error() {
        span.fail(String::new);
    }
}
