//! Versions of plugins that gateways share: all of those that live agree, or nothing goes live.

use std::{
    collections::BTreeMap,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use hookweir_event::{Clock, Digest, PluginName};
use hookweir_ground::postgres::Postgres;
use hookweir_store::{
    Away, Options, PostgresDatabase, Proposed, Proposing, Published, PublishedPlugin, Publishing,
    Runs, Store, Word,
};

fn server() -> &'static Postgres {
    static SERVER: OnceLock<Postgres> = OnceLock::new();
    SERVER.get_or_init(Postgres::start)
}

/// Gateways at one schema, of which each takes part.
struct Gateways {
    schema: String,
    stores: Vec<Store>,
    publishing: Vec<Publishing>,
}

impl Gateways {
    async fn new(count: u8) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let schema = format!("published_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let mut gateways = Self { schema, stores: Vec::new(), publishing: Vec::new() };
        for _ in 0..count {
            gateways.join().await;
        }
        gateways
    }

    async fn join(&mut self) -> Publishing {
        let number = u8::try_from(self.stores.len()).unwrap();
        let database = PostgresDatabase {
            schema: self.schema.clone(),
            may_lose: true,
            ..PostgresDatabase::new(server().url())
        };
        let options = Options::new(database, [number; 16], Clock::system());
        let store = Store::open(options).await.unwrap();
        let publishing = store.publishing().unwrap().named(&format!("g{number}"));
        publishing.run(&BTreeMap::new()).await.unwrap();
        self.stores.push(store);
        self.publishing.push(publishing.clone());
        publishing
    }

    fn ask(&self, sql: &str) -> String {
        server().ask(&format!("SET search_path TO {}; {sql}", self.schema))
    }

    /// A gateway is declared gone, as by another one that watched it.
    fn lapse(&self, of: usize) {
        let name = format!("g{of}");
        self.ask(&format!(
            "UPDATE boots SET gone = true WHERE key = (SELECT boot FROM gateways WHERE name = '{name}')"
        ));
    }

    async fn seen(&self) -> Published {
        self.publishing[0].look(None).await.unwrap().unwrap()
    }

    async fn plugin(&self) -> PublishedPlugin {
        self.seen().await.plugins.remove(&name()).unwrap_or_default()
    }

    /// What is live for all.
    async fn live(&self) -> Option<Digest> {
        self.plugin().await.live.and_then(|live| live.version)
    }
}

fn name() -> PluginName {
    "ci".parse().unwrap()
}

fn content(number: u8) -> Vec<u8> {
    vec![number; 1000]
}

fn version(number: u8) -> Digest {
    Digest::of(&content(number))
}

fn new(version: Option<Digest>) -> Proposing {
    let (plugin, instead_of, away) = (name(), None, None);
    Proposing { plugin, version, instead_of, trusted: false, hold: false, away }
}

async fn propose(gateway: &Publishing, number: u8) -> Proposed {
    gateway.put(version(number), &content(number)).await.unwrap();
    gateway.propose(&new(Some(version(number)))).await.unwrap()
}

fn number(proposed: &Proposed) -> i64 {
    match proposed {
        Proposed::UnderWay(number) | Proposed::Live(number) => *number,
        other => panic!("{other:?}"),
    }
}

/// It goes live with the words of all.
async fn agree(gateways: &Gateways, by: usize, version: u8) {
    let proposed = propose(&gateways.publishing[by], version).await;
    for (_, other) in gateways.publishing.iter().enumerate().filter(|(at, _)| *at != by) {
        other.say(&name(), number(&proposed), &Word::Ready).await.unwrap();
    }
    assert_eq!(gateways.live().await, Some(self::version(version)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_is_live_when_the_last_gateway_is_ready_and_not_before() {
    let gateways = Gateways::new(3).await;
    let [one, two, three] = &gateways.publishing[..] else { panic!("three") };
    assert_eq!(one.propose(&new(Some(version(1)))).await.unwrap(), Proposed::NoContent);
    let before = gateways.seen().await.revision;
    let proposed = propose(one, 1).await;
    let Proposed::UnderWay(number) = proposed else { panic!("{proposed:?}") };
    // Whoever does not know whether it was done does it again.
    assert_eq!(propose(one, 1).await, proposed);
    let seen = three.look(Some(before)).await.unwrap().expect("it is news");
    let proposal = seen.plugins[&name()].under_way().unwrap().clone();
    assert_eq!((proposal.number, &*proposal.by), (number, "g0"));
    assert_eq!(proposal.words.len(), 1, "who proposes it is ready");
    assert_eq!(three.look(Some(seen.revision)).await.unwrap(), None, "nothing is news");
    assert_eq!(two.content(version(1)).await.unwrap(), Some(content(1)));
    two.say(&name(), number, &Word::Ready).await.unwrap();
    assert_eq!(gateways.live().await, None);
    three.say(&name(), number - 1, &Word::Ready).await.unwrap();
    assert_eq!(gateways.live().await, None, "that was said of another");
    three.say(&name(), number, &Word::Ready).await.unwrap();
    let plugin = gateways.plugin().await;
    let live = plugin.live.unwrap();
    assert_eq!((live.version, live.number, &*live.by), (Some(version(1)), number, "g0"));
    assert_eq!(plugin.proposal, None);
    assert_eq!(propose(two, 1).await, Proposed::Live(number));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_refusal_ends_it_for_all_and_the_same_may_be_proposed_again() {
    let gateways = Gateways::new(2).await;
    agree(&gateways, 0, 1).await;
    let proposed = propose(&gateways.publishing[0], 2).await;
    let word = Word::NeedsApproval("it wants\0 more".to_owned());
    gateways.publishing[1].say(&name(), number(&proposed), &word).await.unwrap();
    let plugin = gateways.plugin().await;
    assert_eq!(plugin.live.as_ref().unwrap().version, Some(version(1)));
    assert_eq!(plugin.under_way(), None);
    let proposal = plugin.proposal.unwrap();
    let refused = proposal.refused.unwrap();
    assert_eq!((&*refused.by, &*refused.reason), ("g1", "it wants\0 more"));
    assert_eq!(proposal.words.len(), 2);
    // Nobody hears a word on what is over.
    gateways.publishing[1].say(&name(), number(&proposed), &Word::Ready).await.unwrap();
    assert_eq!(gateways.live().await, Some(version(1)));
    agree(&gateways, 1, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_proposals_at_once_one_is_under_way_and_all_of_one_version_are_one() {
    let gateways = Gateways::new(4).await;
    for (round, same) in [(0, false), (1, true)] {
        let racing = gateways.publishing.iter().cloned().zip(1..).map(|(gateway, nth)| {
            let version = 10 * (round + 1) + if same { 0 } else { nth };
            tokio::spawn(async move { propose(&gateway, version).await })
        });
        let racing: Vec<_> = racing.collect();
        let mut came = Vec::new();
        for proposing in racing {
            came.push(proposing.await.unwrap());
        }
        let after = came.iter().filter(|it| matches!(it, Proposed::After(_))).count();
        let plugin = gateways.plugin().await;
        if same {
            assert_eq!(after, 0, "{came:?}");
            let numbers: Vec<_> = came.iter().map(number).collect();
            assert!(numbers.iter().all(|number| *number == numbers[0]), "{came:?}");
            assert_eq!(plugin.live.unwrap().version, Some(version(20)), "all were ready");
        } else {
            assert_eq!(after, 3, "{came:?}");
            let proposal = plugin.proposal.unwrap();
            let word = Word::Refused("no".to_owned());
            gateways.publishing[3].say(&name(), proposal.number, &word).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_gone_is_not_waited_for_and_who_is_silent_is_named() {
    let gateways = Gateways::new(3).await;
    let proposed = propose(&gateways.publishing[0], 1).await;
    gateways.publishing[1].say(&name(), number(&proposed), &Word::Ready).await.unwrap();
    assert!(!gateways.seen().await.is_due());
    gateways.publishing[0].decide().await.unwrap();
    assert_eq!(gateways.live().await, None);
    gateways.lapse(2);
    let seen = gateways.seen().await;
    assert_eq!(seen.gateways.len(), 2, "{:?}", seen.gateways);
    assert!(seen.is_due(), "anybody sees that it can be decided");
    gateways.publishing[1].decide().await.unwrap();
    assert_eq!(gateways.live().await, Some(version(1)));

    // Who proposed it may be gone, too; and who ends calmly is.
    let proposed = propose(&gateways.publishing[1], 2).await;
    gateways.lapse(1);
    gateways.publishing[0].say(&name(), number(&proposed), &Word::Ready).await.unwrap();
    assert_eq!(gateways.live().await, Some(version(2)));

    let mut gateways = gateways;
    gateways.join().await;
    propose(&gateways.publishing[0], 3).await;
    gateways.ask("UPDATE proposals SET until_at = 0");
    assert!(gateways.seen().await.is_due());
    gateways.publishing[0].decide().await.unwrap();
    let refused = gateways.plugin().await.proposal.unwrap().refused.unwrap();
    assert_eq!(refused.by, "g3");
    assert!(refused.reason.contains("said nothing"), "{refused:?}");
    gateways.stores.pop().unwrap().close().await.unwrap();
    gateways.publishing.pop();
    assert!(matches!(propose(&gateways.publishing[0], 3).await, Proposed::Live(_)));
}

/// As after an outage: nobody could say for an hour that it lives, and one is back before the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_could_say_nothing_for_long_is_waited_for_all_the_same() {
    let gateways = Gateways::new(2).await;
    let [one, two] = &gateways.publishing[..] else { panic!("two") };
    let proposed = propose(one, 1).await;
    gateways.ask("UPDATE beats SET seen_at = seen_at - 3600000");
    assert!(!gateways.seen().await.is_due());
    one.decide().await.unwrap();
    assert_eq!(gateways.live().await, None, "one decided alone");
    two.say(&name(), number(&proposed), &Word::Ready).await.unwrap();
    assert_eq!(gateways.live().await, Some(version(1)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_held_is_live_until_it_is_held_no_more() {
    let gateways = Gateways::new(1).await;
    let gateway = &gateways.publishing[0];
    assert!(!gateway.hold(&name(), Some(version(1))).await.unwrap(), "it is not live");
    agree(&gateways, 0, 1).await;
    assert!(!gateway.hold(&name(), Some(version(2))).await.unwrap());
    assert!(gateway.hold(&name(), Some(version(1))).await.unwrap());
    assert_eq!(propose(gateway, 2).await, Proposed::Pinned(version(1)));
    assert_eq!(gateway.propose(&new(None)).await.unwrap(), Proposed::Pinned(version(1)));
    let held = Proposing { hold: true, trusted: true, ..new(Some(version(2))) };
    assert!(matches!(gateway.propose(&held).await.unwrap(), Proposed::Live(_)));
    assert_eq!(gateways.plugin().await.pin, Some(version(2)));
    assert!(gateway.hold(&name(), None).await.unwrap());
    agree(&gateways, 0, 3).await;
    assert_eq!(gateways.plugin().await.pin, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_taken_back_is_known_to_all_and_only_what_is_live_is_taken_off() {
    let gateways = Gateways::new(1).await;
    let gateway = &gateways.publishing[0];
    for number in [1, 2] {
        agree(&gateways, 0, number).await;
    }
    let at = gateways.seen().await.now;
    let (cause, reason) = ("probation".to_owned(), "it failed".to_owned());
    let away = Some(Away { version: version(2), cause, reason, at });
    let back = Proposing { instead_of: Some(version(2)), away, ..new(Some(version(1))) };
    assert!(matches!(gateway.propose(&back).await.unwrap(), Proposed::Live(_)));
    let plugin = gateways.plugin().await;
    assert_eq!(plugin.known(version(2)).unwrap().away.as_ref().unwrap().cause, "probation");
    assert!(plugin.known(version(1)).unwrap().until.is_none(), "it serves again");
    gateway.forgive(&name(), version(2)).await.unwrap();
    assert_eq!(gateways.plugin().await.known(version(2)).unwrap().away, None);

    let removal = |of| Proposing { instead_of: Some(of), ..new(None) };
    assert_eq!(gateway.propose(&removal(version(2))).await.unwrap(), Proposed::Outdated);
    let removed = gateway.propose(&removal(version(1))).await.unwrap();
    assert!(matches!(removed, Proposed::Live(_)), "{removed:?}");
    assert_eq!(gateways.live().await, None);
    assert!(gateways.plugin().await.live.is_some(), "it is known to be removed");
    assert_eq!(gateway.propose(&removal(version(1))).await.unwrap(), removed, "again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contents_go_that_nothing_names() {
    let gateways = Gateways::new(1).await;
    let gateway = &gateways.publishing[0];
    gateway.put(version(99), &content(99)).await.unwrap();
    for number in 0..8 {
        agree(&gateways, 0, number).await;
    }
    assert_eq!(gateways.ask("SELECT count(*) FROM modules"), "9", "they are young");
    gateways.ask("UPDATE modules SET put_at = 0");
    agree(&gateways, 0, 8).await;
    for number in 0..9 {
        let kept = gateway.content(version(number)).await.unwrap();
        assert_eq!(kept.is_some(), number >= 3, "{number}: the live one and five before it");
    }
    assert_eq!(gateway.content(version(99)).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_runs_what_is_seen_and_who_ended_is_seen_no_more() {
    let mut gateways = Gateways::new(2).await;
    let runs = Runs { version: Some(version(1)), standing: "live".to_owned() };
    let said = BTreeMap::from([(name(), runs.clone())]);
    gateways.publishing[1].run(&said).await.unwrap();
    let seen = gateways.seen().await;
    let of = |name: &str| seen.gateways.iter().find(|gateway| gateway.name == name).unwrap();
    assert_eq!(of("g1").runs, said);
    assert!(of("g0").runs.is_empty());
    assert_eq!(seen.boot, of("g0").boot);
    gateways.stores.pop().unwrap().close().await.unwrap();
    gateways.publishing.pop();
    assert_eq!(gateways.seen().await.gateways.len(), 1);
}
