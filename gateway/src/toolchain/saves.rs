//! Tells when something in a package's folder was saved. What is built there is left out, and so is a save that
//! changes nothing: a build that writes among the sources must not bring about the next one for ever.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    time::Duration,
};

use hookweir_event::Digest;
use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _,
    event::{AccessKind, AccessMode},
};

/// How long a folder has to be quiet: editors and formatters save in several steps.
const REST: Duration = Duration::from_millis(100);
/// Saves that may follow one another before a build begins all the same.
const SAVES_MAX: usize = 50;
/// Folders of a package that hold no sources. Hidden ones are left out as well.
const BUILT: &[&str] = &["target", "node_modules", "build", "dist"];
/// Folders that stand beside any source: what Python makes of it, and what npm fetches.
const MADE: &[&str] = &["__pycache__", "node_modules"];
/// A file in a folder that a program such as cargo fills, wherever that is (<https://bford.info/cachedir/>).
const CACHE_TAG: &str = "CACHEDIR.TAG";
/// Files that are read to see whether they have changed; what lies beside more of them counts as changed.
const FILES_MAX: usize = 10_000;
/// Bytes of a file that are read to see whether it has changed; of a larger one its size and time tell.
const FILE_MAX: u64 = 4 << 20;
/// Folders in folders that are looked into.
const DEPTH_MAX: usize = 32;

/// Watches packages.
pub struct Saves {
    watcher: RecommendedWatcher,
    packages: Vec<PathBuf>,
    saved: Receiver<PathBuf>,
    /// The sources as they were when they were told of last.
    known: Option<Digest>,
}

impl Saves {
    /// From now on, of these packages.
    ///
    /// # Errors
    /// If a folder can't be watched.
    pub fn of(packages: &[PathBuf]) -> Result<Self, String> {
        // One is enough to know that there was one.
        let (sender, saved) = sync_channel(1);
        let packages: Vec<_> = packages
            .iter()
            .map(|folder| {
                let whole = fs::canonicalize(folder);
                whole.map_err(|error| format!("{}: {error}", folder.display()))
            })
            .collect::<Result<_, _>>()?;
        let roots = packages.clone();
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            hand_on(&event, &roots, &sender);
        });
        let watcher = watcher.map_err(|error| error.to_string())?;
        let mut saves = Self { watcher, packages, saved, known: None };
        saves.follow()?;
        saves.is_news();
        Ok(saves)
    }

    /// Waits for a save that changes something, and until no more follow. Answers one of the files.
    ///
    /// # Errors
    /// If a folder can't be watched any more.
    pub fn wait(&mut self) -> Result<PathBuf, String> {
        loop {
            let saved = self.saved.recv().map_err(|error| error.to_string())?;
            // At most so often: a log that lies there never rests.
            for _ in 0..SAVES_MAX {
                if self.saved.recv_timeout(REST).is_err() {
                    break;
                }
            }
            // Folders may have come. They are watched before they are read, so that nothing is missed.
            self.follow()?;
            if self.is_news() {
                return Ok(saved);
            }
        }
    }

    /// Whether the sources are others than when this was asked last.
    fn is_news(&mut self) -> bool {
        let before = std::mem::replace(&mut self.known, digest(&self.packages));
        self.known.is_none() || self.known != before
    }

    /// Each package's folder, and whole the folders in it: but for what is built there, which is a lot.
    fn follow(&mut self) -> Result<(), String> {
        for package in &self.packages {
            let fault = |error: &dyn std::fmt::Display| format!("{}: {error}", package.display());
            let watched = self.watcher.watch(package, RecursiveMode::NonRecursive);
            watched.map_err(|error| fault(&error))?;
            for entry in fs::read_dir(package).map_err(|error| fault(&error))?.flatten() {
                let name = entry.file_name();
                if entry.path().is_dir() && !is_made(&name) && !is_built(&name) {
                    // It may be gone already.
                    let _ = self.watcher.watch(&entry.path(), RecursiveMode::Recursive);
                }
            }
        }
        Ok(())
    }
}

impl std::fmt::Debug for Saves {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Saves").field("packages", &self.packages).finish_non_exhaustive()
    }
}

fn hand_on(event: &notify::Result<Event>, roots: &[PathBuf], sender: &SyncSender<PathBuf>) {
    let Ok(event) = event else { return };
    if !is_save(event.kind) {
        return;
    }
    if let Some(path) = event.paths.iter().find(|path| roots.iter().any(|r| is_source(path, r))) {
        // Full: whoever waits is told already.
        let _ = sender.try_send(path.clone());
    }
}

/// Reading a file is none, and a build reads them all.
fn is_save(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => false,
        _ => true,
    }
}

/// Whether a file of the package is what its author writes. Cargo and npm write their lock files themselves.
fn is_source(path: &Path, package: &Path) -> bool {
    let Ok(inside) = path.strip_prefix(package) else { return false };
    let made = inside.extension().is_some_and(|extension| extension == "wasm");
    let lock = ["Cargo.lock", "package-lock.json"].iter().any(|lock| inside == Path::new(lock));
    let Some(first) = inside.components().next() else { return false };
    let built = is_built(first.as_os_str());
    !made && !lock && !built && !inside.components().any(|part| is_made(part.as_os_str()))
}

/// A folder at the top of a package.
fn is_built(name: &OsStr) -> bool {
    BUILT.iter().any(|built| name == *built)
}

/// Anywhere in it.
fn is_made(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".") || MADE.iter().any(|made| name == *made)
}

/// Of all sources. `None` if they are more than are read.
fn digest(packages: &[PathBuf]) -> Option<Digest> {
    let mut files = Vec::new();
    for package in packages {
        gather(package, package, DEPTH_MAX, &mut BTreeSet::new(), &mut files);
    }
    if files.len() > FILES_MAX {
        return None;
    }
    files.sort();
    let mut all = Vec::new();
    for file in files {
        // It may be gone already.
        let content = content(&file).unwrap_or_default();
        all.push(file.into_os_string().into_encoded_bytes());
        all.push(content.into_bytes());
    }
    Some(Digest::of_fields(&all.iter().map(Vec::as_slice).collect::<Vec<_>>()))
}

/// What tells a file from what it was.
fn content(file: &Path) -> io::Result<String> {
    let found = fs::metadata(file)?;
    match found.len() {
        ..=FILE_MAX => Ok(Digest::of(&fs::read(file)?).to_string()),
        long => Ok(format!("{long} {:?}", found.modified()?)),
    }
}

/// The sources in a folder, links followed. `seen` are the folders that were looked into: a link may lead back.
fn gather(
    folder: &Path,
    package: &Path,
    depth: usize,
    seen: &mut BTreeSet<PathBuf>,
    files: &mut Vec<PathBuf>,
) {
    let Ok(whole) = fs::canonicalize(folder) else { return };
    // The package's own folder may be somebody's cache.
    if !seen.insert(whole) || (folder != package && folder.join(CACHE_TAG).exists()) {
        return;
    }
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if files.len() > FILES_MAX || !is_source(&path, package) {
            continue;
        }
        match fs::metadata(&path) {
            Ok(found) if found.is_dir() && depth > 0 => {
                gather(&path, package, depth - 1, seen, files);
            }
            Ok(found) if found.is_file() => files.push(path),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_build_makes_is_no_save() {
        let package = Path::new("/p/orders");
        let is_source = |path: &str| is_source(&package.join(path), package);
        for path in [
            "src/lib.rs",
            "Cargo.toml",
            "samples/a.json",
            "build.rs",
            "src/target.rs",
            "src/build/mod.rs",
        ] {
            assert!(is_source(path), "{path}");
        }
        for path in [
            "",
            "Cargo.lock",
            "orders.wasm",
            ".git/index",
            ".hookweir-x1",
            "target/debug/a",
            "node_modules/a/b.js",
            "lib/__pycache__/a.pyc",
            "page/node_modules/a/b.js",
            "src/.lib.rs.swp",
        ] {
            assert!(!is_source(path), "{path}");
        }
        assert!(!super::is_source(Path::new("/p/other/src/lib.rs"), package));
    }

    #[test]
    fn a_save_is_told_and_reading_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let package = fs::canonicalize(folder.path()).unwrap();
        fs::create_dir(package.join("src")).unwrap();
        fs::write(package.join("src/lib.rs"), "1").unwrap();
        let mut saves = Saves::of(std::slice::from_ref(&package)).unwrap();
        fs::read(package.join("src/lib.rs")).unwrap();
        fs::write(package.join("orders.wasm"), "made").unwrap();
        fs::write(package.join("src/main.rs"), "2").unwrap();
        assert_eq!(saves.wait().unwrap(), package.join("src/main.rs"));
        // A folder that came later, and what came in it then and behind.
        fs::create_dir_all(package.join("samples")).unwrap();
        fs::write(package.join("samples/a.json"), "{}").unwrap();
        assert!(saves.wait().unwrap().starts_with(package.join("samples")));
        fs::write(package.join("samples/b.json"), "{}").unwrap();
        assert_eq!(saves.wait().unwrap(), package.join("samples/b.json"));
        assert!(Saves::of(&[package.join("nowhere")]).is_err());
    }

    #[test]
    fn what_a_link_leads_to_is_a_source_and_what_a_cache_holds_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let folder = fs::canonicalize(folder.path()).unwrap();
        let [package, shared, built] =
            ["orders", "shared", "orders/lib/target"].map(|name| folder.join(name));
        for name in [&package, &shared, &built] {
            fs::create_dir_all(name).unwrap();
        }
        fs::write(built.join(CACHE_TAG), "Signature: 8a477f597d28d172789f06886806bc55").unwrap();
        std::os::unix::fs::symlink(&shared, package.join("shared")).unwrap();
        std::os::unix::fs::symlink(&package, package.join("lib/back")).unwrap();
        let mut saves = Saves::of(std::slice::from_ref(&package)).unwrap();
        fs::write(built.join("a.rs"), "1").unwrap();
        assert!(!saves.is_news());
        fs::write(shared.join("a.rs"), "1").unwrap();
        saves.wait().unwrap();
        fs::create_dir(shared.join("deep")).unwrap();
        fs::write(shared.join("deep/b.rs"), "1").unwrap();
        saves.wait().unwrap();
        // A large one by its size and time.
        let large = fs::File::create(package.join("large.bin")).unwrap();
        large.set_len(FILE_MAX + 1).unwrap();
        assert!(saves.is_news() && !saves.is_news());
        large.set_len(FILE_MAX + 2).unwrap();
        assert!(saves.is_news());
    }

    #[test]
    fn a_build_that_writes_the_same_among_the_sources_is_no_news() {
        let folder = tempfile::tempdir().unwrap();
        let package = fs::canonicalize(folder.path()).unwrap();
        fs::create_dir_all(package.join("src/made")).unwrap();
        fs::create_dir_all(package.join("target")).unwrap();
        let write = |name: &str, text: &str| fs::write(package.join(name), text).unwrap();
        write("src/made/table.rs", "1");
        let mut saves = Saves::of(std::slice::from_ref(&package)).unwrap();
        write("src/made/table.rs", "1");
        write("target/a", "2");
        assert!(!saves.is_news());
        write("src/made/table.rs", "2");
        assert!(saves.is_news() && !saves.is_news());
        fs::rename(package.join("src/made/table.rs"), package.join("src/made/other.rs")).unwrap();
        assert!(saves.is_news(), "another name is another source");
        // What changes nothing is waited over.
        write("src/made/other.rs", "2");
        write("src/lib.rs", "3");
        saves.wait().unwrap();
        assert!(!saves.is_news());
    }
}
