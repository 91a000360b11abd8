//! Where the suite's stores are: each in a schema of its own, of one server for all tests of this process.
//!
//! What is committed is there for the next store, whoever else is connected. What a crash takes from a gateway
//! is its place among those that live: its row in `boots` says that it is gone, and nothing is leased by it.
//!
//! The server does not sync (`Postgres::start`): nothing here crashes it, and these tests make tens of thousands of
//! commits. What survives a crash of the server is tested end to end.

use std::sync::{
    OnceLock,
    atomic::{AtomicU32, Ordering},
};

use hookweir_ground::postgres::Postgres;
use hookweir_store::{Location, PostgresDatabase, Time};

use crate::conformance::Hidden;

fn server() -> &'static Postgres {
    static SERVER: OnceLock<Postgres> = OnceLock::new();
    SERVER.get_or_init(Postgres::start)
}

/// A schema with a store in it.
pub(crate) struct Ground {
    schema: String,
}

impl Ground {
    /// Several commits are under way at once.
    pub(crate) const IN_ORDER: bool = false;

    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        Self { schema: format!("store_{}", NEXT.fetch_add(1, Ordering::Relaxed)) }
    }

    pub(crate) fn location(&self) -> Location {
        let (schema, time, may_lose) = (self.schema.clone(), Time::Given, true);
        let database = PostgresDatabase::new(server().url());
        // The suite says to the millisecond how long what is over is kept.
        PostgresDatabase { schema, time, days: false, may_lose, ..database }.into()
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
        // A store that crashed may hold its tables for a moment still.
        let drop =
            format!("SET lock_timeout = '10s'; DROP SCHEMA IF EXISTS {} CASCADE", self.schema);
        if !std::thread::panicking() {
            server().ask(&drop);
        }
    }
}
