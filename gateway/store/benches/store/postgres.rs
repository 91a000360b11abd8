//! The store in a PostgreSQL that is started for it, beside the one in a file and beside rows that are inserted one by
//! one, as `pgbench` would: the same rows' worth, each in a transaction of its own, over 64 connections. The server syncs
//! each commit and shares the machine's cores with who asks it.

use std::sync::Arc;

use hookweir_ground::{figures::Section, postgres::Postgres};
use hookweir_store::NewEvent;
use tokio_postgres::{Client, NoTls, Statement, types::ToSql};

use crate::{
    AT_A_SERVER, Flags, Table,
    process::{child, child_at},
    section,
    subject::Subject,
};

/// What it is to be as fast as: five times single inserts.
const AIM: f64 = 5.0;
/// As many connections as rows are inserted over.
const CONNECTIONS: usize = 64;
/// Senders of a gateway that has more to do.
const MANY: usize = 512;
/// What two gateways do at least of what one does, at a server that shares two cores with both.
const BESIDE: f64 = 0.8;

/// Appends, and lifecycles.
pub(crate) fn sections(flags: &Flags) -> Vec<Section> {
    let mut server = Postgres::durable();
    // As one that has this to do would have it; the other settings are its own.
    server.ask("ALTER SYSTEM SET shared_buffers = '1GB'");
    server.stop();
    server.run();
    vec![appends(&server, flags), lifecycles(&server, flags)]
}

fn appends(server: &Postgres, flags: &Flags) -> Section {
    let [mut few, mut many, mut sqlite, mut single_few, mut single_many] =
        [(); 5].map(|()| Table::of(AT_A_SERVER));
    for round in 0..flags.rounds {
        let fresh = tempfile::tempdir().unwrap();
        sqlite.push(&child(Subject::Append, fresh.path(), flags));
        for (senders, postgres, single) in
            [(flags.senders, &mut few, &mut single_few), (MANY, &mut many, &mut single_many)]
        {
            let flags = Flags { senders, ..flags.clone() };
            let schema = format!("appends_{round}_{senders}");
            postgres.push(&child_at(Subject::Append, server, &schema, &flags));
            server.ask(&format!("DROP SCHEMA {schema} CASCADE"));
            server.ask(TABLE);
            single.push(&child_at(Subject::SingleInserts, server, "public", &flags));
            server.ask("DROP TABLE single");
        }
    }
    let about = "events of 1 KiB with two claims, routed to one plugin".to_owned();
    let mut section = section("appends in PostgreSQL", about, AT_A_SERVER);
    let (few_ratio, many_ratio) =
        (few.rate().over(single_few.rate()), many.rate().over(single_many.rate()));
    section.ratio("PostgreSQL / single inserts, 64 senders", few_ratio, Some(AIM));
    section.ratio("PostgreSQL / single inserts, 512 senders", many_ratio, Some(AIM));
    section.ratio("PostgreSQL / SQLite, 64 senders", few.rate().over(sqlite.rate()), None);
    section.row("PostgreSQL, 64 senders", few.rounds.into());
    section.row("PostgreSQL, 512 senders", many.rounds.into());
    section.row("SQLite, 64 senders", sqlite.rounds.into());
    section.row("single inserts, 64 senders", single_few.rounds.into());
    section.row("single inserts, 512 senders", single_many.rounds.into());
    section
}

fn lifecycles(server: &Postgres, flags: &Flags) -> Section {
    child_at(Subject::Fill, server, "behind", flags);
    let [mut empty, mut backlog, mut twice, mut sqlite] = [(); 4].map(|()| Table::of(AT_A_SERVER));
    for round in 0..flags.rounds {
        let [one, two] = ["one", "two"].map(|name| format!("life_{name}_{round}"));
        empty.push(&child_at(Subject::Life, server, &one, flags));
        backlog.push(&child_at(Subject::Life, server, "behind", flags));
        twice.push(&child_at(Subject::LifeTwice, server, &two, flags));
        let fresh = tempfile::tempdir().unwrap();
        sqlite.push(&child(Subject::Life, fresh.path(), flags));
        server.ask(&format!("DROP SCHEMA {one} CASCADE; DROP SCHEMA {two} CASCADE"));
    }
    let about = format!("appended, leased, settled with one output; {} wait", flags.backlog);
    let mut section = section("lifecycles in PostgreSQL", about, AT_A_SERVER);
    section.ratio("with the backlog / empty", backlog.rate().over(empty.rate()), Some(0.8));
    section.ratio("two gateways / one", twice.rate().over(empty.rate()), Some(BESIDE));
    section.ratio("PostgreSQL / SQLite", empty.rate().over(sqlite.rate()), None);
    section.row("empty", empty.rounds.into());
    section.row("with the backlog", backlog.rounds.into());
    section.row("two gateways", twice.rounds.into());
    section.row("SQLite, empty", sqlite.rounds.into());
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

/// All of them.
pub(crate) async fn connections(flags: &Flags) -> Arc<Vec<Inserter>> {
    let mut inserters = Vec::new();
    for _ in 0..CONNECTIONS {
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
