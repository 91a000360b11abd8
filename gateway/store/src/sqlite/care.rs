//! What operators do with a store's file: look for damage, copy it while a gateway writes to it, and
//! put a copy in its place. The functions block; each opens the file for itself.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown},
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{
    Connection, OpenFlags,
    backup::{Backup, StepResult},
};
use thiserror::Error;

use super::{folder_of, lock, recognise, recount, schema};
use crate::OpenError;

/// Pages copied between two looks at how far it is: 8 MiB.
const STEP_PAGES: i32 = 1024;
/// The most kinds of damage that are listed.
const DAMAGE_MAX: usize = 100;
/// How long to wait for a lock: a checkpoint holds one for moments.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a store could not be looked after.
#[derive(Debug, Error)]
pub enum CareError {
    /// The store can't be opened, or a gateway writes to it.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A file can't be made, read or renamed.
    #[error("{}: {source}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something is in the way that is not overwritten.
    #[error("{} exists already; move it away", .0.display())]
    Exists(PathBuf),
    /// The copy can't be relied on.
    #[error("{} is damaged: {}", .path.display(), .damage.join("; "))]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        damage: Vec<String>,
    },
    /// The database engine failed.
    #[error("the database failed: {0}")]
    Database(#[from] rusqlite::Error),
}

/// How far a copy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Pages that are copied.
    pub done: u64,
    /// All pages.
    pub all: u64,
}

/// What is wrong with the store at `path`; empty if nothing is. Reads all of it, from one snapshot, and
/// changes nothing; a gateway may go on writing.
///
/// # Errors
/// If it is no store that this version can read.
pub fn check(path: &Path) -> Result<Vec<String>, CareError> {
    let connection = match read_only(path) {
        // Damage where the file says what it is.
        Err(CareError::Open(OpenError::Damaged { reason, .. })) => return Ok(vec![reason]),
        opened => opened?,
    };
    // One transaction, so that a commit in between is no damage.
    connection.execute_batch("BEGIN")?;
    let mut damage = engine_damage(&connection);
    // What the pages hold can be counted only if they can be read, and if this version wrote them: those of
    // an earlier one are counted after it brought them up to date.
    if damage.is_empty() && recognise(&connection, path)? == schema::NEWEST {
        damage = broken_promises(&connection).unwrap_or_else(|error| vec![error.to_string()]);
    }
    Ok(damage)
}

/// What SQLite finds: pages that are torn, rows that miss from an index.
fn engine_damage(connection: &Connection) -> Vec<String> {
    let look = || -> rusqlite::Result<Vec<String>> {
        let sql = format!("PRAGMA integrity_check({DAMAGE_MAX})");
        let mut statement = connection.prepare(&sql)?;
        let rows = statement.query_map([], |row| row.get::<_, String>(0))?;
        rows.filter(|row| row.as_ref().map_or(true, |text| text != "ok")).collect()
    };
    look().unwrap_or_else(|error| vec![error.to_string()])
}

/// What holds in every store: the totals are those of what is there, and nothing is without what it
/// belongs to.
fn broken_promises(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let counted = recount::all(connection)?;
    let differing = counted
        .differing
        .into_iter()
        .map(|(what, by)| format!("{what} and their total differ: {by}"));
    let lost = [
        ("deliveries without their event", counted.deliveries_alone),
        ("attempts without their delivery", counted.attempts_alone),
        ("requests without their attempt", counted.exchanges_alone),
        ("attempts whose requests can't be read", counted.exchanges_unreadable),
        ("events that can't be read", counted.unreadable),
        ("events that their id does not lead to", counted.unfound),
        ("plugins with due deliveries that nobody would find", counted.before_front),
    ];
    let lost = lost.into_iter().filter(|(_, count)| *count > 0);
    Ok(differing.chain(lost.map(|(what, count)| format!("{what}: {count}"))).collect())
}

/// Copies the store at `path` to the new file `to`, as it is at this moment; a gateway may go on
/// writing, and what it commits meanwhile is not in the copy. The copy is one file, checked and on disk
/// when this returns. Returns its size in bytes.
///
/// The gateway's log can't start anew until the copy is made: it grows by what is written meanwhile.
///
/// # Errors
/// If `to` exists, the disk fails, or what was copied is damaged.
pub fn back_up(
    path: &Path,
    to: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<u64, CareError> {
    if to.exists() {
        return Err(CareError::Exists(to.to_owned()));
    }
    let from = read_only(path)?;
    // Holds one snapshot. Without it, each commit of the gateway would have the copy begin again.
    from.execute_batch("BEGIN")?;
    from.query_row("SELECT count(*) FROM totals", [], |_| Ok(()))?;
    let aside = Aside::make(to, None)?;
    copy(&from, aside.path(), progress)?;
    let damage = check(aside.path())?;
    if !damage.is_empty() {
        return Err(CareError::Damaged { path: path.to_owned(), damage });
    }
    aside.publish(to)
}

fn copy(from: &Connection, to: &Path, progress: &mut dyn FnMut(Progress)) -> Result<(), CareError> {
    let mut copy = Connection::open_with_flags(to, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    {
        let backup = Backup::new(from, &mut copy)?;
        loop {
            let result = backup.step(STEP_PAGES)?;
            let pages = backup.progress();
            let count = |pages| u64::try_from(pages).unwrap_or_default();
            let (left, all) = (count(pages.remaining), count(pages.pagecount));
            progress(Progress { done: all.saturating_sub(left), all });
            match result {
                StepResult::Done => break,
                StepResult::More => {}
                _ => std::thread::sleep(Duration::from_millis(10)),
            }
        }
    }
    // In one file, without a log beside it; a gateway that opens it starts a log anew.
    copy.pragma_update(None, "journal_mode", "delete")?;
    copy.close().map_err(|(_, error)| error.into())
}

/// Puts the copy `from` in the place of the store at `path`, which no gateway may be using. The old
/// files are kept beside it, with `.replaced` behind the store's name. Returns where the old store is, if
/// there was one.
///
/// Where root does so, the new store belongs to whom the old one does, or the folder if there is none: a gateway
/// of its own user could not open one of root's.
///
/// # Errors
/// If a gateway uses the store, the copy is damaged, files of an earlier restore are in the way, or
/// the disk fails.
pub fn restore(from: &Path, path: &Path) -> Result<Option<PathBuf>, CareError> {
    let damage = check(from)?;
    if !damage.is_empty() {
        return Err(CareError::Damaged { path: from.to_owned(), damage });
    }
    let owner = Owner::of_store(path)?;
    if let Some(owner) = owner {
        owner.have_lock(path)?;
    }
    let _lock = lock(path)?;
    // The log and its index before the store: a new store must never meet an old log.
    // All go under one name, so that the old store can still be read, its log included.
    let replaced = beside(path, ".replaced");
    let old = ["-wal", "-shm", ""].map(|end| (beside(path, end), beside(&replaced, end)));
    if let Some((_, there)) = old.iter().find(|(_, there)| there.exists()) {
        return Err(CareError::Exists(there.clone()));
    }
    let aside = Aside::make(path, owner)?;
    copy_file(from, aside.path())?;
    let mut kept = false;
    for (old, there) in old.iter().filter(|(old, _)| old.exists()) {
        fs::rename(old, there).map_err(in_file(old))?;
        kept = true;
    }
    aside.publish(path)?;
    Ok(kept.then_some(replaced))
}

fn copy_file(from: &Path, to: &Path) -> Result<(), CareError> {
    let mut source = File::open(from).map_err(in_file(from))?;
    let mut copy = OpenOptions::new().write(true).open(to).map_err(in_file(to))?;
    io::copy(&mut source, &mut copy).map_err(in_file(to))?;
    Ok(())
}

/// Whose a store is.
#[derive(Debug, Clone, Copy)]
struct Owner {
    user: u32,
    group: u32,
}

impl Owner {
    /// Of the store, or of its folder; none if this process may not give files away, or there is neither.
    fn of_store(path: &Path) -> Result<Option<Self>, CareError> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        for path in [path, folder_of(path)] {
            match fs::metadata(path) {
                Ok(found) => return Ok(Some(Self { user: found.uid(), group: found.gid() })),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(in_file(path)(error)),
            }
        }
        Ok(None)
    }

    /// Gives it the lock's file, if that is missing.
    fn have_lock(self, path: &Path) -> Result<(), CareError> {
        let path = beside(path, ".lock");
        match private_new(&path) {
            Ok(file) => self.give(&file).map_err(in_file(&path)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(in_file(&path)(error)),
        }
    }

    /// Only ever what this process has just made: a name may be a link to a file of somebody else.
    fn give(self, file: &File) -> io::Result<()> {
        fchown(file, Some(self.user), Some(self.group))
    }
}

/// A file that was not there, readable by nobody else.
fn private_new(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// A file that is not there yet under its own name. Removed when dropped.
struct Aside(PathBuf);

impl Aside {
    fn make(to: &Path, owner: Option<Owner>) -> Result<Self, CareError> {
        let path = beside(to, ".partial");
        match private_new(&path) {
            Ok(file) => {
                let aside = Self(path);
                owner.map_or(Ok(()), |owner| owner.give(&file)).map_err(in_file(&aside.0))?;
                Ok(aside)
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(CareError::Exists(path))
            }
            Err(error) => Err(in_file(&path)(error)),
        }
    }

    fn path(&self) -> &Path {
        &self.0
    }

    /// Gives it its name, which nothing may have yet, and makes both survive a power cut.
    fn publish(self, to: &Path) -> Result<u64, CareError> {
        let file = File::open(&self.0).map_err(in_file(&self.0))?;
        file.sync_all().map_err(in_file(&self.0))?;
        let size = file.metadata().map_err(in_file(&self.0))?.len();
        fs::hard_link(&self.0, to).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => CareError::Exists(to.to_owned()),
            _ => in_file(to)(error),
        })?;
        fs::remove_file(&self.0).map_err(in_file(&self.0))?;
        let folder = folder_of(to);
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(in_file(folder))?;
        Ok(size)
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        // Gone already if it was published.
        let _ = fs::remove_file(&self.0);
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

fn in_file(path: &Path) -> impl FnOnce(io::Error) -> CareError + use<> {
    let path = path.to_owned();
    move |source| CareError::File { path, source }
}

pub(super) fn read_only(path: &Path) -> Result<Connection, CareError> {
    if !path.exists() {
        let source = io::Error::from(io::ErrorKind::NotFound);
        return Err(CareError::File { path: path.to_owned(), source });
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    recognise(&connection, path)?;
    Ok(connection)
}
