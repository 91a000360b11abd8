//! Secrets come from the environment or from files, never from the config's own text.

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

    /// One entry of a list of secrets: `{ env = "NAME" }` or `{ file = "path" }`, with an optional
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

    /// A secret that is no key: `{ env = "NAME" }` or `{ file = "path" }`.
    pub(super) fn text(&self, node: &Node<'_, '_>) -> Option<String> {
        let section = node.section()?;
        let text = self.named(&section);
        section.finish();
        text
    }

    /// What `env` or `file` of a section names; the section may say more.
    pub(super) fn named(&self, section: &Section<'_, '_>) -> Option<String> {
        match (section.get("env"), section.get("file")) {
            (Some(env), None) => self.variable(&env),
            (None, Some(file)) => self.file(&file),
            _ => {
                section.fault("a secret is { env = \"NAME\" } or { file = \"path\" }");
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

    /// A file's text without the one newline that editors and `echo` leave at its end.
    pub(super) fn file(&self, node: &Node<'_, '_>) -> Option<String> {
        let path = self.path(node.text()?);
        let text = (self.around.file)(&path);
        self.files.borrow_mut().push(path.clone());
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
