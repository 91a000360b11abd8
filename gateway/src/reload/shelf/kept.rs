//! Serves what the data folder keeps: at a start, before the plugins folder is looked at, and when a grant
//! changes, from the bytes that are live rather than from whatever lies in the folder.

use std::fmt;

use hookweir_event::{Digest, PluginName};

use super::{Made, Moment, Refused, Shelf};
use crate::{
    config::{Config, PluginConfig},
    reload::versions::KeptFault,
};

/// Why kept content can't serve.
#[derive(Debug)]
pub(super) struct NotMade {
    reason: String,
    /// It may another time: what failed is not the content.
    pub(super) passing: bool,
}

impl fmt::Display for NotMade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl From<KeptFault> for NotMade {
    fn from(fault: KeptFault) -> Self {
        Self { reason: fault.to_string(), passing: matches!(fault, KeptFault::Io(_)) }
    }
}

impl From<Refused> for NotMade {
    fn from(refused: Refused) -> Self {
        Self { reason: refused.reason(), passing: refused.is_passing() }
    }
}

impl Shelf {
    /// Every plugin serves the version that was live before the stop, from the first moment: a file that
    /// is half copied or gone bad at a start takes nothing down. The folder is looked at after that, and a
    /// plugin whose file is not in it goes as one whose file was removed.
    pub(in crate::reload) async fn serve_kept(&mut self, config: &Config, moment: Moment) {
        for (name, live) in self.versions.live() {
            // Where another is live for all, that one will serve.
            let shared = self.shared.as_ref().filter(|shared| shared.is_published(&name));
            if shared.is_some_and(|shared| shared.live(&name) != Some(live.version)) {
                continue;
            }
            match self.made_of_kept(&name, live.version, config).await {
                Ok(made) => self.go_live(&name, made, moment),
                Err(reason) => tracing::warn!(
                    plugin = %name, version = live.version.short(),
                    "the version from before the restart can't serve: {reason}"
                ),
            }
        }
    }

    /// A plugin whose file does not go live and of which nothing serves, such as one whose file was gone for
    /// a while, serves what is pinned, or what was live last, or the last good version before that.
    pub(super) async fn serve_last_good(
        &mut self,
        name: &PluginName,
        refused: Option<Digest>,
        config: &Config,
        moment: Moment,
    ) {
        // What was removed for all does not come back by itself.
        let shared = self.shared.as_ref().filter(|shared| shared.is_published(name));
        if shared.is_some_and(|shared| shared.live(name).is_none()) {
            return;
        }
        let Some(record) = self.versions.record(name) else { return };
        let live = record.live.map(|live| live.version);
        let candidates = match record.pin {
            Some(pin) => [Some(pin), None],
            None => [live, record.last_good()],
        };
        for version in candidates.into_iter().flatten().filter(|one| Some(*one) != refused) {
            match self.made_of_kept(name, version, config).await {
                Ok(made) => {
                    let now = moment.timestamp();
                    self.versions.note(name, |record| record.go_live(version, now, false)).await;
                    return self.go_live(name, made, moment);
                }
                Err(fault) => tracing::warn!(
                    plugin = %name, version = version.short(),
                    "a version that was good can't serve: {fault}"
                ),
            }
        }
    }

    /// A kept version, made anew under this config.
    pub(super) async fn made_of_kept(
        &self,
        name: &PluginName,
        version: Digest,
        config: &Config,
    ) -> Result<Made, NotMade> {
        let bytes = self.content(version).await?;
        Ok(self.prepare(name, &bytes, config).await?)
    }

    /// The content of a version: what is kept here, or else what gateways share.
    pub(super) async fn content(&self, version: Digest) -> Result<Vec<u8>, NotMade> {
        let fault = match self.versions.read(version).await {
            Ok(bytes) => return Ok(bytes),
            Err(fault) => fault,
        };
        let Some(shared) = &self.shared else { return Err(fault.into()) };
        let passing = |reason: String| NotMade { reason, passing: true };
        match shared.publishing.content(version).await {
            Ok(Some(bytes)) if Digest::of(&bytes) == version => {
                if let Err(error) = self.versions.keep(version, &bytes).await {
                    tracing::warn!(version = version.short(), %error, "failed to keep a copy of what is published");
                }
                Ok(bytes)
            }
            Ok(Some(_)) => Err(passing("its content in the store is damaged".to_owned())),
            Ok(None) => Err(fault.into()),
            Err(error) => Err(passing(error.to_string())),
        }
    }

    /// The shelf under another config: versions whose grant changed are made anew.
    ///
    /// # Errors
    /// If a version that serves now would not under the new config; then nothing has changed.
    pub(in crate::reload) async fn under(
        &self,
        old: &Config,
        new: &Config,
        moment: Moment,
    ) -> Result<Self, String> {
        let mut shelf = self.clone();
        let same_rule = old.host.subscriptions == new.host.subscriptions;
        let names: Vec<_> = shelf.items.keys().cloned().collect();
        for name in names {
            if same_rule && grants(old, &name) == grants(new, &name) {
                continue;
            }
            let item = shelf.items.entry(name.clone()).or_default();
            // The file may be acceptable now, whatever it was before.
            (item.key, item.file) = (None, None);
            if let Some(shared) = &mut shelf.shared {
                shared.grant_changed(&name);
            }
            let serving = item.version.is_some();
            let live = self.versions.record(&name).and_then(|record| record.live);
            let Some(live) = live else { continue };
            match shelf.made_of_kept(&name, live.version, new).await {
                Ok(made) => shelf.go_live(&name, made, moment),
                Err(reason) if serving => return Err(format!("plugins.{name}: {reason}")),
                // It did not serve under the old config either.
                Err(_) => {}
            }
        }
        Ok(shelf)
    }
}

/// What of the config a version is made with.
fn grants<'c>(config: &'c Config, name: &PluginName) -> Option<&'c PluginConfig> {
    config.plugins.get(name)
}
