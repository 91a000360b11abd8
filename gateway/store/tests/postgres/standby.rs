//! Whether another server has what is acknowledged is seen, by whoever may see it.

use std::time::{Duration, Instant};

use hookweir_event::Clock;
use hookweir_ground::postgres::{PASSWORD, Postgres, USER};
use hookweir_store::{Options, PostgresDatabase, Reader, Standbys, Store};

/// What a reader sees that has not looked before.
async fn seen(url: &str) -> Option<Standbys> {
    let reader = Reader::of(&PostgresDatabase::new(url).into()).unwrap();
    reader.survey().await.unwrap().standbys
}

async fn until_seen(url: &str, wanted: bool, synchronous: u64) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let seen = seen(url).await;
        if seen == Some(Standbys { wanted, synchronous }) {
            return;
        }
        assert!(Instant::now() < deadline, "{seen:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn synchronous_standbys_are_seen_by_whoever_may_see_them() {
    let server = Postgres::durable();
    let url = server.url();
    let options = Options::new(PostgresDatabase::new(&url), [1; 16], Clock::system());
    Store::open(options).await.unwrap().close().await.unwrap();
    assert_eq!(seen(&url).await, Some(Standbys { wanted: false, synchronous: 0 }));

    let mut standby = server.standby();
    until_seen(&url, true, 1).await;
    server.ask(
        "CREATE ROLE viewer LOGIN PASSWORD 'of-the-viewer'; GRANT USAGE ON SCHEMA hookweir TO viewer;
         GRANT SELECT ON ALL TABLES IN SCHEMA hookweir TO viewer",
    );
    let viewer = url.replace(&format!("{USER}:{PASSWORD}"), "viewer:of-the-viewer");
    assert_ne!(viewer, url);
    assert_eq!(seen(&viewer).await, None, "all that it may see is that there are some");
    server.ask("GRANT pg_read_all_stats TO viewer");
    until_seen(&viewer, true, 1).await;
    server.ask("ALTER ROLE viewer SET synchronous_commit = 'local'");
    until_seen(&viewer, false, 1).await;

    standby.kill();
    until_seen(&url, true, 0).await;
    server.set("synchronous_standby_names", "");
    until_seen(&url, false, 0).await;
}

/// What a start writes is acknowledged as anything else is: not before the standby has it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_waits_for_a_standby_that_is_away() {
    let server = Postgres::durable();
    server.standby().kill();
    let options = Options::new(PostgresDatabase::new(server.url()), [1; 16], Clock::system());
    let opening = tokio::spawn(Store::open(options));
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    server.until("the start's commit", waits, "1");
    // For longer than for a server that says nothing at all.
    server.ask("SELECT pg_sleep(12)");
    assert!(!opening.is_finished() && server.ask(waits) == "1");
    server.set("synchronous_standby_names", "");
    opening.await.unwrap().unwrap().close().await.unwrap();
}
