//! Looking after the file: a copy is whole and of one moment, damage is named, and nothing is
//! overwritten.

use std::{
    fs::{self, OpenOptions},
    io::{Seek as _, SeekFrom, Write as _},
    os::unix::fs::{MetadataExt as _, chown},
    path::{Path, PathBuf},
    time::Duration,
};

use hookweir_event::{Exchanges, Fate, Outcome};
use hookweir_store::{
    DeliveryState, Filter, Mend, OpenError, Reader, Settled, Settlement, Standpoint, Store,
    care::{CareError, back_up, check, restore},
};
use rusqlite::Connection;

use crate::conformance::support::{
    Bed, Verbs, attempt, event, exchange, new, noise, output, recount,
};
use crate::rot::rot;

fn beside(bed: &Bed, name: &str) -> PathBuf {
    bed.path().parent().unwrap().join(name)
}

fn large(number: u32) -> hookweir_store::NewEvent {
    let mut event = event("large");
    event.body = noise(1 << 20);
    new(event, &[&number.to_string()], &["a"])
}

/// A store with deliveries in every state.
async fn lived_in(bed: &mut Bed) -> Store {
    let store = bed.boot().await;
    for number in 0..4 {
        store.keep(new(event("push"), &[&format!("n{number}")], &["a"])).await;
    }
    store.keep(new(event("unwanted"), &[], &[])).await;
    let lease = store.lease_one("a").await;
    let made = store.end_with(&lease, vec![output("made", &["b"])]).await;
    let lease = store.lease_one("a").await;
    let settlement = Settlement {
        key: lease.key,
        attempt: attempt(Outcome::Reject),
        fate: Fate::Dead { blocks: true },
        outputs: Vec::new(),
        state: Vec::new(),
        exchanges: Some(Exchanges { kept: vec![exchange(1)], left_out: 0 }),
    };
    let dead = store.settle(settlement).await.unwrap();
    assert_eq!((made, dead), (Settled::Committed, Settled::Committed));
    store.lease_one("a").await;
    store
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_is_of_one_moment_whatever_is_written_meanwhile() {
    let mut bed = Bed::new();
    let store = lived_in(&mut bed).await;
    for number in 0..20 {
        store.keep(large(number)).await;
    }
    let before = store.reader().counts().await.unwrap();
    let (path, copy) = (bed.path(), beside(&bed, "copy.db"));
    let (runtime, writer, to) = (tokio::runtime::Handle::current(), store.clone(), copy.clone());
    let looks = tokio::task::spawn_blocking(move || {
        let mut looks = Vec::new();
        let bytes = back_up(&path, &to, &mut |progress| {
            // Each look is followed by a commit, which a copy in steps would begin again for.
            let number = 100 + u32::try_from(looks.len()).unwrap();
            runtime.block_on(writer.keep(large(number)));
            looks.push(progress);
        });
        assert!(bytes.unwrap() > 20 << 20);
        looks
    });
    let looks = looks.await.unwrap();
    assert!(looks.len() >= 3, "nothing was written in the middle of it: {looks:?}");
    assert!(looks.windows(2).all(|pair| pair[0].done < pair[1].done && pair[0].all == pair[1].all));
    assert_eq!(looks.last().unwrap().done, looks.last().unwrap().all);
    let after = store.reader().counts().await.unwrap();
    assert_eq!(after.events, before.events + looks.len() as u64);

    assert_eq!(check(&copy).unwrap(), Vec::<String>::new());
    let reader = Reader::at(&copy);
    assert_eq!((reader.counts().await.unwrap(), recount(&reader).await), (before, before));
    assert!(!beside(&bed, "copy.db.partial").exists());
    assert!(!beside(&bed, "copy.db-wal").exists(), "the copy is one file");
    let again = back_up(&bed.path(), &copy, &mut |_| {}).unwrap_err();
    assert!(matches!(again, CareError::Exists(_)), "{again}");
    assert_eq!(check(&bed.path()).unwrap(), Vec::<String>::new(), "of the running store");
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_copy_takes_the_place_of_a_store_that_nobody_uses() {
    let mut bed = Bed::new();
    let store = lived_in(&mut bed).await;
    let copy = beside(&bed, "copy.db");
    back_up(&bed.path(), &copy, &mut |_| {}).unwrap();
    let counts = store.reader().counts().await.unwrap();
    store.keep(new(event("later"), &["n0-later"], &["a"])).await;

    let used = restore(&copy, &bed.path()).unwrap_err();
    assert!(matches!(used, CareError::Open(OpenError::InUse(_))), "{used}");
    // A crash: what is in the log must not get into the copy.
    drop(store);
    let old = restore(&copy, &bed.path()).unwrap().unwrap();
    assert_eq!(old, beside(&bed, "hookweir.db.replaced"));
    let store = bed.boot().await;
    let mut restored = store.reader().counts().await.unwrap();
    // Leases of another boot are free.
    (restored.due, restored.leased) = (restored.due - counts.leased, counts.leased);
    assert_eq!(restored, counts);
    assert_eq!(recount(&store.reader()).await.events, counts.events);
    // It still knows its duplicates, and it goes on.
    let again = store.append(new(event("push"), &["n0"], &["a"])).await.unwrap();
    assert!(again.is_duplicate());
    store.keep(new(event("after"), &["n9"], &["a"])).await;
    store.close().await.unwrap();

    let twice = restore(&copy, &bed.path()).unwrap_err();
    assert!(matches!(twice, CareError::Exists(_)), "the first old store is not lost: {twice}");
    assert_eq!(check(&bed.path()).unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn a_store_that_root_restores_is_still_its_owners() {
    const OWNER: (u32, u32) = (4711, 4712);
    let mut bed = Bed::new();
    lived_in(&mut bed).await.close().await.unwrap();
    let copy = beside(&bed, "copy.db");
    back_up(&bed.path(), &copy, &mut |_| {}).unwrap();
    if fs::metadata(&copy).unwrap().uid() != 0 {
        eprintln!("not tried: only root can give files away");
        return;
    }
    let folder = bed.path().parent().unwrap().to_owned();
    let owner = |path: &Path| fs::metadata(path).map(|found| (found.uid(), found.gid())).unwrap();
    let files = [bed.path(), beside(&bed, "hookweir.db.lock")];
    files.iter().for_each(|path| chown(path, Some(OWNER.0), Some(OWNER.1)).unwrap());
    let old = restore(&copy, &bed.path()).unwrap().unwrap();
    assert_eq!(files.each_ref().map(|path| owner(path)), [OWNER; 2]);
    assert_eq!((owner(&old), owner(&folder)), (OWNER, (0, 0)));
    assert_eq!(fs::metadata(bed.path()).unwrap().mode() & 0o777, 0o600);
    // Where there is none, it is whose the folder is.
    let all = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    all.filter(|path| *path != copy).for_each(|path| fs::remove_file(path).unwrap());
    chown(&folder, Some(OWNER.0), Some(OWNER.1)).unwrap();
    assert_eq!(restore(&copy, &bed.path()).unwrap(), None);
    assert_eq!(files.each_ref().map(|path| owner(path)), [OWNER; 2]);
}

#[tokio::test]
async fn the_totals_know_what_attempts_sent_whatever_becomes_of_them() {
    let mut bed = Bed::new();
    let store = lived_in(&mut bed).await;
    let sound = || assert_eq!(check(&bed.path()).unwrap(), Vec::<String>::new());
    sound();
    let dead =
        Filter { state: Some(Standpoint::Delivery(DeliveryState::Dead)), ..Filter::default() };
    let dead = store.reader().delivery_ids(&dead, None, 9).await.unwrap().found;
    for how in [Mend::Discard, Mend::Retry] {
        assert_eq!(store.mend(dead.clone(), how).await.unwrap(), 1);
        sound();
    }
    for lease in store.lease_up_to("a", 9).await {
        let _ = store.end(&lease, Outcome::Done, Fate::Done).await;
    }
    sound();
    bed.time.advance(Duration::from_secs(40 * 24 * 3600));
    store.lease_up_to("nobody", 1).await;
    assert!(store.reader().show(dead[0].event).await.unwrap().is_none(), "it was forgotten");
    sound();
}

fn scribble(path: &Path, at: u64) {
    let mut file = OpenOptions::new().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(at)).unwrap();
    file.write_all(&[0xa5; 700]).unwrap();
}

#[tokio::test]
async fn damage_is_named_and_never_copied() {
    let mut bed = Bed::new();
    let store = lived_in(&mut bed).await;
    store.close().await.unwrap();
    let copy = beside(&bed, "copy.db");
    back_up(&bed.path(), &copy, &mut |_| {}).unwrap();

    // Rows that deny each other, on pages that are sound.
    let rows = Connection::open(bed.path()).unwrap();
    rows.execute_batch(
        "UPDATE totals SET done = done + 2, fronts = x''; DELETE FROM parcels WHERE key = 1;
         DELETE FROM moments WHERE parcel = (SELECT max(key) FROM parcels);
         DELETE FROM attempts WHERE key = (SELECT key FROM exchanges)",
    )
    .unwrap();
    drop(rows);
    let damage = check(&bed.path()).unwrap();
    // The one done delivery of that event is missing as well.
    for wanted in [
        "events and their total differ: -1",
        "done deliveries and their total differ: -3",
        "attempts without their delivery: 1",
        "requests without their attempt: 1",
        "events that their id does not lead to: 1",
        "plugins with due deliveries that nobody would find: 2",
    ] {
        assert!(damage.iter().any(|found| found == wanted), "{damage:?}");
    }

    // What an attempt sent, cut off, in a store of which all else is well.
    let cut = beside(&bed, "cut.db");
    fs::copy(&copy, &cut).unwrap();
    let rows = Connection::open(&cut).unwrap();
    let sql = "UPDATE exchanges SET content = zeroblob(length(content))";
    assert_eq!(rows.execute(sql, []).unwrap(), 1);
    drop(rows);
    assert_eq!(check(&cut).unwrap(), ["attempts whose requests can't be read: 1"]);

    // A bit that fell over in a body, on a page that is sound.
    rot(&copy);
    assert_eq!(check(&copy).unwrap(), ["events that can't be read: 1"]);

    // Pages that are torn: all but the first, where the file says what it is.
    let size = fs::metadata(&copy).unwrap().len();
    (1..size / 4096).for_each(|page| scribble(&copy, page * 4096));
    let damage = check(&copy).unwrap();
    assert!(!damage.is_empty());
    for fault in [
        restore(&copy, &bed.path()).unwrap_err(),
        back_up(&copy, &beside(&bed, "second.db"), &mut |_| {}).unwrap_err(),
    ] {
        assert!(
            matches!(
                fault,
                CareError::Damaged { .. }
                    | CareError::Open(OpenError::Damaged { .. })
                    | CareError::Database(_)
            ),
            "{fault}"
        );
    }
    assert!(!beside(&bed, "second.db").exists() && !beside(&bed, "second.db.partial").exists());

    let foreign = beside(&bed, "list.txt");
    fs::write(&foreign, "a shopping list, long enough not to be empty".repeat(99)).unwrap();
    assert!(check(&foreign).is_err() && restore(&foreign, &bed.path()).is_err());
    assert!(check(&beside(&bed, "nowhere.db")).is_err());
}
