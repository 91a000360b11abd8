//! What operators have paused: intake refuses a paused source's requests, dispatch leases nothing for a paused
//! plugin, and neither does anything while everything is. The store keeps it, so that it holds after a restart, and
//! holds to what keeps a source's deliveries itself; here is what is in force now. What other gateways at the same store
//! change of it is heard from the store, and is in force then.

use std::{collections::BTreeMap, sync::Arc};

use arc_swap::ArcSwap;
use hookweir_event::{PluginName, SourceName};
use hookweir_store::{Pausable, Pause, ReadError, Store, StoreError};
use tokio::sync::{Mutex, Notify, oneshot};

use crate::tasks::Spawner;

/// What is paused. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Pauses {
    store: Store,
    spawner: Spawner,
    /// Notified after each change, for dispatch to look again.
    changed: Arc<Notify>,
    in_force: Arc<ArcSwap<InForce>>,
    /// One change at a time, so that store and memory see them in the same order; and how many there were.
    turn: Arc<Mutex<u64>>,
}

#[derive(Debug, Clone, Default)]
struct InForce {
    everything: Option<Pause>,
    sources: BTreeMap<SourceName, Pause>,
    held: BTreeMap<SourceName, Pause>,
    plugins: BTreeMap<PluginName, Pause>,
}

impl Pauses {
    /// What the store has. `changed` is notified after each change.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn read(
        store: Store,
        spawner: Spawner,
        changed: Arc<Notify>,
    ) -> Result<Self, ReadError> {
        let mut in_force = InForce::default();
        for pause in store.reader().pauses().await? {
            tracing::warn!(what = %pause.what, by = pause.by, why = pause.why, "is paused");
            in_force.insert(pause);
        }
        let in_force = Arc::new(ArcSwap::from_pointee(in_force));
        Ok(Self { store, spawner, changed, in_force, turn: Arc::default() })
    }

    /// The pause of everything, if that is paused.
    pub fn everything(&self) -> Option<Pause> {
        self.in_force.load().everything.clone()
    }

    /// The pause of a source, if it is paused itself.
    pub fn source(&self, name: &SourceName) -> Option<Pause> {
        self.in_force.load().sources.get(name).cloned()
    }

    /// Why a source's requests are refused, if they are: it is paused, or everything is.
    pub fn refuses(&self, name: &SourceName) -> Option<Pause> {
        let in_force = self.in_force.load();
        in_force.everything.as_ref().or(in_force.sources.get(name)).cloned()
    }

    /// The pause of a source's deliveries, if they are held.
    pub fn held(&self, name: &SourceName) -> Option<Pause> {
        self.in_force.load().held.get(name).cloned()
    }

    /// The pause of a plugin, if it is paused itself.
    pub fn plugin(&self, name: &PluginName) -> Option<Pause> {
        self.in_force.load().plugins.get(name).cloned()
    }

    /// Whether a plugin's deliveries wait: it is paused, or everything is.
    pub fn waits(&self, name: &PluginName) -> bool {
        let in_force = self.in_force.load();
        in_force.everything.is_some() || in_force.plugins.contains_key(name)
    }

    /// All that is paused: everything, sources, then plugins.
    pub fn all(&self) -> Vec<Pause> {
        self.in_force.load().all()
    }

    /// Pauses something. It holds, and is on disk, when this returns; attempts that run go on.
    ///
    /// # Errors
    /// As the commit failed; nothing is paused then.
    pub async fn pause(
        &self,
        what: Pausable,
        by: String,
        why: Option<String>,
    ) -> Result<Pause, StoreError> {
        let this = self.clone();
        let change = async move {
            let mut turn = this.turn.lock().await;
            *turn += 1;
            let pause = this.store.pause(what, by, why).await?;
            this.swap(|in_force| in_force.insert(pause.clone()));
            tracing::warn!(what = %pause.what, by = pause.by, why = pause.why, "paused");
            Ok(pause)
        };
        self.finish(change).await
    }

    /// Lets all of these go on, within their usual limits. False if none was paused.
    ///
    /// # Errors
    /// As the commit failed; what was paused is so still.
    pub async fn resume(&self, what: &[Pausable], by: &str) -> Result<bool, StoreError> {
        let (this, what, by) = (self.clone(), what.to_vec(), by.to_owned());
        let change = async move {
            let mut turn = this.turn.lock().await;
            *turn += 1;
            let were_paused = this.store.resume(what.clone()).await?;
            let mut gone = Vec::new();
            this.swap(|in_force| {
                gone.extend(what.into_iter().filter(|what| in_force.remove(what).is_some()));
            });
            for what in gone {
                tracing::warn!(%what, by, "goes on");
            }
            Ok(were_paused)
        };
        self.finish(change).await
    }

    /// How many changes were made here; none while one is being made. For [`hear`](Self::hear).
    pub(crate) fn changes(&self) -> Option<u64> {
        self.turn.try_lock().ok().map(|changes| *changes)
    }

    /// What the store has now, where other gateways change it. It is passed over if it was read before a change that
    /// was made here meanwhile: `as_of` is what [`changes`](Self::changes) said before it was asked for.
    pub(crate) fn hear(&self, pauses: Vec<Pause>, as_of: Option<u64>) {
        let Ok(changes) = self.turn.try_lock() else { return };
        if as_of != Some(*changes) {
            return;
        }
        let before = self.all();
        let mut next = InForce::default();
        pauses.into_iter().for_each(|pause| next.insert(pause));
        let now = next.all();
        if now == before {
            return;
        }
        self.swap(|in_force| *in_force = next);
        for pause in now.iter().filter(|pause| !before.contains(pause)) {
            tracing::warn!(what = %pause.what, by = pause.by, why = pause.why, "paused, at another gateway");
        }
        let goes_on = |was: &&Pause| !now.iter().any(|pause| pause.what == was.what);
        for pause in before.iter().filter(goes_on) {
            tracing::warn!(what = %pause.what, paused_by = pause.by, "goes on, by another gateway");
        }
    }

    /// Runs a change to its end, even if who asked for it goes away: else the store might have it and
    /// nobody hold to it.
    async fn finish<T: Send + 'static>(
        &self,
        change: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.spawner.ingress(async move {
            let _ = answer.send(change.await);
        });
        answered.await.unwrap_or(Err(StoreError::Closed))
    }

    fn swap(&self, change: impl FnOnce(&mut InForce)) {
        let mut next = InForce::clone(&self.in_force.load());
        change(&mut next);
        self.in_force.store(Arc::new(next));
        self.changed.notify_one();
    }
}

impl InForce {
    fn all(&self) -> Vec<Pause> {
        let Self { everything, sources, held, plugins } = self;
        let named = sources.values().chain(held.values()).chain(plugins.values());
        everything.iter().chain(named).cloned().collect()
    }

    fn insert(&mut self, pause: Pause) {
        match pause.what.clone() {
            Pausable::Everything => self.everything = Some(pause),
            Pausable::Source(name) => _ = self.sources.insert(name, pause),
            Pausable::Held(name) => _ = self.held.insert(name, pause),
            Pausable::Plugin(name) => _ = self.plugins.insert(name, pause),
        }
    }

    fn remove(&mut self, what: &Pausable) -> Option<Pause> {
        match what {
            Pausable::Everything => self.everything.take(),
            Pausable::Source(name) => self.sources.remove(name),
            Pausable::Held(name) => self.held.remove(name),
            Pausable::Plugin(name) => self.plugins.remove(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use hookweir_event::{Clock, Timestamp};
    use hookweir_store::{Options, SqliteFile};

    use super::*;

    #[tokio::test]
    async fn what_others_change_is_in_force_unless_it_is_older_than_a_change_here() {
        let folder = tempfile::tempdir().unwrap();
        let file = SqliteFile::new(folder.path().join("store.db"));
        let store = Store::open(Options::new(file, [1; 16], Clock::system())).await.unwrap();
        let changed = Arc::new(Notify::new());
        let pauses = Pauses::read(store.clone(), Spawner::here(), changed.clone()).await.unwrap();
        let everything = || Pause {
            what: Pausable::Everything,
            since: Timestamp::from_millis(1),
            by: "anna".to_owned(),
            why: None,
        };
        pauses.hear(vec![everything()], pauses.changes());
        assert_eq!(pauses.everything(), Some(everything()));
        changed.notified().await;

        let as_of = pauses.changes();
        pauses.resume(&[Pausable::Everything], "ben").await.unwrap();
        pauses.hear(vec![everything()], as_of);
        assert_eq!(pauses.everything(), None, "that was before");
        let turn = pauses.turn.lock().await;
        assert_eq!(pauses.changes(), None);
        pauses.hear(vec![everything()], as_of);
        assert_eq!(pauses.everything(), None, "a change is being made");
        drop(turn);
        pauses.hear(vec![everything()], pauses.changes());
        pauses.hear(Vec::new(), pauses.changes());
        assert_eq!(pauses.everything(), None, "it goes on");
        drop(pauses);
        store.close().await.unwrap();
    }
}
