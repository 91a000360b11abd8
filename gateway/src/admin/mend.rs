//! What operators have done to deliveries: events delivered once more, dead letters retried, skipped or discarded.

use axum::extract::State;
use hookweir_event::{EventId, OrderKey, PluginName};
use hookweir_store::{Blocked, DeliveryId, Mend, ReadError, Reader, Replay};
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use utoipa::{IntoParams, ToSchema};

use super::{
    Desk,
    asked::{Limit, Order, Params, Text},
    fault::{Fault, Refused},
    reply::{Answer, Json, Page, Time},
};
use crate::{jobs::routes, live::Live};

/// How many events or deliveries one request may change.
const CHANGES_MAX: usize = 1000;

/// Ids, as many as one request may change.
#[derive(Debug)]
struct Ids<T>(Vec<T>);

impl<'de, T> Deserialize<'de> for Ids<T>
where
    Text<T>: Deserialize<'de>,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let ids = Vec::<Text<T>>::deserialize(deserializer)?;
        if ids.len() > CHANGES_MAX {
            return Err(D::Error::custom(format_args!("at most {CHANGES_MAX} at once")));
        }
        Ok(Self(ids.into_iter().map(|Text(id)| id).collect()))
    }
}

/// An event's id.
#[derive(ToSchema)]
#[schema(
    format = "uuid",
    pattern = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
)]
#[allow(dead_code, reason = "it describes a text")]
struct EventIdText(String);

/// A delivery's id: its event's, a slash and a number.
#[derive(ToSchema)]
#[schema(pattern = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/[0-9]{1,4}$")]
#[allow(dead_code, reason = "it describes a text")]
struct DeliveryIdText(String);

/// What is replayed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReplayOrder {
    /// The ids of the events. One that is named twice is replayed once, one that is gone not at all.
    #[schema(value_type = Vec<EventIdText>, max_items = 1000)]
    events: Ids<EventId>,
    /// To this plugin alone, whatever it subscribes to; otherwise to those that subscribe now.
    #[schema(value_type = Option<String>, pattern = "^[a-z0-9-]{1,64}$")]
    plugin: Option<Text<PluginName>>,
}

/// What was replayed.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Replayed {
    /// Events that are there still.
    events: usize,
    /// Those of them that no plugin wants now.
    unwanted: usize,
    /// Deliveries that were made.
    deliveries: u64,
}

/// Which dead letters.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MendOrder {
    /// The ids of the deliveries. What is not dead is left as it is.
    #[schema(value_type = Vec<DeliveryIdText>, max_items = 1000)]
    deliveries: Ids<DeliveryId>,
}

/// What became of dead letters.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Mended {
    /// How many were dead, and are not in the way any more.
    deliveries: u64,
}

/// Which order keys.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct BlockedOf {
    /// Of this plugin alone.
    #[param(value_type = Option<String>, pattern = "^[a-z0-9-]{1,64}$")]
    plugin: Option<Text<PluginName>>,
    /// How many at most.
    #[serde(default)]
    #[param(value_type = Option<usize>, minimum = 1, maximum = 1000, default = 1000)]
    limit: Limit<1000>,
}

/// An order key that a dead letter holds up.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct BlockedKey {
    /// The dead letter's delivery.
    by: String,
    /// Whose it is.
    plugin: String,
    /// The key.
    order_key: String,
    /// When the dead letter died.
    since: Time,
    /// How many deliveries wait behind it.
    waiting: u64,
}

/// List the order keys that dead letters hold up.
///
/// Those that have waited longest first.
#[utoipa::path(get, path = "/v1/blocked", operation_id = "dead.blocked", tag = "dead",
    params(BlockedOf),
    responses((status = 200, description = "The keys.", body = Page<BlockedKey>),
              (status = 500, description = "The store can't be read.", body = Refused)))]
pub(super) async fn blocked(
    State(desk): State<Desk>,
    Params(of): Params<BlockedOf>,
) -> Answer<Page<BlockedKey>> {
    let plugin = of.plugin.as_ref().map(|Text(name)| name);
    let blocked = desk.store.reader().blocked(plugin, of.limit.0).await?;
    Ok(Json(Page { items: blocked.into_iter().map(BlockedKey::from).collect(), next: None }))
}

/// Have events delivered once more.
///
/// As they were received, with deliveries of their own.
#[utoipa::path(post, path = "/v1/replay", operation_id = "events.replay", tag = "events",
    request_body = ReplayOrder,
    responses((status = 200, description = "What was replayed.", body = Replayed),
              (status = 404, description = "No plugin has this name.", body = Refused),
              (status = 500, description = "The store can't be read.", body = Refused),
              (status = 503, description = "The store takes nothing now.", body = Refused)))]
pub(super) async fn replay(
    State(desk): State<Desk>,
    Order(order): Order<ReplayOrder>,
) -> Answer<Replayed> {
    let live = desk.board.load_full();
    let to = order.plugin.as_ref().map(|Text(name)| name);
    if to.is_some_and(|name| !live.plugins().contains_key(name)) {
        return Err(Fault::missing("no plugin has this name"));
    }
    let replays = replays(&desk.store.reader(), &live, &order.events.0, to).await?;
    let events = replays.len();
    let unwanted = replays.iter().filter(|replay| replay.routes.is_empty()).count();
    let deliveries = desk.store.replay(replays).await?;
    let plugin = to.map(PluginName::as_str);
    tracing::info!(events, deliveries, plugin, "replayed");
    Ok(Json(Replayed { events, unwanted, deliveries }))
}

/// What is to be done with the events that are there still, of which one at a time is in memory. One may be named
/// twice; it is replayed once.
async fn replays(
    reader: &Reader,
    live: &Live,
    ids: &[EventId],
    to: Option<&PluginName>,
) -> Result<Vec<Replay>, ReadError> {
    let mut replays = Vec::with_capacity(ids.len());
    for (nth, id) in ids.iter().enumerate() {
        if ids[..nth].contains(id) {
            continue;
        }
        match reader.event(*id).await {
            Ok(event) => replays
                .extend(event.map(|event| Replay { event: *id, routes: routes(live, &event, to) })),
            // The others are replayed.
            Err(error @ ReadError::Failed(_)) => {
                tracing::warn!(event_id = %id, %error, "the event can't be read, and is not replayed");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(replays)
}

/// Have dead letters tried again.
///
/// With all the attempts that a new delivery has.
#[utoipa::path(post, path = "/v1/dead/retry", operation_id = "dead.retry", tag = "dead",
    request_body = MendOrder,
    responses((status = 200, description = "How many are due again.", body = Mended),
              (status = 503, description = "The store takes nothing now.", body = Refused)))]
pub(super) async fn retry(
    State(desk): State<Desk>,
    Order(order): Order<MendOrder>,
) -> Answer<Mended> {
    mend(&desk, order, Mend::Retry).await
}

/// Let others go on without dead letters.
///
/// They stay dead, and what waits behind them with their order keys goes on.
#[utoipa::path(post, path = "/v1/dead/skip", operation_id = "dead.skip", tag = "dead",
    request_body = MendOrder,
    responses((status = 200, description = "How many are in nobody's way any more.", body = Mended),
              (status = 503, description = "The store takes nothing now.", body = Refused)))]
pub(super) async fn skip(
    State(desk): State<Desk>,
    Order(order): Order<MendOrder>,
) -> Answer<Mended> {
    mend(&desk, order, Mend::Skip).await
}

/// Put dead letters aside.
///
/// They stay dead, are in nobody's way, and are listed as `discarded`. To have them tried again brings them back.
#[utoipa::path(post, path = "/v1/dead/discard", operation_id = "dead.discard", tag = "dead",
    request_body = MendOrder,
    responses((status = 200, description = "How many were put aside.", body = Mended),
              (status = 503, description = "The store takes nothing now.", body = Refused)))]
pub(super) async fn discard(
    State(desk): State<Desk>,
    Order(order): Order<MendOrder>,
) -> Answer<Mended> {
    mend(&desk, order, Mend::Discard).await
}

async fn mend(desk: &Desk, order: MendOrder, how: Mend) -> Answer<Mended> {
    let deliveries = desk.store.mend(order.deliveries.0, how).await?;
    tracing::info!(mended = deliveries, ?how, "dead letters");
    Ok(Json(Mended { deliveries }))
}

impl From<Blocked> for BlockedKey {
    fn from(blocked: Blocked) -> Self {
        Self {
            by: blocked.by.to_string(),
            plugin: blocked.plugin.to_string(),
            order_key: OrderKey::as_str(&blocked.order_key).to_owned(),
            since: Time(blocked.since),
            waiting: blocked.waiting,
        }
    }
}
