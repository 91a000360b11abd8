//! Deliveries with an order key: strictly one after another, whatever becomes of them.

use std::time::Duration;

use hookweir_event::{EventId, Fate, OrderKey, Outcome};
use hookweir_store::{DeliveryState, Lease, Mend, Settled, Settlement, Store};

use crate::conformance::support::{Bed, Verbs, attempt, event, new, output, plugin, recount};

const DEAD: Fate = Fate::Dead { blocks: true };

async fn keep(store: &Store, route: &str) -> EventId {
    store.keep(new(event("push"), &[], &[route])).await
}

/// What can be leased now, all of it.
async fn leased(store: &Store) -> Vec<Lease> {
    store.lease_up_to("a", 99).await
}

fn ids(leases: &[Lease]) -> Vec<EventId> {
    leases.iter().map(|lease| lease.event.id).collect()
}

async fn done(store: &Store, lease: &Lease) {
    assert_eq!(store.end(lease, Outcome::Done, Fate::Done).await, Settled::Committed);
}

#[tokio::test]
async fn one_key_runs_one_after_another_and_other_keys_go_on() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    let first = keep(&store, "a:k").await;
    let second = keep(&store, "a:k").await;
    let other = keep(&store, "a:j").await;
    let free = keep(&store, "a").await;
    let third = keep(&store, "a:k").await;
    let leases = leased(&store).await;
    assert_eq!(ids(&leases), [first, other, free]);
    assert_eq!(leases[0].order_key.as_ref().map(OrderKey::as_str), Some("k"));
    assert_eq!(leases[2].order_key, None);
    assert_eq!(store.shown(second).await.deliveries[0].state, DeliveryState::Behind);

    done(&store, &leases[1]).await;
    assert!(leased(&store).await.is_empty(), "another key's end changes nothing");
    done(&store, &leases[0]).await;
    let next = leased(&store).await;
    assert_eq!(ids(&next), [second]);
    done(&store, &next[0]).await;
    assert_eq!(ids(&leased(&store).await), [third]);
    assert_eq!(store.reader().counts().await.unwrap(), recount(&store.reader()).await);
}

#[tokio::test]
async fn the_same_key_of_another_plugin_is_another_line() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    let both = store.keep(new(event("push"), &[], &["a:k", "b:k"])).await;
    assert_eq!(ids(&leased(&store).await), [both]);
    assert_eq!(ids(&store.lease_up_to("b", 9).await), [both]);
}

#[tokio::test]
async fn a_retry_holds_its_line_up() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    let first = keep(&store, "a:k").await;
    keep(&store, "a:k").await;
    let lease = store.lease_one("a").await;
    let fate = Fate::Due { after: Duration::from_secs(60) };
    let _ = store.end(&lease, Outcome::Retry, fate).await;
    assert!(leased(&store).await.is_empty());
    bed.time.advance(Duration::from_secs(60));
    assert_eq!(ids(&leased(&store).await), [first]);
}

#[tokio::test]
async fn a_lease_given_back_or_lost_holds_its_line_up() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    let first = keep(&store, "a:k").await;
    keep(&store, "a:k").await;
    let lease = store.lease_one("a").await;
    store.give_back(vec![lease.key], Duration::ZERO).await.unwrap();
    assert_eq!(ids(&leased(&store).await), [first]);
    bed.crash();
    let store = bed.boot().await;
    assert_eq!(ids(&leased(&store).await), [first]);
}

#[tokio::test]
async fn after_a_reject_the_key_goes_on() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    keep(&store, "a:k").await;
    let second = keep(&store, "a:k").await;
    let lease = store.lease_one("a").await;
    let _ = store.end(&lease, Outcome::Reject, Fate::Dead { blocks: false }).await;
    assert_eq!(ids(&leased(&store).await), [second]);
}

/// A line whose first is dead: the dead one, the next, and a lease of neither.
async fn blocked(store: &Store) -> [EventId; 2] {
    let first = keep(store, "a:k").await;
    let second = keep(store, "a:k").await;
    let lease = store.lease_one("a").await;
    let _ = store.end(&lease, Outcome::Trap, DEAD).await;
    assert!(leased(store).await.is_empty());
    [first, second]
}

#[tokio::test]
async fn a_blocked_key_is_seen_over_a_restart_too() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    let [first, second] = blocked(&store).await;
    keep(&store, "a:k").await;
    drop(store);
    let store = bed.boot().await;
    let seen = store.reader().blocked(Some(&plugin("a")), 9).await.unwrap();
    let [blocked] = &seen[..] else { panic!("{seen:?}") };
    assert_eq!((blocked.by.event, blocked.order_key.as_str(), blocked.waiting), (first, "k", 2));
    assert!(store.shown(first).await.deliveries[0].blocks);
    assert_eq!(store.shown(second).await.deliveries[0].state, DeliveryState::Behind);
    assert!(store.reader().blocked(Some(&plugin("b")), 9).await.unwrap().is_empty());
    assert!(leased(&store).await.is_empty());
}

#[tokio::test]
async fn the_operator_skips() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    let [first, second] = blocked(&store).await;
    let dead = store.shown(first).await.deliveries[0].id;
    assert_eq!(store.mend(vec![dead], Mend::Skip).await.unwrap(), 1);
    assert_eq!(store.mend(vec![dead], Mend::Skip).await.unwrap(), 0, "it is in nobody's way");
    assert_eq!(ids(&leased(&store).await), [second]);
    assert_eq!(store.shown(first).await.deliveries[0].state, DeliveryState::Dead);
    // Retried after all, it waits for the one that runs.
    assert_eq!(store.mend(vec![dead], Mend::Retry).await.unwrap(), 1);
    assert_eq!(store.shown(first).await.deliveries[0].state, DeliveryState::Behind);
    assert!(leased(&store).await.is_empty());
}

#[tokio::test]
async fn the_operator_retries_with_all_attempts_before_it() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    let [first, second] = blocked(&store).await;
    let dead = store.shown(first).await.deliveries[0].id;
    assert_eq!(store.mend(vec![dead, dead], Mend::Retry).await.unwrap(), 1);
    let again = leased(&store).await;
    assert_eq!(ids(&again), [first]);
    assert_eq!((again[0].attempt, again[0].excused), (2, 1));
    done(&store, &again[0]).await;
    assert_eq!(ids(&leased(&store).await), [second]);
    assert_eq!(store.reader().counts().await.unwrap(), recount(&store.reader()).await);
}

#[tokio::test]
async fn what_was_lost_too_often_blocks() {
    let mut bed = Bed::new();
    let mut store = bed.boot().await;
    let first = keep(&store, "a:k").await;
    keep(&store, "a:k").await;
    for _ in 0..3 {
        assert_eq!(ids(&leased(&store).await), [first]);
        bed.crash();
        store = bed.boot().await;
    }
    assert!(leased(&store).await.is_empty());
    assert_eq!(store.unblock(plugin("a")).await.unwrap(), 1);
    assert_eq!(leased(&store).await.len(), 1);
}

#[tokio::test]
async fn outputs_stand_in_line_as_webhooks_do() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    let first = keep(&store, "b:k").await;
    keep(&store, "a").await;
    let lease = store.lease_one("a").await;
    let made = output("built", &["b:k"]);
    let id = made.event.id;
    assert_eq!(store.end_with(&lease, vec![made]).await, Settled::Committed);
    let leases = store.lease_up_to("b", 9).await;
    assert_eq!(ids(&leases), [first]);
    done(&store, &leases[0]).await;
    assert_eq!(ids(&store.lease_up_to("b", 9).await), [id]);
}

#[tokio::test]
async fn a_settlement_that_fails_leaves_the_line_as_it_was() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    keep(&store, "a:k").await;
    let second = keep(&store, "a:k").await;
    let lease = store.lease_one("a").await;
    let mut bad = output("built", &["b"]);
    bad.routes = vec![bad.routes[0].clone(); 1024];
    let settlement = Settlement {
        key: lease.key.clone(),
        attempt: attempt(Outcome::Done),
        fate: Fate::Done,
        outputs: vec![bad],
        state: vec![],
        exchanges: None,
    };
    store.settle(settlement).await.unwrap_err();
    assert_eq!(store.shown(second).await.deliveries[0].state, DeliveryState::Behind);
    done(&store, &lease).await;
    assert_eq!(ids(&leased(&store).await), [second]);
}
