//! A source that is held: its events are kept as ever, and nothing that is due of them is leased until it goes on.

use std::time::Duration;

use hookweir_event::{EventId, Fate, Outcome, SourceName};
use hookweir_store::{
    DeliveryState, Filter, Mend, NewEvent, Pausable, Queue, Replay, Route, Settled, Standpoint,
    Store,
};

use crate::conformance::support::{Bed, START, Verbs, event, new, output, plugin, recount};

const MINUTE: Duration = Duration::from_secs(60);

fn github() -> Pausable {
    Pausable::Held("github".parse().unwrap())
}

/// An event of a source that nobody holds.
fn of_shop(to: &[&str]) -> NewEvent {
    let mut event = event("sold");
    event.origin = "shop".parse().unwrap();
    new(event, &[], to)
}

async fn hold(store: &Store) {
    store.pause(github(), "anna".to_owned(), Some("a deploy".to_owned())).await.unwrap();
}

async fn queue(bed: &Bed, store: &Store, name: &str) -> Queue {
    let queues = store.reader().queues(bed.time.now()).await.unwrap();
    queues.into_iter().find(|queue| queue.plugin == plugin(name)).unwrap()
}

async fn state(store: &Store, id: EventId) -> DeliveryState {
    store.shown(id).await.deliveries[0].state
}

/// All that can be leased, in order.
async fn drain(store: &Store, name: &str, at_once: usize) -> Vec<EventId> {
    let mut all = Vec::new();
    loop {
        let leases = store.lease_up_to(name, at_once).await;
        if leases.is_empty() {
            return all;
        }
        for lease in &leases {
            assert_eq!(store.end(lease, Outcome::Done, Fate::Done).await, Settled::Committed);
        }
        all.extend(leases.iter().map(|lease| lease.event.id));
    }
}

#[tokio::test]
async fn what_is_held_is_kept_and_waits_over_a_restart_while_others_go_on() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    let before = store.keep(new(event("push"), &["1"], &["a"])).await;
    hold(&store).await;
    let after = store.keep(new(event("push"), &["2"], &["a"])).await;
    assert!(store.append(new(event("push"), &["2"], &["a"])).await.unwrap().is_duplicate());
    let other = store.keep(of_shop(&["a"])).await;
    assert_eq!(drain(&store, "a", 9).await, [other]);
    for boot in 0..2 {
        assert_eq!(state(&store, before).await, DeliveryState::Held, "boot {boot}");
        let queue = queue(&bed, &store, "a").await;
        assert_eq!((queue.due, queue.held, queue.oldest_due_at), (0, 2, None));
        assert_eq!(store.reader().counts().await.unwrap(), recount(&store.reader()).await);
        let held =
            Filter { state: Some(Standpoint::Delivery(DeliveryState::Held)), ..Filter::default() };
        let found = store.reader().search_ids(&held, None, 9).await.unwrap().found;
        assert_eq!(found, [after, before]);
        if boot == 0 {
            bed.crash();
        }
    }
    let store = bed.boot().await;
    assert!(store.lease_up_to("a", 9).await.is_empty(), "it is held still");
    bed.time.advance(MINUTE);
    let mut wakeups = store.wakeups();
    wakeups.mark_unchanged();
    assert!(store.resume([github()]).await.unwrap());
    // Whoever leases is told.
    wakeups.changed().await.unwrap();
    let queue = queue(&bed, &store, "a").await;
    assert_eq!((queue.due, queue.held), (2, 0));
    assert_eq!(queue.oldest_due_at, Some(START + MINUTE), "since it went on");
    assert_eq!(state(&store, before).await, DeliveryState::Due);
    assert_eq!(drain(&store, "a", 1).await, [before, after]);
    assert!(!store.resume([github()]).await.unwrap());
}

#[tokio::test]
async fn what_was_held_goes_on_in_commit_order_before_what_comes_later() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    hold(&store).await;
    let mut sent = Vec::new();
    // More than one lease sets aside.
    for nth in 0..700 {
        if nth % 100 == 0 {
            bed.time.advance(Duration::from_millis(1));
        }
        sent.push(store.keep(new(event("push"), &[], &["a"])).await);
    }
    while queue(&bed, &store, "a").await.due > 0 {
        assert!(store.lease_up_to("a", 3).await.is_empty());
    }
    bed.time.advance(MINUTE);
    store.resume([github()]).await.unwrap();
    bed.time.advance(MINUTE);
    for _ in 0..10 {
        sent.push(store.keep(new(event("push"), &[], &["a"])).await);
    }
    // Held again in the middle of it, nothing is lost or comes twice.
    let mut went = Vec::new();
    for lease in store.lease_up_to("a", 7).await {
        let _ = store.end(&lease, Outcome::Done, Fate::Done).await;
        went.push(lease.event.id);
    }
    hold(&store).await;
    assert!(store.lease_up_to("a", 7).await.is_empty());
    drop(store);
    let store = bed.boot().await;
    store.resume([github()]).await.unwrap();
    went.extend(drain(&store, "a", 64).await);
    assert!(went == sent, "in another order");
    let counts = store.reader().counts().await.unwrap();
    assert_eq!((counts.due, counts.done), (0, 710));
}

#[tokio::test]
async fn what_a_plugin_never_came_upon_does_not_overtake_what_was_set_aside() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    hold(&store).await;
    let mut sent = Vec::new();
    for nth in 0..6 {
        sent.push(store.keep(new(event("push"), &[], &["a"])).await);
        if nth == 2 {
            assert!(store.lease_up_to("a", 9).await.is_empty());
        }
        bed.time.advance(MINUTE);
    }
    // The plugin leased nothing since, so that the later ones are due since they came.
    let waiting = queue(&bed, &store, "a").await;
    assert_eq!((waiting.due, waiting.held), (3, 3));
    store.resume([github()]).await.unwrap();
    bed.time.advance(MINUTE);
    let first = store.lease_one("a").await;
    assert_eq!((first.event.id, first.waited), (sent[0], MINUTE), "counted since it went on");
    let _ = store.end(&first, Outcome::Done, Fate::Done).await;
    assert_eq!(store.reader().counts().await.unwrap(), recount(&store.reader()).await);
    assert_eq!(drain(&store, "a", 2).await, sent[1..]);
}

#[tokio::test]
async fn order_keys_retries_replays_and_outputs_under_a_hold() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    let retried = store.keep(new(event("push"), &[], &["b"])).await;
    let lease = store.lease_one("b").await;
    let running = store.keep(new(event("push"), &[], &["c"])).await;
    let run = store.lease_one("c").await;
    hold(&store).await;
    let first = store.keep(new(event("push"), &[], &["a:k"])).await;
    // It is of another source, and behind one that is held.
    let second = store.keep(of_shop(&["a:k"])).await;
    let free = store.keep(of_shop(&["a:j"])).await;
    assert_eq!(drain(&store, "a", 9).await, [free]);
    assert_eq!(state(&store, second).await, DeliveryState::Behind);
    // An attempt that runs ends as it would; what is tried again is held, what it made is not.
    let _ = store.end(&lease, Outcome::Retry, Fate::Due { after: MINUTE }).await;
    let made = output("made", &["d"]);
    let made_id = made.event.id;
    assert_eq!(store.end_with(&run, vec![made]).await, Settled::Committed);
    assert_eq!(state(&store, running).await, DeliveryState::Done);
    assert_eq!(drain(&store, "d", 9).await, [made_id]);
    bed.time.advance(MINUTE);
    assert!(store.lease_up_to("b", 9).await.is_empty());
    assert_eq!(state(&store, retried).await, DeliveryState::Held);
    let replay = Replay { event: running, routes: vec![Route::to(plugin("c"))] };
    store.replay(vec![replay]).await.unwrap();
    assert!(store.lease_up_to("c", 9).await.is_empty());
    assert_eq!(store.reader().counts().await.unwrap(), recount(&store.reader()).await);
    store.resume([github()]).await.unwrap();
    assert_eq!(drain(&store, "a", 9).await, [first, second]);
    assert_eq!(drain(&store, "b", 9).await, [retried]);
    assert_eq!(drain(&store, "c", 9).await, [running]);
    // A dead letter that is retried under a hold waits too.
    let dead = store.keep(new(event("push"), &[], &["a"])).await;
    let lease = store.lease_one("a").await;
    let _ = store.end(&lease, Outcome::Reject, Fate::Dead { blocks: true }).await;
    hold(&store).await;
    let id = store.shown(dead).await.deliveries[0].id;
    assert_eq!(store.mend(vec![id], Mend::Retry).await.unwrap(), 1);
    assert!(store.lease_up_to("a", 9).await.is_empty());
    assert_eq!(state(&store, dead).await, DeliveryState::Held);
}

#[tokio::test]
async fn a_source_without_events_can_be_held_and_let_go() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    let name: SourceName = "new".parse().unwrap();
    store.pause(Pausable::Held(name.clone()), "anna".to_owned(), None).await.unwrap();
    let mut event = event("push");
    event.origin = "new".parse().unwrap();
    let id = store.keep(new(event, &[], &["a"])).await;
    assert!(store.lease_up_to("a", 1).await.is_empty());
    assert!(store.resume([Pausable::Held(name)]).await.unwrap());
    assert_eq!(drain(&store, "a", 1).await, [id]);
}
