//! The disk: what is left of it, and what is given back.
//!
//! How much is left is told by the test, so that none has to fill a disk.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use hookweir_event::{Fate, Outcome};
use hookweir_store::{Health, Options, Room, Settled, SqliteFile, Store, StoreError};

use crate::conformance::support::{Bed, Verbs, event, new, noise};

/// The disk's high-water mark: events are refused before it is full, what was taken is still settled,
/// and it comes back by itself.
#[tokio::test]
async fn too_little_room_refuses_events_and_nothing_else() {
    let mut bed = Bed::new();
    let (left, looks) = (Arc::new(AtomicU64::new(100)), Arc::new(AtomicU64::new(0)));
    let (disk, looked) = (left.clone(), looks.clone());
    let room = Room::new(50, move |folder| {
        assert!(folder.ends_with("data"), "{folder:?}");
        looked.fetch_add(1, Ordering::SeqCst);
        Ok(disk.load(Ordering::SeqCst))
    });
    let location = SqliteFile { room, ..SqliteFile::new(bed.path()) }.into();
    let store = Store::open(Options { location, ..bed.options() }).await.unwrap();
    store.keep(new(event("push"), &["1"], &["a"])).await;
    left.store(49, Ordering::SeqCst);
    let before = looks.load(Ordering::SeqCst);
    let refused = store.append(new(event("push"), &["2"], &["a"])).await;
    assert!(looks.load(Ordering::SeqCst) > before, "nobody looked");
    assert_eq!(refused.unwrap_err(), StoreError::Full);
    assert_eq!(store.reader().survey().await.unwrap().disk_free_bytes, Some(49));
    let mut health = store.health();
    assert!(
        matches!(&*health.borrow_and_update(), Health::Refusing(why) if why.contains("left on the disk"))
    );
    let lease = store.lease_one("a").await;
    assert_eq!(store.end(&lease, Outcome::Done, Fate::Done).await, Settled::Committed);
    assert_eq!(store.reader().counts().await.unwrap().events, 1);

    left.store(50, Ordering::SeqCst);
    health.wait_for(|health| *health == Health::Ready).await.unwrap();
    let again = store.append(new(event("push"), &["2"], &["a"])).await.unwrap();
    assert!(!again.is_duplicate(), "the refused one claimed nothing");
    store.close().await.unwrap();
    bed.boot().await;
}

#[tokio::test]
async fn space_is_given_back_to_the_disk() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    for _ in 0..64 {
        let mut large = event("push");
        (large.received_at, large.body) = (bed.time.now(), noise(256 << 10));
        store.keep(new(large, &[], &[])).await;
    }
    drop(store);
    let full = std::fs::metadata(bed.path()).unwrap().len();
    assert!(full > 16 << 20);
    let store = bed.boot().await;
    bed.time.advance(Duration::from_secs(7 * 24 * 3600));
    for _ in 0..64 {
        // A step of retention goes with whatever is asked.
        store.lease_up_to("nobody", 1).await;
    }
    assert_eq!(store.reader().counts().await.unwrap().events, 0);
    drop(store);
    let left = std::fs::metadata(bed.path()).unwrap().len();
    assert!(left < 4 << 20, "{left} of {full} bytes are left");
}
