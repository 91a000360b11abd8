//! Appending: what is kept, and what is a duplicate.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use hookweir_event::{Fate, Outcome};
use hookweir_store::{DeliveryState, Health, Options, Room, Route, Settled, Store, StoreError};
use tokio::task::JoinSet;

use crate::support::{Bed, START, Verbs, WINDOW, event, new, plugin, recount};

#[tokio::test]
async fn an_event_reads_back_whole() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    let sent = event("push");
    let receipt = store.append(new(sent.clone(), &["1"], &["a", "b"])).await.unwrap();
    assert_eq!(receipt.id(), sent.id);
    assert!(!receipt.is_duplicate());
    assert_eq!(store.reader().event(sent.id).unwrap().as_ref(), Some(&sent));

    let shown = store.shown(sent.id);
    assert_eq!(shown.event.event_type, sent.event_type);
    assert_eq!(shown.event.body_len, sent.body.len() as u64);
    assert_eq!((shown.event.parent, shown.event.root), (None, None));
    let routes: Vec<_> = shown.deliveries.iter().map(|d| (d.plugin.as_str(), d.state)).collect();
    assert_eq!(routes, [("a", DeliveryState::Due), ("b", DeliveryState::Due)]);
}

#[tokio::test]
async fn an_event_without_routes_is_unrouted_and_kept() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    let id = store.keep(new(event("push"), &[], &[])).await;
    assert!(store.shown(id).deliveries.is_empty());
    let counts = store.reader().counts().unwrap();
    assert_eq!((counts.events, counts.unrouted, counts.due), (1, 1, 0));
}

#[tokio::test]
async fn a_duplicate_is_answered_with_the_first_id_and_counted() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    let first = store.keep(new(event("push"), &["1", "x"], &["a"])).await;
    // Any one claim makes it a duplicate, and then it takes none of the others.
    let receipt = store.append(new(event("push"), &["2", "x"], &["a"])).await.unwrap();
    assert_eq!((receipt.id(), receipt.is_duplicate()), (first, true));
    let other = store.append(new(event("push"), &["2"], &["a"])).await.unwrap();
    assert!(!other.is_duplicate());

    assert_eq!(store.shown(first).duplicates, 1);
    let counts = store.reader().counts().unwrap();
    assert_eq!((counts.events, counts.due, counts.duplicates), (2, 2, 1));
}

#[tokio::test]
async fn the_same_claim_twice_in_one_event_is_no_duplicate_of_itself() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    assert!(!store.append(new(event("push"), &["1", "1"], &[])).await.unwrap().is_duplicate());
    assert_eq!(recount(&store.reader()), store.reader().counts().unwrap());
}

#[tokio::test]
async fn of_many_at_once_one_is_first() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    let mut tasks = JoinSet::new();
    for _ in 0..100 {
        let store = store.clone();
        tasks.spawn(async move { store.append(new(event("push"), &["1"], &["a"])).await.unwrap() });
    }
    let receipts = tasks.join_all().await;
    let firsts: Vec<_> = receipts.iter().filter(|receipt| !receipt.is_duplicate()).collect();
    assert_eq!(firsts.len(), 1);
    assert!(receipts.iter().all(|receipt| receipt.id() == firsts[0].id()));
    assert_eq!(store.reader().counts().unwrap().due, 1);
}

#[tokio::test]
async fn a_claim_expires_with_its_window() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    store.keep(new(event("push"), &["1"], &[])).await;
    bed.time.advance(WINDOW - Duration::from_millis(1));
    assert!(store.append(new(event("push"), &["1"], &[])).await.unwrap().is_duplicate());
    bed.time.advance(Duration::from_millis(1));
    let receipt = store.append(new(event("push"), &["1"], &[])).await.unwrap();
    assert!(!receipt.is_duplicate(), "the window counts from the first event");
    // And the claim is the second event's now.
    let again = store.append(new(event("push"), &["1"], &[])).await.unwrap();
    assert_eq!(again.id(), receipt.id());
}

#[tokio::test]
async fn an_impossible_event_fails_alone() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    let mut bad = new(event("push"), &["2"], &["a", "new"]);
    bad.routes.extend(vec![Route::to(plugin("a")); 1024]);
    // All three are queued before the writer can take one: they share a batch or two.
    let (before, too_many, after) = tokio::join!(
        store.append(new(event("push"), &["1"], &["a"])),
        store.append(bad),
        store.append(new(event("push"), &["3"], &["new"])),
    );
    assert!(before.is_ok() && after.is_ok());
    assert!(matches!(too_many, Err(StoreError::Failed(_))), "{too_many:?}");
    // Nothing of it is left, its claim included.
    assert!(!store.append(new(event("push"), &["2"], &[])).await.unwrap().is_duplicate());
    assert_eq!(store.reader().counts().unwrap(), recount(&store.reader()));
    assert_eq!(*store.health().borrow(), hookweir_store::Health::Ready);
}

#[tokio::test]
async fn an_event_has_1023_deliveries_at_most() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    let mut many = new(event("push"), &[], &[]);
    many.routes = (0..1024).map(|n| Route::to(plugin(&format!("p{n}")))).collect();
    assert!(matches!(store.append(many.clone()).await, Err(StoreError::Failed(_))));
    many.routes.pop();
    let id = store.keep(many).await;
    assert_eq!(store.shown(id).deliveries.len(), 1023);
}

#[tokio::test]
async fn a_full_queue_refuses_appends() {
    let bed = Bed::new();
    let mut options = bed.options();
    options.queue = 1;
    let store = hookweir_store::Store::open(options).await.unwrap();
    let appends = (0..200).map(|_| {
        let store = store.clone();
        async move { store.append(new(event("push"), &[], &["a"])).await }
    });
    let mut kept = 0_u64;
    let mut refused = 0;
    for answer in appends.map(tokio::spawn).collect::<Vec<_>>() {
        match answer.await.unwrap() {
            Ok(_) => kept += 1,
            Err(StoreError::Overloaded) => refused += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(refused > 0);
    assert_eq!(store.reader().counts().unwrap().events, kept);
    bed.time.advance(Duration::ZERO);
    assert_eq!(bed.time.now(), START);
}

/// The disk's high-water mark: events are refused before it is full, what was taken is still settled,
/// and it comes back by itself.
#[tokio::test]
async fn too_little_room_refuses_events_and_nothing_else() {
    let mut bed = Bed::new();
    let (left, looks) = (Arc::new(AtomicU64::new(100)), Arc::new(AtomicU64::new(0)));
    let (disk, looked) = (left.clone(), looks.clone());
    let room = Room::new(50, move |folder| {
        assert!(folder.ends_with("data"), "{folder:?}");
        looked.fetch_add(1, Ordering::SeqCst);
        Ok(disk.load(Ordering::SeqCst))
    });
    let store = Store::open(Options { room, ..bed.options() }).await.unwrap();
    store.keep(new(event("push"), &["1"], &["a"])).await;
    left.store(49, Ordering::SeqCst);
    let before = looks.load(Ordering::SeqCst);
    let refused = store.append(new(event("push"), &["2"], &["a"])).await;
    assert!(looks.load(Ordering::SeqCst) > before, "nobody looked");
    assert_eq!(refused.unwrap_err(), StoreError::Full);
    let mut health = store.health();
    assert!(
        matches!(&*health.borrow_and_update(), Health::Refusing(why) if why.contains("left on the disk"))
    );
    let lease = store.lease_one("a").await;
    assert_eq!(store.end(&lease, Outcome::Done, Fate::Done).await, Settled::Committed);
    assert_eq!(store.reader().counts().unwrap().events, 1);

    left.store(50, Ordering::SeqCst);
    health.wait_for(|health| *health == Health::Ready).await.unwrap();
    let again = store.append(new(event("push"), &["2"], &["a"])).await.unwrap();
    assert!(!again.is_duplicate(), "the refused one claimed nothing");
    store.close().await.unwrap();
    bed.boot().await;
}
