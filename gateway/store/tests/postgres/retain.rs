//! Retention where something is in its way, or not as it should be: what it can do it does.

use std::time::{Duration, Instant};

use hookweir_event::{Basis, Change, Event, EventId, Fate, Lasts, Outcome, StateChange};
use hookweir_store::{PostgresDatabase, Settled, Store, Written};

use crate::{
    alone::Alone,
    conformance::support::{Verbs, event, new, plugin},
};

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// An entry that is over after ten seconds.
async fn write(store: &Store, name: &str) {
    let change = Change::Set { value: b"1".to_vec(), lasts: Lasts::For(10 * SECOND) };
    let change = StateChange { key: "n".to_owned(), based_on: Basis::Anything, change };
    let written = store.write_state(plugin(name), vec![change]).await.unwrap();
    assert_eq!(written, Written::Committed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_its_way_delays_it_by_seconds_and_others_hardly() {
    let alone = Alone::new();
    let store = alone.open().await;
    write(&store, "a").await;
    let mut other = alone.other().await;
    let held = other.transaction().await.unwrap();
    held.batch_execute("LOCK TABLE hookweir.holds IN SHARE MODE").await.unwrap();
    alone.time.advance(20 * SECOND);
    let began = Instant::now();
    store.keep(new(event("push"), &[], &[])).await;
    assert!(began.elapsed() < 4 * SECOND, "{:?}", began.elapsed());
    while !alone.server.log().contains("canceling statement due to") {
        assert!(began.elapsed() < 60 * SECOND, "nothing was in its way");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    held.rollback().await.unwrap();
    alone.time.advance(2 * SECOND);
    alone.until("what has expired to go", "SELECT count(*) FROM state", "0");
}

/// Whoever settles an attempt with state has the plugin, and may wait for what retention has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn state_of_a_plugin_that_is_in_use_goes_later_and_that_of_others_now() {
    let alone = Alone::new();
    let store = alone.open().await;
    write(&store, "a").await;
    write(&store, "b").await;
    let mut other = alone.other().await;
    let held = other.transaction().await.unwrap();
    held.query("SELECT 1 FROM hookweir.plugins WHERE name = 'a' FOR UPDATE", &[]).await.unwrap();
    alone.time.advance(20 * SECOND);
    alone.until("that of the other", "SELECT string_agg(plugin, ',') FROM state", "a");
    held.rollback().await.unwrap();
    alone.time.advance(2 * SECOND);
    alone.until("that of both", "SELECT count(*) FROM state", "0");
    assert_eq!(alone.ask("SELECT sum(state_bytes) FROM plugins"), "0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_of_a_gateway_whose_clock_is_ahead_holds_up_no_others() {
    let alone = Alone::new();
    let store = alone.open_at(PostgresDatabase { days: false, ..alone.database() }).await;
    let now = alone.time.now();
    let early = Event {
        id: EventId::new(now + 365 * DAY, [0; 10]),
        received_at: now + 365 * DAY,
        ..event("push")
    };
    store.keep(new(early, &[], &[])).await;
    store.keep(new(event("push"), &[], &["a"])).await;
    let lease = store.lease_one("a").await;
    assert_eq!(store.end(&lease, Outcome::Done, Fate::Done).await, Settled::Committed);
    alone.time.advance(7 * DAY - SECOND);
    store.keep(new(event("push"), &[], &[])).await;
    assert_eq!(store.reader().counts().await.unwrap().events, 3, "it is a second early");
    alone.time.advance(2 * SECOND);
    alone.until("those that are over to go", "SELECT count(*) FROM events", "1");
}
