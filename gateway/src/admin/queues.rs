//! What waits for each plugin.

use std::collections::BTreeMap;

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Desk,
    asked::Params,
    fault::Refused,
    list::Listed,
    pauses::Paused,
    reply::{Answer, Json, Page, Time},
};

/// What waits for a plugin.
#[derive(Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Queue {
    /// Whose. The config may not have it any more.
    plugin: String,
    /// Deliveries that are due.
    due: u64,
    /// Deliveries whose time has not come: retries.
    later: u64,
    /// Deliveries that wait for earlier ones with their order key.
    behind: u64,
    /// Deliveries that wait until their source is not held any more.
    held: u64,
    /// Deliveries that are being attempted.
    leased: u64,
    /// Dead letters that nobody put aside.
    dead: u64,
    /// Order keys that a dead letter holds up; `/v1/blocked` has how many wait behind each.
    blocked_keys: u64,
    /// Since when the one has been due that has been longest.
    oldest_due_at: Option<Time>,
    /// How long that is, in seconds.
    oldest_due_seconds: Option<u64>,
    /// When the next one is due whose time has not come.
    next_due_at: Option<Time>,
    /// If an operator holds it up.
    paused: Option<Paused>,
}

/// List what waits.
///
/// For each plugin that there is, or that anything was ever routed to, in the order of their names.
#[utoipa::path(get, path = "/v1/queues", operation_id = "queues.list", tag = "plugins",
    params(Listed),
    responses((status = 200, description = "The queues.", body = Page<Queue>),
              (status = 500, description = "The store can't be read.", body = Refused)))]
pub(super) async fn list(
    State(desk): State<Desk>,
    Params(asked): Params<Listed>,
) -> Answer<Page<Queue>> {
    let now = desk.clock.now();
    let mut queues: BTreeMap<_, _> =
        desk.board.load().plugins().keys().map(|name| (name.clone(), None)).collect();
    for queue in desk.store.reader().queues(now).await? {
        queues.insert(queue.plugin.clone(), Some(queue));
    }
    let named = queues.iter().map(|(name, queue)| (name.as_str(), (name, queue)));
    Ok(Json(asked.page(named, |(name, queue)| {
        let plugin = name.to_string();
        let paused = desk.pauses.plugin(name).map(Paused::from);
        let Some(queue) = queue else { return Queue { plugin, paused, ..Queue::default() } };
        Queue {
            plugin,
            due: queue.due,
            later: queue.later,
            behind: queue.behind,
            held: queue.held,
            leased: queue.leased,
            dead: queue.dead,
            blocked_keys: queue.blocked_keys,
            oldest_due_at: queue.oldest_due_at.map(Time),
            oldest_due_seconds: queue.oldest_due_at.map(|at| now.since(at).as_secs()),
            next_due_at: queue.next_due_at.map(Time),
            paused,
        }
    })))
}
