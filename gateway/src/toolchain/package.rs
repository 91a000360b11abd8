//! What cargo says of a package before the build, and what it says it made behind it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use super::ToolchainError;

/// The package that a folder holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Package {
    pub(super) name: String,
    /// Where its workspace builds.
    pub(super) target_dir: PathBuf,
    /// Where its workspace's manifest is: profiles count only there.
    workspace: PathBuf,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<PackageEntry>,
    target_directory: PathBuf,
    workspace_root: PathBuf,
}

#[derive(Deserialize)]
struct PackageEntry {
    name: String,
    manifest_path: PathBuf,
}

/// One of the lines of `--message-format=json`. Cargo has more kinds; they have none of the rest.
#[derive(Deserialize)]
struct Message {
    reason: String,
    manifest_path: Option<PathBuf>,
    filenames: Option<Vec<PathBuf>>,
}

impl Package {
    /// Reads the answer of `cargo metadata --no-deps` for the package of this manifest; `None` if
    /// the manifest is a workspace's and no package's.
    pub(super) fn read(metadata: &str, manifest: &Path) -> serde_json::Result<Option<Self>> {
        let metadata: Metadata = serde_json::from_str(metadata)?;
        let entry = metadata.packages.into_iter().find(|entry| entry.manifest_path == manifest);
        Ok(entry.map(|entry| Self {
            name: entry.name,
            target_dir: metadata.target_directory,
            workspace: metadata.workspace_root.join("Cargo.toml"),
        }))
    }

    /// The profile to build with: `plugin`, if the workspace has it.
    pub(super) fn profile(&self) -> &'static str {
        let manifest = fs::read_to_string(&self.workspace).unwrap_or_default();
        if has_plugin_profile(&manifest) { "plugin" } else { "release" }
    }

    /// The module among what cargo says it made.
    pub(super) fn module(
        &self,
        messages: &str,
        manifest: &Path,
    ) -> Result<PathBuf, ToolchainError> {
        module(messages, manifest).ok_or_else(|| ToolchainError::NoModule(self.name.clone()))
    }
}

/// Whether a module waits for somebody to give `getrandom` its bytes: it imports the function that crates look
/// for which are built with [`super::FLAGS`]. The module's name and the function's, each behind its length.
pub(super) fn lacks_chance(module: &[u8]) -> bool {
    const IMPORT: &[u8] = b"\x03env\x16__getrandom_v03_custom";
    module.windows(IMPORT.len()).any(|bytes| bytes == IMPORT)
}

fn has_plugin_profile(manifest: &str) -> bool {
    manifest.parse::<toml::Table>().is_ok_and(|manifest| {
        manifest.get("profile").is_some_and(|profiles| profiles.get("plugin").is_some())
    })
}

/// Lines that are no messages (a build script's, say) are passed over, as cargo's documentation asks.
fn module(messages: &str, manifest: &Path) -> Option<PathBuf> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Message>(line).ok())
        .filter(|message| message.reason == "compiler-artifact")
        .filter(|message| message.manifest_path.as_deref() == Some(manifest))
        .flat_map(|message| message.filenames.unwrap_or_default())
        .find(|file| file.extension().is_some_and(|extension| extension == "wasm"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = "/w/plugins/github/Cargo.toml";

    #[test]
    fn the_package_is_the_one_of_the_folder() {
        let metadata = r#"{"packages":[
            {"name":"other","manifest_path":"/w/plugins/other/Cargo.toml","targets":[]},
            {"name":"github","manifest_path":"/w/plugins/github/Cargo.toml"}],
            "target_directory":"/w/target","workspace_root":"/w","version":1}"#;
        let package = Package::read(metadata, Path::new(MANIFEST)).unwrap().unwrap();
        assert_eq!(package.name, "github");
        assert_eq!(package.target_dir, Path::new("/w/target"));
        assert_eq!(package.workspace, Path::new("/w/Cargo.toml"));
        assert_eq!(Package::read(metadata, Path::new("/w/Cargo.toml")).unwrap(), None);
        assert!(Package::read("no metadata", Path::new(MANIFEST)).is_err());
    }

    #[test]
    fn the_module_is_the_packages_own() {
        let messages = r#"{"reason":"compiler-artifact","manifest_path":"/r/dep/Cargo.toml","filenames":["/t/dep.wasm"]}
{"reason":"build-script-executed","package_id":"x"}
warning: not a message
{"reason":"compiler-artifact","manifest_path":"/w/plugins/github/Cargo.toml","filenames":["/t/libgithub.rlib","/t/github.wasm"],"fresh":true}
{"reason":"build-finished","success":true}"#;
        assert_eq!(module(messages, Path::new(MANIFEST)), Some("/t/github.wasm".into()));
        assert_eq!(module(messages, Path::new("/w/plugins/other/Cargo.toml")), None);
    }

    #[test]
    fn a_module_that_nobody_gives_chance_is_seen() {
        assert!(lacks_chance(b"..\x03env\x16__getrandom_v03_custom\x00\x05.."));
        // The SDK's own, as an export.
        assert!(!lacks_chance(b"..\x16__getrandom_v03_custom\x00\x05.."));
    }

    #[test]
    fn a_profile_counts_only_if_it_is_one() {
        assert!(has_plugin_profile("[workspace]\n[profile.plugin]\ninherits = 'release'\n"));
        assert!(has_plugin_profile("profile = { plugin = { inherits = 'release' } }\n"));
        assert!(!has_plugin_profile("# [profile.plugin]\n[profile.release]\n"));
        assert!(!has_plugin_profile("not toml ["));
    }
}
