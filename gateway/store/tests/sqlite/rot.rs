//! A bit that fell over in what events say, on pages that are sound for all that SQLite knows: nobody but
//! those events may be the worse for it.

use std::{path::Path, time::Duration};

use hookweir_event::{EventId, Fate, Outcome};
use hookweir_store::{DeliveryState, Settled, Store, care::check};
use rusqlite::Connection;

use crate::conformance::support::{Bed, Verbs, event, new, output, recount};

/// Changes one bit of the content of the parcel that was made last.
pub(crate) fn rot(path: &Path) {
    let connection = Connection::open(path).unwrap();
    let newest = "SELECT key, content FROM parcels ORDER BY key DESC LIMIT 1";
    let (key, mut content): (i64, Vec<u8>) =
        connection.query_row(newest, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    let (middle, before) = (content.len() / 2, content.clone());
    content[middle] ^= 4;
    assert_ne!(content, before);
    let sql = "UPDATE parcels SET content = ?2 WHERE key = ?1";
    assert_eq!(connection.execute(sql, (key, content)).unwrap(), 1);
}

/// A store in which the last parcel has three outputs for the plugin `b`, one of which is leased.
async fn with_outputs(bed: &mut Bed) -> (Store, Vec<EventId>) {
    let store = bed.boot().await;
    store.keep(new(event("push"), &[], &["a"])).await;
    let lease = store.lease_one("a").await;
    let outputs: Vec<_> = ["one", "two", "three"].map(|name| output(name, &["b", "c"])).into();
    let ids = outputs.iter().map(|made| made.event.id).collect();
    assert_eq!(store.end_with(&lease, outputs).await, Settled::Committed);
    store.lease_one("b").await;
    (store, ids)
}

#[tokio::test]
async fn the_store_opens_and_those_events_are_dead_letters_that_say_why() {
    let mut bed = Bed::new();
    let (store, ids) = with_outputs(&mut bed).await;
    drop(store);
    rot(&bed.path());
    assert_eq!(check(&bed.path()).unwrap(), ["events that can't be read: 3"]);
    let store = bed.boot().await;
    let sound = store.keep(new(event("push"), &[], &["b"])).await;
    // They take the place of what can be read; whoever asks is told to ask again.
    let mut wakeups = store.wakeups();
    wakeups.mark_unchanged();
    assert!(store.lease_up_to("b", 2).await.is_empty());
    tokio::time::timeout(Duration::from_secs(60), wakeups.changed()).await.unwrap().unwrap();
    let leases = store.lease_up_to("b", 10).await;
    assert_eq!(leases.iter().map(|lease| lease.event.id).collect::<Vec<_>>(), [sound]);
    for id in &ids {
        let delivery = &store.shown(*id).await.deliveries[0];
        assert_eq!(delivery.state, DeliveryState::Dead);
        let last = &delivery.attempts.last().unwrap().attempt;
        assert_eq!(last.outcome, Outcome::Unreadable);
        assert!(last.message.as_ref().unwrap().contains("damaged"));
        assert!(store.reader().event(*id).await.is_err());
    }
    assert_eq!(store.end(&leases[0], Outcome::Done, Fate::Done).await, Settled::Committed);
    assert_eq!(store.reader().counts().await.unwrap(), recount(&store.reader()).await);
    // An operator who has them tried again is told the same again.
    let dead = store.shown(ids[1]).await.deliveries[0].id;
    assert_eq!(store.mend(vec![dead], hookweir_store::Mend::Retry).await.unwrap(), 1);
    assert!(store.lease_up_to("b", 10).await.is_empty());
    assert_eq!(store.shown(ids[1]).await.deliveries[0].state, DeliveryState::Dead);
}

/// What is known by heart is read anew after a rollback.
#[tokio::test]
async fn others_go_on_after_an_operation_that_fails() {
    let mut bed = Bed::new();
    let (store, _) = with_outputs(&mut bed).await;
    rot(&bed.path());
    let mut bad = new(event("push"), &[], &["a"]);
    bad.routes = vec![bad.routes[0].clone(); 1024];
    for _ in 0..2 {
        assert!(store.append(bad.clone()).await.is_err());
        store.keep(new(event("push"), &[], &["a"])).await;
        let lease = store.lease_one("a").await;
        assert_eq!(store.end(&lease, Outcome::Done, Fate::Done).await, Settled::Committed);
    }
}

#[tokio::test]
async fn they_are_forgotten_when_they_are_over() {
    let mut bed = Bed::new();
    let (store, ids) = with_outputs(&mut bed).await;
    // One of the three goes first.
    for name in ["b", "c"] {
        for lease in store.lease_up_to(name, 1).await {
            assert_eq!(store.end(&lease, Outcome::Done, Fate::Done).await, Settled::Committed);
        }
    }
    drop(store);
    rot(&bed.path());
    let store = bed.boot().await;
    for name in ["b", "c"] {
        assert!(store.lease_up_to(name, 10).await.is_empty());
    }
    let step = async |store: &Store| {
        store.lease_up_to("nobody", 1).await;
        assert_eq!(store.reader().counts().await.unwrap(), recount(&store.reader()).await);
    };
    bed.time.advance(Duration::from_secs(8 * 24 * 3600));
    step(&store).await;
    for id in &ids {
        for delivery in store.shown(*id).await.deliveries {
            let skipped = store.mend(vec![delivery.id], hookweir_store::Mend::Skip).await.unwrap();
            assert_eq!(skipped, 0, "it blocks nothing");
        }
    }
    bed.time.advance(Duration::from_secs(31 * 24 * 3600));
    step(&store).await;
    for id in ids {
        assert_eq!(store.reader().show(id).await.unwrap(), None);
    }
    assert_eq!(check(&bed.path()).unwrap(), Vec::<String>::new());
}
