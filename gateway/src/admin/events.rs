//! What operators see of events.

use axum::extract::State;
use hookweir_event::EventId;
use hookweir_store::ReadError;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    Desk,
    asked::{At, Params, Text},
    fault::{Fault, Refused},
    filter::{Filtered, Paged, page},
    reply::{Answer, Json, Page},
    shown::Event,
};

/// What is listed of them.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// Nothing but ids.
    #[serde(default)]
    #[param(value_type = Option<bool>, default = false)]
    ids: bool,
}

/// An event or, if that is all that was asked for, its id.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum Found {
    /// An event without its content.
    Event(Box<Event>),
    /// Its id.
    Id(String),
}

/// Find events.
///
/// The newest first, each with its deliveries and their attempts. All that is said of them has to hold. A page may
/// have fewer than was asked for, or none, and be followed by others: it is done when it has looked at much.
#[utoipa::path(get, path = "/v1/events", operation_id = "events.list", tag = "events",
    params(Filtered, Paged, Wanted),
    responses((status = 200, description = "A page of events.", body = Page<Found>),
              (status = 500, description = "The store can't be read.", body = Refused)))]
pub(super) async fn list(
    State(desk): State<Desk>,
    Params(filtered): Params<Filtered>,
    Params(paged): Params<Paged>,
    Params(wanted): Params<Wanted>,
) -> Answer<Page<Found>> {
    let (from, limit) = paged.parts();
    let reader = desk.store.reader();
    let mut found = Page { items: Vec::new(), next: None };
    for filter in &filtered.filters()? {
        found = match wanted.ids {
            true => {
                page(reader.search_ids(filter, from, limit).await?, |id| Found::Id(id.to_string()))
            }
            false => page(reader.search(filter, from, limit).await?, |shown| {
                Found::Event(Box::new(Event::from(shown)))
            }),
        };
        if !found.items.is_empty() {
            break;
        }
    }
    Ok(Json(found))
}

/// Show an event.
///
/// With the request as it was received, but for credentials, and all that became of it.
#[utoipa::path(get, path = "/v1/events/{id}", operation_id = "events.show", tag = "events",
    params(("id" = String, Path, format = "uuid", description = "The event.")),
    responses((status = 200, description = "The event.", body = Event),
              (status = 404, description = "No event has this id, or it was forgotten.", body = Refused),
              (status = 500, description = "The store can't be read.", body = Refused)))]
pub(super) async fn show(
    State(desk): State<Desk>,
    At(Text(id)): At<Text<EventId>>,
) -> Answer<Event> {
    let reader = desk.store.reader();
    let missing = || Fault::missing("no event has this id, or it was forgotten");
    let mut event = Event::from(reader.show(id).await?.ok_or_else(missing)?);
    match reader.event(id).await {
        Ok(whole) => event = event.with_content(whole.ok_or_else(missing)?),
        // It has rotted: the rest is shown all the same.
        Err(error @ ReadError::Failed(_)) => event.unreadable = Some(error.to_string()),
        Err(error) => return Err(error.into()),
    }
    Ok(Json(event))
}
