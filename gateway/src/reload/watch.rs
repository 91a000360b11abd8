//! Hints from the system that a watched folder changed. Only hints: they may be missing (network
//! file systems) or meaningless, so a rescan decides and comes by itself every so often anyway.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
};

use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _,
    event::{AccessKind, AccessMode},
};
use tokio::sync::Notify;

/// Watches folders, never files: a file that is replaced takes its watch with it.
pub(super) struct Watch {
    watcher: Option<RecommendedWatcher>,
    folders: BTreeSet<PathBuf>,
    hint: Arc<Notify>,
}

impl Watch {
    /// Without `on` there are no hints, as on a file system that gives none.
    pub(super) fn new(on: bool) -> Self {
        let hint = Arc::new(Notify::new());
        if !on {
            return Self { watcher: None, folders: BTreeSet::new(), hint };
        }
        let poke = hint.clone();
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if event.as_ref().map_or(true, is_change) {
                poke.notify_one();
            }
        });
        let watcher = watcher
            .map_err(|error| tracing::warn!(%error, "no change notifications; looking regularly instead"))
            .ok();
        Self { watcher, folders: BTreeSet::new(), hint }
    }

    /// Watches exactly these folders from now on.
    pub(super) fn follow<'p>(&mut self, folders: impl IntoIterator<Item = &'p Path>) {
        let wanted: BTreeSet<PathBuf> = folders.into_iter().map(Path::to_owned).collect();
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
    fn reading_a_file_is_no_change() {
        assert!(!is_change(&Event::new(EventKind::Access(AccessKind::Open(AccessMode::Any)))));
        assert!(!is_change(&Event::new(EventKind::Access(AccessKind::Close(AccessMode::Read)))));
        assert!(is_change(&Event::new(EventKind::Access(AccessKind::Close(AccessMode::Write)))));
        assert!(is_change(&Event::new(EventKind::Other)));
    }
}
