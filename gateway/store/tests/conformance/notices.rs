//! What the gateway notices is raised once and cleared once, whatever happens in between; and what a store
//! says of itself.

use std::time::Duration;

use hookweir_event::{Fate, Outcome, Timestamp};
use hookweir_store::{Filter, NewNotice, Settled, Store, StoreVerb};

use crate::conformance::support::{Bed, START, Verbs, event, new, recount, routes};

fn notice(name: &str, raised: bool, to: &[&str]) -> NewNotice {
    at(START, name, raised, to)
}

fn at(at: Timestamp, name: &str, raised: bool, to: &[&str]) -> NewNotice {
    let mut event = event("alert.latency");
    event.received_at = at;
    event.origin = "gateway".parse().unwrap();
    NewNotice { name: name.to_owned(), raised, event, routes: routes(to) }
}

async fn events(store: &Store) -> usize {
    let filter = Filter { pattern: Some("gateway/*".parse().unwrap()), ..Filter::default() };
    store.reader().search(&filter, None, 1000).await.unwrap().found.len()
}

#[tokio::test]
async fn what_is_noticed_is_told_once_also_over_a_crash() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    assert!(!store.notice(notice("a", false, &["chat"])).await.unwrap(), "it was not raised");
    let raised = notice("a", true, &["chat"]);
    assert!(store.notice(raised.clone()).await.unwrap());
    assert!(!store.notice(notice("a", true, &["chat"])).await.unwrap());
    bed.time.advance(Duration::from_secs(5));
    bed.crash();
    let store = bed.boot().await;
    assert!(!store.notice(notice("a", true, &["chat"])).await.unwrap());
    let [found] = &store.reader().notices().await.unwrap()[..] else { panic!("one is raised") };
    assert_eq!((&*found.name, found.raised_at, found.cleared_at), ("a", START, None));
    assert_eq!((found.event, &found.body), (raised.event.id, &raised.event.body));
    let lease = store.lease_one("chat").await;
    assert_eq!(*lease.event, raised.event);
    assert_eq!(store.end(&lease, Outcome::Done, Fate::Done).await, Settled::Committed);

    let later = START + Duration::from_secs(9);
    assert!(store.notice(at(later, "a", false, &["chat"])).await.unwrap());
    assert!(!store.notice(notice("a", false, &["chat"])).await.unwrap());
    let cleared = store.reader().notices().await.unwrap();
    assert_eq!((cleared[0].raised_at, cleared[0].cleared_at), (START, Some(later)));
    assert!(store.notice(notice("a", true, &[])).await.unwrap(), "and again");
    assert_eq!(store.reader().notices().await.unwrap()[0].cleared_at, None);
    assert_eq!(events(&store).await, 3);
    assert_eq!(store.reader().counts().await.unwrap(), recount(&store.reader()).await);
}

#[tokio::test]
async fn of_what_is_over_the_last_hundred_are_kept() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    assert!(store.notice(notice("stays", true, &[])).await.unwrap());
    for nth in 0..110 {
        let (name, then) = (format!("over {nth:03}"), START + Duration::from_secs(nth));
        assert!(store.notice(at(then, &name, true, &[])).await.unwrap());
        assert!(store.notice(at(then, &name, false, &[])).await.unwrap());
    }
    let kept = store.reader().notices().await.unwrap();
    assert_eq!((kept.len(), &*kept[0].name, &*kept[100].name), (101, "over 010", "stays"));
}

#[tokio::test]
async fn a_store_counts_what_it_does() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    let count = |verb| store.figures().operations[verb as usize].1;
    store.keep(new(event("push"), &["1"], &["a"])).await;
    store.keep(new(event("push"), &["2"], &["a"])).await;
    let lease = store.lease_one("a").await;
    assert_eq!(store.end(&lease, Outcome::Done, Fate::Done).await, Settled::Committed);
    let verbs = [StoreVerb::Append, StoreVerb::Lease, StoreVerb::Settle, StoreVerb::Mend];
    assert_eq!(verbs.map(count), [2, 1, 1, 0]);
    let figures = store.figures();
    assert_eq!((figures.batches.count(), figures.batches.sum()), (4, 4));
    assert_eq!(figures.syncs.count(), 4);
    let too_many = vec!["a"; 1024];
    assert!(store.append(new(event("push"), &["3"], &too_many)).await.is_err());
    let errors = store.figures().errors;
    assert_eq!(errors.map(|(_, count)| count), [0, 0, 1, 0, 0, 0], "{errors:?}");
    let survey = store.reader().survey().await.unwrap();
    assert!(survey.database_bytes + survey.log_bytes > 0);
}
