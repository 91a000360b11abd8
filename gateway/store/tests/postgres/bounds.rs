//! What is done at once has a bound: how much a lease hands out, how often the database is asked, how much is read though
//! nobody asks.

use std::time::{Duration, Instant};

use hookweir_event::{Event, Fate, Outcome};
use hookweir_ground::{
    postgres::Postgres,
    relay::{Network, Relay},
};
use hookweir_store::{DeliveryId, Lease, Mend, Pausable, PostgresDatabase, Settled, Store, Want};

use crate::{
    alone::Alone,
    conformance::support::{Verbs, event, new, noise, plugin, recount},
};

const MIB: usize = 1 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_of_large_events_is_leased_some_at_a_time() {
    const EVENTS: usize = 40;
    let alone = Alone::new();
    let store = alone.open().await;
    for nth in 0..EVENTS {
        let to = if nth == 0 { ["z"] } else { ["a"] };
        let event = Event { body: noise(MIB), ..event("push") };
        store.keep(new(event, &[], &to)).await;
    }
    let wants = ["a", "z"].map(|name| Want { plugin: plugin(name), max: 100 });
    let some = store.lease(wants.to_vec()).await.unwrap().leases;
    assert!((30..36).contains(&some.len()), "{}", some.len());
    assert!(some.iter().any(|lease| lease.plugin == plugin("z")), "each plugin has one");
    let rest = store.lease(wants.to_vec()).await.unwrap().leases;
    assert_eq!(some.len() + rest.len(), EVENTS);
    assert!(rest.iter().all(|lease| lease.event.body.len() == MIB));
}

async fn all_die(store: &Store, leases: Vec<Lease>) {
    let mut ending = tokio::task::JoinSet::new();
    for lease in leases {
        let store = store.clone();
        ending.spawn(async move {
            let fate = Fate::Dead { blocks: true };
            assert_eq!(store.end(&lease, Outcome::Trap, fate).await, Settled::Committed);
        });
    }
    ending.join_all().await;
}

/// However far away the database is, what operators ask for of many is done in the time that a commit has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_dead_letters_are_mended_with_few_questions() {
    const MANY: usize = 1200;
    let alone = Alone::new();
    let relay = Relay::to(alone.server.address());
    let url = Postgres::url_at(&[relay.address()]);
    let store = alone.open_at(PostgresDatabase { url, ..alone.database() }).await;
    let mut keeping = tokio::task::JoinSet::new();
    for nth in 0..MANY {
        let (store, to) = (store.clone(), format!("a:{nth}"));
        keeping.spawn(async move {
            let first = store.keep(new(event("push"), &[], &[&to])).await;
            store.keep(new(event("push"), &[], &[&to])).await;
            DeliveryId { event: first, ordinal: 0 }
        });
    }
    let letters = keeping.join_all().await;
    all_die(&store, store.lease_up_to("a", MANY).await).await;
    let counts = store.reader().counts().await.unwrap();
    assert_eq!((counts.dead, counts.due), (MANY as u64, MANY as u64), "one behind each");

    relay.set(Network::Slow(Duration::from_millis(10)));
    let some: Vec<_> = letters[..200].iter().chain(&letters[..100]).copied().collect();
    let began = Instant::now();
    assert_eq!(store.mend(some.clone(), Mend::Retry).await.unwrap(), 200);
    println!("200 were retried in {:?}", began.elapsed());
    assert_eq!(store.mend(some, Mend::Retry).await.unwrap(), 0);
    let leases = store.lease_up_to("a", MANY).await;
    assert_eq!(leases.len(), 200, "the others are blocked");
    all_die(&store, leases).await;
    assert_eq!(store.mend(letters[..100].to_vec(), Mend::Discard).await.unwrap(), 100);
    assert_eq!(store.mend(letters[50..150].to_vec(), Mend::Skip).await.unwrap(), 50);
    let began = Instant::now();
    assert_eq!(store.unblock(plugin("a")).await.unwrap(), MANY as u64 - 150);
    println!("{} lines went on in {:?}", MANY - 150, began.elapsed());
    relay.set(Network::Well);
    assert_eq!(store.lease_up_to("a", 2 * MANY).await.len(), MANY, "those behind");
    assert_eq!(store.reader().counts().await.unwrap(), recount(&store.reader()).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_held_is_not_read_each_second() {
    const HELD: usize = 250;
    const SECONDS: u64 = 10;
    let alone = Alone::new();
    let store = alone.open().await;
    for _ in 0..HELD {
        store.keep(new(event("push"), &[], &["a"])).await;
    }
    let held = Pausable::Held("github".parse().unwrap());
    store.pause(held.clone(), "anna".to_owned(), None).await.unwrap();
    assert!(store.lease_up_to("a", HELD).await.is_empty());
    assert_eq!(alone.ask("SELECT count(*) FROM deliveries WHERE held IS NOT NULL"), "250");
    let read = || {
        let sql = "SELECT (SELECT sum(seq_tup_read) FROM pg_stat_user_tables WHERE relname LIKE 'deliveries%')
                       + (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes WHERE relname LIKE 'deliveries%')";
        alone.ask(sql).parse::<u64>().unwrap()
    };
    // A backend tells what it has read together with what it wrote.
    let kept = "SELECT sum(n_tup_ins) FROM pg_stat_user_tables WHERE relname LIKE 'events%'";
    alone.until("what was read so far", kept, &HELD.to_string());
    let set_aside =
        "SELECT sum(n_tup_upd) FROM pg_stat_user_tables WHERE relname LIKE 'deliveries%'";
    alone.until("what was read to set them aside", set_aside, &HELD.to_string());
    let before = read();
    for nth in 1..=SECONDS {
        alone.time.advance(Duration::from_secs(1));
        store.keep(new(event("push"), &[], &["b"])).await;
        alone.until("a second", kept, &(HELD as u64 + nth).to_string());
    }
    let more = read() - before;
    assert!(more < HELD as u64, "{more} in {SECONDS} seconds");

    // One that was lifted before the last was set aside is over all the same.
    store.resume(vec![held]).await.unwrap();
    alone.ask("DELETE FROM holds");
    alone.time.advance(Duration::from_secs(1));
    store.keep(new(event("push"), &[], &["b"])).await;
    assert_eq!(store.lease_up_to("a", HELD).await.len(), HELD);
}
