//! A store on a server of its own, for tests of what the server does: what they hold up would hold up the others.

use hookweir_ground::postgres::Postgres;
use hookweir_store::{Options, PostgresDatabase, Retention, Store, Time};
use tokio_postgres::{Client, NoTls};

use crate::conformance::support::ManualClock;

pub(crate) struct Alone {
    pub(crate) server: Postgres,
    pub(crate) time: ManualClock,
    pub(crate) retention: Retention,
}

impl Alone {
    pub(crate) fn new() -> Self {
        let (time, retention) = (ManualClock::new(), Retention::default());
        Self { server: Postgres::start(), time, retention }
    }

    pub(crate) fn database(&self) -> PostgresDatabase {
        let database = PostgresDatabase::new(self.server.url());
        PostgresDatabase { time: Time::Given, may_lose: true, ..database }
    }

    pub(crate) async fn open(&self) -> Store {
        self.open_at(self.database()).await
    }

    pub(crate) async fn open_at(&self, database: PostgresDatabase) -> Store {
        let options = Options::new(database, [1; 16], self.time.clock());
        Store::open(Options { retention: self.retention, ..options }).await.unwrap()
    }

    /// Somebody else's connection.
    pub(crate) async fn other(&self) -> Client {
        let (client, connection) =
            tokio_postgres::connect(&self.server.url(), NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    /// What the server says of the store's tables.
    pub(crate) fn ask(&self, sql: &str) -> String {
        self.server.ask(&format!("SET search_path TO hookweir; {sql}"))
    }

    /// Waits until that is what it says.
    pub(crate) fn until(&self, what: &str, sql: &str, wanted: &str) {
        self.server.until(what, &format!("SET search_path TO hookweir; {sql}"), wanted);
    }
}
