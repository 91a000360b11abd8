//! The store in a PostgreSQL that is started for it, beside the one in a file and beside rows that are inserted one by
//! one, as `pgbench` would: the same rows' worth, each in a transaction of its own, over as many connections as there are
//! senders. The server syncs each commit and shares the machine's cores with who asks it.

use std::sync::Arc;

use hookweir_ground::{figures::Section, postgres::Postgres};
use hookweir_store::NewEvent;
use tokio_postgres::{Client, NoTls, Statement, types::ToSql};

use crate::{
    Flags, NAMES, Table,
    process::{child, child_at},
    subject::Subject,
};

/// What it is to be as fast as: five times single inserts.
const AIM: f64 = 5.0;
/// What two gateways do at least of what one does, at a server that shares two cores with both.
const BESIDE: f64 = 0.8;

/// Appends, and lifecycles.
pub(crate) fn sections(flags: &Flags) -> Vec<Section> {
    let server = Postgres::durable();
    vec![appends(&server, flags), lifecycles(&server, flags)]
}

fn appends(server: &Postgres, flags: &Flags) -> Section {
    let [mut postgres, mut sqlite, mut single] = [(); 3].map(|()| Table::default());
    for round in 0..flags.rounds {
        let schema = format!("appends_{round}");
        postgres.push(&child_at(Subject::Append, &server.url(), &schema, flags));
        server.ask(&format!("DROP SCHEMA {schema} CASCADE"));
        let fresh = tempfile::tempdir().unwrap();
        sqlite.push(&child(Subject::Append, fresh.path(), flags));
        server.ask(TABLE);
        single.push(&child_at(Subject::SingleInserts, &server.url(), "public", flags));
        server.ask("DROP TABLE single");
    }
    let about = "64 senders, events of 1 KiB with two claims, routed to one plugin".to_owned();
    let mut section = Section::new("appends in PostgreSQL", about, NAMES);
    section.ratio("PostgreSQL / single inserts", postgres.0[0].over(&single.0[0]), Some(AIM));
    section.ratio("PostgreSQL / SQLite", postgres.0[0].over(&sqlite.0[0]), None);
    section.row("PostgreSQL", postgres.0.into());
    section.row("SQLite", sqlite.0.into());
    section.row("single inserts, 64 connections", single.0.into());
    section
}

fn lifecycles(server: &Postgres, flags: &Flags) -> Section {
    child_at(Subject::Fill, &server.url(), "behind", flags);
    let [mut empty, mut backlog, mut twice, mut sqlite] = [(); 4].map(|()| Table::default());
    for round in 0..flags.rounds {
        let [one, two] = ["one", "two"].map(|name| format!("life_{name}_{round}"));
        empty.push(&child_at(Subject::Life, &server.url(), &one, flags));
        backlog.push(&child_at(Subject::Life, &server.url(), "behind", flags));
        twice.push(&child_at(Subject::LifeTwice, &server.url(), &two, flags));
        let fresh = tempfile::tempdir().unwrap();
        sqlite.push(&child(Subject::Life, fresh.path(), flags));
        server.ask(&format!("DROP SCHEMA {one} CASCADE; DROP SCHEMA {two} CASCADE"));
    }
    let about = format!("appended, leased, settled with one output; {} wait", flags.backlog);
    let mut section = Section::new("lifecycles in PostgreSQL", about, NAMES);
    section.ratio("with the backlog / empty", backlog.0[0].over(&empty.0[0]), Some(0.8));
    section.ratio("two gateways / one", twice.0[0].over(&empty.0[0]), Some(BESIDE));
    section.ratio("PostgreSQL / SQLite", empty.0[0].over(&sqlite.0[0]), None);
    section.row("empty", empty.0.into());
    section.row("with the backlog", backlog.0.into());
    section.row("two gateways", twice.0.into());
    section.row("SQLite, empty", sqlite.0.into());
    section
}

/// What a program would make that keeps webhooks and knows them again.
const TABLE: &str = "CREATE TABLE single(id bytea PRIMARY KEY, claim bytea NOT NULL UNIQUE,
    received_at timestamptz NOT NULL DEFAULT now(), headers bytea NOT NULL, body bytea NOT NULL)";

/// A connection that inserts rows one by one.
pub(crate) struct Inserter {
    client: Client,
    statement: Statement,
}

/// So many of them.
pub(crate) async fn connections(flags: &Flags, count: usize) -> Arc<Vec<Inserter>> {
    let mut inserters = Vec::new();
    for _ in 0..count {
        let url = flags.url.as_deref().unwrap();
        let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
        tokio::spawn(connection);
        let sql = "INSERT INTO single (id, claim, headers, body) VALUES ($1, $2, $3, $4)";
        let statement = client.prepare(sql).await.unwrap();
        inserters.push(Inserter { client, statement });
    }
    Arc::new(inserters)
}

impl Inserter {
    /// Inserts a row, and waits until it is durable.
    pub(crate) async fn insert(&self, new: &NewEvent) {
        let headers = new.event.headers.iter().flat_map(|(_, value)| value);
        let headers: Vec<u8> = headers.copied().collect();
        let (id, claim) = (&new.event.id.as_bytes()[..], &new.claims[0].as_bytes()[..]);
        let row: [&(dyn ToSql + Sync); 4] = [&id, &claim, &headers, &new.event.body];
        self.client.execute(&self.statement, &row).await.unwrap();
    }
}
