//! Holds the architecture: which room may know which, where the clock is read, where tasks start,
//! where `unsafe` may stand, how long things may grow.
//!
//! Clippy judges expressions; this judges the house. The rules are tables in `rules`; what reads the
//! sources leans on rustfmt, so no parser is needed. Each rule is tried on a bad sample first, so
//! that it can't pass because it sees nothing.

mod manifests;
mod rules;
mod shape;
mod source;
mod walls;

use std::{
    fs,
    path::{Path, PathBuf},
};

use source::Source;

/// A breach, as `path:line: what`.
pub(crate) type Fault = String;

/// The workspace's folder.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// All Rust files of the workspace, by path.
fn sources() -> Vec<Source> {
    let root = root();
    let mut found = Vec::new();
    for folder in rules::FOLDERS {
        collect(&root, &root.join(folder), &mut found);
    }
    found
}

fn collect(root: &Path, folder: &Path, found: &mut Vec<Source>) {
    let mut entries: Vec<_> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            if !rules::SKIPPED.contains(&name) && !name.starts_with('.') {
                collect(root, &path, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let relative = path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
            found.push(Source::new(&relative, &fs::read_to_string(&path).unwrap()));
        }
    }
}

fn assert_none(faults: &[Fault]) {
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn the_sources_are_seen() {
    let sources = sources();
    for seen in ["gateway/src/lib.rs", "gateway/event/src/time.rs", "plugin-sdk/src/lib.rs"] {
        assert!(sources.iter().any(|source| source.path == seen), "{seen} was not looked at");
    }
    assert!(sources.iter().any(|source| source.path.starts_with("plugins/")));
    assert!(sources.iter().any(|source| source.path.starts_with("gateway/src/intake/")));
    assert!(sources.iter().any(|source| source.path.starts_with("gateway/src/dispatch/")));
}

#[test]
fn files_are_in_shape() {
    assert_none(&sources().iter().flat_map(shape::check).collect::<Vec<_>>());
}

#[test]
fn walls_stand_inside_the_rooms() {
    assert_none(&sources().iter().flat_map(walls::check).collect::<Vec<_>>());
}

#[test]
fn crates_depend_downward_only() {
    assert_none(&manifests::check(&manifests::read(&root())));
}

#[test]
fn crates_forbid_unsafe_code() {
    let root = root();
    let packages = manifests::read(&root);
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
    assert_none(&manifests::check_unsafe(&packages, &root, &read));
}

#[test]
fn our_crates_are_built_as_such() {
    let root = root();
    let workspace = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    assert_none(&manifests::check_profile(&manifests::read(&root), &workspace));
}

#[test]
fn exceptions_name_files_that_exist() {
    let root = root();
    let named = rules::CLOCKS.iter().chain(rules::SPAWNS).chain(rules::SYSTEM_CLOCKS);
    for (path, reason) in named {
        assert!(root.join(path).exists(), "{path} is gone, and with it this: {reason}");
        assert!(!reason.is_empty(), "{path} is an exception without a reason");
    }
}
