//! Connections: made when they are needed, kept, and made anew when they broke.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Waker},
    time::Duration,
};

use deadpool_postgres::{
    Hook, HookError, Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime,
    Timeouts,
};
use tokio_postgres::{
    Client, Config, Connection, Row, Socket, config::TargetSessionAttrs, tls::MakeTlsConnect,
    types::ToSql,
};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{Fault, address, fault::said, tls};
use crate::{OpenError, PostgresDatabase};

/// So long it may take until there is a connection. Two of these and a statement have to pass within what senders
/// wait for an answer.
const CONNECT: Duration = Duration::from_secs(4);
/// So long a statement may take, a commit among them, before it counts as failed.
const STATEMENT: Duration = Duration::from_secs(6);

/// Parameters of a statement.
pub(super) type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

/// Connections to one database.
#[derive(Clone)]
pub(super) struct Link {
    pool: Pool,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").finish_non_exhaustive()
    }
}

impl Link {
    /// Up to `connections` of them, to look on; none is made yet.
    pub(super) fn new(database: &PostgresDatabase, connections: usize) -> Result<Self, OpenError> {
        Self::with(database, connections, "'jit', 'enable_seqscan'")
    }

    /// The same for the engine. It asks the same statements again and again, of which the database would plan many anew
    /// each time, by what it happens to be asked for: to plan a lease takes longer than to do it.
    pub(super) fn of_engine(
        database: &PostgresDatabase,
        connections: usize,
    ) -> Result<Self, OpenError> {
        Self::with(database, connections, "'jit', 'enable_seqscan', 'plan_cache_mode'")
    }

    fn with(
        database: &PostgresDatabase,
        connections: usize,
        settings: &'static str,
    ) -> Result<Self, OpenError> {
        let (config, tls) = how(database)?;
        let recycled = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_config(config, tls, recycled);
        let schema = Arc::new(quoted(&database.schema));
        let set_up = Hook::async_fn(move |client, _| {
            let schema = Arc::clone(&schema);
            Box::pin(async move {
                // To compile a statement takes longer than any of these. And how statements are done is decided once, for
                // many times: while a new day's partitions are empty, to read them whole seems to be cheapest, and
                // goes on until somebody looks how large they are. A server without those settings is left alone.
                let sql = format!(
                    "SET search_path TO {schema}; SET statement_timeout = {limit};
                     SET idle_in_transaction_session_timeout = {limit}; SET TIME ZONE 'UTC';
                     SELECT set_config(name, CASE vartype WHEN 'bool' THEN 'off' ELSE 'force_generic_plan' END, false)
                     FROM pg_settings WHERE name IN ({settings})",
                    limit = STATEMENT.as_millis(),
                );
                client.batch_execute(&sql).await.map_err(HookError::Backend)
            })
        });
        let timeouts =
            Timeouts { wait: Some(STATEMENT), create: Some(2 * CONNECT), recycle: Some(CONNECT) };
        let pool = Pool::builder(manager).max_size(connections.max(1)).timeouts(timeouts);
        let pool = pool.runtime(Runtime::Tokio1).post_create(set_up).build();
        let pool = pool.map_err(|error| OpenError::Server { reason: said(&error) })?;
        Ok(Self { pool })
    }

    /// One of the connections, for as long as it is held.
    pub(super) async fn connect(&self) -> Result<Object, Fault> {
        self.pool.get().await.map_err(|error| match error {
            PoolError::Backend(error) => error.into(),
            PoolError::PostCreateHook(HookError::Backend(error)) => error.into(),
            PoolError::Timeout(_) => Fault::Lost("the database did not answer in time".to_owned()),
            error => Fault::Lost(said(&error)),
        })
    }
}

/// How the database is spoken to.
fn how(database: &PostgresDatabase) -> Result<(Config, MakeRustlsConnect), OpenError> {
    let mut config = address::config(&database.url)?;
    config.connect_timeout(CONNECT).tcp_user_timeout(STATEMENT);
    config.keepalives_idle(Duration::from_secs(15)).keepalives_interval(Duration::from_secs(5));
    if config.get_application_name().is_none() {
        config.application_name("hookweir");
    }
    // Of several hosts, the one that is no standby.
    config.target_session_attrs(TargetSessionAttrs::ReadWrite);
    let tls = tls::connector(database.ca.as_deref());
    Ok((config, tls.map_err(|reason| OpenError::Address { reason })?))
}

/// What an encrypted connection is made of; the crate that makes it has no name for it.
type Encrypted = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream;

/// A connection of its own, with what drives it.
pub(super) async fn apart(
    database: &PostgresDatabase,
) -> Result<(Client, Connection<Socket, Encrypted>), Fault> {
    let (config, tls) = how(database).map_err(|error| Fault::Lost(error.to_string()))?;
    Ok(config.connect(tls).await?)
}

/// Waits for something that the database is asked, as long as it may take and a bit: a server that stands still says
/// nothing, not even that it took too long.
pub(super) async fn in_time<T>(asked: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    match tokio::time::timeout(STATEMENT + CONNECT, asked).await {
        Ok(answer) => answer,
        Err(_) => Err(Fault::Lost("the database did not answer in time".to_owned())),
    }
}

/// Gives a connection up, so that nobody gets it who would wait for what was asked on it.
pub(super) fn give_up(connection: Object) {
    drop(Object::take(connection));
}

/// A name as SQL has it.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A transaction, whose statements are prepared once for each connection. Dropped, it is rolled back.
///
/// Statements that are asked before one of them is answered travel together, in the order they were asked: those of a
/// `try_join!`, which are prepared already (others are asked when they are).
pub(super) struct Moment<'c> {
    connection: &'c Object,
    /// Whether there is anything to roll back.
    open: AtomicBool,
}

impl Drop for Moment<'_> {
    fn drop(&mut self) {
        if self.open.load(Ordering::Relaxed) {
            // It is asked when it is looked at first. Nobody waits for it: the next on this connection is behind it.
            let asked = pin!(self.connection.batch_execute("ROLLBACK"));
            let _ = asked.poll(&mut Context::from_waker(Waker::noop()));
        }
    }
}

impl<'c> Moment<'c> {
    /// One that changes things: each statement sees what was committed before it.
    pub(super) async fn write(connection: &'c mut Object) -> Result<Self, Fault> {
        let moment = Self::on(connection);
        moment.begin().await?;
        Ok(moment)
    }

    /// One that looks on: all its statements see the database as it is at the first.
    pub(super) async fn look(connection: &'c mut Object) -> Result<Self, Fault> {
        let moment = Self::on(connection);
        moment.begin_with("START TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY").await?;
        Ok(moment)
    }

    /// One that is not begun yet.
    pub(super) fn on(connection: &'c mut Object) -> Self {
        Self { connection, open: AtomicBool::new(false) }
    }

    /// Begins one that changes things.
    pub(super) async fn begin(&self) -> Result<(), Fault> {
        self.begin_with("BEGIN").await
    }

    async fn begin_with(&self, sql: &str) -> Result<(), Fault> {
        self.open.store(true, Ordering::Relaxed);
        self.script(sql).await
    }

    /// Prepares statements that are to travel together.
    pub(super) async fn prepare(&self, all: &[&'static str]) -> Result<(), Fault> {
        for sql in all {
            self.connection.prepare_cached(sql).await?;
        }
        Ok(())
    }

    /// All rows of an answer.
    pub(super) async fn rows(
        &self,
        sql: &'static str,
        params: Params<'_>,
    ) -> Result<Vec<Row>, Fault> {
        let statement = self.connection.prepare_cached(sql).await?;
        Ok(self.connection.query(&statement, params).await?)
    }

    /// The row of an answer that has at most one.
    pub(super) async fn row(
        &self,
        sql: &'static str,
        params: Params<'_>,
    ) -> Result<Option<Row>, Fault> {
        let statement = self.connection.prepare_cached(sql).await?;
        Ok(self.connection.query_opt(&statement, params).await?)
    }

    /// The row of an answer that always has one.
    pub(super) async fn the_row(
        &self,
        sql: &'static str,
        params: Params<'_>,
    ) -> Result<Row, Fault> {
        let statement = self.connection.prepare_cached(sql).await?;
        Ok(self.connection.query_one(&statement, params).await?)
    }

    /// How many rows a change changed.
    pub(super) async fn run(&self, sql: &'static str, params: Params<'_>) -> Result<u64, Fault> {
        let statement = self.connection.prepare_cached(sql).await?;
        Ok(self.connection.execute(&statement, params).await?)
    }

    /// The same of a statement that is made for the occasion.
    pub(super) async fn rows_of(&self, sql: &str, params: Params<'_>) -> Result<Vec<Row>, Fault> {
        Ok(self.connection.query(sql, params).await?)
    }

    /// Several statements without parameters.
    pub(super) async fn script(&self, sql: &str) -> Result<(), Fault> {
        Ok(self.connection.batch_execute(sql).await?)
    }

    pub(super) async fn commit(self) -> Result<(), Fault> {
        self.commit_behind().await
    }

    /// Commits behind what is on its way. Where one of those statements fails, which says so, nothing is there.
    pub(super) async fn commit_behind(&self) -> Result<(), Fault> {
        self.open.store(false, Ordering::Relaxed);
        self.script("COMMIT").await
    }
}
