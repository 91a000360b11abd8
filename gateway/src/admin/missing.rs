//! Reconciliation: which of a provider's ids were never seen here, by the claims that are kept.

use axum::{extract::State, http::StatusCode};
use hookweir_event::{EventType, SourceName};
use hookweir_verify::{IdClaim, claim_of_id};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Desk,
    asked::{At, Moment, Order, Text},
    fault::{Fault, Refused},
    reply::{Answer, Json, Time},
};

/// Ids of one request.
const IDS_MAX: usize = 5000;

/// What a provider says that it sent.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Sent {
    /// Its ids: 5000 at most, those in `items` included.
    #[serde(default)]
    ids: Vec<String>,
    /// The same with more to say of each.
    #[serde(default)]
    items: Vec<SentItem>,
    /// The type of all that do not say theirs. Needed where the source does not sign its ids.
    #[serde(rename = "type")]
    #[schema(value_type = Option<String>)]
    event_type: Option<Text<EventType>>,
}

/// One that was sent.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SentItem {
    /// Its id.
    id: String,
    /// What else its dedupe id is made of, where the scheme makes it of several values, in that order.
    #[serde(default)]
    rest: Vec<String>,
    /// Its type.
    #[serde(rename = "type")]
    #[schema(value_type = Option<String>)]
    event_type: Option<Text<EventType>>,
    /// When it was sent. What is older than is known here is not called missing.
    #[schema(value_type = Option<String>, format = DateTime)]
    at: Option<Text<Moment>>,
}

/// What was and what was not seen.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Reconciled {
    /// How many were seen.
    seen: usize,
    /// Ids that were never seen.
    missing: Vec<String>,
    /// Ids that were not found, and are older than is known: they may have been seen and forgotten.
    unknown: Vec<String>,
    /// Whatever came then or later is known, by the dedupe windows that the source has had. An id of before that
    /// does not say when it was sent may be among the missing all the same.
    known_since: Time,
}

/// Say which events never came.
///
/// Of a provider's list of ids, those whose claims nobody holds here. Nothing is changed.
#[utoipa::path(post, path = "/v1/sources/{name}/missing", operation_id = "sources.missing", tag = "sources",
    params(("name" = String, Path, pattern = "^[a-z0-9-]{1,64}$", description = "The source.")), request_body = Sent,
    responses((status = 200, description = "What was and what was not seen.", body = Reconciled),
              (status = 404, description = "No source has this name.", body = Refused),
              (status = 409, description = "The source's requests have no ids.", body = Refused),
              (status = 500, description = "The store can't be read.", body = Refused)))]
pub(super) async fn missing(
    State(desk): State<Desk>,
    At(Text(name)): At<Text<SourceName>>,
    Order(sent): Order<Sent>,
) -> Answer<Reconciled> {
    let live = desk.board.load_full();
    let source = live.source(&name).ok_or_else(|| Fault::missing("no source has this name"))?;
    if sent.ids.len() + sent.items.len() > IDS_MAX {
        return Err(Fault::bad(format_args!("at most {IDS_MAX} ids at once")));
    }
    let bare = |id| SentItem { id, rest: Vec::new(), event_type: None, at: None };
    let items: Vec<_> = sent.ids.into_iter().map(bare).chain(sent.items).collect();
    let usual = sent.event_type.as_ref().map(|Text(kind)| kind);
    let kinds = source.config.scheme.id_claim();
    let mut claims = Vec::with_capacity(2 * items.len());
    for item in &items {
        let kind = item.event_type.as_ref().map(|Text(kind)| kind).or(usual);
        let id: Vec<_> = std::iter::once(&item.id).chain(&item.rest).map(String::as_str).collect();
        // One that is asked twice is no harm, and so each has two.
        claims.extend(kinds_of(kinds, kind)?.map(|kind| claim_of_id(&name, kind, &id)));
    }
    let claimed = desk.store.reader().apart().claimed(&claims).await?;
    let known_since = desk.windows.known_since(&name);
    let (mut seen, mut missing, mut unknown) = (0, Vec::new(), Vec::new());
    for (item, claimed) in items.into_iter().zip(claimed.chunks(2)) {
        let older = item.at.is_some_and(|Text(Moment(at))| at < known_since);
        match (claimed.contains(&true), older) {
            (true, _) => seen += 1,
            (false, false) => missing.push(item.id),
            (false, true) => unknown.push(item.id),
        }
    }
    Ok(Json(Reconciled { seen, missing, unknown, known_since: Time(known_since) }))
}

/// With which types an id may have been claimed: two, or one twice.
fn kinds_of(claim: IdClaim, kind: Option<&EventType>) -> Result<[Option<&EventType>; 2], Fault> {
    match (claim, kind) {
        (IdClaim::Alone, _) => Ok([None, None]),
        (IdClaim::WithType | IdClaim::Either, None) => Err(Fault::bad(
            "type: this source does not sign its ids, and gives one to several types; say which",
        )),
        (IdClaim::WithType, kind) => Ok([kind, kind]),
        (IdClaim::Either, kind) => Ok([None, kind]),
        (IdClaim::NoId, _) => Err(Fault::new(
            StatusCode::CONFLICT,
            "not_possible",
            "this source's requests are told apart by their content, or not at all: they have no ids",
        )),
    }
}
