//! What can happen between a gateway and its database, each shown to have happened: connections cut in the middle of
//! commits, a server that is killed, gone, silent or slow, one that takes over, clocks that are wrong.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use hookweir_event::{
    Basis, Change, Clock, Event, EventId, Fate, Lasts, Outcome, StateChange, Timestamp,
};
use hookweir_ground::{
    postgres::Postgres,
    relay::{Moment, Network, Relay},
};
use hookweir_store::{
    DeliveryState, Health, Lease, NewNotice, Options, Output, PostgresDatabase, Replay, Settled,
    Store, StoreError, Written,
};

use crate::conformance::support::{Verbs, event, new, output, plugin, recount, routes};

/// How long anything may take before a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// How long a verb may take whose database is not there.
pub(crate) const ANSWER_MAX: Duration = Duration::from_secs(15);

/// One of now: what the suite's clock says is long over for a server's.
pub(crate) fn of_now(mut event: Event) -> Event {
    let chance = event.id.as_bytes()[6..].try_into().unwrap();
    event.received_at = Clock::system().now();
    event.id = EventId::new(event.received_at, chance);
    event
}

/// What an attempt makes.
pub(crate) fn built() -> Output {
    let output = output("built", &[]);
    Output { event: of_now(output.event), ..output }
}

/// Opens a store as a gateway of this number does.
pub(crate) async fn open(url: String, gateway: u8) -> Store {
    open_at(url, gateway, Clock::system()).await
}

async fn open_at(url: String, gateway: u8, clock: Clock) -> Store {
    let options = Options::new(PostgresDatabase::new(url), [gateway; 16], clock);
    Store::open(options).await.unwrap()
}

/// A clock that is wrong by so many hours.
fn wrong_by(hours: i64) -> Clock {
    let right = Clock::system();
    Clock::new(move || Timestamp::from_millis(right.now().as_millis() + hours * 3_600_000))
}

/// Waits until the store says of itself that it does, or does not, take work.
pub(crate) async fn until_ready(store: &Store, ready: bool) {
    let mut health = store.health();
    let so = health.wait_for(|health| (*health == Health::Ready) == ready);
    tokio::time::timeout(PATIENCE, so).await.expect("it says so in time").unwrap();
}

/// Appends, and again as a sender does that is told to come again: it is one event.
pub(crate) async fn keep(store: &Store, claim: &str) -> EventId {
    let started = Instant::now();
    loop {
        match store.append(new(of_now(event("push")), &[claim], &["a"])).await {
            Ok(receipt) => return receipt.id(),
            Err(error) => assert!(error.retryable() && started.elapsed() < PATIENCE, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Leases one as soon as there is one.
pub(crate) async fn until_leased(store: &Store) -> Lease {
    let started = Instant::now();
    loop {
        if let Some(lease) = store.lease_up_to("a", 1).await.pop() {
            return lease;
        }
        assert!(started.elapsed() < PATIENCE, "nothing is due");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// All that are due, settled by this store, each with an output.
pub(crate) async fn settle_all(store: &Store) -> Vec<EventId> {
    let (mut done, started) = (Vec::new(), Instant::now());
    while store.reader().counts().await.unwrap().due > 0 {
        for lease in store.lease_up_to("a", 100).await {
            let settled = store.end_with(&lease, vec![built()]).await;
            assert_eq!(settled, Settled::Committed);
            done.push(lease.event.id);
        }
        assert!(started.elapsed() < PATIENCE, "it does not come to an end");
    }
    done
}

/// Each is there and done, with one output; there are no others.
pub(crate) async fn audit(store: &Store, kept: &[EventId]) {
    let reader = store.reader();
    let counts = reader.counts().await.unwrap();
    let each = u64::try_from(kept.len()).unwrap();
    assert_eq!(kept.iter().collect::<HashSet<_>>().len(), kept.len());
    assert_eq!((counts.events, counts.outputs, counts.done), (2 * each, each, each), "{counts:?}");
    assert_eq!(counts, recount(&reader).await);
    for id in kept {
        let shown = store.shown(*id).await;
        assert_eq!(shown.deliveries[0].state, DeliveryState::Done, "{shown:#?}");
    }
}

/// Whoever hears nothing of a commit does it again, and finds whether it took place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_that_are_cut_off_take_place_once() {
    const ROUNDS: u64 = 20;
    let server = Postgres::durable();
    let relay = Relay::to(server.address());
    let store = open(Postgres::url_at(&[relay.address()]), 1).await;
    let mut kept = Vec::new();
    let mut cut = 0;
    for round in 0..ROUNDS {
        let moment = if round % 2 == 0 { Moment::Answered } else { Moment::Asked };
        relay.cut_at(b"COMMIT", moment);
        kept.push(keep(&store, &format!("{round}")).await);
        cut += 1;
        relay.until_cut(cut);
        relay.cut_at(b"COMMIT", moment);
        let leases = store.lease_up_to("a", 1).await;
        cut += 1;
        relay.until_cut(cut);
        // It may be somebody else's commit that was cut. What was leased without a word is due again soon.
        let lease = match leases.into_iter().next() {
            Some(lease) => lease,
            None => until_leased(&store).await,
        };
        relay.cut_at(b"COMMIT", moment);
        let settled = store.end_with(&lease, vec![built()]).await;
        assert_eq!(settled, Settled::Committed);
        cut += 1;
        relay.until_cut(cut);
    }
    assert_eq!(relay.cuts(), 3 * ROUNDS);
    audit(&store, &kept).await;
    store.close().await.unwrap();
}

/// A replay has no name by which it could be found: that it is not known whether it took place is said, and no more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_that_is_cut_off_takes_place_once_and_is_not_known_of() {
    let server = Postgres::durable();
    let relay = Relay::to(server.address());
    let store = open(Postgres::url_at(&[relay.address()]), 1).await;
    let id = keep(&store, "1").await;
    let mut unknown = 0;
    for round in 1..=10 {
        until_ready(&store, true).await;
        relay.cut_at(b"COMMIT", Moment::Answered);
        let replay = Replay { event: id, routes: routes(&["a"]) };
        match store.replay(vec![replay]).await {
            // It was somebody else's commit that was cut, or is.
            Ok(made) => assert_eq!(made, 1),
            Err(StoreError::Failed(_)) => unknown += 1,
            Err(error) => panic!("{error}"),
        }
        relay.until_cut(round);
        let made = u64::try_from(store.shown(id).await.deliveries.len()).unwrap() - 1;
        assert_eq!(made, round);
    }
    assert!(unknown > 0, "none was cut");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn state_that_is_cut_off_is_written_once_and_what_is_noticed_is_news() {
    let server = Postgres::durable();
    let relay = Relay::to(server.address());
    let store = open(Postgres::url_at(&[relay.address()]), 1).await;
    for round in 1..=10 {
        until_ready(&store, true).await;
        let before = store.reader().state(&plugin("a"), "n").await.unwrap();
        let based_on = before.map_or(Basis::Nothing, |entry| Basis::Version(entry.version));
        let change = Change::Set { value: round.to_string().into_bytes(), lasts: Lasts::ForEver };
        let set = StateChange { key: "n".to_owned(), based_on, change };
        relay.cut_at(b"COMMIT", Moment::Answered);
        let written = store.write_state(plugin("a"), vec![set]).await.unwrap();
        assert_eq!(written, Written::Committed, "whoever hears of a conflict does it again");
        relay.until_cut(2 * round - 1);
        let entry = store.reader().state(&plugin("a"), "n").await.unwrap().unwrap();
        assert_eq!(entry.value, round.to_string().into_bytes());

        until_ready(&store, true).await;
        relay.cut_at(b"COMMIT", Moment::Answered);
        let (name, raised) = ("full".to_owned(), round % 2 == 1);
        let notice = NewNotice { name, raised, event: of_now(event("push")), routes: vec![] };
        assert!(store.notice(notice).await.unwrap());
        relay.until_cut(2 * round);
    }
    assert_eq!(store.reader().counts().await.unwrap().events, 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_outlives_a_server_that_is_killed() {
    let mut server = Postgres::durable();
    let store = open(server.url(), 1).await;
    let mut kept = Vec::new();
    for round in 0..3 {
        let appending = tokio::spawn({
            let store = store.clone();
            async move {
                let mut kept = Vec::new();
                for nth in 0..100 {
                    kept.push(keep(&store, &format!("{round}-{nth}")).await);
                }
                kept
            }
        });
        let kept_before = u64::try_from(kept.len()).unwrap();
        while store.reader().counts().await.is_ok_and(|now| now.events < kept_before + 20) {}
        server.kill();
        until_ready(&store, false).await;
        server.run();
        until_ready(&store, true).await;
        kept.extend(appending.await.unwrap());
    }
    settle_all(&store).await;
    audit(&store, &kept).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_does_not_answer_is_said_to_be_away_and_is_back_by_itself() {
    let server = Postgres::durable();
    let relay = Relay::to(server.address());
    let store = open(Postgres::url_at(&[relay.address()]), 1).await;
    let mut kept = vec![keep(&store, "before").await];
    for network in [Network::Down, Network::Silent] {
        relay.set(network);
        for _ in 0..3 {
            let started = Instant::now();
            let claim = format!("{network:?}");
            let failed =
                store.append(new(of_now(event("push")), &[&claim], &["a"])).await.unwrap_err();
            assert!(matches!(failed, StoreError::Failed(_) | StoreError::Busy), "{failed}");
            assert!(started.elapsed() < ANSWER_MAX, "{:?} until {failed}", started.elapsed());
        }
        until_ready(&store, false).await;
        relay.set(Network::Well);
        until_ready(&store, true).await;
        kept.push(keep(&store, &format!("{network:?}")).await);
    }
    settle_all(&store).await;
    audit(&store, &kept).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_database_costs_time_and_nothing_else() {
    let server = Postgres::durable();
    let relay = Relay::to(server.address());
    let store = open(Postgres::url_at(&[relay.address()]), 1).await;
    relay.set(Network::Slow(Duration::from_millis(20)));
    let started = Instant::now();
    let mut kept = vec![keep(&store, "alone").await];
    let alone = started.elapsed();
    assert!(alone >= Duration::from_millis(40), "the relay was not slow: {alone:?}");
    let appends: Vec<_> = (0..200)
        .map(|nth| {
            let store = store.clone();
            tokio::spawn(async move { keep(&store, &nth.to_string()).await })
        })
        .collect();
    for append in appends {
        kept.push(append.await.unwrap());
    }
    let all = started.elapsed();
    assert!(all < 50 * alone, "200 at once took {all:?}, one {alone:?}");
    relay.set(Network::Well);
    settle_all(&store).await;
    audit(&store, &kept).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_is_on_the_standby_that_takes_over() {
    let mut primary = Postgres::durable();
    let standby = primary.standby();
    let store = open(Postgres::url_at(&[primary.address(), standby.address()]), 1).await;
    let appending = tokio::spawn({
        let store = store.clone();
        async move {
            let mut kept = Vec::new();
            for nth in 0..200 {
                kept.push(keep(&store, &nth.to_string()).await);
            }
            kept
        }
    });
    while store.reader().counts().await.is_ok_and(|now| now.events < 50) {}
    primary.kill();
    until_ready(&store, false).await;
    standby.promote();
    until_ready(&store, true).await;
    let kept = appending.await.unwrap();
    settle_all(&store).await;
    audit(&store, &kept).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_gateways_may_open_an_empty_database_at_once() {
    let server = Arc::new(Postgres::durable());
    let opening: Vec<_> = (0..4).map(|n| tokio::spawn(open(server.url(), n))).collect();
    let mut stores = Vec::new();
    for store in opening {
        stores.push(store.await.unwrap());
    }
    let mut kept = Vec::new();
    for (nth, store) in stores.iter().enumerate() {
        kept.push(keep(store, &nth.to_string()).await);
        // What another one claimed is a duplicate here.
        assert_eq!(keep(store, "0").await, kept[0]);
    }
    settle_all(&stores[3]).await;
    audit(&stores[0], &kept).await;
}

/// All that is asked at once is written as if it were new, and with care where some of it is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_there_already_is_acknowledged_and_harms_nothing_beside_it() {
    let server = Postgres::durable();
    let [store, other] = [open(server.url(), 1).await, open(server.url(), 2).await];
    let there = of_now(event("push"));
    let mut kept = vec![store.keep(new(there.clone(), &[], &["a"])).await];
    let mut appends = tokio::task::JoinSet::new();
    for nth in 0..100 {
        let (store, other, there) = (store.clone(), other.clone(), there.clone());
        appends.spawn(async move {
            let claim = nth.to_string();
            // Nothing claims it, so that only its row says that it is there.
            let again = match store.append(new(there.clone(), &[], &["a"])).await {
                // It is in a batch with claims that the other one takes: that may take too long.
                Err(StoreError::Busy) => store.append(new(there, &[], &["a"])).await,
                again => again,
            };
            let again = again.unwrap();
            let (here, there) = tokio::join!(keep(&store, &claim), keep(&other, &claim));
            assert_eq!(here, there, "both got it, at once");
            (again.id(), here)
        });
    }
    while let Some(appended) = appends.join_next().await {
        let (again, fresh) = appended.unwrap();
        assert_eq!(again, kept[0]);
        kept.push(fresh);
    }
    let counts = store.reader().counts().await.unwrap();
    assert_eq!((counts.events, counts.due), (101, 101));
    settle_all(&store).await;
    audit(&store, &kept).await;
}

/// It takes half a minute until a gateway that says nothing is taken for gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_is_cut_off_loses_its_leases_and_settles_none_of_them() {
    let server = Postgres::durable();
    let relay = Relay::to(server.address());
    let cut_off = open(Postgres::url_at(&[relay.address()]), 1).await;
    let other = open(server.url(), 2).await;
    let kept: Vec<_> = [keep(&cut_off, "1").await, keep(&cut_off, "2").await].into();
    let lease = cut_off.lease_one("a").await;
    assert_eq!(other.lease_up_to("a", 9).await.len(), 1, "the other one is leased");
    relay.set(Network::Silent);
    let started = Instant::now();
    let again = loop {
        if let Some(lease) = other.lease_up_to("a", 1).await.pop() {
            break lease;
        }
        assert!(started.elapsed() < PATIENCE, "nobody frees what it leased");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    println!("leased again {:?} after the gateway was cut off", started.elapsed());
    assert_eq!((again.event.id, again.lost_leases), (lease.event.id, 1));
    relay.set(Network::Well);
    until_ready(&cut_off, true).await;
    assert_eq!(cut_off.end_with(&lease, vec![built()]).await, Settled::LeaseLost);
    assert_eq!(other.end_with(&again, vec![]).await, Settled::Committed);
    let counts = other.reader().counts().await.unwrap();
    assert_eq!((counts.events, counts.done, counts.leased), (2, 1, 1));
    // It goes on as one that it was not before.
    let third = keep(&cut_off, "3").await;
    let lease = cut_off.lease_one("a").await;
    assert_eq!(lease.event.id, third);
    assert_eq!(cut_off.end_with(&lease, vec![]).await, Settled::Committed);
    assert!(!kept.contains(&third));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_gateways_clocks_say_does_not_matter() {
    let server = Postgres::durable();
    let early = open_at(server.url(), 1, wrong_by(-1)).await;
    let late = open_at(server.url(), 2, wrong_by(1)).await;
    let right = Clock::system().now().as_millis();
    for (nth, [here, there]) in [[&early, &late], [&late, &early]].into_iter().enumerate() {
        let id = keep(here, &nth.to_string()).await;
        assert_eq!(keep(there, &nth.to_string()).await, id, "the claim holds");
        let lease = there.lease_one("a").await;
        let fate = Fate::Due { after: Duration::from_secs(1) };
        assert_eq!(there.end(&lease, Outcome::Retry, fate).await, Settled::Committed);
        let due_at = here.shown(id).await.deliveries[0].due_at.as_millis();
        assert!((right..right + 60_000).contains(&due_at), "due at {due_at}, now it is {right}");
        let mut leased = !here.lease_up_to("a", 1).await.is_empty();
        let now = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint + ahead FROM hookweir.meta";
        assert!(!leased || server.ask(now).parse::<i64>().unwrap() >= due_at, "it is not due yet");
        let started = Instant::now();
        while !leased {
            assert!(started.elapsed() < PATIENCE, "it is never due");
            tokio::time::sleep(Duration::from_millis(50)).await;
            leased = !here.lease_up_to("a", 1).await.is_empty();
        }
    }
}

/// Each gateway is told when an entry is over by its own clock, and all are told the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_state_expires_the_database_says_and_gateways_clocks_do_not_matter() {
    let server = Postgres::durable();
    let stores = [
        (open_at(server.url(), 1, wrong_by(-1)).await, wrong_by(-1)),
        (open_at(server.url(), 2, wrong_by(1)).await, wrong_by(1)),
    ];
    for (key, ttl) in [("long", Duration::from_secs(600)), ("short", Duration::from_millis(1))] {
        let change = Change::Set { value: b"1".to_vec(), lasts: Lasts::For(ttl) };
        let set = StateChange { key: key.to_owned(), based_on: Basis::Nothing, change };
        let written = stores[0].0.write_state(plugin("a"), vec![set]).await.unwrap();
        assert_eq!(written, Written::Committed);
    }
    for (store, clock) in &stores {
        let entry = store.reader().state(&plugin("a"), "long").await.unwrap().unwrap();
        let keys = store.reader().state_keys(&plugin("a"), "long", None, 9).await.unwrap();
        for expires_at in [entry.expires_at, keys[0].expires_at] {
            let left = expires_at.unwrap().since(clock.now()).as_secs();
            assert!((540..=600).contains(&left), "{left} s are left of ten minutes");
        }
        // Until it is deleted.
        let short = store.reader().state(&plugin("a"), "short").await.unwrap();
        assert!(short.is_none_or(|entry| entry.expires_at.unwrap() <= clock.now()));
    }
    // So it is with what an attempt says of how long it took.
    let (late, _) = &stores[1];
    keep(late, "1").await;
    assert!(late.lease_one("a").await.age() < PATIENCE);
}
