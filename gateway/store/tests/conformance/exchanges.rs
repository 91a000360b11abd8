//! What an attempt sent is kept with it: in the settlement or not at all, and for as long as the attempt.

use std::time::Duration;

use hookweir_event::{Exchanges, Fate, Outcome, StateChange};
use hookweir_store::{DeliveryId, ExchangeCounts, Lease, Mend, Settled, Settlement, Store};

use crate::conformance::{
    Hidden,
    support::{Bed, Verbs, attempt, event, exchange, new, noise, output},
};

const DAY: Duration = Duration::from_secs(24 * 3600);
const AGAIN: Fate = Fate::Due { after: Duration::ZERO };

fn sent(numbers: &[usize], left_out: u32) -> Exchanges {
    Exchanges { kept: numbers.iter().map(|number| exchange(*number)).collect(), left_out }
}

fn settlement(lease: &Lease, fate: Fate, exchanges: Option<Exchanges>) -> Settlement {
    let (key, outputs, state) = (lease.key.clone(), vec![], vec![]);
    Settlement { key, attempt: attempt(Outcome::Retry), fate, outputs, state, exchanges }
}

async fn settle(store: &Store, fate: Fate, exchanges: Option<Exchanges>) -> DeliveryId {
    let lease = store.lease_one("a").await;
    let settled = store.settle(settlement(&lease, fate, exchanges)).await.unwrap();
    assert_eq!(settled, Settled::Committed);
    DeliveryId { event: lease.event.id, ordinal: 0 }
}

async fn kept(store: &Store, delivery: DeliveryId, attempt: u32) -> Option<Exchanges> {
    store.reader().exchanges(delivery, attempt).await.unwrap()
}

#[tokio::test]
async fn each_attempt_has_its_own_over_a_crash() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    let id = store.keep(new(event("push"), &[], &["a"])).await;
    let first = sent(&[1, 2], 3);
    let delivery = settle(&store, AGAIN, Some(first.clone())).await;
    settle(&store, AGAIN, None).await;
    settle(&store, Fate::Done, Some(Exchanges::default())).await;
    bed.crash();
    let store = bed.boot().await;
    assert_eq!(kept(&store, delivery, 1).await, Some(first));
    assert_eq!(kept(&store, delivery, 2).await, None, "that was not asked for");
    assert_eq!(kept(&store, delivery, 3).await, Some(Exchanges::default()), "it sent nothing");
    for (ordinal, attempt) in [(0, 4), (0, 0), (1, 1), (u16::MAX, 1), (0, u32::MAX)] {
        assert_eq!(kept(&store, DeliveryId { ordinal, ..delivery }, attempt).await, None);
    }
    let unknown = DeliveryId { event: event("push").id, ordinal: 0 };
    assert_eq!(kept(&store, unknown, 1).await, None);
    let counts: Vec<_> =
        store.shown(id).await.deliveries[0].attempts.iter().map(|made| made.exchanges).collect();
    let counted = |kept, left_out| Some(ExchangeCounts { kept, left_out });
    assert_eq!(counts, [counted(2, 3), None, counted(0, 0)]);
}

#[tokio::test]
async fn what_is_not_settled_leaves_none() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    store.keep(new(event("push"), &[], &["a"])).await;
    let lease = store.lease_one("a").await;
    let delivery = DeliveryId { event: lease.event.id, ordinal: 0 };
    // An output that can't be kept.
    let mut bad = output("built", &["b"]);
    bad.routes = vec![bad.routes[0].clone(); 1024];
    let failing = settlement(&lease, Fate::Done, Some(sent(&[1], 0)));
    store.settle(Settlement { outputs: vec![bad], ..failing }).await.unwrap_err();
    // State that is not as it was.
    let moved = StateChange {
        key: "k".to_owned(),
        based_on: hookweir_event::Basis::Version(7),
        change: hookweir_event::Change::Keep,
    };
    let stale = settlement(&lease, Fate::Done, Some(sent(&[1], 0)));
    let settled = store.settle(Settlement { state: vec![moved], ..stale }).await.unwrap();
    assert_eq!(settled, Settled::Conflict);
    // A lease that is not held any more.
    let late = settlement(&lease, Fate::Done, Some(sent(&[1], 0)));
    assert_eq!(store.settle(late).await.unwrap(), Settled::LeaseLost);
    assert_eq!(kept(&store, delivery, 1).await, None);
    // A process that died in the middle of it.
    store.lease_one("a").await;
    bed.crash();
    let store = bed.boot().await;
    assert_eq!(bed.ground.count(Hidden::Exchanges), 0);
    settle(&store, Fate::Done, Some(sent(&[2], 0))).await;
    assert_eq!(kept(&store, delivery, 1).await, None, "that one was lost");
    assert_eq!(kept(&store, delivery, 2).await, Some(sent(&[2], 0)));
}

#[tokio::test]
async fn they_go_with_their_event() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    store.keep(new(event("push"), &[], &["a"])).await;
    settle(&store, AGAIN, Some(sent(&[1], 0))).await;
    settle(&store, Fate::Done, Some(sent(&[2], 0))).await;
    store.keep(new(event("push"), &[], &["a"])).await;
    let dead = settle(&store, Fate::Dead { blocks: false }, Some(sent(&[3], 0))).await;
    assert_eq!(bed.ground.count(Hidden::Exchanges), 3);
    bed.time.advance(8 * DAY);
    store.lease_up_to("nobody", 1).await;
    assert_eq!(bed.ground.count(Hidden::Exchanges), 1);
    assert_eq!(kept(&store, dead, 1).await, Some(sent(&[3], 0)));
    bed.time.advance(23 * DAY);
    store.lease_up_to("nobody", 1).await;
    assert_eq!(bed.ground.count(Hidden::Exchanges), 0);
}

/// A request whose body takes a megabyte.
fn large() -> Exchanges {
    let mut exchange = exchange(1);
    exchange.body.bytes = noise(1 << 20);
    Exchanges { kept: vec![exchange], left_out: 0 }
}

#[tokio::test]
async fn the_size_that_is_kept_counts_them() {
    let mut bed = Bed::new();
    bed.retention.done.bytes = 5 << 19;
    bed.retention.dead.bytes = 5 << 19;
    let store = bed.boot().await;
    let (mut done, mut dead) = (Vec::new(), Vec::new());
    for _ in 0..4 {
        for (fate, ids) in [(Fate::Done, &mut done), (Fate::Dead { blocks: false }, &mut dead)] {
            store.keep(new(event("push"), &[], &["a"])).await;
            ids.push(settle(&store, fate, Some(large())).await);
        }
        bed.time.advance(Duration::from_secs(10));
    }
    let steps = async || {
        for _ in 0..3 {
            bed.time.advance(Duration::from_secs(10));
            store.lease_up_to("nobody", 1).await;
        }
    };
    let there = async |ids: &[DeliveryId]| {
        let mut there = Vec::new();
        for id in ids {
            there.push(kept(&store, *id, 1).await.is_some());
        }
        there
    };
    steps().await;
    assert_eq!(there(&done).await, [false, false, true, true]);
    assert_eq!(there(&dead).await, [false, false, true, true]);
    // One that is tried again counts as what it is then: there is too much that is done.
    assert_eq!(store.mend(vec![dead[3]], Mend::Retry).await.unwrap(), 1);
    settle(&store, Fate::Done, Some(Exchanges::default())).await;
    steps().await;
    assert_eq!(there(&done).await, [false, false, false, true]);
    assert_eq!(there(&dead).await, [false, false, true, true]);
}
