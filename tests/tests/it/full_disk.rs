//! What senders are told by a gateway whose disk fails: 503 and when to come back, and nothing that
//! was not kept. The gateway runs in this process, over a disk that fails when told; senders still
//! come in by HTTP. Guarantee 1 and "failures of the store".

use hookweir::gateway::Ended;
use hookweir_tests::{
    fault_vfs::{Call, FaultVfs},
    house::House,
    sender::{Reply, Sender},
};
use rusqlite::ffi;

fn house() -> House {
    House::new(env!("CARGO_BIN_EXE_hookweir-under-test"), "")
}

async fn send(sender: &Sender, number: u32) -> Reply {
    sender
        .send("push", &number.to_string(), format!("{{\"n\":{number}}}").as_bytes())
        .await
        .unwrap()
}

async fn probe(house: &House, path: &str) -> u16 {
    reqwest::get(format!("http://{}/{path}", house.admin)).await.unwrap().status().as_u16()
}

#[track_caller]
fn assert_unavailable(reply: &Reply, code: &str) {
    assert_eq!((reply.status, reply.code()), (503, code), "{reply:?}");
    assert_eq!(reply.body["retryable"], true);
    assert!(reply.header("retry-after").is_some(), "{reply:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_503_and_comes_back_by_itself() {
    let (house, disk) = (house(), FaultVfs::register("full-disk-http"));
    let gateway = house.start_over(&disk).await;
    let sender = house.sender("github");
    assert_eq!(send(&sender, 1).await.status, 202);
    disk.fail_from(Call::Write, 1, ffi::SQLITE_FULL);
    let refused = send(&sender, 2).await;
    assert!(disk.fired() > 0, "the fault did not fire");
    assert_unavailable(&refused, "store_refuses");
    assert_eq!(probe(&house, "healthz").await, 200, "a restart would not help");
    assert_eq!(house.reader().counts().await.unwrap().events, 1);
    disk.heal();
    let accepted = send(&sender, 2).await;
    assert_eq!((accepted.status, accepted.duplicate()), (202, false), "{accepted:?}");
    assert_eq!(house.reader().counts().await.unwrap().events, 2);
    assert_eq!(gateway.stop().await, Ended::Stopped { cut_off: 0 });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_sync_is_503_until_the_process_is_restarted() {
    let (house, disk) = (house(), FaultVfs::register("failed-sync-http"));
    let gateway = house.start_over(&disk).await;
    let sender = house.sender("github");
    assert_eq!(send(&sender, 1).await.status, 202);
    disk.fail_once(Call::Sync, 1, ffi::SQLITE_IOERR_FSYNC);
    let refused = send(&sender, 2).await;
    assert_eq!(disk.fired(), 1, "the fault did not fire");
    assert_unavailable(&refused, "store_poisoned");
    // The disk works again, but what it holds is in doubt: no ack any more.
    assert_unavailable(&send(&sender, 3).await, "store_poisoned");
    assert_eq!((probe(&house, "healthz").await, probe(&house, "readyz").await), (503, 503));
    gateway.stop().await;
    // A supervisor restarts it: what was acknowledged is there, and work goes on.
    let gateway = house.start().await;
    let again = send(&sender, 1).await;
    assert!(again.duplicate(), "{again:?}");
    assert_eq!(send(&sender, 3).await.status, 202);
    assert!(gateway.stop().await.success());
}

#[tokio::test]
async fn a_disk_with_too_little_left_refuses_before_it_is_full() {
    let house = house();
    house.write_config("[store]\ndisk_free_min = \"1000000GiB\"\n");
    let gateway = house.spawn();
    house.until_log(0, &["listening"]).await;
    let sender = house.sender("github");
    let refused = send(&sender, 1).await;
    assert_unavailable(&refused, "store_refuses");
    assert_eq!((probe(&house, "readyz").await, probe(&house, "healthz").await), (503, 200));
    assert_eq!(house.reader().counts().await.unwrap().events, 0);
    gateway.stop().await;
    house.write_config("[store]\ndisk_free_min = \"1MiB\"\n");
    let gateway = house.start().await;
    assert_eq!(send(&house.sender("github"), 1).await.status, 202);
    gateway.stop().await;
}
