//! Opening: the lock, the file, its version; then what a crash left behind is made durable and free.

use std::{
    fs::{DirBuilder, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use hookweir_event::Timestamp;
use rusqlite::{Connection, ErrorCode, OpenFlags, config::DbConfig};
use tokio::sync::mpsc::WeakSender;

use super::{
    Op,
    anchor::Anchor,
    append::Batch,
    blocks::Blocks,
    checkpoint::{self, Checkpointer},
    claims::Claims,
    deliver,
    depths::Depths,
    fault::Fault,
    fresh::Fresh,
    known::Known,
    memory::Memory,
    parcels::Parcels,
    retain::Retain,
    schema,
    steady::Steady,
};
use crate::{OpenError, Options, SqliteFile};

/// The first SQLite without the WAL-reset bug, by which a checkpoint from another thread or process
/// could corrupt the database (<https://sqlite.org/wal.html#walresetbug>).
const OLDEST_SQLITE: i32 = 3_051_003;

/// How long to wait for another process's lock: a person with the `sqlite3` shell, a backup. Short,
/// since all else waits as well.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// The writer's page cache in KiB: 16 MiB. Four times that made a million lifecycles no faster (38 to
/// 40 us of the writer's time each), since SQLite walks the whole cache after commits that split pages
/// (`pcache1TruncateUnsafe`); what is not in it is in the kernel's.
const CACHE_KIB: i64 = 16 * 1024;

/// Of a new database; an old one keeps what it has. Bodies lie one after another, so that no page is
/// wasted, and of the pages that each commit writes again smaller ones are less: 3.0 bytes written for each
/// byte, 3.5 with 8 KiB, 4.6 with 16 KiB, at about the same rate.
const PAGE_BYTES: i64 = 4096;

/// The writer's connection and what belongs to it. Dropped in this order: the lock last.
pub(super) struct Database {
    pub(super) connection: Connection,
    pub(super) known: Known,
    pub(super) steady: Steady,
    pub(super) retain: Retain,
    /// The length of the log after the last commit, in frames.
    pub(super) frames: Arc<AtomicU32>,
    _anchor: Anchor,
    _lock: File,
}

/// Opens the database and starts its checkpointer. All that was ever acknowledged is in the database
/// file and synced when this returns, and the leases of other boots are free.
pub(super) fn open(
    file: &SqliteFile,
    options: &Options,
    back: WeakSender<Op>,
    anchor: &Anchor,
) -> Result<(Database, Checkpointer), OpenError> {
    let path = &file.path;
    if rusqlite::version_number() < OLDEST_SQLITE {
        return Err(OpenError::OldSqlite { found: rusqlite::version().to_owned() });
    }
    let lock = prepare_files(path)?;
    anchor.hold(path).map_err(|source| OpenError::File { path: path.clone(), source })?;
    let mut connection = connect(file).map_err(|source| failed(path, &source))?;
    let found = recognise(&connection, path)?;
    let frames = Arc::default();
    let (known, steady) = bring_up(&mut connection, found, options, &frames)
        .map_err(|fault| OpenError::Engine { path: path.clone(), reason: reason(fault) })?;
    sync_folder(path)?;
    let second = connect(file).map_err(|source| failed(path, &source))?;
    // A connection that has read nothing does not know that there is a log, and would copy none of it.
    second
        .query_row("SELECT count(*) FROM totals", [], |_| Ok(()))
        .map_err(|source| failed(path, &source))?;
    let page_bytes = second
        .pragma_query_value(None, "page_size", |row| row.get(0))
        .map_err(|source| failed(path, &source))?;
    let checkpointer = Checkpointer::start(second, anchor.clone(), page_bytes, back)
        .map_err(|source| OpenError::File { path: path.clone(), source })?;
    let retain = Retain::new(options.retention);
    let database = Database {
        connection,
        known,
        steady,
        retain,
        frames,
        _anchor: anchor.clone(),
        _lock: lock,
    };
    Ok((database, checkpointer))
}

/// Makes the folder and the file if they are missing, readable by nobody else, and takes the lock.
fn prepare_files(path: &Path) -> Result<File, OpenError> {
    let lock = lock(path)?;
    // SQLite gives its log and its index the mode of this file. Made, not opened: closing any handle
    // of a database file drops the locks that SQLite holds on it (POSIX).
    if !path.exists() {
        private(path).map_err(|source| OpenError::File { path: path.to_owned(), source })?;
    }
    Ok(lock)
}

/// Makes the folder if it is missing, and keeps other processes from writing until it is dropped.
pub(super) fn lock(path: &Path) -> Result<File, OpenError> {
    let in_file = |path: &Path| {
        let path = path.to_owned();
        move |source| OpenError::File { path, source }
    };
    let folder = folder_of(path);
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(in_file(folder))?;
    let mut lock_path = path.as_os_str().to_owned();
    lock_path.push(".lock");
    let lock_path = PathBuf::from(lock_path);
    let lock = private(&lock_path).map_err(in_file(&lock_path))?;
    for _ in 0..LOCK_TRIES {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_WAIT),
            Err(TryLockError::Error(source)) => return Err(in_file(&lock_path)(source)),
        }
    }
    Err(OpenError::InUse(path.to_owned()))
}

/// So often the lock is asked for, with so long in between. A process that this one starts has what is open here, and its
/// locks, from the fork to the exec: a store that was closed just then seems to be in use for that long.
const LOCK_TRIES: u32 = 20;
const LOCK_WAIT: Duration = Duration::from_millis(10);

pub(super) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes the names of the database and its log survive a power cut, and the journal of the switch to
/// WAL stay deleted: were it found again, it would undo the switch, and the log with it. SQLite leaves
/// that to `synchronous = EXTRA`.
fn sync_folder(path: &Path) -> Result<(), OpenError> {
    let folder = folder_of(path);
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|source| OpenError::File { path: folder.to_owned(), source })
}

fn private(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)
}

fn connect(file: &SqliteFile) -> rusqlite::Result<Connection> {
    // Without SQLite's own mutex: each connection stays on one thread.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = match &file.vfs {
        None => Connection::open_with_flags(&file.path, flags)?,
        Some(vfs) => Connection::open_with_flags_and_vfs(&file.path, flags, vfs.as_str())?,
    };
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "page_size", PAGE_BYTES)?;
    // So that retention can give space back. An old database stays as it is.
    connection.pragma_update(None, "auto_vacuum", "incremental")?;
    connection.pragma_update(None, "synchronous", "full")?;
    // Closing must not checkpoint: after a failed sync nothing may be written.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    // Plans must not depend on bound values. The bundled SQLite has STAT4, with which they do: each
    // lease was planned anew, which cost a tenth of the writer's time.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// Which schema the file has, if it is ours. Changes nothing.
pub(super) fn recognise(connection: &Connection, path: &Path) -> Result<i64, OpenError> {
    let pragma = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let application = pragma("application_id").map_err(|source| failed(path, &source))?;
    let tables: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(|source| failed(path, &source))?;
    if application != schema::APPLICATION_ID && (application != 0 || tables != 0) {
        return Err(OpenError::Foreign(path.to_owned()));
    }
    let found = pragma("user_version").map_err(|source| failed(path, &source))?;
    if found > schema::NEWEST {
        let place = path.display().to_string();
        return Err(OpenError::NewerSchema { place, found, known: schema::NEWEST });
    }
    Ok(found)
}

fn bring_up(
    connection: &mut Connection,
    schema_found: i64,
    options: &Options,
    frames: &Arc<AtomicU32>,
) -> Result<(Known, Steady), Fault> {
    enter_wal_mode(connection)?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    connection.pragma_update(None, "temp_store", "memory")?;
    connection.pragma_update(None, "foreign_keys", false)?;
    // In place of SQLite's own hook, which would checkpoint inside a commit.
    let seen = Arc::clone(frames);
    connection.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, pages| {
        seen.store(u32::try_from(pages).unwrap_or(0), Ordering::Relaxed);
        Ok(())
    }))?;
    // What a crash left in the log may exist in the page cache alone. Sync it before anyone relies
    // on it, and before anything is written on top.
    checkpoint::truncate(connection)?;
    if schema::migrate(connection, schema_found)? {
        // It may have written all there is once more: that is not for the first commit to copy.
        checkpoint::truncate(connection)?;
    }

    let claims = Claims::read(connection)?;
    connection.execute_batch("BEGIN IMMEDIATE")?;
    let boot = deliver::boot_key(connection, &options.owner)?;
    let memory = Memory::read(connection, boot)?;
    let least = Timestamp::from_millis(memory.totals.clock);
    let mut steady = Steady::new(options.clock.clone(), least);
    let next_event = memory.totals.next_event;
    let blocks = Blocks::read(connection, next_event, |first| claims.since(first))?;
    let mut parcels = Parcels::default();
    let (fresh, lost) = Fresh::read(connection, &mut parcels, boot)?;
    let depths = Depths::read(connection)?;
    let envelope = Vec::new();
    let mut known = Known { memory, claims, blocks, parcels, fresh, depths, envelope };
    Batch::new(connection, steady.now(), &mut known).free_foreign_leases(&lost)?;
    known.memory.totals.write(connection, &known.fresh, &known.depths)?;
    connection.execute_batch("COMMIT")?;
    Ok((known, steady))
}

/// Taken to its end, since the pragma commits after its only row, where a failed sync would go
/// unnoticed; and other failures it reports by naming the mode that stays.
fn enter_wal_mode(connection: &Connection) -> Result<(), Fault> {
    let mut statement = connection.prepare("PRAGMA journal_mode = wal")?;
    let modes = statement.query_map([], |row| row.get(0))?;
    let modes: Vec<String> = modes.collect::<rusqlite::Result<_>>()?;
    if modes != ["wal"] {
        return Err(Fault::Operation(format!("the journal mode stays {modes:?}")));
    }
    Ok(())
}

fn failed(path: &Path, source: &rusqlite::Error) -> OpenError {
    match source.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => OpenError::Foreign(path.to_owned()),
        Some(ErrorCode::DatabaseCorrupt) => {
            OpenError::Damaged { path: path.to_owned(), reason: source.to_string() }
        }
        _ => OpenError::Engine { path: path.to_owned(), reason: source.to_string() },
    }
}

fn reason(fault: Fault) -> String {
    match fault {
        // Nothing was opened that a restart could help.
        Fault::Poison(reason) => reason,
        fault => fault.into_answer().to_string(),
    }
}
