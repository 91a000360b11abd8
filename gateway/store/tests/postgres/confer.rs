//! What gateways at one database tell each other.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use hookweir_event::{Digest, PluginName};
use hookweir_store::{
    Bid, BreakerWord, Health, Heard, Options, Others, Pausable, PostgresDatabase, Said, Store,
    StoreError, Time, WHOLE,
};

use crate::{
    alone::Alone,
    conformance::support::{event, new},
};

async fn open(alone: &Alone, boot: u8, database: PostgresDatabase) -> Store {
    Store::open(Options::new(database, [boot; 16], alone.time.clock())).await.unwrap()
}

fn wants(asked: u64, wants: u32) -> Said {
    let rates = BTreeMap::from([("source/a".to_owned(), Bid { asked, wants })]);
    Said { rates, breakers: Vec::new() }
}

fn part(heard: &Heard) -> u32 {
    heard.parts["source/a"]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gateways_hear_each_other_and_have_no_more_than_the_whole() {
    let alone = Alone::new();
    let first = open(&alone, 1, alone.database()).await;
    let second = open(&alone, 2, alone.database()).await;
    assert!(first.is_shared());
    let heard = first.confer(wants(5, WHOLE)).await.unwrap();
    assert_eq!((part(&heard), heard.gateways, heard.boot), (WHOLE, 1, [1; 16]));
    let heard = second.confer(wants(9, WHOLE / 2)).await.unwrap();
    assert_eq!((part(&heard), heard.gateways), (0, 2));
    assert_eq!(heard.others["source/a"], Others { gateways: 1, asked: 5, short: 0 });
    let heard = first.confer(wants(5, 600_000)).await.unwrap();
    assert_eq!(part(&heard), 600_000);
    assert_eq!(
        heard.others["source/a"],
        Others { gateways: 1, asked: 9, short: u64::from(WHOLE / 2) }
    );
    assert_eq!(part(&second.confer(wants(9, WHOLE / 2)).await.unwrap()), 400_000);
    // Who has nothing to say of it leaves it to the other.
    assert_eq!(second.confer(Said::default()).await.unwrap().parts, BTreeMap::new());
    assert_eq!(part(&first.confer(wants(5, WHOLE)).await.unwrap()), WHOLE);

    // Who is silent does not count, until it speaks again.
    alone.time.advance(Duration::from_secs(5));
    assert_eq!(second.confer(wants(9, WHOLE)).await.unwrap().gateways, 2);
    alone.time.advance(Duration::from_millis(1));
    let heard = second.confer(wants(9, WHOLE)).await.unwrap();
    assert_eq!((part(&heard), heard.gateways), (WHOLE, 1));
    assert_eq!(part(&first.confer(wants(5, WHOLE)).await.unwrap()), 0);
    // Who goes in order leaves at once, and who does not is forgotten.
    second.close().await.unwrap();
    let heard = first.confer(wants(5, WHOLE)).await.unwrap();
    assert_eq!((part(&heard), heard.gateways), (WHOLE, 1));
    let third = open(&alone, 3, alone.database()).await;
    third.confer(wants(0, 0)).await.unwrap();
    alone.time.advance(Duration::from_secs(61));
    assert_eq!(alone.ask("SELECT count(*) FROM said"), "2");
    first.confer(wants(5, WHOLE)).await.unwrap();
    assert_eq!(alone.ask("SELECT count(*) FROM said"), "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_that_speak_at_once_all_together_have_no_more_than_the_whole() {
    let alone = Alone::new();
    // By the server's time: none is silent for so long that it would not count.
    let database = PostgresDatabase { time: Time::Server, ..alone.database() };
    let sum = Arc::new(AtomicU32::new(0));
    let (mut gateways, mut most) = (Vec::new(), 0);
    for boot in 1..=4_u8 {
        let (store, sum) = (open(&alone, boot, database.clone()).await, sum.clone());
        gateways.push(tokio::spawn(async move {
            let (mut has, mut most) = (0, 0);
            for round in 0..100_u32 {
                let target = (round * 7919 + u32::from(boot) * 104_729) % (WHOLE + 1);
                if target < has {
                    sum.fetch_sub(has - target, Ordering::SeqCst);
                    has = target;
                }
                let heard = match store.confer(wants(0, target)).await {
                    // Who stands still with the floor loses it, and says the same again.
                    Err(StoreError::Failed(_)) => store.confer(wants(0, target)).await,
                    heard => heard,
                };
                let heard = heard.unwrap();
                let got = part(&heard);
                assert!(got >= has, "what it has nobody takes");
                let all = sum.fetch_add(got - has, Ordering::SeqCst) + got - has;
                assert!(all <= WHOLE, "{all} of {WHOLE}");
                (has, most) = (got, most.max(all));
            }
            // Whoever ends leaves its part to the others.
            sum.fetch_sub(has, Ordering::SeqCst);
            most
        }));
    }
    for gateway in gateways {
        most = most.max(gateway.await.unwrap());
    }
    assert!(most > WHOLE / 10 * 9, "there was more wanted than there is: {most}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_said_of_breakers_and_what_is_paused_is_heard() {
    let alone = Alone::new();
    let first = open(&alone, 1, alone.database()).await;
    let second = open(&alone, 2, alone.database()).await;
    let plugin: PluginName = "payments".parse().unwrap();
    let word = |open: Option<&str>| BreakerWord {
        plugin: plugin.clone(),
        version: Digest::of(b"1"),
        open: open.map(str::to_owned),
        open_for: Duration::from_millis(1500),
    };
    let breakers = vec![word(Some("it traps")), word(None)];
    let heard = first.confer(Said { breakers: breakers.clone(), ..Said::default() }).await.unwrap();
    assert!(heard.breakers.is_empty(), "these are its own");
    let paused = first.pause(Pausable::Plugin(plugin), "anna".to_owned(), None).await.unwrap();
    let heard = second.confer(Said::default()).await.unwrap();
    let said: Vec<_> = breakers.into_iter().map(|word| ([1; 16], word)).collect();
    assert_eq!((heard.breakers, heard.pauses), (said, vec![paused]));
}

/// Batches that wait for a lock, and a gateway that stands still with the floor: neither is waited for by all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_waits_for_no_batch_and_not_for_long_for_who_has_the_floor() {
    let alone = Alone::new();
    let database = PostgresDatabase { time: Time::Server, ..alone.database() };
    let store = open(&alone, 1, database).await;
    store.confer(wants(0, WHOLE)).await.unwrap();
    let other = alone.other().await;
    other
        .batch_execute("BEGIN; LOCK TABLE hookweir.claims IN ACCESS EXCLUSIVE MODE")
        .await
        .unwrap();
    let waiting: Vec<_> = (0..64)
        .map(|nth| {
            let store = store.clone();
            let claim = format!("claim {nth}");
            tokio::spawn(async move { store.append(new(event("push"), &[&claim], &[])).await })
        })
        .collect();
    alone.server.until_held_up("claims WHERE claim = ANY");
    assert_eq!(part(&store.confer(wants(0, WHOLE)).await.unwrap()), WHOLE);
    assert!(waiting.iter().all(|append| !append.is_finished()), "they wait still");
    other.batch_execute("ROLLBACK").await.unwrap();
    for append in waiting {
        assert!(!append.await.unwrap().unwrap().is_duplicate());
    }

    let floor = "BEGIN; SELECT 1 FROM hookweir.chores WHERE name = 'confer' FOR UPDATE";
    other.batch_execute(floor).await.unwrap();
    assert_eq!(store.confer(wants(0, WHOLE)).await, Err(StoreError::Busy));
    assert_eq!(*store.health().borrow(), Health::Ready, "that is no fault of the store's");
    other.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(part(&store.confer(wants(0, WHOLE)).await.unwrap()), WHOLE);
}
