//! What PostgreSQL's own programs dump and restore is the whole store, and goes on from there.

use std::time::{Duration, Instant};

use hookweir_event::{Fate, Outcome};
use hookweir_store::{Filter, Settled};

use crate::{
    alone::Alone,
    conformance::support::{Verbs, claim, event, new, output, recount},
};

/// So many transactions come to pass on the server that is dumped, and on no other.
const AHEAD: u64 = 20_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_restored_elsewhere_is_the_whole_store() {
    let old = Alone::new();
    old.server.ask(&format!(
        "DO $$ BEGIN FOR n IN 1..{AHEAD} LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$"
    ));
    let store = old.open().await;
    let start = store.reader().news(&Filter::default(), None, 9).await.unwrap().next;
    let done = store.keep(new(event("push"), &["0"], &["a"])).await;
    let lease = store.lease_one("a").await;
    assert_eq!(store.end_with(&lease, vec![output("told", &["b"])]).await, Settled::Committed);
    let dead = store.keep(new(event("push"), &["1"], &["c"])).await;
    let lease = store.lease_one("c").await;
    let end = store.end(&lease, Outcome::Reject, Fate::Dead { blocks: false }).await;
    assert_eq!(end, Settled::Committed);
    let first = store.keep(new(event("push"), &[], &["d:k"])).await;
    let second = store.keep(new(event("push"), &[], &["d:k"])).await;
    let told = store.reader().news(&Filter::default(), Some(start), 9).await.unwrap();
    let counts = recount(&store.reader()).await;
    assert_eq!((counts.events, counts.done, counts.dead, counts.due), (5, 1, 1, 3));
    store.close().await.unwrap();
    let dump = old.server.dump();

    let new_one = Alone { time: old.time.clone(), ..Alone::new() };
    new_one.server.restore(&dump);
    let (last, next) = ("SELECT max(tx) FROM events", "SELECT pg_current_xact_id()::text::bigint");
    let [last, next] = [last, next].map(|sql| new_one.ask(sql).parse::<u64>().unwrap());
    assert!(last > next + AHEAD / 2, "what it brought is of {last}, the next is {next}");

    let store = new_one.open().await;
    assert_eq!(recount(&store.reader()).await, counts);
    let begun = Instant::now();
    let news = store.reader().news(&Filter::default(), Some(start), 9).await.unwrap();
    let ids =
        |found: &[hookweir_store::Shown]| found.iter().map(|it| it.event.id).collect::<Vec<_>>();
    assert_eq!(ids(&news.found), ids(&told.found));
    assert!(begun.elapsed() < Duration::from_secs(2), "they were waited for");
    // Who was sent again is known,
    for (key, id) in [("0", done), ("1", dead)] {
        assert_eq!(store.keep(new(event("push"), &[key], &["a"])).await, id);
    }
    assert_eq!(store.reader().claimed(&[claim("0"), claim("2")]).await.unwrap(), [true, false]);
    // lines go on in their order,
    for id in [first, second] {
        let lease = store.lease_one("d").await;
        assert_eq!(lease.event.id, id);
        assert!(store.lease_up_to("d", 9).await.is_empty());
        assert_eq!(store.end(&lease, Outcome::Done, Fate::Done).await, Settled::Committed);
    }
    // and what comes is told behind what was there.
    let late = store.keep(new(event("push"), &["2"], &["a"])).await;
    let news = store.reader().news(&Filter::default(), Some(news.next), 9).await.unwrap();
    assert_eq!(ids(&news.found), [late]);
    let counts = recount(&store.reader()).await;
    assert_eq!((counts.events, counts.done, counts.due, counts.duplicates), (6, 3, 2, 2));
    store.close().await.unwrap();
}
