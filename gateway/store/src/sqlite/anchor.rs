//! A handle of the database file beside SQLite's own.
//!
//! When a process closes any handle of a file, all its POSIX locks on that file are gone, SQLite's included.
//! So this one is closed last: everyone who has a connection to the file has it too, and drops it behind the
//! connection.

use std::{
    fs::File,
    io,
    path::Path,
    sync::{Arc, OnceLock},
};

/// Holds the file open, once it is there.
#[derive(Debug, Clone, Default)]
pub(super) struct Anchor(Arc<OnceLock<File>>);

impl Anchor {
    /// Opens the file, before any connection does.
    pub(super) fn hold(&self, path: &Path) -> io::Result<()> {
        let file = File::open(path)?;
        // It is held once: there is one writer.
        let _ = self.0.set(file);
        Ok(())
    }

    /// Has written to the disk what the kernel was given for this file.
    pub(super) fn sync_data(&self) -> io::Result<()> {
        self.0.get().map_or(Ok(()), File::sync_data)
    }
}
