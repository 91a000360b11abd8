//! What is over is forgotten, by age and by size; what is open, or holds others up, never is.

use std::time::Duration;

use hookweir_event::{EventId, Fate, Outcome, Timestamp};
use hookweir_store::{Keep, Retention, Settled, Store};

use crate::{
    conformance::{
        Hidden,
        support::{Bed, Verbs, WINDOW, event, new, output, recount},
    },
    ground::Ground,
};

const DAY: Duration = Duration::from_secs(24 * 3600);
const DEAD: Fate = Fate::Dead { blocks: true };

/// An event received now.
async fn keep(bed: &Bed, store: &Store, claims: &[&str], to: &[&str]) -> EventId {
    keep_sized(bed, store, claims, to, 10).await
}

async fn keep_sized(bed: &Bed, store: &Store, claims: &[&str], to: &[&str], len: usize) -> EventId {
    let mut event = event("push");
    (event.received_at, event.body) = (bed.time.now(), vec![b'x'; len]);
    store.keep(new(event, claims, to)).await
}

async fn end(store: &Store, plugin: &str, fate: Fate) -> EventId {
    let lease = store.lease_one(plugin).await;
    let outcome = if fate == Fate::Done { Outcome::Done } else { Outcome::Trap };
    assert_eq!(store.end(&lease, outcome, fate).await, Settled::Committed);
    lease.event.id
}

/// Has the store do something, and with it a step of retention; then sees that its totals are right.
async fn step(store: &Store) {
    store.lease_up_to("nobody", 1).await;
    assert_eq!(store.reader().counts().await.unwrap(), recount(&store.reader()).await);
}

async fn kept(store: &Store, ids: &[EventId]) -> Vec<bool> {
    let mut kept = Vec::new();
    for id in ids {
        kept.push(is_kept(store, *id).await);
    }
    kept
}

async fn is_kept(store: &Store, id: EventId) -> bool {
    store.reader().show(id).await.unwrap().is_some()
}

#[tokio::test]
async fn what_is_done_goes_after_a_week_and_what_is_dead_after_a_month() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    keep(&bed, &store, &["1"], &["a"]).await;
    let done = end(&store, "a", Fate::Done).await;
    keep(&bed, &store, &["2"], &["a", "b"]).await;
    let dead = end(&store, "a", DEAD).await;
    end(&store, "b", Fate::Done).await;
    let due = keep(&bed, &store, &["3"], &["a"]).await;
    let unrouted = keep(&bed, &store, &["4"], &[]).await;

    bed.time.advance(7 * DAY - Duration::from_millis(1));
    step(&store).await;
    assert_eq!(kept(&store, &[done, dead, due, unrouted]).await, [true; 4]);
    bed.time.advance(Duration::from_millis(1));
    step(&store).await;
    assert_eq!(kept(&store, &[done, dead, due, unrouted]).await, [false, true, true, false]);
    bed.time.advance(23 * DAY);
    step(&store).await;
    assert_eq!(kept(&store, &[dead, due]).await, [false, true]);
    assert_eq!(bed.ground.count(Hidden::Attempts), 0);
    // What was open all the time goes a week after it is done.
    assert_eq!(end(&store, "a", Fate::Done).await, due);
    bed.time.advance(7 * DAY);
    step(&store).await;
    assert!(!is_kept(&store, due).await);
    assert_eq!(
        [Hidden::Events, Hidden::Deliveries, Hidden::Attempts].map(|rows| bed.ground.count(rows)),
        [0; 3]
    );
}

#[tokio::test]
async fn a_dead_letter_that_blocks_its_key_stays_until_somebody_decides() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    keep(&bed, &store, &[], &["a:k"]).await;
    let blocks = end(&store, "a", DEAD).await;
    bed.time.advance(100 * DAY);
    step(&store).await;
    assert!(is_kept(&store, blocks).await);
    store.unblock("a".parse().unwrap()).await.unwrap();
    bed.time.advance(DAY);
    step(&store).await;
    assert!(!is_kept(&store, blocks).await);
}

#[tokio::test]
async fn a_duplicate_of_an_event_that_is_gone_is_answered_with_its_id() {
    let mut bed = Bed::new();
    bed.retention.done.age = DAY;
    let store = bed.boot().await;
    let gone = keep(&bed, &store, &["1"], &[]).await;
    bed.time.advance(DAY);
    step(&store).await;
    assert!(!is_kept(&store, gone).await);
    let receipt = store.append(new(event("push"), &["1"], &[])).await.unwrap();
    assert_eq!((receipt.id(), receipt.is_duplicate()), (gone, true));
    bed.crash();
    let store = bed.boot().await;
    let receipt = store.append(new(event("push"), &["1"], &[])).await.unwrap();
    assert_eq!((receipt.id(), receipt.is_duplicate()), (gone, true));
    bed.time.advance(WINDOW);
    step(&store).await;
    assert_eq!(bed.ground.count(Hidden::Departed), 0);
    assert!(!store.append(new(event("push"), &["1"], &[])).await.unwrap().is_duplicate());
}

#[tokio::test]
async fn the_oldest_go_first_when_there_is_too_much() {
    let mut bed = Bed::new();
    let mib = 1 << 20;
    bed.retention.done.bytes = 4 * mib;
    bed.retention.dead.bytes = 2 * mib;
    let store = bed.boot().await;
    let open = keep_sized(&bed, &store, &[], &["open"], 1 << 20).await;
    let (mut done, mut dead) = (Vec::new(), Vec::new());
    for _ in 0..6 {
        keep_sized(&bed, &store, &[], &["a"], 1 << 20).await;
        done.push(end(&store, "a", Fate::Done).await);
        keep_sized(&bed, &store, &[], &["a"], 1 << 20).await;
        dead.push(end(&store, "a", DEAD).await);
        bed.time.advance(Duration::from_secs(10));
    }
    for _ in 0..3 {
        bed.time.advance(Duration::from_secs(10));
        step(&store).await;
    }
    // An envelope is a few bytes on top of each MiB, so that one less fits.
    assert_eq!(kept(&store, &done).await, [false, false, false, false, true, true]);
    assert_eq!(kept(&store, &dead).await, [false, false, false, false, false, true]);
    assert!(is_kept(&store, open).await);
}

#[tokio::test]
async fn an_output_outlives_its_parent() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    let parent = keep(&bed, &store, &[], &["a"]).await;
    let made = output("built", &["b"]);
    let id = made.event.id;
    let lease = store.lease_one("a").await;
    assert_eq!(store.end_with(&lease, vec![made]).await, Settled::Committed);
    bed.time.advance(8 * DAY);
    step(&store).await;
    assert!(!is_kept(&store, parent).await);
    assert_eq!(store.lease_one("b").await.event.id, id);
}

#[tokio::test]
async fn nobody_has_to_ask() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    for _ in 0..1000 {
        keep(&bed, &store, &[], &[]).await;
    }
    bed.time.advance(7 * DAY);
    let left = async || store.reader().counts().await.unwrap().events;
    let end = std::time::Instant::now() + Duration::from_secs(60);
    while left().await > 0 {
        assert!(std::time::Instant::now() < end, "{} are left", left().await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn an_event_from_a_clock_that_went_ahead_does_not_stop_the_walk_for_ever() {
    let mut bed = Bed::new();
    let none = Keep { age: Duration::ZERO, bytes: u64::MAX };
    bed.retention = Retention { done: none, dead: none };
    let store = bed.boot().await;
    let mut ahead = event("push");
    ahead.received_at = Timestamp::from_millis(bed.time.now().as_millis() + 3_600_000);
    store.keep(new(ahead, &[], &[])).await;
    let after = keep(&bed, &store, &[], &[]).await;
    step(&store).await;
    assert_eq!(is_kept(&store, after).await, Ground::AGED_BY_GATEWAYS, "the other is in its way");
    bed.time.advance(Duration::from_secs(3600));
    step(&store).await;
    assert!(!is_kept(&store, after).await);
}
