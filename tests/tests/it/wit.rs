//! Holds the plugin contract: each world of the WIT package must stay what was released, so that a
//! plugin built against 1.0.0 loads for as long as there is a 1.x.

use std::{collections::BTreeSet, fs, path::Path};

use wit_parser::{PackageId, Resolve, WorldId};

const PACKAGE: &str = "package hookweir:plugin@1.0.0;";

/// Stands in for the released version: two packages with one name and version can't be in one
/// [`Resolve`]. The comparison itself looks at no versions.
const BASELINE: &str = "package hookweir:plugin@0.0.1;";

fn wit(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let text = fs::read_to_string(root.join("plugin-sdk/wit").join(path)).unwrap();
    assert!(text.contains(PACKAGE), "{path} is not `{PACKAGE}`");
    text
}

fn released() -> String {
    wit("released/1.0.0/hookweir.wit")
}

/// What is wrong with `new` for those who were built against `old`; empty if nothing is.
fn breaches(old: &str, new: &str) -> Vec<String> {
    let mut resolve = Resolve::default();
    let old = resolve.push_str("released.wit", &old.replace(PACKAGE, BASELINE)).unwrap();
    let new = resolve.push_str("current.wit", new).unwrap();
    let mut found = Vec::new();
    for (name, before) in worlds(&resolve, old) {
        match worlds(&resolve, new).into_iter().find(|(other, _)| *other == name) {
            None => found.push(format!("world `{name}` is gone")),
            Some((_, after)) => found.extend(world_breaches(&resolve, &name, before, after)),
        }
    }
    found
}

fn worlds(resolve: &Resolve, package: PackageId) -> Vec<(String, WorldId)> {
    let worlds = &resolve.packages[package].worlds;
    worlds.iter().map(|(name, id)| (name.clone(), *id)).collect()
}

fn world_breaches(resolve: &Resolve, name: &str, old: WorldId, new: WorldId) -> Vec<String> {
    let mut found = Vec::new();
    // The check below takes fewer exports for growth; the gateway would no longer call them.
    if exports(resolve, old) != exports(resolve, new) {
        found.push(format!("world `{name}` has other exports"));
    }
    if let Err(error) = wit_component::semver_check(resolve.clone(), old, new) {
        found.push(format!("world `{name}`: {error:#}"));
    }
    found
}

fn exports(resolve: &Resolve, world: WorldId) -> BTreeSet<String> {
    let exports = resolve.worlds[world].exports.keys();
    // `hookweir:plugin/handler@1.0.0`, without the version.
    let plain = |name: String| name.split('@').next().unwrap_or_default().to_owned();
    exports.map(|key| plain(resolve.name_world_key(key))).collect()
}

#[test]
fn plugins_built_against_the_released_contract_still_load() {
    assert_eq!(breaches(&released(), &wit("hookweir.wit")), [""; 0]);
}

#[test]
fn every_world_is_compared() {
    let mut resolve = Resolve::default();
    let package = resolve.push_str("released.wit", &released()).unwrap();
    let names: Vec<_> = worlds(&resolve, package).into_iter().map(|(name, _)| name).collect();
    for world in ["imports", "plugin", "with-lifecycle", "with-api", "with-verifier"] {
        assert!(names.iter().any(|name| name == world), "{world} is not in {names:?}");
    }
}

#[test]
fn a_changed_contract_is_seen() {
    let released = released();
    for (change, from, to) in [
        ("a field more", "    attempt: u32,\n", "    attempt: u32,\n    more: u32,\n"),
        ("another type", "    attempt: u32,\n", "    attempt: u64,\n"),
        ("a case more", "    reject,\n", "    reject,\n    later,\n"),
        ("an import less", "  import clock;\n", ""),
        ("an argument more", "now-ms: func() -> u64", "now-ms: func(zone: u8) -> u64"),
        ("another export", "  export verifier;\n", "  export api;\n"),
        ("a world less", "world with-api {", "world with-another-api {"),
    ] {
        let changed = released.replace(from, to);
        assert_ne!(changed, released, "{change}: the sample changes nothing");
        assert_ne!(breaches(&released, &changed), [""; 0], "{change} was not seen");
    }
}

#[test]
fn growth_is_no_breach() {
    let released = released();
    let interface = "interface metrics {\n  count: func(name: string);\n}\n\nworld imports {\n  import metrics;\n";
    let grown = released.replace("world imports {\n", interface);
    assert_ne!(grown, released);
    assert_eq!(breaches(&released, &grown), [""; 0]);
}
