//! The plugins on the shelf: for each name the version that serves, the file it came from, and what
//! is wrong with the file that is there now.
//!
//! `look` follows the folder, `kept` serves what the data folder keeps, `verbs` does what operators ask
//! for, `trial` takes a version back that fails on probation. All of them end in `go_live`; where gateways share
//! versions by way of what they agree on: `offer` proposes, `exchange` follows.

mod exchange;
mod kept;
mod look;
mod news;
mod offer;
mod shared;
mod trial;
mod verbs;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
    time::{Instant, SystemTime},
};

use hookweir_event::{Digest, Pattern, PluginName, Timestamp};
use hookweir_host::{Exports, Host, LoadFault, Version, Wants, inspect};

pub(super) use self::verbs::Obeyed;
use self::{look::Again, news::News, shared::Shared, trial::Trial};
use super::{
    approve::{Needs, approve},
    samples,
    scan::FileKey,
    versions::{Versions, timestamp},
};
use crate::{
    config::Config,
    health::Health,
    live::Plugin,
    metrics::figures::Figures,
    standing::{FileStanding, Standing},
};

/// One name.
#[derive(Debug, Default, Clone)]
struct Item {
    version: Option<Version>,
    /// What the version is sent, or what waits for one.
    subscribe: Vec<Pattern>,
    /// Another whenever the plugin begins anew: with a version, a grant, the operator's word.
    generation: u64,
    trial: Option<Trial>,
    /// The file that was last understood, or failed to be.
    key: Option<FileKey>,
    /// A file that was listed but is too fresh to be read.
    fresh: Option<FileKey>,
    /// Such a file that was there when the gateway started: it is no news when it is read.
    was_here: Option<FileKey>,
    /// The file whose content did not go live.
    file: Option<FileStanding>,
    /// A file that could not be decided about, by no fault of its own.
    again: Option<Again>,
    /// The data folder did not take what is live.
    unkept: bool,
    missing_since: Option<Instant>,
    /// What its file in the folder was that was decided about last.
    folder: Option<Digest>,
    /// The operator wants the file to be proposed, whatever became of it before.
    insists: bool,
}

/// All names.
#[derive(Debug, Clone)]
pub(super) struct Shelf {
    host: Host,
    versions: Versions,
    health: Arc<Health>,
    items: BTreeMap<PluginName, Item>,
    misnamed: BTreeSet<PathBuf>,
    /// What gateways share, if they do.
    shared: Option<Shared>,
    generations: u64,
    /// What the next swap brings, in the order it happened; nothing before the first.
    news: Option<Vec<News>>,
}

/// When something happens, by the clock that never jumps and by the one on the wall.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub(super) now: Instant,
    pub(super) wall: SystemTime,
}

impl Moment {
    fn timestamp(self) -> Timestamp {
        timestamp(self.wall)
    }
}

/// A version that can serve, and what it is sent.
type Made = (Version, Vec<Pattern>);

/// Why content did not go live.
enum Refused {
    /// It does not load. The file may not be complete.
    Fault(LoadFault),
    /// It loads and fails when it is tried; what it would have been sent is known.
    Trial(LoadFault, Vec<Pattern>),
    /// It wants more than it was granted.
    Approval(Needs),
}

impl Refused {
    fn reason(&self) -> String {
        match self {
            Self::Fault(fault) | Self::Trial(fault, _) => format!("failed to load: {fault}"),
            Self::Approval(needs) => needs.to_string(),
        }
    }

    /// Whether the same content may load another time: what failed is the machine that it was tried on.
    fn is_passing(&self) -> bool {
        matches!(self, Self::Fault(LoadFault::NotRun(_) | LoadFault::CompileTime(_)))
    }
}

impl Shelf {
    pub(super) fn new(host: Host, versions: Versions, health: Arc<Health>) -> Self {
        let (items, misnamed) = (BTreeMap::new(), BTreeSet::new());
        Self { host, versions, health, items, misnamed, shared: None, generations: 0, news: None }
    }

    /// The plugins as they go on the board. Names that only the config knows are among them: their
    /// deliveries wait for a file.
    pub(super) fn plugins(&self, config: &Config) -> BTreeMap<PluginName, Plugin> {
        let named = config.plugins.iter().filter(|(_, plugin)| plugin.subscribe.is_some());
        let names: BTreeSet<_> = self.items.keys().chain(named.map(|(name, _)| name)).collect();
        self.health.keep_only(|name| names.contains(name));
        names.into_iter().map(|name| (name.clone(), self.plugin(name, config))).collect()
    }

    fn plugin(&self, name: &PluginName, config: &Config) -> Plugin {
        let item = self.items.get(name).cloned().unwrap_or_default();
        let own = config.plugins.get(name).cloned().unwrap_or_default();
        Plugin {
            standing: Arc::new(self.standing(name, &item)),
            alerts: config.alerts_of(name),
            version: item.version,
            generation: item.generation,
            subscribe: own.subscribe.unwrap_or(item.subscribe),
            order_by: own.order_by.map(Arc::new),
            policy: own.policy,
            memory: own.grant.limits.attempt_bytes(),
            api: own.api,
            record: Arc::default(),
            figures: Figures::new(config.counts(name)),
            verifier: own.verifier == Some(true),
        }
    }

    fn standing(&self, name: &PluginName, item: &Item) -> Standing {
        let record = self.versions.record(name).cloned().unwrap_or_default();
        let live = item.version.as_ref().and(record.live);
        Standing {
            since: live.map(|live| live.since),
            probation: item.trial.is_some(),
            pinned: record.pin,
            file: item.file.clone(),
            earlier: record.earlier,
            turned_away: record.turned_away,
            shared: self.shared_standing(name),
        }
    }

    /// Compiled, linked and tried, off to the side: nothing is in force until it goes live.
    async fn prepare(
        &self,
        name: &PluginName,
        bytes: &[u8],
        config: &Config,
    ) -> Result<Made, Refused> {
        let own = config.plugins.get(name);
        let grant = own.map(|own| own.grant.clone()).unwrap_or_default();
        let limits = grant.limits.module.clone();
        let prepared = self.host.prepare(name.clone(), bytes.to_vec(), grant).await;
        let approval = |wants: &Wants, exports: Exports| {
            approve(name.as_str(), wants, exports, own, config.host.subscriptions)
        };
        match prepared {
            Ok(version) => match approval(version.wants(), version.exports()) {
                Ok(subscribe) => Ok((version, subscribe)),
                Err(needs) => Err(Refused::Approval(needs)),
            },
            // What it asked for may still be known, so that its deliveries can wait for a good one.
            Err(fault) => match inspect(bytes, &limits)
                .map(|seen| approval(&seen.wants, seen.optional_exports()))
            {
                Ok(Err(needs)) => Err(Refused::Approval(needs)),
                Ok(Ok(subscribe)) if matches!(fault, LoadFault::Start(_) | LoadFault::Init(_)) => {
                    Err(Refused::Trial(fault, subscribe))
                }
                _ => Err(Refused::Fault(fault)),
            },
        }
    }

    /// Run on the sample events beside its file. Only what comes from the folder is: what served before goes
    /// on serving.
    async fn rehearsed(
        &self,
        name: &PluginName,
        made: Made,
        config: &Config,
        moment: Moment,
    ) -> Result<Made, Refused> {
        let (host, dir) = (&self.host, &config.host.dir);
        match samples::rehearse(host, dir, name, &made.0, moment.timestamp()).await {
            Ok(()) => Ok(made),
            Err(fault) => Err(Refused::Trial(fault, made.1)),
        }
    }

    /// A version serves from now on: on the board with the next swap. What the record says of it was said
    /// before.
    fn go_live(&mut self, name: &PluginName, (version, subscribe): Made, moment: Moment) {
        self.say(News::Live {
            plugin: name.clone(),
            version: version.digest(),
            before: self.live(name),
            subscribe: subscribe.clone(),
        });
        let trial = self.trial(name, version.digest(), moment);
        self.generations += 1;
        let item = self.items.entry(name.clone()).or_default();
        let (generation, version, folder) = (self.generations, Some(version), item.folder);
        *item = Item { version, subscribe, generation, trial, folder, ..Item::default() };
    }

    /// The version that serves under this name.
    fn live(&self, name: &PluginName) -> Option<Digest> {
        self.items.get(name)?.version.as_ref().map(Version::digest)
    }
}
