//! The engine's thread: opens the database, and runs the workers, the upkeep, and who listens for other gateways.
//!
//! It has a runtime of its own, so that handles may be dropped from anywhere and wait there until it has ended.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, Semaphore, mpsc, oneshot},
    task::JoinSet,
    time::Instant,
};

use super::{
    Fault, Link, Moment, Publishing, alive,
    batch::Known,
    boots,
    confer::{self, Asked, Council},
    days, incoming,
    link::{self, LOSES},
    listen, news,
    retain::{Rest, Retain},
    schema, standby,
    window::Window,
    worker::{self, PATIENCE, Shared},
};
use crate::{
    Health, OpenError, Options, PostgresDatabase, StoreError, Time,
    desk::{Desk, ENDED_EARLY, Engine},
    steady::Steady,
    verbs::{Op, Signals},
};

/// Connections beside those of the workers: for the upkeep, the days, saying that we live, and leases that nobody has.
/// Who tells others that there is work has one of these for a moment.
const BESIDE: usize = 4;
/// So many steps of retention are done in a row, while there is more to forget.
const STEPS_IN_A_ROW: u32 = 8;

/// Opens the database. What is asked at the desk is done until the desk is gone, or closed.
pub(crate) async fn open(
    database: PostgresDatabase,
    options: Options,
) -> Result<(Desk, Engine, Window, (Publishing, Council)), OpenError> {
    let window = Window::at(database.clone())?;
    let window = match database.time {
        Time::Server => window.by(options.clock.clone()),
        Time::Given => window,
    };
    let boot = Arc::<AtomicI64>::default();
    let publishing = Publishing::at(&database, Arc::clone(&boot))?;
    let (queue, operations) = mpsc::channel(options.queue.max(1));
    let signals = Signals::default();
    let (council, asked) = Council::new();
    let (opened, ready) = oneshot::channel();
    let (told, seen) = (signals.clone(), window.clone());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| server(error.to_string()))?;
    let engine = Engine::start("store-postgres", &signals, move || {
        let database = (&database, seen, boot);
        runtime.block_on(run(database, &options, (operations, asked), &told, opened));
    });
    let engine = engine.map_err(|error| server(error.to_string()))?;
    // Other engines write down what events are searched by; here that is what indexes are for. Whoever gives up now drops
    // the desk first, by which the engine ends.
    let desk = Desk::new(queue, signals, |_, _, _| Vec::new());
    ready.await.unwrap_or_else(|_| Err(server(ENDED_EARLY.to_owned())))?;
    Ok((desk, engine, window, (publishing, council)))
}

fn server(reason: String) -> OpenError {
    OpenError::Server { reason }
}

/// The engine from its start to its end.
async fn run(
    (database, window, boot): (&PostgresDatabase, Window, Arc<AtomicI64>),
    options: &Options,
    (operations, asked): (mpsc::Receiver<Op>, mpsc::Receiver<Asked>),
    signals: &Signals,
    opened: oneshot::Sender<Result<(), OpenError>>,
) {
    let shared = match begin(database, options, signals, boot).await {
        Ok(shared) => Arc::new(shared),
        Err(error) => {
            let _ = opened.send(Err(error));
            return;
        }
    };
    let mut beside = JoinSet::new();
    let (returned, first) = oneshot::channel();
    beside.spawn(alive::return_leases(Arc::clone(&shared), returned));
    // What gateways left that are gone is free before anybody asks, unless it takes long to find it.
    let _ = tokio::time::timeout(link::STATEMENT, first).await;
    let _ = opened.send(Ok(()));
    beside.spawn(alive::beat(Arc::clone(&shared)));
    beside.spawn(upkeep(Arc::clone(&shared)));
    if database.days {
        beside.spawn(days::tend(Arc::clone(&shared), options.retention));
    }
    beside.spawn(standby::watch(window));
    beside.spawn(confer::attend(Arc::clone(&shared), database.clone(), asked));
    beside.spawn(listen::announce(Arc::clone(&shared), database.schema.clone()));
    beside.spawn(listen::listen(Arc::clone(&shared), database.schema.clone()));
    let queue = Arc::new(tokio::sync::Mutex::new(operations));
    let mut workers = JoinSet::new();
    for nth in 0..database.in_flight.max(1) {
        workers.spawn(Arc::clone(&shared).serve(nth, Arc::clone(&queue)));
    }
    // It is gone with the last of them.
    drop(queue);
    let ended = until_done(&mut workers, &mut beside).await;
    if let Err(reason) = &ended {
        tracing::error!(reason, "the store ends");
        signals.health.send_replace(Health::Poisoned(reason.clone()));
    }
    workers.shutdown().await;
    beside.shutdown().await;
    if let Err(fault) = shared.sign_off().await {
        // Others see to that in a while.
        tracing::warn!(?fault, "could not sign off from the database");
    }
    signals.finished.send_replace(Some(ended.map_err(StoreError::Poisoned)));
}

/// Waits until the workers are done, which they are when nobody can ask any more. One that ends in another way left undone
/// what it had; and what runs beside them ends only if it fails, which would be seen by nobody: no gateway would say that
/// it lives, for example. Then why.
async fn until_done(workers: &mut JoinSet<()>, beside: &mut JoinSet<()>) -> Result<(), String> {
    loop {
        tokio::select! {
            worker = workers.join_next() => match worker {
                Some(Ok(())) => {}
                Some(Err(error)) => return Err(format!("a worker of the store ended early: {error}")),
                None => return Ok(()),
            },
            Some(ended) = beside.join_next() => {
                let reason = ended.err().map_or_else(String::new, |error| format!(": {error}"));
                return Err(format!("a part of the store ended early{reason}"));
            }
        }
    }
}

/// Brings the tables up to date, sees that what is acknowledged is durable, and makes us known.
async fn begin(
    database: &PostgresDatabase,
    options: &Options,
    signals: &Signals,
    boot: Arc<AtomicI64>,
) -> Result<Shared, OpenError> {
    let link = Link::of_engine(database, database.in_flight.max(1) + BESIDE)?;
    let refused = |fault: Fault| server(fault.reason());
    let mut connection = link.connect().await.map_err(refused)?;
    let moment = link::in_time(Moment::write(&mut connection)).await.map_err(refused)?;
    if !database.may_lose {
        if let Some(setting) = link::in_time(loses(&moment)).await.map_err(refused)? {
            return Err(OpenError::MayLose { setting });
        }
        link.insist_on_durable();
    }
    let found =
        schema::migrate(&moment, &database.schema, &options.owner).await.map_err(refused)?;
    if found > schema::NEWEST {
        let (place, known) = (format!("schema {}", database.schema), schema::NEWEST);
        return Err(OpenError::NewerSchema { place, found, known });
    }
    if link::in_time(incoming::is_unfinished(&moment)).await.map_err(refused)? {
        return Err(OpenError::Unfinished { place: format!("schema {}", database.schema) });
    }
    news::renumber(&moment).await.map_err(refused)?;
    let clock =
        link::in_time(moment.rows_of("SELECT clock FROM meta", &[])).await.map_err(refused)?;
    let least = clock.first().map_or(0, |row| row.get(0));
    let least = hookweir_event::Timestamp::from_millis(least);
    let by_days = database.days && days::suit(&options.retention);
    let shared = Shared {
        link: link.clone(),
        owner: options.owner,
        boot,
        numbers: AtomicI64::new(1),
        known: Known::default(),
        given: worker::given(database.time, || Steady::new(options.clock.clone(), least)),
        retain: tokio::sync::Mutex::new(Retain::new(options.retention, by_days)),
        doubts: Mutex::default(),
        watch: Mutex::default(),
        signals: signals.clone(),
        others: AtomicBool::new(false),
        announce: Notify::new(),
        turn: Semaphore::new(1),
    };
    let mut now = link::in_time(shared.now(&moment)).await.map_err(refused)?;
    if shared.given.is_none() {
        link::in_time(boots::keep_time(&moment, now)).await.map_err(refused)?;
        now = link::in_time(shared.now(&moment)).await.map_err(refused)?;
    }
    let boot =
        link::in_time(boots::register(&moment, &options.owner, now)).await.map_err(refused)?;
    // It may wait for a standby that is away, as any commit.
    moment.commit().await.map_err(refused)?;
    drop(connection);
    shared.boot.store(boot, std::sync::atomic::Ordering::Release);
    if by_days {
        days::prepare(&shared, &options.retention).await;
    }
    Ok(shared)
}

/// The setting by which the server may lose what it has acknowledged, if there is one.
pub(super) async fn loses(moment: &Moment<'_>) -> Result<Option<String>, Fault> {
    Ok(moment.row(LOSES, &[]).await?.map(|row| row.get(0)))
}

/// Once a second: sees whether the database is there, and to what nobody asks for.
async fn upkeep(shared: Arc<Shared>) {
    let mut second = tokio::time::interval(Duration::from_secs(1));
    second.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut woken, mut well) = (Instant::now(), Instant::now());
    loop {
        second.tick().await;
        if woken.elapsed() >= boots::BEAT {
            woken = Instant::now();
            // For those who were not told: a database need not tell (`listen`).
            shared.signals.wakeups.send_modify(|count| *count = count.wrapping_add(1));
        }
        for _ in 0..STEPS_IN_A_ROW {
            match shared.tick().await {
                Ok(rest) => {
                    well = Instant::now();
                    if rest == Rest::Nothing {
                        break;
                    }
                }
                Err(Fault::InTheWay(reason)) => {
                    tracing::debug!(reason, "the upkeep was in another's way");
                    break;
                }
                Err(fault) => {
                    // Before that it may be over soon, and those who wait for an answer need not know. It is nobody's
                    // operation that is at fault: whatever it is, nothing is done until it is mended.
                    if well.elapsed() >= PATIENCE {
                        shared.refuse(&fault);
                    }
                    break;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test]
    async fn the_engine_is_done_with_its_workers_and_fails_with_any_part_of_it() {
        async fn ends(how: Option<&'static str>) {
            if let Some(reason) = how {
                panic!("{reason}");
            }
        }
        async fn until(workers: &[Option<&'static str>], beside: Option<&'static str>) -> String {
            let (mut at_work, mut others) = (JoinSet::new(), JoinSet::new());
            others.spawn(pending());
            for how in workers {
                at_work.spawn(ends(*how));
            }
            if let Some(reason) = beside {
                at_work.spawn(pending());
                others.spawn(ends(Some(reason).filter(|reason| !reason.is_empty())));
            }
            until_done(&mut at_work, &mut others).await.err().unwrap_or_default()
        }
        assert_eq!(until(&[None, None], None).await, "");
        assert!(until(&[None, Some("worn out")], None).await.contains("worn out"));
        assert!(until(&[None], Some("no pulse")).await.contains("no pulse"));
        assert!(until(&[None], Some("")).await.contains("ended early"));
    }
}
