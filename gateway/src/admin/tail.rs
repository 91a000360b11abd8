//! What is new: for who follows events as they come.

use axum::extract::State;
use hookweir_store::Cursor;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    Desk,
    asked::{Limit, Params, Text},
    fault::{Fault, Refused},
    filter::{Filtered, text},
    reply::{Answer, Json},
    shown::Event,
};

/// Since when.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Since {
    /// The `next` of the answer before. Without it there is nothing but a `next` to begin with.
    #[param(value_type = Option<String>)]
    cursor: Option<Text<Cursor>>,
    /// How many at most.
    #[serde(default)]
    #[param(value_type = Option<usize>, minimum = 1, maximum = 1000, default = 100)]
    limit: Limit<100>,
}

/// What is new.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct News {
    /// Events in the order in which they came, as they stand now.
    items: Vec<Event>,
    /// The `cursor` that goes on after these.
    next: String,
    /// Whether there is more already.
    more: bool,
}

/// Follow events.
///
/// Those that came since the cursor was answered, the oldest first. `dedupe` and `duplicated` are not for this.
#[utoipa::path(get, path = "/v1/tail", operation_id = "events.tail", tag = "events",
    params(Filtered, Since),
    responses((status = 200, description = "What is new.", body = News),
              (status = 500, description = "The store can't be read.", body = Refused)))]
pub(super) async fn tail(
    State(desk): State<Desk>,
    Params(filtered): Params<Filtered>,
    Params(since): Params<Since>,
) -> Answer<News> {
    let filter = filtered.without_dedupe()?;
    if filter.duplicated {
        return Err(Fault::bad("duplicated: what is new was not sent again yet"));
    }
    let news = desk.store.reader().news(&filter, text(&since.cursor), since.limit.0).await?;
    Ok(Json(News {
        items: news.found.into_iter().map(Event::from).collect(),
        next: news.next.to_string(),
        more: news.more,
    }))
}
