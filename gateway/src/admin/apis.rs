//! What operators see of plugins that answer requests.

use std::collections::BTreeMap;

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Desk,
    asked::{At, Params},
    fault::{Fault, Refused},
    list::Listed,
    reply::{Answer, Json, Page},
    sources::{RefusedRequest, refused},
};
use crate::{config::ApiAccess, live::Plugin};

/// A plugin that may be asked.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Api {
    /// Its name.
    plugin: String,
    /// Who may ask: `public` or `token`.
    access: &'static str,
    /// Whether the version that is live answers requests.
    loaded: bool,
    /// How many requests it answered since the start.
    answered: u64,
    /// How many requests were refused since the start, by the reason's word.
    refused: BTreeMap<&'static str, u64>,
}

/// List the plugins that may be asked.
///
/// Those that answer requests below `/api/NAME/` of the public listener, in the order of their names.
#[utoipa::path(get, path = "/v1/apis", operation_id = "apis.list", tag = "plugins",
    params(Listed),
    responses((status = 200, description = "The plugins that may be asked.", body = Page<Api>)))]
pub(super) async fn list(
    State(desk): State<Desk>,
    Params(asked): Params<Listed>,
) -> Answer<Page<Api>> {
    let live = desk.board.load();
    let apis = live.plugins().iter();
    let apis =
        apis.filter_map(|(name, plugin)| Some((name.as_str(), Api::of(name.as_str(), plugin)?)));
    Ok(Json(asked.page(apis, |api| api)))
}

/// Show which requests a plugin did not answer.
///
/// The last ones, the newest first.
#[utoipa::path(get, path = "/v1/apis/{name}/refusals", operation_id = "apis.refusals", tag = "plugins",
    params(("name" = String, Path, description = "The plugin.")),
    responses((status = 200, description = "What was refused.", body = Page<RefusedRequest>),
              (status = 404, description = "No plugin has this name.", body = Refused)))]
pub(super) async fn refusals(
    State(desk): State<Desk>,
    At(name): At<String>,
) -> Answer<Page<RefusedRequest>> {
    let live = desk.board.load();
    let plugin = name.parse().ok().and_then(|name| live.plugins().get(&name));
    let plugin = plugin.ok_or_else(|| Fault::missing("no plugin has this name"))?;
    Ok(Json(refused(&plugin.record)))
}

impl Api {
    fn of(name: &str, plugin: &Plugin) -> Option<Self> {
        let access = match plugin.api.access.as_ref()? {
            ApiAccess::Off => return None,
            ApiAccess::Public => "public",
            ApiAccess::Token(_) => "token",
        };
        Some(Self {
            plugin: name.to_owned(),
            access,
            loaded: plugin.version.as_ref().is_some_and(|version| version.exports().api),
            answered: plugin.record.answered(),
            refused: plugin.record.refused_by_reason(),
        })
    }
}
