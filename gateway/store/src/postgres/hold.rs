//! What operators have paused, and sources that are held (see `lease` for what that does).

use hookweir_event::Timestamp;

use super::{Fault, batch::Batch};
use crate::{Pausable, Pause};

impl Batch<'_> {
    /// Pauses something from now on. What is paused stays so since when it was, by who says so now.
    pub(super) async fn pause(
        &mut self,
        what: &Pausable,
        by: &str,
        why: Option<&str>,
    ) -> Result<Pause, Fault> {
        let (kind, name) = what.parts();
        let sql = "INSERT INTO pauses (kind, name, since, by_whom, why) VALUES ($1, $2, $3, $4, $5)
                   ON CONFLICT (kind, name) DO UPDATE SET by_whom = excluded.by_whom, why = excluded.why
                   RETURNING since";
        let (now, by_whom) = (self.now.as_millis(), by.as_bytes());
        let because = why.map(str::as_bytes);
        let row = self.moment.the_row(sql, &[&kind, &name, &now, &by_whom, &because]).await?;
        if let Pausable::Held(_) = what {
            let sql = "INSERT INTO holds (origin, lifted_at) VALUES ($1, NULL)
                       ON CONFLICT (origin) DO UPDATE SET lifted_at = NULL";
            self.moment.run(sql, &[&name]).await?;
        }
        let since = Timestamp::from_millis(row.get(0));
        Ok(Pause { what: what.clone(), since, by: by.to_owned(), why: why.map(str::to_owned) })
    }

    /// Lets all of them go on; false if none was paused.
    pub(super) async fn resume(&mut self, what: &[Pausable]) -> Result<bool, Fault> {
        let mut were_paused = false;
        for what in what {
            let (kind, name) = what.parts();
            let sql = "DELETE FROM pauses WHERE kind = $1 AND name = $2";
            let was_paused = self.moment.run(sql, &[&kind, &name]).await? == 1;
            if was_paused && matches!(what, Pausable::Held(_)) {
                // It stays until nothing is aside for it any more: whoever leases sees to that.
                let sql = "UPDATE holds SET lifted_at = $2 WHERE origin = $1 AND lifted_at IS NULL";
                self.moment.run(sql, &[&name, &self.now.as_millis()]).await?;
                self.work_due = true;
            }
            were_paused |= was_paused;
        }
        Ok(were_paused)
    }
}
