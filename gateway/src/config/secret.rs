//! Secrets come from the environment, from files or from systemd's credentials, never from the config's own text.

use std::{
    cell::RefCell,
    path::{Path, PathBuf},
};

use hookweir_event::Timestamp;
use hookweir_verify::{Scheme, Secret};

use super::{
    Surroundings,
    read::{Node, Section},
};

/// Resolves secrets while a config is read, and remembers the files.
pub(super) struct Secrets<'a> {
    folder: &'a Path,
    around: &'a Surroundings<'a>,
    files: RefCell<Vec<PathBuf>>,
}

impl<'a> Secrets<'a> {
    pub(super) fn new(folder: &'a Path, around: &'a Surroundings<'a>) -> Self {
        Self { folder, around, files: RefCell::default() }
    }

    pub(super) fn into_files(self) -> Vec<PathBuf> {
        self.files.into_inner()
    }

    /// One entry of a list of secrets: `{ env = "NAME" }`, `{ file = "path" }` or `{ credential = "name" }`, with an optional
    /// `from` and `until`. Without a scheme it can't be used, but its faults are found.
    pub(super) fn read(&self, node: &Node<'_, '_>, scheme: Option<&Scheme>) -> Option<Secret> {
        let section = node.section()?;
        let time = |key| section.get(key).and_then(|node| node.parsed(timestamp));
        let (from, until) = (time("from"), time("until"));
        let text = self.named(&section);
        section.finish();
        let text = text?;
        let key = scheme?.secret(&text).map_err(|fault| node.fault(fault)).ok()?;
        Some(Secret { key, from, until })
    }

    /// A secret that is no key, from the same places.
    pub(super) fn text(&self, node: &Node<'_, '_>) -> Option<String> {
        let section = node.section()?;
        let text = self.named(&section);
        section.finish();
        text
    }

    /// What `env`, `file` or `credential` of a section names; the section may say more.
    pub(super) fn named(&self, section: &Section<'_, '_>) -> Option<String> {
        match (section.get("env"), section.get("file"), section.get("credential")) {
            (Some(env), None, None) => self.variable(&env),
            (None, Some(file), None) => self.file(&file),
            (None, None, Some(credential)) => self.credential(&credential),
            _ => {
                section.fault(
                    "a secret is { env = \"NAME\" }, { file = \"path\" } or { credential = \"name\" }",
                );
                None
            }
        }
    }

    fn variable(&self, node: &Node<'_, '_>) -> Option<String> {
        let name = node.text()?;
        let value = (self.around.env)(name).filter(|value| !value.is_empty());
        if value.is_none() {
            node.fault(format_args!("the environment variable {name} is not set"));
        }
        value
    }

    /// The file that is meant by this.
    pub(super) fn path(&self, text: &str) -> PathBuf {
        self.folder.join(text)
    }

    /// What systemd was given by `LoadCredential=` and its like (systemd.exec(5)): a file in a folder that only the
    /// gateway can read.
    fn credential(&self, node: &Node<'_, '_>) -> Option<String> {
        let name = node.text()?;
        if name.is_empty() || name.contains('/') || name.starts_with('.') {
            node.fault("expected the name of a credential, such as \"github-secret\"");
            return None;
        }
        match (self.around.env)("CREDENTIALS_DIRECTORY").filter(|folder| !folder.is_empty()) {
            Some(folder) => self.read_file(node, &Path::new(&folder).join(name)),
            None => {
                node.fault(
                    "there are no credentials: CREDENTIALS_DIRECTORY is not set. systemd sets it; in a shell it is the \
                     folder that they are loaded from",
                );
                None
            }
        }
    }

    /// A file's text without the one newline that editors and `echo` leave at its end.
    pub(super) fn file(&self, node: &Node<'_, '_>) -> Option<String> {
        self.read_file(node, &self.path(node.text()?))
    }

    fn read_file(&self, node: &Node<'_, '_>, path: &Path) -> Option<String> {
        let text = (self.around.file)(path);
        self.files.borrow_mut().push(path.to_owned());
        let text = text
            .map_err(|error| node.fault(format_args!("failed to read {}: {error}", path.display())))
            .ok()?;
        let text = text.strip_suffix('\n').unwrap_or(&text);
        Some(text.strip_suffix('\r').unwrap_or(text).to_owned())
    }
}

fn timestamp(text: &str) -> Result<Timestamp, &'static str> {
    text.parse::<jiff::Timestamp>()
        .map(|time| Timestamp::from_millis(time.as_millisecond()))
        .map_err(|_| "expected a time such as \"2026-12-31T00:00:00Z\"")
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::super::Config;
    use super::*;

    fn faults(secret: &str, folder: Option<&str>) -> Result<Vec<PathBuf>, String> {
        let env = |name: &str| {
            (name == "CREDENTIALS_DIRECTORY").then(|| folder.map(str::to_owned)).flatten()
        };
        let file = |path: &Path| -> io::Result<String> {
            let ours = path == Path::new("/run/credentials/hookweir.service/github-secret");
            let text = "it-is-a-secret-to-everybody-of-32-bytes\n".to_owned();
            ours.then_some(text).ok_or(io::ErrorKind::NotFound.into())
        };
        let around = Surroundings { env: &env, file: &file };
        let text = format!(
            "[sources.github]\npath = \"/github\"\nscheme = \"github\"\nsecrets = [{secret}]\n"
        );
        match Config::parse(&text, Path::new("/etc/hookweir"), &around) {
            Ok(config) => Ok(config.secret_files),
            Err(faults) => Err(faults.iter().map(ToString::to_string).collect()),
        }
    }

    #[test]
    fn a_credential_is_a_file_in_the_folder_that_systemd_names() {
        let folder = Some("/run/credentials/hookweir.service");
        let good = r#"{ credential = "github-secret" }"#;
        let file = Path::new("/run/credentials/hookweir.service/github-secret");
        assert_eq!(faults(good, folder).as_deref(), Ok(&[file.to_owned()][..]));
        for (secret, folder, fault) in [
            (good, None, "CREDENTIALS_DIRECTORY is not set"),
            (good, Some(""), "CREDENTIALS_DIRECTORY is not set"),
            (good, Some("/elsewhere"), "failed to read /elsewhere/github-secret"),
            (r#"{ credential = "../passwd" }"#, folder, "expected the name of a credential"),
            (r#"{ credential = ".." }"#, folder, "expected the name of a credential"),
            (r#"{ credential = "" }"#, folder, "expected the name of a credential"),
            (r#"{ credential = "a", env = "A" }"#, folder, "a secret is { env = "),
        ] {
            let said = faults(secret, folder).expect_err(fault);
            assert!(said.contains(fault), "{said}");
        }
    }
}
