//! Hints from the system that a watched folder changed. Only hints: they may be missing (network
//! file systems) or meaningless, so a rescan decides and comes by itself every so often anyway.
//!
//! Where the system says that a file was closed by its writer or renamed to its place, it is complete, and
//! nobody has to wait and see.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _,
    event::{AccessKind, AccessMode, CreateKind, ModifyKind, RenameMode},
};
use tokio::sync::Notify;

/// Files that are told apart; beyond it one waits and sees.
const FILES_MAX: usize = 1000;

/// Watches folders, never files: a file that is replaced takes its watch with it.
pub(super) struct Watch {
    watcher: Option<RecommendedWatcher>,
    folders: BTreeSet<PathBuf>,
    hint: Arc<Notify>,
    files: Arc<Mutex<Files>>,
}

/// What is known of files that changed since the last look, by their names.
#[derive(Debug, Default)]
struct Files {
    /// Where every file matters. In other folders it is those of `names` alone: a log may lie beside the
    /// config.
    plugins: PathBuf,
    names: BTreeSet<OsString>,
    /// Somebody may still be writing to them.
    open: BTreeSet<OsString>,
    /// Complete.
    complete: BTreeSet<OsString>,
}

impl Files {
    /// Whether an event is about a file that is followed. Kubernetes swaps whole folders through links whose
    /// names begin with two dots.
    fn concerns(&self, event: &Event) -> bool {
        let ours = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default();
            path.parent() == Some(&self.plugins)
                || self.names.contains(name)
                || name.as_encoded_bytes().starts_with(b"..")
        };
        event.paths.is_empty() || event.need_rescan() || event.paths.iter().any(ours)
    }

    fn note(&mut self, event: &Event) {
        let in_plugins = |path: &&PathBuf| path.parent() == Some(&self.plugins);
        let names = event.paths.iter().filter(in_plugins).filter_map(|path| path.file_name());
        let names: Vec<_> = names.map(ToOwned::to_owned).collect();
        for name in names {
            match event.kind {
                EventKind::Access(AccessKind::Close(AccessMode::Write))
                | EventKind::Modify(ModifyKind::Name(RenameMode::To)) => {
                    self.open.remove(&name);
                    if self.complete.len() < FILES_MAX {
                        self.complete.insert(name);
                    }
                }
                EventKind::Create(CreateKind::File | CreateKind::Any)
                | EventKind::Modify(ModifyKind::Data(_) | ModifyKind::Any) => {
                    self.complete.remove(&name);
                    if self.open.len() < FILES_MAX {
                        self.open.insert(name);
                    }
                }
                EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(RenameMode::From)) => {
                    self.open.remove(&name);
                    self.complete.remove(&name);
                }
                _ => {}
            }
        }
    }
}

impl Watch {
    /// Without `on` there are no hints, as on a file system that gives none.
    pub(super) fn new(on: bool) -> Self {
        let (hint, files) = (Arc::new(Notify::new()), Arc::new(Mutex::<Files>::default()));
        if !on {
            return Self { watcher: None, folders: BTreeSet::new(), hint, files };
        }
        let (poke, noted) = (hint.clone(), files.clone());
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            let mut files = noted.lock().unwrap_or_else(PoisonError::into_inner);
            let matters = match &event {
                Ok(event) => {
                    files.note(event);
                    is_change(event) && files.concerns(event)
                }
                Err(_) => true,
            };
            if matters {
                poke.notify_one();
            }
        });
        let watcher = watcher
            .map_err(|error| tracing::warn!(%error, "no change notifications; looking regularly instead"))
            .ok();
        Self { watcher, folders: BTreeSet::new(), hint, files }
    }

    /// Watches the plugins' folder and those of these files from now on.
    pub(super) fn follow<'p>(&mut self, plugins: &Path, files: impl IntoIterator<Item = &'p Path>) {
        let mut wanted = BTreeSet::from([plugins.to_owned()]);
        let mut names = BTreeSet::new();
        for file in files {
            names.extend(file.file_name().map(ToOwned::to_owned));
            wanted.insert(match file.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
                _ => PathBuf::from("."),
            });
        }
        {
            let mut known = self.files();
            // Events name files by their absolute paths.
            let absolute = std::path::absolute(plugins).unwrap_or_else(|_| plugins.to_owned());
            (known.plugins, known.names) = (absolute, names);
        }
        let Some(watcher) = &mut self.watcher else { return };
        for old in self.folders.difference(&wanted) {
            // It may be gone already, and its watch with it.
            let _ = watcher.unwatch(old);
        }
        for new in wanted.difference(&self.folders) {
            if let Err(error) = watcher.watch(new, RecursiveMode::NonRecursive) {
                tracing::warn!(folder = %new.display(), %error, "no change notifications; looking regularly instead");
            }
        }
        self.folders = wanted;
    }

    /// Returns when something may have changed.
    pub(super) async fn hint(&self) {
        self.hint.notified().await;
    }

    /// Whether all files that are known to have changed are known to be complete.
    pub(super) fn is_settled(&self) -> bool {
        let files = self.files();
        files.open.is_empty() && !files.complete.is_empty()
    }

    /// The names of the files that are complete, for one look.
    pub(super) fn take_complete(&self) -> BTreeSet<OsString> {
        let mut files = self.files();
        files.open.clear();
        std::mem::take(&mut files.complete)
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether an event can mean a change. Reading a plugin emits an access event itself: taking that
/// for a change would make the watcher wake itself for ever.
fn is_change(event: &Event) -> bool {
    match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => event.need_rescan(),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_complete_when_its_writer_has_closed_it_or_it_was_renamed() {
        use notify::event::DataChange;
        let (create, write) = (
            EventKind::Create(CreateKind::File),
            EventKind::Modify(ModifyKind::Data(DataChange::Any)),
        );
        let close = EventKind::Access(AccessKind::Close(AccessMode::Write));
        let moved = EventKind::Modify(ModifyKind::Name(RenameMode::To));
        let gone = EventKind::Modify(ModifyKind::Name(RenameMode::From));
        let settled = |events: &[(EventKind, &str)]| {
            let watch = Watch::new(false);
            watch.files().plugins = "/p".into();
            for (kind, name) in events {
                watch.files().note(&Event::new(*kind).add_path(Path::new("/p").join(name)));
            }
            let settled = watch.is_settled();
            let complete = watch.take_complete();
            assert!(!watch.is_settled(), "said once");
            settled
                .then(|| complete.into_iter().map(|n| n.into_string().unwrap()).collect::<Vec<_>>())
        };
        assert_eq!(settled(&[(create, "a"), (write, "a")]), None);
        assert_eq!(settled(&[(create, "a"), (write, "a"), (close, "a")]), Some(vec!["a".into()]));
        assert_eq!(settled(&[(close, "a"), (write, "b")]), None, "another is being written");
        assert_eq!(settled(&[(close, "a"), (write, "a")]), None, "it is written to again");
        let renamed = [(create, ".a"), (write, ".a"), (close, ".a"), (gone, ".a"), (moved, "a")];
        assert_eq!(settled(&renamed), Some(vec!["a".into()]));
        assert_eq!(settled(&[]), None);
    }

    #[test]
    fn what_lies_beside_a_followed_file_is_of_no_concern() {
        let watch = Watch::new(false);
        watch.files().plugins = "/p".into();
        watch.files().names.insert("gateway.toml".into());
        let concerns = |path: &str| {
            let write = Event::new(EventKind::Modify(ModifyKind::Any)).add_path(path.into());
            watch.files().note(&write);
            watch.files().concerns(&write)
        };
        assert!(concerns("/etc/gateway.toml") && concerns("/etc/..data") && concerns("/p/any"));
        assert!(!concerns("/etc/gateway.log"));
        watch.take_complete();
        let close = EventKind::Access(AccessKind::Close(AccessMode::Write));
        watch.files().note(&Event::new(close).add_path("/p/a.wasm".into()));
        assert!(!concerns("/etc/gateway.log"));
        assert!(watch.is_settled(), "a log that is written to is none of the plugins");
        assert!(watch.files().concerns(&Event::new(EventKind::Other)), "it may be anything");
    }

    #[test]
    fn reading_a_file_is_no_change() {
        assert!(!is_change(&Event::new(EventKind::Access(AccessKind::Open(AccessMode::Any)))));
        assert!(!is_change(&Event::new(EventKind::Access(AccessKind::Close(AccessMode::Read)))));
        assert!(is_change(&Event::new(EventKind::Access(AccessKind::Close(AccessMode::Write)))));
        assert!(is_change(&Event::new(EventKind::Other)));
    }
}
