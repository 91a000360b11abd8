//! Whose leases are whose, and what time it is: whatever becomes of commits, gateways, servers and their clocks, what is
//! leased is run by one who has it, and what nobody has is due again.

use std::time::{Duration, Instant};

use hookweir_event::{Clock, Fate, Outcome};
use hookweir_ground::{
    postgres::Postgres,
    relay::{Moment, Network, Relay},
};
use hookweir_store::{Options, PostgresDatabase, Settled, Settlement, Store, StoreError};
use tokio_postgres::{Client, NoTls};

use crate::{
    conformance::support::{Verbs, attempt},
    faults::{ANSWER_MAX, audit, keep, open, settle_all, until_leased, until_ready},
};

/// Somebody else's connection.
pub(crate) async fn somebody(server: &Postgres) -> Client {
    let (client, connection) = tokio_postgres::connect(&server.url(), NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// The commit of a lease takes until nobody holds the advisory lock 7.
const SLOW_LEASES: &str = "
    CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_advisory_xact_lock_shared(7); RETURN NULL; END $$;
    CREATE CONSTRAINT TRIGGER slow AFTER UPDATE ON hookweir.deliveries DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW WHEN (OLD.boot IS NULL AND NEW.boot IS NOT NULL) EXECUTE FUNCTION wait()";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_that_is_committed_after_all_is_returned() {
    let server = Postgres::durable();
    let relay = Relay::to(server.address());
    let store = open(Postgres::url_at(&[relay.address()]), 1).await;
    let id = keep(&store, "1").await;
    server.ask(SLOW_LEASES);
    let other = somebody(&server).await;
    other.batch_execute("SELECT pg_advisory_lock(7)").await.unwrap();
    let leasing = tokio::spawn({
        let store = store.clone();
        async move { store.lease_up_to("a", 1).await }
    });
    let waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted";
    server.until("a commit that waits", waits, "1");
    relay.cut();
    assert!(leasing.await.unwrap().is_empty(), "it is leased by somebody who does not know it");
    assert!(store.lease_up_to("a", 1).await.is_empty());
    assert_eq!(server.ask(waits), "1", "it is not committed yet");
    other.batch_execute("SELECT pg_advisory_unlock(7)").await.unwrap();
    let lease = until_leased(&store).await;
    assert_eq!((lease.event.id, lease.attempt, lease.lost_leases), (id, 1, 0));
    assert_eq!(store.end(&lease, Outcome::Done, Fate::Done).await, Settled::Committed);
    let counts = store.reader().counts().await.unwrap();
    assert_eq!((counts.due, counts.leased, counts.done), (0, 0, 1));
}

/// To find the leases of a gateway that is gone may take minutes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_starts_though_it_takes_long_to_free_what_another_one_left() {
    let server = Postgres::durable();
    let relay = Relay::to(server.address());
    let gone = open(Postgres::url_at(&[relay.address()]), 1).await;
    let id = keep(&gone, "1").await;
    gone.lease_one("a").await;
    relay.set(Network::Down);
    server.ask("UPDATE hookweir.boots SET gone = true");
    let other = somebody(&server).await;
    other.batch_execute("BEGIN; SELECT FROM hookweir.deliveries FOR UPDATE").await.unwrap();
    let started = Instant::now();
    let store = open(server.url(), 2).await;
    assert!(started.elapsed() < ANSWER_MAX, "{:?}", started.elapsed());
    keep(&store, "2").await;
    assert_ne!(store.lease_one("a").await.event.id, id);
    // Longer than a statement may take that somebody waits for.
    let frees = "SELECT coalesce(bool_or(clock_timestamp() - query_start > interval '7 s'), false)
                 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%boot = ANY%'";
    server.until("it to be looked for long", frees, "t");
    assert!(store.lease_up_to("a", 1).await.is_empty());
    other.batch_execute("ROLLBACK").await.unwrap();
    let lease = until_leased(&store).await;
    assert_eq!((lease.event.id, lease.lost_leases), (id, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_costs_no_gateway_its_leases_however_long_it_was() {
    let server = Postgres::durable();
    let relays = [(); 2].map(|()| Relay::to(server.address()));
    let mut stores = Vec::new();
    for (relay, number) in relays.iter().zip(1..) {
        stores.push(open(Postgres::url_at(&[relay.address()]), number).await);
    }
    let mut leases = Vec::new();
    for (store, claim) in stores.iter().zip(["1", "2"]) {
        keep(store, claim).await;
        leases.push(store.lease_one("a").await);
    }
    relays.iter().for_each(|relay| relay.set(Network::Down));
    for store in &stores {
        until_ready(store, false).await;
    }
    // By the server's clock it took an hour: or another one took over, whose clock is an hour ahead.
    server.ask("UPDATE hookweir.beats SET seen_at = seen_at - 3600000");
    relays.iter().for_each(|relay| relay.set(Network::Well));
    let both = "SELECT count(*) FROM hookweir.beats
                WHERE seen_at > extract(epoch FROM clock_timestamp()) * 1000 - 60000";
    server.until("both to say that they live", both, "2");
    for (store, lease) in stores.iter().zip(&leases) {
        assert_eq!(store.end(lease, Outcome::Done, Fate::Done).await, Settled::Committed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn that_a_gateway_lives_is_said_whatever_else_is_in_its_way() {
    let server = Postgres::durable();
    let _store = open(server.url(), 1).await;
    let other = somebody(&server).await;
    let all = "BEGIN; SELECT FROM hookweir.meta FOR UPDATE; SELECT FROM hookweir.chores FOR UPDATE;
               SELECT FROM hookweir.boots FOR UPDATE; LOCK TABLE hookweir.events, hookweir.deliveries";
    other.batch_execute(all).await.unwrap();
    for _ in 0..2 {
        let said = server.ask("SELECT seen_at FROM hookweir.beats");
        let more = format!("SELECT seen_at > {said} FROM hookweir.beats");
        server.until("it to say so", &more, "t");
    }
    other.batch_execute("ROLLBACK").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn time_goes_on_where_the_clock_of_a_server_that_takes_over_is_behind() {
    let server = Postgres::durable();
    let store = open(server.url(), 1).await;
    let before = keep(&store, "1").await;
    // As it was by the clock of the one before.
    server.ask(
        "UPDATE hookweir.meta SET clock = clock + 3600000;
         UPDATE hookweir.deliveries SET due_at = due_at + 3600000",
    );
    let lease = until_leased(&store).await;
    assert_eq!(lease.event.id, before);
    let fate = Fate::Due { after: Duration::ZERO };
    assert_eq!(store.end(&lease, Outcome::Retry, fate).await, Settled::Committed);
    // What is new does not pass what was there, and whoever opens it sees the same time.
    let other = open(server.url(), 2).await;
    let after = keep(&other, "2").await;
    let late = other.shown(after).await.deliveries[0].due_at.as_millis();
    let now = Clock::system().now().as_millis();
    assert!((3_500_000..3_700_000).contains(&(late - now)), "{}", late - now);
    let leased = other.lease_up_to("a", 2).await;
    let leased: Vec<_> = leased.iter().map(|lease| lease.event.id).collect();
    assert_eq!(leased, [before, after]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_leased_under_a_number_that_another_gateway_has() {
    let server = Postgres::durable();
    let store = open(server.url(), 1).await;
    let kept = [keep(&store, "1").await];
    // As a server has it that took over without what the one before had last.
    server.ask(r"UPDATE hookweir.boots SET owner = '\x00'");
    settle_all(&store).await;
    assert_eq!(server.ask("SELECT count(*) FROM hookweir.boots"), "2");
    audit(&store, &kept).await;
}

/// Whoever is told that something failed asks again, and is told what became of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_settlement_that_nobody_heard_of_is_known_to_whoever_asks_again() {
    let server = Postgres::durable();
    let relay = Relay::to(server.address());
    let store = open(Postgres::url_at(&[relay.address()]), 1).await;
    let mut unheard = 0;
    for round in 1..=10 {
        keep(&store, &round.to_string()).await;
        let lease = until_leased(&store).await;
        relay.down_at(b"COMMIT", Moment::Answered);
        let (key, attempt) = (lease.key.clone(), attempt(Outcome::Done));
        let (fate, outputs, state, exchanges) = (Fate::Done, vec![], vec![], None);
        let settlement = Settlement { key, attempt, fate, outputs, state, exchanges };
        let settled = store.settle(settlement).await;
        relay.until_cut(round);
        // It may be somebody else's commit that was cut, just when this one was answered.
        if settled == Ok(Settled::Committed) {
            relay.set(Network::Well);
            until_ready(&store, true).await;
            let again = store.end(&lease, Outcome::Done, Fate::Done).await;
            assert_eq!(again, Settled::LeaseLost);
            continue;
        }
        assert!(matches!(settled, Err(StoreError::Failed(_))), "{settled:?}");
        let committed = server.ask("SELECT count(*) FROM hookweir.attempts") == round.to_string();
        unheard += u64::from(committed);
        relay.set(Network::Well);
        until_ready(&store, true).await;
        assert_eq!(store.end(&lease, Outcome::Done, Fate::Done).await, Settled::Committed);
        let again = store.end(&lease, Outcome::Done, Fate::Done).await;
        assert_eq!(again, Settled::LeaseLost, "it is known what became of it");
        if unheard > 0 {
            return;
        }
    }
    panic!("none of the settlements was committed without a word");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_settlements_of_a_delivery_the_one_that_has_the_lease_counts() {
    let server = Postgres::durable();
    let database = PostgresDatabase { in_flight: 1, ..PostgresDatabase::new(server.url()) };
    let options = Options::new(database, [1; 16], Clock::system());
    let store = Store::open(options).await.unwrap();
    keep(&store, "1").await;
    let old = store.lease_one("a").await;
    store.give_back(vec![old.key.clone()], Duration::ZERO).await.unwrap();
    let lease = store.lease_one("a").await;
    // Both are to be in one transaction: the one worker waits meanwhile.
    let other = somebody(&server).await;
    other.batch_execute("BEGIN; LOCK TABLE hookweir.claims").await.unwrap();
    let appending = tokio::spawn({
        let store = store.clone();
        async move { keep(&store, "2").await }
    });
    server.until_held_up("claims WHERE claim = ANY");
    let (stale, held, ()) = tokio::join!(
        store.end(&old, Outcome::Done, Fate::Done),
        store.end(&lease, Outcome::Done, Fate::Done),
        async { other.batch_execute("ROLLBACK").await.unwrap() },
    );
    assert_eq!((stale, held), (Settled::LeaseLost, Settled::Committed));
    appending.await.unwrap();
}
