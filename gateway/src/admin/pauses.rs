//! What operators hold up: sources, whose requests are refused then, and plugins, whose deliveries wait.

use axum::{Extension, extract::State};
use hookweir_event::{PluginName, SourceName};
use hookweir_store::{Pausable, Pause};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Caller, Desk,
    asked::{At, Order, Text},
    fault::{Fault, Refused},
    reply::{Answer, Json, Page, Time},
};

/// The longest reason, in bytes.
const WHY_MAX: usize = 512;

/// Why something is paused.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PauseOrder {
    /// Why, for whoever finds it paused: 512 bytes at most.
    #[schema(max_length = 512)]
    why: Option<String>,
}

/// Something that is paused.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Paused {
    /// Since when.
    since: Time,
    /// Who said so.
    by: String,
    /// Why.
    why: Option<String>,
}

/// Something that is paused, and what it is.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PausedThing {
    /// `source` or `plugin`.
    kind: &'static str,
    /// Its name. The config may not have it any more.
    name: String,
    /// The pause.
    paused: Paused,
}

/// What was let go on.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Resumed {
    /// Whether it was paused.
    was_paused: bool,
}

impl From<Pause> for Paused {
    fn from(pause: Pause) -> Self {
        Self { since: Time(pause.since), by: pause.by, why: pause.why }
    }
}

impl From<Pause> for PausedThing {
    fn from(pause: Pause) -> Self {
        let (kind, name) = match &pause.what {
            Pausable::Source(name) => ("source", name.to_string()),
            Pausable::Plugin(name) => ("plugin", name.to_string()),
        };
        Self { kind, name, paused: pause.into() }
    }
}

/// List what is paused.
///
/// Sources and plugins, whether or not the config has them still.
#[utoipa::path(get, path = "/v1/pauses", operation_id = "pauses.list", tag = "gateway",
    responses((status = 200, description = "What is paused.", body = Page<PausedThing>),
              (status = 500, description = "The store can't be read.", body = Refused)))]
pub(super) async fn list(State(desk): State<Desk>) -> Answer<Page<PausedThing>> {
    let pauses = desk.store.reader().pauses().await?;
    let items = pauses.into_iter().map(PausedThing::from).collect();
    Ok(Json(Page { items, next: None }))
}

/// Pause a source.
///
/// Its requests are answered with 503, `Retry-After` and the code `paused`, before their bodies are read, until it is
/// resumed, over restarts too.
#[utoipa::path(post, path = "/v1/sources/{name}/pause", operation_id = "sources.pause", tag = "sources",
    params(("name" = String, Path, description = "The source.")), request_body = PauseOrder,
    responses((status = 200, description = "The pause.", body = Paused),
              (status = 404, description = "No source has this name.", body = Refused),
              (status = 503, description = "The store takes nothing now.", body = Refused)))]
pub(super) async fn pause_source(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    At(Text(name)): At<Text<SourceName>>,
    Order(order): Order<PauseOrder>,
) -> Answer<Paused> {
    if desk.board.load().source(&name).is_none() {
        return Err(Fault::missing("no source has this name"));
    }
    pause(&desk, Pausable::Source(name), caller, order).await
}

/// Let a source go on.
///
/// Senders come back by themselves.
#[utoipa::path(post, path = "/v1/sources/{name}/resume", operation_id = "sources.resume", tag = "sources",
    params(("name" = String, Path, description = "The source.")),
    responses((status = 200, description = "Whether it was paused.", body = Resumed),
              (status = 503, description = "The store takes nothing now.", body = Refused)))]
pub(super) async fn resume_source(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    At(Text(name)): At<Text<SourceName>>,
) -> Answer<Resumed> {
    resume(&desk, Pausable::Source(name), &caller).await
}

/// Pause a plugin.
///
/// Its deliveries wait, and more come in, until it is resumed, over restarts too. Attempts that run go on, and so
/// does what it answers and verifies.
#[utoipa::path(post, path = "/v1/plugins/{name}/pause", operation_id = "plugins.pause", tag = "plugins",
    params(("name" = String, Path, description = "The plugin.")), request_body = PauseOrder,
    responses((status = 200, description = "The pause.", body = Paused),
              (status = 404, description = "No plugin has this name.", body = Refused),
              (status = 503, description = "The store takes nothing now.", body = Refused)))]
pub(super) async fn pause_plugin(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    At(Text(name)): At<Text<PluginName>>,
    Order(order): Order<PauseOrder>,
) -> Answer<Paused> {
    if !desk.board.load().plugins().contains_key(&name) {
        return Err(Fault::missing("no plugin has this name"));
    }
    pause(&desk, Pausable::Plugin(name), caller, order).await
}

/// Let a plugin go on.
///
/// With what waits for it, as fast as its limits allow.
#[utoipa::path(post, path = "/v1/plugins/{name}/resume", operation_id = "plugins.resume", tag = "plugins",
    params(("name" = String, Path, description = "The plugin.")),
    responses((status = 200, description = "Whether it was paused.", body = Resumed),
              (status = 503, description = "The store takes nothing now.", body = Refused)))]
pub(super) async fn resume_plugin(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    At(Text(name)): At<Text<PluginName>>,
) -> Answer<Resumed> {
    resume(&desk, Pausable::Plugin(name), &caller).await
}

async fn pause(desk: &Desk, what: Pausable, caller: Caller, order: PauseOrder) -> Answer<Paused> {
    if order.why.as_ref().is_some_and(|why| why.len() > WHY_MAX) {
        return Err(Fault::bad(format_args!("why: more than {WHY_MAX} bytes")));
    }
    let pause = desk.pauses.pause(what, caller.who, order.why).await?;
    Ok(Json(pause.into()))
}

async fn resume(desk: &Desk, what: Pausable, caller: &Caller) -> Answer<Resumed> {
    let was_paused = desk.pauses.resume(what, &caller.who).await?;
    Ok(Json(Resumed { was_paused }))
}
