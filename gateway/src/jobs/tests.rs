//! Bounds, cancelling and order, where nothing runs before it is waited for.

use std::{path::Path, time::Duration};

use hookweir_event::{Attempt, Event, EventId, Fate, Hops, OrderKey, Outcome};
use hookweir_store::{LeaseKey, NewEvent, Options, Route, Settlement, SqliteFile, Want};
use tempfile::TempDir;

use super::*;
use crate::{
    config::{AlertsConfig, ApiConfig, Config, Policy, Surroundings},
    live::{Live, Plugin},
    metrics::figures::Figures,
};

fn name(name: &str) -> PluginName {
    name.parse().unwrap()
}

/// One that is handled in the order of the key in its events.
fn ordered() -> Plugin {
    Plugin {
        version: None,
        generation: 0,
        subscribe: Vec::new(),
        order_by: Some(Arc::new("/key".parse().unwrap())),
        policy: Policy::default(),
        memory: 0,
        api: ApiConfig::default(),
        record: Arc::default(),
        verifier: false,
        standing: Arc::default(),
        alerts: AlertsConfig::default(),
        figures: Figures::new(false),
    }
}

/// A lease ends with a dead letter that is in nobody's way.
fn rejected(key: LeaseKey) -> Settlement {
    let attempt = Attempt {
        outcome: Outcome::Reject,
        message: None,
        version: None,
        wall: Duration::ZERO,
        cpu: Duration::ZERO,
        logs: Vec::new(),
    };
    let fate = Fate::Dead { blocks: false };
    Settlement { key, attempt, fate, outputs: Vec::new(), state: Vec::new(), exchanges: None }
}

struct Bed {
    store: Store,
    jobs: Jobs,
    _folder: TempDir,
}

impl Bed {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = SqliteFile::new(folder.path().join("data/hookweir.db"));
        let options = Options::new(file, [1; 16], Clock::system());
        let store = Store::open(options).await.unwrap();
        let around = Surroundings { env: &|_| None, file: &|_| Ok(String::new()) };
        let config = Config::parse("", Path::new(""), &around).unwrap();
        let plugins = BTreeMap::from([(name("ordered"), ordered())]);
        let live = Live::new(Arc::new(config), [], plugins);
        let board = Arc::new(Board::from_pointee(live));
        let drawn = (Clock::system(), Chance::system());
        let jobs = Jobs::new(store.clone(), board, drawn, Spawner::here());
        Self { store, jobs, _folder: folder }
    }

    fn begin(&self) -> Result<Arc<Job>, NotBegun> {
        self.order(Work::Mend(Mend::Retry))
    }

    fn order(&self, work: Work) -> Result<Arc<Job>, NotBegun> {
        self.jobs.begin(Order {
            work,
            filter: Filter::default(),
            dry_run: false,
            by: "anna".to_owned(),
            asked: BTreeMap::new(),
        })
    }

    /// Keeps so many events for a plugin, at once and so with few commits. Answers their ids in that order.
    async fn fill(&self, count: u64) -> Vec<EventId> {
        let mut asked = tokio::task::JoinSet::new();
        for nth in 0..count {
            let mut chance = [0; 10];
            chance[2..].copy_from_slice(&nth.to_be_bytes());
            let event = Event {
                id: EventId::new(Timestamp::from_secs(1), chance),
                origin: "shop".parse().unwrap(),
                event_type: "order.paid".parse().unwrap(),
                received_at: Timestamp::from_secs(1),
                method: "POST".to_owned(),
                path: "/".to_owned(),
                query: None,
                headers: Vec::new(),
                body: br#"{"key":"k"}"#.to_vec(),
                attributes: Vec::new(),
                hops: Hops::default(),
            };
            let new = NewEvent {
                event,
                claims: Vec::new(),
                dedupe_window: Duration::ZERO,
                routes: vec![Route::to(name("first"))],
            };
            let store = self.store.clone();
            asked.spawn(async move { _ = store.append(new).await.unwrap() });
        }
        asked.join_all().await;
        let kept = self.store.reader().events(None, 1000).await.unwrap();
        kept.iter().map(|shown| shown.event.id).collect()
    }

    /// All that is due for a plugin dies.
    async fn bury(&self, plugin: &str) {
        let wants = vec![Want { plugin: name(plugin), max: 1000 }];
        let mut asked = tokio::task::JoinSet::new();
        for lease in self.store.lease(wants).await.unwrap().leases {
            let settlement = rejected(lease.key);
            let store = self.store.clone();
            asked.spawn(async move { _ = store.settle(settlement).await.unwrap() });
        }
        asked.join_all().await;
    }

    /// Lets a job come to its end.
    async fn over(&self, job: &Job) -> Progress {
        while !job.progress().stage.is_over() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        job.progress()
    }
}

#[tokio::test]
async fn few_run_at_a_time_and_one_is_cancelled_before_it_does_anything() {
    let bed = Bed::new().await;
    let running: Vec<_> = (0..RUNNING_MAX).map(|_| bed.begin().unwrap()).collect();
    assert_eq!(bed.begin().unwrap_err(), NotBegun::TooMany);
    assert!(bed.jobs.cancel("nobody").is_none());
    bed.jobs.cancel(&running[0].id).unwrap();
    assert_eq!(bed.over(&running[0]).await.stage, Stage::Cancelled);
    for job in &running[1..] {
        let progress = bed.over(job).await;
        assert_eq!((progress.stage, progress.left()), (Stage::Done, 0));
        assert!(progress.ended_at.is_some());
    }
    bed.jobs.cancel(&running[1].id).unwrap();
    assert_eq!(running[1].progress().stage, Stage::Done, "what is over stays so");
    bed.jobs.close();
    assert_eq!(bed.begin().unwrap_err(), NotBegun::ShuttingDown);
}

#[tokio::test]
async fn one_that_panics_has_ended_and_leaves_its_place_to_others() {
    let bed = Bed::new().await;
    let armed = Arc::new(AtomicBool::new(false));
    let trigger = armed.clone();
    let clock = Clock::new(move || {
        assert!(!trigger.swap(false, Ordering::SeqCst), "as the test wants it");
        Timestamp::from_secs(1)
    });
    let around = Around { clock, ..bed.jobs.around.clone() };
    let bed = Bed { jobs: Jobs { around, ..bed.jobs.clone() }, ..bed };
    let running: Vec<_> = (0..RUNNING_MAX).map(|_| bed.begin().unwrap()).collect();
    assert_eq!(bed.begin().unwrap_err(), NotBegun::TooMany);
    armed.store(true, Ordering::SeqCst);
    let mut failed = 0;
    for job in &running {
        let over = tokio::time::timeout(Duration::from_secs(60), bed.over(job));
        let progress = over.await.expect("it has an end");
        assert!(progress.ended_at.is_some());
        failed += usize::from(progress.stage == Stage::Failed && progress.error.is_some());
    }
    assert_eq!(failed, 1);
    assert!(bed.begin().is_ok());
}

#[tokio::test]
async fn the_last_that_ended_are_remembered_the_newest_first() {
    let bed = Bed::new().await;
    let mut ids = Vec::new();
    for _ in 0..ENDED_MAX + 5 {
        let job = bed.begin().unwrap();
        bed.over(&job).await;
        ids.push(job.id.clone());
    }
    let last = bed.begin().unwrap();
    let known: Vec<_> = bed.jobs.all().iter().map(|job| job.id.clone()).collect();
    assert_eq!(known.len(), ENDED_MAX + 1);
    assert_eq!((&known[0], &known[1]), (&last.id, ids.last().unwrap()));
    assert!(bed.jobs.find(&ids[0]).is_none());
}

/// More than two commits' worth.
const MANY: u64 = 450;

#[tokio::test]
async fn what_is_mended_is_counted_over_many_commits_and_not_mended_twice() {
    let bed = Bed::new().await;
    bed.fill(MANY).await;
    bed.bury("first").await;
    let [one, two] = [(); 2].map(|()| bed.order(Work::Mend(Mend::Discard)).unwrap());
    let (one, two) = (bed.over(&one).await, bed.over(&two).await);
    // Side by side, they share what there is.
    assert_eq!(one.done + two.done, MANY, "{one:?} {two:?}");
    for progress in [&one, &two] {
        assert_eq!((progress.left(), progress.failed), (0, 0), "{progress:?}");
    }
    let counts = bed.store.reader().counts().await.unwrap();
    assert_eq!((counts.dead, counts.discarded), (0, MANY));
}

#[tokio::test]
async fn a_replay_keeps_the_order_in_which_events_came() {
    let bed = Bed::new().await;
    let ids = bed.fill(MANY).await;
    let replay = |since| Work::Replay { to: Some(name("ordered")), unless_replayed_since: since };
    let job = bed.order(replay(None)).unwrap();
    let progress = bed.over(&job).await;
    assert_eq!((progress.done, progress.deliveries), (MANY, MANY));
    let again = bed.order(replay(Some(job.started_at))).unwrap();
    let progress = bed.over(&again).await;
    assert_eq!((progress.done, progress.passed, progress.deliveries), (0, MANY, 0));
    // One key: each comes when the one before it is over.
    let mut came = Vec::new();
    for _ in 0..MANY {
        let wants = vec![Want { plugin: name("ordered"), max: 2 }];
        let mut leases = bed.store.lease(wants).await.unwrap().leases;
        assert_eq!(leases.len(), 1);
        let lease = leases.remove(0);
        assert_eq!(lease.order_key, Some(OrderKey::new("k")));
        came.push(lease.event.id);
        let _ = bed.store.settle(rejected(lease.key)).await.unwrap();
    }
    assert_eq!(came, ids);
}
