//! Looks at the store without being in the way of its verbs, through connections of its own. Works where no
//! gateway runs, too.
//!
//! Each question is answered from one moment: by one statement, or by several in one transaction ([`Sight::moment`]).
//! The questions themselves are in the modules beside this one: `look`, `entries`, `search`, `listing`, `news`,
//! `depths`, `queues`, `standby`, `told`.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use hookweir_event::Clock;
use tokio_postgres::Row;

use super::{
    Link,
    columns::Columns,
    link::{Params, Sight},
    schema,
};
use crate::{OpenError, PostgresDatabase, ReadError, Standbys};

/// So many questions are answered at a time; the others wait for one of these.
const CONNECTIONS: usize = 4;
/// So long the size that was found is said to be what it is: to find it takes a look at each file.
const SIZE_HOLDS: Duration = Duration::from_secs(10);

/// Connections to look through. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Window {
    database: Arc<PostgresDatabase>,
    link: Link,
    /// That of whoever looks, if times are to be by that one and not by the database's.
    clock: Option<Clock>,
    seen: Arc<Seen>,
}

/// What was found of the database, and is not looked for again.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// It has the schema that is known here.
    is_known: AtomicBool,
    /// How large it was, and when.
    size: Mutex<Option<(Instant, u64)>>,
    /// Which standbys it had, if it said so, and when.
    pub(super) standbys: Mutex<Option<(Instant, Option<Standbys>)>>,
}

impl Window {
    /// A window on a database. Whether there is a store in it is seen when it is first looked at.
    pub(crate) fn at(database: PostgresDatabase) -> Result<Self, OpenError> {
        let link = Link::new(&database, CONNECTIONS)?;
        Ok(Self { database: Arc::new(database), link, clock: None, seen: Arc::default() })
    }

    /// The same for a gateway with this clock, which it compares with what the entries of a plugin's state say.
    pub(super) fn by(self, clock: Clock) -> Self {
        Self { clock: Some(clock), ..self }
    }

    /// The same with other connections. If they can't be set up, which they could before, it shares those of this.
    pub(crate) fn apart(&self) -> Self {
        let link = Link::new(&self.database, CONNECTIONS).unwrap_or_else(|_| self.link.clone());
        Self { link, ..self.clone() }
    }

    pub(super) fn database(&self) -> &PostgresDatabase {
        &self.database
    }

    pub(super) fn clock(&self) -> Option<&Clock> {
        self.clock.as_ref()
    }

    pub(super) fn seen(&self) -> &Seen {
        &self.seen
    }

    /// A connection, to ask several questions of one moment.
    pub(super) async fn connect(&self) -> Result<Sight, ReadError> {
        let mut connection = Sight::through(self.link.connect().await?);
        if !self.seen.is_known.load(Ordering::Relaxed) {
            self.recognise(&mut connection).await?;
            self.seen.is_known.store(true, Ordering::Relaxed);
        }
        Ok(connection)
    }

    /// The answer to a question that one statement asks.
    pub(super) async fn ask(
        &self,
        sql: &'static str,
        params: Params<'_>,
    ) -> Result<Vec<Row>, ReadError> {
        Ok(self.connect().await?.ask(sql, params).await?)
    }

    /// The same where there is one row, or none.
    pub(super) async fn ask_one(
        &self,
        sql: &'static str,
        params: Params<'_>,
    ) -> Result<Option<Row>, ReadError> {
        Ok(self.ask(sql, params).await?.into_iter().next())
    }

    async fn recognise(&self, connection: &mut Sight) -> Result<(), ReadError> {
        let (name, known) = (&self.database.schema, schema::NEWEST);
        let moment = connection.moment().await?;
        match schema::found(&moment, name).await? {
            None => Err(ReadError::Missing(format!("{}, schema {name}", self.database))),
            Some(found) if found > known => Err(ReadError::NewerSchema { found, known }),
            Some(found) if found < known => Err(ReadError::OlderSchema { found, known }),
            Some(_) => Ok(()),
        }
    }

    /// Bytes of all tables with their indexes, as they were within ten seconds.
    pub(super) async fn size(&self) -> Result<u64, ReadError> {
        if let Some((at, size)) = *self.seen.size.lock().unwrap_or_else(PoisonError::into_inner)
            && at.elapsed() < SIZE_HOLDS
        {
            return Ok(size);
        }
        // Partitions are tables of their own; that which they are partitions of has no bytes.
        let sql =
            "SELECT coalesce(sum(pg_total_relation_size(oid)), 0)::bigint AS bytes FROM pg_class
                   WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r'";
        let row = self.ask_one(sql, &[]).await?;
        let size = row.map_or(Ok(0), |row| row.number("bytes"))?;
        let mut seen = self.seen.size.lock().unwrap_or_else(PoisonError::into_inner);
        *seen = Some((Instant::now(), size));
        Ok(size)
    }
}
