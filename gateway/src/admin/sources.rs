//! What operators see of sources.

use std::{collections::BTreeMap, net::IpAddr};

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Desk,
    asked::{At, Params},
    fault::{Fault, Refused},
    list::Listed,
    pauses::Paused,
    reply::{Answer, Json, Page, Time},
};
use crate::{live, record};

/// A source: where a provider sends its webhooks.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Source {
    /// Its name in the config.
    name: String,
    /// Where senders post, on the public listener.
    path: String,
    /// How a sender proves itself: a preset's name, `declared`, `plugin:NAME` or `insecure`.
    scheme: String,
    /// Whether it takes anything from anyone.
    insecure: bool,
    /// How many secrets it has.
    secrets: usize,
    /// Which secrets proved requests since the start, those that did.
    verified: Vec<Proofs>,
    /// How many requests were refused since the start, by the reason's word.
    refused: BTreeMap<&'static str, u64>,
    /// If an operator has paused it: its requests are refused.
    paused: Option<Paused>,
    /// If an operator holds its deliveries: its requests are taken, and what comes of them waits.
    held: Option<Paused>,
}

/// What one secret proved.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Proofs {
    /// The secret's place in the config, counted from 0.
    secret: usize,
    /// How many requests.
    count: u64,
    /// When the last of them came.
    last: Time,
}

/// A request that was refused.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RefusedRequest {
    /// When.
    at: Time,
    /// What the sender was given as `X-Request-Id`.
    request_id: String,
    /// Who sent it.
    #[schema(value_type = String)]
    client: IpAddr,
    /// The word in the reply.
    code: &'static str,
    /// Why, as one word.
    reason: &'static str,
    /// Why, in a sentence, which the sender was not told.
    detail: String,
}

/// List the sources.
///
/// In the order of their names.
#[utoipa::path(get, path = "/v1/sources", operation_id = "sources.list", tag = "sources",
    params(Listed),
    responses((status = 200, description = "The sources.", body = Page<Source>)))]
pub(super) async fn list(
    State(desk): State<Desk>,
    Params(asked): Params<Listed>,
) -> Answer<Page<Source>> {
    let live = desk.board.load();
    let mut sources: Vec<_> = live.sources().collect();
    sources.sort_by_key(|source| &source.name);
    let named = sources.iter().map(|source| (source.name.as_str(), source));
    Ok(Json(asked.page(named, |source| {
        let paused = desk.pauses.source(&source.name).map(Paused::from);
        let held = desk.pauses.held(&source.name).map(Paused::from);
        Source { paused, held, ..Source::from(&***source) }
    })))
}

/// Show what a source refused.
///
/// The last requests, the newest first.
#[utoipa::path(get, path = "/v1/sources/{name}/refusals", operation_id = "sources.refusals", tag = "sources",
    params(("name" = String, Path, description = "The source.")),
    responses((status = 200, description = "What it refused.", body = Page<RefusedRequest>),
              (status = 404, description = "No source has this name.", body = Refused)))]
pub(super) async fn refusals(
    State(desk): State<Desk>,
    At(name): At<String>,
) -> Answer<Page<RefusedRequest>> {
    let live = desk.board.load();
    let source = name.parse().ok().and_then(|name| live.source(&name));
    let source = source.ok_or_else(|| Fault::missing("no source has this name"))?;
    Ok(Json(refused(&source.record)))
}

/// The last refusals of a source or of a plugin's api, the newest first. Few are kept, so that one page has all.
pub(super) fn refused(record: &record::Record) -> Page<RefusedRequest> {
    let items = record.refusals().into_iter().map(RefusedRequest::from).collect();
    Page { items, next: None }
}

impl From<&live::Source> for Source {
    fn from(source: &live::Source) -> Self {
        let config = &source.config;
        let proofs = source.record.proofs().into_iter().map(|proofs| Proofs {
            secret: proofs.secret,
            count: proofs.count,
            last: Time(proofs.last),
        });
        Self {
            name: source.name.to_string(),
            path: config.path.clone(),
            scheme: config.scheme.name().to_owned(),
            insecure: config.scheme.is_insecure(),
            secrets: source.secrets().len(),
            verified: proofs.collect(),
            refused: source.record.refused_by_reason(),
            paused: None,
            held: None,
        }
    }
}

impl From<record::Refused> for RefusedRequest {
    fn from(refused: record::Refused) -> Self {
        let record::Refused { at, request_id, client, code, reason, detail } = refused;
        Self { at: Time(at), request_id, client, code, reason, detail }
    }
}
