//! What looking on has to see to where many write at once: events that commit in another order than they got their
//! numbers in, and databases without a store.

use hookweir_event::{Digest, EventId};
use hookweir_ground::{free_port, postgres::Postgres};
use hookweir_store::{Cursor, Filter, OpenError, PostgresDatabase, ReadError, Reader};

use crate::{
    alone::Alone,
    conformance::support::{Bed, Verbs, WINDOW, claim, event, new},
};

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
    held.execute("SELECT 1 FROM hookweir.lines FOR UPDATE", &[]).await.unwrap();
    let late = tokio::spawn({
        let store = store.clone();
        async move { store.keep(new(event("push"), &[], &["a:k"])).await }
    });
    // It has its number, and waits for its line.
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
    alone.server.until("the append", waits, "1");
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

#[tokio::test]
async fn a_server_that_is_not_there_is_no_damage() {
    let url = Postgres::url_at(&[free_port()]);
    let reader = Reader::of(&PostgresDatabase::new(url).into()).unwrap();
    let error = reader.event(event("push").id).await.unwrap_err();
    assert!(matches!(error, ReadError::Unreachable(_)), "{error}");
    let error = Reader::of(&PostgresDatabase::new("nowhere").into()).unwrap_err();
    assert!(matches!(error, OpenError::Address { .. }), "{error}");
}
