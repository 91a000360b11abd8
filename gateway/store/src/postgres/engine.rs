//! The engine's thread: opens the database, and runs the workers, the upkeep, and who listens for other gateways.
//!
//! It has a runtime of its own, so that handles may be dropped from anywhere and wait there until it has ended.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64},
    },
    thread::JoinHandle,
    time::Duration,
};

use tokio::{
    sync::{Notify, mpsc, oneshot},
    task::JoinSet,
    time::Instant,
};

use super::{
    Fault, Link, Moment,
    batch::Known,
    boots,
    confer::{self, Asked, Council},
    days, incoming, listen,
    retain::{Rest, Retain},
    schema, standby,
    window::Window,
    worker::{self, Shared},
};
use crate::{
    Health, OpenError, Options, PostgresDatabase, StoreError,
    desk::Desk,
    steady::Steady,
    verbs::{Op, Signals},
};

/// So many steps of retention are done in a row, while there is more to forget.
const STEPS_IN_A_ROW: u32 = 8;

/// The engine's thread. Dropped, it waits until that has ended, which it does when the desk is gone.
pub(crate) struct Engine {
    thread: Option<JoinHandle<()>>,
    council: Council,
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Tells the handles when the engine ended, and when it did so before its time.
struct Farewell(Signals);

impl Drop for Farewell {
    fn drop(&mut self) {
        let in_time = self.0.finished.borrow().is_some();
        if !in_time {
            let reason = "the store's thread ended early".to_owned();
            self.0.health.send_replace(Health::Poisoned(reason.clone()));
            self.0.finished.send_replace(Some(Err(StoreError::Poisoned(reason))));
        }
    }
}

impl Engine {
    /// Opens the database. What is asked at the desk is done until the desk is gone, or closed.
    pub(crate) async fn open(
        database: PostgresDatabase,
        options: Options,
    ) -> Result<(Desk, Self, Window), OpenError> {
        let window = Window::at(database.clone())?;
        let (queue, operations) = mpsc::channel(options.queue.max(1));
        let signals = Signals::default();
        let (council, asked) = Council::new();
        let (opened, ready) = oneshot::channel();
        let (told, seen) = (signals.clone(), window.clone());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| server(error.to_string()))?;
        let thread = std::thread::Builder::new()
            .name("store-postgres".into())
            .spawn(move || {
                let _farewell = Farewell(told.clone());
                let asked = (operations, asked);
                runtime.block_on(run((&database, seen), &options, asked, &told, opened));
            })
            .map_err(|error| server(error.to_string()))?;
        let engine = Self { thread: Some(thread), council };
        match ready.await {
            Ok(opened) => opened?,
            Err(_) => return Err(server("the store's thread ended early".to_owned())),
        }
        // Other engines write down what events are searched by; here that is what indexes are for.
        Ok((Desk::new(queue, signals, |_, _, _| Vec::new()), engine, window))
    }
}

impl Engine {
    /// Where the other gateways are met.
    pub(crate) fn council(&self) -> Council {
        self.council.clone()
    }
}

fn server(reason: String) -> OpenError {
    OpenError::Server { reason }
}

/// The engine from its start to its end.
async fn run(
    (database, window): (&PostgresDatabase, Window),
    options: &Options,
    (operations, asked): (mpsc::Receiver<Op>, mpsc::Receiver<Asked>),
    signals: &Signals,
    opened: oneshot::Sender<Result<(), OpenError>>,
) {
    let shared = match open(database, options, signals).await {
        Ok(shared) => Arc::new(shared),
        Err(error) => {
            let _ = opened.send(Err(error));
            return;
        }
    };
    let _ = opened.send(Ok(()));
    let mut beside = JoinSet::new();
    beside.spawn(upkeep(Arc::clone(&shared)));
    if database.days {
        beside.spawn(days::tend(Arc::clone(&shared), options.retention));
    }
    beside.spawn(standby::watch(window));
    beside.spawn(confer::attend(Arc::clone(&shared), database.clone(), asked));
    beside.spawn(listen::announce(Arc::clone(&shared), database.schema.clone()));
    beside.spawn(listen::listen(Arc::clone(&shared), database.clone()));
    let queue = Arc::new(tokio::sync::Mutex::new(operations));
    let mut workers = JoinSet::new();
    for nth in 0..database.in_flight.max(1) {
        workers.spawn(Arc::clone(&shared).serve(nth, Arc::clone(&queue)));
    }
    let mut ended = Ok(());
    while let Some(worker) = workers.join_next().await {
        if let Err(error) = worker {
            // It left what it had to do unanswered; the others go on.
            tracing::error!(%error, "a worker of the store ended early");
            ended = Err(StoreError::Failed(error.to_string()));
        }
    }
    beside.shutdown().await;
    if let Err(fault) = shared.sign_off().await {
        // Others see to that in a while.
        tracing::warn!(?fault, "could not sign off from the database");
    }
    signals.finished.send_replace(Some(ended));
}

/// Brings the tables up to date, sees that what is acknowledged is durable, and makes us known.
async fn open(
    database: &PostgresDatabase,
    options: &Options,
    signals: &Signals,
) -> Result<Shared, OpenError> {
    // One more for the upkeep, and one for the days.
    let link = Link::new(database, database.in_flight.max(1) + 2)?;
    let refused = |fault: Fault| server(fault.reason());
    let mut connection = link.connect().await.map_err(refused)?;
    let moment = Moment::write(&mut connection).await.map_err(refused)?;
    if !database.may_lose
        && let Some(setting) = loses(&moment).await.map_err(refused)?
    {
        return Err(OpenError::MayLose { setting });
    }
    let found =
        schema::migrate(&moment, &database.schema, &options.owner).await.map_err(refused)?;
    if found > schema::NEWEST {
        let (place, known) = (format!("schema {}", database.schema), schema::NEWEST);
        return Err(OpenError::NewerSchema { place, found, known });
    }
    if incoming::is_unfinished(&moment).await.map_err(refused)? {
        return Err(OpenError::Unfinished { place: format!("schema {}", database.schema) });
    }
    let clock = moment.rows_of("SELECT clock FROM meta", &[]).await.map_err(refused)?;
    let least = clock.first().map_or(0, |row| row.get(0));
    let least = hookweir_event::Timestamp::from_millis(least);
    let by_days = database.days && days::suit(&options.retention);
    let shared = Shared {
        link: link.clone(),
        owner: options.owner,
        boot: AtomicI64::new(0),
        numbers: AtomicI64::new(1),
        known: Known::default(),
        given: worker::given(database.time, || Steady::new(options.clock.clone(), least)),
        retain: tokio::sync::Mutex::new(Retain::new(options.retention, by_days)),
        unclaimed: Mutex::default(),
        signals: signals.clone(),
        others: AtomicBool::new(false),
        announce: Notify::new(),
        ticks: Instant::now(),
    };
    let now = shared.now(&moment).await.map_err(refused)?;
    let boot = boots::register(&moment, &options.owner, now).await.map_err(refused)?;
    moment.commit().await.map_err(refused)?;
    drop(connection);
    shared.boot.store(boot, std::sync::atomic::Ordering::Release);
    if by_days {
        days::prepare(&shared, &options.retention).await;
    }
    // What gateways left that are gone is free before anybody asks.
    shared.tick(true).await.map_err(refused)?;
    Ok(shared)
}

/// The setting by which the server may lose what it has acknowledged, if there is one.
pub(super) async fn loses(moment: &Moment<'_>) -> Result<Option<String>, Fault> {
    for (name, off) in [("synchronous_commit", "off"), ("fsync", "off")] {
        let rows = moment.rows_of("SELECT current_setting($1, true)", &[&name]).await?;
        let value = rows.first().and_then(|row| row.get::<_, Option<String>>(0));
        if value.as_deref() == Some(off) {
            return Ok(Some(format!("{name} = {off}")));
        }
    }
    Ok(None)
}

/// Once a second: sees whether the database is there, and to what nobody asks for.
async fn upkeep(shared: Arc<Shared>) {
    let mut second = tokio::time::interval(Duration::from_secs(1));
    second.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut beaten = Instant::now();
    loop {
        second.tick().await;
        let beat = beaten.elapsed() >= boots::BEAT;
        for step in 0..STEPS_IN_A_ROW {
            match shared.tick(beat && step == 0).await {
                Ok(Rest::More) => {}
                Ok(Rest::Nothing) => break,
                Err(Fault::InTheWay(reason)) => {
                    tracing::debug!(reason, "the upkeep was in another's way");
                    break;
                }
                Err(fault) => {
                    shared.refuse(&fault);
                    break;
                }
            }
        }
        if beat {
            beaten = Instant::now();
            // For those who were not told: a database need not tell (`listen`).
            shared.signals.wakeups.send_modify(|count| *count = count.wrapping_add(1));
        }
    }
}
