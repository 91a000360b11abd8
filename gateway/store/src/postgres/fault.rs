//! What can go wrong with a statement or a commit.

use tokio_postgres::{Error, error::SqlState};

use crate::{ReadError, StoreError};

/// Why a transaction was not done, or is not known to be.
#[derive(Debug, Clone)]
pub(super) enum Fault {
    /// The connection is gone, or none can be had. If it was a commit that was asked for, nobody knows whether it took
    /// place.
    Lost(String),
    /// It was in another's way; done again, it may well succeed. Nothing of it is there.
    InTheWay(String),
    /// There is something already that it was to make. Done again, with care, it may well succeed. Nothing of it is there.
    Taken(String),
    /// The database has no room. Nothing of it is there.
    Full(String),
    /// The statement itself can't be done, and so not by trying again. Nothing of it is there.
    Operation(String),
}

impl Fault {
    /// A value in the database that this code never wrote.
    pub(super) fn unreadable(what: &str) -> Self {
        Self::Operation(format!("{what} is not as Hookweir writes it"))
    }

    /// What callers are told.
    pub(super) fn into_answer(self) -> StoreError {
        match self {
            Self::Full(_) => StoreError::Full,
            Self::InTheWay(_) => StoreError::Busy,
            Self::Lost(reason) | Self::Taken(reason) | Self::Operation(reason) => {
                StoreError::Failed(reason)
            }
        }
    }

    /// The same of what was asked of nobody yet: there is no connection to ask it on, for whatever reason.
    pub(super) fn into_lost(self) -> Self {
        Self::Lost(self.reason())
    }

    /// What went wrong.
    pub(super) fn reason(self) -> String {
        match self {
            Self::Lost(reason)
            | Self::InTheWay(reason)
            | Self::Taken(reason)
            | Self::Full(reason)
            | Self::Operation(reason) => reason,
        }
    }
}

impl From<Fault> for ReadError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Lost(reason) => Self::Unreachable(reason),
            fault => Self::Failed(fault.reason()),
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        let reason = said(&error);
        match error.code() {
            Some(code) => of_code(code, reason),
            None => Self::Lost(reason),
        }
    }
}

/// What an error of the server's is. The first two characters of its code are the class (PostgreSQL, appendix A).
fn of_code(code: &SqlState, reason: String) -> Fault {
    match (code, code.code().get(..2).unwrap_or_default()) {
        (&SqlState::DISK_FULL, _) => Fault::Full(reason),
        // It says itself that nobody knows whether it was committed; or it ended the connection.
        (
            &SqlState::T_R_STATEMENT_COMPLETION_UNKNOWN
            | &SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
            _,
        ) => Fault::Lost(reason),
        // A lock or a statement that took too long: nothing is there, and it may go well the next time.
        (&SqlState::QUERY_CANCELED, _) | (_, "40" | "55") => Fault::InTheWay(reason),
        // One that travelled with it failed, and says why if it is done again.
        (&SqlState::IN_FAILED_SQL_TRANSACTION, _) => Fault::InTheWay(reason),
        // It is of a day whose partitions are being made.
        (&SqlState::CHECK_VIOLATION, _) => Fault::InTheWay(reason),
        // The connection, the server's end, its want of memory, files of its own that it can't read or write.
        (_, "08" | "57" | "53" | "58") => Fault::Lost(reason),
        // It does not take writes: the server that took over from it does.
        (&SqlState::READ_ONLY_SQL_TRANSACTION, _) => Fault::Lost(reason),
        (&SqlState::UNIQUE_VIOLATION, _) => Fault::Taken(reason),
        _ => Fault::Operation(reason),
    }
}

/// What an error says, with what it comes from.
pub(super) fn said(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let more = cause.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whether_it_is_known_what_became_of_a_transaction_is_told_by_the_code() {
        let fault = |code| of_code(&SqlState::from_code(code), String::new());
        for code in ["40003", "25P03", "25006", "08006", "57P01", "53300"] {
            assert!(matches!(fault(code), Fault::Lost(_)), "{code}");
        }
        for code in ["40001", "40P01", "55P03", "57014"] {
            assert!(matches!(fault(code), Fault::InTheWay(_)), "{code}");
        }
        assert!(matches!(fault("53100"), Fault::Full(_)));
        assert!(matches!(fault("42501"), Fault::Operation(_)));
    }
}
