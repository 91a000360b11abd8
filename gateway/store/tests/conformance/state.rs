//! A plugin's state: changed with the settlement or not at all, and only if it is what was relied on.

use std::time::Duration;

use hookweir_event::{Basis, Change, Fate, Lasts, Outcome, StateChange, StateKey};
use hookweir_store::{DeliveryState, Lease, Settled, Settlement, Store, Written};

use crate::conformance::support::{Bed, Verbs, attempt, event, new, output, plugin};

fn set(key: &str, based_on: Basis, value: &str) -> StateChange {
    let change = Change::Set { value: value.into(), lasts: Lasts::ForEver };
    StateChange { key: key.into(), based_on, change }
}

async fn leased(store: &Store) -> Lease {
    store.keep(new(event("push"), &[], &["a"])).await;
    store.lease_one("a").await
}

async fn settle(store: &Store, lease: &Lease, state: Vec<StateChange>) -> Settled {
    let settlement = Settlement {
        key: lease.key.clone(),
        attempt: attempt(Outcome::Done),
        fate: Fate::Done,
        outputs: vec![output("built", &[])],
        state,
        exchanges: None,
    };
    store.settle(settlement).await.unwrap()
}

async fn value(store: &Store, key: &str) -> Option<String> {
    let entry = store.reader().state(&plugin("a"), key).await.unwrap();
    entry.map(|entry| String::from_utf8(entry.value).unwrap())
}

async fn version(store: &Store, key: &str) -> u64 {
    store.reader().state(&plugin("a"), key).await.unwrap().unwrap().version
}

#[tokio::test]
async fn it_is_kept_with_the_settlement_over_a_crash() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    let lease = leased(&store).await;
    let changes = vec![set("n", Basis::Nothing, "1"), set("m", Basis::Anything, "2")];
    assert_eq!(settle(&store, &lease, changes).await, Settled::Committed);
    bed.crash();
    let store = bed.boot().await;
    assert_eq!(
        (value(&store, "n").await.unwrap(), value(&store, "m").await.unwrap()),
        ("1".into(), "2".into())
    );
    assert_eq!(store.reader().state(&plugin("b"), "n").await.unwrap(), None, "another plugin's");
}

#[tokio::test]
async fn the_whole_of_it_is_of_one_plugin_and_of_a_size() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    // A plugin is known by its first delivery.
    let lease = leased(&store).await;
    let keys: Vec<_> = (0..1500).map(|number| format!("k{number:04}")).collect();
    for some in keys.chunks(1000) {
        let changes = some.iter().map(|key| set(key, Basis::Anything, "v")).collect();
        assert_eq!(store.write_state(plugin("a"), changes).await.unwrap(), Written::Committed);
    }
    let other = vec![set("other", Basis::Anything, "v")];
    assert_eq!(store.write_state(plugin("b"), other).await.unwrap(), Written::Committed);
    let whole = store.reader().whole_state(&plugin("a"), 9000).await.unwrap().unwrap();
    assert_eq!(whole.into_iter().map(|entry| entry.key).collect::<Vec<_>>(), keys);
    assert_eq!(store.reader().whole_state(&plugin("a"), 8999).await.unwrap(), None);
    assert_eq!(store.reader().whole_state(&plugin("c"), 0).await.unwrap(), Some(Vec::new()));
    let _ = settle(&store, &lease, Vec::new()).await;
}

#[tokio::test]
async fn a_conflict_keeps_nothing_and_counts_no_attempt() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    let lease = leased(&store).await;
    let _ = settle(&store, &lease, vec![set("n", Basis::Nothing, "1")]).await;
    let read = Basis::Version(version(&store, "n").await);
    let (one, two) = (leased(&store).await, leased(&store).await);
    assert_eq!(settle(&store, &one, vec![set("n", read, "one")]).await, Settled::Committed);
    let events = store.reader().counts().await.unwrap().events;
    let changes = vec![set("m", Basis::Anything, "two"), set("n", read, "two")];
    assert_eq!(settle(&store, &two, changes).await, Settled::Conflict);
    assert_eq!((value(&store, "n").await.unwrap(), value(&store, "m").await), ("one".into(), None));
    assert_eq!(store.reader().counts().await.unwrap().events, events, "its output was not kept");

    let again = store.lease_one("a").await;
    assert_eq!((again.event.id, again.attempt), (two.event.id, 1));
    let read = Basis::Version(version(&store, "n").await);
    assert_eq!(settle(&store, &again, vec![set("n", read, "two")]).await, Settled::Committed);
    assert_eq!(value(&store, "n").await.unwrap(), "two");
    assert_eq!(store.shown(again.event.id).await.deliveries[0].attempts.len(), 1);
}

#[tokio::test]
async fn what_was_only_looked_at_is_a_conflict_too() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    let (one, two) = (leased(&store).await, leased(&store).await);
    let _ = settle(&store, &one, vec![set("n", Basis::Nothing, "1")]).await;
    let looked = StateChange { key: "n".into(), based_on: Basis::Nothing, change: Change::Keep };
    assert_eq!(settle(&store, &two, vec![looked]).await, Settled::Conflict);
}

#[tokio::test]
async fn a_version_never_comes_back() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    let lease = leased(&store).await;
    let _ = settle(&store, &lease, vec![set("n", Basis::Nothing, "1")]).await;
    let old = version(&store, "n").await;
    let lease = leased(&store).await;
    let delete =
        StateChange { key: "n".into(), based_on: Basis::Version(old), change: Change::Delete };
    assert_eq!(settle(&store, &lease, vec![delete]).await, Settled::Committed);
    drop(store);
    let store = bed.boot().await;
    let lease = leased(&store).await;
    let _ = settle(&store, &lease, vec![set("n", Basis::Nothing, "1")]).await;
    assert!(version(&store, "n").await > old);
}

#[tokio::test]
async fn a_lost_lease_changes_nothing() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    let lease = leased(&store).await;
    store.give_back(vec![lease.key.clone()], Duration::ZERO).await.unwrap();
    let settled = settle(&store, &lease, vec![set("n", Basis::Anything, "1")]).await;
    assert_eq!(settled, Settled::LeaseLost);
    assert_eq!(value(&store, "n").await, None);
    assert_eq!(store.shown(lease.event.id).await.deliveries[0].state, DeliveryState::Due);
}

#[tokio::test]
async fn an_entry_says_when_it_expires_by_the_stores_clock() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    bed.time.advance(Duration::from_secs(5));
    let lease = leased(&store).await;
    let change = Change::Set { value: vec![1], lasts: Lasts::For(Duration::from_secs(60)) };
    let change = StateChange { key: "n".into(), based_on: Basis::Anything, change };
    let _ = settle(&store, &lease, vec![change]).await;
    let entry = store.reader().state(&plugin("a"), "n").await.unwrap().unwrap();
    assert_eq!(entry.expires_at, Some(bed.time.now() + Duration::from_secs(60)));
}

#[tokio::test]
async fn entries_are_listed_by_prefix_page_by_page() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    let lease = leased(&store).await;
    let keys = ["", "order", "order:1", "order:10", "order:2", "orders", "\u{10ffff}"];
    let _ = settle(&store, &lease, keys.map(|key| set(key, Basis::Nothing, key)).into()).await;
    let page = async |prefix: &str, after: Option<&str>, limit| -> Vec<String> {
        let entries = store.reader().state_from(&plugin("a"), prefix, after, limit).await.unwrap();
        entries.into_iter().map(|entry| entry.key).collect()
    };
    assert_eq!(page("order:", None, 9).await, ["order:1", "order:10", "order:2"]);
    assert_eq!(page("order:", None, 2).await, ["order:1", "order:10"]);
    assert_eq!(page("order:", Some("order:10"), 2).await, ["order:2"]);
    assert_eq!(page("", None, 99).await, keys);
    assert_eq!(page("", Some(""), 99).await, keys[1..]);
    assert!(page("x", None, 99).await.is_empty());
}

#[tokio::test]
async fn what_it_takes_is_counted_and_its_keys_are_listed_without_their_values() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    let bytes = async |store: &Store| store.reader().state_bytes(&plugin("a")).await.unwrap();
    assert_eq!(bytes(&store).await, 0);
    let short = |key: &str| StateChange {
        change: Change::Set { value: vec![0; 5], lasts: Lasts::For(Duration::from_secs(1)) },
        ..set(key, Basis::Anything, "")
    };
    let lease = leased(&store).await;
    let changes =
        vec![set("k:1", Basis::Anything, "1234"), set("ü", Basis::Anything, ""), short("k:2")];
    assert_eq!(settle(&store, &lease, changes).await, Settled::Committed);
    assert_eq!(bytes(&store).await, 7 + 2 + 8);
    let now = bed.time.now();
    let keys = store.reader().state_keys(&plugin("a"), "k:", None, 9).await.unwrap();
    let expected = [("k:1", None), ("k:2", Some(now + Duration::from_secs(1)))];
    assert_eq!(keys, expected.map(|(key, expires_at)| StateKey { key: key.into(), expires_at }));

    let lease = leased(&store).await;
    let delete = StateChange { change: Change::Delete, ..set("ü", Basis::Anything, "") };
    let nothing = StateChange { change: Change::Delete, ..set("nothing", Basis::Anything, "") };
    let changes = vec![set("k:1", Basis::Anything, "123456"), delete, nothing];
    assert_eq!(settle(&store, &lease, changes).await, Settled::Committed);
    assert_eq!(bytes(&store).await, 9 + 8);
    // One that has expired goes by and by.
    bed.time.advance(Duration::from_secs(2));
    store.lease_up_to("nobody", 1).await;
    bed.crash();
    let store = bed.boot().await;
    store.lease_up_to("nobody", 1).await;
    assert_eq!(bytes(&store).await, 9);
}

/// Behind all others it would have to try again and again, and might never come to an end.
#[tokio::test]
async fn what_conflicts_goes_before_those_that_came_later() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    let (first, second) = (leased(&store).await, leased(&store).await);
    bed.time.advance(Duration::from_secs(1));
    store.keep(new(event("push"), &[], &["a"])).await;
    let winning = vec![set("n", Basis::Nothing, "1")];
    assert_eq!(settle(&store, &second, winning.clone()).await, Settled::Committed);
    assert_eq!(settle(&store, &first, winning).await, Settled::Conflict);
    let again = store.lease_one("a").await;
    assert_eq!((again.event.id, again.attempt), (first.event.id, 1));
    // The same for one that has a row already.
    assert_eq!(
        settle(&store, &again, vec![set("n", Basis::Nothing, "2")]).await,
        Settled::Conflict
    );
    assert_eq!(store.lease_one("a").await.event.id, first.event.id);
}

#[tokio::test]
async fn an_entry_can_last_as_the_one_before_it() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    let lasts = |lasts| StateChange {
        change: Change::Set { value: b"1".to_vec(), lasts },
        ..set("n", Basis::Anything, "")
    };
    let lease = leased(&store).await;
    let first = vec![lasts(Lasts::For(Duration::from_secs(10)))];
    assert_eq!(settle(&store, &lease, first).await, Settled::Committed);
    let until = bed.time.now() + Duration::from_secs(10);
    for _ in 0..3 {
        bed.time.advance(Duration::from_secs(2));
        let lease = leased(&store).await;
        assert_eq!(settle(&store, &lease, vec![lasts(Lasts::AsBefore)]).await, Settled::Committed);
        let entry = store.reader().state(&plugin("a"), "n").await.unwrap().unwrap();
        assert_eq!(entry.expires_at, Some(until));
    }
    // Nobody has to wait for it to go until events are looked at.
    bed.time.advance(Duration::from_secs(5));
    leased(&store).await;
    assert_eq!(store.reader().state(&plugin("a"), "n").await.unwrap(), None);
}

/// Of a plugin that nothing was ever routed to.
#[tokio::test]
async fn it_is_written_without_an_event_guarded_and_durable() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    let write = async |store: &Store, state| store.write_state(plugin("a"), state).await.unwrap();
    let first = vec![set("n", Basis::Nothing, "1"), set("m", Basis::Anything, "2")];
    assert_eq!(write(&store, first).await, Written::Committed);
    let read = Basis::Version(version(&store, "n").await);
    assert_eq!(write(&store, vec![set("n", read, "3")]).await, Written::Committed);
    let stale = vec![set("m", Basis::Anything, "4"), set("n", read, "4")];
    assert_eq!(write(&store, stale).await, Written::Conflict);
    let gone = StateChange { change: Change::Delete, ..set("m", Basis::Anything, "") };
    assert_eq!(write(&store, vec![gone]).await, Written::Committed);
    bed.crash();
    let store = bed.boot().await;
    assert_eq!((value(&store, "n").await, value(&store, "m").await), (Some("3".into()), None));
    assert_eq!(store.reader().state_bytes(&plugin("a")).await.unwrap(), 2);
    let counts = store.reader().counts().await.unwrap();
    assert_eq!(counts, hookweir_store::Counts::default(), "it makes no event");
}

/// A settlement and a write that rely on the same entry: the one that comes first is kept.
#[tokio::test]
async fn a_write_conflicts_with_a_settlement() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    let lease = leased(&store).await;
    let write = store.write_state(plugin("a"), vec![set("n", Basis::Nothing, "api")]).await;
    assert_eq!(write.unwrap(), Written::Committed);
    let settled = settle(&store, &lease, vec![set("n", Basis::Nothing, "event")]).await;
    assert_eq!(settled, Settled::Conflict);
    assert_eq!(value(&store, "n").await.unwrap(), "api");
}
