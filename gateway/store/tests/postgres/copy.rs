//! A store in a file that is copied into a database: everything is there, goes on as it would have, and nothing is
//! overwritten; whoever is killed goes on where it was, and what is not whole, or not the same, is opened by nobody.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use hookweir_event::{Basis, Change, Exchanges, Fate, Hops, Lasts, Outcome, StateChange};
use hookweir_store::{
    Copied, CopyError, CopyOutcome, CopyProgress, CopyStage, Copying, DeliveryId, Depth, Filter,
    Keep, Mend, NewEvent, NewNotice, OpenError, Options, Output, Pausable, Reader, Replay,
    Retention, Settled, Settlement, Store,
};
use proptest::prelude::*;
use tokio::task::spawn_blocking;

use crate::{
    conformance::{
        model::{End, Run, Step, steps},
        support::{
            Bed, Verbs, attempt, claim, event, exchange, new, output, plugin, recount, routes,
        },
    },
    ground::Ground,
};

const MINUTE: Duration = Duration::from_secs(60);
const PLUGINS: [&str; 4] = ["a", "b", "c", "o"];
const FOR_EVER: Retention = {
    let keep = Keep { age: Duration::MAX, bytes: u64::MAX };
    Retention { done: keep, dead: keep }
};

/// A store in a file.
fn bed() -> Bed {
    let mut bed = Bed::new();
    (bed.ground, bed.retention) = (Ground::in_file(), FOR_EVER);
    bed
}

/// What copies it, a few events at a time.
fn copying(bed: &Bed) -> Copying {
    Copying { step: 3, ..Copying::new(bed.ground.location(), bed.ground.database()) }
}

/// Copies, as a command does: no task waits for it.
async fn copy(bed: &Bed) -> Result<CopyOutcome, CopyError> {
    copy_and(bed, |_| {}).await
}

async fn copy_and(
    bed: &Bed,
    mut progress: impl FnMut(CopyProgress) + Send + 'static,
) -> Result<CopyOutcome, CopyError> {
    let copying = copying(bed);
    spawn_blocking(move || copying.run(&mut progress)).await.unwrap()
}

async fn settle(store: &Store, name: &str, fate: Fate, outputs: Vec<Output>) -> DeliveryId {
    let lease = store.lease_one(name).await;
    let set = |key: &str, lasts| StateChange {
        key: key.to_owned(),
        based_on: Basis::Anything,
        change: Change::Set { value: b"a value\0".to_vec(), lasts },
    };
    let settlement = Settlement {
        key: lease.key.clone(),
        attempt: attempt(if fate == Fate::Done { Outcome::Done } else { Outcome::Trap }),
        fate,
        outputs,
        state: vec![set("for ever", Lasts::ForEver), set("for an hour", Lasts::For(60 * MINUTE))],
        exchanges: Some(Exchanges { kept: vec![exchange(1), exchange(2)], left_out: 3 }),
    };
    assert_eq!(store.settle(settlement).await.unwrap(), Settled::Committed);
    let shown = store.shown(lease.event.id).await;
    shown.deliveries.iter().find(|delivery| delivery.plugin == lease.plugin).unwrap().id
}

async fn die(store: &Store, name: &str, blocks: bool) -> DeliveryId {
    settle(store, name, Fate::Dead { blocks }, vec![]).await
}

fn held(source: &str) -> Pausable {
    Pausable::Held(source.parse().unwrap())
}

fn of(source: &str, to: &[&str]) -> NewEvent {
    let mut event = event("sold");
    event.origin = source.parse().unwrap();
    new(event, &[], to)
}

fn notice(name: &str, raised: bool) -> NewNotice {
    let mut event = event("alert.latency");
    event.origin = "gateway".parse().unwrap();
    NewNotice { name: name.to_owned(), raised, event, routes: routes(&["c"]) }
}

/// An event that is gone, and whose dedupe key holds still; and one that had a key before another had it.
async fn leave_claims(bed: &mut Bed) {
    let short = Keep { age: MINUTE, bytes: u64::MAX };
    bed.retention = Retention { done: short, dead: short };
    let store = bed.boot().await;
    store.keep(new(event("push"), &["gone"], &["a"])).await;
    let brief =
        NewEvent { dedupe_window: MINUTE, ..new(event("push"), &["again", "once"], &["b"]) };
    store.keep(brief).await;
    settle(&store, "a", Fate::Done, vec![]).await;
    bed.time.advance(2 * MINUTE);
    store.keep(new(event("push"), &["again"], &["b"])).await;
    store.lease_up_to("nobody", 1).await;
    assert_eq!(store.reader().counts().await.unwrap().events, 2, "one is gone");
    store.close().await.unwrap();
    bed.retention = FOR_EVER;
}

/// Lines in which deliveries wait, block, died and went on; one that an operator brought back; replays.
async fn line_up(store: &Store) {
    let mut ids = Vec::new();
    for to in ["o:k", "o:k", "o:k", "o:j", "o:j", "o:l", "o:l", "o:m", "o:n", "o:n"] {
        ids.push(store.keep(new(event("push"), &[], &[to])).await);
    }
    // The first of each line, in the order they came.
    die(store, "o", true).await;
    die(store, "o", false).await;
    let skipped = die(store, "o", true).await;
    let discarded = die(store, "o", true).await;
    let retried = die(store, "o", true).await;
    assert_eq!(store.mend(vec![skipped], Mend::Skip).await.unwrap(), 1);
    assert_eq!(store.mend(vec![discarded], Mend::Discard).await.unwrap(), 1);
    assert_eq!(store.mend(vec![retried], Mend::Retry).await.unwrap(), 1);
    // Behind all there are, in one place, and before the next.
    for event in [ids[1], ids[0]] {
        let replay = Replay { event, routes: routes(&["o:k", "a"]) };
        assert_eq!(store.replay(vec![replay]).await.unwrap(), 2);
    }
    store.keep(new(event("push"), &[], &["o:k"])).await;
}

/// Something of every kind that a store can hold; and leases of a process that has ended.
async fn fill(bed: &mut Bed) {
    leave_claims(bed).await;
    let store = bed.boot().await;
    let first = store.keep(new(event("push"), &["1", "2"], &["a", "b"])).await;
    for key in ["1", "2", "again"] {
        let again = store.append(new(event("push"), &[key], &["a"])).await.unwrap();
        assert!(again.is_duplicate());
    }
    store.keep(new(event("ping"), &[], &[])).await;
    line_up(&store).await;
    // Of the first one of `a`, and what was replayed later.
    assert_eq!(store.lease_one("a").await.event.id, first);
    // The process ends, with what it has.
    drop(store);
    bed.time.advance(MINUTE);
    let store = bed.boot().await;
    settle(&store, "a", Fate::Done, vec![output("built", &["c", "o:k"]), output("built", &[])])
        .await;
    let mut deep = event("deep");
    deep.hops = Hops::LIMIT;
    store.keep(new(deep, &[], &["c"])).await;
    while store.reader().counts().await.unwrap().dead < 4 {
        settle(&store, "c", Fate::Done, vec![output("too-deep", &["c"])]).await;
    }
    settle(&store, "b", Fate::Due { after: 90 * MINUTE }, vec![]).await;
    settle(&store, "b", Fate::Due { after: Duration::ZERO }, vec![]).await;
    for (name, raised) in [("disk", true), ("latency", true), ("latency", false)] {
        assert!(store.notice(notice(name, raised)).await.unwrap());
    }
    let why = Some("a\0deploy".to_owned());
    store.pause(Pausable::Plugin(plugin("b")), "anna".to_owned(), why).await.unwrap();
    // One with a row and one without are leased, then all that is due is aside.
    store.keep(new(event("push"), &["3"], &["a", "a", "b"])).await;
    assert_eq!(store.lease_up_to("b", 2).await.len(), 2);
    assert_eq!(store.lease_up_to("a", 1).await.len(), 1);
    for source in ["shop", "shop", "github"] {
        store.keep(of(source, &["c", "o:s"])).await;
    }
    for source in ["shop", "github"] {
        store.pause(held(source), "anna".to_owned(), None).await.unwrap();
        for name in ["c", "o"] {
            store.lease_up_to(name, 1).await;
        }
    }
    assert!(store.resume([held("shop")]).await.unwrap());
    drop(store);
}

/// Each engine has its own order of these.
async fn depths(reader: &Reader) -> Vec<Depth> {
    let mut depths = reader.survey().await.unwrap().depths;
    depths.sort_by(|one, other| one.plugin.cmp(&other.plugin));
    depths
}

/// Sees that two readers see the same.
async fn same(one: &Reader, other: &Reader, bed: &Bed) {
    let events = one.events(None, 1000).await.unwrap();
    assert_eq!(events, other.events(None, 1000).await.unwrap());
    for shown in &events {
        let id = shown.event.id;
        assert_eq!(one.event(id).await.unwrap(), other.event(id).await.unwrap());
        for delivery in &shown.deliveries {
            for made in &delivery.attempts {
                let sent = one.exchanges(delivery.id, made.number).await.unwrap();
                assert_eq!(sent, other.exchanges(delivery.id, made.number).await.unwrap());
            }
        }
    }
    // But for its numbers, which each engine gives as it likes.
    let whole = async |reader: &Reader| {
        let found = reader.whole(&Filter::default(), None, 1000).await.unwrap().found;
        found.into_iter().map(|it| (it.shown, it.event)).collect::<Vec<_>>()
    };
    assert_eq!(whole(one).await, whole(other).await);
    assert_eq!(one.counts().await.unwrap(), other.counts().await.unwrap());
    assert_eq!(depths(one).await, depths(other).await);
    let now = bed.time.now();
    assert_eq!(one.queues(now).await.unwrap(), other.queues(now).await.unwrap());
    assert_eq!(one.notices().await.unwrap(), other.notices().await.unwrap());
    assert_eq!(one.pauses().await.unwrap(), other.pauses().await.unwrap());
    assert_eq!(one.blocked(None, 99).await.unwrap(), other.blocked(None, 99).await.unwrap());
    for name in PLUGINS {
        let state = one.whole_state(&plugin(name), u64::MAX).await.unwrap();
        assert_eq!(state, other.whole_state(&plugin(name), u64::MAX).await.unwrap());
        let bytes = one.state_bytes(&plugin(name)).await.unwrap();
        assert_eq!(bytes, other.state_bytes(&plugin(name)).await.unwrap());
    }
    // Those that expired go at another time, and of one that was taken again another event is found first.
    let claims = ["1", "2", "3", "4"].map(claim);
    assert_eq!(one.claimed(&claims).await.unwrap(), other.claimed(&claims).await.unwrap());
    for claim in claims {
        let filter = Filter { claim: Some(claim), ..Filter::default() };
        let found = one.search_ids(&filter, None, 99).await.unwrap().found;
        assert_eq!(found, other.search_ids(&filter, None, 99).await.unwrap().found);
    }
}

fn unfinished(opened: &Result<Store, OpenError>) -> bool {
    matches!(opened, Err(OpenError::Unfinished { .. }))
}

#[tokio::test]
async fn a_copy_has_all_that_the_store_had() {
    let mut bed = bed();
    fill(&mut bed).await;
    let file = Reader::of(&bed.ground.location()).unwrap();
    let CopyOutcome::Whole(copied) = copy(&bed).await.unwrap() else { panic!("it was not there") };
    let counts = file.counts().await.unwrap();
    assert_eq!(copied.events, counts.events);
    assert!(counts.leased > 2 && counts.duplicates == 3 && counts.unrouted == 2, "{counts:?}");
    assert!(counts.discarded == 1 && counts.dead == 4 && counts.outputs > 2, "{counts:?}");
    let depths = file.survey().await.unwrap().depths;
    assert!(depths.iter().any(|depth| depth.held > 0) && depths.iter().any(|it| it.let_go > 0));
    assert_eq!(bed.ground.ask("SELECT count(*) FROM events"), counts.events.to_string());
    let database = Reader::of(&bed.ground.database()).unwrap();
    same(&file, &database, &bed).await;
    let expired = ["again", "gone", "once"].map(claim);
    assert_eq!(database.claimed(&expired).await.unwrap(), [true; 3]);
    assert_eq!(copy(&bed).await.unwrap(), CopyOutcome::WasWhole);

    // Each is opened by a gateway: what was leased is lost, here as there.
    let original = bed.boot().await;
    bed.ground.moved(true);
    let copy = bed.boot().await;
    same(&original.reader(), &copy.reader(), &bed).await;
    assert_eq!(copy.reader().counts().await.unwrap(), recount(&copy.reader()).await);
    for store in [&original, &copy] {
        assert!(store.resume([held("github")]).await.unwrap());
    }
    go_on(&original, &copy, &mut bed).await;
}

/// Both go on in the same way.
async fn go_on(original: &Store, copy: &Store, bed: &mut Bed) {
    let seen = |store: &Store| store.reader();
    for key in ["1", "3", "gone", "again", "once"] {
        let event = event("push");
        let answers =
            [original, copy].map(|store| store.append(new(event.clone(), &[key], &["a"])));
        let [one, other] = answers;
        assert_eq!(one.await.unwrap(), other.await.unwrap(), "{key}");
    }
    bed.time.advance(100 * MINUTE);
    for name in PLUGINS {
        loop {
            let (one, other) =
                (original.lease_up_to(name, 2).await, copy.lease_up_to(name, 2).await);
            let ids = |leases: &[hookweir_store::Lease]| -> Vec<_> {
                leases.iter().map(|it| (it.event.id, it.attempt, it.excused, it.waited)).collect()
            };
            assert_eq!(ids(&one), ids(&other), "{name}");
            if one.is_empty() {
                break;
            }
            for (one, other) in one.iter().zip(&other) {
                let ended = original.end(one, Outcome::Done, Fate::Done).await;
                assert_eq!(ended, copy.end(other, Outcome::Done, Fate::Done).await);
                assert_eq!(ended, Settled::Committed);
            }
        }
    }
    let unblocked = original.unblock(plugin("o")).await.unwrap();
    assert_eq!(unblocked, copy.unblock(plugin("o")).await.unwrap());
    assert!(unblocked > 0);
    same(&seen(original), &seen(copy), bed).await;
    let change = StateChange {
        key: "new".to_owned(),
        based_on: Basis::Nothing,
        change: Change::Set { value: b"1".to_vec(), lasts: Lasts::ForEver },
    };
    for store in [original, copy] {
        let _ = store.write_state(plugin("a"), vec![change.clone()]).await.unwrap();
    }
    same(&seen(original), &seen(copy), bed).await;
}

#[tokio::test]
async fn one_that_is_killed_goes_on_where_it_was() {
    let mut bed = bed();
    fill(&mut bed).await;
    // Killed between two transactions.
    let copying = copying(&bed);
    let killed = spawn_blocking(move || {
        let mut steps = 0;
        let run = || {
            copying.run(&mut |_| {
                steps += 1;
                assert!(steps < 3, "killed");
            })
        };
        catch_unwind(AssertUnwindSafe(run)).is_err()
    });
    assert!(killed.await.unwrap());
    assert_eq!(bed.ground.ask("SELECT count(*) FROM events"), "9");

    // The next one fails within a transaction: nothing of that is there.
    bed.ground.ask("ALTER TABLE deliveries RENAME TO elsewhere");
    let error = copy(&bed).await.unwrap_err();
    assert!(matches!(error, CopyError::Database(_)), "{error}");
    bed.ground.ask("ALTER TABLE elsewhere RENAME TO deliveries");
    let there = bed.ground.ask("SELECT count(*) FROM events").parse::<u64>().unwrap();
    let file = bed.ground.location();
    bed.ground.moved(true);
    assert!(unfinished(&Store::open(bed.options()).await));
    bed.ground.moved(false);

    let (told, first) = std::sync::mpsc::channel();
    let outcome = copy_and(&bed, move |progress| told.send(progress).unwrap()).await.unwrap();
    let first = first.recv().unwrap();
    assert!(first.stage == CopyStage::Copying && first.done > there, "{first:?}");
    let file = Reader::of(&file).unwrap();
    let CopyOutcome::Whole(Copied { events, .. }) = outcome else { panic!("it was not whole") };
    assert_eq!(events, file.counts().await.unwrap().events);
    same(&file, &Reader::of(&bed.ground.database()).unwrap(), &bed).await;
}

#[tokio::test]
async fn what_is_in_the_way_is_not_overwritten() {
    let mut bed = bed();
    fill(&mut bed).await;
    let file = bed.ground.location();
    // A gateway has the store open.
    let store = bed.boot().await;
    let error = copy(&bed).await.unwrap_err();
    assert!(error.to_string().contains("in use by another process"), "{error}");
    drop(store);
    // A gateway has the database open.
    bed.ground.moved(true);
    let store = bed.boot().await;
    bed.ground.moved(false);
    assert!(matches!(copy(&bed).await, Err(CopyError::Taken { .. })));
    store.keep(new(event("push"), &[], &[])).await;
    store.close().await.unwrap();
    // It is closed, and has an event of its own.
    assert!(matches!(copy(&bed).await, Err(CopyError::Taken { .. })));
    assert_eq!(bed.ground.ask("SELECT count(*) FROM events"), "1");
    let wrong = Copying::new(bed.ground.database(), file.clone());
    let error = spawn_blocking(move || wrong.run(&mut |_| {})).await.unwrap().unwrap_err();
    assert!(matches!(error, CopyError::Direction), "{error}");
}

#[tokio::test]
async fn a_store_that_was_used_meanwhile_is_not_mixed_with_what_was_copied() {
    let mut bed = bed();
    fill(&mut bed).await;
    let stop = |progress: CopyProgress| assert_eq!(progress.stage, CopyStage::Copying, "killed");
    let copying_it = copying(&bed);
    let killed = spawn_blocking(move || {
        catch_unwind(AssertUnwindSafe(|| copying_it.run(&mut { stop }))).is_err()
    });
    assert!(killed.await.unwrap());
    // Another store.
    let other = self::bed();
    drop(Store::open(Options { owner: [99; 16], ..other.options() }).await.unwrap());
    let elsewhere = Copying::new(other.ground.location(), bed.ground.database());
    let error = spawn_blocking(move || elsewhere.run(&mut |_| {})).await.unwrap().unwrap_err();
    assert!(matches!(error, CopyError::OfAnother { .. }), "{error}");
    // The same one, later.
    drop(bed.boot().await);
    let error = copy(&bed).await.unwrap_err();
    assert!(matches!(error, CopyError::Changed { .. }), "{error}");
}

#[tokio::test]
async fn a_copy_that_is_not_the_same_is_opened_by_nobody() {
    for (damage, said) in [
        ("UPDATE events SET body = 'x' WHERE seq = 5", "events: "),
        (
            "DELETE FROM claims WHERE expires_at = (SELECT max(expires_at) FROM claims)",
            "dedupe keys: ",
        ),
        ("UPDATE totals SET dead_bytes = dead_bytes + 1", "the total of dead_bytes: "),
        ("UPDATE depths SET behind = behind + 1 WHERE plugin = 'o'", "plugins' deliveries"),
        ("UPDATE lines SET last = last + 1 WHERE length = 1", "order keys: "),
        ("UPDATE state SET version = version + 1", "entries of state: "),
        ("INSERT INTO duplicates VALUES ('nobody', 1, 1)", "counts of duplicates: "),
    ] {
        let mut bed = bed();
        fill(&mut bed).await;
        let ground = bed.ground.asks();
        let mut done = false;
        let damaged = copy_and(&bed, move |progress| {
            if progress.stage == CopyStage::Reading && !done {
                done = true;
                let sql = format!("WITH d AS ({damage} RETURNING 1) SELECT count(*) FROM d");
                assert_ne!(ground(&sql), "0");
            }
        });
        let error = damaged.await.unwrap_err();
        let CopyError::Differs(differing) = &error else { panic!("{error}") };
        assert!(differing.iter().any(|what| what.contains(said)), "{damage}: {error}");
        bed.ground.moved(true);
        assert!(unfinished(&Store::open(bed.options()).await));
    }
}

/// Whatever happened in the file, and whatever happens then in the database.
fn whole_histories() -> impl Strategy<Value = (Vec<Step>, Vec<Step>)> {
    (steps(), steps())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_copy_does_what_the_model_does((before, after) in whole_histories()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut run = Run::new(bed()).await;
            for step in before {
                // A crash of the file is the other engine's affair.
                run.step(match step {
                    Step::Restart(End::Crash) => Step::Restart(End::Drop),
                    step => step,
                }).await;
            }
            run.restart(async |run: &mut Run| {
                drop(run.store.take());
                copy(&run.bed).await.unwrap();
                run.bed.ground.moved(true);
            }).await;
            for step in after {
                run.step(step).await;
            }
            run.look().await;
        });
    }
}
