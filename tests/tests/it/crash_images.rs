//! A workload's writes and syncs are recorded; of each sync, and of each moment before one, images are
//! made of what a power cut may leave, and each image is opened and audited. Guarantees 1, 3, 4 and 5.

use std::{collections::BTreeMap, path::Path, time::Duration};

use hookweir_event::{
    Answered, Attempt, Basis, Change, Clock, Digest, Event, EventId, Excerpt, Exchange, Exchanges,
    Fate, Hops, Lasts, OrderKey, Outcome, PluginName, StateChange, Timestamp,
};
use hookweir_store::{
    DeliveryState, Keep, NewEvent, Options, Output, Reader, Retention, Route, Settled, Settlement,
    Shown, SqliteFile, Store, Want, care,
};
use hookweir_tests::{
    crash_image::{Disk, Unsynced},
    fault_vfs::{FaultVfs, Record},
    noise,
};
use tempfile::TempDir;

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
/// The entry that counts what is done.
const COUNTER: &str = "done";

fn plugin() -> PluginName {
    "a".parse().unwrap()
}

fn options(folder: &Path, owner: u8, vfs: Option<&FaultVfs>) -> Options {
    // What is done goes when there is too much of it, so that retention runs as well.
    let keep = |bytes| Keep { age: Duration::from_secs(3600), bytes };
    let retention = Retention { done: keep(192 << 10), dead: keep(u64::MAX) };
    let vfs = vfs.map(FaultVfs::name);
    let file = SqliteFile { vfs, ..SqliteFile::new(folder.join("hookweir.db")) };
    Options { retention, ..Options::new(file, [owner; 16], Clock::new(|| NOW)) }
}

fn event(n: usize, output: bool) -> Event {
    let mut chance = [u8::from(output); 10];
    chance[2..].copy_from_slice(&(n as u64).to_be_bytes());
    Event {
        id: EventId::new(NOW, chance),
        origin: if output { "plugin.a" } else { "github" }.parse().unwrap(),
        event_type: "push".parse().unwrap(),
        received_at: NOW,
        method: "POST".into(),
        path: "/".into(),
        query: None,
        headers: vec![],
        body: [&(n as u64).to_le_bytes()[..], &noise(n as u64, 4000)].concat(),
        attributes: vec![],
        hops: Hops::default(),
    }
}

fn new(n: usize) -> NewEvent {
    // Every third has a key of its own line.
    let order_key = n.is_multiple_of(3).then(|| OrderKey::new("k"));
    NewEvent {
        event: event(n, false),
        claims: vec![Digest::of(&n.to_be_bytes())],
        dedupe_window: Duration::from_secs(3600),
        routes: vec![Route { plugin: plugin(), order_key }],
    }
}

/// What the store said is on disk, by the marks in the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    Appended(usize),
    Done(usize),
}

/// Appends and settles, some at a time, and restarts between, which makes checkpoints.
async fn workload(folder: &Path, disk: &FaultVfs) -> Vec<Said> {
    let mut said = Vec::new();
    for boot in 0..4 {
        let store = Store::open(options(folder, boot, Some(disk))).await.unwrap();
        for round in 0..8 {
            let first = (usize::from(boot) * 8 + round) * 4;
            let appends = (first..first + 4).map(|n| {
                let store = store.clone();
                async move { store.append(new(n)).await.unwrap() }
            });
            let receipts = join(appends.collect()).await;
            assert!(receipts.iter().all(|receipt| !receipt.is_duplicate()));
            for n in first..first + 4 {
                mark(disk, &mut said, Said::Appended(n));
            }
            let leased = store.lease(vec![Want { plugin: plugin(), max: 3 }]).await.unwrap();
            for lease in leased.leases {
                let n = number(&lease.event.body);
                let settlement = settlement(&store, lease.key, n).await;
                assert_eq!(store.settle(settlement).await.unwrap(), Settled::Committed);
                mark(disk, &mut said, Said::Done(n));
            }
        }
        // A lease that the next boot finds lost.
        let _ = store.lease(vec![Want { plugin: plugin(), max: 1 }]).await.unwrap();
        store.close().await.unwrap();
    }
    said
}

/// Polls all of them on this task, so that they meet in one commit.
async fn join<F: Future + Send + 'static>(futures: Vec<F>) -> Vec<F::Output>
where
    F::Output: Send + 'static,
{
    let tasks: Vec<_> = futures.into_iter().map(tokio::spawn).collect();
    let mut outputs = Vec::new();
    for task in tasks {
        outputs.push(task.await.unwrap());
    }
    outputs
}

fn mark(disk: &FaultVfs, said: &mut Vec<Said>, what: Said) {
    disk.mark(said.len());
    said.push(what);
}

fn number(body: &[u8]) -> usize {
    let number = body.first_chunk().copied().map(u64::from_le_bytes);
    usize::try_from(number.unwrap()).unwrap()
}

/// Done, with one output, and one more in the counter.
async fn settlement(store: &Store, key: hookweir_store::LeaseKey, n: usize) -> Settlement {
    let entry = store.reader().state(&plugin(), COUNTER).await.unwrap();
    let (based_on, count) = match entry {
        None => (Basis::Nothing, 0),
        Some(entry) => (Basis::Version(entry.version), counted(&entry.value)),
    };
    let change = Change::Set { value: (count + 1).to_string().into(), lasts: Lasts::ForEver };
    let attempt = Attempt {
        outcome: Outcome::Done,
        message: None,
        version: None,
        wall: Duration::ZERO,
        cpu: Duration::ZERO,
        logs: vec![],
    };
    let mut output = event(n, true);
    output.body.truncate(10);
    Settlement {
        key,
        attempt,
        fate: Fate::Done,
        outputs: vec![Output { event: output, routes: vec![] }],
        state: vec![StateChange { key: COUNTER.into(), based_on, change }],
        exchanges: Some(Exchanges { kept: vec![sent(event(n, false).id)], left_out: 0 }),
    }
}

/// What the attempt on an event sent.
fn sent(id: EventId) -> Exchange {
    let body = Excerpt { bytes: noise(7, 2000), len: 2000, digest: None };
    let (method, url) = ("POST".to_owned(), format!("https://api.example.com/{id}"));
    Exchange { method, url, headers: vec![], body, answer: Answered::Status(201) }
}

/// What was sent is there with its attempt, and only with that.
async fn audit_sent(reader: &Reader, shown: &Shown) {
    for delivery in &shown.deliveries {
        for made in &delivery.attempts {
            let is_done = made.attempt.outcome == Outcome::Done;
            assert_eq!(made.exchanges.is_some(), is_done, "{shown:?}");
            let kept = reader.exchanges(delivery.id, made.number).await.unwrap();
            let due = Exchanges { kept: vec![sent(shown.event.id)], left_out: 0 };
            match kept {
                Some(kept) => assert!(is_done && kept == due, "{shown:?}"),
                // It went with its event since it was looked at.
                None if is_done => {
                    assert!(reader.show(shown.event.id).await.unwrap().is_none(), "{shown:?}");
                }
                None => {}
            }
        }
    }
}

fn counted(value: &[u8]) -> usize {
    str::from_utf8(value).unwrap().parse().unwrap()
}

/// What an image must hold.
async fn audit(folder: &Path, said: &[Said]) {
    let store = Store::open(options(folder, 9, None)).await.unwrap();
    let reader = store.reader();
    let done_count =
        reader.state(&plugin(), COUNTER).await.unwrap().map_or(0, |e| counted(&e.value));
    let all = everything(&reader).await;
    let outputs = all.values().filter(|shown| shown.event.parent.is_some()).count();
    let done = |shown: &&Shown| shown.deliveries.iter().any(|d| d.state == DeliveryState::Done);
    let done_here = all.values().filter(done).count();
    // Some that are done were forgotten, with or without their outputs; none counted twice.
    assert!(done_count >= done_here && done_count >= outputs, "{done_count} {done_here} {outputs}");
    for said in said {
        match *said {
            Said::Appended(n) => {
                let again = store.append(new(n)).await.unwrap();
                assert!(again.is_duplicate() && again.id() == event(n, false).id, "claim of {n}");
            }
            Said::Done(n) => {
                let shown = all.get(&event(n, false).id);
                let is_done = |shown: &Shown| shown.deliveries[0].state == DeliveryState::Done;
                assert!(shown.is_none_or(is_done), "{n} is not done: {shown:?}");
            }
        }
    }
    let said_done = said.iter().filter(|said| matches!(said, Said::Done(_))).count();
    assert!(
        done_count == said_done || done_count == said_done + 1,
        "{done_count}, {said_done} said"
    );
    // Whoever is done by its output alone, or the other way round, would be half an effect.
    for shown in all.values().filter(done) {
        let made = all.values().filter(|other| other.event.parent == Some(shown.event.id)).count();
        assert!(made <= 1, "{shown:?}");
    }
    for shown in all.values() {
        audit_sent(&reader, shown).await;
    }
    // What is not done runs on, each key in its order.
    let committed: Vec<_> = reader.events(None, 1000).await.unwrap();
    let place = |id: &EventId| committed.iter().position(|shown| shown.event.id == *id);
    let line = run_all(&store).await;
    assert!(line.is_sorted_by_key(place), "{line:?}");
    store.close().await.unwrap();
    assert_eq!(care::check(&folder.join("hookweir.db")).unwrap(), Vec::<String>::new());
}

async fn everything(reader: &Reader) -> BTreeMap<EventId, Shown> {
    let page = reader.events(None, 1000).await.unwrap();
    assert!(page.len() < 1000);
    page.into_iter().map(|shown| (shown.event.id, shown)).collect()
}

/// Runs what is open to its end, and answers those with the key as they came.
async fn run_all(store: &Store) -> Vec<EventId> {
    let mut line = Vec::new();
    loop {
        let leased = store.lease(vec![Want { plugin: plugin(), max: 9 }]).await.unwrap();
        if leased.leases.is_empty() {
            assert_eq!(store.reader().counts().await.unwrap().due, 0);
            return line;
        }
        let keyed = leased.leases.iter().filter(|lease| lease.order_key.is_some()).count();
        assert!(keyed <= 1, "two of one key at once");
        for lease in leased.leases {
            let n = number(&lease.event.body);
            line.extend(lease.order_key.is_some().then_some(lease.event.id));
            let settlement = settlement(store, lease.key, n).await;
            assert_eq!(store.settle(settlement).await.unwrap(), Settled::Committed);
        }
    }
}

/// `HOOKWEIR_IMAGE_SEEDS` draws more torn images of each sync.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_a_power_cut_leaves_what_was_acknowledged_is_there_once() {
    let seeds = std::env::var("HOOKWEIR_IMAGE_SEEDS").map_or(1, |n| n.parse().unwrap());
    let (folder, disk) = (TempDir::new().unwrap(), FaultVfs::register("crash-images"));
    disk.record();
    let said = workload(folder.path(), &disk).await;
    let records = disk.records();
    let (mut image, mut heard) = (Disk::default(), 0);
    let (mut syncs, mut images, mut unsynced) = (0, 0, 0);
    for record in &records {
        if let Record::Mark(mark) = record {
            heard = mark + 1;
        }
        // A disk is worst off right before a sync.
        let cuts = match record {
            Record::Sync(_) if image.unsynced() > 0 => {
                syncs += 1;
                unsynced += image.unsynced();
                let torn = (0..seeds).map(|seed| Unsynced::Torn(syncs * 1000 + seed));
                [Unsynced::Kept, Unsynced::Lost].into_iter().chain(torn).collect()
            }
            _ => Vec::new(),
        };
        for cut in cuts {
            let left = TempDir::new().unwrap();
            image.cut_power(left.path(), cut).unwrap();
            audit(left.path(), &said[..heard]).await;
            images += 1;
        }
        image.happen(record);
    }
    assert!(syncs > 100, "{syncs} syncs");
    assert!(u64::try_from(unsynced).unwrap() > syncs, "hardly a write was at stake");
    println!("{images} images of {syncs} syncs, {} acknowledgements", said.len());
}

/// The audit finds what it looks for: an image without its log lacks what was acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[should_panic(expected = "claim of 0")]
async fn an_image_that_lost_a_sync_is_found_out() {
    let (folder, disk) = (TempDir::new().unwrap(), FaultVfs::register("crash-images-lost"));
    disk.record();
    let said = workload(folder.path(), &disk).await;
    let mut image = Disk::default();
    let mut heard = 0;
    for record in disk.records() {
        match record {
            Record::Mark(mark) => heard = mark + 1,
            Record::Sync(path) if path.to_string_lossy().ends_with("-wal") => continue,
            _ => {}
        }
        image.happen(&record);
        if heard == 8 {
            break;
        }
    }
    let left = TempDir::new().unwrap();
    image.cut_power(left.path(), Unsynced::Lost).unwrap();
    audit(left.path(), &said[..heard]).await;
}
