//! What the columns of a row hold, as the values that they were written from.

use std::str::FromStr;

use hookweir_event::{EventId, Timestamp};
use tokio_postgres::{Row, types::FromSql};

use super::Fault;

/// Reads a row by the names of its columns. What can't be read was not written by this code.
pub(super) trait Columns {
    /// A value as the database has it.
    fn value<'a, T: FromSql<'a>>(&'a self, column: &str) -> Result<T, Fault>;

    /// A number of something, which is not negative.
    fn number(&self, column: &str) -> Result<u64, Fault> {
        self.value::<i64>(column).map(count)
    }

    /// A moment.
    fn time(&self, column: &str) -> Result<Timestamp, Fault> {
        self.value(column).map(Timestamp::from_millis)
    }

    /// A moment, if there is one.
    fn time_if_any(&self, column: &str) -> Result<Option<Timestamp>, Fault> {
        Ok(self.value::<Option<_>>(column)?.map(Timestamp::from_millis))
    }

    /// A word that stands for a value.
    fn parsed<T: FromStr>(&self, column: &str) -> Result<T, Fault> {
        self.value::<&str>(column)?.parse().map_err(|_| Fault::unreadable(column))
    }

    /// Text of a stranger's, if there is any.
    fn text_if_any(&self, column: &str) -> Result<Option<String>, Fault> {
        self.value::<Option<&[u8]>>(column)?.map(|bytes| text(bytes, column)).transpose()
    }

    /// Text of a stranger's.
    fn text(&self, column: &str) -> Result<String, Fault> {
        text(self.value(column)?, column)
    }

    /// An event's id, if there is one.
    fn id_if_any(&self, column: &str) -> Result<Option<EventId>, Fault> {
        self.value::<Option<&[u8]>>(column)?.map(|bytes| id(bytes, column)).transpose()
    }

    /// An event's id.
    fn id(&self, column: &str) -> Result<EventId, Fault> {
        id(self.value(column)?, column)
    }
}

impl Columns for Row {
    fn value<'a, T: FromSql<'a>>(&'a self, column: &str) -> Result<T, Fault> {
        self.try_get(column).map_err(|_| Fault::unreadable(column))
    }
}

/// A number of something. What is counted in several rows may be negative in one of them, never in all.
pub(super) fn count(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

fn text(bytes: &[u8], column: &str) -> Result<String, Fault> {
    String::from_utf8(bytes.to_vec()).map_err(|_| Fault::unreadable(column))
}

fn id(bytes: &[u8], column: &str) -> Result<EventId, Fault> {
    let bytes = bytes.try_into().map_err(|_| Fault::unreadable(column))?;
    Ok(EventId::from_bytes(bytes))
}
