//! Events that are delivered once more, with deliveries of their own.

use std::time::Duration;

use hookweir_event::{Fate, OrderKey, Outcome};
use hookweir_store::{DeliveryState, Filter, Replay, Settled, Store};

use crate::conformance::support::{Bed, Verbs, event, new, plugin, recount, routes};

async fn done(store: &Store, name: &str) {
    let lease = store.lease_one(name).await;
    assert_eq!(store.end(&lease, Outcome::Done, Fate::Done).await, Settled::Committed);
}

#[tokio::test]
async fn a_replay_is_a_delivery_of_its_own_and_says_so() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    let sent = event("push");
    let id = store.keep(new(sent.clone(), &["1"], &["a"])).await;
    assert_eq!(store.lease_one("a").await.replayed_at, None);
    drop(store);
    let store = bed.boot().await;
    done(&store, "a").await;
    bed.time.advance(Duration::from_secs(5));
    let replay = Replay { event: id, routes: routes(&["a", "b"]) };
    assert_eq!(store.replay(vec![replay]).await.unwrap(), 2);
    bed.crash();
    let store = bed.boot().await;
    let lease = store.lease_one("a").await;
    assert_eq!((&*lease.event, lease.attempt), (&sent, 1));
    assert_eq!(lease.replayed_at, Some(bed.time.now()));
    let shown = store.shown(id).await;
    let states: Vec<_> =
        shown.deliveries.iter().map(|d| (d.state, d.replayed_at.is_some())).collect();
    use DeliveryState::{Done, Due, Leased};
    assert_eq!(states, [(Done, false), (Leased, true), (Due, true)]);
    assert_eq!(shown.deliveries[0].attempts.len(), 2, "one was lost, one was done");
    assert!(store.append(new(event("push"), &["1"], &[])).await.unwrap().is_duplicate());
    assert_eq!(store.reader().counts().await.unwrap(), recount(&store.reader()).await);
}

#[tokio::test]
async fn an_event_that_nobody_wanted_is_wanted_now() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    let id = store.keep(new(event("push"), &[], &[])).await;
    let gone = event("push").id;
    let replays = [id, gone].map(|event| Replay { event, routes: routes(&["a"]) });
    assert_eq!(store.replay(replays.into()).await.unwrap(), 1, "one of them was never kept");
    assert_eq!(store.reader().counts().await.unwrap(), recount(&store.reader()).await);
    assert_eq!(store.reader().counts().await.unwrap().unrouted, 0);
    done(&store, "a").await;
}

#[tokio::test]
async fn a_replay_waits_for_its_order_key_behind_what_came_before_it() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    let first = store.keep(new(event("push"), &[], &["a:k"])).await;
    done(&store, "a").await;
    let second = store.keep(new(event("push"), &[], &["a:k"])).await;
    let third = store.keep(new(event("push"), &[], &["a:k"])).await;
    let replay = Replay { event: first, routes: routes(&["a:k"]) };
    assert_eq!(store.replay(vec![replay]).await.unwrap(), 1);
    let fourth = store.keep(new(event("push"), &[], &["a:k"])).await;
    let mut order = Vec::new();
    for _ in 0..4 {
        let leases = store.lease_up_to("a", 9).await;
        assert_eq!(leases.len(), 1);
        order.push(leases[0].event.id);
        let _ = store.end(&leases[0], Outcome::Done, Fate::Done).await;
    }
    assert_eq!(order, [second, third, first, fourth]);
}

#[tokio::test]
async fn a_replayed_event_is_found_by_its_new_plugin_and_key() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    let mut ids = Vec::new();
    for _ in 0..1100 {
        ids.push(store.keep(new(event("push"), &[], &["a"])).await);
    }
    // One of a block that is whole, and one of the block that is not.
    let which = [ids[5], ids[1099]];
    let replays = which.map(|event| Replay { event, routes: routes(&["b:k"]) });
    assert_eq!(store.replay(replays.into()).await.unwrap(), 2);
    let filters = [
        Filter { plugin: Some(plugin("b")), ..Filter::default() },
        Filter { order_key: Some(OrderKey::new("k")), ..Filter::default() },
    ];
    for filter in filters {
        let found = store.reader().search_ids(&filter, None, 9).await.unwrap().found;
        assert_eq!(found, [which[1], which[0]], "{filter:?}");
    }
}

#[tokio::test]
async fn no_event_gets_more_deliveries_than_it_can_have() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    let id = store.keep(new(event("push"), &[], &["a"])).await;
    let many = |count| vec![Replay { event: id, routes: vec![routes(&["b"])[0].clone(); count] }];
    store.replay(many(1023)).await.unwrap_err();
    assert_eq!(store.reader().counts().await.unwrap().due, 1);
    assert_eq!(store.replay(many(1022)).await.unwrap(), 1022);
    store.replay(many(1)).await.unwrap_err();
}
