//! Partitions by day: they are there before they are needed, and dropped when all in them is over; what is not stays,
//! wherever it is kept then.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use hookweir_event::{EventId, Exchanges, Fate, Outcome};
use hookweir_store::{
    DeliveryId, Mend, NewEvent, PostgresDatabase, Replay, Settled, Settlement, Store,
};

use crate::{
    alone::Alone,
    conformance::support::{Verbs, attempt, event, exchange, new, output, recount, routes},
};

const DAY: Duration = Duration::from_secs(24 * 3600);
/// The partitions of the day on which the tests begin, of which there is an hour and a half to come.
const FIRST: &str =
    "SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relname LIKE '%\\_20231114'";
/// When the chore is done next, in seconds from the start.
const NEXT: &str = "SELECT next_at / 1000 - 1700000000 FROM chores WHERE name = 'days'";

/// What goes by day has to have the day in its id.
async fn keep(alone: &Alone, store: &Store, claims: &[&str], to: &[&str]) -> EventId {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let mut chance = [0xff; 10];
    chance[2..].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    let (now, mut event) = (alone.time.now(), event("push"));
    (event.id, event.received_at) = (EventId::new(now, chance), now);
    store.keep(NewEvent { dedupe_window: 90 * DAY, ..new(event, claims, to) }).await
}

async fn end(store: &Store, plugin: &str, fate: Fate) -> EventId {
    let lease = store.lease_one(plugin).await;
    let (key, attempt) = (lease.key.clone(), attempt(Outcome::Trap));
    let exchanges = Some(Exchanges { kept: vec![exchange(1)], left_out: 0 });
    let (outputs, state) = (vec![], vec![]);
    let settlement = Settlement { key, attempt, fate, outputs, state, exchanges };
    assert_eq!(store.settle(settlement).await.unwrap(), Settled::Committed);
    lease.event.id
}

async fn is_kept(store: &Store, id: EventId) -> bool {
    store.reader().show(id).await.unwrap().is_some()
}

/// The totals are what a recount says, and so are the bytes, which nobody is shown.
async fn totals_are_right(alone: &Alone, store: &Store) {
    assert_eq!(store.reader().counts().await.unwrap(), recount(&store.reader()).await);
    let (all, dead) = (
        "(SELECT coalesce(sum(bytes), 0) FROM events)
             + (SELECT coalesce(sum(length(content)), 0) FROM exchanges)",
        "(SELECT coalesce(sum(bytes), 0) FROM deliveries JOIN events ON id = event WHERE dead > 0)
             + (SELECT coalesce(sum(length(content)), 0) FROM deliveries JOIN exchanges
                USING (event, ordinal) WHERE dead > 0)",
    );
    let sql = format!("SELECT sum(bytes) - ({all}), sum(dead_bytes) - ({dead}) FROM totals");
    assert_eq!(alone.ask(&sql), "0|0");
}

/// On the day on which the first may be dropped.
fn age(alone: &Alone) {
    alone.time.advance(7 * DAY + Duration::from_secs(6400 + 3600));
}

/// Waits until the chore has come to that. Where a lock or a file took too long for it, it is put off by a minute, of a time
/// that stands: then it is done again now.
fn until(alone: &Alone, what: &str, sql: &str, wanted: &str) {
    let again =
        "UPDATE chores SET next_at = 0 FROM meta WHERE name = 'days' AND next_at = clock + 60000";
    alone.until(what, &format!("{again}; {sql}"), wanted);
}

fn first_is_dropped(alone: &Alone) {
    until(alone, "the first day to be dropped", FIRST, "0");
    assert_eq!(alone.ask("SELECT count(*) FROM days WHERE name = '20231114'"), "0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_is_dropped_with_all_that_is_over_and_the_rest_is_moved() {
    let alone = Alone::new();
    let store = alone.open().await;
    assert_eq!(alone.ask("SELECT name FROM days ORDER BY 1"), "20231114\n20231115\n20231116");
    let settings = "SELECT count(DISTINCT reloptions) FROM pg_class
                    WHERE relname LIKE 'deliveries\\_%' AND relkind = 'r'";
    assert_eq!(alone.ask(settings), "1");
    let mut gone = vec![keep(&alone, &store, &["1"], &["a"]).await];
    end(&store, "a", Fate::Done).await;
    keep(&alone, &store, &["1"], &["a"]).await;
    gone.push(keep(&alone, &store, &[], &[]).await);
    keep(&alone, &store, &[], &["a"]).await;
    let lease = store.lease_one("a").await;
    let made = output("built", &[]);
    gone.extend([lease.event.id, made.event.id]);
    assert_eq!(store.end_with(&lease, vec![made]).await, Settled::Committed);
    keep(&alone, &store, &[], &["a", "b"]).await;
    let dead = end(&store, "a", Fate::Dead { blocks: false }).await;
    end(&store, "b", Fate::Done).await;
    keep(&alone, &store, &[], &["a:k"]).await;
    let blocks = end(&store, "a", Fate::Dead { blocks: true }).await;
    let late = keep(&alone, &store, &["2"], &["late"]).await;
    keep(&alone, &store, &["2"], &["late"]).await;
    let open = keep(&alone, &store, &["3"], &["open"]).await;
    assert_eq!(alone.ask("SELECT count(*) FROM events_20231114"), "8");
    alone.time.advance(DAY);
    end(&store, "late", Fate::Done).await;
    let next_day = keep(&alone, &store, &[], &[]).await;

    alone.time.advance(6 * DAY + Duration::from_secs(6400 + 3599));
    let looked = (7 * DAY).as_secs() + 6400 + 3599 + 3600;
    until(&alone, "the chore", NEXT, &looked.to_string());
    assert_eq!(alone.ask(FIRST), "4", "it is a second early");
    alone.time.advance(DAY / 24);
    first_is_dropped(&alone);
    for id in gone {
        assert!(!is_kept(&store, id).await);
    }
    for id in [dead, blocks, late, open, next_day] {
        assert!(is_kept(&store, id).await);
    }
    assert_eq!(alone.ask("SELECT count(*) FROM events_other"), "4");
    totals_are_right(&alone, &store).await;
    let receipt = store.append(new(event("push"), &["1"], &[])).await.unwrap();
    assert!(receipt.is_duplicate(), "its claim outlives it");

    // All that was moved can be gone on with.
    assert_eq!(end(&store, "open", Fate::Done).await, open);
    let letter = DeliveryId { event: dead, ordinal: 0 };
    assert_eq!(store.mend(vec![letter], Mend::Retry).await.unwrap(), 1);
    assert_eq!(end(&store, "a", Fate::Done).await, dead);
    totals_are_right(&alone, &store).await;
    alone.time.advance(31 * DAY);
    until(
        &alone,
        "the rest to be forgotten",
        "SELECT string_agg(origin, ',') FROM events",
        "github",
    );
    assert!(is_kept(&store, blocks).await);
    totals_are_right(&alone, &store).await;
}

/// The numbers of transactions are those of another server after that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_that_was_restored_from_elsewhere_is_dropped() {
    let alone = Alone::new();
    let store = alone.open().await;
    keep(&alone, &store, &[], &[]).await;
    alone.ask("UPDATE events SET tx = tx + 1000000000");
    age(&alone);
    first_is_dropped(&alone);
    totals_are_right(&alone, &store).await;
}

/// Eighty MiB in the default partitions, of six weeks ago and young all the same.
fn fill_default_partitions(alone: &Alone) {
    alone.ask(
        "INSERT INTO events (id, seq, tx, origin, type, received_at, committed_at, hops, claims, bytes, body_len,
             envelope, body)
         SELECT decode(lpad(to_hex(1696118400000 + n), 12, '0') || '70008000000000000000', 'hex'),
             nextval('event_seq'), 1, 'github', 'push', 1700000000000, 1700000000000, 0, '', 1700, 1700, '',
             decode(repeat('00', 1700), 'hex')
         FROM generate_series(1, 40000) AS n",
    );
    let size = alone.ask("SELECT pg_relation_size('events_other') >> 20");
    assert!((64..).contains(&size.parse::<u64>().unwrap()), "{size} MiB");
}

/// How many constraints there are by which partitions are made.
const PROOFS: &str = "SELECT count(*) FROM pg_constraint WHERE conname = 'nothing_of_that_day'";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_much_is_in_the_default_partitions_nobody_waits_for_another_one() {
    let alone = Alone::new();
    alone.server.set("log_min_messages", "debug1");
    let store = alone.open().await;
    fill_default_partitions(&alone);
    let implied =
        "constraint for default partition \"events_other\" is implied by existing constraints";
    assert!(!alone.server.log().contains(implied), "there was little then");
    alone.time.advance(DAY);
    until(&alone, "the next day", "SELECT max(name) FROM days", "20231117");
    assert!(alone.server.log().contains(implied), "it was looked through under the lock");
    assert_eq!(alone.ask(PROOFS), "0");
    // As a gateway leaves it that dies over it.
    alone.ask("ALTER TABLE events_other ADD CONSTRAINT nothing_of_that_day CHECK (id < '\\x0200') NOT VALID");
    alone.time.advance(DAY / 24);
    until(&alone, "it to be taken away", PROOFS, "0");
    keep(&alone, &store, &[], &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_much_is_in_the_default_partitions_a_day_that_is_near_stays_there() {
    let alone = Alone::new();
    let store = alone.open_at(PostgresDatabase { days: false, ..alone.database() }).await;
    fill_default_partitions(&alone);
    store.close().await.unwrap();
    let store = alone.open().await;
    assert_eq!(alone.ask("SELECT count(*) FROM days"), "0", "who starts does not wait for them");
    keep(&alone, &store, &[], &[]).await;
    alone.time.advance(Duration::from_secs(60));
    // The next one begins within two hours.
    let days = "SELECT string_agg(name, ',' ORDER BY name) FROM days";
    until(&alone, "the day after the next", days, "20231116");
    alone.time.advance(DAY);
    until(&alone, "the one after that", days, "20231116,20231117");
    keep(&alone, &store, &[], &[]).await;
    assert_eq!(alone.ask("SELECT count(*) FROM events_other"), "40002");
    alone.time.advance(DAY / 12);
    keep(&alone, &store, &[], &[]).await;
    assert_eq!(alone.ask("SELECT count(*) FROM events_20231116"), "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_stores_one_drops_a_day_once() {
    let alone = Alone::new();
    let stores = [alone.open().await, alone.open().await];
    for nth in 0..100 {
        keep(&alone, &stores[nth % 2], &[], &["a"]).await;
        end(&stores[(nth + 1) % 2], "a", Fate::Done).await;
    }
    age(&alone);
    // Whoever has the chore: to the other it seems to be due all the time.
    let deadline = Instant::now() + Duration::from_secs(60);
    while alone.ask(FIRST) != "0" {
        assert!(Instant::now() < deadline, "it is not dropped");
        alone.ask("UPDATE chores SET next_at = 0 WHERE name = 'days'");
    }
    let stays = keep(&alone, &stores[0], &[], &[]).await;
    assert!(is_kept(&stores[1], stays).await);
    for store in &stores {
        totals_are_right(&alone, store).await;
    }
    assert_eq!(stores[0].reader().counts().await.unwrap().events, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_in_the_way_delays_it_and_nobody_else() {
    let alone = Alone::new();
    let store = alone.open().await;
    keep(&alone, &store, &[], &[]).await;
    let mut other = alone.other().await;
    let reading = other.transaction().await.unwrap();
    reading.query("SELECT 1 FROM hookweir.attempts", &[]).await.unwrap();
    age(&alone);
    let looked = 7 * DAY + Duration::from_secs(6400 + 3600 + 60);
    alone.until("the chore to be put off", NEXT, &looked.as_secs().to_string());
    assert!(alone.server.log().contains("lock timeout"), "it was in the way");
    assert_eq!(alone.ask(FIRST), "4");
    let began = Instant::now();
    keep(&alone, &store, &[], &["a"]).await;
    end(&store, "a", Fate::Done).await;
    assert!(began.elapsed() < Duration::from_secs(5), "others go on");
    reading.rollback().await.unwrap();
    alone.time.advance(Duration::from_secs(60));
    first_is_dropped(&alone);
    totals_are_right(&alone, &store).await;
}

/// What may happen to a day that is being counted.
#[derive(Debug, Clone, Copy)]
enum Change {
    Discard,
    Replay,
    Append,
}

/// A day with a dead letter that is to go is counted, and changes meanwhile.
async fn changes_while_it_is_counted(change: Change) {
    let mut alone = Alone::new();
    alone.retention.dead.age = 7 * DAY;
    let store = alone.open().await;
    keep(&alone, &store, &[], &["a"]).await;
    let dead = end(&store, "a", Fate::Dead { blocks: false }).await;
    // An hour before, when partitions are made.
    let early = 7 * DAY + Duration::from_secs(6400);
    alone.time.advance(early);
    until(&alone, "the chore", NEXT, &(early.as_secs() + 3600).to_string());
    let mut other = alone.other().await;
    let held = other.transaction().await.unwrap();
    // What attempts sent is looked at after the deliveries are.
    held.batch_execute("LOCK TABLE hookweir.exchanges IN ACCESS EXCLUSIVE MODE").await.unwrap();
    alone.time.advance(DAY / 24);
    alone.server.until_held_up("FROM exchanges");
    match change {
        Change::Discard => {
            let letter = DeliveryId { event: dead, ordinal: 0 };
            assert_eq!(store.mend(vec![letter], Mend::Discard).await.unwrap(), 1);
        }
        Change::Replay => {
            let replay = Replay { event: dead, routes: routes(&["a"]) };
            assert_eq!(store.replay(vec![replay]).await.unwrap(), 1);
        }
        Change::Append => _ = store.keep(new(event("push"), &[], &[])).await,
    }
    held.rollback().await.unwrap();
    let again = early.as_secs() + 3600 + 60;
    alone.until("the chore to be put off", NEXT, &again.to_string());
    assert!(is_kept(&store, dead).await, "after {change:?} it is counted again");
    alone.time.advance(Duration::from_secs(60));
    first_is_dropped(&alone);
    totals_are_right(&alone, &store).await;
    // What came with an old id is young.
    let events = store.reader().counts().await.unwrap().events;
    assert_eq!(events, u64::from(!matches!(change, Change::Discard)), "{change:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_changes_while_a_day_is_counted_is_counted_again() {
    for change in [Change::Discard, Change::Replay, Change::Append] {
        changes_while_it_is_counted(change).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_too_much_would_have_to_be_moved_the_rest_goes_row_by_row() {
    let alone = Alone::new();
    let store = alone.open().await;
    let done = keep(&alone, &store, &[], &["a"]).await;
    end(&store, "a", Fate::Done).await;
    // As a plugin's events that nobody handled for a week.
    alone.ask(
        "INSERT INTO events SELECT substring(id FROM 1 FOR 8) || int8send(n), nextval('event_seq'), tx, origin, type,
             received_at, committed_at, hops, parent, root, claims, bytes, body_len, envelope, body
         FROM events, generate_series(1, 4097) AS n;
         INSERT INTO deliveries (event, ordinal, seq, origin, plugin, due_at)
         SELECT id, 0, seq, origin, 'a', committed_at FROM events
         WHERE id NOT IN (SELECT event FROM deliveries);
         UPDATE totals SET events = events + 4097, due = due + 4097, bytes = bytes + 4097 * 
             (SELECT min(bytes) FROM events) WHERE shard = (SELECT min(shard) FROM totals);
         INSERT INTO depths VALUES (-1, 'a', '', 4097, 0, 0, 0, 0)",
    );
    age(&alone);
    until(&alone, "what is done to be forgotten", "SELECT count(*) FROM events", "4097");
    assert!(!is_kept(&store, done).await);
    assert_eq!(alone.ask(FIRST), "4");
    totals_are_right(&alone, &store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_that_has_begun_without_partitions_stays_without() {
    let alone = Alone::new();
    let store = alone.open_at(PostgresDatabase { days: false, ..alone.database() }).await;
    let before = keep(&alone, &store, &[], &["a"]).await;
    assert_eq!(alone.ask("SELECT count(*) FROM days"), "0");
    store.close().await.unwrap();
    let store = alone.open().await;
    let made = "SELECT name FROM days ORDER BY 1";
    assert_eq!(alone.ask(made), "20231115\n20231116");
    assert_eq!(end(&store, "a", Fate::Done).await, before);
    age(&alone);
    alone.until("it to be forgotten", "SELECT count(*) FROM events", "0");
    // The days that begin while it runs have some in time.
    until(&alone, "the next days", &format!("{made} DESC LIMIT 1"), "20231124");
    totals_are_right(&alone, &store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_there_is_too_much_the_oldest_go_row_by_row_before_their_day() {
    let mut alone = Alone::new();
    alone.retention.done.bytes = 2 << 10;
    let store = alone.open().await;
    let mut kept = Vec::new();
    for _ in 0..40 {
        kept.push(keep(&alone, &store, &[], &[]).await);
    }
    alone.time.advance(Duration::from_secs(60));
    let fits = "SELECT sum(bytes) <= 2048 FROM totals";
    alone.until("the oldest to be forgotten", fits, "t");
    assert!(!is_kept(&store, kept[0]).await);
    assert_eq!(alone.ask(FIRST), "4");
    totals_are_right(&alone, &store).await;
}
