//! What an operator has paused: kept in the store, so that it holds after a restart.

use hookweir_event::{PluginName, SourceName, Timestamp};

/// What can be paused.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pausable {
    /// Its requests are refused.
    Source(SourceName),
    /// Its deliveries wait.
    Plugin(PluginName),
}

impl Pausable {
    /// What it is, as one word, and its name.
    pub(crate) fn parts(&self) -> (&'static str, &str) {
        match self {
            Self::Source(name) => ("source", name.as_str()),
            Self::Plugin(name) => ("plugin", name.as_str()),
        }
    }

    /// What has these parts.
    pub(crate) fn of_parts(kind: &str, name: &str) -> Option<Self> {
        match kind {
            "source" => name.parse().ok().map(Self::Source),
            "plugin" => name.parse().ok().map(Self::Plugin),
            _ => None,
        }
    }
}

impl std::fmt::Display for Pausable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (kind, name) = self.parts();
        write!(f, "{kind} {name}")
    }
}

/// One pause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pause {
    /// What is paused.
    pub what: Pausable,
    /// Since when.
    pub since: Timestamp,
    /// Who said so.
    pub by: String,
    /// Why, in that one's words.
    pub why: Option<String>,
}
