//! Leasing, settling and giving back.

use std::time::Duration;

use hookweir_event::{EventId, Fate, Hops, Outcome};
use hookweir_store::{DeliveryState, Lease, Settled, Settlement, Store, Want};

use crate::conformance::support::{
    Bed, START, Verbs, attempt, event, new, output, plugin, recount,
};

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_lease_carries_the_event_and_is_handed_out_once() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    let sent = event("push");
    store.keep(new(sent.clone(), &[], &["a"])).await;
    let lease = store.lease_one("a").await;
    assert_eq!(*lease.event, sent);
    assert_eq!((lease.attempt, lease.lost_leases), (1, 0));
    assert_eq!(lease.plugin, plugin("a"));
    assert!(store.lease_up_to("a", 9).await.is_empty());
    assert!(store.lease_up_to("b", 9).await.is_empty(), "a plugin nothing was ever routed to");
    assert_eq!(store.shown(sent.id).await.deliveries[0].state, DeliveryState::Leased);
}

#[tokio::test]
async fn the_longest_due_comes_first_and_max_is_kept() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(store.keep(new(event("push"), &[], &["a", "b"])).await);
    }
    let first: Vec<_> = store.lease_up_to("a", 2).await.iter().map(|l| l.event.id).collect();
    let rest: Vec<_> = store.lease_up_to("a", 9).await.iter().map(|l| l.event.id).collect();
    assert_eq!(first, ids[..2]);
    assert_eq!(rest, ids[2..]);
    let wants = vec![Want { plugin: plugin("b"), max: 3 }, Want { plugin: plugin("a"), max: 3 }];
    assert_eq!(store.lease(wants).await.unwrap().leases.len(), 3);
}

#[tokio::test]
async fn an_attempt_is_kept_with_all_its_parts() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    let id = store.keep(new(event("push"), &[], &["a"])).await;
    let lease = store.lease_one("a").await;
    bed.time.advance(MINUTE);
    assert_eq!(
        store.end(&lease, Outcome::Reject, Fate::Dead { blocks: true }).await,
        Settled::Committed
    );

    let delivery = &store.shown(id).await.deliveries[0];
    assert_eq!(delivery.state, DeliveryState::Dead);
    assert_eq!(delivery.settled_at, Some(START + MINUTE));
    let [ended] = &delivery.attempts[..] else { panic!("{delivery:?}") };
    assert_eq!((ended.number, ended.started_at), (1, START));
    assert_eq!(ended.attempt, attempt(Outcome::Reject));
}

#[tokio::test]
async fn a_retry_is_due_when_its_wait_is_over_and_survives_a_restart() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    let id = store.keep(new(event("push"), &[], &["a"])).await;
    let lease = store.lease_one("a").await;
    let mut wakeups = store.wakeups();
    wakeups.mark_unchanged();
    let _ = store.end(&lease, Outcome::Retry, Fate::Due { after: MINUTE }).await;
    wakeups.changed().await.expect("the dispatcher must learn of the new due time");

    let wants = || vec![Want { plugin: plugin("a"), max: 1 }];
    let leased = store.lease(wants()).await.unwrap();
    assert!(leased.leases.is_empty());
    assert_eq!(leased.next_due, Some(MINUTE));

    store.close().await.unwrap();
    let store = bed.boot().await;
    bed.time.advance(MINUTE - Duration::from_millis(1));
    let leased = store.lease(wants()).await.unwrap();
    assert_eq!((leased.leases.len(), leased.next_due), (0, Some(Duration::from_millis(1))));
    bed.time.advance(Duration::from_millis(1));
    let lease = store.lease_one("a").await;
    assert_eq!((lease.attempt, lease.lost_leases), (2, 0));
    let _ = store.end(&lease, Outcome::Done, Fate::Done).await;
    let numbers: Vec<_> =
        store.shown(id).await.deliveries[0].attempts.iter().map(|a| a.number).collect();
    assert_eq!(numbers, [1, 2]);
}

#[tokio::test]
async fn outputs_are_kept_with_the_settlement() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    let first = store.keep(new(event("push"), &[], &["a"])).await;
    let lease = store.lease_one("a").await;
    let (one, two) = (output("built", &["b"]), output("noted", &[]));
    let (one_id, two_id) = (one.event.id, two.event.id);
    assert_eq!(store.end_with(&lease, vec![one, two]).await, Settled::Committed);

    let shown = store.shown(one_id).await.event;
    assert_eq!((shown.parent, shown.root, shown.hops), (Some(first), Some(first), Hops(1)));
    assert!(store.shown(two_id).await.deliveries.is_empty());

    let lease = store.lease_one("b").await;
    assert_eq!(lease.event.hops, Hops(1));
    let next = output("deployed", &["a"]);
    let next_id = next.event.id;
    let _ = store.end_with(&lease, vec![next]).await;
    let shown = store.shown(next_id).await.event;
    assert_eq!((shown.parent, shown.root, shown.hops), (Some(one_id), Some(first), Hops(2)));
    let counts = store.reader().counts().await.unwrap();
    assert_eq!((counts.events, counts.outputs, counts.unrouted), (4, 3, 1));
    assert_eq!(counts, recount(&store.reader()).await);
}

/// Settles with two outputs, the second of which can't be kept.
async fn fail_to_settle(store: &Store, lease: &Lease) {
    let mut bad = output("built", &["b"]);
    bad.routes = vec![bad.routes[0].clone(); 1024];
    let settlement = Settlement {
        key: lease.key.clone(),
        attempt: attempt(Outcome::Done),
        fate: Fate::Done,
        outputs: vec![output("fine", &["b"]), bad],
        state: vec![],
        exchanges: None,
    };
    assert!(store.settle(settlement).await.is_err());
}

#[tokio::test]
async fn a_settlement_fails_whole_when_an_output_can_not_be_kept() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    let id = store.keep(new(event("push"), &[], &["a"])).await;
    let lease = store.lease_one("a").await;
    fail_to_settle(&store, &lease).await;
    assert_eq!(store.reader().counts().await.unwrap().events, 1);
    assert_eq!(store.shown(id).await.deliveries[0].state, DeliveryState::Leased);
    // The lease is held still.
    assert_eq!(store.end(&lease, Outcome::Done, Fate::Done).await, Settled::Committed);
    assert_eq!(store.reader().counts().await.unwrap(), recount(&store.reader()).await);
}

#[tokio::test]
async fn beyond_the_hop_limit_outputs_are_kept_but_dead() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    let mut far = event("push");
    far.hops = Hops::LIMIT;
    store.keep(new(far, &[], &["a"])).await;
    let lease = store.lease_one("a").await;
    let ninth = output("again", &["a", "b"]);
    let id = ninth.event.id;
    let _ = store.end_with(&lease, vec![ninth]).await;
    let shown = store.shown(id).await;
    assert_eq!(shown.event.hops, Hops::LIMIT.next());
    for delivery in &shown.deliveries {
        assert_eq!(delivery.state, DeliveryState::Dead);
        assert_eq!(delivery.attempts[0].attempt.outcome, Outcome::HopLimit);
    }
    assert!(store.lease_up_to("a", 9).await.is_empty());
    assert_eq!(store.reader().counts().await.unwrap(), recount(&store.reader()).await);
}

#[tokio::test]
async fn a_settled_lease_settles_nothing_more() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    store.keep(new(event("push"), &[], &["a"])).await;
    let lease = store.lease_one("a").await;
    let _ = store.end(&lease, Outcome::Done, Fate::Done).await;
    let again = store.end_with(&lease, vec![output("late", &["b"])]).await;
    assert_eq!(again, Settled::LeaseLost);
    assert_eq!(store.reader().counts().await.unwrap().outputs, 0);
}

#[tokio::test]
async fn giving_back_counts_no_attempt_and_the_old_key_is_void() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    store.keep(new(event("push"), &[], &["a"])).await;
    let old = store.lease_one("a").await;
    store.give_back(vec![old.key.clone()], Duration::ZERO).await.unwrap();
    let lease = store.lease_one("a").await;
    assert_eq!((lease.attempt, lease.lost_leases), (1, 0));
    assert_eq!(store.end(&old, Outcome::Done, Fate::Done).await, Settled::LeaseLost);
    store.give_back(vec![old.key], Duration::ZERO).await.unwrap();
    assert!(store.lease_up_to("a", 1).await.is_empty(), "a void key gives nothing back");
    store.give_back(vec![lease.key], MINUTE).await.unwrap();
    assert!(store.lease_up_to("a", 1).await.is_empty());
    bed.time.advance(MINUTE);
    assert_eq!(store.lease_one("a").await.attempt, 1);
}

#[tokio::test]
async fn a_lease_outlives_its_store_but_not_its_boot() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    store.keep(new(event("push"), &[], &["a"])).await;
    let lease = store.lease_one("a").await;
    drop(store);
    // The same boot opens the store again: its leases are its own.
    let store = Store::open(bed.options()).await.unwrap();
    bed.time.advance(MINUTE * 60 * 24 * 365);
    assert!(store.lease_up_to("a", 1).await.is_empty(), "no lease expires by the clock");
    assert_eq!(store.end(&lease, Outcome::Done, Fate::Done).await, Settled::Committed);
}

#[tokio::test]
async fn three_lost_leases_are_death() {
    let mut bed = Bed::new();
    let mut store = bed.boot().await;
    let id = store.keep(new(event("push"), &[], &["a"])).await;
    let mut lost = None;
    for lost_leases in 0..3 {
        let lease = store.lease_one("a").await;
        assert_eq!((lease.attempt, lease.lost_leases), (lost_leases + 1, lost_leases));
        bed.crash();
        store = bed.boot().await;
        lost = Some(lease);
    }
    assert!(store.lease_up_to("a", 1).await.is_empty());
    let late = store.end(&lost.unwrap(), Outcome::Done, Fate::Done).await;
    assert_eq!(late, Settled::LeaseLost);
    let delivery = &store.shown(id).await.deliveries[0];
    assert_eq!((delivery.state, delivery.lost_leases), (DeliveryState::Dead, 3));
    assert_eq!(delivery.attempts.len(), 3);
    assert!(delivery.attempts.iter().all(|ended| ended.attempt.outcome == Outcome::Lost));
    assert_eq!(store.reader().counts().await.unwrap(), recount(&store.reader()).await);
}

#[tokio::test]
async fn each_commit_that_makes_work_due_wakes() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    let mut wakeups = store.wakeups();
    store.keep(new(event("push"), &[], &[])).await;
    // The answer comes before the wake-up, so this one would have come before the next answer.
    store.keep(new(event("push"), &[], &[])).await;
    assert!(!wakeups.has_changed().unwrap(), "an unrouted event is no work");
    store.keep(new(event("push"), &[], &["a"])).await;
    wakeups.changed().await.unwrap();
    let lease = store.lease_one("a").await;
    let _ = store.end_with(&lease, vec![output("built", &["b"])]).await;
    wakeups.changed().await.unwrap();
}

/// Of one commit, which leaves all totals as they were: a delivery that is due again, and one that is leased.
#[tokio::test]
async fn a_lease_beside_a_retry_in_one_commit_is_known_after_a_crash() {
    for _ in 0..20 {
        let mut bed = Bed::new();
        let store = bed.boot().await;
        let again = store.keep(new(event("push"), &[], &["a"])).await;
        let lease = store.lease_one("a").await;
        let next = store.keep(new(event("push"), &[], &["b"])).await;
        // Both are queued before the writer can take one.
        let fate = Fate::Due { after: Duration::ZERO };
        let (ended, leases) =
            tokio::join!(store.end(&lease, Outcome::Retry, fate), store.lease_up_to("b", 1));
        assert_eq!((ended, leases.len()), (Settled::Committed, 1));
        bed.crash();
        let store = bed.boot().await;
        let stands = async |id| {
            let delivery = &store.shown(id).await.deliveries[0];
            (delivery.state, delivery.lost_leases, delivery.attempts.len())
        };
        assert_eq!(stands(again).await, (DeliveryState::Due, 0, 1));
        assert_eq!(stands(next).await, (DeliveryState::Due, 1, 1), "its lease was on disk");
        assert_eq!(store.reader().counts().await.unwrap(), recount(&store.reader()).await);
    }
}

/// More are due than are known by heart, of several plugins, over restarts and beside new ones.
#[tokio::test]
async fn a_long_backlog_is_leased_in_its_order_over_a_restart() {
    let mut bed = Bed::new();
    let mut store = bed.boot().await;
    let mut appends = tokio::task::JoinSet::new();
    for sender in 0..200 {
        let store = store.clone();
        appends.spawn(async move {
            for nth in 0..100 {
                let to = if nth == sender % 100 { &["rare", "often"][..] } else { &["often"] };
                store.keep(new(event("push"), &[], to)).await;
            }
        });
    }
    appends.join_all().await;
    let (all, rare) = listed(&store).await;
    assert_eq!((all.len(), rare.len()), (20_000, 200));
    let mut leased = [Vec::new(), Vec::new()];
    for round in 0..60 {
        if round % 20 == 7 {
            bed.crash();
            store = bed.boot().await;
        }
        for (name, leased) in ["often", "rare"].into_iter().zip(&mut leased) {
            let mut ends = tokio::task::JoinSet::new();
            for lease in store.lease_up_to(name, 500).await {
                leased.push(lease.event.id);
                let store = store.clone();
                ends.spawn(async move { store.end(&lease, Outcome::Done, Fate::Done).await });
            }
            assert!(ends.join_all().await.iter().all(|ended| *ended == Settled::Committed));
        }
    }
    assert_eq!(leased, [all, rare]);
    assert_eq!(store.reader().counts().await.unwrap(), recount(&store.reader()).await);
}

/// All events in the order of their commits, and those that have two deliveries.
async fn listed(store: &Store) -> (Vec<EventId>, Vec<EventId>) {
    let (mut all, mut rare) = (Vec::new(), Vec::new());
    loop {
        let page = store.reader().events(all.last().copied(), 1000).await.unwrap();
        if page.is_empty() {
            return (all, rare);
        }
        all.extend(page.iter().map(|shown| shown.event.id));
        let both = page.iter().filter(|shown| shown.deliveries.len() == 2);
        rare.extend(both.map(|shown| shown.event.id));
    }
}

/// A block of events becomes whole by an operation that fails.
#[tokio::test]
async fn an_operation_that_fails_at_the_end_of_a_block_loses_no_delivery() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    store.keep(new(event("push"), &[], &["a"])).await;
    let lease = store.lease_one("a").await;
    for _ in 0..1021 {
        store.keep(new(event("push"), &[], &["b"])).await;
    }
    // The keys of the outputs are the last one of a block and the first one of the next.
    fail_to_settle(&store, &lease).await;
    for _ in 0..1100 {
        store.keep(new(event("push"), &[], &["b"])).await;
    }
    bed.crash();
    let store = bed.boot().await;
    let mut leased = 0;
    loop {
        match store.lease_up_to("b", 500).await.len() {
            0 => break,
            some => leased += some,
        }
    }
    assert_eq!(leased, 1021 + 1100);
    let filter = hookweir_store::Filter { plugin: Some(plugin("b")), ..Default::default() };
    assert_eq!(store.reader().count(&filter).await.unwrap(), 1021 + 1100);
}

/// More are leased at once than are kept without a row.
#[tokio::test]
async fn leases_without_number_are_settled_given_back_and_lost_alike() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    let mut appends = tokio::task::JoinSet::new();
    for _ in 0..3000 {
        let store = store.clone();
        appends.spawn(async move { store.keep(new(event("push"), &[], &["a"])).await });
    }
    appends.join_all().await;
    let leases = store.lease_up_to("a", 3000).await;
    assert_eq!((leases.len(), store.reader().counts().await.unwrap().leased), (3000, 3000));
    assert!(store.lease_up_to("a", 1).await.is_empty());
    // One of each kind: the first were leased without a row, the last with one.
    for at in [0, 2999] {
        let again = &leases[at];
        assert_eq!(store.end(again, Outcome::Done, Fate::Done).await, Settled::Committed);
        assert_eq!(store.end(again, Outcome::Done, Fate::Done).await, Settled::LeaseLost);
    }
    let back = [1, 2998].map(|at| leases[at].key.clone());
    store.give_back(back.into(), MINUTE).await.unwrap();
    assert_eq!(store.reader().counts().await.unwrap(), recount(&store.reader()).await);
    bed.crash();
    let store = bed.boot().await;
    let counts = store.reader().counts().await.unwrap();
    assert_eq!((counts.done, counts.due, counts.leased), (2, 2998, 0));
    assert_eq!(counts, recount(&store.reader()).await);
    let again = store.lease_up_to("a", 3000).await;
    let lost = again.iter().filter(|lease| lease.lost_leases == 1).count();
    assert_eq!((again.len(), lost), (2996, 2996), "those given back are due in a minute");
}
