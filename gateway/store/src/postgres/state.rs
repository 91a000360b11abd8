//! Plugins' state: looked up for a whole batch, changed in memory as each settlement says, and written at once.
//!
//! Whoever changes a plugin's state has the plugin's row locked until the commit, so that what was looked up is so
//! still when it is written. Gateways that settle attempts with state of one plugin so take turns, a batch each.

use std::collections::{BTreeMap, BTreeSet};

use hookweir_event::{Basis, Change, Lasts, PluginName, StateChange, Timestamp};

use super::{Fault, batch::Batch, link::Params};

/// An entry as it is, or is about to be.
#[derive(Debug, Clone, Default)]
struct Entry {
    /// None: there is no entry.
    version: Option<i64>,
    /// Of key and value; 0 if there is none.
    bytes: i64,
    expires_at: Option<i64>,
    /// What is to be written; none if it stays as it is.
    value: Option<Vec<u8>>,
    changed: bool,
}

/// What a batch touches of its plugins' state, by plugin and key.
#[derive(Debug, Default)]
pub(super) struct Touched {
    entries: BTreeMap<(String, Vec<u8>), Entry>,
    /// Versions that nobody has.
    versions: Vec<i64>,
    /// Bytes more, or less, by plugin.
    grown: BTreeMap<String, i64>,
}

impl Touched {
    /// Makes changes, one after another, if all is as they rely on; else none, and says so.
    pub(super) fn change(&mut self, plugin: &str, changes: &[StateChange], now: Timestamp) -> bool {
        let holds = changes.iter().all(|change| {
            let found = self.entry(plugin, &change.key).version;
            match change.based_on {
                Basis::Anything => true,
                Basis::Nothing => found.is_none(),
                Basis::Version(read) => found.and_then(|it| u64::try_from(it).ok()) == Some(read),
            }
        });
        if holds {
            for change in changes {
                self.make(plugin, change, now);
            }
        }
        holds
    }

    /// The versions of those entries that are set by changes.
    pub(super) fn versions(
        &self,
        plugin: &PluginName,
        changes: &[StateChange],
    ) -> impl Iterator<Item = i64> {
        let sets = changes.iter().filter(|it| matches!(it.change, Change::Set { .. }));
        let key = |it: &StateChange| (plugin.to_string(), it.key.as_bytes().to_vec());
        sets.filter_map(move |it| self.entries.get(&key(it))?.version)
    }

    fn changed(&self) -> impl Iterator<Item = (&(String, Vec<u8>), &Entry)> {
        self.entries.iter().filter(|(_, entry)| entry.changed)
    }

    fn entry(&mut self, plugin: &str, key: &str) -> &mut Entry {
        self.entries.entry((plugin.to_owned(), key.as_bytes().to_vec())).or_default()
    }

    fn make(
        &mut self,
        plugin: &str,
        StateChange { key, change, .. }: &StateChange,
        now: Timestamp,
    ) {
        let version = match change {
            Change::Set { .. } => self.versions.pop(),
            Change::Keep => return,
            Change::Delete => None,
        };
        let entry = self.entry(plugin, key);
        let before = entry.bytes;
        entry.changed = true;
        match change {
            Change::Set { value, lasts } => {
                entry.expires_at = match lasts {
                    Lasts::ForEver => None,
                    Lasts::For(ttl) => Some((now + *ttl).as_millis()),
                    Lasts::AsBefore => entry.expires_at,
                };
                entry.version = version;
                entry.bytes = i64::try_from(key.len() + value.len()).unwrap_or(i64::MAX);
                entry.value = Some(value.clone());
            }
            Change::Keep | Change::Delete => *entry = Entry { changed: true, ..Entry::default() },
        }
        let grown = entry.bytes - before;
        *self.grown.entry(plugin.to_owned()).or_default() += grown;
    }
}

/// Locks plugins.
const LOCK: &str = "SELECT 1 FROM plugins WHERE name = ANY($1) ORDER BY name FOR UPDATE";

/// Entries by plugins and names.
const ENTRIES: &str = "SELECT DISTINCT s.plugin, s.name, s.version, length(s.name) + length(s.value), s.expires_at
    FROM state AS s JOIN unnest($1::text[], $2::bytea[]) AS k(plugin, name) ON s.plugin = k.plugin AND s.name = k.name";

/// So many versions that nobody has.
const VERSIONS: &str = "SELECT nextval('state_version') FROM generate_series(1, $1::bigint)";

impl Batch<'_> {
    /// What is there of all entries that are touched, with their plugins locked.
    pub(super) async fn state_of(
        &mut self,
        touches: &[(String, &[StateChange])],
    ) -> Result<Touched, Fault> {
        let mut touched = Touched::default();
        if touches.is_empty() {
            return Ok(touched);
        }
        let names: BTreeSet<&str> = touches.iter().map(|(plugin, _)| plugin.as_str()).collect();
        let names: Vec<&str> = names.into_iter().collect();
        // Nothing may ever have been routed to one of them.
        self.note_plugin_names(names.iter().map(|name| (*name).to_owned()).collect()).await?;
        let (mut plugins, mut keys, mut sets) = (Vec::new(), Vec::new(), 0_i64);
        for (plugin, changes) in touches {
            for change in *changes {
                plugins.push(plugin.as_str());
                keys.push(change.key.as_bytes());
                sets += i64::from(matches!(change.change, Change::Set { .. }));
            }
        }
        // What is there is looked at when the plugins are locked.
        self.moment.prepare(&[LOCK, ENTRIES, VERSIONS]).await?;
        let (names, keys, sets): (Params<'_>, Params<'_>, Params<'_>) =
            (&[&names], &[&plugins, &keys], &[&sets]);
        let (_, entries, versions) = tokio::try_join!(
            biased;
            self.moment.rows(LOCK, names),
            self.moment.rows(ENTRIES, keys),
            self.moment.rows(VERSIONS, sets),
        )?;
        for row in entries {
            let entry = Entry {
                version: Some(row.get(2)),
                bytes: i64::from(row.get::<_, i32>(3)),
                expires_at: row.get(4),
                value: None,
                changed: false,
            };
            touched.entries.insert((row.get(0), row.get(1)), entry);
        }
        touched.versions = versions.iter().rev().map(|row| row.get(0)).collect();
        Ok(touched)
    }

    /// Writes what changed.
    pub(super) async fn write_state(&self) -> Result<(), Fault> {
        tokio::try_join!(
            biased;
            self.delete_entries(),
            self.set_entries(),
            self.grow(&self.touched.grown),
        )
        .map(|_| ())
    }

    async fn delete_entries(&self) -> Result<(), Fault> {
        let gone = || self.touched.changed().filter(|(_, entry)| entry.version.is_none());
        let plugins: Vec<&str> = gone().map(|((plugin, _), _)| plugin.as_str()).collect();
        let keys: Vec<&[u8]> = gone().map(|((_, key), _)| &key[..]).collect();
        if !plugins.is_empty() {
            let sql =
                "DELETE FROM state AS s USING unnest($1::text[], $2::bytea[]) AS k(plugin, name)
                       WHERE s.plugin = k.plugin AND s.name = k.name";
            self.moment.run(sql, &[&plugins, &keys]).await?;
        }
        Ok(())
    }

    async fn set_entries(&self) -> Result<(), Fault> {
        let set = || self.touched.changed().filter_map(|(name, it)| Some((name, it.version?, it)));
        let plugins: Vec<&str> = set().map(|((plugin, _), ..)| plugin.as_str()).collect();
        let keys: Vec<&[u8]> = set().map(|((_, key), ..)| &key[..]).collect();
        let versions: Vec<i64> = set().map(|(_, version, _)| version).collect();
        let values: Vec<&[u8]> =
            set().map(|(.., entry)| entry.value.as_deref().unwrap_or_default()).collect();
        let expire: Vec<Option<i64>> = set().map(|(.., entry)| entry.expires_at).collect();
        if !plugins.is_empty() {
            let sql = "INSERT INTO state (plugin, name, version, value, expires_at)
                       SELECT * FROM unnest($1::text[], $2::bytea[], $3::bigint[], $4::bytea[], $5::bigint[])
                       ON CONFLICT (plugin, name) DO UPDATE SET version = excluded.version,
                           value = excluded.value, expires_at = excluded.expires_at";
            self.moment.run(sql, &[&plugins, &keys, &versions, &values, &expire]).await?;
        }
        Ok(())
    }

    /// Bytes of keys and values more, or less, in plugins' state.
    async fn grow(&self, grown: &BTreeMap<String, i64>) -> Result<(), Fault> {
        let plugins: Vec<&str> = grown.keys().map(String::as_str).collect();
        let by: Vec<i64> = grown.values().copied().collect();
        if !plugins.is_empty() {
            let sql = "UPDATE plugins AS p SET state_bytes = p.state_bytes + g.by
                       FROM unnest($1::text[], $2::bigint[]) AS g(name, by) WHERE p.name = g.name";
            self.moment.run(sql, &[&plugins, &by]).await?;
        }
        Ok(())
    }

    /// Deletes some of the entries whose time is over.
    pub(super) async fn expire_state(&self, limit: i64) -> Result<u64, Fault> {
        // The plugins first, as whoever changes state does. Whoever has one now may wait for what we have.
        let sql = "SELECT name FROM plugins WHERE name IN
                       (SELECT DISTINCT plugin FROM state WHERE expires_at <= $1)
                   ORDER BY name FOR UPDATE SKIP LOCKED";
        let now = self.now.as_millis();
        let locked = self.moment.rows(sql, &[&now]).await?;
        if locked.is_empty() {
            return Ok(0);
        }
        let names: Vec<&str> = locked.iter().map(|row| row.get(0)).collect();
        let sql = "DELETE FROM state WHERE (plugin, name) IN
                       (SELECT plugin, name FROM state WHERE expires_at <= $1 AND plugin = ANY($2) LIMIT $3)
                   RETURNING plugin, length(name) + length(value)";
        let (mut shrunk, mut count) = (BTreeMap::<String, i64>::new(), 0);
        for row in self.moment.rows(sql, &[&now, &names, &limit]).await? {
            *shrunk.entry(row.get(0)).or_default() -= i64::from(row.get::<_, i32>(1));
            count += 1;
        }
        self.grow(&shrunk).await?;
        Ok(count)
    }
}
