//! What operators hold up: sources, whose requests are refused then, or whose deliveries are held; plugins, whose
//! deliveries wait; or everything.

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

/// How a source is paused, and why.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SourcePauseOrder {
    /// Why, for whoever finds it paused: 512 bytes at most.
    #[schema(max_length = 512)]
    why: Option<String>,
    /// Whether its requests are taken still, and their deliveries held. Left out: they are refused.
    #[serde(default)]
    hold: bool,
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
    /// `gateway`: everything is. `source`: its requests are refused. `held`: a source's deliveries are held.
    /// `plugin`: its deliveries wait.
    kind: &'static str,
    /// Its name; empty if it is everything. The config may not have it any more.
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
            Pausable::Everything => ("gateway", String::new()),
            Pausable::Source(name) => ("source", name.to_string()),
            Pausable::Held(name) => ("held", name.to_string()),
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

/// Pause everything.
///
/// Requests to sources and to plugins' apis are answered with 503, `Retry-After` and the code `paused`, and no delivery
/// is attempted, until it is resumed, over restarts too. Attempts that run go on, and so does the admin API.
#[utoipa::path(post, path = "/v1/pause", operation_id = "pause", tag = "gateway", request_body = PauseOrder,
    responses((status = 200, description = "The pause.", body = Paused),
              (status = 503, description = "The store takes nothing now.", body = Refused)))]
pub(super) async fn pause_everything(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    Order(order): Order<PauseOrder>,
) -> Answer<Paused> {
    pause(&desk, Pausable::Everything, caller, order.why).await
}

/// Let everything go on.
///
/// But for what is paused by itself.
#[utoipa::path(post, path = "/v1/resume", operation_id = "resume", tag = "gateway",
    responses((status = 200, description = "Whether it was paused.", body = Resumed),
              (status = 503, description = "The store takes nothing now.", body = Refused)))]
pub(super) async fn resume_everything(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
) -> Answer<Resumed> {
    resume(&desk, &[Pausable::Everything], &caller).await
}

/// Pause a source.
///
/// Its requests are answered with 503, `Retry-After` and the code `paused`, before their bodies are read, until it is
/// resumed, over restarts too. With `hold` they are verified, kept and acknowledged as ever, and none of its deliveries
/// is attempted until then, whenever its event came; those behind one in the order of their key wait as well.
#[utoipa::path(post, path = "/v1/sources/{name}/pause", operation_id = "sources.pause", tag = "sources",
    params(("name" = String, Path, pattern = "^[a-z0-9-]{1,64}$", description = "The source.")), request_body = SourcePauseOrder,
    responses((status = 200, description = "The pause.", body = Paused),
              (status = 404, description = "No source has this name.", body = Refused),
              (status = 503, description = "The store takes nothing now.", body = Refused)))]
pub(super) async fn pause_source(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    At(Text(name)): At<Text<SourceName>>,
    Order(order): Order<SourcePauseOrder>,
) -> Answer<Paused> {
    if desk.board.load().source(&name).is_none() {
        return Err(Fault::missing("no source has this name"));
    }
    let what = if order.hold { Pausable::Held(name) } else { Pausable::Source(name) };
    pause(&desk, what, caller, order.why).await
}

/// Let a source go on.
///
/// Senders come back by themselves. What was held goes on in the order it came, as fast as the plugins' limits allow.
#[utoipa::path(post, path = "/v1/sources/{name}/resume", operation_id = "sources.resume", tag = "sources",
    params(("name" = String, Path, pattern = "^[a-z0-9-]{1,64}$", description = "The source.")),
    responses((status = 200, description = "Whether it was paused.", body = Resumed),
              (status = 503, description = "The store takes nothing now.", body = Refused)))]
pub(super) async fn resume_source(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    At(Text(name)): At<Text<SourceName>>,
) -> Answer<Resumed> {
    // It may be both.
    resume(&desk, &[Pausable::Source(name.clone()), Pausable::Held(name)], &caller).await
}

/// Pause a plugin.
///
/// Its deliveries wait, and more come in, until it is resumed, over restarts too. Attempts that run go on, and so
/// does what it answers and verifies.
#[utoipa::path(post, path = "/v1/plugins/{name}/pause", operation_id = "plugins.pause", tag = "plugins",
    params(("name" = String, Path, pattern = "^[a-z0-9-]{1,64}$", description = "The plugin.")), request_body = PauseOrder,
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
    pause(&desk, Pausable::Plugin(name), caller, order.why).await
}

/// Let a plugin go on.
///
/// With what waits for it, as fast as its limits allow.
#[utoipa::path(post, path = "/v1/plugins/{name}/resume", operation_id = "plugins.resume", tag = "plugins",
    params(("name" = String, Path, pattern = "^[a-z0-9-]{1,64}$", description = "The plugin.")),
    responses((status = 200, description = "Whether it was paused.", body = Resumed),
              (status = 503, description = "The store takes nothing now.", body = Refused)))]
pub(super) async fn resume_plugin(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    At(Text(name)): At<Text<PluginName>>,
) -> Answer<Resumed> {
    resume(&desk, &[Pausable::Plugin(name)], &caller).await
}

async fn pause(desk: &Desk, what: Pausable, caller: Caller, why: Option<String>) -> Answer<Paused> {
    if why.as_ref().is_some_and(|why| why.len() > WHY_MAX) {
        return Err(Fault::bad(format_args!("why: more than {WHY_MAX} bytes")));
    }
    let pause = desk.pauses.pause(what, caller.who, why).await?;
    Ok(Json(pause.into()))
}

async fn resume(desk: &Desk, what: &[Pausable], caller: &Caller) -> Answer<Resumed> {
    let was_paused = desk.pauses.resume(what, &caller.who).await?;
    Ok(Json(Resumed { was_paused }))
}
