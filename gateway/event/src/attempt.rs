//! What happens to a delivery: attempts, their outcomes, and the fate that follows.

use std::{fmt, time::Duration};

use crate::Digest;

/// What happened in an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The plugin handled the event.
    Done,
    /// The plugin asks to be tried again later.
    Retry,
    /// The plugin will never handle this event.
    Reject,
    /// The plugin panicked or trapped, its stack included.
    Trap,
    /// The plugin took longer than its wall time.
    Timeout,
    /// The plugin used more CPU time than it may.
    CpuLimit,
    /// The plugin asked for more memory than it may have.
    MemoryLimit,
    /// The plugin returned something that can't be taken: a malformed type, too many outputs.
    Invalid,
    /// The process died while the attempt ran, too often for this event.
    Lost,
    /// The event passed through too many plugins; none was run.
    HopLimit,
    /// The event can't be read any more; none was run.
    Unreadable,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Done,
        Self::Retry,
        Self::Reject,
        Self::Trap,
        Self::Timeout,
        Self::CpuLimit,
        Self::MemoryLimit,
        Self::Invalid,
        Self::Lost,
        Self::HopLimit,
        Self::Unreadable,
    ];

    /// Whether the plugin's code failed, rather than said that it will not or can't handle the event
    /// now: what speaks against a version.
    pub fn is_system_failure(self) -> bool {
        match self {
            Self::Trap | Self::Timeout | Self::CpuLimit | Self::MemoryLimit | Self::Invalid => true,
            Self::Done | Self::Retry | Self::Reject => false,
            // No code was run, or none ended.
            Self::Lost | Self::HopLimit | Self::Unreadable => false,
        }
    }

    /// The word in the store, in logs and listings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Retry => "retry",
            Self::Reject => "reject",
            Self::Trap => "trap",
            Self::Timeout => "timeout",
            Self::CpuLimit => "cpu-limit",
            Self::MemoryLimit => "memory-limit",
            Self::Invalid => "invalid",
            Self::Lost => "lost",
            Self::HopLimit => "hop-limit",
            Self::Unreadable => "unreadable",
        }
    }

    /// The outcome that `word` stands for.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == word)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why an attempt did not end `done`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Any outcome but `done`.
    pub outcome: Outcome,
    /// For the operator: one line, without secrets or bodies.
    pub message: String,
    /// The shortest wait that the plugin asked for, with `retry`.
    pub retry_after: Option<Duration>,
}

/// What the gateway does next with a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Nothing: it is handled.
    Done,
    /// Run it again when this much time has passed.
    Due {
        /// From the settlement on.
        after: Duration,
    },
    /// Nothing until a person says so: it is a dead letter.
    Dead {
        /// Whether later deliveries with its order key wait for that as well.
        blocks: bool,
    },
}

/// How loud a plugin's log line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the five levels everyone knows")]
pub enum LogLevel {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

impl LogLevel {
    /// The level as a word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// One line that a plugin logged during an attempt, kept with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// How loud.
    pub level: LogLevel,
    /// The text with its fields, cut to the limit, control characters escaped.
    pub text: String,
}

/// The record of one attempt, kept with the delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// What happened.
    pub outcome: Outcome,
    /// Why it did not end `done`.
    pub message: Option<String>,
    /// The plugin's version that ran; none if none did.
    pub version: Option<Digest>,
    /// From lease to end.
    pub wall: Duration,
    /// CPU time in the guest and in host calls.
    pub cpu: Duration,
    /// What the plugin logged.
    pub logs: Vec<LogLine>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_read_back_and_differ() {
        for outcome in Outcome::ALL {
            assert_eq!(Outcome::from_word(outcome.as_str()), Some(outcome));
        }
        assert_eq!(Outcome::from_word("perhaps"), None);
    }
}
