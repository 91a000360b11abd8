//! Ctrl-C ends the demo calmly, wherever it is; and a bad day is mended. That the story of a good one is told to
//! its end is a step of CI's own.

use std::{fs, path::Path};

use hookweir_tests::guests;
use serde_json::Value;

use crate::{cli::hookweir, running::Running};

/// The processes that know of a folder.
fn processes_of(folder: &Path) -> Vec<String> {
    let command = |entry: fs::DirEntry| fs::read(entry.path().join("cmdline")).ok();
    let commands = fs::read_dir("/proc").unwrap().flatten().filter_map(command);
    let commands = commands.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    commands.filter(|line| line.contains(folder.to_str().unwrap())).collect()
}

/// The folder that a log is in, of a line that names the log.
fn folder_in(line: &str) -> &Path {
    let log = line.split([' ', ';']).find(|word| word.contains("gateway.log")).unwrap();
    Path::new(log.trim_end_matches('.')).parent().unwrap()
}

#[test]
fn an_interrupted_story_ends_with_its_gateway_and_keeps_the_log() {
    let mut demo = Running::start(guests::root(), &["demo"]);
    demo.until(&["payment", "signed"]);
    let (code, said) = demo.interrupt();
    assert_eq!(code, 1, "{said:#?}");
    assert!(said.iter().any(|line| line.contains("the demo failed: interrupted")), "{said:#?}");
    let kept = said.iter().find(|line| line.contains("the gateway's log is")).expect("it is said");
    let folder = folder_in(kept);
    let log = fs::read_to_string(folder.join("gateway.log")).unwrap();
    assert!(log.contains("stopped"), "{log}");
    assert_eq!(processes_of(folder), [""; 0]);
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_demo_that_stays_up_ends_well_and_leaves_nothing() {
    let mut demo = Running::start(guests::root(), &["demo"]);
    let says = demo.until(&["Ctrl-C ends it all and removes its folder"]);
    let folder = folder_in(&says);
    assert!(!processes_of(folder).is_empty(), "the gateway is up");
    let (code, said) = demo.interrupt();
    assert_eq!(code, 0, "{said:#?}");
    assert!(!folder.exists(), "{} is left", folder.display());
    assert_eq!(processes_of(folder), [""; 0]);
}

#[test]
fn who_presses_ctrl_c_while_the_last_page_is_read_back_is_heard() {
    let mut demo = Running::start(guests::root(), &["demo"]);
    demo.until(&["The books: every fate"]);
    let (code, said) = demo.interrupt();
    assert_eq!(code, 0, "{said:#?}");
}

/// An outage, a power cut in the middle of it, an operator who finds the reason, tries a fix on what was
/// recorded, deploys it and has the dead letters tried again: by real processes and the commands that operators
/// type. What has to be true of it are the checks on its pages.
#[test]
fn an_incident_is_found_tried_mended_and_nothing_is_lost() {
    let said = hookweir(guests::root(), &["demo", "--incident", "--once", "--json"]);
    assert_eq!(said.code, 0, "{}\n{}", said.out, said.err);
    let story: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(story["ok"], true);
    let chapters = story["chapters"].as_array().unwrap();
    let checks: Vec<_> = chapters.iter().map(|it| it["checks"].as_array().unwrap().len()).collect();
    assert!(checks.len() >= 8 && checks.iter().all(|count| *count > 0), "{checks:?}");
    let events = story["events"].as_array().unwrap();
    let orders = events.iter().filter(|it| it["plugin"] == "fulfilment");
    assert_eq!(orders.filter(|it| it["fate"] == "done").count(), 26);
}
