//! Where the suite's stores are: a file of SQLite's in a temporary folder.
//!
//! A crash is a copy of the files as they are at that moment. What is not synced is in it: images of power
//! cuts are made of recorded writes, in the end-to-end tests.

use std::path::PathBuf;

use hookweir_store::{Location, SqliteFile};
use rusqlite::Connection;
use tempfile::TempDir;

use crate::conformance::{Hidden, support::Bed};

/// A folder with a store in it.
pub(crate) struct Ground {
    folder: TempDir,
}

impl Ground {
    /// There is one writer.
    pub(crate) const IN_ORDER: bool = true;
    /// There is no clock but that one.
    pub(crate) const AGED_BY_GATEWAYS: bool = true;

    pub(crate) fn new() -> Self {
        Self { folder: TempDir::new().unwrap() }
    }

    pub(crate) fn location(&self) -> Location {
        SqliteFile::new(self.path()).into()
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("data/hookweir.db")
    }

    /// The files as they are now, in another folder.
    pub(crate) fn crash(&mut self) {
        let copy = TempDir::new().unwrap();
        let (from, to) = (self.path(), copy.path().join("data"));
        std::fs::create_dir(&to).unwrap();
        for suffix in ["", "-wal"] {
            let mut file = from.clone().into_os_string();
            file.push(suffix);
            let file = PathBuf::from(file);
            if file.exists() {
                std::fs::copy(&file, to.join(file.file_name().unwrap())).unwrap();
            }
        }
        self.folder = copy;
    }

    pub(crate) fn count(&self, hidden: Hidden) -> i64 {
        let table = match hidden {
            Hidden::Events => "parcels",
            Hidden::Deliveries => "deliveries",
            Hidden::Attempts => "attempts",
            Hidden::Exchanges => "exchanges",
            Hidden::Departed => "departed",
        };
        let connection = Connection::open(self.path()).unwrap();
        let sql = format!("SELECT count(*) FROM {table}");
        connection.query_row(&sql, [], |row| row.get(0)).unwrap()
    }
}

impl Bed {
    pub(crate) fn path(&self) -> PathBuf {
        self.ground.path()
    }
}
