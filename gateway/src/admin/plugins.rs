//! What operators see of plugins, and what they ask to be done with their versions.

use std::{collections::BTreeMap, str::FromStr as _};

use axum::extract::State;
use hookweir_event::{Digest, PluginName};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Desk,
    asked::{At, Order, Params},
    fault::{Fault, Refused},
    list::Listed,
    pauses::Paused,
    reply::{Answer, Json, Page, Time},
};
use crate::{
    config::near,
    dispatch::{OpenBreaker, Seen},
    live::{self, Live},
    reload::{Refusal, Verb},
    standing,
};

/// A plugin, running or not.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Plugin {
    /// Its name: that of its file.
    name: String,
    /// The version that serves. Null: its events wait.
    live: Option<Serving>,
    /// The version that is held by a pin.
    pinned: Option<String>,
    /// What it is sent, as patterns.
    subscribe: Vec<String>,
    /// Whether its events are held back because they would fail.
    breaker: Breaker,
    /// The file in the plugins folder, if that is not what serves.
    file: Option<File>,
    /// Versions that can serve again, the last one first.
    earlier: Vec<Served>,
    /// Versions that do not go live until their file has other bytes or they are approved, the last one first.
    turned_away: Vec<TurnedAway>,
    /// Attempts that run now.
    running: usize,
    /// If an operator holds it up.
    paused: Option<Paused>,
    /// How it stands on all gateways. Null: each follows its own folder.
    shared: Option<Shared>,
    /// How many attempts ended since the start, by the outcome's word.
    outcomes: BTreeMap<&'static str, u64>,
    /// What was done, in a sentence: in answers to what was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    said: Option<String>,
}

/// The version that serves.
#[derive(Debug, Serialize, ToSchema)]
struct Serving {
    /// The SHA-256 of its file, in hex.
    version: String,
    /// Since when.
    since: Option<Time>,
    /// Whether it replaced another and has to prove itself still.
    probation: bool,
}

/// A plugin's breaker.
#[derive(Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Breaker {
    /// `closed`, `open` or `off`.
    state: &'static str,
    /// Since when it is open.
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<Time>,
    /// Why it opened, in a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    /// When one event is tried again. Missing while it is open: one is tried now, or by another gateway.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_probe: Option<Time>,
    /// True if it is another gateway at the same store that has it open, and tries one event at a time.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    elsewhere: bool,
}

/// A file that is not live.
#[derive(Debug, Serialize, ToSchema)]
struct File {
    /// The SHA-256 of its bytes, in hex. Null: it can't be read.
    version: Option<String>,
    /// Why it is not live: `unreadable`, `failed`, `needs-approval`, `turned-away` or `pinned`; where gateways share
    /// versions also `proposed` (all have to be ready first), `refused` (by one of them) or `passed` (another was
    /// published since).
    why: &'static str,
    /// Why, in a sentence.
    reason: String,
    /// What to add to the config for it to go live, in TOML.
    add: Option<String>,
}

/// A version that was live.
#[derive(Debug, Serialize, ToSchema)]
struct Served {
    /// The SHA-256 of its file, in hex.
    version: String,
    /// When it went live.
    from: Time,
    /// When another took its place.
    until: Time,
}

/// A version that does not go live.
#[derive(Debug, Serialize, ToSchema)]
struct TurnedAway {
    /// The SHA-256 of its file, in hex.
    version: String,
    /// Who turned it away: `load` (it does not load), `probation` (it failed too often) or `operator`.
    cause: &'static str,
    /// Why, in a sentence.
    reason: String,
    /// When.
    at: Time,
}

/// How a plugin stands on all gateways that share versions.
#[derive(Debug, Serialize, ToSchema)]
struct Shared {
    /// What each of them runs, in the order of their names.
    gateways: Vec<RunsOn>,
    /// What one of them proposes, or proposed last, if it was refused.
    proposal: Option<Proposal>,
}

/// What a gateway runs of a plugin.
#[derive(Debug, Serialize, ToSchema)]
struct RunsOn {
    /// The machine's name, and the port on which operators reach the gateway.
    gateway: String,
    /// The version that serves there. Null: its events wait.
    version: Option<String>,
    /// `live`, `probation`, `waits`, `unknown`, or why it is not what is live for all, in a sentence.
    standing: String,
}

/// A version that is to be live on all gateways.
#[derive(Debug, Serialize, ToSchema)]
struct Proposal {
    /// Which. Null: the plugin is to be removed.
    version: Option<String>,
    /// The gateway that proposes it.
    by: String,
    /// When it did.
    at: Time,
    /// Until when it waits for all gateways.
    until: Time,
    /// By whom it was refused and why, in a sentence. Null: it is under way.
    refused: Option<String>,
    /// What each gateway says of it.
    words: Vec<Word>,
}

/// What a gateway says of a proposal.
#[derive(Debug, Serialize, ToSchema)]
struct Word {
    /// Which.
    gateway: String,
    /// `ready`, `refused`, `needs-approval`, or `awaited`: it has said nothing yet.
    word: &'static str,
    /// Why it is not ready, in a sentence.
    reason: Option<String>,
}

/// Which version is meant.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    /// The first digits of its SHA-256, in hex. Left out: the version that is most likely meant, see the operation.
    version: Option<String>,
}

/// Which version is held.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Hold {
    /// The first digits of its SHA-256, in hex. Left out: the one that is live.
    version: Option<String>,
    /// Hold none any more.
    #[serde(default)]
    off: bool,
}

/// List the plugins.
///
/// Running or not, in the order of their names.
#[utoipa::path(get, path = "/v1/plugins", operation_id = "plugins.list", tag = "plugins",
    params(Listed),
    responses((status = 200, description = "The plugins.", body = Page<Plugin>)))]
pub(super) async fn list(
    State(desk): State<Desk>,
    Params(asked): Params<Listed>,
) -> Answer<Page<Plugin>> {
    let live = desk.board.load();
    let named = live.plugins().iter().map(|(name, plugin)| (name.as_str(), (name, plugin)));
    Ok(Json(asked.page(named, |(name, plugin)| desk.plugin(name, plugin))))
}

/// Show one plugin.
#[utoipa::path(get, path = "/v1/plugins/{name}", operation_id = "plugins.show", tag = "plugins",
    params(("name" = String, Path, description = "The plugin.")),
    responses((status = 200, description = "The plugin.", body = Plugin),
              (status = 404, description = "No plugin has this name.", body = Refused)))]
pub(super) async fn show(State(desk): State<Desk>, At(name): At<String>) -> Answer<Plugin> {
    let live = desk.board.load();
    let (name, plugin) = named(&live, &name)?;
    Ok(Json(desk.plugin(name, plugin)))
}

/// Have an earlier version serve.
///
/// The last good one if none is named. The one it leaves is turned away.
#[utoipa::path(post, path = "/v1/plugins/{name}/rollback", operation_id = "plugins.rollback", tag = "plugins",
    params(("name" = String, Path, description = "The plugin.")),
    request_body = Which,
    responses((status = 200, description = "How the plugin stands after that.", body = Plugin),
              (status = 404, description = "No plugin has this name; `no_version`: no version of it begins so.", body = Refused),
              (status = 409, description = "It is not possible as things stand; `no_version`: several versions begin so.", body = Refused),
              (status = 503, description = "The gateway is busy, ends, or can't write it down.", body = Refused)))]
pub(super) async fn rollback(
    State(desk): State<Desk>,
    At(name): At<String>,
    Order(Which { version: to }): Order<Which>,
) -> Answer<Plugin> {
    desk.order(&name, Verb::Rollback { to }).await
}

/// Hold a version.
///
/// No other takes its place until `off` is said.
#[utoipa::path(post, path = "/v1/plugins/{name}/pin", operation_id = "plugins.pin", tag = "plugins",
    params(("name" = String, Path, description = "The plugin.")),
    request_body = Hold,
    responses((status = 200, description = "How the plugin stands after that.", body = Plugin),
              (status = 404, description = "No plugin has this name; `no_version`: no version of it begins so.", body = Refused),
              (status = 409, description = "It is not possible as things stand; `no_version`: several versions begin so.", body = Refused),
              (status = 503, description = "The gateway is busy, ends, or can't write it down.", body = Refused)))]
pub(super) async fn pin(
    State(desk): State<Desk>,
    At(name): At<String>,
    Order(hold): Order<Hold>,
) -> Answer<Plugin> {
    let verb = match hold {
        Hold { version: to, off: false } => Verb::Pin { to },
        Hold { version: None, off: true } => Verb::Unpin,
        Hold { version: Some(_), off: true } => {
            return Err(Fault::bad("the body: `off` goes without a version"));
        }
    };
    desk.order(&name, verb).await
}

/// Let a version be tried again.
///
/// The one in the plugins folder if none is named. Closes the plugin's breaker as well.
#[utoipa::path(post, path = "/v1/plugins/{name}/approve", operation_id = "plugins.approve", tag = "plugins",
    params(("name" = String, Path, description = "The plugin.")),
    request_body = Which,
    responses((status = 200, description = "How the plugin stands after that.", body = Plugin),
              (status = 404, description = "No plugin has this name; `no_version`: no version of it begins so.", body = Refused),
              (status = 409, description = "It is not possible as things stand; `no_version`: several versions begin so; `needs_grant`: only the config can grant what it wants.", body = Refused),
              (status = 503, description = "The gateway is busy, ends, or can't write it down.", body = Refused)))]
pub(super) async fn approve(
    State(desk): State<Desk>,
    At(name): At<String>,
    Order(Which { version }): Order<Which>,
) -> Answer<Plugin> {
    desk.order(&name, Verb::Approve { version }).await
}

impl Desk {
    /// Asks for something, and answers how the plugin stands after that.
    async fn order(&self, name: &str, verb: Verb) -> Answer<Plugin> {
        let plugin = named(&self.board.load(), name)?.0.clone();
        let said = self.wishes.ask(plugin, verb).await?;
        let live = self.board.load();
        let (name, plugin) = named(&live, name)?;
        Ok(Json(Plugin { said: Some(said), ..self.plugin(name, plugin) }))
    }

    fn plugin(&self, name: &PluginName, plugin: &live::Plugin) -> Plugin {
        let standing = &*plugin.standing;
        let serving = plugin.version.as_ref().map(|version| Serving {
            version: version.digest().to_string(),
            since: standing.since.map(Time),
            probation: standing.probation,
        });
        let Seen { running, breaker } = self.monitor.plugin(name);
        Plugin {
            name: name.to_string(),
            live: serving,
            pinned: standing.pinned.map(|version| version.to_string()),
            subscribe: plugin.subscribe.iter().map(ToString::to_string).collect(),
            breaker: Breaker::of(plugin, breaker),
            file: standing.file.as_ref().map(File::from),
            earlier: standing.earlier.iter().map(Served::from).collect(),
            turned_away: standing.turned_away.iter().map(TurnedAway::from).collect(),
            running,
            paused: self.pauses.plugin(name).map(Paused::from),
            shared: standing.shared.as_ref().map(Shared::from),
            outcomes: self.health.outcomes(name),
            said: None,
        }
    }
}

fn named<'l>(live: &'l Live, name: &str) -> Result<(&'l PluginName, &'l live::Plugin), Fault> {
    let found = PluginName::from_str(name).ok();
    let found = found.and_then(|name| live.plugins().get_key_value(&name));
    found.ok_or_else(|| {
        let near = near(name, live.plugins().keys().map(PluginName::as_str));
        Refusal::NoPlugin { near: near.map(str::to_owned) }.into()
    })
}

impl Breaker {
    fn of(plugin: &live::Plugin, open: Option<OpenBreaker>) -> Self {
        match (open, plugin.policy.breaker) {
            (Some(OpenBreaker { since, why, next_probe, elsewhere }), Some(_)) => Self {
                state: "open",
                since: Some(Time(since)),
                why: Some(why),
                next_probe: next_probe.map(Time),
                elsewhere,
            },
            (None, Some(_)) => Self { state: "closed", ..Self::default() },
            (_, None) => Self { state: "off", ..Self::default() },
        }
    }
}

impl From<&standing::FileStanding> for File {
    fn from(file: &standing::FileStanding) -> Self {
        Self {
            version: file.version.map(|version| version.to_string()),
            why: file.why.as_str(),
            reason: file.reason.clone(),
            add: file.add.clone(),
        }
    }
}

impl From<&standing::Shared> for Shared {
    fn from(shared: &standing::Shared) -> Self {
        let text = |version: Option<Digest>| version.map(|version| version.to_string());
        let gateways = shared.gateways.iter().map(|runs| RunsOn {
            gateway: runs.gateway.clone(),
            version: text(runs.version),
            standing: runs.standing.clone(),
        });
        let word = |said: &standing::Word| Word {
            gateway: said.gateway.clone(),
            word: said.word,
            reason: said.reason.clone(),
        };
        let proposal = shared.proposal.as_ref().map(|proposal| Proposal {
            version: text(proposal.version),
            by: proposal.by.clone(),
            at: Time(proposal.at),
            until: Time(proposal.until),
            refused: proposal.refused.clone(),
            words: proposal.words.iter().map(word).collect(),
        });
        Self { gateways: gateways.collect(), proposal }
    }
}

impl From<&standing::Served> for Served {
    fn from(served: &standing::Served) -> Self {
        let standing::Served { version, from, until } = *served;
        Self { version: version.to_string(), from: Time(from), until: Time(until) }
    }
}

impl From<&standing::TurnedAway> for TurnedAway {
    fn from(away: &standing::TurnedAway) -> Self {
        Self {
            version: away.version.to_string(),
            cause: away.cause.as_str(),
            reason: away.reason.clone(),
            at: Time(away.at),
        }
    }
}
