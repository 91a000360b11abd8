//! A plugin's state as one attempt sees it: what is committed and, over it, what the attempt has done.
//!
//! Nothing is written from here. What the attempt relied on and what it changed goes into its
//! settlement, which the store commits whole if all is still as it was, and else not at all.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map},
    ops::Bound,
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use hookweir_event::{Basis, Change, PluginName, StateChange, StateEntry, StateKey, Timestamp};

/// Bytes of a key.
const KEY_MAX: usize = 512;
/// Bytes of a value.
const VALUE_MAX: usize = 64 << 10;
/// Keys of one listing.
const LIST_MAX: u32 = 1000;
/// Entries that one attempt can read or change, and bytes of what it then holds of them.
const TOUCHED_MAX: usize = 1000;
const HELD_MAX: usize = 4 << 20;

/// What a [`StateReader`] answers.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, String>> + Send + 'a>>;

/// Reads what is committed of plugins' state. The gateway gives it to the host, which knows no store.
pub trait StateReader: Send + Sync {
    /// One entry, expired or not.
    fn get<'a>(&'a self, plugin: &'a PluginName, key: &'a str) -> Answer<'a, Option<StateEntry>>;

    /// Keys that begin with `prefix` and come after `after`, in the order of their bytes, expired or not:
    /// `limit`, if there are so many.
    fn keys<'a>(
        &'a self,
        plugin: &'a PluginName,
        prefix: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> Answer<'a, Vec<StateKey>>;

    /// Bytes of all keys and values.
    fn bytes<'a>(&'a self, plugin: &'a PluginName) -> Answer<'a, u64>;
}

/// The state of plugins that have none: for trials and tests.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoState;

impl StateReader for NoState {
    fn get<'a>(&'a self, _: &'a PluginName, _: &'a str) -> Answer<'a, Option<StateEntry>> {
        Box::pin(async { Ok(None) })
    }

    fn keys<'a>(
        &'a self,
        _: &'a PluginName,
        _: &'a str,
        _: Option<&'a str>,
        _: usize,
    ) -> Answer<'a, Vec<StateKey>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn bytes<'a>(&'a self, _: &'a PluginName) -> Answer<'a, u64> {
        Box::pin(async { Ok(0) })
    }
}

/// One attempt's view.
pub(crate) struct State {
    committed: Arc<dyn StateReader>,
    plugin: PluginName,
    /// Bytes that the plugin may have in all.
    bytes_max: u64,
    /// Bytes that it had, asked for at the first write.
    bytes: Option<u64>,
    touched: BTreeMap<String, Touched>,
    held: usize,
}

/// An entry that the attempt has read or changed.
struct Touched {
    based_on: Basis,
    /// What the attempt sees there.
    now: Option<Seen>,
    change: Change,
}

struct Seen {
    value: Vec<u8>,
    expires_at: Option<Timestamp>,
}

impl State {
    pub(crate) fn new(committed: Arc<dyn StateReader>, plugin: PluginName, bytes_max: u64) -> Self {
        Self { committed, plugin, bytes_max, bytes: None, touched: BTreeMap::new(), held: 0 }
    }

    /// What the settlement has to check and to change.
    pub(crate) fn into_changes(self) -> Vec<StateChange> {
        let change = |(key, touched): (String, Touched)| StateChange {
            key,
            based_on: touched.based_on,
            change: touched.change,
        };
        self.touched.into_iter().map(change).collect()
    }

    pub(crate) async fn get(
        &mut self,
        now: Timestamp,
        key: String,
    ) -> Result<Option<Vec<u8>>, String> {
        let seen = self.look(now, &key).await?;
        Ok(seen.map(|seen| seen.value.clone()))
    }

    pub(crate) async fn set(
        &mut self,
        now: Timestamp,
        key: String,
        value: Vec<u8>,
        ttl: Option<Duration>,
    ) -> Result<(), String> {
        check_key(&key)?;
        if value.len() > VALUE_MAX {
            return Err(format!(
                "the value has {} bytes, at most {VALUE_MAX} are kept",
                value.len()
            ));
        }
        self.make_room(&key, value.len()).await?;
        let len = value.len();
        let touched = match self.touched.entry(key) {
            btree_map::Entry::Occupied(entry) => entry.into_mut(),
            // It did not look, so it relies on nothing.
            btree_map::Entry::Vacant(entry) => {
                entry.insert(Touched { based_on: Basis::Anything, now: None, change: Change::Keep })
            }
        };
        let before = touched.now.as_ref().map_or(0, |seen| seen.value.len());
        touched.change = Change::Set { value: value.clone(), ttl };
        touched.now = Some(Seen { value, expires_at: ttl.map(|ttl| now + ttl) });
        self.held = self.held.saturating_sub(before) + len;
        Ok(())
    }

    /// Whether the key was absent.
    pub(crate) async fn set_if_absent(
        &mut self,
        now: Timestamp,
        key: String,
        value: Vec<u8>,
        ttl: Option<Duration>,
    ) -> Result<bool, String> {
        if self.look(now, &key).await?.is_some() {
            return Ok(false);
        }
        self.set(now, key, value, ttl).await?;
        Ok(true)
    }

    /// The value is a number, written in decimal digits. Without a ttl it expires when it did before.
    pub(crate) async fn increment(
        &mut self,
        now: Timestamp,
        key: String,
        by: i64,
        ttl: Option<Duration>,
    ) -> Result<i64, String> {
        let seen = self.look(now, &key).await?;
        let number = match seen {
            None => 0,
            Some(seen) => str::from_utf8(&seen.value)
                .ok()
                .and_then(|text| text.parse::<i64>().ok())
                .ok_or_else(|| format!("the value of `{key}` is no number"))?,
        };
        let left = seen.and_then(|seen| seen.expires_at).map(|at| at.since(now));
        let sum = number.checked_add(by).ok_or_else(|| format!("{number} + {by} is too large"))?;
        self.set(now, key, sum.to_string().into_bytes(), ttl.or(left)).await?;
        Ok(sum)
    }

    /// Whether the key was there.
    pub(crate) async fn delete(&mut self, now: Timestamp, key: String) -> Result<bool, String> {
        let was_there = self.look(now, &key).await?.is_some();
        if was_there && let Some(touched) = self.touched.get_mut(&key) {
            let before = touched.now.take().map_or(0, |seen| seen.value.len());
            touched.change = Change::Delete;
            self.held = self.held.saturating_sub(before);
        }
        Ok(was_there)
    }

    /// Keys as the attempt sees them. A listing is of its moment: the settlement does not check that no
    /// key has come or gone since.
    pub(crate) async fn list(
        &mut self,
        now: Timestamp,
        prefix: &str,
        after: Option<String>,
        limit: u32,
    ) -> Result<Vec<String>, String> {
        let limit = limit.min(LIST_MAX) as usize;
        let (mut found, mut after) = (BTreeSet::new(), after);
        while found.len() < limit {
            let page = self.committed.keys(&self.plugin, prefix, after.as_deref(), limit).await?;
            // Up to where this page tells.
            let end =
                (page.len() >= limit).then(|| page.last().map(|last| last.key.clone())).flatten();
            let is_there = |key: &StateKey| {
                !self.touched.contains_key(&key.key) && key.expires_at.is_none_or(|at| at > now)
            };
            found.extend(page.into_iter().filter(is_there).map(|key| key.key));
            found.extend(self.own(now, prefix, after.as_deref(), end.as_deref()));
            if end.is_none() {
                break;
            }
            after = end;
        }
        Ok(found.into_iter().take(limit).collect())
    }

    /// The keys that the attempt itself has touched and that are there.
    fn own<'a>(
        &'a self,
        now: Timestamp,
        prefix: &'a str,
        after: Option<&'a str>,
        end: Option<&'a str>,
    ) -> impl Iterator<Item = String> + 'a {
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        self.touched
            .range::<str, _>((from, Bound::Unbounded))
            .take_while(move |(key, _)| {
                key.starts_with(prefix) && end.is_none_or(|end| key.as_str() <= end)
            })
            .filter(move |(_, touched)| touched.seen(now).is_some())
            .map(|(key, _)| key.clone())
    }

    /// What is there. From then on the attempt relies on it.
    async fn look(&mut self, now: Timestamp, key: &str) -> Result<Option<&Seen>, String> {
        check_key(key)?;
        if !self.touched.contains_key(key) {
            self.check_held(0)?;
            let found = self.committed.get(&self.plugin, key).await?;
            let based_on = found.as_ref().map_or(Basis::Nothing, |e| Basis::Version(e.version));
            let seen = found.map(|e| Seen { value: e.value, expires_at: e.expires_at });
            self.held += key.len() + seen.as_ref().map_or(0, |seen| seen.value.len());
            let touched = Touched { based_on, now: seen, change: Change::Keep };
            self.touched.insert(key.to_owned(), touched);
        }
        Ok(self.touched.get(key).and_then(|touched| touched.seen(now)))
    }

    /// Whether one attempt may hold an entry more, and so many bytes.
    fn check_held(&self, more: usize) -> Result<(), String> {
        if self.touched.len() >= TOUCHED_MAX {
            return Err(format!("one attempt can use {TOUCHED_MAX} entries of its state"));
        }
        if self.held + more > HELD_MAX {
            return Err(format!("one attempt can hold {HELD_MAX} bytes of its state"));
        }
        Ok(())
    }

    /// Whether the plugin may have so much more. What other attempts write meanwhile is not known here: it
    /// can go over its limit by what runs at the same time.
    async fn make_room(&mut self, key: &str, len: usize) -> Result<(), String> {
        if !self.touched.contains_key(key) {
            self.check_held(key.len() + len)?;
        }
        let committed = match self.bytes {
            Some(bytes) => bytes,
            None => *self.bytes.insert(self.committed.bytes(&self.plugin).await?),
        };
        let own = |(name, touched): (&String, &Touched)| match &touched.change {
            Change::Set { value, .. } if name != key => name.len() + value.len(),
            _ => 0,
        };
        let written: usize = self.touched.iter().map(own).sum();
        let wanted = committed.saturating_add((written + key.len() + len) as u64);
        if wanted > self.bytes_max {
            return Err(format!(
                "its state is full: it may have {} bytes and has {committed}",
                self.bytes_max
            ));
        }
        Ok(())
    }
}

impl Touched {
    fn seen(&self, now: Timestamp) -> Option<&Seen> {
        self.now.as_ref().filter(|seen| seen.expires_at.is_none_or(|at| at > now))
    }
}

fn check_key(key: &str) -> Result<(), String> {
    match key.len() {
        0 => Err("a key has at least one byte".to_owned()),
        len if len > KEY_MAX => Err(format!("the key has {len} bytes, at most {KEY_MAX} are kept")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, PoisonError};

    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);

    /// Committed entries, each in a version of its own.
    #[derive(Default)]
    struct Kept(Mutex<BTreeMap<String, StateEntry>>);

    impl Kept {
        fn entries(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, StateEntry>> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }

        /// Does what a store does with a settlement.
        fn commit(&self, changes: Vec<StateChange>, version: u64) {
            let mut entries = self.entries();
            for StateChange { key, based_on, change } in changes {
                let found = entries.get(&key).map(|entry| entry.version);
                match based_on {
                    Basis::Anything => {}
                    Basis::Nothing => assert_eq!(found, None),
                    Basis::Version(version) => assert_eq!(found, Some(version)),
                }
                match change {
                    Change::Keep => {}
                    Change::Delete => _ = entries.remove(&key),
                    Change::Set { value, ttl } => {
                        let expires_at = ttl.map(|ttl| NOW + ttl);
                        let entry = StateEntry { key: key.clone(), version, value, expires_at };
                        entries.insert(key, entry);
                    }
                }
            }
        }
    }

    impl StateReader for Kept {
        fn get<'a>(&'a self, _: &'a PluginName, key: &'a str) -> Answer<'a, Option<StateEntry>> {
            let found = self.entries().get(key).cloned();
            Box::pin(async { Ok(found) })
        }

        fn keys<'a>(
            &'a self,
            _: &'a PluginName,
            prefix: &'a str,
            after: Option<&'a str>,
            limit: usize,
        ) -> Answer<'a, Vec<StateKey>> {
            let entries = self.entries();
            let meant = entries.values().filter(|entry| {
                entry.key.starts_with(prefix)
                    && after.is_none_or(|after| entry.key.as_str() > after)
            });
            let key = |e: &StateEntry| StateKey { key: e.key.clone(), expires_at: e.expires_at };
            let keys = meant.map(key).take(limit).collect();
            Box::pin(async { Ok(keys) })
        }

        fn bytes<'a>(&'a self, _: &'a PluginName) -> Answer<'a, u64> {
            Box::pin(async { Ok(0) })
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        Get(String),
        Set(String, u8, Option<u64>),
        SetIfAbsent(String, u8),
        Increment(String, i64),
        Delete(String),
        List {
            prefix: &'static str,
            after: Option<String>,
            limit: u32,
        },
        /// The attempt is settled, and another begins.
        Commit,
    }

    fn key() -> impl Strategy<Value = String> {
        proptest::sample::select(&["a", "a:1", "a:2", "a:3", "b", "b:1"][..])
            .prop_map(str::to_owned)
    }

    fn step() -> impl Strategy<Value = Step> {
        let ttl = prop_oneof![3 => Just(None), 1 => Just(Some(0)), 1 => Just(Some(5))];
        prop_oneof![
            key().prop_map(Step::Get),
            (key(), 0..10_u8, ttl).prop_map(|(key, value, ttl)| Step::Set(key, value, ttl)),
            (key(), 0..10_u8).prop_map(|(key, value)| Step::SetIfAbsent(key, value)),
            (key(), -3..4_i64).prop_map(|(key, by)| Step::Increment(key, by)),
            key().prop_map(Step::Delete),
            (
                proptest::sample::select(&["", "a", "a:", "b", "c"][..]),
                proptest::option::of(key()),
                0..4_u32
            )
                .prop_map(|(prefix, after, limit)| Step::List { prefix, after, limit }),
            Just(Step::Commit),
        ]
    }

    /// What a plugin sees is a map: in a call, and from one to the next.
    async fn run(steps: Vec<Step>) {
        let (kept, plugin) = (Arc::new(Kept::default()), "a".parse::<PluginName>().unwrap());
        let open = || State::new(kept.clone(), plugin.clone(), u64::MAX);
        let (mut state, mut map) = (open(), BTreeMap::<String, Vec<u8>>::new());
        let number = |value: &Vec<u8>| str::from_utf8(value).unwrap().parse::<i64>().unwrap();
        for (nth, step) in steps.into_iter().enumerate() {
            match step {
                Step::Get(key) => {
                    let expected = map.get(&key).cloned();
                    assert_eq!(state.get(NOW, key).await, Ok(expected));
                }
                Step::Set(key, value, ttl) => {
                    let value = value.to_string().into_bytes();
                    let lasts = ttl.map(Duration::from_secs);
                    state.set(NOW, key.clone(), value.clone(), lasts).await.unwrap();
                    match ttl {
                        Some(0) => _ = map.remove(&key),
                        _ => _ = map.insert(key, value),
                    }
                }
                Step::SetIfAbsent(key, value) => {
                    let value = value.to_string().into_bytes();
                    let set = state.set_if_absent(NOW, key.clone(), value.clone(), None).await;
                    assert_eq!(set, Ok(!map.contains_key(&key)));
                    map.entry(key).or_insert(value);
                }
                Step::Increment(key, by) => {
                    let sum = map.get(&key).map_or(0, number) + by;
                    assert_eq!(state.increment(NOW, key.clone(), by, None).await, Ok(sum));
                    map.insert(key, sum.to_string().into_bytes());
                }
                Step::Delete(key) => {
                    let was_there = map.remove(&key).is_some();
                    assert_eq!(state.delete(NOW, key).await, Ok(was_there));
                }
                Step::List { prefix, after, limit } => {
                    let is_meant = |key: &&String| {
                        key.starts_with(prefix) && after.as_ref().is_none_or(|after| *key > after)
                    };
                    let expected: Vec<_> =
                        map.keys().filter(is_meant).take(limit as usize).cloned().collect();
                    assert_eq!(state.list(NOW, prefix, after.clone(), limit).await, Ok(expected));
                }
                Step::Commit => {
                    let settled = std::mem::replace(&mut state, open());
                    kept.commit(settled.into_changes(), nth as u64);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn a_plugin_sees_a_map(steps in prop::collection::vec(step(), 1..60)) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(run(steps));
        }
    }

    /// What was looked at is relied on, and nothing else.
    #[tokio::test]
    async fn a_settlement_relies_on_what_was_read() {
        let kept = Arc::new(Kept::default());
        let set = |key: &str| StateChange {
            key: key.to_owned(),
            based_on: Basis::Anything,
            change: Change::Set { value: b"1".to_vec(), ttl: None },
        };
        kept.commit(vec![set("read"), set("written")], 7);
        let mut state = State::new(kept, "a".parse().unwrap(), u64::MAX);
        state.get(NOW, "read".into()).await.unwrap();
        state.get(NOW, "absent".into()).await.unwrap();
        state.set(NOW, "written".into(), b"2".to_vec(), None).await.unwrap();
        state.list(NOW, "", None, 10).await.unwrap();
        let based_on: Vec<_> =
            state.into_changes().into_iter().map(|c| (c.key, c.based_on)).collect();
        let expected = [
            ("absent".to_owned(), Basis::Nothing),
            ("read".to_owned(), Basis::Version(7)),
            ("written".to_owned(), Basis::Anything),
        ];
        assert_eq!(based_on, expected);
    }
}
