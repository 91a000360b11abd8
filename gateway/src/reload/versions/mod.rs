//! The versions that are kept in the data folder, so that neither a bad file in the plugins folder nor a
//! start in the middle of a copy takes a plugin down, and a version can be had back.
//!
//! `versions/SHA256.wasm` is the content of one, `versions/versions.json` says what each is to its plugin.
//! Whatever is written is written aside, synced and renamed: a crash leaves the old or the new, whole.
//! Content comes before the record that names it and goes after it; what nobody names is swept at a start.

mod file;
mod record;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::SystemTime,
};

use hookweir_event::{Digest, PluginName, Timestamp};
use thiserror::Error;
use tokio::{fs, io::AsyncWriteExt as _};

use self::file::FormatFault;
pub(super) use self::record::{EARLIER_MAX, Live, NotOne, Record, TURNED_AWAY_MAX, named};

/// Plugins whose file is gone and whose versions are remembered, in case it comes back.
const GONE_MAX: usize = 32;
/// The record's file.
const RECORD: &str = "versions.json";
/// A record that could not be understood.
const DAMAGED: &str = "versions.json.damaged";

/// The kept versions of all plugins.
#[derive(Debug, Clone)]
pub(super) struct Versions {
    dir: PathBuf,
    records: BTreeMap<PluginName, Record>,
    /// Why the record on the disk may not be replaced.
    frozen: Option<String>,
}

/// Why the data folder did not do what was asked.
#[derive(Debug, Error)]
pub(super) enum KeptFault {
    /// No such content is kept.
    #[error("its content is not kept any more")]
    Missing,
    /// The content is not what it was.
    #[error("its kept content is damaged")]
    Damaged,
    /// A newer gateway's record is there.
    #[error("{0}")]
    Frozen(String),
    /// The disk.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl Versions {
    /// Opens what is in the data folder, closed to others: what is in it gets run. A record that can't be
    /// understood is no error: then the plugins folder alone says what serves.
    ///
    /// # Errors
    /// If the folder can't be made, or not be read.
    pub(super) async fn open(data: &Path) -> io::Result<Self> {
        let dir = data.join("versions");
        fs::create_dir_all(&dir).await?;
        fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o700)).await?;
        let mut versions = Self { dir, records: BTreeMap::new(), frozen: None };
        let whole = versions.read_record().await?;
        if versions.frozen.is_none() {
            versions.sweep(whole).await?;
            versions.take_over(&data.join("last-good")).await?;
        }
        Ok(versions)
    }

    /// Looks at what a gateway keeps there, which may be running, and changes nothing.
    ///
    /// # Errors
    /// If there is no record, or none that can be read.
    pub(super) async fn look(data: &Path) -> io::Result<Self> {
        let dir = data.join("versions");
        let path = dir.join(RECORD);
        let named =
            |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        let text = fs::read(&path).await.map_err(named)?;
        let records = file::read(&text).map_err(|fault| named(io::Error::other(fault)))?;
        Ok(Self { dir, records, frozen: Some("it is only looked at".to_owned()) })
    }

    /// What is known of a plugin.
    pub(super) fn record(&self, plugin: &PluginName) -> Option<&Record> {
        self.records.get(plugin)
    }

    /// The plugins that have a live version.
    pub(super) fn live(&self) -> Vec<(PluginName, Live)> {
        let live = |(name, record): (&PluginName, &Record)| Some((name.clone(), record.live?));
        self.records.iter().filter_map(live).collect()
    }

    /// The content of a version, which is what it was when it was kept.
    pub(super) async fn read(&self, version: Digest) -> Result<Vec<u8>, KeptFault> {
        let bytes = match fs::read(self.path(version)).await {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(KeptFault::Missing);
            }
            Err(error) => return Err(error.into()),
        };
        if Digest::of(&bytes) == version { Ok(bytes) } else { Err(KeptFault::Damaged) }
    }

    /// Keeps content. It stays once a record names it.
    pub(super) async fn keep(&self, version: Digest, bytes: &[u8]) -> Result<(), KeptFault> {
        if self.read(version).await.is_ok() {
            return Ok(());
        }
        Ok(self.write(&self.path(version), bytes).await?)
    }

    /// Changes what is known of a plugin, on the disk and then here.
    ///
    /// # Errors
    /// If it can't be written down; then nothing has changed.
    pub(super) async fn change(
        &mut self,
        plugin: &PluginName,
        change: impl FnOnce(&mut Record),
    ) -> Result<(), KeptFault> {
        if let Some(reason) = &self.frozen {
            return Err(KeptFault::Frozen(reason.clone()));
        }
        let after = self.changed(plugin, change);
        if after == self.records {
            return Ok(());
        }
        self.commit(&after).await?;
        let before = std::mem::replace(&mut self.records, after);
        self.drop_unnamed(&before).await;
        Ok(())
    }

    /// The same for what has happened already: it counts until the restart even if it can't be written.
    pub(super) async fn note(&mut self, plugin: &PluginName, change: impl FnOnce(&mut Record)) {
        let after = self.changed(plugin, change);
        if after == self.records {
            return;
        }
        let committed = match &self.frozen {
            Some(_) => false,
            None => match self.commit(&after).await {
                Ok(()) => true,
                Err(error) => {
                    tracing::warn!(%plugin, %error, "failed to write down which versions are kept");
                    false
                }
            },
        };
        let before = std::mem::replace(&mut self.records, after);
        if committed {
            self.drop_unnamed(&before).await;
        }
    }

    /// The file of a plugin is gone. What is known of it stays for when it comes back, unless there are
    /// many such.
    pub(super) async fn retire(&mut self, plugin: &PluginName, now: Timestamp) {
        self.note(plugin, |record| record.retire(now)).await;
        let gone = |record: &Record| record.live.is_none();
        while self.records.values().filter(|record| gone(record)).count() > GONE_MAX {
            let last = |record: &Record| record.earlier.iter().map(|served| served.until).max();
            let gone = self.records.iter().filter(|(_, record)| gone(record));
            let Some(oldest) = gone.min_by_key(|(_, record)| last(record)) else { return };
            let oldest = oldest.0.clone();
            self.note(&oldest, |record| *record = Record::default()).await;
        }
    }

    fn changed(
        &self,
        plugin: &PluginName,
        change: impl FnOnce(&mut Record),
    ) -> BTreeMap<PluginName, Record> {
        let mut after = self.records.clone();
        change(after.entry(plugin.clone()).or_default());
        after.retain(|_, record| *record != Record::default());
        after
    }

    fn path(&self, version: Digest) -> PathBuf {
        self.dir.join(format!("{version}.wasm"))
    }

    async fn commit(&self, records: &BTreeMap<PluginName, Record>) -> io::Result<()> {
        self.write(&self.dir.join(RECORD), &file::write(records)?).await
    }

    async fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let aside = self.dir.join(".new");
        let mut file = fs::File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&aside)
            .await?;
        file.write_all(bytes).await?;
        file.sync_all().await?;
        drop(file);
        fs::rename(&aside, path).await?;
        fs::File::open(&self.dir).await?.sync_all().await
    }

    /// Whether the record could be read, or there is none.
    async fn read_record(&mut self) -> io::Result<bool> {
        let path = self.dir.join(RECORD);
        let text = match fs::read(&path).await {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
            Err(error) => return Err(error),
        };
        match file::read(&text) {
            Ok(records) => {
                self.records = records;
                Ok(true)
            }
            Err(fault @ FormatFault::Newer(_)) => {
                let reason = format!("{}: {fault}", path.display());
                tracing::error!(
                    "failed to read which versions are kept: {reason}; the plugins folder alone says \
                     what serves, and nothing is kept until the file is moved away"
                );
                self.frozen = Some(reason);
                Ok(false)
            }
            Err(fault @ FormatFault::Malformed(_)) => {
                let aside = self.dir.join(DAMAGED);
                tracing::error!(
                    "failed to read which versions are kept: {}: {fault}; the plugins folder alone says \
                     what serves, and the damaged file is set aside as {}; no content of versions is \
                     swept while it is there",
                    path.display(),
                    aside.display()
                );
                fs::rename(&path, &aside).await?;
                Ok(false)
            }
        }
    }

    /// Removes what a crash left behind; content that nobody names only if the record was `whole`, and no
    /// damaged one lies there that may name it.
    async fn sweep(&self, whole: bool) -> io::Result<()> {
        let whole = whole && !fs::try_exists(self.dir.join(DAMAGED)).await?;
        let named = names(&self.records);
        let mut entries = fs::read_dir(&self.dir).await?;
        while let Some(entry) = entries.next_entry().await? {
            let path = entry.path();
            let left_over = match path.extension() {
                Some(extension) if extension == "wasm" => {
                    let stem = path.file_stem().and_then(|stem| stem.to_str());
                    let version: Option<Digest> = stem.and_then(|stem| stem.parse().ok());
                    whole && version.is_some_and(|version| !named.contains(&version))
                }
                _ => entry.file_name() == ".new",
            };
            if left_over {
                fs::remove_file(&path).await?;
            }
        }
        Ok(())
    }

    async fn drop_unnamed(&self, before: &BTreeMap<PluginName, Record>) {
        for version in names(before).difference(&names(&self.records)) {
            let removed = fs::remove_file(self.path(*version)).await;
            // What gateways share may be known here and never have been kept.
            if let Err(error) = removed
                && error.kind() != io::ErrorKind::NotFound
            {
                tracing::warn!(version = version.short(), %error, "failed to remove a version that is not kept any more");
            }
        }
    }

    /// Takes over what earlier gateways kept: `NAME.wasm`, the last version that was live.
    async fn take_over(&mut self, old: &Path) -> io::Result<()> {
        let mut entries = match fs::read_dir(old).await {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        while let Some(entry) = entries.next_entry().await? {
            let path = entry.path();
            let module = path.extension().is_some_and(|extension| extension == "wasm");
            let name = path.file_stem().and_then(|stem| stem.to_str());
            let name: Option<PluginName> = name.and_then(|name| name.parse().ok());
            let Some(name) = name.filter(|name| module && !self.records.contains_key(name)) else {
                continue;
            };
            let bytes = fs::read(&path).await?;
            let version = Digest::of(&bytes);
            self.write(&self.path(version), &bytes).await?;
            let since = entry.metadata().await?.modified().map(timestamp)?;
            self.records = self.changed(&name, |record| record.go_live(version, since, false));
        }
        self.commit(&self.records).await?;
        fs::remove_dir_all(old).await
    }
}

/// All versions that some record keeps.
fn names(records: &BTreeMap<PluginName, Record>) -> BTreeSet<Digest> {
    records.values().flat_map(Record::kept).collect()
}

/// A time as events have it.
pub(super) fn timestamp(at: SystemTime) -> Timestamp {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests;
