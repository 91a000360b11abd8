//! Ctrl-C ends the demo calmly, wherever it is. That its story is told to a good end is a step of CI's own.

use std::{fs, path::Path};

use hookweir_tests::guests;

use crate::running::Running;

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
