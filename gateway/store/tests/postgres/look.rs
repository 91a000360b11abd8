//! What looking on has to see to where many write at once: events that commit in another order than they got their
//! numbers in, and databases without a store.

use std::time::{Duration, Instant};

use hookweir_event::{Digest, EventId};
use hookweir_ground::{
    free_port,
    postgres::Postgres,
    relay::{Network, Relay},
};
use hookweir_store::{Cursor, Filter, OpenError, PostgresDatabase, ReadError, Reader};

use crate::{
    alone::Alone,
    conformance::support::{Bed, Verbs, WINDOW, claim, event, new},
};

/// How long a question may take whose database is not there.
const ANSWER_MAX: Duration = Duration::from_secs(25);

/// What is new, and where to go on.
async fn told(reader: &Reader, after: Cursor) -> (Vec<EventId>, Cursor) {
    let news = reader.news(&Filter::default(), Some(after), 9).await.unwrap();
    assert!(!news.more);
    // As those do who go on in another request.
    let next = news.next.to_string().parse().unwrap();
    (news.found.into_iter().map(|shown| shown.event.id).collect(), next)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_commits_late_is_told_though_a_later_one_was_there_before() {
    let alone = Alone::new();
    let store = alone.open().await;
    store.keep(new(event("push"), &[], &["a:k"])).await;
    let reader = store.reader();
    // Who writes elsewhere in the cluster holds up nothing.
    let mut elsewhere = alone.other().await;
    let elsewhere = elsewhere.transaction().await.unwrap();
    elsewhere.execute("SELECT pg_current_xact_id()", &[]).await.unwrap();
    let start = reader.news(&Filter::default(), None, 9).await.unwrap().next;
    let mut other = alone.other().await;
    let held = other.transaction().await.unwrap();
    let (claimed, sql) = (claim("0"), "INSERT INTO hookweir.claims VALUES ($1, '', 0)");
    held.execute(sql, &[&&claimed.as_bytes()[..16]]).await.unwrap();
    let late = tokio::spawn({
        let store = store.clone();
        async move { store.keep(new(event("push"), &["0"], &[])).await }
    });
    // It has its number, and waits for whoever claims the same.
    alone.server.until_held_up("INTO claims");
    let early = store.keep(new(event("push"), &[], &[])).await;
    let (found, next) = told(&reader, start).await;
    assert!(found.is_empty(), "one is still to come before it");
    held.rollback().await.unwrap();
    let late = late.await.unwrap();
    let (found, next) = told(&reader, next).await;
    assert_eq!(found, [late, early]);
    assert!(told(&reader, next).await.0.is_empty());
    elsewhere.rollback().await.unwrap();
}

/// A dump has the numbers of the cluster that it was taken from, which may have seen far more than the one that it is
/// restored into.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dump_brought_is_told_in_order_and_before_what_comes() {
    let alone = Alone::new();
    let store = alone.open().await;
    let reader = store.reader();
    let start = reader.news(&Filter::default(), None, 9).await.unwrap().next;
    let mut kept = Vec::new();
    for _ in 0..2 {
        kept.push(store.keep(new(event("push"), &[], &[])).await);
    }
    store.close().await.unwrap();
    alone.ask("UPDATE events SET tx = tx + 1000000");
    let begun = Instant::now();
    assert!(told(&reader, start).await.0.is_empty(), "they are of transactions that never end");
    assert!(begun.elapsed() >= Duration::from_secs(2), "nobody waited for those");

    let store = alone.open().await;
    let quickly = async |from| {
        let begun = Instant::now();
        let told = told(&reader, from).await;
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        told
    };
    let (found, next) = quickly(start).await;
    assert_eq!(found, kept);
    let new_one = store.keep(new(event("push"), &[], &[])).await;
    let (found, next) = quickly(next).await;
    assert_eq!(found, [new_one]);
    store.close().await.unwrap();
    let offset = alone.ask("SELECT tx_offset FROM meta");
    drop(alone.open().await);
    assert_eq!(alone.ask("SELECT tx_offset FROM meta"), offset, "it is found once");
    assert!(told(&reader, next).await.0.is_empty());
}

#[tokio::test]
async fn what_had_a_claim_before_it_expired_is_found_behind_what_has_it_now() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    let first = store.keep(new(event("push"), &["0", "1"], &[])).await;
    store.keep(new(event("push"), &["2"], &[])).await;
    bed.time.advance(WINDOW);
    let second = store.keep(new(event("push"), &["1"], &[])).await;
    let search = async |claim: Digest| {
        let filter = Filter { claim: Some(claim), ..Filter::default() };
        let (mut ids, mut from) = (Vec::new(), None);
        loop {
            let page = store.reader().search_ids(&filter, from, 9).await.unwrap();
            ids.extend(page.found);
            from = page.next;
            if from.is_none() {
                return ids;
            }
        }
    };
    assert_eq!(search(claim("1")).await, [second, first]);
    assert_eq!(search(claim("0")).await, [first]);
    assert!(search(claim("3")).await.is_empty());
}

#[tokio::test]
async fn where_no_store_is_that_is_known_here_that_is_said() {
    let alone = Alone::new();
    let reader = || Reader::of(&alone.database().into()).unwrap();
    let early = reader();
    let error = early.counts().await.unwrap_err();
    assert!(matches!(error, ReadError::Missing(_)), "{error}");
    drop(alone.open().await);
    assert_eq!(early.counts().await.unwrap().events, 0, "it is looked for anew");
    for (schema, newer) in [(99, true), (0, false)] {
        alone.server.ask(&format!("UPDATE hookweir.meta SET schema = {schema}"));
        let said = match reader().counts().await.unwrap_err() {
            ReadError::NewerSchema { found, known: 2 } => (found, true),
            ReadError::OlderSchema { found, known: 2 } => (found, false),
            error => panic!("{error}"),
        };
        assert_eq!(said, (schema, newer));
    }
}

/// As a gateway of before left it.
#[tokio::test]
async fn a_database_of_schema_1_is_brought_up_to_date_by_whoever_opens_it() {
    let alone = Alone::new();
    let tables = include_str!("../../src/postgres/schema-1.sql");
    alone.server.ask(&format!(
        "CREATE SCHEMA hookweir; SET search_path TO hookweir; {tables};
         INSERT INTO meta VALUES (1, 1, decode(repeat('01', 16), 'hex'), 0)"
    ));
    let reader = Reader::of(&alone.database().into()).unwrap();
    let error = reader.counts().await.unwrap_err();
    assert!(matches!(error, ReadError::OlderSchema { found: 1, known: 2 }), "{error}");
    let store = alone.open().await;
    let id = store.keep(new(event("push"), &[], &[])).await;
    assert_eq!(reader.show(id).await.unwrap().unwrap().event.id, id);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_no_damage() {
    let url = Postgres::url_at(&[free_port()]);
    let reader = Reader::of(&PostgresDatabase::new(url).into()).unwrap();
    let error = reader.event(event("push").id).await.unwrap_err();
    assert!(matches!(error, ReadError::Unreachable(_)), "{error}");
    let error = Reader::of(&PostgresDatabase::new("nowhere").into()).unwrap_err();
    assert!(matches!(error, OpenError::Address { .. }), "{error}");
}

/// Asks all kinds of things at once, more than there are connections.
async fn ask_all(reader: &Reader, id: EventId) -> Vec<Result<(), ReadError>> {
    let (all, plugin) = (Filter::default(), "a".parse().unwrap());
    let answers = tokio::join!(
        async { reader.counts().await.map(drop) },
        async { reader.survey().await.map(drop) },
        async { reader.show(id).await.map(drop) },
        async { reader.event(id).await.map(drop) },
        async { reader.search(&all, None, 9).await.map(drop) },
        async { reader.deliveries(&all, None, 9).await.map(drop) },
        async { reader.news(&all, None, 9).await.map(drop) },
        async { reader.state(&plugin, "key").await.map(drop) },
    );
    let (a, b, c, d, e, f, g, h) = answers;
    vec![a, b, c, d, e, f, g, h]
}

/// Nothing comes through, and no connection is broken: nobody but who waits can tell.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_says_nothing_is_not_waited_for_for_ever() {
    let alone = Alone::new();
    let store = alone.open().await;
    let id = store.keep(new(event("push"), &[], &["a"])).await;
    let relay = Relay::to(alone.server.address());
    let database = PostgresDatabase::new(Postgres::url_at(&[relay.address()]));
    let reader = Reader::of(&database.into()).unwrap();
    for answer in ask_all(&reader, id).await {
        answer.unwrap();
    }
    assert!(relay.open() > 0, "it has connections");
    relay.set(Network::Silent);
    // At first on connections that were there, and then on those that are to be made.
    for _ in 0..2 {
        let begun = Instant::now();
        for answer in ask_all(&reader, id).await {
            let error = answer.expect_err("nothing came through");
            assert!(matches!(error, ReadError::Unreachable(_)), "{error}");
        }
        let took = begun.elapsed();
        assert!(took > Duration::from_secs(4), "nobody waited: {took:?}");
        assert!(took < ANSWER_MAX, "{took:?}");
    }
    relay.set(Network::Well);
    for answer in ask_all(&reader, id).await {
        answer.unwrap();
    }
}

/// Each answer comes within its time, all of them together do not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_slow_is_waited_for() {
    let alone = Alone::new();
    let store = alone.open().await;
    let id = store.keep(new(event("push"), &[], &["a"])).await;
    let relay = Relay::to(alone.server.address());
    let database = PostgresDatabase::new(Postgres::url_at(&[relay.address()]));
    let reader = Reader::of(&database.into()).unwrap();
    reader.counts().await.unwrap();
    relay.set(Network::Slow(Duration::from_millis(700)));
    let begun = Instant::now();
    let found = reader.search(&Filter::default(), None, 9).await.unwrap().found;
    assert_eq!(found[0].event.id, id);
    assert!(begun.elapsed() > Duration::from_secs(10), "{:?}", begun.elapsed());
}
