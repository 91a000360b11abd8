//! The kept versions on a real folder: what stays, what goes, and what a crash or rot leaves of it.

use std::{fs, path::Path};

use tempfile::TempDir;

use super::*;

fn name(text: &str) -> PluginName {
    text.parse().unwrap()
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

/// Has these contents go live, one after another.
async fn publish(versions: &mut Versions, plugin: &str, contents: &[&[u8]]) {
    for (now, content) in (0..).zip(contents) {
        let version = Digest::of(content);
        versions.keep(version, content).await.unwrap();
        versions
            .change(&name(plugin), |record| {
                record.trust();
                record.go_live(version, at(now), true);
            })
            .await
            .unwrap();
    }
}

fn files(data: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(data.join("versions")).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// What the folder has for these contents.
fn file_names(contents: &[&[u8]]) -> BTreeSet<String> {
    let modules = contents.iter().map(|content| format!("{}.wasm", Digest::of(content)));
    modules.chain([RECORD.to_owned()]).collect()
}

#[tokio::test]
async fn six_versions_stay_and_files_that_nobody_names_go() {
    let data = TempDir::new().unwrap();
    let mut versions = Versions::open(data.path()).await.unwrap();
    let contents: Vec<Vec<u8>> = (0..9).map(|n: u8| vec![n]).collect();
    let contents: Vec<&[u8]> = contents.iter().map(Vec::as_slice).collect();
    publish(&mut versions, "ci", &contents).await;
    // The same content under two names.
    publish(&mut versions, "other", &contents[3..4]).await;
    publish(&mut versions, "ci", &[b"more"]).await;
    assert_eq!(files(data.path()), file_names(&[&contents[3..], &[b"more"]].concat()));
    let again = Versions::open(data.path()).await.unwrap();
    assert_eq!(again.records, versions.records);
    assert_eq!(again.read(Digest::of(b"more")).await.unwrap(), b"more");
    assert!(matches!(again.read(Digest::of(b"other")).await, Err(KeptFault::Missing)));
    for file in files(data.path()) {
        let mode =
            fs::metadata(data.path().join("versions").join(&file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
}

#[tokio::test]
async fn content_that_rotted_is_not_handed_out_and_is_written_anew() {
    let data = TempDir::new().unwrap();
    let mut versions = Versions::open(data.path()).await.unwrap();
    publish(&mut versions, "ci", &[b"good"]).await;
    let version = Digest::of(b"good");
    fs::write(versions.path(version), b"goof").unwrap();
    assert!(matches!(versions.read(version).await, Err(KeptFault::Damaged)));
    versions.keep(version, b"good").await.unwrap();
    assert_eq!(versions.read(version).await.unwrap(), b"good");
}

#[tokio::test]
async fn what_a_crash_left_in_the_middle_of_publishing_is_swept() {
    let data = TempDir::new().unwrap();
    let mut versions = Versions::open(data.path()).await.unwrap();
    publish(&mut versions, "ci", &[b"one"]).await;
    // It ended after the content was kept, and while the record was written.
    versions.keep(Digest::of(b"two"), b"two").await.unwrap();
    fs::write(data.path().join("versions/.new"), b"{ \"format\"").unwrap();
    let again = Versions::open(data.path()).await.unwrap();
    assert_eq!(files(data.path()), file_names(&[b"one"]));
    assert_eq!(again.record(&name("ci")).unwrap().live.unwrap().version, Digest::of(b"one"));
}

#[tokio::test]
async fn a_damaged_record_is_set_aside_and_a_newer_one_is_left_alone() {
    let data = TempDir::new().unwrap();
    let mut versions = Versions::open(data.path()).await.unwrap();
    publish(&mut versions, "ci", &[b"one"]).await;
    let record = data.path().join("versions").join(RECORD);
    let whole = fs::read(&record).unwrap();
    fs::write(&record, &whole[..whole.len() / 2]).unwrap();
    let mut again = Versions::open(data.path()).await.unwrap();
    assert!(again.live().is_empty());
    assert!(again.read(Digest::of(b"one")).await.is_ok(), "its content waits for who mends it");
    publish(&mut again, "ci", &[b"two"]).await;
    // Over more starts than one, until the damaged record is moved away.
    for _ in 0..2 {
        let again = Versions::open(data.path()).await.unwrap();
        assert!(again.read(Digest::of(b"one")).await.is_ok());
    }
    fs::remove_file(data.path().join("versions").join(DAMAGED)).unwrap();
    Versions::open(data.path()).await.unwrap();
    assert_eq!(files(data.path()), file_names(&[b"two"]));

    let newer = br#"{ "format": 9 }"#;
    fs::write(&record, newer).unwrap();
    let mut again = Versions::open(data.path()).await.unwrap();
    let change = again.change(&name("ci"), |record| record.retire(at(9))).await;
    assert!(matches!(change, Err(KeptFault::Frozen(_))));
    again.note(&name("ci"), |record| record.go_live(Digest::of(b"x"), at(9), false)).await;
    assert_eq!(again.live().len(), 1, "it counts until the restart");
    assert_eq!(fs::read(&record).unwrap(), newer);
}

#[tokio::test]
async fn what_the_last_format_kept_is_taken_over_once() {
    let data = TempDir::new().unwrap();
    let old = data.path().join("last-good");
    fs::create_dir(&old).unwrap();
    fs::write(old.join("ci.wasm"), b"kept").unwrap();
    fs::write(old.join(".ci.tmp"), b"ke").unwrap();
    let versions = Versions::open(data.path()).await.unwrap();
    let live = versions.record(&name("ci")).unwrap().live.unwrap();
    assert_eq!((live.version, live.probation), (Digest::of(b"kept"), None));
    assert_eq!(versions.read(live.version).await.unwrap(), b"kept");
    assert!(!old.exists());
    assert_eq!(Versions::open(data.path()).await.unwrap().records, versions.records);
}

#[tokio::test]
async fn plugins_that_are_gone_are_remembered_up_to_a_number() {
    let data = TempDir::new().unwrap();
    let mut versions = Versions::open(data.path()).await.unwrap();
    publish(&mut versions, "stays", &[b"stays"]).await;
    for number in 0..GONE_MAX + 3 {
        let plugin = format!("gone-{number}");
        publish(&mut versions, &plugin, &[plugin.as_bytes()]).await;
        versions.retire(&name(&plugin), at(1000 + i64::try_from(number).unwrap())).await;
    }
    assert_eq!(versions.records.len(), GONE_MAX + 1);
    assert!(versions.record(&name("gone-2")).is_none());
    assert!(versions.record(&name("gone-3")).is_some_and(|record| record.live.is_none()));
    assert_eq!(versions.live().len(), 1);
    assert_eq!(files(data.path()).len(), GONE_MAX + 2);
}
