//! What is settled is in the way of what is due until it is vacuumed: how much a lease reads then, and while somebody
//! else's transaction holds the vacuum back.
//!
//! `HOOKWEIR_DEAD_ROWS` says how many are in the way; a million show what it comes to.

use std::{
    env,
    time::{Duration, Instant},
};

use hookweir_event::{EventId, Fate, Outcome};
use hookweir_store::{PostgresDatabase, Settled, Store};

use crate::{
    alone::Alone,
    conformance::support::{Verbs, event, new},
};

/// What a lease reads in all where nothing is in its way, in blocks of 8 KiB: the indexes of a few partitions.
const FEW: u64 = 100;

/// The server explains in its log each statement of these stores.
const EXPLAINED: &str = "options=-c%20session_preload_libraries%3Dauto_explain\
                         %20-c%20auto_explain.log_min_duration%3D0%20-c%20auto_explain.log_analyze%3Don\
                         %20-c%20auto_explain.log_buffers%3Don%20-c%20auto_explain.log_timing%3Doff";

fn dead_rows() -> u64 {
    env::var("HOOKWEIR_DEAD_ROWS").map_or(50_000, |rows| rows.parse().unwrap())
}

struct Queue {
    alone: Alone,
    store: Store,
}

impl Queue {
    /// One delivery, which is settled.
    async fn new() -> Self {
        let alone = Alone::new();
        let url = format!("{}?{EXPLAINED}", alone.server.url());
        let store = alone.open_at(PostgresDatabase { url, ..alone.database() }).await;
        // When it vacuums is up to the test.
        alone.server.set("autovacuum", "off");
        let queue = Self { alone, store };
        queue.keep().await;
        queue.settle().await;
        queue
    }

    async fn keep(&self) -> EventId {
        self.store.keep(new(event("push"), &[], &["a"])).await
    }

    async fn settle(&self) -> EventId {
        let lease = self.store.lease_one("a").await;
        assert_eq!(self.store.end(&lease, Outcome::Done, Fate::Done).await, Settled::Committed);
        lease.event.id
    }

    /// So many deliveries come in and are settled.
    fn pass(&self, count: u64) {
        let open = format!(
            "INSERT INTO deliveries (event, ordinal, seq, origin, plugin, due_at)
             SELECT substring(d.event FROM 1 FOR 8) || int8send(n), 0, d.seq, d.origin, d.plugin, d.due_at
             FROM (SELECT * FROM deliveries LIMIT 1) AS d, generate_series(1, {count}) AS n"
        );
        self.alone.ask(&open);
        self.alone.ask("UPDATE deliveries SET settled_at = due_at WHERE settled_at IS NULL");
    }

    /// Leases one that is due, and answers how many blocks it took to find it, and how long.
    async fn lease(&self) -> (u64, Duration) {
        let (explained, began) = (self.explained().len(), Instant::now());
        let lease = self.store.lease_one("a").await;
        let took = began.elapsed();
        assert_eq!(self.store.end(&lease, Outcome::Done, Fate::Done).await, Settled::Committed);
        (self.explained()[explained], took)
    }

    /// The blocks that were read by each look for what is due.
    fn explained(&self) -> Vec<u64> {
        let log = self.alone.server.log();
        let looks = log.split("Query Text: ").filter(|query| query.starts_with("SELECT c.event"));
        let blocks = looks.map(|look| {
            let line = look.lines().find(|line| line.contains("Buffers: shared")).unwrap();
            let numbers = line.split(['=', ' ']).filter_map(|word| word.parse::<u64>().ok());
            numbers.sum()
        });
        blocks.collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_reads_little_once_what_was_settled_is_vacuumed() {
    let queue = Queue::new().await;
    let rows = dead_rows();
    queue.pass(rows);
    queue.keep().await;
    let (before, _) = queue.lease().await;
    assert!(before > FEW * 2, "{before}: they were in its way");
    queue.alone.server.ask("VACUUM hookweir.deliveries");
    queue.keep().await;
    let (blocks, took) = queue.lease().await;
    println!("{rows} settled: {before} blocks; vacuumed: {blocks} blocks, {took:?}");
    assert!(blocks < FEW, "{blocks}");
    // It was empty when it was decided how that is done.
    assert!(!queue.alone.server.log().contains("Seq Scan on deliveries"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_somebody_holds_the_vacuum_back_few_leases_read_all_and_none_misses_any() {
    let queue = Queue::new().await;
    let mut other = queue.alone.other().await;
    let held =
        other.build_transaction().isolation_level(tokio_postgres::IsolationLevel::RepeatableRead);
    let held = held.start().await.unwrap();
    held.query("SELECT 1 FROM hookweir.meta", &[]).await.unwrap();
    // So many that it takes long to read past them, on a quick machine too.
    let rows = dead_rows() * 4;
    queue.pass(rows);
    queue.alone.server.ask("VACUUM hookweir.deliveries");
    // The clock of the store goes on as that on the wall does not: what is due now is due behind all those.
    queue.alone.time.advance(Duration::from_secs(60));
    queue.keep().await;
    let (first, took_first) = queue.lease().await;
    assert!(first > FEW * 2, "{first}: they are in its way, vacuumed or not");
    // Where they are is known for a while that is 20 times what it took to find that: a test that stands still for
    // longer has it found again.
    let mut looks = 0;
    let (next, took_next) = loop {
        queue.keep().await;
        let (next, took_next) = queue.lease().await;
        looks += 1;
        if next < FEW || looks == 10 {
            break (next, took_next);
        }
    };
    println!(
        "{rows} settled: {first} blocks, {took_first:?}; look {looks} after it: {next} blocks, {took_next:?}"
    );
    assert!(next < FEW, "{next}");
    // Due as long ago as all those, and seen only now.
    let late = queue.keep().await;
    queue.alone.ask("UPDATE deliveries SET due_at = due_at - 60000 WHERE settled_at IS NULL");
    let deadline = Instant::now() + Duration::from_secs(15);
    let found = loop {
        if let Some(lease) = queue.store.lease_up_to("a", 1).await.pop() {
            break lease.event.id;
        }
        assert!(Instant::now() < deadline, "it is never found");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(found, late);
    held.rollback().await.unwrap();
    queue.alone.server.ask("VACUUM hookweir.deliveries");
    queue.keep().await;
    let (after, _) = queue.lease().await;
    assert!(after < FEW, "{after}");
}
