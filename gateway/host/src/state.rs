//! A plugin's state as one attempt sees it: what is committed and, over it, what the attempt has done.
//!
//! Nothing is written from here. What the attempt relied on and what it changed goes into its
//! settlement, which the store commits whole if all is still as it was, and else not at all.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use hookweir_event::{
    Basis, Change, Lasts, PluginName, StateChange, StateEntry, StateKey, Timestamp,
};

/// Bytes of a key.
pub const KEY_MAX: usize = 512;
/// Bytes of a value.
pub const VALUE_MAX: usize = 64 << 10;
/// Keys of one listing.
const LIST_MAX: u32 = 1000;
/// Entries that one attempt can read or change.
const TOUCHED_MAX: usize = 1000;
/// Bytes of keys and values that the host holds of them, for as long as the attempt runs.
const HELD_MAX: usize = 4 << 20;
/// Keys that are asked for at once, at least: of those that have expired there may be many in a row.
const PAGE_MIN: usize = 100;

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
    /// Why the store could not be read the last time.
    unreadable: Option<String>,
}

/// An entry that the attempt has read or changed.
struct Touched {
    based_on: Basis,
    /// What the attempt sees there.
    now: Option<Seen>,
    done: Done,
    /// Bytes of key and value that were committed, as far as that is known.
    committed: usize,
}

/// What the attempt did to an entry. What it wrote is what it sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Done {
    Nothing,
    Set(Lasts),
    Deleted,
}

struct Seen {
    value: Vec<u8>,
    expires_at: Option<Timestamp>,
}

impl State {
    pub(crate) fn new(committed: Arc<dyn StateReader>, plugin: PluginName, bytes_max: u64) -> Self {
        Self {
            committed,
            plugin,
            bytes_max,
            bytes: None,
            touched: BTreeMap::new(),
            held: 0,
            unreadable: None,
        }
    }

    /// What the settlement has to check and to change.
    pub(crate) fn into_changes(self) -> Vec<StateChange> {
        let change = |(key, touched): (String, Touched)| {
            let change = match (touched.done, touched.now) {
                (Done::Set(lasts), Some(seen)) => Change::Set { value: seen.value, lasts },
                (Done::Deleted, _) => Change::Delete,
                _ => Change::Keep,
            };
            StateChange { key, based_on: touched.based_on, change }
        };
        self.touched.into_iter().map(change).collect()
    }

    /// What the settlement has to check alone: of an attempt that writes nothing, but ends the delivery for
    /// good by what it saw.
    pub(crate) fn into_reads(self) -> Vec<StateChange> {
        let keep = |change: StateChange| StateChange { change: Change::Keep, ..change };
        let relies = |change: &StateChange| change.based_on != Basis::Anything;
        self.into_changes().into_iter().filter(relies).map(keep).collect()
    }

    /// Why the store could not be read, if it could not: then the attempt is nobody's fault.
    pub(crate) fn unreadable(&mut self) -> Option<String> {
        self.unreadable.take()
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
        let lasts = ttl.map_or(Lasts::ForEver, Lasts::For);
        self.write(now, key, value, lasts).await
    }

    async fn write(
        &mut self,
        now: Timestamp,
        key: String,
        value: Vec<u8>,
        lasts: Lasts,
    ) -> Result<(), String> {
        let before = self.touched.get(&key).map(Touched::held);
        // The key is held with the entry.
        let (key_len, held) = before.map_or((key.len(), 0), |held| (0, held));
        self.check_held(before.is_none(), (key_len + value.len()).saturating_sub(held))?;
        self.make_room(&key, value.len()).await?;
        self.held = (self.held + key_len + value.len()).saturating_sub(held);
        // It did not look, so it relies on nothing.
        let touched = self.touched.entry(key).or_insert(Touched {
            based_on: Basis::Anything,
            now: None,
            done: Done::Nothing,
            committed: 0,
        });
        let expires_at = match lasts {
            Lasts::ForEver => None,
            Lasts::For(ttl) => Some(now + ttl),
            Lasts::AsBefore => touched.now.as_ref().and_then(|seen| seen.expires_at),
        };
        touched.now = Some(Seen { value, expires_at });
        touched.done = Done::Set(lasts);
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
        let sum = number.checked_add(by).ok_or_else(|| format!("{number} + {by} is too large"))?;
        let is_there = seen.is_some();
        let lasts = match (ttl, self.touched.get(&key).map(|touched| touched.done)) {
            (Some(ttl), _) => Lasts::For(ttl),
            (None, Some(Done::Set(lasts))) if is_there => lasts,
            (None, _) if is_there => Lasts::AsBefore,
            (None, _) => Lasts::ForEver,
        };
        self.write(now, key, sum.to_string().into_bytes(), lasts).await?;
        Ok(sum)
    }

    /// Whether the key was there.
    pub(crate) async fn delete(&mut self, now: Timestamp, key: String) -> Result<bool, String> {
        let was_there = self.look(now, &key).await?.is_some();
        // One of its own may have expired since; it must not be written all the same.
        if let Some(touched) = self.touched.get_mut(&key)
            && (was_there || touched.done != Done::Nothing)
        {
            self.held = self.held.saturating_sub(touched.held());
            (touched.now, touched.done) = (None, Done::Deleted);
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
        let (mut found, mut after, size) = (BTreeSet::new(), after, limit.max(PAGE_MIN));
        while found.len() < limit {
            let page = self.committed.keys(&self.plugin, prefix, after.as_deref(), size).await;
            let page = page.map_err(|error| self.unread(error))?;
            // Up to where this page tells.
            let end =
                (page.len() >= size).then(|| page.last().map(|last| last.key.clone())).flatten();
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
            self.check_held(true, key.len())?;
            let found = self.committed.get(&self.plugin, key).await;
            let found = found.map_err(|error| self.unread(error))?;
            let based_on = found.as_ref().map_or(Basis::Nothing, |e| Basis::Version(e.version));
            let committed = found.as_ref().map_or(0, |entry| key.len() + entry.value.len());
            let now = found.map(|e| Seen { value: e.value, expires_at: e.expires_at });
            let touched = Touched { based_on, now, done: Done::Nothing, committed };
            self.held += key.len() + touched.held();
            self.touched.insert(key.to_owned(), touched);
        }
        Ok(self.touched.get(key).and_then(|touched| touched.seen(now)))
    }

    fn unread(&mut self, error: String) -> String {
        self.unreadable = Some(error.clone());
        error
    }

    /// Whether one attempt may hold so many bytes more, and an entry more if it is a new one.
    fn check_held(&self, is_new: bool, more: usize) -> Result<(), String> {
        if is_new && self.touched.len() >= TOUCHED_MAX {
            return Err(format!("one attempt can use {TOUCHED_MAX} entries of its state"));
        }
        if self.held + more > HELD_MAX {
            return Err(format!("one attempt can hold {HELD_MAX} bytes of its state"));
        }
        Ok(())
    }

    /// Whether the plugin may have a value of this length there. What other attempts write meanwhile is not
    /// known here: it can go over its limit by what runs at the same time.
    async fn make_room(&mut self, key: &str, len: usize) -> Result<(), String> {
        let committed = match self.bytes {
            Some(bytes) => bytes,
            None => {
                let bytes = self.committed.bytes(&self.plugin).await;
                let bytes = bytes.map_err(|error| self.unread(error))?;
                *self.bytes.insert(bytes)
            }
        };
        let (mut more, mut less) = (key.len() + len, 0);
        for (name, touched) in &self.touched {
            if name == key || touched.done != Done::Nothing {
                less += touched.committed;
            }
            if name != key && matches!(touched.done, Done::Set(_)) {
                more += name.len() + touched.held();
            }
        }
        let max = self.bytes_max;
        let fits =
            |less: usize| committed.saturating_add(more as u64).saturating_sub(less as u64) <= max;
        if !fits(less) && !self.touched.contains_key(key) {
            // It is replaced, if it is there; nobody has looked.
            let found = self.committed.get(&self.plugin, key).await;
            let found = found.map_err(|error| self.unread(error))?;
            less += found.map_or(0, |entry| key.len() + entry.value.len());
        }
        match fits(less) {
            true => Ok(()),
            false => Err(format!("its state is full: it may have {max} bytes and has {committed}")),
        }
    }
}

impl Touched {
    /// Bytes of the value that is held.
    fn held(&self) -> usize {
        self.now.as_ref().map_or(0, |seen| seen.value.len())
    }

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
mod tests;
