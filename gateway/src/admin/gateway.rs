//! What operators see of the gateway itself: how it stands, and the config that is in force; and having its
//! files looked at now.

use axum::{Extension, extract::State};
use hookweir_event::Digest;
use hookweir_store as store;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    Desk,
    alerts::{self, Alert},
    fault::Refused,
    pauses::PausedThing,
    reply::{Answer, Json, Time},
};
use crate::{
    readiness::Readiness,
    reload::{ConfigLook, Looked},
};

/// How the gateway stands.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Status {
    /// The version of the program.
    version: &'static str,
    /// When this process started.
    started_at: Time,
    /// Whether traffic should come, as `/readyz` says.
    ready: bool,
    /// Why not.
    reason: Option<String>,
    /// The names of the sources.
    sources: Vec<String>,
    /// The plugins, in the order of their names.
    plugins: Vec<PluginStatus>,
    /// The gateways that share plugins' versions, this one among them, by the machine's name and the port on which
    /// operators reach it. Null: each follows its own folder.
    gateways: Option<Vec<String>>,
    /// What operators hold up.
    paused: Vec<PausedThing>,
    /// Alerts that are raised.
    alerts: Vec<Alert>,
    /// How many events and deliveries there are.
    counts: Counts,
    /// Whether the store can be written.
    store: StoreStatus,
    /// The disk that the store is on. Null: it is in a database, whose server looks after its own.
    disk: Option<Disk>,
}

/// How a plugin stands, in short.
#[derive(Debug, Serialize, ToSchema)]
struct PluginStatus {
    /// Its name.
    name: String,
    /// The SHA-256 of the version that serves, in hex. Null: its events wait.
    version: Option<String>,
    /// Why the file in the plugins folder is not live, in a sentence. Null: it is.
    file: Option<String>,
    /// Why its breaker is open, in a sentence. Null: it is not.
    breaker: Option<String>,
    /// Attempts that run now.
    running: usize,
}

/// How many of each there are.
#[derive(Debug, Serialize, ToSchema)]
struct Counts {
    /// Events of any origin, outputs included.
    events: u64,
    /// Events that plugins made.
    outputs: u64,
    /// Events that no plugin wanted.
    unrouted: u64,
    /// Deliveries that wait, for an attempt or for an earlier one of their order key.
    due: u64,
    /// Deliveries that are being attempted.
    leased: u64,
    /// Deliveries that are handled.
    done: u64,
    /// Dead letters that nobody put aside.
    dead: u64,
    /// Dead letters that an operator put aside.
    discarded: u64,
    /// Webhooks that were answered as duplicates.
    duplicates: u64,
}

/// Whether the store can be written.
#[derive(Debug, Serialize, ToSchema)]
struct StoreStatus {
    /// `ready`; `refusing`, until what is the matter has passed; or `poisoned`, until a restart.
    state: &'static str,
    /// What is the matter.
    reason: Option<String>,
    /// Who else has what is acknowledged. Null: the store is in a file, or the database does not say.
    standbys: Option<Standbys>,
}

/// Standbys of the database's server.
#[derive(Debug, Serialize, ToSchema)]
struct Standbys {
    /// Whether the server acknowledges nothing that no standby has.
    wanted: bool,
    /// How many are connected that have what is acknowledged.
    synchronous: u64,
}

/// Room on the disk.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Disk {
    /// Bytes that may still be written. Null: the system does not say.
    free_bytes: Option<u64>,
    /// Bytes that have to be left for webhooks to be taken.
    least_bytes: u64,
}

/// What a look at the files has brought.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Reloaded {
    /// What became of the config: `unchanged`, `reloaded` or `refused`.
    config: &'static str,
    /// Why the config can't be followed, all its faults; the old one stays in force.
    reason: Option<String>,
    /// The plugins of which another version serves than before.
    plugins: Vec<Changed>,
    /// The files that are not live.
    not_live: Vec<NotLive>,
    /// Whether a file is not decided about: it may be half copied. It is looked at again by itself.
    pending: bool,
}

/// A plugin of which another version serves.
#[derive(Debug, Serialize, ToSchema)]
struct Changed {
    /// Its name.
    name: String,
    /// The SHA-256 of what served before, in hex. Null: nothing did.
    before: Option<String>,
    /// The SHA-256 of what serves now, in hex. Null: nothing does.
    now: Option<String>,
}

/// A file that is not live.
#[derive(Debug, Serialize, ToSchema)]
struct NotLive {
    /// The plugin.
    name: String,
    /// Why, in a sentence.
    reason: String,
}

/// Show how the gateway stands.
#[utoipa::path(get, path = "/v1/status", operation_id = "status", tag = "gateway",
    responses((status = 200, description = "How it stands.", body = Status),
              (status = 500, description = "The store can't be read.", body = Refused)))]
pub(super) async fn status(
    State(desk): State<Desk>,
    Extension(readiness): Extension<Readiness>,
) -> Answer<Status> {
    let live = desk.board.load_full();
    let mut sources: Vec<_> = live.sources().map(|source| source.name.to_string()).collect();
    sources.sort();
    let plugins = live.plugins().iter().map(|(name, plugin)| {
        let seen = desk.monitor.plugin(name);
        PluginStatus {
            name: name.to_string(),
            version: plugin.version.as_ref().map(|version| version.digest().to_string()),
            file: plugin.standing.file.as_ref().map(|file| file.reason.clone()),
            breaker: seen.breaker.map(|open| match open.elsewhere {
                true => format!("told by another gateway: {}", open.why),
                false => open.why,
            }),
            running: seen.running,
        }
    });
    let reason = readiness.unready();
    let config = &live.config.store;
    let survey = desk.store.reader().survey().await?;
    Ok(Json(Status {
        version: env!("CARGO_PKG_VERSION"),
        started_at: Time(desk.started_at),
        ready: reason.is_none(),
        reason,
        sources,
        plugins: plugins.collect(),
        gateways: live.gateways.clone(),
        paused: desk.pauses.all().into_iter().map(PausedThing::from).collect(),
        alerts: alerts::raised(&desk.store.reader()).await?,
        counts: survey.counts.into(),
        store: store_status(&desk.store.health().borrow(), survey.standbys),
        disk: config.file().map(|_| Disk {
            free_bytes: free_bytes(config.data_folder()),
            least_bytes: config.disk_free_min(),
        }),
    }))
}

/// Show the config that is in force.
///
/// By the keys and with the units of `gateway.toml`, with every default. Secrets read `[redacted]`.
#[utoipa::path(get, path = "/v1/config", operation_id = "config", tag = "gateway",
    responses((status = 200, description = "The config.", body = Object)))]
pub(super) async fn config(State(desk): State<Desk>) -> Answer<Value> {
    Ok(Json(desk.board.load().config.shown()))
}

/// Have the config and the plugins folder looked at now.
///
/// They are looked at by themselves when they change; this answers what came of it.
#[utoipa::path(post, path = "/v1/reload", operation_id = "reload", tag = "gateway",
    responses((status = 200, description = "What changed, or why not.", body = Reloaded),
              (status = 503, description = "The gateway is busy, or ends; or the audit log can't be written.", body = Refused)))]
pub(super) async fn reload(State(desk): State<Desk>) -> Answer<Reloaded> {
    Ok(Json(desk.wishes.look().await?.into()))
}

fn store_status(health: &store::Health, standbys: Option<store::Standbys>) -> StoreStatus {
    let (state, reason) = match health {
        store::Health::Ready => ("ready", None),
        store::Health::Refusing(reason) => ("refusing", Some(reason.clone())),
        store::Health::Poisoned(reason) => ("poisoned", Some(reason.clone())),
    };
    let standbys =
        standbys.map(|store::Standbys { wanted, synchronous }| Standbys { wanted, synchronous });
    StoreStatus { state, reason, standbys }
}

fn free_bytes(folder: &std::path::Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

impl From<store::Counts> for Counts {
    fn from(counts: store::Counts) -> Self {
        let store::Counts {
            events,
            outputs,
            unrouted,
            due,
            leased,
            done,
            dead,
            discarded,
            duplicates,
        } = counts;
        Self { events, outputs, unrouted, due, leased, done, dead, discarded, duplicates }
    }
}

impl From<Looked> for Reloaded {
    fn from(looked: Looked) -> Self {
        let (config, reason) = match looked.config {
            ConfigLook::Unchanged => ("unchanged", None),
            ConfigLook::Reloaded => ("reloaded", None),
            ConfigLook::Refused(reason) => ("refused", Some(reason)),
        };
        let text = |version: Option<Digest>| version.map(|version| version.to_string());
        let plugins = looked.plugins.into_iter().map(|plugin| Changed {
            name: plugin.name.to_string(),
            before: text(plugin.before),
            now: text(plugin.now),
        });
        let not_live = looked.not_live.into_iter();
        let not_live = not_live.map(|(name, reason)| NotLive { name: name.to_string(), reason });
        Self {
            config,
            reason,
            plugins: plugins.collect(),
            not_live: not_live.collect(),
            pending: looked.pending,
        }
    }
}
