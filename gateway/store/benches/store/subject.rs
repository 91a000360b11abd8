//! What one round does.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use hookweir_event::{Attempt, Clock, Digest, Fate, Outcome, PluginName};
use hookweir_store::{
    Location, NewEvent, Options, Output, PostgresDatabase, Route, Settlement, SqliteFile, Store,
    Want,
};
use rand::RngExt as _;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{
    Flags, held,
    log::Log,
    payload, postgres,
    process::{cpu, resident, written},
    search,
};

const WORKERS: usize = 8;
/// Senders pause while more than this was appended in the round and not settled.
const AHEAD: u64 = 20_000;
/// What an event brings.
const EVENT_BYTES: f64 = (payload::BODY_BYTES + payload::HEADER_BYTES) as f64;

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Subject {
    Append,
    Log,
    Life,
    Fill,
    Open,
    Search,
    Held,
    /// Two stores at one database, each with half of the senders and of the workers.
    LifeTwice,
    /// Rows that are inserted one by one, each by a connection of its own.
    SingleInserts,
}

#[derive(Default)]
struct Progress {
    stop: AtomicBool,
    appended: AtomicU64,
    settled: AtomicU64,
}

/// Where senders put their events.
#[derive(Clone)]
enum Into {
    Store(Store),
    Log(Log),
    Rows(Arc<Vec<postgres::Inserter>>),
}

impl Subject {
    /// Does the round and says what it took.
    pub(crate) fn run(self, folder: &Path, flags: &Flags) -> Value {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        match self {
            Self::Search => runtime.block_on(search::measure(folder, flags.events)),
            Self::Held => runtime.block_on(held::measure(folder, flags.backlog)),
            _ => runtime.block_on(self.measure(folder, flags)),
        }
    }

    async fn measure(self, folder: &Path, flags: &Flags) -> Value {
        let open = Instant::now();
        let into = match self {
            Self::Log => vec![Into::Log(Log::open(folder))],
            Self::SingleInserts => vec![Into::Rows(postgres::connections(flags).await)],
            Self::LifeTwice => {
                vec![
                    Into::Store(open_store(folder, flags).await),
                    Into::Store(open_store(folder, flags).await),
                ]
            }
            _ => vec![Into::Store(open_store(folder, flags).await)],
        };
        let open = open.elapsed();
        let figures = match self {
            Self::Open => json!({ "open": open.as_secs_f64() * 1e3 }),
            _ => self.load(&into, flags).await,
        };
        for into in into {
            if let Into::Store(store) = into {
                store.close().await.unwrap();
            }
        }
        figures
    }

    fn settles(self) -> bool {
        matches!(self, Self::Life | Self::LifeTwice)
    }

    async fn load(self, into: &[Into], flags: &Flags) -> Value {
        let progress = Arc::new(Progress::default());
        let (start, used, wrote) = (Instant::now(), cpu(None), written());
        let mut senders = JoinSet::new();
        for (nth, into) in into.iter().cycle().take(flags.senders).enumerate() {
            senders.spawn(send(nth, into.clone(), Arc::clone(&progress), self.settles()));
        }
        let mut workers = JoinSet::new();
        for into in into.iter().cycle().take(WORKERS) {
            if let (true, Into::Store(store)) = (self.settles(), into) {
                workers.spawn(work(store.clone(), Arc::clone(&progress)));
            }
        }
        let appended = || progress.appended.load(Ordering::Relaxed);
        while match self {
            Self::Fill => appended() < flags.backlog,
            _ => start.elapsed() < flags.time(),
        } {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let elapsed = start.elapsed().as_secs_f64();
        let (used, writer) = (cpu(None) - used, cpu(Some("store-writer")));
        let (appended, settled) = (appended(), progress.settled.load(Ordering::Relaxed));
        let (wrote, resident) = (written() - wrote, resident());
        progress.stop.store(true, Ordering::Relaxed);
        let mut waits: Vec<u32> = senders.join_all().await.into_iter().flatten().collect();
        workers.join_all().await;
        waits.sort_unstable();
        let quantile =
            |per_mille: usize| f64::from(waits[(waits.len() - 1) * per_mille / 1000]) / 1e3;
        let count = if self.settles() { settled } else { appended } as f64;
        json!({
            "count": count,
            "rate": count / elapsed,
            "p50": quantile(500),
            "p99": quantile(990),
            "p999": quantile(999),
            "cpu": used * 1e6 / count,
            "writer": writer * 1e6 / count,
            "written": wrote / (appended as f64 * EVENT_BYTES),
            "resident": resident,
        })
    }
}

/// The store in the folder, or at the database that was named.
async fn open_store(folder: &Path, flags: &Flags) -> Store {
    let mut owner = [0; 16];
    rand::rng().fill(&mut owner);
    let location: Location = match &flags.url {
        None => SqliteFile::new(folder.join("hookweir.db")).into(),
        Some(url) => {
            let schema = flags.schema.clone();
            PostgresDatabase { schema, ..PostgresDatabase::new(url) }.into()
        }
    };
    Store::open(Options::new(location, owner, Clock::system())).await.unwrap()
}

/// Appends until told to stop; how long each took, in microseconds.
async fn send(nth: usize, into: Into, progress: Arc<Progress>, with_care: bool) -> Vec<u32> {
    let mut waits = Vec::new();
    let route = Route::to("worker".parse().unwrap());
    while !progress.stop.load(Ordering::Relaxed) {
        let appended = progress.appended.load(Ordering::Relaxed);
        let ahead = appended.saturating_sub(progress.settled.load(Ordering::Relaxed));
        if with_care && ahead > AHEAD {
            tokio::time::sleep(Duration::from_millis(1)).await;
            continue;
        }
        let event = payload::payment();
        let new = NewEvent {
            claims: vec![Digest::of(event.id.as_bytes()), Digest::of(&event.body)],
            dedupe_window: Duration::from_secs(72 * 3600),
            routes: vec![route.clone()],
            event,
        };
        let asked = Instant::now();
        match &into {
            Into::Store(store) => assert!(!store.append(new).await.unwrap().is_duplicate()),
            Into::Log(log) => log.append(new).await,
            Into::Rows(inserters) => inserters[nth % inserters.len()].insert(&new).await,
        }
        waits.push(u32::try_from(asked.elapsed().as_micros()).unwrap());
        progress.appended.fetch_add(1, Ordering::Relaxed);
    }
    waits
}

/// Leases, and settles each lease as done with one output.
async fn work(store: Store, progress: Arc<Progress>) {
    let plugin: PluginName = "worker".parse().unwrap();
    let mut wakeups = store.wakeups();
    while !progress.stop.load(Ordering::Relaxed) {
        wakeups.mark_unchanged();
        let want = Want { plugin: plugin.clone(), max: 32 };
        let leased = store.lease(vec![want]).await.unwrap();
        if leased.leases.is_empty() {
            let _ = tokio::time::timeout(Duration::from_millis(100), wakeups.changed()).await;
            continue;
        }
        let mut settling = JoinSet::new();
        for lease in leased.leases {
            let (store, progress) = (store.clone(), Arc::clone(&progress));
            settling.spawn(async move {
                let mut output = payload::output();
                output.origin = "plugin.worker".parse().unwrap();
                let settlement = Settlement {
                    key: lease.key,
                    attempt: attempt(Outcome::Done),
                    fate: Fate::Done,
                    outputs: vec![Output { event: output, routes: Vec::new() }],
                    state: Vec::new(),
                    exchanges: None,
                };
                let _ = store.settle(settlement).await.unwrap();
                progress.settled.fetch_add(1, Ordering::Relaxed);
            });
        }
        settling.join_all().await;
    }
}

pub(crate) fn attempt(outcome: Outcome) -> Attempt {
    Attempt {
        outcome,
        message: None,
        version: Some(Digest::from_bytes([7; 32])),
        wall: Duration::from_micros(80),
        cpu: Duration::from_micros(60),
        logs: Vec::new(),
    }
}
