//! The log stays short under a flood, since checkpoints let it start anew.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use hookweir_store::{Reader, StoreError};
use tokio::task::JoinSet;

use crate::conformance::support::{Bed, event, new, noise};

/// What `sqlite/checkpoint.rs` promises.
const BOUND: u64 = 64 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_bounded_under_a_flood_with_a_reader_beside_it() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    let done = Arc::new(AtomicBool::new(false));
    let reading = {
        let (reader, done) = (Reader::at(bed.path()), Arc::clone(&done));
        tokio::spawn(async move {
            while !done.load(Ordering::Relaxed) {
                reader.events(None, 100).await.unwrap();
            }
        })
    };
    // 30,000 events of 8 KiB are 240 MiB: nearly four times the bound.
    let mut tasks = JoinSet::new();
    for sender in 0..64 {
        let store = store.clone();
        tasks.spawn(async move {
            for n in 0..470 {
                let mut event = event("push");
                event.body = noise(8192);
                let new = new(event, &[&format!("{sender} {n}")], &["a"]);
                while store.append(new.clone()).await == Err(StoreError::Overloaded) {}
            }
        });
    }
    tasks.join_all().await;
    done.store(true, Ordering::Relaxed);
    reading.await.unwrap();
    let mut log = bed.path().into_os_string();
    log.push("-wal");
    // SQLite never shortens the log while it is in use, so its length is the longest it ever was.
    let len = std::fs::metadata(&log).unwrap().len();
    assert!(len <= BOUND, "{} MiB", len >> 20);
    store.close().await.unwrap();
    assert_eq!(std::fs::metadata(&log).map_or(0, |log| log.len()), 0);
}
