//! A plugin's state, in memory: what a gateway's store keeps of it, for as long as the test runs.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use hookweir_event::{Change, Lasts, PluginName, StateChange, StateEntry, StateKey, Timestamp};
use hookweir_host::{Answer, StateReader};

/// What is committed.
#[derive(Debug, Default)]
pub(crate) struct Memory(Mutex<Entries>);

#[derive(Debug, Default)]
struct Entries {
    entries: BTreeMap<String, StateEntry>,
    /// Versions never come back.
    versions: u64,
}

impl Memory {
    /// An entry that lasts.
    pub(crate) fn put(&self, key: &str, value: Vec<u8>) {
        self.lock().put(key, value, None);
    }

    /// An entry as a store has it.
    pub(crate) fn take(&self, entry: StateEntry) {
        self.lock().put(&entry.key, entry.value, entry.expires_at);
    }

    /// Nothing is left.
    pub(crate) fn clear(&self) {
        self.lock().entries.clear();
    }

    /// What is there and has not expired.
    pub(crate) fn get(&self, key: &str, now: Timestamp) -> Option<Vec<u8>> {
        let entries = self.lock();
        let entry = entries.entries.get(key).filter(|entry| is_there(entry, now));
        entry.map(|entry| entry.value.clone())
    }

    /// All of it.
    pub(crate) fn all(&self, now: Timestamp) -> BTreeMap<String, Vec<u8>> {
        let entries = self.lock();
        let there = entries.entries.iter().filter(|(_, entry)| is_there(entry, now));
        there.map(|(key, entry)| (key.clone(), entry.value.clone())).collect()
    }

    /// Makes the changes of a call that went well. Calls are made one after another, so what one relied on
    /// is as it was.
    pub(crate) fn commit(&self, changes: &[StateChange], now: Timestamp) {
        let mut entries = self.lock();
        for StateChange { key, change, .. } in changes {
            match change {
                Change::Keep => {}
                Change::Delete => {
                    entries.entries.remove(key);
                }
                Change::Set { value, lasts } => {
                    let expires_at = match lasts {
                        Lasts::ForEver => None,
                        Lasts::For(ttl) => Some(now + *ttl),
                        Lasts::AsBefore => {
                            entries.entries.get(key).and_then(|before| before.expires_at)
                        }
                    };
                    entries.put(key, value.clone(), expires_at);
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    fn put(&mut self, key: &str, value: Vec<u8>, expires_at: Option<Timestamp>) {
        self.versions += 1;
        let entry = StateEntry { key: key.to_owned(), version: self.versions, value, expires_at };
        self.entries.insert(key.to_owned(), entry);
    }
}

fn is_there(entry: &StateEntry, now: Timestamp) -> bool {
    entry.expires_at.is_none_or(|at| at > now)
}

impl StateReader for Memory {
    fn get<'a>(&'a self, _: &'a PluginName, key: &'a str) -> Answer<'a, Option<StateEntry>> {
        let entry = self.lock().entries.get(key).cloned();
        Box::pin(async move { Ok(entry) })
    }

    fn keys<'a>(
        &'a self,
        _: &'a PluginName,
        prefix: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> Answer<'a, Vec<StateKey>> {
        let entries = self.lock();
        let meant = |entry: &&StateEntry| {
            entry.key.starts_with(prefix) && after.is_none_or(|after| entry.key.as_str() > after)
        };
        let key =
            |entry: &StateEntry| StateKey { key: entry.key.clone(), expires_at: entry.expires_at };
        let keys = entries.entries.values().filter(meant).take(limit).map(key).collect();
        Box::pin(async move { Ok(keys) })
    }

    fn bytes<'a>(&'a self, _: &'a PluginName) -> Answer<'a, u64> {
        let entries = self.lock();
        let size = |entry: &StateEntry| (entry.key.len() + entry.value.len()) as u64;
        let bytes = entries.entries.values().map(size).sum();
        Box::pin(async move { Ok(bytes) })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hookweir_event::Basis;

    use super::*;

    fn change(key: &str, change: Change) -> StateChange {
        StateChange { key: key.to_owned(), based_on: Basis::Anything, change }
    }

    fn set(key: &str, value: &str, lasts: Lasts) -> StateChange {
        change(key, Change::Set { value: value.into(), lasts })
    }

    #[test]
    fn what_was_committed_lasts_as_long_as_was_said() {
        let (memory, now) = (Memory::default(), Timestamp::from_secs(10));
        let minute = Duration::from_secs(60);
        memory.put("gone", b"1".to_vec());
        memory.commit(
            &[
                set("for-ever", "a", Lasts::ForEver),
                set("minute", "b", Lasts::For(minute)),
                change("gone", Change::Delete),
                change("kept", Change::Keep),
            ],
            now,
        );
        assert_eq!(memory.all(now).keys().collect::<Vec<_>>(), ["for-ever", "minute"]);
        // It expires when it did before.
        memory.commit(&[set("minute", "c", Lasts::AsBefore)], now + minute / 2);
        assert_eq!(memory.get("minute", now + minute / 2).as_deref(), Some(&b"c"[..]));
        assert_eq!(memory.get("minute", now + minute), None);
        assert_eq!(memory.get("for-ever", now + minute).as_deref(), Some(&b"a"[..]));
    }
}
