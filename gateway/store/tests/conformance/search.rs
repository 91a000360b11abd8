//! Searches: they find what a look at every event would find, page by page, over blocks that are whole,
//! blocks that are not, restarts and what was forgotten.

use std::time::Duration;

use hookweir_event::{EventId, Fate, OrderKey, Outcome, Timestamp};
use hookweir_store::{Cursor, DeliveryState, Filter, Page, Reader, Standpoint, Store};
use proptest::prelude::*;

use crate::conformance::support::{Bed, START, Verbs, claim, event, new, plugin};

/// What is known of an event that was appended.
#[derive(Debug, Clone)]
struct Sent {
    id: EventId,
    source: &'static str,
    event_type: &'static str,
    route: &'static str,
    at: Timestamp,
    state: Standpoint,
}

const SOURCES: [&str; 3] = ["github", "stripe", "erp"];
const TYPES: [&str; 3] = ["push", "payment.made", "payment.lost"];
const ROUTES: [&str; 4] = ["", "a", "b:k", "b:j"];

async fn send(bed: &Bed, store: &Store, nth: usize) -> Sent {
    let (source, event_type, route) =
        (SOURCES[nth % 3], TYPES[nth / 3 % 3], ROUTES[nth / 9 % ROUTES.len()]);
    let mut event = event(event_type);
    event.origin = source.parse().unwrap();
    event.received_at = bed.time.now();
    event.body = format!("number {nth}!").into();
    let routes: Vec<_> = Some(route).filter(|route| !route.is_empty()).into_iter().collect();
    let (id, at) = (event.id, event.received_at);
    let _ = store.append(new(event, &[&format!("claim {nth}")], &routes)).await.unwrap();
    let state = match route {
        "" => Standpoint::Unrouted,
        _ => Standpoint::Delivery(DeliveryState::Due),
    };
    Sent { id, source, event_type, route, at, state }
}

/// All pages of a search.
async fn all(reader: &Reader, filter: &Filter, limit: usize) -> Vec<EventId> {
    let (mut ids, mut from) = (Vec::new(), None);
    loop {
        let Page { found, next } = reader.search_ids(filter, from, limit).await.unwrap();
        assert!(found.len() <= limit);
        ids.extend(found);
        from = match next {
            Some(next) => Some(next.to_string().parse::<Cursor>().unwrap()),
            None => return ids,
        };
    }
}

/// Two blocks and a part of a third, of which some are done and some are dead, over a restart.
async fn history(bed: &mut Bed) -> (Store, Vec<Sent>) {
    let mut store = bed.boot().await;
    let mut sent = Vec::new();
    for nth in 0..2500 {
        if nth == 700 {
            bed.crash();
            store = bed.boot().await;
        }
        bed.time.advance(Duration::from_millis(10));
        sent.push(send(bed, &store, nth).await);
    }
    for lease in store.lease_up_to("a", 300).await {
        let nth = sent.iter().position(|sent| sent.id == lease.event.id).unwrap();
        let (outcome, fate, state) = match nth % 4 {
            0 => (Outcome::Trap, Fate::Dead { blocks: true }, DeliveryState::Dead),
            _ => (Outcome::Done, Fate::Done, DeliveryState::Done),
        };
        let _ = store.end(&lease, outcome, fate).await;
        sent[nth].state = Standpoint::Delivery(state);
    }
    // Of each key of `b`, one is due, and all later ones wait for it.
    let mut seen = Vec::new();
    for sent in sent.iter_mut().filter(|sent| sent.route.starts_with("b:")) {
        if seen.contains(&sent.route) {
            sent.state = Standpoint::Delivery(DeliveryState::Behind);
        }
        seen.push(sent.route);
    }
    (store, sent)
}

fn expected(sent: &[Sent], filter: &Filter) -> Vec<EventId> {
    let key = |sent: &Sent| sent.route.split_once(':').map(|(_, key)| OrderKey::new(key));
    let to = |sent: &Sent| sent.route.split(':').next().filter(|name| !name.is_empty()).map(plugin);
    let meant = sent.iter().enumerate().filter(|(nth, sent)| {
        let origin = sent.source.parse().unwrap();
        let event_type = sent.event_type.parse().unwrap();
        filter.origin.as_ref().is_none_or(|wanted| *wanted == origin)
            && filter.event_type.as_ref().is_none_or(|wanted| *wanted == event_type)
            && filter.pattern.as_ref().is_none_or(|wanted| wanted.matches(&origin, &event_type))
            && filter.since.is_none_or(|since| sent.at >= since)
            && filter.until.is_none_or(|until| sent.at < until)
            && filter.claim.is_none_or(|wanted| wanted == claim(&format!("claim {nth}")))
            && filter.plugin.as_ref().is_none_or(|wanted| to(sent).as_ref() == Some(wanted))
            && filter.order_key.as_ref().is_none_or(|wanted| key(sent).as_ref() == Some(wanted))
            && filter.state.is_none_or(|wanted| sent.state == wanted)
            && filter.text.as_ref().is_none_or(|text| format!("number {nth}!").contains(text))
    });
    let mut ids: Vec<_> = meant.map(|(_, sent)| sent.id).collect();
    ids.reverse();
    ids
}

fn filter() -> impl Strategy<Value = Filter> {
    use proptest::{option::of, sample::select};
    let time = || (0..30_000_u64).prop_map(|millis| START + Duration::from_millis(millis));
    let state = select(vec!["due", "behind", "done", "dead", "unrouted", "leased", "blocks"]);
    let words = (
        of(select(&SOURCES[..])),
        of(select(&TYPES[..])),
        of(select(vec!["*/payment.*", "stripe/*", "erp/push"])),
        of(select(vec!["a", "b", "c"])),
        of(select(vec!["k", "j"])),
        of(state),
    );
    let rest = (
        of(time()),
        of(time()),
        prop::option::weighted(0.2, 0..2600_usize),
        of(select(vec!["7", "42", "number 1"])),
    );
    (words, rest).prop_map(|((origin, event_type, pattern, plugin, key, state), rest)| Filter {
        origin: origin.map(|text| text.parse().unwrap()),
        event_type: event_type.map(|text| text.parse().unwrap()),
        pattern: pattern.map(|text| text.parse().unwrap()),
        plugin: plugin.map(|text| text.parse().unwrap()),
        order_key: key.map(OrderKey::new),
        state: state.map(|text| text.parse().unwrap()),
        since: rest.0,
        until: rest.1,
        claim: rest.2.map(|nth| claim(&format!("claim {nth}"))),
        text: rest.3.map(str::to_owned),
        duplicated: false,
    })
}

#[test]
fn a_search_finds_what_a_look_at_every_event_finds() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut bed = Bed::new();
    let (store, sent) = runtime.block_on(history(&mut bed));
    let reader = store.reader();
    let config = ProptestConfig { cases: 400, failure_persistence: None, ..Default::default() };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    runner
        .run(&(filter(), 1..60_usize), |(filter, limit)| {
            let found = runtime.block_on(all(&reader, &filter, limit));
            prop_assert_eq!(&found, &expected(&sent, &filter));
            let count = runtime.block_on(reader.count(&filter)).unwrap();
            prop_assert_eq!(count, found.len() as u64);
            Ok(())
        })
        .unwrap();
    runtime.block_on(special_searches(&bed, &store, &sent));
}

/// What is seldom asked for.
async fn special_searches(bed: &Bed, store: &Store, sent: &[Sent]) {
    let reader = store.reader();
    for nth in [3, 1500] {
        let again = store.append(new(event("push"), &[&format!("claim {nth}")], &[])).await;
        assert!(again.unwrap().is_duplicate());
    }
    let filter = Filter { duplicated: true, ..Filter::default() };
    assert_eq!(all(&reader, &filter, 1).await, [sent[1500].id, sent[3].id]);
    let shown = reader.search(&filter, None, 1).await.unwrap();
    assert_eq!(
        (shown.found[0].duplicates, shown.found[0].duplicated_at),
        (1, Some(bed.time.now()))
    );
    for nth in [0, 699, 700, 1023, 1024, 2047, 2048, 2499] {
        let filter = Filter { claim: Some(claim(&format!("claim {nth}"))), ..Filter::default() };
        assert_eq!(all(&reader, &filter, 9).await, [sent[nth].id]);
    }
    assert_eq!(all(&reader, &Filter::default(), 1000).await.len(), 2500);
}

#[tokio::test]
async fn pages_do_not_move_while_events_come() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    let mut ids = Vec::new();
    for nth in 0..30 {
        ids.push(send(&bed, &store, nth).await.id);
    }
    let page = store.reader().search_ids(&Filter::default(), None, 10).await.unwrap();
    for nth in 30..60 {
        send(&bed, &store, nth).await;
    }
    let next = store.reader().search_ids(&Filter::default(), page.next, 30).await.unwrap();
    let seen: Vec<_> = page.found.into_iter().chain(next.found).rev().collect();
    assert_eq!(seen, ids);
    assert_eq!(next.next, None);
}

#[tokio::test]
async fn what_is_shown_is_whole_and_what_was_forgotten_is_not_found() {
    let mut bed = Bed::new();
    let (store, sent) = history(&mut bed).await;
    let filter = Filter { state: Some("dead".parse().unwrap()), ..Filter::default() };
    let page = store.reader().search(&filter, None, 1).await.unwrap();
    assert_eq!(page.found[0].deliveries[0].attempts[0].attempt.outcome, Outcome::Trap);
    bed.time.advance(Duration::from_secs(8 * 24 * 3600));
    for _ in 0..60 {
        store.lease_up_to("nobody", 1).await;
    }
    assert!(store.reader().count(&filter).await.unwrap() > 0);
    let done = Filter { state: Some("done".parse().unwrap()), ..Filter::default() };
    assert_eq!(store.reader().count(&done).await.unwrap(), 0);
    let gone = sent.iter().filter(|sent| sent.state == Standpoint::Unrouted).count() as u64;
    let unrouted = Filter { state: Some(Standpoint::Unrouted), ..Filter::default() };
    assert!(gone > 0);
    assert_eq!(store.reader().count(&unrouted).await.unwrap(), 0);
}

#[tokio::test]
async fn what_several_plugins_have_dead_is_found_once_and_in_order() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    let mut died = Vec::new();
    for nth in 0..24 {
        // Some have several of one plugin's.
        let routes: &[&str] = [&["a", "a", "a"][..], &["b"], &["a", "b", "c:k"]][nth % 3];
        died.push(store.keep(new(event("push"), &[], routes)).await);
    }
    for name in ["a", "b"] {
        for lease in store.lease_up_to(name, 1000).await {
            let _ = store.end(&lease, Outcome::Trap, Fate::Dead { blocks: true }).await;
        }
    }
    died.reverse();
    let filter = Filter { state: Some("dead".parse().unwrap()), ..Filter::default() };
    for limit in [1, 2, 5, 24, 1000] {
        assert_eq!(all(&store.reader(), &filter, limit).await, died, "{limit} on a page");
    }
    let of_b = Filter { plugin: Some(plugin("b")), ..filter };
    let of_b = all(&store.reader(), &of_b, 3).await;
    assert_eq!(of_b, died.into_iter().filter(|id| of_b.contains(id)).collect::<Vec<_>>());
    assert_eq!(of_b.len(), 16);
}

#[test]
fn words_and_cursors_that_are_none_are_refused() {
    assert!("sleeping".parse::<Standpoint>().is_err());
    for bad in ["", "-1", "0", "xyz", "fffffffffffffffff", "0.1", "1.-1", "1.x", ".", "1."] {
        assert!(bad.parse::<Cursor>().is_err(), "{bad}");
    }
}
