//! The store on a disk that fails: what was acknowledged is there, what was not acknowledged is said to
//! have failed, full disks pass and failed syncs poison. Each test asserts first that its fault fired.

use std::{
    path::Path,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use hookweir_event::{
    Attempt, Clock, Digest, Event, EventId, Fate, Hops, Outcome, PluginName, SourceName, Timestamp,
};
use hookweir_store::{
    Health, NewEvent, Options, Output, Pausable, Route, Settled, Settlement, SqliteFile, Store,
    StoreError, Want,
};
use hookweir_tests::{
    fault_vfs::{Call, FaultVfs},
    noise,
};
use rusqlite::ffi;
use tempfile::TempDir;

/// A disk of its own for each test.
fn disk() -> FaultVfs {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    FaultVfs::register(&format!("fault-{}", NEXT.fetch_add(1, Ordering::Relaxed)))
}

fn options(folder: &Path, disk: Option<&FaultVfs>) -> Options {
    let now = || Timestamp::from_millis(1_700_000_000_000);
    let vfs = disk.map(FaultVfs::name);
    let file = SqliteFile { vfs, ..SqliteFile::new(folder.join("hookweir.db")) };
    Options::new(file, [1; 16], Clock::new(now))
}

fn event(n: u8, body: usize) -> Event {
    Event {
        id: EventId::new(Timestamp::from_millis(1_700_000_000_000), [n; 10]),
        origin: "github".parse().unwrap(),
        event_type: "push".parse().unwrap(),
        received_at: Timestamp::from_millis(1_700_000_000_000),
        method: "POST".into(),
        path: "/".into(),
        query: None,
        headers: vec![],
        body: noise(n.into(), body),
        attributes: vec![],
        hops: Hops::default(),
    }
}

fn plugin() -> PluginName {
    "a".parse().unwrap()
}

fn new(n: u8) -> NewEvent {
    NewEvent {
        event: event(n, 1024),
        claims: vec![Digest::of(&[n])],
        dedupe_window: Duration::from_secs(3600),
        routes: vec![Route::to(plugin())],
    }
}

/// What a workload was told is on disk.
#[derive(Debug, Default)]
struct Acknowledged {
    appended: Vec<u8>,
    settled: Vec<u8>,
}

/// Appends six events, settling each second one with an output; stops at the first failure.
async fn workload(store: &Store, acknowledged: &mut Acknowledged) -> Result<(), StoreError> {
    for n in 0..6 {
        assert_eq!(store.append(new(n)).await?.id(), event(n, 0).id);
        acknowledged.appended.push(n);
        if n % 2 == 0 {
            let leased = store.lease(vec![Want { plugin: plugin(), max: 1 }]).await?;
            let Some(lease) = leased.leases.into_iter().next() else { continue };
            let of = lease.event.body[0];
            let settlement = Settlement {
                key: lease.key,
                attempt: attempt(),
                fate: Fate::Done,
                outputs: vec![Output { event: event(100 + of, 10), routes: vec![] }],
                state: vec![],
                exchanges: None,
            };
            assert_eq!(store.settle(settlement).await?, Settled::Committed);
            acknowledged.settled.push(of);
        }
    }
    Ok(())
}

fn attempt() -> Attempt {
    Attempt {
        outcome: Outcome::Done,
        message: None,
        version: None,
        wall: Duration::ZERO,
        cpu: Duration::ZERO,
        logs: vec![],
    }
}

/// Opens what is in the folder on a sound disk, as another process would, and compares.
async fn audit(folder: &Path, acknowledged: &Acknowledged) {
    let mut options = options(folder, None);
    options.owner = [2; 16];
    let store = Store::open(options).await.unwrap();
    let reader = store.reader();
    for &n in &acknowledged.appended {
        assert_eq!(reader.event(event(n, 0).id).await.unwrap(), Some(event(n, 1024)), "event {n}");
        let again = store.append(new(n)).await.unwrap();
        assert!(again.is_duplicate(), "the claim of event {n}");
    }
    for &n in &acknowledged.settled {
        assert!(reader.event(event(100 + n, 0).id).await.unwrap().is_some(), "output of {n}");
    }
    // All or nothing: an output is there exactly if its delivery is done.
    let counts = reader.counts().await.unwrap();
    assert_eq!(counts.outputs, counts.done);
    assert_eq!(counts.events - counts.outputs, counts.due + counts.done);
    store.close().await.unwrap();
    let whole: String = rusqlite::Connection::open(folder.join("hookweir.db"))
        .unwrap()
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(whole, "ok");
}

/// Opens on the failing disk and works until something fails. Says whether the store took it all.
async fn run(folder: &Path, disk: &FaultVfs, acknowledged: &mut Acknowledged) -> bool {
    let Ok(store) = Store::open(options(folder, Some(disk))).await else {
        return false;
    };
    let worked = workload(&store, acknowledged).await;
    let health = store.health().borrow().clone();
    match &worked {
        Ok(()) => assert_eq!(health, Health::Ready),
        Err(StoreError::Poisoned(_)) => {
            assert!(matches!(health, Health::Poisoned(_)), "{health:?}");
            let more = store.append(new(50)).await;
            assert!(matches!(more, Err(StoreError::Poisoned(_))), "poison is for good: {more:?}");
        }
        Err(other) => assert!(other.retryable(), "{other}"),
    }
    let closed = store.close().await;
    worked.is_ok() && closed.is_ok()
}

async fn syncs_and_writes() -> (u64, u64) {
    let (folder, disk) = (TempDir::new().unwrap(), disk());
    assert!(run(folder.path(), &disk, &mut Acknowledged::default()).await);
    (disk.count(Call::Sync), disk.count(Call::Write))
}

#[tokio::test]
async fn whichever_sync_fails_what_was_acknowledged_is_there() {
    let (syncs, _) = syncs_and_writes().await;
    assert!(syncs > 12, "each of the 12 commits has one: {syncs}");
    for nth in 1..=syncs {
        let (folder, disk) = (TempDir::new().unwrap(), disk());
        disk.fail_once(Call::Sync, nth, ffi::SQLITE_IOERR_FSYNC);
        let mut acknowledged = Acknowledged::default();
        let took_all = run(folder.path(), &disk, &mut acknowledged).await;
        assert_eq!(disk.fired(), 1, "sync {nth}");
        assert!(!took_all, "a failed sync must not go unnoticed: {nth} of {syncs}");
        audit(folder.path(), &acknowledged).await;
    }
}

#[tokio::test]
async fn whichever_write_fails_it_passes_and_what_was_acknowledged_is_there() {
    let (_, writes) = syncs_and_writes().await;
    for code in [ffi::SQLITE_FULL, ffi::SQLITE_IOERR_WRITE] {
        for nth in (1..=writes).step_by(3) {
            let (folder, disk) = (TempDir::new().unwrap(), disk());
            disk.fail_once(Call::Write, nth, code);
            let mut acknowledged = Acknowledged::default();
            run(folder.path(), &disk, &mut acknowledged).await;
            assert_eq!(disk.fired(), 1, "write {nth} of {writes}");
            audit(folder.path(), &acknowledged).await;
        }
    }
}

#[tokio::test]
async fn a_power_cut_leaves_what_was_acknowledged() {
    for stop_after in [0, 1, 12] {
        let (folder, left, disk) = (TempDir::new().unwrap(), TempDir::new().unwrap(), disk());
        disk.remember_synced();
        let store = Store::open(options(folder.path(), Some(&disk))).await.unwrap();
        let mut acknowledged = Acknowledged::default();
        for n in 0..stop_after {
            let _ = store.append(new(n)).await.unwrap();
            acknowledged.appended.push(n);
        }
        // Nothing is closed: what no sync has seen is gone.
        disk.cut_power(left.path()).unwrap();
        audit(left.path(), &acknowledged).await;
    }
}

#[tokio::test]
async fn a_full_disk_refuses_and_comes_back_by_itself() {
    let (folder, disk) = (TempDir::new().unwrap(), disk());
    let store = Store::open(options(folder.path(), Some(&disk))).await.unwrap();
    let _ = store.append(new(1)).await.unwrap();
    let mut health = store.health();
    disk.fail_from(Call::Write, 1, ffi::SQLITE_FULL);
    assert_eq!(store.append(new(2)).await, Err(StoreError::Full));
    assert!(disk.fired() > 0);
    assert!(matches!(*health.borrow_and_update(), Health::Refusing(_)));
    // Reading goes on.
    assert_eq!(store.reader().counts().await.unwrap().events, 1);
    // A commit without a page is no proof that the disk takes any.
    for wants in [vec![], vec![Want { plugin: "nobody".parse().unwrap(), max: 1 }]] {
        assert!(store.lease(wants).await.unwrap().leases.is_empty());
        assert!(matches!(*health.borrow(), Health::Refusing(_)), "ready on a full disk");
    }
    disk.heal();
    // Nobody asks: the store tries by itself.
    let ready = health.wait_for(|health| *health == Health::Ready);
    tokio::time::timeout(Duration::from_secs(10), ready).await.unwrap().unwrap();
    assert!(!store.append(new(2)).await.unwrap().is_duplicate(), "the refused one left no claim");
}

#[tokio::test]
async fn when_a_commit_fails_nobody_in_it_gets_a_receipt() {
    let (folder, disk) = (TempDir::new().unwrap(), disk());
    let store = Store::open(options(folder.path(), Some(&disk))).await.unwrap();
    disk.fail_from(Call::Write, 1, ffi::SQLITE_IOERR_WRITE);
    let mut twin = new(1);
    twin.event.id = event(2, 0).id;
    let (first, duplicate) = tokio::join!(store.append(new(1)), store.append(twin.clone()));
    assert!(disk.fired() > 0);
    assert!(matches!(first, Err(StoreError::Failed(_))), "{first:?}");
    assert!(matches!(duplicate, Err(StoreError::Failed(_))), "{duplicate:?}");
    disk.heal();
    // The sender tries again, and is the first.
    let again = store.append(twin).await.unwrap();
    assert!(!again.is_duplicate());
}

#[tokio::test]
async fn a_source_goes_on_as_a_whole_or_not_at_all() {
    let shop: SourceName = "shop".parse().unwrap();
    let paused = [Pausable::Source(shop.clone()), Pausable::Held(shop)];
    let (folder, disk) = (TempDir::new().unwrap(), disk());
    let store = Store::open(options(folder.path(), Some(&disk))).await.unwrap();
    let mut failed = 0;
    loop {
        // Ready after the last failure, so that no tick of its own comes between.
        let _ = store.append(new(u8::try_from(failed).unwrap())).await.unwrap();
        for what in paused.clone() {
            store.pause(what, "anna".to_owned(), None).await.unwrap();
        }
        // A later write each time, until all of them succeed.
        disk.fail_once(Call::Write, failed + 1, ffi::SQLITE_FULL);
        let resumed = store.resume(paused.clone()).await;
        disk.heal();
        let left = store.reader().pauses().await.unwrap().len();
        if resumed.is_ok() {
            assert_eq!((resumed, left), (Ok(true), 0));
            break;
        }
        assert_eq!((resumed, left), (Err(StoreError::Full), 2), "write {failed}");
        failed += 1;
    }
    assert_eq!(disk.fired(), failed);
    assert!(failed > 1, "a commit has several writes: {failed}");
}

#[tokio::test]
async fn a_corrupt_file_poisons() {
    let (folder, disk) = (TempDir::new().unwrap(), disk());
    let store = Store::open(options(folder.path(), Some(&disk))).await.unwrap();
    disk.fail_once(Call::Write, 1, ffi::SQLITE_CORRUPT);
    assert!(matches!(store.append(new(1)).await, Err(StoreError::Poisoned(_))));
    assert_eq!(disk.fired(), 1);
    assert!(matches!(store.append(new(2)).await, Err(StoreError::Poisoned(_))));
    assert!(matches!(*store.health().borrow(), Health::Poisoned(_)));
}

#[tokio::test]
async fn a_sync_that_fails_in_a_checkpoint_poisons_too() {
    let (folder, disk) = (TempDir::new().unwrap(), disk());
    let store = Store::open(options(folder.path(), Some(&disk))).await.unwrap();
    disk.fail_from(Call::DatabaseSync, 1, ffi::SQLITE_IOERR_FSYNC);
    let mut acknowledged = Vec::new();
    // 32 MiB are more than the log holds before a checkpoint begins.
    let poison = loop {
        let n = u8::try_from(acknowledged.len()).unwrap();
        let mut big = new(n);
        big.event.body = noise(n.into(), 256 << 10);
        match store.append(big).await {
            Ok(_) => acknowledged.push(n),
            Err(error) => break error,
        }
    };
    assert!(disk.fired() > 0);
    assert!(matches!(poison, StoreError::Poisoned(_)), "{poison}");
    assert!(store.close().await.is_err());
    disk.heal();
    let store = Store::open(options(folder.path(), None)).await.unwrap();
    for n in acknowledged {
        assert!(store.reader().event(event(n, 0).id).await.unwrap().is_some(), "event {n}");
    }
}
