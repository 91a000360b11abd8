//! Tells when something in a package's folder was saved. What is built there is left out: a build must not
//! bring about the next one.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    time::Duration,
};

use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _,
    event::{AccessKind, AccessMode},
};

/// How long a folder has to be quiet: editors and formatters save in several steps.
const REST: Duration = Duration::from_millis(100);
/// Saves that may follow one another before a build begins all the same.
const SAVES_MAX: usize = 50;
/// Folders that hold no sources. Hidden ones are left out as well.
const BUILT: &[&str] = &["target", "node_modules", "__pycache__", "build", "dist"];

/// Watches packages.
pub struct Saves {
    watcher: RecommendedWatcher,
    packages: Vec<PathBuf>,
    saved: Receiver<PathBuf>,
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
        let mut saves = Self { watcher, packages, saved };
        saves.follow()?;
        Ok(saves)
    }

    /// Waits for a save, and until no more follow. Answers one of the files.
    ///
    /// # Errors
    /// If a folder can't be watched any more.
    pub fn wait(&mut self) -> Result<PathBuf, String> {
        let saved = self.saved.recv().map_err(|error| error.to_string())?;
        // At most so often: a log that lies there never rests.
        for _ in 0..SAVES_MAX {
            if self.saved.recv_timeout(REST).is_err() {
                break;
            }
        }
        // Folders may have come.
        self.follow()?;
        Ok(saved)
    }

    /// Each package's folder, and whole the folders in it: but for what is built there, which is a lot.
    fn follow(&mut self) -> Result<(), String> {
        for package in &self.packages {
            let fault = |error: &dyn std::fmt::Display| format!("{}: {error}", package.display());
            let watched = self.watcher.watch(package, RecursiveMode::NonRecursive);
            watched.map_err(|error| fault(&error))?;
            for entry in fs::read_dir(package).map_err(|error| fault(&error))?.flatten() {
                if entry.path().is_dir() && !is_built(&entry.file_name()) {
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
    let nothing = inside.as_os_str().is_empty();
    !made && !lock && !nothing && !inside.components().any(|part| is_built(part.as_os_str()))
}

fn is_built(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".") || BUILT.iter().any(|built| name == *built)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_build_makes_is_no_save() {
        let package = Path::new("/p/orders");
        let is_source = |path: &str| is_source(&package.join(path), package);
        for path in ["src/lib.rs", "Cargo.toml", "samples/a.json", "build.rs", "src/target.rs"] {
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
        // A folder that came later, and what came in it.
        fs::create_dir_all(package.join("samples")).unwrap();
        assert_eq!(saves.wait().unwrap(), package.join("samples"));
        fs::write(package.join("samples/a.json"), "{}").unwrap();
        assert_eq!(saves.wait().unwrap(), package.join("samples/a.json"));
        assert!(Saves::of(&[package.join("nowhere")]).is_err());
    }
}
