//! What an operator has paused: kept in the store, so that it holds after a restart.

use hookweir_event::{PluginName, SourceName, Timestamp};

/// What can be paused.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pausable {
    /// The gateway: all requests are refused, and all deliveries wait.
    Everything,
    /// A source: its requests are refused.
    Source(SourceName),
    /// A source: its events are taken, and their deliveries that are not leased yet wait. Only this the store itself
    /// holds to: what is leased is none of these.
    Held(SourceName),
    /// Its deliveries wait.
    Plugin(PluginName),
}

impl Pausable {
    /// What it is, as one word, and its name.
    pub(crate) fn parts(&self) -> (&'static str, &str) {
        match self {
            Self::Everything => ("gateway", ""),
            Self::Source(name) => ("source", name.as_str()),
            Self::Held(name) => ("held", name.as_str()),
            Self::Plugin(name) => ("plugin", name.as_str()),
        }
    }

    /// What has these parts.
    pub(crate) fn of_parts(kind: &str, name: &str) -> Option<Self> {
        match kind {
            "gateway" => Some(Self::Everything),
            "source" => name.parse().ok().map(Self::Source),
            "held" => name.parse().ok().map(Self::Held),
            "plugin" => name.parse().ok().map(Self::Plugin),
            _ => None,
        }
    }
}

impl std::fmt::Display for Pausable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Everything => f.write_str("everything"),
            Self::Source(name) => write!(f, "source {name}"),
            Self::Held(name) => write!(f, "deliveries of source {name}"),
            Self::Plugin(name) => write!(f, "plugin {name}"),
        }
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
