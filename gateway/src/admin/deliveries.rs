//! What operators see of deliveries, one by one.

use axum::extract::State;
use hookweir_event::EventId;
use hookweir_store::{Listed as Found, Summary};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Desk,
    asked::{At, Params, Text},
    fault::{Fault, Refused},
    filter::{Filtered, Paged, page},
    reply::{Answer, Json, Page, Time},
    shown::Delivery,
};

/// A delivery and the event that it is of.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DeliveryOf {
    /// The event.
    event: EventOf,
    /// One of its deliveries, with its attempts.
    delivery: Delivery,
}

/// The event of a delivery.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct EventOf {
    /// Its id.
    id: String,
    /// Where it comes from.
    source: String,
    /// What happened.
    #[serde(rename = "type")]
    event_type: String,
    /// When it was received or made.
    received_at: Time,
}

impl From<Summary> for EventOf {
    fn from(event: Summary) -> Self {
        Self {
            id: event.id.to_string(),
            source: event.origin.to_string(),
            event_type: event.event_type.to_string(),
            received_at: Time(event.received_at),
        }
    }
}

impl From<Found> for DeliveryOf {
    fn from(found: Found) -> Self {
        Self { event: found.event.into(), delivery: found.delivery.into() }
    }
}

/// Find deliveries.
///
/// Those that the filter means, of events that it means, the newest event first. All those of one event are on
/// one page, which may have some more than was asked for; or fewer, if they logged much.
#[utoipa::path(get, path = "/v1/deliveries", operation_id = "deliveries.list", tag = "events",
    params(Filtered, Paged),
    responses((status = 200, description = "A page of deliveries.", body = Page<DeliveryOf>),
              (status = 500, description = "The store can't be read.", body = Refused)))]
pub(super) async fn list(
    State(desk): State<Desk>,
    Params(filtered): Params<Filtered>,
    Params(paged): Params<Paged>,
) -> Answer<Page<DeliveryOf>> {
    let (from, limit) = paged.parts();
    let (filter, reader) = (filtered.without_dedupe()?, desk.store.reader());
    Ok(Json(page(reader.deliveries(&filter, from, limit).await?, DeliveryOf::from)))
}

/// Show a delivery.
///
/// With its attempts and what they logged.
#[utoipa::path(get, path = "/v1/deliveries/{event}/{number}", operation_id = "deliveries.show", tag = "events",
    params(("event" = String, Path, format = "uuid", description = "The event."),
           ("number" = u16, Path, minimum = 0, maximum = 1022, description = "Which of its deliveries, counted from 0.")),
    responses((status = 200, description = "The delivery.", body = DeliveryOf),
              (status = 404, description = "There is no such delivery, or it was forgotten.", body = Refused),
              (status = 500, description = "The store can't be read.", body = Refused)))]
pub(super) async fn show(
    State(desk): State<Desk>,
    At((Text(event), number)): At<(Text<EventId>, u16)>,
) -> Answer<DeliveryOf> {
    let shown = desk.store.reader().show(event).await?;
    let found = shown.and_then(|shown| {
        let delivery = shown.deliveries.into_iter().find(|d| d.id.ordinal == number)?;
        Some(DeliveryOf { event: shown.event.into(), delivery: delivery.into() })
    });
    let missing = || Fault::missing("there is no such delivery, or it was forgotten");
    Ok(Json(found.ok_or_else(missing)?))
}
