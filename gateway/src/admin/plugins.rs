//! What operators see of plugins, and what they ask to be done with their versions.

use std::{str::FromStr as _, sync::Arc};

use axum::http::StatusCode;
use hookweir_event::{Digest, PluginName};
use hookweir_host::Version;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Fault, time};
use crate::{
    config::near,
    dispatch::{Monitor, OpenBreaker, Seen},
    health::Health,
    live::{Board, Live, Plugin},
    reload::{Refusal, Verb, Wishes},
    standing::{FileStanding, Served, TurnedAway},
};

/// Who knows of plugins.
#[derive(Debug, Clone)]
pub struct Plugins {
    /// What is in force.
    pub board: Arc<Board>,
    /// What became of their attempts.
    pub health: Arc<Health>,
    /// How their deliveries go.
    pub monitor: Monitor,
    /// Does what is asked.
    pub wishes: Wishes,
}

/// What an order may say.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    /// The first digits of a version's digest.
    version: Option<String>,
    /// To take a pin off.
    #[serde(default)]
    off: bool,
}

impl Plugins {
    /// All plugins, in the order of their names.
    pub(super) fn list(&self) -> Value {
        let live = self.board.load_full();
        let items = live.plugins().iter().map(|(name, plugin)| self.show(name, plugin));
        json!({ "items": items.collect::<Vec<_>>() })
    }

    /// One plugin.
    pub(super) fn one(&self, name: &str) -> Result<Value, Fault> {
        let live = self.board.load_full();
        let (name, plugin) = named(&live, name)?;
        Ok(self.show(name, plugin))
    }

    /// Asks for something, and answers how the plugin stands after that.
    pub(super) async fn order(&self, name: &str, verb: &str, body: &[u8]) -> Result<Value, Fault> {
        let order: Order = match body {
            [] => Order::default(),
            body => serde_json::from_slice(body)
                .map_err(|error| Fault::bad(format_args!("the body: {error}")))?,
        };
        let verb = match (verb, order) {
            ("rollback", Order { version: to, off: false }) => Verb::Rollback { to },
            ("approve", Order { version, off: false }) => Verb::Approve { version },
            ("pin", Order { version: to, off: false }) => Verb::Pin { to },
            ("pin", Order { version: None, off: true }) => Verb::Unpin,
            _ => return Err(Fault::bad("the body: `off` is for a pin, without a version")),
        };
        let plugin = named(&self.board.load_full(), name)?.0.clone();
        let said = self.wishes.ask(plugin, verb).await?;
        let mut answer = self.one(name)?;
        answer["said"] = json!(said);
        Ok(answer)
    }

    fn show(&self, name: &PluginName, plugin: &Plugin) -> Value {
        let standing = &*plugin.standing;
        let live = plugin.version.as_ref().map(|version: &Version| {
            json!({
                "version": version.digest().to_string(),
                "since": standing.since.map(time),
                "probation": standing.probation,
            })
        });
        let Seen { running, breaker } = self.monitor.plugin(name);
        let patterns = plugin.subscribe.iter().map(ToString::to_string);
        json!({
            "name": name.as_str(),
            "live": live,
            "pinned": standing.pinned.map(|version| version.to_string()),
            "subscribe": patterns.collect::<Vec<_>>(),
            "breaker": show_breaker(plugin, breaker),
            "file": standing.file.as_ref().map(file),
            "earlier": standing.earlier.iter().map(served).collect::<Vec<_>>(),
            "turnedAway": standing.turned_away.iter().map(turned_away).collect::<Vec<_>>(),
            "running": running,
            "outcomes": self.health.outcomes(name),
        })
    }
}

fn named<'l>(live: &'l Live, name: &str) -> Result<(&'l PluginName, &'l Plugin), Fault> {
    let found = PluginName::from_str(name).ok();
    let found = found.and_then(|name| live.plugins().get_key_value(&name));
    found.ok_or_else(|| {
        let near = near(name, live.plugins().keys().map(PluginName::as_str));
        Refusal::NoPlugin { near: near.map(str::to_owned) }.into()
    })
}

fn show_breaker(plugin: &Plugin, open: Option<OpenBreaker>) -> Value {
    match (open, plugin.policy.breaker) {
        (Some(OpenBreaker { since, why, next_probe }), Some(_)) => json!({
            "state": "open",
            "since": time(since),
            "why": why,
            "nextProbe": next_probe.map(time),
        }),
        (None, Some(_)) => json!({ "state": "closed" }),
        (_, None) => json!({ "state": "off" }),
    }
}

fn file(file: &FileStanding) -> Value {
    json!({
        "version": file.version.map(|version: Digest| version.to_string()),
        "why": file.why.as_str(),
        "reason": file.reason,
        "add": file.add,
    })
}

fn served(served: &Served) -> Value {
    json!({
        "version": served.version.to_string(),
        "from": time(served.from),
        "until": time(served.until),
    })
}

fn turned_away(away: &TurnedAway) -> Value {
    json!({
        "version": away.version.to_string(),
        "cause": away.cause.as_str(),
        "reason": away.reason,
        "at": time(away.at),
    })
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        let (status, code) = match refusal {
            Refusal::NoPlugin { .. } => (StatusCode::NOT_FOUND, "not_found"),
            Refusal::NoVersion { .. } | Refusal::Ambiguous { .. } => {
                (StatusCode::BAD_REQUEST, "no_version")
            }
            Refusal::Grant(_) => (StatusCode::CONFLICT, "needs_grant"),
            Refusal::NoFile
            | Refusal::NoEarlier
            | Refusal::Live(_)
            | Refusal::NotLive
            | Refusal::Pinned(_)
            | Refusal::NotPinned
            | Refusal::NotKept { .. }
            | Refusal::CanNotServe { .. } => (StatusCode::CONFLICT, "not_possible"),
            Refusal::NotWritten(_) | Refusal::Busy | Refusal::ShuttingDown => {
                (StatusCode::SERVICE_UNAVAILABLE, "unavailable")
            }
        };
        Self::new(status, code, refusal)
    }
}
