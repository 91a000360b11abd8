//! What operators see of events, and what they do to deliveries.

use std::{borrow::Cow, str::FromStr};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use hookweir_event::{Event, EventId, OrderKey, PluginName, SourceName, Timestamp};
use hookweir_store::{
    Blocked, Cursor, DeliveryId, Filter, Mend, Page, ReadError, Reader, Replay, Route, Shown,
    ShownAttempt, ShownDelivery, Store,
};
use hookweir_verify::claim_of_id;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Fault, time};
use crate::live::Live;

/// How many events a page has if nothing is said.
const LIMIT: usize = 50;
/// How many events or deliveries one request may change.
const CHANGES_MAX: usize = 1000;

/// What a listing asks for.
struct Query {
    filter: Filter,
    /// The values of a dedupe id; the claim is made of them when the rest is known.
    dedupe: Vec<String>,
    from: Option<Cursor>,
    limit: usize,
    /// Nothing but ids.
    ids: bool,
}

impl Query {
    fn parse(text: &str) -> Result<Self, Fault> {
        let mut query = Self {
            filter: Filter::default(),
            dedupe: Vec::new(),
            from: None,
            limit: LIMIT,
            ids: false,
        };
        for (name, value) in form_urlencoded::parse(text.as_bytes()) {
            query.take(&name, &value)?;
        }
        Ok(query)
    }

    fn take(&mut self, name: &str, value: &str) -> Result<(), Fault> {
        let filter = &mut self.filter;
        match name {
            "source" => filter.origin = Some(parsed(name, value)?),
            "type" => filter.event_type = Some(parsed(name, value)?),
            "match" => filter.pattern = Some(parsed(name, value)?),
            "plugin" => filter.plugin = Some(parsed(name, value)?),
            "state" => filter.state = Some(parsed(name, value)?),
            "duplicated" => filter.duplicated = parsed(name, value)?,
            "orderKey" => filter.order_key = Some(OrderKey::new(value)),
            "text" => filter.text = Some(value.to_owned()),
            "since" => filter.since = Some(moment(name, value)?),
            "until" => filter.until = Some(moment(name, value)?),
            "dedupe" => self.dedupe.push(value.to_owned()),
            "cursor" => self.from = Some(parsed(name, value)?),
            "limit" => self.limit = parsed(name, value)?,
            "ids" => self.ids = parsed(name, value)?,
            _ => return Err(Fault::bad(format_args!("there is no parameter `{name}`"))),
        }
        Ok(())
    }

    /// The filters to try one after another: an id's claim has the type in it where the id is not
    /// signed, and which of the two it is the scheme knows.
    fn filters(&self) -> Result<Vec<Filter>, Fault> {
        if self.dedupe.is_empty() {
            return Ok(vec![self.filter.clone()]);
        }
        let origin = self.filter.origin.as_ref().map(ToString::to_string);
        let source: SourceName = origin
            .and_then(|origin| origin.parse().ok())
            .ok_or_else(|| Fault::bad("a dedupe id is looked for in one source: name it"))?;
        let id: Vec<&str> = self.dedupe.iter().map(String::as_str).collect();
        let kinds = [None, self.filter.event_type.as_ref()];
        let kinds = if kinds[1].is_some() { &kinds[..] } else { &kinds[..1] };
        let filter = |kind: &Option<_>| Filter {
            claim: Some(claim_of_id(&source, *kind, &id)),
            ..self.filter.clone()
        };
        Ok(kinds.iter().map(filter).collect())
    }
}

fn parsed<T: FromStr>(name: &str, value: &str) -> Result<T, Fault>
where
    T::Err: std::fmt::Display,
{
    value.parse().map_err(|error| Fault::bad(format_args!("{name}: {error}")))
}

fn moment(name: &str, value: &str) -> Result<Timestamp, Fault> {
    let at: jiff::Timestamp = parsed(name, value)?;
    Ok(Timestamp::from_millis(at.as_millisecond()))
}

/// A page of events.
pub(super) async fn list(store: &Store, query: &str) -> Result<Value, Fault> {
    let query = Query::parse(query)?;
    let (filters, reader) = (query.filters()?, store.reader());
    let (from, limit) = (query.from, query.limit);
    let mut answer = json!({ "items": [], "next": null });
    for filter in &filters {
        answer = match query.ids {
            true => page(reader.search_ids(filter, from, limit).await?, |id| json!(id.to_string())),
            false => page(reader.search(filter, from, limit).await?, summary),
        };
        if answer["items"].as_array().is_some_and(|items| !items.is_empty()) {
            break;
        }
    }
    Ok(answer)
}

fn page<T>(page: Page<T>, show: impl Fn(T) -> Value) -> Value {
    let items: Vec<_> = page.found.into_iter().map(show).collect();
    json!({ "items": items, "next": page.next.map(|next| next.to_string()) })
}

/// One event with all that is known of it.
pub(super) async fn show(store: &Store, id: &str) -> Result<Value, Fault> {
    let id: EventId = parsed("id", id)?;
    let reader = store.reader();
    let missing = || Fault::missing("no event has this id, or it was forgotten");
    let mut answer = summary(reader.show(id).await?.ok_or_else(missing)?);
    match reader.event(id).await {
        Ok(event) => content(&mut answer, &event.ok_or_else(missing)?),
        // It has rotted: the rest is shown all the same.
        Err(error) => answer["unreadable"] = json!(error.to_string()),
    }
    Ok(answer)
}

fn content(answer: &mut Value, event: &Event) {
    let header = |(name, value): &(String, Vec<u8>)| json!([name, String::from_utf8_lossy(value)]);
    answer["method"] = json!(event.method);
    answer["path"] = json!(event.path);
    answer["query"] = json!(event.query);
    answer["headers"] = event.headers.iter().map(header).collect();
    answer["attributes"] = json!(event.attributes);
    match str::from_utf8(&event.body) {
        Ok(text) => answer["body"] = json!(text),
        Err(_) => answer["bodyBase64"] = json!(BASE64_STANDARD.encode(&event.body)),
    }
}

fn summary(shown: Shown) -> Value {
    let event = shown.event;
    json!({
        "id": event.id.to_string(),
        "source": event.origin.to_string(),
        "type": event.event_type.as_str(),
        "receivedAt": time(event.received_at),
        "parent": event.parent.map(|id| id.to_string()),
        "root": event.root.map(|id| id.to_string()),
        "hops": event.hops.0,
        "bytes": event.body_len,
        "duplicates": shown.duplicates,
        "duplicatedAt": shown.duplicated_at.map(time),
        "deliveries": shown.deliveries.into_iter().map(delivery).collect::<Vec<_>>(),
    })
}

fn delivery(delivery: ShownDelivery) -> Value {
    json!({
        "id": delivery.id.to_string(),
        "plugin": delivery.plugin.as_str(),
        "state": delivery.state.as_str(),
        "orderKey": delivery.order_key.as_ref().map(OrderKey::as_str),
        "blocks": delivery.blocks,
        "dueAt": time(delivery.due_at),
        "settledAt": delivery.settled_at.map(time),
        "replayedAt": delivery.replayed_at.map(time),
        "lostLeases": delivery.lost_leases,
        "attempts": delivery.attempts.into_iter().map(attempt).collect::<Vec<_>>(),
    })
}

fn attempt(shown: ShownAttempt) -> Value {
    let attempt = shown.attempt;
    let line =
        |line: hookweir_event::LogLine| json!({ "level": line.level.as_str(), "text": line.text });
    json!({
        "number": shown.number,
        "startedAt": time(shown.started_at),
        "outcome": attempt.outcome.as_str(),
        "message": attempt.message,
        "version": attempt.version.map(|version| version.to_string()),
        "wallMicros": u64::try_from(attempt.wall.as_micros()).unwrap_or(u64::MAX),
        "cpuMicros": u64::try_from(attempt.cpu.as_micros()).unwrap_or(u64::MAX),
        "logs": attempt.logs.into_iter().map(line).collect::<Vec<_>>(),
    })
}

/// The order keys that dead letters hold up.
pub(super) async fn blocked(store: &Store) -> Result<Value, Fault> {
    let blocked = store.reader().blocked(None, 1000).await?;
    let show = |blocked: Blocked| {
        json!({
            "by": blocked.by.to_string(),
            "plugin": blocked.plugin.as_str(),
            "orderKey": blocked.order_key.as_str(),
            "since": time(blocked.since),
            "waiting": blocked.waiting,
        })
    };
    Ok(json!({ "items": blocked.into_iter().map(show).collect::<Vec<_>>() }))
}

/// What to replay.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ReplayOrder {
    events: Vec<String>,
    /// To this plugin alone, whatever it subscribes to; otherwise to those that subscribe now.
    plugin: Option<String>,
}

/// Has events delivered once more.
pub(super) async fn replay(store: &Store, live: &Live, body: &[u8]) -> Result<Value, Fault> {
    let order: ReplayOrder = order(body, |order: &ReplayOrder| order.events.len())?;
    let to: Option<PluginName> =
        order.plugin.as_deref().map(|name| parsed("plugin", name)).transpose()?;
    if to.as_ref().is_some_and(|name| !live.plugins().contains_key(name)) {
        return Err(Fault::missing("no plugin has this name"));
    }
    let ids: Vec<EventId> =
        order.events.iter().map(|id| parsed("events", id)).collect::<Result<_, _>>()?;
    let events = kept(&store.reader(), &ids).await?;
    let replay =
        |event: &Event| Replay { event: event.id, routes: routes(live, event, to.as_ref()) };
    let replays: Vec<_> = events.iter().map(replay).collect();
    let unwanted = replays.iter().filter(|replay| replay.routes.is_empty()).count();
    let deliveries = store.replay(replays).await?;
    tracing::info!(events = events.len(), deliveries, plugin = order.plugin, "replayed");
    Ok(json!({ "events": events.len(), "unwanted": unwanted, "deliveries": deliveries }))
}

/// The events that are there still. One may be named twice; it is replayed once.
async fn kept(reader: &Reader, ids: &[EventId]) -> Result<Vec<Event>, ReadError> {
    let mut events = Vec::with_capacity(ids.len());
    for (nth, id) in ids.iter().enumerate() {
        if !ids[..nth].contains(id) {
            match reader.event(*id).await {
                Ok(event) => events.extend(event),
                // The others are replayed.
                Err(error @ ReadError::Failed(_)) => {
                    tracing::warn!(event_id = %id, %error, "the event can't be read, and is not replayed");
                }
                Err(error) => return Err(error),
            }
        }
    }
    Ok(events)
}

fn routes(live: &Live, event: &Event, to: Option<&PluginName>) -> Vec<Route> {
    match to {
        None => live.route(event),
        Some(name) => {
            let order_by = live.plugins().get(name).and_then(|plugin| plugin.order_by.as_ref());
            let order_key = order_by.and_then(|order_by| order_by.key(event));
            vec![Route { plugin: name.clone(), order_key }]
        }
    }
}

/// Which dead letters.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MendOrder {
    deliveries: Vec<String>,
}

/// Has dead letters retried or skipped.
pub(super) async fn mend(store: &Store, how: Mend, body: &[u8]) -> Result<Value, Fault> {
    let order: MendOrder = order(body, |order: &MendOrder| order.deliveries.len())?;
    let which: Vec<DeliveryId> =
        order.deliveries.iter().map(|id| parsed("deliveries", id)).collect::<Result<_, _>>()?;
    let mended = store.mend(which, how).await?;
    tracing::info!(mended, ?how, "dead letters");
    Ok(json!({ "deliveries": mended }))
}

fn order<'b, T: Deserialize<'b>>(body: &'b [u8], count: impl Fn(&T) -> usize) -> Result<T, Fault> {
    let order: T = serde_json::from_slice(body)
        .map_err(|error| Fault::bad(format_args!("the body: {error}")))?;
    match count(&order) {
        ..=CHANGES_MAX => Ok(order),
        _ => Err(Fault::bad(Cow::from(format!("at most {CHANGES_MAX} at once")))),
    }
}
