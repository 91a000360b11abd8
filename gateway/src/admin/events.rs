//! What operators see of events.

use axum::extract::State;
use hookweir_event::{EventId, EventType, OrderKey, Origin, Pattern, PluginName, SourceName};
use hookweir_store as store;
use hookweir_store::{Cursor, Filter, Standpoint};
use hookweir_verify::claim_of_id;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    Desk,
    asked::{At, Limit, Moment, Params, Text},
    fault::{Fault, Refused},
    reply::{Answer, Json, Page},
    shown::Event,
};

/// Which events are listed.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Wanted {
    /// Where they come from: a source, `plugin.NAME` or `gateway`.
    #[param(value_type = Option<String>, pattern = "^(plugin\\.)?[a-z0-9-]{1,64}$")]
    source: Option<Text<Origin>>,
    /// What happened.
    #[serde(rename = "type")]
    #[param(rename = "type", value_type = Option<String>)]
    event_type: Option<Text<EventType>>,
    /// The same, by a pattern such as `stripe/payment_intent.*`.
    #[serde(rename = "match")]
    #[param(rename = "match", value_type = Option<String>)]
    pattern: Option<Text<Pattern>>,
    /// Received then or later.
    #[param(value_type = Option<String>, format = DateTime)]
    since: Option<Text<Moment>>,
    /// Received before.
    #[param(value_type = Option<String>, format = DateTime)]
    until: Option<Text<Moment>>,
    /// One of their deliveries is of this plugin,
    #[param(value_type = Option<String>, pattern = "^[a-z0-9-]{1,64}$")]
    plugin: Option<Text<PluginName>>,
    /// has this order key,
    order_key: Option<String>,
    /// and stands so: `due`, `behind`, `leased`, `done`, `dead`; or `blocks`, dead with others waiting behind it; or
    /// `unrouted`, the event has no delivery.
    #[param(value_type = Option<String>, pattern = "^(due|behind|leased|done|dead|blocks|unrouted)$")]
    state: Option<Text<Standpoint>>,
    /// They were sent again within their window.
    #[serde(default)]
    #[param(value_type = Option<bool>, default = false)]
    duplicated: bool,
    /// It is somewhere in the path, the query, a header or the body, as it is written here.
    text: Option<String>,
    /// The values that their dedupe id was made of, in the scheme's order. Needs `source`, and `type` where the
    /// id is not signed.
    #[serde(default)]
    #[param(value_type = Option<Vec<String>>)]
    dedupe: Vec<String>,
    /// The `next` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<Text<Cursor>>,
    /// How many at most.
    #[serde(default)]
    #[param(value_type = Option<usize>, minimum = 1, maximum = 1000, default = 50)]
    limit: Limit<50>,
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

impl Wanted {
    /// The filters to try one after another: an id's claim has the type in it where the id is not
    /// signed, and which of the two it is the scheme knows.
    fn filters(&self) -> Result<Vec<Filter>, Fault> {
        let filter = self.filter();
        if self.dedupe.is_empty() {
            return Ok(vec![filter]);
        }
        let origin = filter.origin.as_ref().map(ToString::to_string);
        let source: SourceName = origin
            .and_then(|origin| origin.parse().ok())
            .ok_or_else(|| Fault::bad("a dedupe id is looked for in one source: name it"))?;
        let id: Vec<&str> = self.dedupe.iter().map(String::as_str).collect();
        let kinds = [None, filter.event_type.as_ref()];
        let kinds = if kinds[1].is_some() { &kinds[..] } else { &kinds[..1] };
        let claimed = |kind: &Option<_>| Filter {
            claim: Some(claim_of_id(&source, *kind, &id)),
            ..filter.clone()
        };
        Ok(kinds.iter().map(claimed).collect())
    }

    fn filter(&self) -> Filter {
        Filter {
            origin: text(&self.source),
            event_type: text(&self.event_type),
            pattern: text(&self.pattern),
            since: text(&self.since).map(|Moment(at)| at),
            until: text(&self.until).map(|Moment(at)| at),
            claim: None,
            plugin: text(&self.plugin),
            order_key: self.order_key.as_deref().map(OrderKey::new),
            state: text(&self.state),
            duplicated: self.duplicated,
            text: self.text.clone(),
        }
    }
}

fn text<T: Clone>(given: &Option<Text<T>>) -> Option<T> {
    given.as_ref().map(|Text(value)| value.clone())
}

/// Find events.
///
/// The newest first, each with its deliveries and their attempts. All that is said of them has to hold.
#[utoipa::path(get, path = "/v1/events", operation_id = "events.list", tag = "events",
    params(Wanted),
    responses((status = 200, description = "A page of events.", body = Page<Found>),
              (status = 500, description = "The store can't be read.", body = Refused)))]
pub(super) async fn list(
    State(desk): State<Desk>,
    Params(wanted): Params<Wanted>,
) -> Answer<Page<Found>> {
    let (from, limit) = (text(&wanted.cursor), wanted.limit.0);
    let reader = desk.store.reader();
    let mut page = Page { items: Vec::new(), next: None };
    for filter in &wanted.filters()? {
        page = match wanted.ids {
            true => {
                of(reader.search_ids(filter, from, limit).await?, |id| Found::Id(id.to_string()))
            }
            false => of(reader.search(filter, from, limit).await?, |shown| {
                Found::Event(Box::new(Event::from(shown)))
            }),
        };
        if !page.items.is_empty() {
            break;
        }
    }
    Ok(Json(page))
}

fn of<T, U>(page: store::Page<T>, show: impl Fn(T) -> U) -> Page<U> {
    let items = page.found.into_iter().map(show).collect();
    Page { items, next: page.next.map(|next| next.to_string()) }
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
        Err(error) => event.unreadable = Some(error.to_string()),
    }
    Ok(Json(event))
}
