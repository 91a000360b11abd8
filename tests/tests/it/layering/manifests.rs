//! The walls between the crates, read from their manifests as cargo understands them.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde::Deserialize;

use super::{
    Fault,
    rules::{CRATES, FENCES, FOR_TESTS, PLUGIN_FOLDERS, PLUGINS_MAY_USE, UNFENCED, UNSAFE},
};

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

/// One of the workspace's crates.
#[derive(Deserialize)]
pub(crate) struct Package {
    name: String,
    /// Absolute from cargo; below the workspace's folder after [`read`].
    manifest_path: PathBuf,
    dependencies: Vec<Dependency>,
    #[serde(default)]
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Dependency {
    /// The crate's own name, whatever it is renamed to.
    name: String,
    /// Set if it is one of ours.
    path: Option<PathBuf>,
    /// `dev` or `build`; none if it is shipped.
    kind: Option<String>,
}

#[derive(Deserialize)]
struct Target {
    kind: Vec<String>,
    src_path: PathBuf,
}

/// Asks cargo; the network is not needed.
pub(crate) fn read(root: &Path) -> Vec<Package> {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut packages = parse(&output.stdout);
    for package in &mut packages {
        package.manifest_path = package.manifest_path.strip_prefix(root).unwrap().to_owned();
    }
    packages
}

fn parse(metadata: &[u8]) -> Vec<Package> {
    serde_json::from_slice::<Metadata>(metadata).unwrap().packages
}

/// Every dependency of every crate, those of its tests included.
pub(crate) fn check(packages: &[Package]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for package in packages {
        let Some(may_use) = may_use(package) else {
            faults.push(format!("{}: say in the layering rules what it may use", package.name));
            continue;
        };
        for dependency in &package.dependencies {
            let breach = if dependency.path.is_some() {
                !may_use.contains(&dependency.name.as_str()) || shipped(package, dependency)
            } else {
                fenced_off(&package.name, &dependency.name)
            };
            if breach {
                faults.push(format!("{} may not depend on {}", package.name, dependency.name));
            }
        }
    }
    faults
}

/// Whether something that is for tests would be part of what is not.
fn shipped(package: &Package, dependency: &Dependency) -> bool {
    FOR_TESTS.contains(&dependency.name.as_str())
        && dependency.kind.as_deref() != Some("dev")
        && !UNFENCED.contains(&package.name.as_str())
}

fn may_use(package: &Package) -> Option<&'static [&'static str]> {
    if PLUGIN_FOLDERS.iter().any(|folder| package.manifest_path.starts_with(folder)) {
        return Some(PLUGINS_MAY_USE);
    }
    CRATES.iter().find(|(name, _)| *name == package.name).map(|(_, may_use)| *may_use)
}

fn fenced_off(package: &str, dependency: &str) -> bool {
    let meant = |pattern: &str| match pattern.strip_suffix('*') {
        Some(beginning) => dependency.starts_with(beginning),
        None => dependency == pattern,
    };
    let fence = FENCES.iter().find(|(pattern, _)| meant(pattern));
    fence.is_some_and(|(_, inside)| !inside.contains(&package) && !UNFENCED.contains(&package))
}

/// Every crate takes the workspace's lints, which deny `unsafe`; the gateway's crates that hold none
/// of the three files forbid it, so that nothing inside can lift the ban.
pub(crate) fn check_unsafe(
    packages: &[Package],
    root: &Path,
    read: &dyn Fn(&str) -> String,
) -> Vec<Fault> {
    let mut faults = Vec::new();
    for package in packages {
        let manifest = package.manifest_path.to_string_lossy();
        if !read(&manifest).contains("[lints]\nworkspace = true") {
            faults.push(format!("{manifest}: does not take the workspace's lints"));
        }
        let folder = package.manifest_path.parent().unwrap_or(Path::new(""));
        // The gateway's crate has the folders of other crates below its own.
        let holds_unsafe =
            UNSAFE.iter().any(|file| Path::new(file).starts_with(folder.join("src")));
        if holds_unsafe || !package.manifest_path.starts_with("gateway") {
            continue;
        }
        for target in package.targets.iter().filter(|target| ships(target)) {
            let path = target.src_path.strip_prefix(root).unwrap_or(&target.src_path);
            let path = path.to_string_lossy();
            if !read(&path).contains("#![forbid(unsafe_code)]") {
                faults.push(format!("{path}: does not forbid unsafe code"));
            }
        }
    }
    faults
}

/// Every crate of ours is named in the profile that the tests are built with: one that is not would be optimised as what
/// it stands on is, which takes long.
pub(crate) fn check_profile(packages: &[Package], workspace: &str) -> Vec<Fault> {
    let manifest: toml::Table = workspace.parse().unwrap();
    let named = ["profile", "dev", "package"]
        .iter()
        .try_fold(&manifest, |table, key| table.get(*key).and_then(toml::Value::as_table));
    let named = named.expect("the workspace says how its own crates are built");
    let missing = packages.iter().filter(|package| !named.contains_key(&package.name));
    missing.map(|it| format!("{}: Cargo.toml does not say how it is built", it.name)).collect()
}

fn ships(target: &Target) -> bool {
    target.kind.iter().any(|kind| kind == "lib" || kind == "bin")
}

#[cfg(test)]
fn package(name: &str, folder: &str, dependencies: &[&str]) -> Package {
    let dependency = |name: &&str| Dependency {
        name: (*name).to_owned(),
        path: name.starts_with("hookweir").then(PathBuf::new),
        kind: None,
    };
    let target =
        Target { kind: vec!["lib".into()], src_path: format!("{folder}/src/lib.rs").into() };
    Package {
        name: name.into(),
        manifest_path: format!("{folder}/Cargo.toml").into(),
        dependencies: dependencies.iter().map(dependency).collect(),
        targets: vec![target],
    }
}

#[test]
fn each_wrong_dependency_is_seen() {
    for (name, folder, dependency) in [
        ("hookweir-event", "gateway/event", "hookweir-verify"),
        ("hookweir-verify", "gateway/verify", "hookweir-store"),
        ("hookweir-store", "gateway/store", "hookweir-host"),
        ("hookweir-host", "gateway/host", "hookweir"),
        ("hookweir-sdk", "plugin-sdk", "hookweir-event"),
        ("github", "plugins/github", "hookweir-event"),
        ("guest-hostile", "tests/guests/hostile", "hookweir-host"),
        ("hookweir", "gateway", "wasmtime"),
        ("hookweir", "gateway", "wasmtime-wasi"),
        ("hookweir", "gateway", "sha2"),
        ("hookweir", "gateway", "tokio-postgres"),
        ("hookweir-host", "gateway/host", "deadpool-postgres"),
        ("hookweir-store", "gateway/store", "hmac"),
        ("hookweir-host", "gateway/host", "rusqlite"),
        ("hookweir-host", "gateway/host", "axum"),
        ("hookweir-store", "gateway/store", "notify"),
        ("hookweir-store", "gateway/store", "hookweir-ground"),
        ("github", "plugins/github", "axum"),
    ] {
        let expected = format!("{name} may not depend on {dependency}");
        assert_eq!(check(&[package(name, folder, &[dependency])]), [expected]);
    }
    let unknown = check(&[package("hookweir-more", "gateway/more", &[])]);
    assert_eq!(unknown, ["hookweir-more: say in the layering rules what it may use"]);
}

#[test]
fn right_dependencies_are_no_fault() {
    let packages = [
        package("hookweir-verify", "gateway/verify", &["hookweir-event", "hmac", "sha2"]),
        package("hookweir-host", "gateway/host", &["hookweir-event", "wasmtime-wasi"]),
        package("hookweir", "gateway", &["hookweir-host", "axum", "notify", "serde"]),
        package("github", "plugins/github", &["hookweir-sdk", "serde"]),
        package("hookweir-tests", "tests", &["hookweir", "hmac", "rusqlite"]),
    ];
    assert_eq!(check(&packages), [""; 0]);
    let mut tested = package("hookweir-store", "gateway/store", &["hookweir-ground"]);
    tested.dependencies[0].kind = Some("dev".into());
    assert_eq!(check(&[tested]), [""; 0]);
}

#[test]
fn a_crate_that_may_be_unsafe_is_seen() {
    let packages = [package("hookweir-verify", "gateway/verify", &[])];
    let nothing = check_unsafe(&packages, Path::new(""), &|_| String::new());
    assert!(nothing.len() == 2 && nothing[0].contains("lints"), "{nothing:?}");
    assert!(nothing[1].contains("gateway/verify/src/lib.rs"), "{nothing:?}");
    let well = |path: &str| match path.ends_with(".toml") {
        true => "[lints]\nworkspace = true\n".to_owned(),
        false => "#![forbid(unsafe_code)]\n".to_owned(),
    };
    assert_eq!(check_unsafe(&packages, Path::new(""), &well), [""; 0]);
}

#[test]
fn a_crate_that_the_profile_leaves_out_is_seen() {
    let packages = ["one", "two"].map(|name| package(name, name, &[]));
    let manifest = "[profile.dev.package]\none = { opt-level = 0 }\n";
    let missing = check_profile(&packages, manifest);
    assert_eq!(missing, ["two: Cargo.toml does not say how it is built"]);
    assert_eq!(check_profile(&packages[..1], manifest), [""; 0]);
}

#[test]
fn cargos_answer_is_understood() {
    let metadata = br#"{"packages":[{"name":"a","manifest_path":"/w/a/Cargo.toml","targets":[],
        "dependencies":[{"name":"b","path":"/w/b","kind":"dev","rename":"c"},{"name":"d"}]}]}"#;
    let packages = parse(metadata);
    let ours: Vec<_> = packages[0].dependencies.iter().map(|d| d.path.is_some()).collect();
    assert_eq!(ours, [true, false]);
}
