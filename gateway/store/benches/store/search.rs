//! What operators wait for: searches over a store of millions of events.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use hookweir_event::{Clock, Digest, EventId, Fate, OrderKey, Outcome, Timestamp};
use hookweir_store::{
    Cursor, Filter, NewEvent, Options, Page, Reader, Route, Settlement, SqliteFile, Store, Want,
};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{payload, subject::attempt};

/// Many, so that commits are large and the store is soon filled.
const SENDERS: u64 = 512;
/// One event in so many is of a type, a plugin or with an order key that few have.
const RARE: u64 = 100_000;
/// As many as a page of a listing shows.
const PAGE: usize = 50;
/// Each search is made so often, each time for something else; what no index helps, less often.
const TIMES: u64 = 200;
const TIMES_WITHOUT_INDEX: u64 = 9;

fn claim(nth: u64) -> Digest {
    Digest::of(&nth.to_le_bytes())
}

fn new(nth: u64) -> NewEvent {
    let mut event = payload::output();
    event.origin = format!("source-{}", nth % 20).parse().unwrap();
    event.event_type = format!("type.{}", nth / 20 % 40).parse().unwrap();
    event.body = format!("{{\"order\":\"number {nth}\"}}").into_bytes();
    let mut routes = vec![Route::to("often".parse().unwrap())];
    if nth.is_multiple_of(RARE) {
        event.event_type = "rare".parse().unwrap();
        let order_key = Some(OrderKey::new(&format!("customer {nth}")));
        routes.push(Route { plugin: "rare".parse().unwrap(), order_key });
    }
    let dedupe_window = Duration::from_secs(72 * 3600);
    NewEvent { event, claims: vec![claim(nth)], dedupe_window, routes }
}

/// Fills a store with so many events, some of which are dead letters, and searches it.
pub(crate) async fn measure(folder: &Path, events: u64) -> Value {
    let options =
        Options::new(SqliteFile::new(folder.join("hookweir.db")), [1; 16], Clock::system());
    let store = Store::open(options).await.unwrap();
    let filling = Instant::now();
    let ids = fill(&store, events).await;
    bury(&store).await;
    let filled = filling.elapsed().as_secs_f64();
    let size = std::fs::metadata(folder.join("hookweir.db")).unwrap().len();
    let reader = store.reader();
    let searches =
        tokio::task::spawn_blocking(move || searches(&reader, &ids, events)).await.unwrap();
    store.close().await.unwrap();
    json!({ "filled": filled, "GiB": size as f64 / f64::from(1 << 30), "searches": searches })
}

/// Answers the ids of some, with their numbers.
async fn fill(store: &Store, events: u64) -> Vec<(u64, EventId)> {
    let next = Arc::new(AtomicU64::new(0));
    let mut senders = JoinSet::new();
    for _ in 0..SENDERS {
        let (store, next) = (store.clone(), Arc::clone(&next));
        senders.spawn(async move {
            let mut some = Vec::new();
            loop {
                let nth = next.fetch_add(1, Ordering::Relaxed);
                if nth >= events {
                    return some;
                }
                let receipt = store.append(new(nth)).await.unwrap();
                if nth % (events / 1000 + 1) == 0 {
                    some.push((nth, receipt.id()));
                }
            }
        });
    }
    senders.join_all().await.into_iter().flatten().collect()
}

/// Makes the first few deliveries dead.
async fn bury(store: &Store) {
    let want = Want { plugin: "often".parse().unwrap(), max: 200 };
    for lease in store.lease(vec![want]).await.unwrap().leases {
        let settlement = Settlement {
            key: lease.key,
            attempt: attempt(Outcome::Reject),
            fate: Fate::Dead { blocks: true },
            outputs: Vec::new(),
            state: Vec::new(),
            exchanges: None,
        };
        let _ = store.settle(settlement).await.unwrap();
    }
}

/// By name, what each took in milliseconds.
fn searches(reader: &Reader, ids: &[(u64, EventId)], events: u64) -> Value {
    let rare = events.div_ceil(RARE).max(1);
    let some = |turn: u64| ids[usize::try_from(turn).unwrap() * 97 % ids.len()];
    let filter = |set: &dyn Fn(&mut Filter)| {
        let mut filter = Filter::default();
        set(&mut filter);
        filter
    };
    let found = |filter: &Filter| {
        let page = pages(reader, filter);
        assert!(!page.is_empty(), "{filter:?} finds nothing");
    };
    let middle = wait(reader.show(some(5).1)).unwrap().unwrap().event.received_at;
    let origin = |turn: u64| Some(format!("source-{}", turn % 20).parse().unwrap());
    json!({
        "an id": times(|turn| assert!(wait(reader.show(some(turn).1)).unwrap().is_some())),
        "a source": times(|turn| found(&filter(&|f| f.origin = origin(turn)))),
        "a source and a type": times(|turn| found(&filter(&|f| {
            f.origin = origin(turn);
            f.event_type = Some(format!("type.{}", turn % 40).parse().unwrap());
        }))),
        "a type that 1 of 100,000 has": times(|_| found(&filter(&|f| {
            f.event_type = Some("rare".parse().unwrap());
        }))),
        "a plugin that 1 of 100,000 went to": times(|_| found(&filter(&|f| {
            f.plugin = Some("rare".parse().unwrap());
        }))),
        "a plugin and dead": times(|_| found(&filter(&|f| {
            f.plugin = Some("often".parse().unwrap());
            f.state = Some("dead".parse().unwrap());
        }))),
        "a plugin and due": times(|_| found(&filter(&|f| {
            f.plugin = Some("often".parse().unwrap());
            f.state = Some("due".parse().unwrap());
        }))),
        "a second": times(|turn| found(&filter(&|f| {
            // It is in all of these seconds.
            let since = Timestamp::from_millis(middle.as_millis() - (turn % 1000).cast_signed());
            (f.since, f.until) = (Some(since), Some(since + Duration::from_secs(1)));
        }))),
        "dead letters": times(|_| found(&filter(&|f| f.state = Some("dead".parse().unwrap())))),
        "a dedupe key": times(|turn| found(&filter(&|f| f.claim = Some(claim(some(turn).0))))),
        "an order key": times(|turn| found(&filter(&|f| {
            f.order_key = Some(OrderKey::new(&format!("customer {}", turn % rare * RARE)));
        }))),
        "what waits for each plugin": times(|_| {
            let now = Timestamp::from_millis(i64::MAX);
            assert_eq!(wait(reader.queues(now)).unwrap().len(), 2);
        }),
        "a text, one page (no index)": times_of(TIMES_WITHOUT_INDEX, |_| {
            let filter = filter(&|f| f.text = Some("nowhere".to_owned()));
            assert!(wait(reader.search_ids(&filter, None, PAGE)).unwrap().next.is_some());
        }),
        "how many of a source": times_of(TIMES_WITHOUT_INDEX, |turn| {
            assert!(wait(reader.count(&filter(&|f| f.origin = origin(turn)))).unwrap() > 0);
        }),
    })
}

/// Waits on this thread, which may block.
fn wait<T>(look: impl Future<Output = T>) -> T {
    tokio::runtime::Handle::current().block_on(look)
}

fn times(search: impl FnMut(u64)) -> Vec<f64> {
    times_of(TIMES, search)
}

fn times_of(times: u64, mut search: impl FnMut(u64)) -> Vec<f64> {
    let time = |turn| {
        let start = Instant::now();
        search(turn);
        start.elapsed().as_secs_f64() * 1e3
    };
    (0..times).map(time).collect()
}

/// As many pages as it takes to find a listing's worth, or all there are.
fn pages(reader: &Reader, filter: &Filter) -> Vec<EventId> {
    let (mut found, mut from): (Vec<EventId>, Option<Cursor>) = (Vec::new(), None);
    loop {
        let Page { found: more, next } = wait(reader.search_ids(filter, from, PAGE)).unwrap();
        found.extend(more);
        from = next;
        if from.is_none() || found.len() >= PAGE {
            return found;
        }
    }
}
