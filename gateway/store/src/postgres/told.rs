//! What the gateway noticed, and what operators paused.

use tokio_postgres::Row;

use super::{Fault, columns::Columns, look::limit_of, window::Window};
use crate::{Notice, Pausable, Pause, ReadError};

/// All that is paused.
pub(super) const PAUSES: &str = "SELECT kind, name, since, by_whom, why FROM pauses
     ORDER BY kind COLLATE \"C\", name COLLATE \"C\"";

impl Window {
    /// What was noticed and is not over, and the last that is.
    pub(crate) async fn notices(&self) -> Result<Vec<Notice>, ReadError> {
        let sql =
            "SELECT name, raised_at, cleared_at, event, body FROM notices ORDER BY name LIMIT $1";
        let rows = self.ask(sql, &[&limit_of(usize::MAX)]).await?;
        Ok(rows.iter().map(notice).collect::<Result<_, _>>()?)
    }

    /// All that is paused.
    pub(crate) async fn pauses(&self) -> Result<Vec<Pause>, ReadError> {
        let rows = self.ask(PAUSES, &[]).await?;
        Ok(rows.iter().map(pause).collect::<Result<_, _>>()?)
    }
}

fn notice(row: &Row) -> Result<Notice, Fault> {
    Ok(Notice {
        name: row.text("name")?,
        raised_at: row.time("raised_at")?,
        cleared_at: row.time_if_any("cleared_at")?,
        event: row.id("event")?,
        body: row.value("body")?,
    })
}

/// A row of [`PAUSES`].
pub(super) fn pause(row: &Row) -> Result<Pause, Fault> {
    let what = Pausable::of_parts(row.value("kind")?, row.value("name")?);
    Ok(Pause {
        what: what.ok_or_else(|| Fault::unreadable("a pause"))?,
        since: row.time("since")?,
        by: row.text("by_whom")?,
        why: row.text_if_any("why")?,
    })
}
