//! A plugin's folder in another language than Rust: which it is, its name, what was installed for it,
//! and the step that they share, which puts what the plugin wants into the component that was built.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use hookweir_event::{Digest, PluginName};
use hookweir_host::{Wants, WantsText};
use serde::Deserialize;

use super::{Built, ToolchainError};

/// Where the language's own tool leaves the component, below the project's folder.
pub(super) const COMPONENT: &str = "build/component.wasm";
/// What a plugin wants, beside its sources.
const WANTS: &str = "wants.toml";

/// What a plugin is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
    Rust,
    JavaScript,
    Python,
}

impl Language {
    /// By the manifest that the folder has. A crate may have a `package.json` for its tools; it is a
    /// crate still.
    pub(super) fn of(folder: &Path) -> Result<Self, ToolchainError> {
        [
            ("Cargo.toml", Self::Rust),
            ("package.json", Self::JavaScript),
            ("pyproject.toml", Self::Python),
        ]
        .into_iter()
        .find(|(manifest, _)| folder.join(manifest).is_file())
        .map(|(_, language)| language)
        .ok_or_else(|| ToolchainError::NoPackage(folder.to_owned()))
    }
}

/// A folder with a manifest.
pub(super) struct Project {
    /// Absolute.
    pub(super) folder: PathBuf,
    pub(super) name: PluginName,
}

impl Project {
    /// `name` reads the plugin's name from the manifest's text.
    pub(super) fn open(
        folder: &Path,
        manifest: &str,
        name: impl Fn(&str) -> Result<String, String>,
    ) -> Result<Self, ToolchainError> {
        let folder = fs::canonicalize(folder)
            .map_err(|error| fault(&folder.join(manifest), error.to_string()))?;
        let path = folder.join(manifest);
        let read = || {
            let text = fs::read_to_string(&path).map_err(|error| error.to_string())?;
            let name = name(&text)?;
            name.parse().map_err(|error| format!("the name `{name}`: {error}"))
        };
        match read() {
            Ok(name) => Ok(Self { folder, name }),
            Err(reason) => Err(fault(&path, reason)),
        }
    }

    /// Does `install` unless it was done for these files as they are now. The note of it lies in what was
    /// installed, and so goes with it.
    pub(super) fn installed(
        &self,
        files: &[&str],
        note: &str,
        install: impl FnOnce() -> Result<(), ToolchainError>,
    ) -> Result<(), ToolchainError> {
        let texts: Vec<_> =
            files.iter().map(|file| fs::read(self.folder.join(file)).unwrap_or_default()).collect();
        let fields: Vec<_> = texts.iter().map(Vec::as_slice).collect();
        let now = Digest::of_fields(&fields).to_string();
        let note = self.folder.join(note);
        if fs::read_to_string(&note).is_ok_and(|then| then == now) {
            return Ok(());
        }
        install()?;
        fs::write(&note, now).map_err(|error| fault(&note, error.to_string()))
    }

    /// Makes room for the component, and for a folder of the build's: what an earlier one left can't be
    /// taken for this one's.
    pub(super) fn clear(&self, folder: Option<&str>) -> Result<(), ToolchainError> {
        let clear = |path: &Path, removed: io::Result<()>| match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(fault(path, error.to_string()))
            }
            _ => Ok(()),
        };
        if let Some(folder) = folder.map(|folder| self.folder.join(folder)) {
            clear(&folder, fs::remove_dir_all(&folder))?;
        }
        let component = self.folder.join(COMPONENT);
        clear(&component, fs::create_dir_all(self.folder.join("build")))?;
        clear(&component, fs::remove_file(&component))
    }

    /// What the plugin wants. Asked for first: a slip there need not wait for a build.
    pub(super) fn wants(&self) -> Result<Wants, ToolchainError> {
        read_wants(&self.folder.join(WANTS))
    }

    /// Puts what the plugin wants into the component that is there now. `tool` made it.
    pub(super) fn finish(&self, wants: Wants, tool: String) -> Result<Built, ToolchainError> {
        let component = self.folder.join(COMPONENT);
        let bytes = fs::read(&component)
            .map_err(|error| fault(&component, format!("the build left none: {error}")))?;
        let wants = Wants { sdk: Some(tool), ..wants };
        let bytes = wants.put_into(&bytes).map_err(|error| fault(&component, error.to_string()))?;
        let wasm = self.folder.join("build").join(format!("{}.wasm", self.name));
        fs::write(&wasm, bytes).map_err(|error| fault(&wasm, error.to_string()))?;
        Ok(Built { wasm, name: self.name.to_string() })
    }
}

/// The file as it is written. Unlike the section, which a newer SDK may have made, it is the author's own: a
/// key that nobody knows is a slip.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WantsFile {
    subscribe: Vec<String>,
    #[serde(default)]
    http: Vec<String>,
    #[serde(default)]
    secrets: Vec<String>,
}

/// Reads a `wants.toml`.
///
/// # Errors
/// [`ToolchainError::Project`], with the place of the fault.
pub fn read_wants(path: &Path) -> Result<Wants, ToolchainError> {
    let text = fs::read_to_string(path).map_err(|error| {
        let hint = "it says what the plugin wants, such as `subscribe = [\"github/push\"]`";
        fault(path, format!("{error}; {hint}"))
    })?;
    let file: WantsFile =
        toml::from_str(&text).map_err(|error| fault(path, error.to_string().trim().to_owned()))?;
    let WantsFile { subscribe, http, secrets } = file;
    Wants::of(WantsText { sdk: None, subscribe, http, secrets })
        .map_err(|reason| fault(path, reason))
}

fn fault(path: &Path, reason: String) -> ToolchainError {
    ToolchainError::Project { path: path.to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tempfile::TempDir;

    use super::*;

    fn folder(files: &[(&str, &str)]) -> TempDir {
        let folder = TempDir::new().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    #[test]
    fn the_language_is_the_manifests() {
        for (files, language) in [
            (&["package.json"][..], Language::JavaScript),
            (&["pyproject.toml"], Language::Python),
            (&["package.json", "Cargo.toml"], Language::Rust),
        ] {
            let files: Vec<_> = files.iter().map(|name| (*name, "")).collect();
            assert_eq!(Language::of(folder(&files).path()).unwrap(), language);
        }
        let error = Language::of(folder(&[]).path()).unwrap_err().to_string();
        assert!(error.contains("package.json") && error.contains("pyproject.toml"), "{error}");
    }

    #[test]
    fn a_name_must_be_a_plugins() {
        let folder = folder(&[("m", "a-1"), ("n", "A_1")]);
        let open = |manifest| {
            Project::open(folder.path(), manifest, |text| Ok::<_, String>(text.to_owned()))
        };
        assert_eq!(open("m").unwrap().name.as_str(), "a-1");
        for (manifest, words) in [("n", "the name `A_1`"), ("o", "No such file")] {
            let error = open(manifest).map(|project| project.name).unwrap_err().to_string();
            assert!(error.contains(words) && error.contains(&format!("/{manifest}: ")), "{error}");
        }
    }

    #[test]
    fn what_is_installed_is_installed_again_only_for_other_files() {
        let folder = folder(&[("m", "a"), ("lock", "1")]);
        let project = Project::open(folder.path(), "m", |_| Ok("a".into())).unwrap();
        let done = Cell::new(0);
        let install = || {
            let install = || {
                done.set(done.get() + 1);
                Ok(())
            };
            project.installed(&["m", "lock", "absent"], "note", install).unwrap();
            done.get()
        };
        assert_eq!((install(), install()), (1, 1));
        fs::write(folder.path().join("lock"), "2").unwrap();
        assert_eq!((install(), install()), (2, 2));
        fs::remove_file(folder.path().join("note")).unwrap();
        assert_eq!(install(), 3);
    }

    #[test]
    fn wants_that_are_wrong_are_said_with_their_place() {
        for (text, words) in [
            ("subscribe = [\"github/push\"]\nhttps = []", &["unknown field `https`", "line 2"][..]),
            ("subscribe = [\"push\"]", &["source/type"]),
            ("subscribe = []\nhttp = [\"ftp://a\"]", &["ftp://a"]),
            ("subscribe = []\nsecrets = [\"a b\"]", &["no name of a secret"]),
            ("http = []", &["missing field `subscribe`"]),
        ] {
            let folder = folder(&[(WANTS, text)]);
            let error = read_wants(&folder.path().join(WANTS)).unwrap_err().to_string();
            assert!(words.iter().all(|word| error.contains(word)), "{error}");
            assert!(error.contains("wants.toml: "), "{error}");
        }
        let error = read_wants(Path::new("/nowhere/wants.toml")).unwrap_err().to_string();
        assert!(error.contains("subscribe = ["), "{error}");
    }

    #[test]
    fn an_earlier_builds_component_is_not_taken_for_a_new_one() {
        let folder = folder(&[("m", ""), (WANTS, "subscribe = [\"a/b\"]")]);
        let component = folder.path().join(COMPONENT);
        let project = Project::open(folder.path(), "m", |_| Ok("a".into())).unwrap();
        project.clear(None).unwrap();
        // An empty component.
        fs::write(&component, b"\0asm\x0d\0\x01\0").unwrap();
        let wants = || project.wants().unwrap();
        let built = project.finish(wants(), "tool 1".into()).unwrap();
        assert!(built.wasm.ends_with("build/a.wasm"), "{built:?}");
        assert!(fs::read(built.wasm).unwrap().ends_with(br#""secrets":[]}"#));
        fs::create_dir(folder.path().join("build/more")).unwrap();
        project.clear(Some("build/more")).unwrap();
        assert!(!folder.path().join("build/more").exists());
        let error = project.finish(wants(), "tool 1".into()).unwrap_err().to_string();
        assert!(error.contains("component.wasm: the build left none"), "{error}");
    }
}
