//! What a gateway says and does while its database does not do what it should: how long it waits, whom it asks next, and
//! that it is back by itself.

use std::time::{Duration, Instant};

use hookweir_event::Clock;
use hookweir_ground::{
    postgres::{PASSWORD, Postgres, USER},
    relay::{Network, Relay},
};
use hookweir_store::{Options, PostgresDatabase, Store, StoreError};

use crate::{
    conformance::support::{event, new},
    faults::{ANSWER_MAX, audit, keep, of_now, open, settle_all, until_ready},
    lapses::somebody,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_locks_a_table_keeps_senders_no_longer_than_an_outage_does() {
    let server = Postgres::durable();
    let store = open(server.url(), 1).await;
    let other = somebody(&server).await;
    other.batch_execute("BEGIN; LOCK TABLE hookweir.claims").await.unwrap();
    let started = Instant::now();
    let refused = store.append(new(of_now(event("push")), &["1"], &["a"])).await.unwrap_err();
    assert!(started.elapsed() < ANSWER_MAX, "{:?} until {refused}", started.elapsed());
    assert!(matches!(refused, StoreError::Busy), "{refused}");
    other.batch_execute("ROLLBACK").await.unwrap();
    let kept = [keep(&store, "1").await];
    settle_all(&store).await;
    audit(&store, &kept).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_gateways_are_heard_again_after_the_connection_that_listened_ended() {
    let server = Postgres::durable();
    let _store = open(server.url(), 1).await;
    let listens = "FROM pg_stat_activity WHERE query LIKE 'LISTEN %'";
    server.until("it to listen", &format!("SELECT count(*) {listens}"), "1");
    for _ in 0..2 {
        let process = server.ask(&format!("SELECT pid {listens}"));
        assert_eq!(server.ask(&format!("SELECT pg_terminate_backend({process})")), "t");
        let again = format!("SELECT count(*) {listens} AND pid <> {process}");
        server.until("it to listen again", &again, "1");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stands_still_keeps_nobody_from_the_next() {
    let server = Postgres::durable();
    let frozen = Relay::to(server.address());
    let url = Postgres::url_at(&[frozen.address(), server.address()]);
    let store = open(url.clone(), 1).await;
    let mut kept = vec![keep(&store, "1").await];
    frozen.set(Network::Silent);
    kept.push(keep(&store, "2").await);
    let started = Instant::now();
    kept.push(keep(&store, "3").await);
    assert!(started.elapsed() < Duration::from_secs(2), "it is known which one answers");
    let other = open(url, 2).await;
    settle_all(&other).await;
    audit(&store, &kept).await;
}

/// At the first that it is asked, and in the middle.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_comes_to_stand_still_while_it_is_opened_is_a_clear_error_soon() {
    let server = Postgres::durable();
    let relay = Relay::to(server.address());
    let options = || {
        let database = PostgresDatabase::new(Postgres::url_at(&[relay.address()]));
        Options::new(database, [1; 16], Clock::system())
    };
    for (nth, said) in (1..).zip(["synchronous_commit", "SELECT clock FROM meta"]) {
        relay.silent_at(said.as_bytes());
        let opened = tokio::time::timeout(ANSWER_MAX, Store::open(options())).await.unwrap();
        let Err(error) = opened else { panic!("it is open") };
        assert!(error.to_string().contains("did not answer in time"), "{error}");
        relay.until_cut(nth);
        relay.set(Network::Well);
    }
    let store = Store::open(options()).await.unwrap();
    keep(&store, "1").await;
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_may_not_do_its_work_is_not_ready() {
    let server = Postgres::durable();
    server.ask("CREATE ROLE gateway LOGIN PASSWORD 'of-the-gateway'; GRANT CREATE ON DATABASE postgres TO gateway");
    let url = server.url().replace(&format!("{USER}:{PASSWORD}"), "gateway:of-the-gateway");
    assert_ne!(url, server.url());
    let store = open(url, 1).await;
    let mut kept = vec![keep(&store, "before").await];

    server.ask("REVOKE ALL ON ALL TABLES IN SCHEMA hookweir FROM gateway");
    until_ready(&store, false).await;
    server.ask("GRANT ALL ON ALL TABLES IN SCHEMA hookweir TO gateway");
    until_ready(&store, true).await;
    kept.push(keep(&store, "tables").await);

    server.ask("ALTER ROLE gateway NOLOGIN");
    server.ask("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'gateway'");
    until_ready(&store, false).await;
    let started = Instant::now();
    let refused = store.append(new(of_now(event("push")), &["login"], &["a"])).await.unwrap_err();
    assert!(started.elapsed() < ANSWER_MAX, "{:?} until {refused}", started.elapsed());
    server.ask("ALTER ROLE gateway LOGIN");
    until_ready(&store, true).await;
    kept.push(keep(&store, "login").await);
    settle_all(&store).await;
    audit(&store, &kept).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_comes_to_lose_what_it_acknowledges_is_not_used_any_more() {
    let server = Postgres::durable();
    let store = open(server.url(), 1).await;
    let mut kept = vec![keep(&store, "before").await];
    server.set("synchronous_commit", "off");
    until_ready(&store, false).await;
    let refused = store.append(new(of_now(event("push")), &["1"], &["a"])).await.unwrap_err();
    assert!(refused.to_string().contains("synchronous_commit = off"), "{refused}");
    server.set("synchronous_commit", "on");
    until_ready(&store, true).await;
    kept.push(keep(&store, "1").await);
    settle_all(&store).await;
    audit(&store, &kept).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_that_wait_for_a_standby_take_no_more_connections_than_a_gateway_has() {
    /// Four workers, and four that do other things.
    const CONNECTIONS: usize = 8;
    let primary = Postgres::durable();
    let mut standby = primary.standby();
    let store = open(primary.url(), 1).await;
    let mut kept = vec![keep(&store, "before").await];
    standby.kill();
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    for round in 0..3 {
        let appends: Vec<_> = (0..4)
            .map(|nth| {
                let (store, claim) = (store.clone(), format!("{round}-{nth}"));
                tokio::spawn(async move {
                    store.append(new(of_now(event("push")), &[&claim], &["a"])).await
                })
            })
            .collect();
        for append in appends {
            append.await.unwrap().unwrap_err();
        }
        let count: usize = primary.ask(waiting).parse().unwrap();
        assert!((1..=CONNECTIONS).contains(&count), "{count} commits wait");
    }
    standby.run();
    until_ready(&store, true).await;
    primary.until("none to wait", waiting, "0");
    for round in 0..3 {
        for nth in 0..4 {
            kept.push(keep(&store, &format!("{round}-{nth}")).await);
        }
    }
    settle_all(&store).await;
    // Those whose senders were told that they failed are duplicates of themselves.
    let counts = store.reader().counts().await.unwrap();
    assert_eq!(counts.done, kept.len() as u64);
}
