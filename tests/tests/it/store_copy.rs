//! `hookweir store`: a copy made while a gateway is under load, and a gateway that starts from it.

use std::{
    path::Path,
    process::{Command, Output},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use hookweir_store::Reader;
use hookweir_tests::{
    bounded,
    house::{House, SECRET},
    noise,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_hookweir-under-test");

fn store(house: &House, args: &[&str]) -> Output {
    let folder = house.config();
    bounded::output(
        Command::new(PROGRAM)
            .arg("store")
            .args(args)
            .env("TEST_SECRET", SECRET)
            .current_dir(folder.parent().unwrap_or(Path::new("."))),
    )
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_under_load_holds_what_was_acknowledged_and_a_gateway_starts_from_it() {
    let house = House::new(PROGRAM, "");
    let gateway = house.start().await;
    let (acked, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let load = tokio::spawn({
        let (sender, acked, stop) = (house.sender("github"), acked.clone(), stop.clone());
        async move {
            while !stop.load(Ordering::SeqCst) {
                let number = acked.load(Ordering::SeqCst);
                let body = noise(number, 4096);
                let reply = sender.send("push", &number.to_string(), &body).await.unwrap();
                assert_eq!(reply.status, 202);
                acked.fetch_add(1, Ordering::SeqCst);
            }
        }
    });
    while acked.load(Ordering::SeqCst) < 200 {
        tokio::task::yield_now().await;
    }
    let before = acked.load(Ordering::SeqCst);
    let made = tokio::task::block_in_place(|| store(&house, &["backup", "copy.db"]));
    assert!(made.status.success(), "{}", said(&made));
    let sound = tokio::task::block_in_place(|| store(&house, &["check"]));
    assert!(sound.status.success() && said(&sound).contains("is sound"), "{}", said(&sound));
    let after = acked.load(Ordering::SeqCst);
    assert!(after > before, "nothing was written meanwhile");
    let used = tokio::task::block_in_place(|| store(&house, &["restore", "copy.db"]));
    assert_eq!(used.status.code(), Some(1), "a gateway is running");
    assert!(said(&used).contains("in use by another process"), "{}", said(&used));

    stop.store(true, Ordering::SeqCst);
    load.await.unwrap();
    let kept = house.reader().counts().await.unwrap().events;
    // Killed: what is in its log must not meet the copy.
    drop(gateway);
    let copy = house.config().with_file_name("copy.db");
    let copied = Reader::at(&copy).counts().await.unwrap();
    assert!((before..=kept).contains(&copied.events), "{before} {copied:?} {kept}");

    let restored = store(&house, &["restore", "copy.db"]);
    assert!(restored.status.success(), "{}", said(&restored));
    let gateway = house.start().await;
    assert_eq!(house.reader().counts().await.unwrap(), copied);
    let sender = house.sender("github");
    let again = sender.send("push", "0", b"{}").await.unwrap();
    assert!(again.duplicate(), "it knows what it has: {again:?}");
    let new = sender.send("push", "new", b"{\"new\":true}").await.unwrap();
    assert_eq!((new.status, new.duplicate()), (202, false));
    gateway.stop().await;
    let old = Reader::at(house.database().with_file_name("hookweir.db.replaced"));
    assert_eq!(old.counts().await.unwrap().events, kept, "the old store has its log beside it");
}

#[tokio::test]
async fn a_damaged_store_is_named_and_its_gateway_says_so() {
    let house = House::new(PROGRAM, "");
    let gateway = house.start().await;
    let sender = house.sender("github");
    for number in 0..20 {
        sender.send("push", &number.to_string(), &noise(number, 4096)).await.unwrap();
    }
    gateway.stop().await;
    let mut bytes = std::fs::read(house.database()).unwrap();
    assert!(bytes.len() > 3 * 8192, "there are pages to tear");
    bytes[8192..].fill(0xa5);
    std::fs::write(house.database(), bytes).unwrap();

    let found = store(&house, &["check"]);
    assert_eq!(found.status.code(), Some(1));
    assert!(said(&found).contains("is damaged"), "{}", said(&found));
    let copied = store(&house, &["backup", "copy.db"]);
    assert_eq!(copied.status.code(), Some(1), "{}", said(&copied));
    assert!(!house.config().with_file_name("copy.db").exists());
    let ended = house.spawn().ended().await;
    assert_eq!(ended.code(), Some(1));
    assert!(house.log().contains("malformed"), "{}", house.log());
}
