//! Looks at the plugins folder: which files there are, and what is in one, read without tearing.
//!
//! Nothing here believes a file's change notification; what counts is what is found.

use std::{
    collections::BTreeMap,
    fs::Metadata,
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use hookweir_event::PluginName;
use tokio::{fs, io::AsyncReadExt as _};

/// Changes with every write, replacement or rename: a cheap "may have changed".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileKey {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// One plugin file as listed.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) path: PathBuf,
    pub(super) key: FileKey,
    /// How long ago it was last written.
    pub(super) age: Duration,
    /// Whether its writer is known to be done with it.
    pub(super) complete: bool,
}

impl FileKey {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// Which folder it is: another where one was put in its place, or a file system over it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct FolderKey {
    device: u64,
    inode: u64,
}

/// What a folder holds.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) folder: FolderKey,
    /// The plugins, by name.
    pub(super) plugins: BTreeMap<PluginName, Found>,
    /// `.wasm` files whose stem is no plugin's name.
    pub(super) misnamed: Vec<PathBuf>,
}

/// Lists the `.wasm` files in `dir`. Links are followed; hidden files are not looked at, so a writer
/// can prepare a file beside its place and rename it.
pub(super) async fn list(dir: &Path, now: SystemTime) -> io::Result<Listing> {
    let metadata = fs::metadata(dir).await?;
    let folder = FolderKey { device: metadata.dev(), inode: metadata.ino() };
    let mut listing = Listing { folder, ..Listing::default() };
    let mut entries = fs::read_dir(dir).await?;
    while let Some(entry) = entries.next_entry().await? {
        let path = entry.path();
        let hidden = entry.file_name().as_encoded_bytes().first() == Some(&b'.');
        if hidden || path.extension().is_none_or(|extension| extension != "wasm") {
            continue;
        }
        // A file that vanished between the two calls is gone, and a broken link is not there.
        let Ok(metadata) = fs::metadata(&path).await else { continue };
        if !metadata.is_file() {
            continue;
        }
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        let Some(name) = stem.and_then(|stem| stem.parse().ok()) else {
            listing.misnamed.push(path);
            continue;
        };
        let age = metadata.modified().ok().and_then(|then| now.duration_since(then).ok());
        // A time in the future says nothing: such a file is not waited for.
        let age = age.unwrap_or(Duration::MAX);
        let found = Found { key: FileKey::of(&metadata), age, path, complete: false };
        listing.plugins.insert(name, found);
    }
    Ok(listing)
}

/// Reads a whole file of at most `max` bytes; nothing if it was written to meanwhile.
pub(super) async fn read_stable(found: &Found, max: u64) -> io::Result<Option<Vec<u8>>> {
    if found.key.size > max {
        let message = format!("the file has {} bytes, more than the {max} allowed", found.key.size);
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    let mut file = fs::File::open(&found.path).await?;
    let before = FileKey::of(&file.metadata().await?);
    let mut bytes = Vec::new();
    (&mut file).take(max + 1).read_to_end(&mut bytes).await?;
    let after = FileKey::of(&file.metadata().await?);
    let whole = before == after && before == found.key && bytes.len() as u64 == after.size;
    Ok(whole.then_some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_well_named_visible_modules_are_plugins() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a.wasm", ".b.wasm", "c.wasm.tmp", "D.wasm", "e.txt", "gateway.wasm"] {
            std::fs::write(dir.path().join(name), b"x").unwrap();
        }
        std::fs::create_dir(dir.path().join("f.wasm")).unwrap();
        std::os::unix::fs::symlink("a.wasm", dir.path().join("link.wasm")).unwrap();
        std::os::unix::fs::symlink("nowhere", dir.path().join("broken.wasm")).unwrap();
        let listing = list(dir.path(), SystemTime::now()).await.unwrap();
        let names: Vec<_> = listing.plugins.keys().map(PluginName::as_str).collect();
        assert_eq!(names, ["a", "link"]);
        assert_eq!(listing.misnamed.len(), 2);
    }

    #[tokio::test]
    async fn a_file_that_changed_since_it_was_listed_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.wasm");
        std::fs::write(&path, b"one").unwrap();
        let found =
            list(dir.path(), SystemTime::now()).await.unwrap().plugins.pop_first().unwrap().1;
        assert_eq!(read_stable(&found, 10).await.unwrap().as_deref(), Some(&b"one"[..]));
        assert!(read_stable(&found, 2).await.is_err());
        std::fs::write(&path, b"three").unwrap();
        assert_eq!(read_stable(&found, 10).await.unwrap(), None);
    }
}
