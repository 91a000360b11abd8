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
    /// How it stands on all gateways, if they share versions.
    pub shared: Option<Shared>,
}

/// How a plugin stands on all gateways that share versions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shared {
    /// What each of them runs.
    pub gateways: Vec<RunsOn>,
    /// What one of them proposes, or proposed last, if it was refused.
    pub proposal: Option<Proposal>,
}

/// What a gateway runs of a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunsOn {
    /// What it calls itself.
    pub gateway: String,
    /// The version that serves there.
    pub version: Option<Digest>,
    /// How it stands there, in a word, or why it is not what is live for all.
    pub standing: String,
}

/// A version that is to be live on all gateways.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// None: the plugin is to be removed.
    pub version: Option<Digest>,
    /// The gateway that proposes it.
    pub by: String,
    /// When it did.
    pub at: Timestamp,
    /// When its time is up.
    pub until: Timestamp,
    /// Why it is over, in a sentence; none if it is under way.
    pub refused: Option<String>,
    /// What each gateway says of it.
    pub words: Vec<Word>,
}

/// What a gateway says of a proposal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// What it calls itself.
    pub gateway: String,
    /// `ready`, `refused`, `needs-approval`, or `awaited`.
    pub word: &'static str,
    /// Why it is not ready, in a sentence.
    pub reason: Option<String>,
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
    /// It is proposed to all gateways, or can't be yet.
    Proposed,
    /// A gateway refused it.
    Refused,
    /// It was live on all gateways before, and is no news.
    Passed,
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
            Self::Proposed => "proposed",
            Self::Refused => "refused",
            Self::Passed => "passed",
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
