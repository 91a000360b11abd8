//! Opening, closing and looking on from outside.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use hookweir_event::{Exchanges, Fate, Outcome};
use hookweir_store::{
    Filter, OpenError, Pausable, Queue, ReadError, Reader, Settled, Settlement, Standpoint, Store,
    StoreError, care,
};
use rusqlite::Connection;

use crate::conformance::support::{Bed, Verbs, attempt, event, exchange, new, output, recount};

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn files_are_the_owners_alone() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    store.keep(new(event("push"), &[], &[])).await;
    let folder = bed.path().parent().unwrap().to_owned();
    assert_eq!(mode(&folder), 0o700);
    let mut files = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{path:?}");
        files += 1;
    }
    assert_eq!(files, 4, "database, log, its index, and the lock");
}

#[tokio::test]
async fn a_second_writer_is_refused() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    let error = Store::open(bed.options()).await.unwrap_err();
    assert!(matches!(error, OpenError::InUse(_)), "{error}");
    drop(store);
    Store::open(bed.options()).await.unwrap();
}

#[tokio::test]
async fn a_newer_schema_is_refused_and_left_alone() {
    let mut bed = Bed::new();
    bed.boot().await.close().await.unwrap();
    let newer = Connection::open(bed.path()).unwrap();
    newer.pragma_update(None, "user_version", 99).unwrap();
    drop(newer);
    let error = Store::open(bed.options()).await.unwrap_err();
    assert!(matches!(error, OpenError::NewerSchema { found: 99, known: 12, .. }), "{error}");
    let error = Reader::at(bed.path()).counts().await.unwrap_err();
    assert!(matches!(error, ReadError::NewerSchema { found: 99, known: 12 }), "{error}");
}

#[tokio::test]
async fn other_programs_files_are_refused() {
    let bed = Bed::new();
    std::fs::create_dir(bed.path().parent().unwrap()).unwrap();
    std::fs::write(bed.path(), "a shopping list, long enough not to be an empty file".repeat(99))
        .unwrap();
    let error = Store::open(bed.options()).await.unwrap_err();
    assert!(matches!(error, OpenError::Foreign(_)), "{error}");

    std::fs::remove_file(bed.path()).unwrap();
    Connection::open(bed.path()).unwrap().execute_batch("CREATE TABLE recipes(a)").unwrap();
    let error = Store::open(bed.options()).await.unwrap_err();
    assert!(matches!(error, OpenError::Foreign(_)), "{error}");
    let error = Reader::at(bed.path()).counts().await.unwrap_err();
    assert!(matches!(error, ReadError::Missing(_)), "{error}");
}

#[tokio::test]
async fn what_was_acknowledged_is_there_however_it_ended() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    let one = store.keep(new(event("push"), &["1"], &["a"])).await;
    store.close().await.unwrap();
    let store = bed.boot().await;
    let two = store.keep(new(event("push"), &["2"], &["a"])).await;
    drop(store);
    let store = bed.boot().await;
    let three = store.keep(new(event("push"), &["3"], &["a"])).await;
    bed.crash();
    let survivor = bed.boot().await;
    for id in [one, two, three] {
        assert!(survivor.reader().event(id).await.unwrap().is_some());
    }
    assert!(survivor.append(new(event("push"), &["3"], &[])).await.unwrap().is_duplicate());
}

#[tokio::test]
async fn a_closed_store_says_so() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    let other = store.clone();
    store.close().await.unwrap();
    let refused = other.append(new(event("push"), &[], &[])).await;
    assert_eq!(refused, Err(StoreError::Closed));
    other.close().await.unwrap();
}

#[tokio::test]
async fn a_request_that_goes_away_loses_its_answer_not_its_event() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    let sent = event("push");
    {
        let append = store.append(new(sent.clone(), &["1"], &[]));
        tokio::pin!(append);
        let polled = futures_poll_once(append.as_mut()).await;
        assert!(polled.is_none() || polled.is_some_and(|answer| answer.is_ok()));
    }
    store.close().await.unwrap();
    assert!(Reader::at(bed.path()).event(sent.id).await.unwrap().is_some());
}

/// Polls once, and gives up.
async fn futures_poll_once<F: Future>(mut future: std::pin::Pin<&mut F>) -> Option<F::Output> {
    std::future::poll_fn(|cx| {
        std::task::Poll::Ready(match future.as_mut().poll(cx) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        })
    })
    .await
}

#[tokio::test]
async fn a_reader_looks_on_while_the_gateway_runs_and_after() {
    let mut bed = Bed::new();
    assert!(matches!(Reader::at(bed.path()).counts().await, Err(ReadError::Missing(_))));
    let store = bed.boot().await;
    let reader = Reader::at(bed.path());
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(store.keep(new(event("push"), &[], &["a"])).await);
    }
    let page = reader.events(None, 2).await.unwrap();
    let next = reader.events(Some(page[1].event.id), 9).await.unwrap();
    let seen: Vec<_> = page.iter().chain(&next).map(|shown| shown.event.id).collect();
    assert_eq!(seen, ids);
    assert!(reader.events(Some(ids[4]), 9).await.unwrap().is_empty());
    assert!(reader.events(Some(event("push").id), 9).await.unwrap().is_empty(), "unknown");
    store.close().await.unwrap();
    assert_eq!(reader.counts().await.unwrap().events, 5);
    assert_eq!(Reader::at(bed.path()).counts().await.unwrap().due, 5);
}

fn fixture(schema: u32) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/schema-{schema}.db"))
}

#[tokio::test]
async fn a_database_of_schema_1_opens() {
    opens(1).await;
}

#[tokio::test]
async fn a_database_of_schema_2_opens() {
    opens(2).await;
}

#[tokio::test]
async fn a_database_of_schema_3_opens() {
    opens(3).await;
}

#[tokio::test]
async fn a_database_of_schema_4_opens() {
    opens(4).await;
}

#[tokio::test]
async fn a_database_of_schema_5_opens() {
    opens(5).await;
}

#[tokio::test]
async fn a_database_of_schema_6_opens() {
    opens(6).await;
}

#[tokio::test]
async fn a_database_of_schema_7_opens() {
    opens(7).await;
}

#[tokio::test]
async fn a_database_of_schema_8_opens() {
    opens(8).await;
}

#[tokio::test]
async fn a_database_of_schema_9_opens() {
    opens(9).await;
}

#[tokio::test]
async fn a_database_of_schema_10_opens() {
    opens(10).await;
}

#[tokio::test]
async fn a_database_of_schema_11_opens() {
    opens(11).await;
}

#[tokio::test]
async fn a_database_of_schema_12_opens() {
    opens(12).await;
}

/// A body of one of the events, so many times.
const LONG: &[u8] = b"{\"filling\":\"of a body\"}";

/// Each was committed when its schema was the newest: whatever comes later must open it.
async fn opens(schema: u32) {
    let bed = Bed::new();
    std::fs::create_dir(bed.path().parent().unwrap()).unwrap();
    std::fs::copy(fixture(schema), bed.path()).unwrap();
    // As it lies there, before anyone brings it up to date.
    assert_eq!(care::check(&bed.path()).unwrap(), Vec::<String>::new());
    let read = Reader::at(bed.path()).counts().await;
    assert_eq!(matches!(read, Err(ReadError::OlderSchema { .. })), schema < 12, "{read:?}");
    let store = Store::open(bed.options()).await.unwrap();
    let counts = store.reader().counts().await.unwrap();
    assert_eq!(counts, recount(&store.reader()).await);
    assert_eq!((counts.events, counts.outputs, counts.unrouted, counts.duplicates), (5, 1, 2, 1));
    assert_eq!((counts.due, counts.leased, counts.done, counts.dead), (2, 0, 1, 1));
    // What is due is counted by plugin, from before the counts on.
    let queues = store.reader().queues(bed.time.now()).await.unwrap();
    let stand = |q: &Queue| (q.plugin.to_string(), q.due, q.held, q.dead);
    let queues: Vec<_> = queues.iter().map(stand).collect();
    // From then on one of them is aside, for a source that is held.
    let held = u64::from(schema >= 12);
    assert_eq!(queues, [("audit".into(), 0, 0, 1), ("payments".into(), 2 - held, held, 0)]);
    let pauses = store.reader().pauses().await.unwrap();
    let paused: Vec<_> = pauses.iter().map(|pause| pause.what.to_string()).collect();
    assert_eq!(paused, &["deliveries of source shop"][..usize::from(schema >= 12)]);
    let lease = store.lease_one("payments").await;
    assert_eq!((lease.attempt, lease.lost_leases), (2, 1));
    assert_eq!(lease.event.body, b"{\"n\":2}");
    if schema >= 12 {
        assert!(store.lease_up_to("payments", 9).await.is_empty(), "it is held still");
        assert!(store.resume(pauses.into_iter().map(|pause| pause.what)).await.unwrap());
    }
    assert_eq!(store.lease_one("payments").await.event.body, b"{\"n\":3}");
    if schema >= 8 {
        let unrouted = Filter { state: Some(Standpoint::Unrouted), ..Filter::default() };
        let found = store.reader().search_ids(&unrouted, None, 9).await.unwrap().found;
        let event = store.reader().event(found[1]).await.unwrap().unwrap();
        assert_eq!(event.body, LONG.repeat(100));
    }
    if schema >= 11 {
        let first = store.reader().events(None, 1).await.unwrap().remove(0);
        let kept = store.reader().exchanges(first.deliveries[0].id, 1).await.unwrap();
        assert_eq!(kept, Some(Exchanges { kept: vec![exchange(1)], left_out: 2 }));
    }
    assert!(store.append(new(event("push"), &["2"], &[])).await.unwrap().is_duplicate());
    store.close().await.unwrap();
    assert_eq!(care::check(&bed.path()).unwrap(), Vec::<String>::new());
}

/// Makes the fixture of the newest schema.
#[tokio::test]
#[ignore = "writes the fixture"]
async fn make_the_fixture() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    for (n, routes) in
        [(1, &["payments"][..]), (2, &["payments"]), (3, &["payments", "audit"]), (4, &[])]
    {
        let mut event = event("payment.created");
        event.body = format!("{{\"n\":{n}}}").into_bytes();
        if n == 3 {
            event.origin = "shop".parse().unwrap();
        }
        if n == 4 {
            // Long enough to be packed.
            event.body = LONG.repeat(100);
        }
        store.keep(new(event, &[&n.to_string()], routes)).await;
    }
    let _ = store.append(new(event("payment.created"), &["2"], &[])).await.unwrap();
    let leases = store.lease_up_to("payments", 2).await;
    let settlement = Settlement {
        key: leases[0].key.clone(),
        attempt: attempt(Outcome::Done),
        fate: Fate::Done,
        outputs: vec![output("paid", &[])],
        state: Vec::new(),
        exchanges: Some(Exchanges { kept: vec![exchange(1)], left_out: 2 }),
    };
    assert_eq!(store.settle(settlement).await.unwrap(), Settled::Committed);
    let lease = store.lease_one("audit").await;
    assert_eq!(
        store.end(&lease, Outcome::Reject, Fate::Dead { blocks: true }).await,
        Settled::Committed
    );
    let shop = Pausable::Held("shop".parse().unwrap());
    store.pause(shop, "anna".to_owned(), None).await.unwrap();
    assert!(store.lease_up_to("payments", 1).await.is_empty(), "it is set aside");
    store.close().await.unwrap();
    std::fs::copy(bed.path(), fixture(12)).unwrap();
}
