//! What operators see and do: dead letters that are put aside, deliveries one by one, what waits, what is new,
//! all that is kept of events, what is paused, which claims are known.

use std::time::Duration;

use hookweir_event::{Attempt, EventId, Fate, LogLevel, LogLine, Outcome};
use hookweir_store::{
    Cursor, DeliveryId, DeliveryState, Filter, Listed, Mend, News, Page, Pausable, Reader, Settled,
    Settlement, Shown, Standpoint, Store,
};

use crate::conformance::support::{
    Bed, START, Verbs, WINDOW, attempt, claim, event, new, noise, plugin, recount,
};

const MINUTE: Duration = Duration::from_secs(60);

async fn die(store: &Store, name: &str) -> DeliveryId {
    let lease = store.lease_one(name).await;
    let _ = store.end(&lease, Outcome::Trap, Fate::Dead { blocks: true }).await;
    let shown = store.shown(lease.event.id).await;
    shown.deliveries.iter().find(|d| d.plugin == lease.plugin).unwrap().id
}

fn state(of: DeliveryState) -> Filter {
    Filter { state: Some(Standpoint::Delivery(of)), ..Filter::default() }
}

async fn ids(reader: &Reader, filter: &Filter) -> Vec<EventId> {
    reader.search_ids(filter, None, 1000).await.unwrap().found
}

#[tokio::test]
async fn what_is_discarded_stays_dead_and_is_out_of_the_way() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    let first = store.keep(new(event("push"), &[], &["a:k"])).await;
    let second = store.keep(new(event("push"), &[], &["a:k"])).await;
    let other = store.keep(new(event("push"), &[], &["a"])).await;
    let dead = die(&store, "a").await;
    let other_dead = die(&store, "a").await;
    assert_eq!((dead.event, other_dead.event), (first, other));
    bed.time.advance(MINUTE);

    assert_eq!(store.mend(vec![dead, dead], Mend::Discard).await.unwrap(), 1);
    assert_eq!(store.mend(vec![dead], Mend::Discard).await.unwrap(), 0, "once is enough");
    assert_eq!(store.mend(vec![dead], Mend::Skip).await.unwrap(), 0, "it is in nobody's way");
    let discarded = &store.shown(first).await.deliveries[0];
    assert_eq!(discarded.state, DeliveryState::Discarded);
    assert_eq!(discarded.discarded_at, Some(START + MINUTE));
    assert_eq!((discarded.settled_at, discarded.blocks), (Some(START), false));
    assert_eq!(store.shown(second).await.deliveries[0].state, DeliveryState::Due);
    let reader = store.reader();
    let counts = reader.counts().await.unwrap();
    assert_eq!((counts.dead, counts.discarded, counts.due), (1, 1, 1));
    assert_eq!(ids(&reader, &state(DeliveryState::Dead)).await, [other]);
    assert_eq!(ids(&reader, &state(DeliveryState::Discarded)).await, [first]);
    let of_plugin = Filter { plugin: Some(plugin("a")), ..state(DeliveryState::Dead) };
    assert_eq!(ids(&reader, &of_plugin).await, [other]);

    bed.crash();
    let store = bed.boot().await;
    assert_eq!(store.reader().counts().await.unwrap(), recount(&store.reader()).await);
    assert_eq!(store.mend(vec![dead], Mend::Retry).await.unwrap(), 1, "it can be taken back");
    let back = &store.shown(first).await.deliveries[0];
    assert_eq!((back.state, back.discarded_at), (DeliveryState::Behind, None));
    let counts = store.reader().counts().await.unwrap();
    assert_eq!((counts.dead, counts.discarded, counts.due), (1, 0, 2));
}

#[tokio::test]
async fn what_is_discarded_is_forgotten_when_the_dead_are() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    store.keep(new(event("push"), &[], &["a"])).await;
    let dead = die(&store, "a").await;
    store.mend(vec![dead], Mend::Discard).await.unwrap();
    bed.time.advance(bed.retention.dead.age + MINUTE);
    while store.reader().event(dead.event).await.unwrap().is_some() {
        store.keep(new(event("push"), &[], &[])).await;
    }
    let counts = store.reader().counts().await.unwrap();
    assert_eq!((counts.dead, counts.discarded), (0, 0));
    assert_eq!(counts, recount(&store.reader()).await);
}

#[tokio::test]
async fn deliveries_are_listed_one_by_one_in_pages() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    let mut sent = Vec::new();
    for _ in 0..5 {
        sent.push(store.keep(new(event("push"), &[], &["a", "b", "c:k"])).await);
    }
    die(&store, "a").await;
    let reader = store.reader();
    let filter = Filter { plugin: Some(plugin("a")), ..Filter::default() };
    let mut found = Vec::new();
    let mut from: Option<Cursor> = None;
    loop {
        let Page { found: some, next } = reader.deliveries(&filter, from, 2).await.unwrap();
        assert!(some.len() <= 2);
        found.extend(some);
        from = next;
        if from.is_none() {
            break;
        }
    }
    let newest_first: Vec<_> = sent.iter().rev().copied().collect();
    assert_eq!(found.iter().map(|listed| listed.event.id).collect::<Vec<_>>(), newest_first);
    assert!(found.iter().all(|listed| listed.delivery.plugin == plugin("a")));
    assert_eq!(found[4].delivery.state, DeliveryState::Dead);
    assert_eq!(found[4].delivery.attempts.len(), 1);

    let all = Filter::default();
    let page = reader.delivery_ids(&all, None, 4).await.unwrap();
    assert_eq!(page.found.len(), 6, "all of an event's are on one page");
    let rest = reader.delivery_ids(&all, page.next, 1000).await.unwrap();
    assert_eq!((rest.found.len(), rest.next), (9, None));
    let behind = reader.delivery_ids(&state(DeliveryState::Behind), None, 9).await.unwrap();
    assert_eq!(behind.found.len(), 4);
    assert!(behind.found.iter().all(|id| id.ordinal == 2));
}

#[tokio::test]
async fn all_that_is_kept_of_events_comes_in_pages_that_new_ones_do_not_move() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    let mut sent = Vec::new();
    for _ in 0..3 {
        let mut large = event("push");
        large.body = noise(3 << 20);
        sent.push(large.clone());
        store.keep(new(large, &[], &["a"])).await;
    }
    die(&store, "a").await;
    let reader = store.reader();
    let first = reader.whole(&Filter::default(), None, 1000).await.unwrap();
    assert_eq!(first.found.len(), 2, "a page has some MiB");
    store.keep(new(event("push"), &[], &[])).await;
    let rest = reader.whole(&Filter::default(), first.next, 1000).await.unwrap();
    assert_eq!(rest.next, None);
    let all: Vec<_> = first.found.iter().chain(&rest.found).collect();
    let events: Vec<_> = all.iter().map(|whole| whole.event.clone().unwrap()).collect();
    assert_eq!(events, sent.into_iter().rev().collect::<Vec<_>>());
    assert_eq!(all[2].shown.deliveries[0].attempts.len(), 1);
    // Each says where to go on behind it.
    let behind = reader.whole(&Filter::default(), Some(all[1].next), 1000).await.unwrap();
    assert_eq!(behind.found.len(), 1);
    assert_eq!(behind.found[0].shown.event.id, all[2].shown.event.id);
}

/// Five events, each with an attempt that logged 1 MiB.
async fn talkative(store: &Store) -> Vec<EventId> {
    let mut sent = Vec::new();
    for _ in 0..5 {
        sent.push(store.keep(new(event("push"), &[], &["a"])).await);
        let lease = store.lease_one("a").await;
        let line = LogLine { level: LogLevel::Info, text: "x".repeat(64 << 10) };
        let logged = Attempt { logs: vec![line; 16], ..attempt(Outcome::Done) };
        let settlement = Settlement {
            key: lease.key,
            attempt: logged,
            fate: Fate::Done,
            outputs: vec![],
            state: vec![],
            exchanges: None,
        };
        assert_eq!(store.settle(settlement).await.unwrap(), Settled::Committed);
    }
    sent
}

#[tokio::test]
async fn a_page_ends_where_it_has_some_mebibytes_of_logs_and_the_next_goes_on() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    let (reader, all) = (store.reader(), Filter::default());
    let start = reader.news(&all, None, 9).await.unwrap().next;
    let sent = talkative(&store).await;
    let newest_first: Vec<_> = sent.iter().rev().copied().collect();

    let first = reader.search(&all, None, 1000).await.unwrap();
    let rest = reader.search(&all, first.next, 1000).await.unwrap();
    let found = |page: Page<Shown>| page.found.into_iter().map(|shown| shown.event.id);
    assert_eq!((first.found.len(), rest.next), (4, None));
    assert_eq!(found(first).chain(found(rest)).collect::<Vec<_>>(), newest_first);

    let first = reader.deliveries(&all, None, 1000).await.unwrap();
    let rest = reader.deliveries(&all, first.next, 1000).await.unwrap();
    let found = |page: Page<Listed>| page.found.into_iter().map(|listed| listed.event.id);
    assert_eq!((first.found.len(), rest.next), (4, None));
    assert_eq!(found(first).chain(found(rest)).collect::<Vec<_>>(), newest_first);

    let first = reader.whole(&all, None, 1000).await.unwrap();
    let rest = reader.whole(&all, first.next, 1000).await.unwrap();
    assert_eq!((first.found.len(), rest.found.len(), rest.next), (4, 1, None));

    let first = reader.news(&all, Some(start), 1000).await.unwrap();
    let rest = reader.news(&all, Some(first.next), 1000).await.unwrap();
    assert_eq!((first.found.len(), first.more, rest.more), (4, true, false));
    let told = first.found.into_iter().chain(rest.found).map(|shown| shown.event.id);
    assert_eq!(told.collect::<Vec<_>>(), sent);
}

#[tokio::test]
async fn what_is_new_is_told_once_and_in_order() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    store.keep(new(event("push"), &[], &[])).await;
    let (reader, pushes) =
        (store.reader(), Filter { event_type: Some("push".parse().unwrap()), ..Filter::default() });
    let start = reader.news(&pushes, None, 9).await.unwrap();
    assert!(start.found.is_empty() && !start.more, "what was there is not new");
    let mut sent = Vec::new();
    for nth in 0..5 {
        let id = store.keep(new(event(["push", "ping"][nth % 2]), &[], &[])).await;
        sent.extend((nth % 2 == 0).then_some(id));
    }
    let News { found, next, more } = reader.news(&pushes, Some(start.next), 2).await.unwrap();
    assert_eq!((found.len(), more), (2, true));
    let rest = reader.news(&pushes, Some(next), 9).await.unwrap();
    let told: Vec<_> = found.iter().chain(&rest.found).map(|shown| shown.event.id).collect();
    assert_eq!((told, rest.more), (sent, false));
    let none = reader.news(&pushes, Some(rest.next), 9).await.unwrap();
    assert_eq!((none.found.len(), none.next, none.more), (0, rest.next, false));
}

#[tokio::test]
async fn a_text_is_looked_for_in_some_of_what_is_new_at_a_time() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    let reader = store.reader();
    let filter = Filter { text: Some("needle".to_owned()), ..Filter::default() };
    let start = reader.news(&filter, None, 9).await.unwrap();
    // Together 66 MiB, which nobody reads at once.
    for _ in 0..11 {
        let mut large = event("push");
        large.body = vec![b' '; 6 << 20];
        store.keep(new(large, &[], &[])).await;
    }
    let mut last = event("push");
    last.body = b"a needle".to_vec();
    let last = store.keep(new(last, &[], &[])).await;
    let first = reader.news(&filter, Some(start.next), 9).await.unwrap();
    assert_eq!((first.found.len(), first.more), (0, true));
    let rest = reader.news(&filter, Some(first.next), 9).await.unwrap();
    let found: Vec<_> = rest.found.iter().map(|shown| shown.event.id).collect();
    assert_eq!((found, rest.more), (vec![last], false));
}

#[tokio::test]
async fn pauses_are_kept_until_they_end() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    let source = Pausable::Source("github".parse().unwrap());
    let of_plugin = Pausable::Plugin(plugin("a"));
    let paused = store.pause(source.clone(), "anna".to_owned(), None).await.unwrap();
    assert_eq!((paused.since, paused.by.as_str()), (START, "anna"));
    bed.time.advance(MINUTE);
    store.pause(of_plugin.clone(), "ben".to_owned(), Some("it is sick".to_owned())).await.unwrap();
    let again = store.pause(source.clone(), "ben".to_owned(), Some("a flood".to_owned()));
    let again = again.await.unwrap();
    assert_eq!((again.since, again.by.as_str()), (START, "ben"), "since it was");
    bed.crash();
    let store = bed.boot().await;
    let pauses = store.reader().pauses().await.unwrap();
    assert_eq!(pauses.iter().map(|p| &p.what).collect::<Vec<_>>(), [&of_plugin, &source]);
    assert_eq!(pauses[1], again);
    assert!(store.resume([source.clone()]).await.unwrap());
    assert!(!store.resume([source]).await.unwrap());
    bed.crash();
    let store = bed.boot().await;
    assert_eq!(store.reader().pauses().await.unwrap().len(), 1);
}

#[tokio::test]
async fn claims_are_known_for_as_long_as_they_are_kept() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    let known = |nth: usize| format!("known {nth}");
    for nth in 0..300 {
        store.keep(new(event("push"), &[&known(nth)], &[])).await;
    }
    drop(store);
    let store = bed.boot().await;
    let mut asked: Vec<_> = (0..300).map(|nth| claim(&known(nth))).collect();
    asked.insert(7, claim("never sent"));
    asked.push(claim("nor this"));
    let found = store.reader().claimed(&asked).await.unwrap();
    assert_eq!(found.iter().filter(|found| !**found).count(), 2);
    assert!(!found[7] && !found[301]);
    assert!(store.reader().claimed(&[]).await.unwrap().is_empty());
    // Expired is not forgotten: it was seen.
    bed.time.advance(WINDOW + MINUTE);
    assert!(store.reader().claimed(&asked[..1]).await.unwrap()[0]);
}

#[tokio::test]
async fn a_backlog_is_counted_without_being_walked() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    store.keep(new(event("push"), &[], &["b"])).await;
    bed.time.advance(MINUTE);
    // More than the writer knows by heart.
    for _ in 0..5000 {
        store.keep(new(event("push"), &[], &["a"])).await;
    }
    drop(store);
    let store = bed.boot().await;
    let leases = store.lease_up_to("a", 10).await;
    let _ = store.end(&leases[0], Outcome::Retry, Fate::Due { after: MINUTE }).await;
    let queues = store.reader().queues(bed.time.now()).await.unwrap();
    let [a, b] = &queues[..] else { panic!("{queues:?}") };
    assert_eq!((a.due, a.leased, a.later), (4990, 9, 1));
    assert_eq!(a.oldest_due_at, Some(START + MINUTE));
    assert_eq!(a.next_due_at, Some(START + MINUTE + MINUTE));
    assert_eq!((b.due, b.oldest_due_at), (1, Some(START)));
}
