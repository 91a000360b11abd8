//! Where the suite's stores are: each in a schema of its own, of one server for all tests of this process. One that is to
//! be copied there is in a file at first.
//!
//! What is committed is there for the next store, whoever else is connected. What a crash takes from a gateway
//! is its place among those that live: its row in `boots` says that it is gone, and nothing is leased by it.
//!
//! The server does not sync (`Postgres::start`): nothing here crashes it, and these tests make tens of thousands of
//! commits. What survives a crash of the server is tested end to end.

use std::{
    fs::File,
    path::Path,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

use hookweir_ground::postgres::Postgres;
use hookweir_store::{Location, PostgresDatabase, SqliteFile, Time};
use tempfile::TempDir;

use crate::conformance::Hidden;

fn server() -> &'static Postgres {
    static SERVER: OnceLock<Postgres> = OnceLock::new();
    SERVER.get_or_init(Postgres::start)
}

/// A schema with a store in it.
pub(crate) struct Ground {
    schema: String,
    /// Where it is at first, if it is in a file.
    folder: Option<TempDir>,
    moved: bool,
}

impl Ground {
    /// Several commits are under way at once.
    pub(crate) const IN_ORDER: bool = false;
    /// The gateways' clocks may differ, so that events are as old as the database says.
    pub(crate) const AGED_BY_GATEWAYS: bool = false;

    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let schema = format!("store_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        Self { schema, folder: None, moved: false }
    }

    /// The store is in a file, until it [`move`](Self::moved)s.
    pub(crate) fn in_file() -> Self {
        let mut ground = Self::new();
        ground.folder = Some(TempDir::new().unwrap());
        ground
    }

    pub(crate) fn location(&self) -> Location {
        match &self.folder {
            Some(folder) if !self.moved => {
                let file = folder.path().join("store.db");
                until_let_go(&file);
                SqliteFile::new(file).into()
            }
            _ => self.database(),
        }
    }

    /// Where it is in the end.
    pub(crate) fn database(&self) -> Location {
        let (schema, time, may_lose) = (self.schema.clone(), Time::Given, true);
        let database = PostgresDatabase::new(server().url());
        // The suite says to the millisecond how long what is over is kept.
        PostgresDatabase { schema, time, days: false, may_lose, ..database }.into()
    }

    /// It is in the database from now on, or in the file again.
    pub(crate) fn moved(&mut self, moved: bool) {
        self.moved = moved;
    }

    /// What the database answers to whoever looks behind the store.
    pub(crate) fn ask(&self, sql: &str) -> String {
        self.asks()(sql)
    }

    /// The same for whoever has nothing but this.
    pub(crate) fn asks(&self) -> impl Fn(&str) -> String + Send + use<> {
        let schema = self.schema.clone();
        move |sql| server().ask(&format!("SET search_path TO {schema}; {sql}"))
    }

    /// Whoever has it open is as good as dead: others lease what it had, and it can settle nothing any more.
    pub(crate) fn crash(&mut self) {
        server().ask(&format!("UPDATE {}.boots SET gone = true", self.schema));
    }

    pub(crate) fn count(&self, hidden: Hidden) -> i64 {
        let schema = &self.schema;
        let table = match hidden {
            Hidden::Events => "events",
            Hidden::Deliveries => "deliveries",
            Hidden::Attempts => "attempts",
            Hidden::Exchanges => "exchanges",
            Hidden::Departed => "claims",
        };
        let condition = match hidden {
            Hidden::Departed => {
                format!("NOT EXISTS (SELECT FROM {schema}.events WHERE id = claims.event)")
            }
            _ => "true".to_owned(),
        };
        let sql = format!("SELECT count(*) FROM {schema}.{table} WHERE {condition}");
        server().ask(&sql).parse().unwrap()
    }
}

impl Drop for Ground {
    /// Hundreds of histories would be hundreds of schemas.
    fn drop(&mut self) {
        // A store that crashed may hold its tables for a moment still, and want more of them: in another order than this.
        let drop = format!(
            "SET lock_timeout = '10s';
             DO $$ BEGIN
                 LOOP
                     BEGIN
                         DROP SCHEMA IF EXISTS {} CASCADE;
                         EXIT;
                     EXCEPTION WHEN deadlock_detected THEN NULL;
                     END;
                 END LOOP;
             END $$",
            self.schema
        );
        if !std::thread::panicking() {
            server().ask(&drop);
        }
    }
}

/// Waits until nobody has a file's lock any more, a second at most. A program that another test starts has everything for a
/// moment that this process has, locks among it, until it is a program of its own.
fn until_let_go(file: &Path) {
    let Ok(lock) = File::open(file.with_extension("db.lock")) else { return };
    for _ in 0..100 {
        if lock.try_lock().is_ok() {
            return lock.unlock().unwrap();
        }
        thread::sleep(Duration::from_millis(10));
    }
}
