//! The plugins on the shelf: for each name the version that serves, the file it came from, and what
//! is wrong with the file that is there now.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use hookweir_event::{Digest, Pattern, PluginName};
use hookweir_host::{Host, LoadFault, Version, Wants, inspect};

use super::{
    approve::approve,
    last_good::LastGood,
    scan::{self, FileKey, Found},
};
use crate::{
    config::{Config, PluginConfig},
    live::Plugin,
};

/// A file that was written this recently may still be being written.
const SETTLED_AFTER: Duration = Duration::from_millis(200);
/// A file that can't be understood and is younger than this may not be complete yet.
const COMPLETE_AFTER: Duration = Duration::from_secs(2);
/// A file that is gone for this long was removed; for less, it is being replaced.
const REMOVED_AFTER: Duration = Duration::from_secs(2);
/// The largest file that is read.
const FILE_MAX: u64 = 64 << 20;

/// One name.
#[derive(Debug, Default, Clone)]
struct Item {
    version: Option<Version>,
    subscribe: Vec<Pattern>,
    /// The file that was last understood, or failed to be.
    key: Option<FileKey>,
    /// A file that was listed but is too fresh to be read.
    fresh: Option<FileKey>,
    /// The content that did not go live.
    failed: Option<Digest>,
    missing_since: Option<Instant>,
}

/// All names.
#[derive(Debug, Clone)]
pub(super) struct Shelf {
    host: Host,
    kept: LastGood,
    items: BTreeMap<PluginName, Item>,
    misnamed: BTreeSet<PathBuf>,
}

/// What a look at the folder came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Looked {
    /// Something went live, or went away.
    pub(super) changed: bool,
    /// Something is not decided yet: look again soon.
    pub(super) pending: bool,
}

/// Why content did not go live.
enum Refused {
    Fault(LoadFault),
    Approval(String, Vec<Pattern>),
}

impl Shelf {
    pub(super) fn new(host: Host, kept: LastGood) -> Self {
        Self { host, kept, items: BTreeMap::new(), misnamed: BTreeSet::new() }
    }

    /// The plugins as they go on the board. Names that only the config knows are among them: their
    /// deliveries wait for a file.
    pub(super) fn plugins(&self, config: &Config) -> BTreeMap<PluginName, Plugin> {
        let named = config.plugins.iter().filter(|(_, plugin)| plugin.subscribe.is_some());
        let names: BTreeSet<_> = self.items.keys().chain(named.map(|(name, _)| name)).collect();
        names.into_iter().map(|name| (name.clone(), self.plugin(name, config))).collect()
    }

    fn plugin(&self, name: &PluginName, config: &Config) -> Plugin {
        let item = self.items.get(name).cloned().unwrap_or_default();
        let own = config.plugins.get(name).cloned().unwrap_or_default();
        Plugin {
            version: item.version,
            subscribe: own.subscribe.unwrap_or(item.subscribe),
            order_by: own.order_by.map(Arc::new),
            policy: own.policy,
            memory: own.grant.limits.memory,
        }
    }

    /// Looks at the folder and follows it.
    ///
    /// # Errors
    /// If the folder can't be listed; then everything stays as it is.
    pub(super) async fn look(
        &mut self,
        config: &Config,
        now: Instant,
        wall: SystemTime,
    ) -> io::Result<Looked> {
        let listing = scan::list(&config.host.dir, wall).await?;
        self.name_misnamed(listing.misnamed);
        let mut looked = Looked::default();
        for (name, found) in &listing.plugins {
            self.look_at(name, found, config, &mut looked).await;
        }
        let names: Vec<_> = self.items.keys().cloned().collect();
        for name in names {
            if !listing.plugins.contains_key(&name) {
                self.missing(&name, now, &mut looked).await;
            }
        }
        Ok(looked)
    }

    fn name_misnamed(&mut self, paths: Vec<PathBuf>) {
        let paths: BTreeSet<_> = paths.into_iter().collect();
        for path in paths.difference(&self.misnamed) {
            tracing::warn!(path = %path.display(), "not a plugin: the name before .wasm must be made of a-z, 0-9 and '-'");
        }
        self.misnamed = paths;
    }

    async fn look_at(
        &mut self,
        name: &PluginName,
        found: &Found,
        config: &Config,
        looked: &mut Looked,
    ) {
        let item = self.items.entry(name.clone()).or_default();
        item.missing_since = None;
        if item.key == Some(found.key) {
            return;
        }
        // Fresh, and not seen the same before: whoever writes it may not be finished.
        if found.age < SETTLED_AFTER && item.fresh != Some(found.key) {
            item.fresh = Some(found.key);
            looked.pending = true;
            return;
        }
        let bytes = match scan::read_stable(found, FILE_MAX).await {
            Ok(Some(bytes)) => bytes,
            Ok(None) => {
                looked.pending = true;
                return;
            }
            Err(error) => {
                item.key = Some(found.key);
                tracing::warn!(plugin = %name, %error, "failed to read the plugin's file");
                self.fall_back(name, config, looked).await;
                return;
            }
        };
        let digest = Digest::of(&bytes);
        let live = item.version.as_ref().map(Version::digest);
        if live == Some(digest) || item.failed == Some(digest) {
            item.key = Some(found.key);
            return;
        }
        match self.prepare(name, &bytes, config).await {
            Ok((version, subscribe)) => {
                self.keep(name, &bytes).await;
                self.go_live(name, version, subscribe);
                self.items.entry(name.clone()).or_default().key = Some(found.key);
                looked.changed = true;
            }
            Err(Refused::Fault(_)) if found.age < COMPLETE_AFTER => looked.pending = true,
            Err(refused) => {
                let item = self.items.entry(name.clone()).or_default();
                (item.key, item.failed) = (Some(found.key), Some(digest));
                self.refuse(name, digest, refused, looked);
                self.fall_back(name, config, looked).await;
            }
        }
    }

    /// Compiled, linked and tried, off to the side: nothing is in force until it goes live.
    async fn prepare(
        &self,
        name: &PluginName,
        bytes: &[u8],
        config: &Config,
    ) -> Result<(Version, Vec<Pattern>), Refused> {
        let own = config.plugins.get(name);
        let grant = own.map(|own| own.grant.clone()).unwrap_or_default();
        let prepared = self.host.prepare(name.clone(), bytes.to_vec(), grant).await;
        let approval =
            |wants: &Wants| approve(name.as_str(), wants, own, config.host.subscriptions);
        match prepared {
            Ok(version) => match approval(version.wants()) {
                Ok(subscribe) => Ok((version, subscribe)),
                Err(reason) => Err(Refused::Approval(reason, Vec::new())),
            },
            // What it asked for may still be known, so that its deliveries can wait for a good one.
            Err(fault) => match inspect(bytes).map(|seen| approval(&seen.wants)) {
                Ok(Err(reason)) => Err(Refused::Approval(reason, Vec::new())),
                Ok(Ok(subscribe)) if matches!(fault, LoadFault::Start(_) | LoadFault::Init(_)) => {
                    Err(Refused::Approval(format!("failed to load: {fault}"), subscribe))
                }
                _ => Err(Refused::Fault(fault)),
            },
        }
    }

    fn go_live(&mut self, name: &PluginName, version: Version, subscribe: Vec<Pattern>) {
        let item = self.items.entry(name.clone()).or_default();
        let before = item.version.as_ref().map(|version| version.digest().short());
        let patterns: Vec<_> = subscribe.iter().map(ToString::to_string).collect();
        tracing::info!(
            plugin = %name, version = version.digest().short(), before,
            subscribes = patterns.join(" "), "plugin is live"
        );
        *item = Item { version: Some(version), subscribe, ..Item::default() };
    }

    /// Says why, and what goes on serving.
    fn refuse(&mut self, name: &PluginName, digest: Digest, refused: Refused, looked: &mut Looked) {
        let item = self.items.entry(name.clone()).or_default();
        let serving = item.version.as_ref().map(|version| version.digest().short());
        let reason = match refused {
            Refused::Fault(fault) => format!("failed to load: {fault}"),
            Refused::Approval(reason, subscribe) => {
                if item.version.is_none() && item.subscribe != subscribe {
                    item.subscribe = subscribe;
                    looked.changed = true;
                }
                reason
            }
        };
        match serving {
            Some(serving) => tracing::warn!(
                plugin = %name, version = digest.short(), serving,
                "{reason}; the last good version keeps serving"
            ),
            None => tracing::warn!(
                plugin = %name, version = digest.short(),
                "{reason}; its deliveries wait"
            ),
        }
    }

    /// With nothing live, the version that was live before the last stop serves.
    async fn fall_back(&mut self, name: &PluginName, config: &Config, looked: &mut Looked) {
        if self.items.get(name).is_some_and(|item| item.version.is_some()) {
            return;
        }
        let bytes = match self.kept.read(name).await {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(plugin = %name, %error, "failed to read the last good version");
                return;
            }
        };
        if let Ok((version, subscribe)) = self.prepare(name, &bytes, config).await {
            let (key, failed) =
                self.items.get(name).map_or((None, None), |item| (item.key, item.failed));
            tracing::warn!(plugin = %name, "serving the last good version from before the restart");
            self.go_live(name, version, subscribe);
            let item = self.items.entry(name.clone()).or_default();
            (item.key, item.failed) = (key, failed);
            looked.changed = true;
        }
    }

    /// Of every file that is not decided about yet, the version from before the last stop serves.
    pub(super) async fn fall_back_all(&mut self, config: &Config) {
        let names: Vec<_> = self.items.keys().cloned().collect();
        for name in names {
            self.fall_back(&name, config, &mut Looked::default()).await;
        }
    }

    async fn keep(&self, name: &PluginName, bytes: &[u8]) {
        if let Err(error) = self.kept.keep(name, bytes).await {
            tracing::warn!(plugin = %name, %error, "failed to keep a copy of the live version");
        }
    }

    async fn missing(&mut self, name: &PluginName, now: Instant, looked: &mut Looked) {
        let item = self.items.entry(name.clone()).or_default();
        let since = *item.missing_since.get_or_insert(now);
        if now.saturating_duration_since(since) < REMOVED_AFTER {
            looked.pending = true;
            return;
        }
        self.items.remove(name);
        if let Err(error) = self.kept.forget(name).await {
            tracing::warn!(plugin = %name, %error, "failed to forget a removed plugin");
        }
        tracing::info!(plugin = %name, "plugin was removed; deliveries it already has wait");
        looked.changed = true;
    }

    /// The shelf under another config: versions whose grant changed are made anew.
    ///
    /// # Errors
    /// If a version that serves now would not under the new config; then nothing has changed.
    pub(super) async fn under(&self, old: &Config, new: &Config) -> Result<Self, String> {
        let mut shelf = self.clone();
        let names: Vec<_> = shelf.items.keys().cloned().collect();
        for name in names {
            let same_rule = old.host.subscriptions == new.host.subscriptions;
            if same_rule && grants(old, &name) == grants(new, &name) {
                continue;
            }
            let item = shelf.items.entry(name.clone()).or_default();
            // The file may be acceptable now, whatever it was before.
            (item.key, item.failed) = (None, None);
            if item.version.is_none() {
                continue;
            }
            let kept =
                self.kept.read(&name).await.map_err(|error| format!("plugins.{name}: {error}"))?;
            let Some(bytes) = kept else { continue };
            match shelf.prepare(&name, &bytes, new).await {
                Ok((version, subscribe)) => shelf.go_live(&name, version, subscribe),
                Err(Refused::Fault(fault)) => return Err(format!("plugins.{name}: {fault}")),
                Err(Refused::Approval(reason, _)) => {
                    return Err(format!("plugins.{name}: {reason}"));
                }
            }
        }
        Ok(shelf)
    }
}

/// What of the config a version is made with.
fn grants<'c>(config: &'c Config, name: &PluginName) -> Option<&'c PluginConfig> {
    config.plugins.get(name)
}
