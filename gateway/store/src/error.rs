//! Why the store could not do what it was asked to.
//!
//! Three kinds: it will pass by itself, this operation is at fault, or the store is poisoned.

use std::path::PathBuf;

use thiserror::Error;

/// Why an operation failed. Nothing of it is in the store, with one exception that each caller is
/// proof against: after [`Failed`](Self::Failed) a commit may have survived on disk. It was not
/// acknowledged, so its event is sent again and meets its own claim.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StoreError {
    /// The disk, or the quota, is full.
    #[error("the disk is full")]
    Full,
    /// Another process holds the database's write lock.
    #[error("the database is locked by another process")]
    Busy,
    /// A write or a statement failed.
    #[error("the store failed: {0}")]
    Failed(String),
    /// A sync failed or the file is corrupt. Lasts until the process is restarted.
    #[error("the store is poisoned until a restart: {0}")]
    Poisoned(String),
    /// Too many operations wait for the writer.
    #[error("the store's queue is full")]
    Overloaded,
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// Whether the same operation may succeed later, in this process.
    pub fn retryable(&self) -> bool {
        matches!(self, Self::Full | Self::Busy | Self::Failed(_) | Self::Overloaded)
    }
}

/// Why a store could not be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Another process, or another handle in this one, writes to the same file.
    #[error("{} is in use by another process; one gateway at a time may write to it", .0.display())]
    InUse(PathBuf),
    /// A later version of Hookweir wrote it.
    #[error(
        "{place} has schema {found}, this version knows up to {known}; use the version that wrote it, or a later one"
    )]
    NewerSchema {
        /// The file, or which of a database's schemas.
        place: String,
        /// Its schema.
        found: i64,
        /// The newest that is known here.
        known: i64,
    },
    /// Some other program's file.
    #[error("{} is not a database of Hookweir's", .0.display())]
    Foreign(PathBuf),
    /// The SQLite that was linked is too old.
    #[error(
        "SQLite {found} is linked, at least 3.51.3 is needed: older ones can corrupt a database that is checkpointed from another thread"
    )]
    OldSqlite {
        /// Its version.
        found: String,
    },
    /// A folder or file could not be made or opened.
    #[error("can't open {}: {source}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The address of a database can't be used. What was wrong with it is said without it, since it may hold a
    /// password.
    #[error("the database's address can't be used: {reason}")]
    Address {
        /// Why.
        reason: String,
    },
    /// The database's server can't be reached, or does not let us do what has to be done.
    #[error("can't open the database: {reason}")]
    Server {
        /// Why.
        reason: String,
    },
    /// The server acknowledges commits that it may lose, and nobody said that it may.
    #[error(
        "the database has {setting}: it would lose what was acknowledged if its server crashed; set it to on, or say that it may be off"
    )]
    MayLose {
        /// By which setting.
        setting: String,
    },
    /// It has a copy of another store that is not whole.
    #[error(
        "{place} has a copy of a store that is not whole; run `hookweir store copy` again until it says that it is, or drop {place}"
    )]
    Unfinished {
        /// Which of a database's schemas.
        place: String,
    },
    /// What is in the file is not what was written.
    #[error("{} is damaged: {reason}; `hookweir store check` says where", .path.display())]
    Damaged {
        /// The database.
        path: PathBuf,
        /// What the engine stumbled over.
        reason: String,
    },
    /// The database engine refused.
    #[error("can't open {}: {reason}", .path.display())]
    Engine {
        /// The database.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// Why nothing could be read.
#[derive(Debug, Clone, Error)]
pub enum ReadError {
    /// There is no such file or schema of a database, or no store in it.
    #[error("no store at {0}")]
    Missing(String),
    /// A later version of Hookweir wrote it.
    #[error("the store has schema {found}, this version knows up to {known}")]
    NewerSchema {
        /// The database's schema.
        found: i64,
        /// The newest that is known here.
        known: i64,
    },
    /// An earlier version of Hookweir wrote it, and this one has not had it open yet.
    #[error("the store has schema {found}; starting the gateway once brings it to {known}")]
    OlderSchema {
        /// The database's schema.
        found: i64,
        /// The one that is needed.
        known: i64,
    },
    /// The database's server can't be reached now. Nothing is said of what is in the store.
    #[error("can't reach the store: {0}")]
    Unreachable(String),
    /// The database engine refused, or what it has is not what was written.
    #[error("can't read the store: {0}")]
    Failed(String),
}
