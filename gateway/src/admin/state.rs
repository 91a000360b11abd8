//! A plugin's state for operators: read as the plugin reads it, and written by the same rules.

use std::time::Duration;

use axum::{Extension, extract::State, http::StatusCode};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use hookweir_event::{Basis, Change, Lasts, PluginName, StateChange, StateEntry};
use hookweir_host::{Limits, STATE_KEY_MAX, STATE_VALUE_MAX};
use hookweir_store::{ShownEntry, Written};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    Caller, Desk,
    asked::{At, Limit, Order, Params, Text},
    fault::{Fault, Refused},
    reply::{Answer, Json, Page, Time},
};

/// The longest that an entry may last if not for ever: a hundred years.
const TTL_MAX: u64 = 100 * 365 * 24 * 3600;

/// Which entries.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Under {
    /// Those whose keys begin so.
    #[serde(default)]
    #[param(value_type = Option<String>)]
    prefix: String,
    /// The `next` of the page before.
    cursor: Option<String>,
    /// How many at most.
    #[serde(default)]
    #[param(value_type = Option<usize>, minimum = 1, maximum = 1000, default = 100)]
    limit: Limit<100>,
}

/// Which entry.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Named {
    /// Its key: 512 bytes at most.
    key: String,
}

/// What has to be there for an entry to be deleted.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase")]
pub(super) struct If {
    /// This version of it, as it was read.
    if_version: Option<u64>,
}

/// An entry of a plugin's state.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Entry {
    /// Its key.
    key: String,
    /// Changes with each write, and never comes back.
    version: u64,
    /// The length of its value.
    bytes: u64,
    /// From then on it is gone.
    expires_at: Option<Time>,
    /// The value, if it is text and one entry was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    /// The value, if it is not text.
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
}

/// What is written.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct SetOrder {
    /// The value, as text: 64 KiB at most.
    value: Option<String>,
    /// The value in Base64, in place of that.
    value_base64: Option<String>,
    /// How long it lasts, in seconds, a hundred years at most; for ever, if this is left out.
    #[schema(minimum = 1, maximum = 3_153_600_000_u64)]
    ttl_seconds: Option<u64>,
    /// Only if it is this version that is there.
    if_version: Option<u64>,
    /// Only if there is none.
    #[serde(default)]
    if_absent: bool,
}

/// What was deleted.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Deleted {
    /// The version that it had.
    version: u64,
}

impl From<ShownEntry> for Entry {
    fn from(entry: ShownEntry) -> Self {
        let ShownEntry { key, version, bytes, expires_at } = entry;
        let expires_at = expires_at.map(Time);
        Self { key, version, bytes, expires_at, value: None, value_base64: None }
    }
}

impl From<StateEntry> for Entry {
    fn from(entry: StateEntry) -> Self {
        let StateEntry { key, version, value, expires_at } = entry;
        let bytes = value.len() as u64;
        let (value, value_base64) = match String::from_utf8(value) {
            Ok(text) => (Some(text), None),
            Err(error) => (None, Some(BASE64_STANDARD.encode(error.as_bytes()))),
        };
        Self { key, version, bytes, expires_at: expires_at.map(Time), value, value_base64 }
    }
}

/// List a plugin's state.
///
/// Keys in the order of their bytes, without values. What has expired is left out.
#[utoipa::path(get, path = "/v1/plugins/{name}/state", operation_id = "state.list", tag = "plugins",
    params(("name" = String, Path, description = "The plugin."), Under),
    responses((status = 200, description = "The entries.", body = Page<Entry>),
              (status = 404, description = "There is no such plugin, and it left no state.", body = Refused),
              (status = 500, description = "The store can't be read.", body = Refused)))]
pub(super) async fn list(
    State(desk): State<Desk>,
    At(Text(name)): At<Text<PluginName>>,
    Params(under): Params<Under>,
) -> Answer<Page<Entry>> {
    let (now, reader) = (desk.clock.now(), desk.store.reader());
    let (after, limit) = (under.cursor.as_deref(), under.limit.0);
    let found = reader.state_listed(&name, &under.prefix, after, limit).await?;
    let is_known = desk.board.load().plugins().contains_key(&name);
    if found.is_empty() && !is_known && reader.state_bytes(&name).await? == 0 {
        return Err(Fault::missing("no plugin has this name"));
    }
    let next = found.last().filter(|_| found.len() >= limit).map(|last| last.key.clone());
    let holds = |entry: &ShownEntry| entry.expires_at.is_none_or(|at| at > now);
    let items = found.into_iter().filter(holds).map(Entry::from).collect();
    Ok(Json(Page { items, next }))
}

/// Show an entry of a plugin's state.
///
/// With its value.
#[utoipa::path(get, path = "/v1/plugins/{name}/state/entry", operation_id = "state.get", tag = "plugins",
    params(("name" = String, Path, description = "The plugin."), Named),
    responses((status = 200, description = "The entry.", body = Entry),
              (status = 404, description = "There is no such entry.", body = Refused),
              (status = 500, description = "The store can't be read.", body = Refused)))]
pub(super) async fn get(
    State(desk): State<Desk>,
    At(Text(name)): At<Text<PluginName>>,
    Params(Named { key }): Params<Named>,
) -> Answer<Entry> {
    let entry = there(&desk, &name, &key).await?;
    Ok(Json(entry.1.ok_or_else(none)?.into()))
}

/// Write an entry of a plugin's state.
///
/// As the plugin itself would: an attempt that relied on what was there is run again.
#[utoipa::path(put, path = "/v1/plugins/{name}/state/entry", operation_id = "state.set", tag = "plugins",
    params(("name" = String, Path, description = "The plugin."), Named), request_body = SetOrder,
    responses((status = 200, description = "The entry as it is now.", body = Entry),
              (status = 404, description = "No plugin has this name.", body = Refused),
              (status = 409, description = "Something else is there than was said.", body = Refused),
              (status = 500, description = "The store can't be read.", body = Refused),
              (status = 503, description = "The store takes nothing now.", body = Refused)))]
pub(super) async fn set(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    At(Text(name)): At<Text<PluginName>>,
    Params(Named { key }): Params<Named>,
    Order(order): Order<SetOrder>,
) -> Answer<Entry> {
    let value = value_of(&order)?;
    check(&key, &value)?;
    let (version, entry) = there(&desk, &name, &key).await?;
    check_room(&desk, &name, (&key, &value), entry.as_ref()).await?;
    let based_on = match (order.if_version, order.if_absent) {
        (Some(_), true) => return Err(Fault::bad("`ifVersion` and `ifAbsent` exclude each other")),
        (Some(wanted), false) if entry.is_none() || version != Some(wanted) => {
            return Err(conflict());
        }
        (None, true) if entry.is_some() => return Err(conflict()),
        (None, false) => Basis::Anything,
        // What has expired may be there still, and is a basis as well.
        _ => version.map_or(Basis::Nothing, Basis::Version),
    };
    if order.ttl_seconds.is_some_and(|ttl| !(1..=TTL_MAX).contains(&ttl)) {
        return Err(Fault::bad(format_args!("ttlSeconds: expected 1 to {TTL_MAX}")));
    }
    let lasts =
        order.ttl_seconds.map_or(Lasts::ForEver, |ttl| Lasts::For(Duration::from_secs(ttl)));
    write(&desk, &name, &key, based_on, Change::Set { value, lasts }).await?;
    tracing::info!(plugin = %name, key, by = caller.who, "an entry of its state was written");
    // However soon it ends.
    let entry = desk.store.reader().state(&name, &key).await?;
    Ok(Json(entry.ok_or_else(none)?.into()))
}

/// Delete an entry of a plugin's state.
///
/// An attempt that relied on it is run again.
#[utoipa::path(delete, path = "/v1/plugins/{name}/state/entry", operation_id = "state.delete", tag = "plugins",
    params(("name" = String, Path, description = "The plugin."), Named, If),
    responses((status = 200, description = "It is gone.", body = Deleted),
              (status = 404, description = "There is no such entry.", body = Refused),
              (status = 409, description = "Another version is there.", body = Refused),
              (status = 500, description = "The store can't be read.", body = Refused),
              (status = 503, description = "The store takes nothing now.", body = Refused)))]
pub(super) async fn delete(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    At(Text(name)): At<Text<PluginName>>,
    Params(Named { key }): Params<Named>,
    Params(If { if_version }): Params<If>,
) -> Answer<Deleted> {
    let version = there(&desk, &name, &key).await?.1.ok_or_else(none)?.version;
    if if_version.is_some_and(|wanted| wanted != version) {
        return Err(conflict());
    }
    // What was looked at is what goes.
    write(&desk, &name, &key, Basis::Version(version), Change::Delete).await?;
    tracing::info!(plugin = %name, key, by = caller.who, "an entry of its state was deleted");
    Ok(Json(Deleted { version }))
}

fn none() -> Fault {
    Fault::missing("there is no such entry")
}

fn conflict() -> Fault {
    Fault::new(StatusCode::CONFLICT, "conflict", "something else is there than was said")
}

/// The version that is there, expired or not, and the entry, if it has not expired.
async fn there(
    desk: &Desk,
    name: &PluginName,
    key: &str,
) -> Result<(Option<u64>, Option<StateEntry>), Fault> {
    let entry = desk.store.reader().state(name, key).await?;
    let (version, now) = (entry.as_ref().map(|entry| entry.version), desk.clock.now());
    Ok((version, entry.filter(|entry| entry.expires_at.is_none_or(|at| at > now))))
}

fn value_of(order: &SetOrder) -> Result<Vec<u8>, Fault> {
    match (&order.value, &order.value_base64) {
        (Some(text), None) => Ok(text.clone().into_bytes()),
        (None, Some(text)) => BASE64_STANDARD
            .decode(text)
            .map_err(|error| Fault::bad(format_args!("valueBase64: {error}"))),
        _ => Err(Fault::bad("a `value` or a `valueBase64` is needed, and not both")),
    }
}

/// The limits that the plugin itself has.
fn check(key: &str, value: &[u8]) -> Result<(), Fault> {
    match (key.len(), value.len()) {
        (0, _) => Err(Fault::bad("key: it has at least one byte")),
        (len, _) if len > STATE_KEY_MAX => {
            Err(Fault::bad(format_args!("key: {len} bytes, at most {STATE_KEY_MAX} are kept")))
        }
        (_, len) if len > STATE_VALUE_MAX => {
            Err(Fault::bad(format_args!("value: {len} bytes, at most {STATE_VALUE_MAX} are kept")))
        }
        _ => Ok(()),
    }
}

/// All of a plugin's state has a limit as well.
async fn check_room(
    desk: &Desk,
    name: &PluginName,
    (key, value): (&str, &[u8]),
    before: Option<&StateEntry>,
) -> Result<(), Fault> {
    let live = desk.board.load_full();
    let plugin = live.plugins().get(name);
    let plugin = plugin.ok_or_else(|| Fault::missing("no plugin has this name"))?;
    let most = match &plugin.version {
        Some(version) => version.limits().state_bytes,
        None => Limits::default().state_bytes,
    };
    let bytes = desk.store.reader().state_bytes(name).await?;
    let less = before.map_or(0, |before| before.key.len() + before.value.len()) as u64;
    let after = bytes.saturating_sub(less) + (key.len() + value.len()) as u64;
    if after > most {
        return Err(Fault::bad(format_args!(
            "value: the plugin's state would have {after} bytes, and `state_max` is {most}"
        )));
    }
    Ok(())
}

async fn write(
    desk: &Desk,
    name: &PluginName,
    key: &str,
    based_on: Basis,
    change: Change,
) -> Result<(), Fault> {
    let change = StateChange { key: key.to_owned(), based_on, change };
    match desk.store.write_state(name.clone(), vec![change]).await? {
        Written::Committed => Ok(()),
        Written::Conflict => Err(conflict()),
    }
}
