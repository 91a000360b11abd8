//! Looks at the plugins folder and follows it: what is new is prepared and goes live, what is bad or held
//! back is named once, what is gone is taken off the shelf.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    io,
    path::PathBuf,
    time::{Duration, Instant},
};

use hookweir_event::{Digest, PluginName};
use hookweir_host::{ModuleLimits, Version};

use super::{Made, Moment, News, Refused, Shelf, offer::Offer};
use crate::{
    config::Config,
    reload::scan::{self, FileKey, Found},
    standing::{Cause, FileStanding, NotLive, TurnedAway},
};

/// A file that was written this recently may still be being written.
const SETTLED_AFTER: Duration = Duration::from_millis(200);
/// A file that can't be understood and is younger than this may not be complete yet.
const COMPLETE_AFTER: Duration = Duration::from_secs(2);
/// A file that is gone for this long was removed; for less, it is being replaced.
const REMOVED_AFTER: Duration = Duration::from_secs(2);
/// How long a file that could not be decided about, by no fault of its own, is left alone: at first, then
/// twice as long each time, up to the most.
const AGAIN: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(300));

/// When a file is tried again that could not be decided about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Again {
    key: FileKey,
    at: Instant,
    pause: Duration,
}

impl Again {
    /// After this failure, and those before it on the same file.
    fn after(before: Option<Self>, key: FileKey, now: Instant) -> Self {
        let (first, most) = AGAIN;
        let before = before.filter(|before| before.key == key);
        let pause = before.map_or(first, |before| (before.pause * 2).min(most));
        Self { key, at: now + pause, pause }
    }

    /// Whether this file is to be left alone still.
    fn holds(self, key: FileKey, now: Instant) -> bool {
        self.key == key && now < self.at
    }
}

/// Whether a file may be read another time, without anybody doing something about it.
fn is_passing(error: &io::Error) -> bool {
    !matches!(error.kind(), io::ErrorKind::FileTooLarge | io::ErrorKind::PermissionDenied)
}

/// What a look at the folder came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::reload) struct Looked {
    /// Something went live, or went away, or stands otherwise, and was not put up.
    pub(super) changed: bool,
    /// Something is not decided yet: look again soon.
    pub(in crate::reload) pending: bool,
    /// And nothing serves under its name meanwhile.
    pub(in crate::reload) unserved: bool,
}

impl Shelf {
    /// Looks at the folder and follows it. The files named `complete` are not waited for. `put_up` is called
    /// whenever something went live, or went away, or stands otherwise: with each plugin, since the next one
    /// may take long to compile.
    ///
    /// # Errors
    /// If the folder can't be listed; then everything stays as it is.
    pub(in crate::reload) async fn look(
        &mut self,
        config: &Config,
        moment: Moment,
        complete: &BTreeSet<OsString>,
        mut put_up: impl FnMut(&mut Self),
    ) -> io::Result<Looked> {
        let mut listing = scan::list(&config.host.dir, moment.wall).await?;
        for found in listing.plugins.values_mut() {
            found.complete = found.path.file_name().is_some_and(|name| complete.contains(name));
        }
        self.note_folder(listing.folder);
        self.name_misnamed(listing.misnamed);
        let mut looked = Looked::default();
        for (name, found) in &listing.plugins {
            self.look_at(name, found, config, moment, &mut looked).await;
            looked.put_up(self, &mut put_up);
        }
        let names: Vec<_> = self.items.keys().cloned().collect();
        for name in names {
            if !listing.plugins.contains_key(&name) {
                self.missing(&name, moment, &mut looked).await;
                looked.put_up(self, &mut put_up);
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
        let starting = self.shared.as_ref().is_some_and(|shared| shared.starting);
        let item = self.items.entry(name.clone()).or_default();
        item.missing_since = None;
        if item.key == Some(found.key) && !item.unkept && !item.insists {
            return;
        }
        if item.again.is_some_and(|again| again.holds(found.key, moment.now)) {
            looked.wait(item.version.as_ref());
            return;
        }
        // Fresh, and not seen the same before: whoever writes it may not be finished.
        if found.age < SETTLED_AFTER && !found.complete && item.fresh != Some(found.key) {
            item.fresh = Some(found.key);
            item.was_here = item.fresh.filter(|_| starting);
            looked.wait(item.version.as_ref());
            return;
        }
        if let Some(bytes) = self.read(name, found, config, moment, looked).await {
            self.consider(name, found, &bytes, config, moment, looked).await;
        }
    }

    /// The content of a file. Of one that can't be read it is said why, or it is looked at again.
    async fn read(
        &mut self,
        name: &PluginName,
        found: &Found,
        config: &Config,
        moment: Moment,
        looked: &mut Looked,
    ) -> Option<Vec<u8>> {
        let own = config.plugins.get(name).map(|own| own.grant.limits.module.bytes);
        let max = own.unwrap_or_else(|| ModuleLimits::default().bytes);
        match scan::read_stable(found, max).await {
            Ok(Some(bytes)) => return Some(bytes),
            Ok(None) => looked.wait(self.version(name)),
            Err(error) => {
                let reason = format!("failed to read the plugin's file: {error}");
                let file =
                    FileStanding { version: None, why: NotLive::Unreadable, reason, add: None };
                if is_passing(&error) {
                    self.put_off(name, found.key, file, config, moment, looked).await;
                } else {
                    self.set_aside(name, file, config, moment).await;
                    self.decided(name, (found.key, None), looked);
                }
            }
        }
        None
    }

    /// Decides about the content of a file.
    async fn consider(
        &mut self,
        name: &PluginName,
        found: &Found,
        bytes: &[u8],
        config: &Config,
        moment: Moment,
        looked: &mut Looked,
    ) {
        let item = self.items.entry(name.clone()).or_default();
        let digest = Digest::of(bytes);
        let shared = self.shared.as_ref().filter(|shared| shared.live(name) != Some(digest));
        if item.version.as_ref().map(Version::digest) == Some(digest) && shared.is_none() {
            looked.changed |= item.file.take().is_some();
            (item.key, item.folder, item.insists) = (Some(found.key), Some(digest), false);
            return self.keep(name, digest, bytes).await;
        }
        let same = item.file.as_ref().is_some_and(|file| file.version == Some(digest));
        // What others propose and refused is no news; that it is put here is.
        let same = same && (self.shared.is_none() || item.folder == Some(digest));
        if same && item.again.is_none() && !item.insists {
            (item.key, item.folder) = (Some(found.key), Some(digest));
            return;
        }
        if let Some((why, reason)) = self.held_back(name, digest) {
            let file = FileStanding { version: Some(digest), why, reason, add: None };
            self.set_aside(name, file, config, moment).await;
            return self.decided(name, (found.key, Some(digest)), looked);
        }
        match self.offer(name, found.key, digest) {
            Offer::Own | Offer::Propose => {}
            Offer::Leave(file) => {
                match file.why {
                    NotLive::Proposed => {
                        self.items.entry(name.clone()).or_default().file = Some(file);
                    }
                    _ => self.set_aside(name, file, config, moment).await,
                }
                return self.decided(name, (found.key, Some(digest)), looked);
            }
            Offer::Wait(file) => {
                return self.put_off(name, found.key, file, config, moment, looked).await;
            }
        }
        let made = match self.prepare(name, bytes, config).await {
            Ok(made) => self.rehearsed(name, made, config, moment).await,
            refused => refused,
        };
        match made {
            Ok(made) if self.shared.is_some() => match self.propose_file(name, bytes, made).await {
                Ok(file) => self.items.entry(name.clone()).or_default().file = file,
                Err(file) => {
                    return self.put_off(name, found.key, file, config, moment, looked).await;
                }
            },
            Ok(made) => self.publish(name, bytes, made, moment).await,
            Err(refused) if refused.is_passing() => {
                let (why, reason) = (NotLive::Failed, refused.reason());
                let file = FileStanding { version: Some(digest), why, reason, add: None };
                return self.put_off(name, found.key, file, config, moment, looked).await;
            }
            Err(Refused::Fault(_)) if found.age < COMPLETE_AFTER => {
                looked.wait(self.version(name));
                return;
            }
            Err(refused) => self.refuse(name, digest, refused, config, moment).await,
        }
        self.decided(name, (found.key, Some(digest)), looked);
    }

    /// This file needs no other look until it changes.
    fn decided(
        &mut self,
        name: &PluginName,
        (key, digest): (FileKey, Option<Digest>),
        looked: &mut Looked,
    ) {
        let item = self.items.entry(name.clone()).or_default();
        (item.key, item.again, item.insists) = (Some(key), None, false);
        item.folder = digest;
        looked.changed = true;
    }

    /// Nothing can be said of this file for now.
    async fn put_off(
        &mut self,
        name: &PluginName,
        key: FileKey,
        file: FileStanding,
        config: &Config,
        moment: Moment,
        looked: &mut Looked,
    ) {
        let before = self.items.get(name).and_then(|item| item.again);
        if before.is_none_or(|before| before.key != key) {
            let reason = format!("{}; it is tried again", file.reason);
            self.set_aside(name, FileStanding { reason, ..file }, config, moment).await;
            looked.changed = true;
        }
        let item = self.items.entry(name.clone()).or_default();
        item.again = Some(Again::after(before, key, moment.now));
        looked.wait(item.version.as_ref());
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
        self.keep(name, digest, bytes).await;
        let unkept = self.items.get(name).is_some_and(|item| item.unkept);
        let now = moment.timestamp();
        self.versions.note(name, |record| record.go_live(digest, now, record.pin.is_none())).await;
        self.go_live(name, made, moment);
        self.items.entry(name.clone()).or_default().unkept = unkept;
    }

    /// Keeps what is live. What can't be kept, such as on a full disk, is tried again at each look.
    async fn keep(&mut self, name: &PluginName, digest: Digest, bytes: &[u8]) {
        let kept = self.versions.keep(digest, bytes).await;
        let item = self.items.entry(name.clone()).or_default();
        match kept {
            Ok(()) => item.unkept = false,
            Err(error) => {
                if !std::mem::replace(&mut item.unkept, true) {
                    tracing::warn!(plugin = %name, %error, "failed to keep a copy of the live version");
                }
            }
        }
    }

    /// Remembers what did not load, so that a listing after a restart tells.
    async fn refuse(
        &mut self,
        name: &PluginName,
        digest: Digest,
        refused: Refused,
        config: &Config,
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
        let file = FileStanding { version: Some(digest), why, reason, add };
        self.set_aside(name, file, config, moment).await;
    }

    /// Says why a file is not live, and what goes on serving: if nothing does, the last good version.
    pub(super) async fn set_aside(
        &mut self,
        name: &PluginName,
        file: FileStanding,
        config: &Config,
        moment: Moment,
    ) {
        if self.version(name).is_none() {
            self.serve_last_good(name, file.version, config, moment).await;
        }
        self.say(News::SetAside {
            plugin: name.clone(),
            version: file.version,
            serving: self.live(name),
            reason: file.reason.clone(),
        });
        let item = self.items.entry(name.clone()).or_default();
        item.file = Some(file);
    }

    async fn missing(&mut self, name: &PluginName, moment: Moment, looked: &mut Looked) {
        let was_here = self.items.get(name).is_some_and(|item| item.folder.is_some());
        if !was_here && self.is_for_all(name) {
            return self.missing_for_all(name, moment, looked).await;
        }
        let item = self.items.entry(name.clone()).or_default();
        let since = *item.missing_since.get_or_insert(moment.now);
        if moment.now.saturating_duration_since(since) < REMOVED_AFTER {
            looked.wait(item.version.as_ref());
            return;
        }
        if self.is_for_all(name) {
            return self.missing_for_all(name, moment, looked).await;
        }
        self.items.remove(name);
        self.versions.retire(name, moment.timestamp()).await;
        self.say(News::Removed(name.clone()));
        looked.changed = true;
    }
}

impl Looked {
    fn put_up(&mut self, shelf: &mut Shelf, put_up: &mut impl FnMut(&mut Shelf)) {
        if std::mem::take(&mut self.changed) {
            put_up(shelf);
        }
    }

    /// A file is not decided about; this serves meanwhile.
    pub(super) fn wait(&mut self, serving: Option<&Version>) {
        self.pending = true;
        self.unserved |= serving.is_none();
    }
}

#[cfg(test)]
mod tests {
    use hookweir_host::{LoadFault, NotRun};

    use super::*;

    #[test]
    fn a_fault_of_the_machine_decides_nothing_about_a_file() {
        use io::ErrorKind::{
            FileTooLarge, NotFound, Other, PermissionDenied, StaleNetworkFileHandle,
        };
        for (kind, passing) in [
            (FileTooLarge, false),
            (PermissionDenied, false),
            (NotFound, true),
            (StaleNetworkFileHandle, true),
            (Other, true),
        ] {
            assert_eq!(is_passing(&kind.into()), passing, "{kind}");
        }
        for (fault, passing) in [
            (LoadFault::NotRun(NotRun::PoolExhausted), true),
            (LoadFault::CompileTime(Duration::from_secs(1)), true),
            (LoadFault::NotWasm, false),
            (LoadFault::Init("no".into()), false),
        ] {
            assert_eq!(Refused::Fault(fault).is_passing(), passing);
        }
    }

    #[tokio::test]
    async fn a_file_is_tried_again_ever_more_rarely_and_another_at_once() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a.wasm", "b.wasm"] {
            std::fs::write(dir.path().join(name), b"x").unwrap();
        }
        let listing = scan::list(dir.path(), std::time::SystemTime::now()).await.unwrap();
        let keys: Vec<_> = listing.plugins.values().map(|found| found.key).collect();
        let [a, b] = keys[..] else { panic!("{keys:?}") };
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let first = Again::after(None, a, start);
        assert!(first.holds(a, start + second) && !first.holds(a, start + 2 * second));
        assert!(!first.holds(b, start));
        let mut again = first;
        for pause in [4, 8, 16, 32, 64, 128, 256, 300, 300] {
            again = Again::after(Some(again), a, start);
            assert_eq!(again.pause, pause * second);
        }
        assert_eq!(Again::after(Some(again), b, start).pause, 2 * second);
    }
}
