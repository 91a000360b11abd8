//! How a plugin stands, for operators: which version serves and since when, which served before, which
//! were turned away, and what is wrong with the file that is in the folder now. Reload writes it with the
//! board; nothing decides by it.

use hookweir_event::{Digest, Timestamp};

/// How a plugin stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// Since when its version has been live.
    pub since: Option<Timestamp>,
    /// Whether that version replaced another and has to prove itself still.
    pub probation: bool,
    /// The version that the operator holds.
    pub pinned: Option<Digest>,
    /// What is in the folder, if that is not what serves.
    pub file: Option<FileStanding>,
    /// Versions that can serve again, the last first.
    pub earlier: Vec<Served>,
    /// Versions that do not go live, the last first.
    pub turned_away: Vec<TurnedAway>,
}

/// A file that is not live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileStanding {
    /// Its content, if it could be read.
    pub version: Option<Digest>,
    /// Why it is not live, as one word.
    pub why: NotLive,
    /// Why, in a sentence.
    pub reason: String,
    /// What to add to the config for it to go live, in TOML.
    pub add: Option<String>,
}

/// Why a file is not live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotLive {
    /// It can't be read.
    Unreadable,
    /// It does not load.
    Failed,
    /// It wants more than it was granted.
    NeedsApproval,
    /// It was live and taken back.
    TurnedAway,
    /// Another version is pinned.
    Pinned,
}

/// A version that was live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Served {
    /// Which.
    pub version: Digest,
    /// When it went live.
    pub from: Timestamp,
    /// When another took its place.
    pub until: Timestamp,
}

/// A version that does not go live until its bytes are others or the operator approves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TurnedAway {
    /// Which.
    pub version: Digest,
    /// By whom.
    pub cause: Cause,
    /// Why, in a sentence.
    pub reason: String,
    /// When.
    pub at: Timestamp,
}

/// Who turned a version away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The host: it does not load. It is tried again at each start, under another config, and by another
    /// build of the gateway.
    Load,
    /// The gateway: it failed too often on probation.
    Probation,
    /// The operator, with `rollback`.
    Operator,
}

impl NotLive {
    /// The word in the admin API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::Failed => "failed",
            Self::NeedsApproval => "needs-approval",
            Self::TurnedAway => "turned-away",
            Self::Pinned => "pinned",
        }
    }
}

impl Cause {
    /// The word in the data folder and in the admin API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::Probation => "probation",
            Self::Operator => "operator",
        }
    }

    /// The cause that `word` stands for.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Load, Self::Probation, Self::Operator].into_iter().find(|c| c.as_str() == word)
    }
}
