//! What a version did with an event, as plain data: what is compared, with secrets hidden already. Pure.

use std::{collections::BTreeMap, time::Duration};

use hookweir_event::{Change, Headers, Lasts, NewOutput, Outcome};
use hookweir_kit::{Ran, Recall, Sent};

/// What one run came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Did {
    pub(super) outcome: Outcome,
    /// Why it is not done.
    pub(super) message: Option<String>,
    pub(super) retry_after: Option<Duration>,
    pub(super) outputs: Vec<Made>,
    /// What it wrote, by key.
    pub(super) state: BTreeMap<String, Wrote>,
    pub(super) requests: Vec<Asked>,
    /// Lines of requests that are recorded, and that it did not send.
    pub(super) unasked: Vec<String>,
    pub(super) logs: Vec<String>,
}

/// An output, or a request's content.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Made {
    /// What pairs it with another version's.
    pub(super) kind: String,
    pub(super) headers: Headers,
    pub(super) attributes: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

/// What became of an entry of the state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wrote {
    Deleted,
    Set(Vec<u8>, Lasts),
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    /// Whole, to compare by, unlike what is shown of it.
    pub(super) line: String,
    /// Its kind is the line that people are shown.
    pub(super) made: Made,
    /// Who answered it.
    pub(super) by: Answerer,
    /// What the record had for it.
    pub(super) recall: Recall,
    /// The status, or why there is no answer.
    pub(super) answer: String,
}

/// Who answers a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Answerer {
    /// The record, with what came of the same request then.
    Record,
    /// What was given to the command.
    Answers,
    /// The grant or a limit is against it, whatever is answered.
    Grant,
    /// Nobody: it was denied.
    Nobody,
}

impl Answerer {
    /// The word for programs.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Record => "record",
            Self::Answers => "answers",
            Self::Grant => "grant",
            Self::Nobody => "nobody",
        }
    }
}

impl From<&Ran> for Did {
    fn from(ran: &Ran) -> Self {
        let failure = ran.result().err();
        let wrote = |change: &Change| match change {
            Change::Keep => None,
            Change::Delete => Some(Wrote::Deleted),
            Change::Set { value, lasts } => Some(Wrote::Set(value.clone(), *lasts)),
        };
        let state = ran.changes().filter_map(|one| Some((one.key.clone(), wrote(&one.change)?)));
        let line = |line: &hookweir_kit::LogLine| format!("{} {}", line.level.as_str(), line.text);
        Self {
            outcome: ran.outcome(),
            message: failure.map(|failure| failure.message.clone()),
            retry_after: failure.and_then(|failure| failure.retry_after),
            outputs: ran.result().map_or(&[][..], Vec::as_slice).iter().map(Made::from).collect(),
            state: state.collect(),
            requests: ran.requests().iter().map(Asked::from).collect(),
            unasked: ran.unasked(),
            logs: ran.logs().iter().map(line).collect(),
        }
    }
}

impl From<&NewOutput> for Made {
    fn from(output: &NewOutput) -> Self {
        Self {
            kind: output.event_type.as_str().to_owned(),
            headers: output.headers.clone(),
            attributes: output.attributes.clone(),
            body: output.body.clone(),
        }
    }
}

impl From<&Sent> for Asked {
    fn from(sent: &Sent) -> Self {
        let made = Made {
            kind: sent.shown_line(),
            headers: sent.shown_headers(),
            attributes: Vec::new(),
            body: sent.shown_body(),
        };
        let recall = sent.recall();
        let by = match recall {
            _ if sent.is_refused() => Answerer::Grant,
            _ if sent.is_canned() => Answerer::Answers,
            Recall::Answered | Recall::Otherwise => Answerer::Record,
            _ => Answerer::Nobody,
        };
        let answer = match sent.answer() {
            Some(Ok(status)) => status.to_string(),
            Some(Err(fault)) => format!("{}: {fault}", fault.code()),
            None => "cut off".to_owned(),
        };
        Self { line: sent.answerable_line(), made, by, recall, answer }
    }
}

impl Did {
    /// How it ended, in words.
    pub(super) fn ended(&self) -> String {
        let message = self.message.as_ref().map(|message| format!(": {message}"));
        let after = self.retry_after.map(|after| format!(" (after {after:?})"));
        format!("{}{}{}", self.outcome, message.unwrap_or_default(), after.unwrap_or_default())
    }
}
