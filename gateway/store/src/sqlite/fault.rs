//! Tells failures apart: those that pass, those of one operation, and those that poison.

use rusqlite::{Error, ErrorCode, ffi};

use crate::StoreError;

/// Why a batch, or one operation in it, failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// This operation is at fault; others in its batch are not.
    Operation(String),
    /// The disk, a lock: it passes by itself.
    Passing(StoreError),
    /// What is on disk is in doubt.
    Poison(String),
}

impl Fault {
    /// What the operation is answered.
    pub(super) fn into_answer(self) -> StoreError {
        match self {
            Self::Operation(reason) => StoreError::Failed(reason),
            Self::Passing(error) => error,
            Self::Poison(reason) => StoreError::Poisoned(reason),
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        let reason = error.to_string();
        let Some(cause) = error.sqlite_error() else {
            return Self::Operation(reason);
        };
        match (cause.code, cause.extended_code) {
            // After a failed sync the kernel may have dropped the pages and forgotten the error, so
            // that a second sync would succeed over lost data.
            (_, ffi::SQLITE_IOERR_FSYNC | ffi::SQLITE_IOERR_DIR_FSYNC) => {
                Self::Poison(format!("a sync failed ({reason})"))
            }
            (ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase, _)
            | (_, ffi::SQLITE_IOERR_CORRUPTFS | ffi::SQLITE_IOERR_DATA) => {
                Self::Poison(format!("the file is corrupt ({reason})"))
            }
            (ErrorCode::DiskFull, _) => Self::Passing(StoreError::Full),
            (ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked, _) => {
                Self::Passing(StoreError::Busy)
            }
            (
                ErrorCode::ConstraintViolation
                | ErrorCode::TooBig
                | ErrorCode::TypeMismatch
                | ErrorCode::ParameterOutOfRange,
                _,
            ) => Self::Operation(reason),
            _ => Self::Passing(StoreError::Failed(reason)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(code: i32) -> Fault {
        Fault::from(Error::SqliteFailure(ffi::Error::new(code), None))
    }

    #[test]
    fn a_failed_sync_and_corruption_poison() {
        for code in [
            ffi::SQLITE_IOERR_FSYNC,
            ffi::SQLITE_IOERR_DIR_FSYNC,
            ffi::SQLITE_CORRUPT,
            ffi::SQLITE_CORRUPT_INDEX,
            ffi::SQLITE_NOTADB,
            ffi::SQLITE_IOERR_DATA,
        ] {
            assert!(matches!(of(code), Fault::Poison(_)), "{code}");
        }
    }

    #[test]
    fn what_a_disk_does_on_a_bad_day_passes() {
        assert_eq!(of(ffi::SQLITE_FULL), Fault::Passing(StoreError::Full));
        assert_eq!(of(ffi::SQLITE_BUSY_SNAPSHOT), Fault::Passing(StoreError::Busy));
        for code in [ffi::SQLITE_IOERR_WRITE, ffi::SQLITE_IOERR_SHMMAP, ffi::SQLITE_CANTOPEN] {
            assert!(matches!(of(code), Fault::Passing(StoreError::Failed(_))), "{code}");
        }
    }

    #[test]
    fn a_broken_constraint_is_the_operations_own() {
        assert!(matches!(of(ffi::SQLITE_CONSTRAINT_UNIQUE), Fault::Operation(_)));
        assert!(matches!(of(ffi::SQLITE_TOOBIG), Fault::Operation(_)));
    }
}
