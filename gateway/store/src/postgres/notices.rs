//! Notices: what a gateway found wrong, raised once and cleared once, by whichever gateway is the first.

use super::{Fault, batch::Batch};
use crate::verbs::Notice;

/// So many that are over are kept, the last ones.
const OVER_MAX: i64 = 100;

impl<'m> Batch<'m> {
    /// Keeps what was noticed if it is news, and says whether it was.
    pub(super) async fn notice(&mut self, notice: &'m Notice) -> Result<bool, Fault> {
        let Notice { name, raised, append } = notice;
        let name = name.as_bytes();
        // As the event says, so that there is one time for it.
        let (at, event) = (append.received_at.as_millis(), &append.id.as_bytes()[..]);
        let sql = match raised {
            true => {
                "INSERT INTO notices AS n (name, raised_at, event, body) VALUES ($1, $2, $3, $4)
                 ON CONFLICT (name) DO UPDATE SET raised_at = excluded.raised_at, cleared_at = NULL,
                     event = excluded.event, body = excluded.body
                 WHERE n.cleared_at IS NOT NULL"
            }
            false => {
                "UPDATE notices SET cleared_at = $2, event = $3, body = $4
                 WHERE name = $1 AND cleared_at IS NULL"
            }
        };
        if self.moment.run(sql, &[&name, &at, &event, &append.body]).await? == 0 {
            // It was news if it was told by a commit whose outcome was not known.
            let sql = "SELECT 1 FROM notices WHERE name = $1 AND event = $2";
            return Ok(self.again && self.moment.row(sql, &[&name, &event]).await?.is_some());
        }
        let sql = "DELETE FROM notices WHERE name IN
                       (SELECT name FROM notices WHERE cleared_at IS NOT NULL
                        ORDER BY cleared_at DESC OFFSET $1)";
        self.moment.run(sql, &[&OVER_MAX]).await?;
        self.keep(append, &[]);
        Ok(true)
    }
}
