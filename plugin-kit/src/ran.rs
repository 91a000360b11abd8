//! What a call came to, and assertions that show all of it when they fail.

use std::{fmt::Write as _, time::Duration};

use hookweir_event::{Change, Exchange, Failure, LogLine, NewOutput, Outcome, StateChange};

use crate::{Sent, wire::without_values};

/// What a call came to: for an attempt, its outputs.
#[derive(Debug)]
pub struct Ran<T = Vec<NewOutput>> {
    pub(crate) ran: hookweir_host::Ran<T>,
    pub(crate) requests: Vec<Sent>,
    pub(crate) unasked: Vec<Exchange>,
}

impl<T> Ran<T> {
    /// What happened.
    pub fn outcome(&self) -> Outcome {
        self.ran.result.as_ref().err().map_or(Outcome::Done, |failure| failure.outcome)
    }

    /// The answer, or why there is none.
    ///
    /// # Errors
    /// The failure, if it is not done.
    pub fn result(&self) -> Result<&T, &Failure> {
        self.ran.result.as_ref()
    }

    /// What it changed of its state; nothing, if it is not done.
    pub fn changes(&self) -> impl Iterator<Item = &StateChange> {
        self.ran.state.iter().filter(|change| change.change != Change::Keep)
    }

    /// What it logged.
    pub fn logs(&self) -> &[LogLine] {
        &self.ran.logs
    }

    /// Whether a line of the log has this text in it.
    pub fn logged(&self, text: &str) -> bool {
        self.ran.logs.iter().any(|line| line.text.contains(text))
    }

    /// What it sent, or would have, in its order; what the grant does not allow is denied.
    pub fn requests(&self) -> &[Sent] {
        &self.requests
    }

    /// What the record that it was answered from has and it did not send: method and URL of each, as people are
    /// shown them.
    pub fn unasked(&self) -> Vec<String> {
        let line = |one: &Exchange| without_values(&format!("{} {}", one.method, one.url));
        self.unasked.iter().map(line).collect()
    }

    /// CPU time in the guest and in host calls.
    pub fn cpu(&self) -> Duration {
        self.ran.cpu
    }

    /// From start to end.
    pub fn wall(&self) -> Duration {
        self.ran.wall
    }

    /// The most that all its memories and tables had together, in bytes.
    pub fn memory_peak(&self) -> u64 {
        self.ran.memory_peak
    }

    /// It is done. Answers what it made.
    ///
    /// # Panics
    /// If it is not.
    #[track_caller]
    pub fn assert_done(&self) -> &T {
        match &self.ran.result {
            Ok(answer) => answer,
            Err(_) => panic!("expected done, and it {}", self.told()),
        }
    }

    /// It asks to be tried again. Answers why and when.
    ///
    /// # Panics
    /// If it does not.
    #[track_caller]
    pub fn assert_retry(&self) -> &Failure {
        self.assert_failed(Outcome::Retry)
    }

    /// It will never handle this event. Answers why.
    ///
    /// # Panics
    /// If it does not say so.
    #[track_caller]
    pub fn assert_reject(&self) -> &Failure {
        self.assert_failed(Outcome::Reject)
    }

    /// It ended so: as [`Outcome::CpuLimit`], say.
    ///
    /// # Panics
    /// If it did not.
    #[track_caller]
    pub fn assert_failed(&self, outcome: Outcome) -> &Failure {
        match &self.ran.result {
            Err(failure) if failure.outcome == outcome => failure,
            _ => panic!("expected {outcome}, and it {}", self.told()),
        }
    }

    /// How it ended, with what it logged and sent.
    fn told(&self) -> String {
        let mut told = match &self.ran.result {
            Ok(_) => "is done".to_owned(),
            Err(failure) => format!("ended as {}: {}", failure.outcome, failure.message),
        };
        for LogLine { level, text } in &self.ran.logs {
            let _ = write!(told, "\n  {:<5} {text}", level.as_str());
        }
        for sent in &self.requests {
            let answer = match sent.answer() {
                Some(Ok(status)) => status.to_string(),
                Some(Err(fault)) => format!("{}: {fault}", fault.code()),
                None => "cut off".to_owned(),
            };
            let _ = write!(told, "\n  sent  {} -> {answer}", sent.shown_line());
        }
        told
    }
}
