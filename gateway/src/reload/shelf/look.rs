//! Looks at the plugins folder and follows it: what is new is prepared and goes live, what is bad or held
//! back is named once, what is gone is taken off the shelf.

use std::{collections::BTreeSet, ffi::OsString, io, path::PathBuf, time::Duration};

use hookweir_event::{Digest, PluginName};
use hookweir_host::Version;

use super::{Made, Moment, Refused, Shelf};
use crate::{
    config::Config,
    reload::scan::{self, Found},
    standing::{Cause, FileStanding, NotLive, TurnedAway},
};

/// A file that was written this recently may still be being written.
const SETTLED_AFTER: Duration = Duration::from_millis(200);
/// A file that can't be understood and is younger than this may not be complete yet.
const COMPLETE_AFTER: Duration = Duration::from_secs(2);
/// A file that is gone for this long was removed; for less, it is being replaced.
const REMOVED_AFTER: Duration = Duration::from_secs(2);
/// The largest file that is read.
const FILE_MAX: u64 = 64 << 20;

/// What a look at the folder came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::reload) struct Looked {
    /// Something went live, or went away, or stands otherwise.
    pub(in crate::reload) changed: bool,
    /// Something is not decided yet: look again soon.
    pub(in crate::reload) pending: bool,
    /// And nothing serves under its name meanwhile.
    pub(in crate::reload) unserved: bool,
}

impl Shelf {
    /// Looks at the folder and follows it. The files named `complete` are not waited for.
    ///
    /// # Errors
    /// If the folder can't be listed; then everything stays as it is.
    pub(in crate::reload) async fn look(
        &mut self,
        config: &Config,
        moment: Moment,
        complete: &BTreeSet<OsString>,
    ) -> io::Result<Looked> {
        let mut listing = scan::list(&config.host.dir, moment.wall).await?;
        for found in listing.plugins.values_mut() {
            found.complete = found.path.file_name().is_some_and(|name| complete.contains(name));
        }
        self.name_misnamed(listing.misnamed);
        let mut looked = Looked::default();
        for (name, found) in &listing.plugins {
            self.look_at(name, found, config, moment, &mut looked).await;
        }
        let names: Vec<_> = self.items.keys().cloned().collect();
        for name in names {
            if !listing.plugins.contains_key(&name) {
                self.missing(&name, moment, &mut looked).await;
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
        moment: Moment,
        looked: &mut Looked,
    ) {
        let item = self.items.entry(name.clone()).or_default();
        item.missing_since = None;
        if item.key == Some(found.key) {
            return;
        }
        // Fresh, and not seen the same before: whoever writes it may not be finished.
        if found.age < SETTLED_AFTER && !found.complete && item.fresh != Some(found.key) {
            item.fresh = Some(found.key);
            looked.wait(item.version.as_ref());
            return;
        }
        let bytes = match scan::read_stable(found, FILE_MAX).await {
            Ok(Some(bytes)) => bytes,
            Ok(None) => {
                looked.wait(item.version.as_ref());
                return;
            }
            Err(error) => {
                item.key = Some(found.key);
                let reason = format!("failed to read the plugin's file: {error}");
                self.set_aside(
                    name,
                    FileStanding { version: None, why: NotLive::Unreadable, reason, add: None },
                );
                looked.changed = true;
                return;
            }
        };
        let digest = Digest::of(&bytes);
        let decided = item.file.as_ref().is_some_and(|file| file.version == Some(digest));
        if item.version.as_ref().map(Version::digest) == Some(digest) || decided {
            item.key = Some(found.key);
            looked.changed |= !decided && item.file.take().is_some();
            return;
        }
        if let Some((why, reason)) = self.held_back(name, digest) {
            if why == NotLive::Pinned && self.version(name).is_none() {
                self.serve_pinned(name, config, moment).await;
            }
            self.items.entry(name.clone()).or_default().key = Some(found.key);
            let version = Some(digest);
            self.set_aside(name, FileStanding { version, why, reason, add: None });
            looked.changed = true;
            return;
        }
        let made = match self.prepare(name, &bytes, config).await {
            Ok(made) => self.rehearsed(name, made, config, moment).await,
            refused => refused,
        };
        match made {
            Ok(made) => {
                self.publish(name, &bytes, made, moment).await;
                self.items.entry(name.clone()).or_default().key = Some(found.key);
                looked.changed = true;
            }
            Err(Refused::Fault(_)) if found.age < COMPLETE_AFTER => looked.wait(self.version(name)),
            Err(refused) => {
                self.items.entry(name.clone()).or_default().key = Some(found.key);
                self.refuse(name, digest, refused, moment).await;
                looked.changed = true;
            }
        }
    }

    fn version(&self, name: &PluginName) -> Option<&Version> {
        self.items.get(name)?.version.as_ref()
    }

    /// Why content does not even get tried.
    fn held_back(&self, name: &PluginName, digest: Digest) -> Option<(NotLive, String)> {
        let record = self.versions.record(name)?;
        if let Some(pin) = record.pin.filter(|pin| *pin != digest) {
            let reason = format!("version {} is pinned", pin.short());
            return Some((NotLive::Pinned, reason));
        }
        // What did not load is tried again: the gateway or the config may be another now.
        let away = record.away(digest).filter(|away| away.cause != Cause::Load)?;
        Some((NotLive::TurnedAway, away.reason.clone()))
    }

    /// Kept, written down, live: in this order, so that what is live can serve after a crash too.
    async fn publish(&mut self, name: &PluginName, bytes: &[u8], made: Made, moment: Moment) {
        let digest = made.0.digest();
        if let Err(error) = self.versions.keep(digest, bytes).await {
            tracing::warn!(plugin = %name, %error, "failed to keep a copy of the live version");
        }
        let now = moment.timestamp();
        self.versions.note(name, |record| record.go_live(digest, now, record.pin.is_none())).await;
        self.go_live(name, made, moment);
    }

    /// Remembers what did not load, so that a listing after a restart tells.
    async fn refuse(
        &mut self,
        name: &PluginName,
        digest: Digest,
        refused: Refused,
        moment: Moment,
    ) {
        let reason = refused.reason();
        let (why, add) = match &refused {
            Refused::Approval(needs) => (NotLive::NeedsApproval, Some(needs.toml())),
            Refused::Fault(_) | Refused::Trial(..) => (NotLive::Failed, None),
        };
        if let Refused::Trial(_, subscribe) = refused {
            let item = self.items.entry(name.clone()).or_default();
            if item.version.is_none() {
                item.subscribe = subscribe;
            }
        }
        let record = self.versions.record(name);
        let known = record.and_then(|record| record.away(digest));
        if why == NotLive::Failed && known.is_none_or(|known| known.reason != reason) {
            let (reason, at) = (reason.clone(), moment.timestamp());
            let away = TurnedAway { version: digest, cause: Cause::Load, reason, at };
            self.versions.note(name, |record| record.turn_away(away)).await;
        }
        self.set_aside(name, FileStanding { version: Some(digest), why, reason, add });
    }

    /// Says why a file is not live, and what goes on serving.
    fn set_aside(&mut self, name: &PluginName, file: FileStanding) {
        let FileStanding { version, reason, .. } = &file;
        let item = self.items.entry(name.clone()).or_default();
        let serving = item.version.as_ref().map(|version| version.digest().short());
        let shown = version.map(|version| version.short());
        match &serving {
            Some(serving) => tracing::warn!(
                plugin = %name, version = shown, serving,
                "{reason}; the last good version keeps serving"
            ),
            None => tracing::warn!(
                plugin = %name, version = shown,
                "{reason}; its deliveries wait"
            ),
        }
        item.file = Some(file);
    }

    async fn missing(&mut self, name: &PluginName, moment: Moment, looked: &mut Looked) {
        let item = self.items.entry(name.clone()).or_default();
        let since = *item.missing_since.get_or_insert(moment.now);
        if moment.now.saturating_duration_since(since) < REMOVED_AFTER {
            looked.wait(item.version.as_ref());
            return;
        }
        self.items.remove(name);
        self.versions.retire(name, moment.timestamp()).await;
        tracing::info!(plugin = %name, "plugin was removed; deliveries it already has wait");
        looked.changed = true;
    }
}

impl Looked {
    /// A file is not decided about; this serves meanwhile.
    fn wait(&mut self, serving: Option<&Version>) {
        self.pending = true;
        self.unserved |= serving.is_none();
    }
}
