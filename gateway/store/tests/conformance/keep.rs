//! Appending: what is kept, and what is a duplicate.

use std::time::Duration;

use hookweir_store::{DeliveryState, Route, StoreError};
use tokio::task::JoinSet;

use crate::conformance::support::{Bed, START, Verbs, WINDOW, event, new, plugin, recount};

#[tokio::test]
async fn an_event_reads_back_whole() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    let sent = event("push");
    let receipt = store.append(new(sent.clone(), &["1"], &["a", "b"])).await.unwrap();
    assert_eq!(receipt.id(), sent.id);
    assert!(!receipt.is_duplicate());
    assert_eq!(store.reader().event(sent.id).await.unwrap().as_ref(), Some(&sent));

    let shown = store.shown(sent.id).await;
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
    assert!(store.shown(id).await.deliveries.is_empty());
    let counts = store.reader().counts().await.unwrap();
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

    assert_eq!(store.shown(first).await.duplicates, 1);
    let counts = store.reader().counts().await.unwrap();
    assert_eq!((counts.events, counts.due, counts.duplicates), (2, 2, 1));
}

#[tokio::test]
async fn the_same_claim_twice_in_one_event_is_no_duplicate_of_itself() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    assert!(!store.append(new(event("push"), &["1", "1"], &[])).await.unwrap().is_duplicate());
    assert_eq!(recount(&store.reader()).await, store.reader().counts().await.unwrap());
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
    assert_eq!(store.reader().counts().await.unwrap().due, 1);
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
    assert_eq!(store.reader().counts().await.unwrap(), recount(&store.reader()).await);
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
    assert_eq!(store.shown(id).await.deliveries.len(), 1023);
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
    assert_eq!(store.reader().counts().await.unwrap().events, kept);
    bed.time.advance(Duration::ZERO);
    assert_eq!(bed.time.now(), START);
}
