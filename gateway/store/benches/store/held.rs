//! What a hold costs: setting aside what waits of a source, leasing others' deliveries beside a million that are held,
//! and letting them go.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use hookweir_event::{Clock, Fate, Outcome, PluginName};
use hookweir_store::{
    Leased, NewEvent, Options, Pausable, Route, Settlement, SqliteFile, Store, Want,
};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{payload, subject::attempt};

const SENDERS: u64 = 512;
/// Leases beside what is held that are timed.
const TIMES: usize = 2000;
/// Deliveries that are let go and timed.
const LET_GO: usize = 100_000;
/// Leased at a time.
const AT_ONCE: usize = 100;

fn plugin() -> PluginName {
    "worker".parse().unwrap()
}

fn new(source: &str) -> NewEvent {
    let mut event = payload::output();
    event.origin = source.parse().unwrap();
    let routes = vec![Route::to(plugin())];
    NewEvent { event, claims: Vec::new(), dedupe_window: Duration::from_secs(1), routes }
}

/// Figures of one store with so many deliveries that are held.
pub(crate) async fn measure(folder: &Path, events: u64) -> Value {
    let options =
        Options::new(SqliteFile::new(folder.join("hookweir.db")), [1; 16], Clock::system());
    let store = Store::open(options).await.unwrap();
    let beside_none = beside(&store).await;
    fill(&store, events).await;
    let held = Pausable::Held("held".parse().unwrap());
    store.pause(held.clone(), "bench".to_owned(), None).await.unwrap();
    let setting = Instant::now();
    while due(&store).await > 0 {
        assert!(lease(&store, AT_ONCE).await.leases.is_empty());
    }
    let set_aside = events as f64 / setting.elapsed().as_secs_f64();
    let beside_all = beside(&store).await;
    let lifting = Instant::now();
    assert!(store.resume([held]).await.unwrap());
    let lifted = lifting.elapsed();
    let going = Instant::now();
    let mut gone = 0;
    while gone < LET_GO.min(usize::try_from(events).unwrap()) {
        let leased = lease(&store, AT_ONCE).await;
        assert!(!leased.leases.is_empty());
        gone += leased.leases.len();
        settle(&store, leased).await;
    }
    let let_go = gone as f64 / going.elapsed().as_secs_f64();
    store.close().await.unwrap();
    json!({
        "set_aside": set_aside, "beside_none": beside_none, "beside_all": beside_all,
        "lifted": lifted.as_secs_f64() * 1e3, "let_go": let_go,
    })
}

async fn fill(store: &Store, events: u64) {
    let next = Arc::new(AtomicU64::new(0));
    let mut senders = JoinSet::new();
    for _ in 0..SENDERS {
        let (store, next) = (store.clone(), Arc::clone(&next));
        senders.spawn(async move {
            while next.fetch_add(1, Ordering::Relaxed) < events {
                assert!(!store.append(new("held")).await.unwrap().is_duplicate());
            }
        });
    }
    senders.join_all().await;
}

async fn due(store: &Store) -> u64 {
    let survey = store.reader().survey().await.unwrap();
    survey.depths.iter().map(|depth| depth.due).sum()
}

async fn lease(store: &Store, max: usize) -> Leased {
    store.lease(vec![Want { plugin: plugin(), max }]).await.unwrap()
}

/// Milliseconds of one lease of another source's delivery.
async fn beside(store: &Store) -> Vec<f64> {
    let mut times = Vec::new();
    for _ in 0..TIMES {
        assert!(!store.append(new("other")).await.unwrap().is_duplicate());
        let asked = Instant::now();
        let leased = lease(store, AT_ONCE).await;
        times.push(asked.elapsed().as_secs_f64() * 1e3);
        assert_eq!(leased.leases.len(), 1);
        settle(store, leased).await;
    }
    times
}

async fn settle(store: &Store, leased: Leased) {
    let mut settling = JoinSet::new();
    for lease in leased.leases {
        let store = store.clone();
        settling.spawn(async move {
            let settlement = Settlement {
                key: lease.key,
                attempt: attempt(Outcome::Done),
                fate: Fate::Done,
                outputs: Vec::new(),
                state: Vec::new(),
                exchanges: None,
            };
            let _ = store.settle(settlement).await.unwrap();
        });
    }
    settling.join_all().await;
}
