//! Connections: made when they are needed, kept, and made anew when they broke.

use std::{
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Waker},
    time::{Duration, Instant},
};

use deadpool_postgres::{
    ClientWrapper, Hook, HookError, Manager, ManagerConfig, Object, Pool, PoolError,
    RecyclingMethod, Runtime, Timeouts,
};
use tokio::time::timeout;
use tokio_postgres::{Config, Row, Statement, types::ToSql};

use super::{
    Fault,
    fault::said,
    hosts::{ALL, Hosts},
};
use crate::{OpenError, PostgresDatabase};

/// So long it may take until there is a connection. Two of these and a statement have to pass within what senders
/// wait for an answer.
pub(super) const CONNECT: Duration = Duration::from_secs(4);
/// So long a statement may take, a commit among them, before it counts as failed.
pub(super) const STATEMENT: Duration = Duration::from_secs(6);
/// So long whoever looks on waits for what a statement answers. A server that is there says within [`STATEMENT`] that one
/// takes too long, so nobody is kept from a long search, which is many; and an attempt that reads its plugin's state has 10 s,
/// unless its plugin says otherwise, in which to find that it is not to blame.
const SILENCE: Duration = Duration::from_secs(8);
/// So long a commit is waited for that nobody else waits for any more. It may be a standby that it waits for, and the
/// server has a connection less as long as it does: so have we.
const OUTLAST: Duration = Duration::from_secs(600);

/// Begins what sees the database as it is at its first statement.
const LOOK: &str = "START TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY";

/// What is said of a server that says nothing.
pub(super) const NO_ANSWER: &str = "the database did not answer in time";
/// The settings by which a server may lose what it has acknowledged.
pub(super) const LOSES: &str =
    "SELECT name || ' = off' FROM unnest('{synchronous_commit,fsync}'::text[]) AS s(name)
     WHERE current_setting(name, true) = 'off' LIMIT 1";

/// Parameters of a statement.
pub(super) type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

/// Connections to one database.
#[derive(Clone)]
pub(super) struct Link {
    pool: Pool,
    hosts: Hosts,
    rules: Arc<Rules>,
}

/// Which connections are used.
#[derive(Debug, Default)]
struct Rules {
    /// None to a server that may lose what it acknowledged.
    durable: AtomicBool,
    /// None that were made before.
    since: Mutex<Option<Instant>>,
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
        let (hosts, rules) = (Hosts::of(database)?, Arc::<Rules>::default());
        let recycled = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        // What connections are made by, the hosts know.
        let manager = Manager::from_connect(Config::new(), hosts.clone(), recycled);
        let (schema, made_by) = (Arc::new(quoted(&database.schema)), Arc::clone(&rules));
        let set_up = Hook::async_fn(move |client, _| {
            let (schema, rules) = (Arc::clone(&schema), Arc::clone(&made_by));
            // The pool bounds how long a connection is made, and not this.
            Box::pin(async move {
                let done = timeout(CONNECT, set_up(client, &schema, settings, &rules));
                done.await.unwrap_or(Err(HookError::message(NO_ANSWER)))
            })
        });
        let used_by = Arc::clone(&rules);
        let may_be_used = Hook::sync_fn(move |_, metrics| {
            let since = *used_by.since.lock().unwrap_or_else(PoisonError::into_inner);
            match since.is_some_and(|since| metrics.created < since) {
                true => Err(HookError::message("it is not used any more")),
                false => Ok(()),
            }
        });
        let timeouts =
            Timeouts { wait: Some(STATEMENT), create: Some(ALL), recycle: Some(CONNECT) };
        let pool = Pool::builder(manager).max_size(connections.max(1)).timeouts(timeouts);
        let pool = pool.runtime(Runtime::Tokio1).post_create(set_up).pre_recycle(may_be_used);
        let pool = pool.build().map_err(|error| OpenError::Server { reason: said(&error) })?;
        Ok(Self { pool, hosts, rules })
    }

    /// From now on no connection is made to a server that may lose what it acknowledged.
    pub(super) fn insist_on_durable(&self) {
        self.rules.durable.store(true, Ordering::Relaxed);
    }

    pub(super) fn insists_on_durable(&self) -> bool {
        self.rules.durable.load(Ordering::Relaxed)
    }

    /// From now on none of the connections is used that there are.
    pub(super) fn forget(&self) {
        *self.rules.since.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Whom connections are with.
    pub(super) fn hosts(&self) -> &Hosts {
        &self.hosts
    }

    /// One of the connections, for as long as it is held.
    pub(super) async fn connect(&self) -> Result<Object, Fault> {
        self.pool.get().await.map_err(|error| match error {
            // Whatever it is, a login that is refused for example: nothing can be asked.
            PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)) => {
                Fault::from(error).into_lost()
            }
            PoolError::Timeout(_) => Fault::Lost(NO_ANSWER.to_owned()),
            error => Fault::Lost(said(&error)),
        })
    }
}

/// Sets a connection up that was made just now.
async fn set_up(
    client: &ClientWrapper,
    schema: &str,
    settings: &str,
    rules: &Rules,
) -> Result<(), HookError> {
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
    client.batch_execute(&sql).await.map_err(HookError::Backend)?;
    if rules.durable.load(Ordering::Relaxed)
        && let Some(row) = client.query_opt(LOSES, &[]).await.map_err(HookError::Backend)?
    {
        return Err(HookError::message(may_lose(row.get(0))));
    }
    Ok(())
}

/// What is said of a server with such a setting.
pub(super) fn may_lose(setting: &str) -> String {
    format!("the database has {setting}, by which it may lose what it acknowledged")
}

/// Waits for something that the database is asked, as long as it may take and a bit: a server that stands still says
/// nothing, not even that it took too long.
pub(super) async fn in_time<T>(asked: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    match timeout(STATEMENT + CONNECT, asked).await {
        Ok(answer) => answer,
        Err(_) => Err(Fault::Lost(NO_ANSWER.to_owned())),
    }
}

/// Gives a connection up, so that nobody gets it who would wait for what was asked on it.
pub(super) fn give_up(connection: Object) {
    drop(Object::take(connection));
}

/// Gives a connection up on which something was not answered: if that was a commit, when it is answered. Until then it is
/// one of those that there may be. What is committed at one server may wait for another as long as that is away, and
/// whoever connects again and again meanwhile would take all the connections that the server has.
pub(super) fn let_go(connection: Object, commit_was_asked: bool) {
    if !commit_was_asked || connection.is_closed() {
        return give_up(connection);
    }
    tokio::spawn(async move {
        // It is answered after all that was asked before.
        let answered = timeout(OUTLAST, connection.batch_execute("")).await;
        if !matches!(answered, Ok(Ok(()))) {
            give_up(connection);
        }
    });
}

/// A name as SQL has it.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A connection to look through, on which no answer is waited for longer than [`SILENCE`]. Let go of before there is one, it
/// is given up: whoever got it next would wait for that too.
pub(super) struct Sight {
    connection: Option<Object>,
    waits: AtomicBool,
}

impl Sight {
    pub(super) fn through(connection: Object) -> Self {
        Self { connection: Some(connection), waits: AtomicBool::new(false) }
    }

    /// All rows of an answer.
    pub(super) async fn ask(
        &self,
        sql: &'static str,
        params: Params<'_>,
    ) -> Result<Vec<Row>, Fault> {
        let connection = self.connection.as_ref().expect("invariant: only drop takes it");
        let statement = heard(&self.waits, connection.prepare_cached(sql)).await?;
        heard(&self.waits, connection.query(&statement, params)).await
    }

    /// A transaction that looks on, as [`Moment::look`].
    pub(super) async fn moment(&mut self) -> Result<Moment<'_>, Fault> {
        let connection = self.connection.as_mut().expect("invariant: only drop takes it");
        let moment = Moment { connection, open: AtomicBool::new(false), waits: Some(&self.waits) };
        moment.begin_with(LOOK).await?;
        Ok(moment)
    }
}

impl Drop for Sight {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take()
            && self.waits.load(Ordering::Relaxed)
        {
            give_up(connection);
        }
    }
}

/// What is answered, if that is soon. `waits` says meanwhile that there is no answer.
async fn heard<T>(
    waits: &AtomicBool,
    asked: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, Fault> {
    waits.store(true, Ordering::Relaxed);
    let answer = timeout(SILENCE, asked).await.map_err(|_| Fault::Lost(NO_ANSWER.to_owned()))?;
    waits.store(false, Ordering::Relaxed);
    Ok(answer?)
}

/// A transaction, whose statements are prepared once for each connection. Dropped, it is rolled back.
///
/// Statements that are asked before one of them is answered travel together, in the order they were asked: those of a
/// `try_join!`, which are prepared already (others are asked when they are).
pub(super) struct Moment<'c> {
    connection: &'c Object,
    /// Whether there is anything to roll back.
    open: AtomicBool,
    /// Of a [`Sight`]; the others are bounded by whoever has them do something ([`in_time`]).
    waits: Option<&'c AtomicBool>,
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
        moment.begin_with(LOOK).await?;
        Ok(moment)
    }

    /// One that is not begun yet.
    pub(super) fn on(connection: &'c mut Object) -> Self {
        Self { connection, open: AtomicBool::new(false), waits: None }
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
            self.answer(self.connection.prepare_cached(sql)).await?;
        }
        Ok(())
    }

    /// A statement, prepared.
    async fn statement(&self, sql: &'static str) -> Result<Statement, Fault> {
        self.is_open(sql)?;
        self.answer(self.connection.prepare_cached(sql)).await
    }

    /// Nothing may be asked behind the commit: it would be a transaction by itself. And nobody would know what came of that.
    fn is_open(&self, sql: &str) -> Result<(), Fault> {
        match self.open.load(Ordering::Relaxed) {
            true => Ok(()),
            false => Err(Fault::Lost(format!("asked for outside of a transaction: {sql}"))),
        }
    }

    /// What the database answers.
    async fn answer<T>(
        &self,
        asked: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, Fault> {
        match self.waits {
            Some(waits) => heard(waits, asked).await,
            None => Ok(asked.await?),
        }
    }

    /// All rows of an answer.
    pub(super) async fn rows(
        &self,
        sql: &'static str,
        params: Params<'_>,
    ) -> Result<Vec<Row>, Fault> {
        let statement = self.statement(sql).await?;
        self.answer(self.connection.query(&statement, params)).await
    }

    /// The row of an answer that has at most one.
    pub(super) async fn row(
        &self,
        sql: &'static str,
        params: Params<'_>,
    ) -> Result<Option<Row>, Fault> {
        let statement = self.statement(sql).await?;
        self.answer(self.connection.query_opt(&statement, params)).await
    }

    /// The row of an answer that always has one.
    pub(super) async fn the_row(
        &self,
        sql: &'static str,
        params: Params<'_>,
    ) -> Result<Row, Fault> {
        let statement = self.statement(sql).await?;
        self.answer(self.connection.query_one(&statement, params)).await
    }

    /// How many rows a change changed.
    pub(super) async fn run(&self, sql: &'static str, params: Params<'_>) -> Result<u64, Fault> {
        let statement = self.statement(sql).await?;
        self.answer(self.connection.execute(&statement, params)).await
    }

    /// The same of a statement that is made for the occasion.
    pub(super) async fn rows_of(&self, sql: &str, params: Params<'_>) -> Result<Vec<Row>, Fault> {
        self.is_open(sql)?;
        self.answer(self.connection.query(sql, params)).await
    }

    /// Several statements without parameters.
    pub(super) async fn script(&self, sql: &str) -> Result<(), Fault> {
        self.answer(self.connection.batch_execute(sql)).await
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
