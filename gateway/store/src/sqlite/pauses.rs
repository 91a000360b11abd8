//! What operators have paused: a row for each.

use hookweir_event::Timestamp;
use rusqlite::{Connection, Row, params};

use super::{append::Batch, deliver::unreadable, fault::Fault};
use crate::{Pausable, Pause};

impl Batch<'_> {
    /// Pauses something from now on. What is paused stays so since when it was, by who says so now.
    pub(super) fn pause(
        &mut self,
        what: &Pausable,
        by: &str,
        why: Option<&str>,
    ) -> Result<Pause, Fault> {
        let (kind, name) = what.parts();
        let sql = "INSERT INTO pauses (kind, name, since, by, why) VALUES (?1, ?2, ?3, ?4, ?5)
                   ON CONFLICT (kind, name) DO UPDATE SET by = ?4, why = ?5 RETURNING since";
        let mut statement = self.connection.prepare_cached(sql)?;
        let with = params![kind, name, self.now.as_millis(), by, why];
        let since = statement.query_row(with, |row| row.get(0))?;
        drop(statement);
        if let Pausable::Held(source) = what {
            self.hold(source)?;
        }
        let (since, by) = (Timestamp::from_millis(since), by.to_owned());
        Ok(Pause { what: what.clone(), since, by, why: why.map(str::to_owned) })
    }

    /// Lets all of them go on; false if none was paused.
    pub(super) fn resume(&mut self, what: &[Pausable]) -> Result<bool, Fault> {
        let mut were_paused = false;
        for what in what {
            were_paused |= self.resume_one(what)?;
        }
        Ok(were_paused)
    }

    fn resume_one(&mut self, what: &Pausable) -> Result<bool, Fault> {
        let (kind, name) = what.parts();
        let sql = "DELETE FROM pauses WHERE kind = ?1 AND name = ?2";
        let was_paused = self.connection.prepare_cached(sql)?.execute([kind, name])? == 1;
        if let (Pausable::Held(source), true) = (what, was_paused) {
            self.lift(source)?;
        }
        Ok(was_paused)
    }
}

/// All that is paused.
pub(crate) fn all(connection: &Connection) -> rusqlite::Result<Vec<Pause>> {
    let sql = "SELECT kind, name, since, by, why FROM pauses ORDER BY kind, name";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([], read)?;
    rows.collect()
}

fn read(row: &Row<'_>) -> rusqlite::Result<Pause> {
    let what = Pausable::of_parts(row.get_ref(0)?.as_str()?, row.get_ref(1)?.as_str()?);
    Ok(Pause {
        what: what.ok_or_else(|| unreadable(1))?,
        since: Timestamp::from_millis(row.get(2)?),
        by: row.get(3)?,
        why: row.get(4)?,
    })
}
