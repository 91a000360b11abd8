//! Notices: what the gateway found wrong, raised once and cleared once. That, and the event that tells of it,
//! are one transaction, so that whoever dies in between and looks again tells nothing twice.

use hookweir_event::{EventId, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};

use super::{append::Batch, fault::Fault, look::PAGE_MAX};
use crate::verbs::Notice;

/// So many that are over are kept, the last ones.
const OVER_MAX: i64 = 100;

impl Batch<'_> {
    /// Keeps what was noticed if it is news, and says whether it was.
    pub(super) fn notice(&mut self, notice: &Notice) -> Result<bool, Fault> {
        let Notice { name, raised, append } = notice;
        let sql = "SELECT 1 FROM notices WHERE name = ?1 AND cleared_at IS NULL";
        let mut statement = self.connection.prepare_cached(sql)?;
        let was: Option<i64> = statement.query_row([name], |row| row.get(0)).optional()?;
        drop(statement);
        if was.is_some() == *raised {
            return Ok(false);
        }
        // As the event says, so that there is one time for it.
        let (at, event) = (append.received_at.as_millis(), append.id.as_bytes());
        let sql = match raised {
            true => {
                "INSERT INTO notices (name, raised_at, event, body) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (name) DO UPDATE SET
                     raised_at = ?2, cleared_at = NULL, event = ?3, body = ?4"
            }
            false => "UPDATE notices SET cleared_at = ?2, event = ?3, body = ?4 WHERE name = ?1",
        };
        self.connection.prepare_cached(sql)?.execute(params![name, at, event, append.body])?;
        let sql = "DELETE FROM notices WHERE name IN
                       (SELECT name FROM notices WHERE cleared_at IS NOT NULL
                        ORDER BY cleared_at DESC LIMIT -1 OFFSET ?1)";
        self.connection.prepare_cached(sql)?.execute([OVER_MAX])?;
        self.keep(append)?;
        Ok(true)
    }
}

/// What is not over, and the last that are.
pub(crate) fn all(connection: &Connection) -> rusqlite::Result<Vec<crate::Notice>> {
    let sql = "SELECT name, raised_at, cleared_at, event, body FROM notices
               ORDER BY name LIMIT ?1";
    let mut statement = connection.prepare_cached(sql)?;
    let limit = i64::try_from(PAGE_MAX).unwrap_or(i64::MAX);
    let rows = statement.query_map([limit], |row| {
        Ok(crate::Notice {
            name: row.get(0)?,
            raised_at: Timestamp::from_millis(row.get(1)?),
            cleared_at: row.get::<_, Option<_>>(2)?.map(Timestamp::from_millis),
            event: EventId::from_bytes(row.get(3)?),
            body: row.get(4)?,
        })
    })?;
    rows.collect()
}
