//! What waits for each plugin, from one moment: how much stands where is what is written down of it (`depths`), and what
//! of it has to wait for its time is told apart by the index.

use std::collections::BTreeMap;

use hookweir_event::{PluginName, Timestamp};
use tokio_postgres::Row;

use super::{
    Fault, Moment,
    columns::{Columns, count},
    depths::{self, Depth},
    stand::open,
    window::Window,
};
use crate::{Queue, ReadError, Time};

/// Of each plugin, in the order of their names: which of its deliveries' time has not come, and how many of its lines
/// wait for an operator.
const WAITING: &str = concat!(
    "SELECT p.name, l.later, l.next_due_at, b.blocked_keys FROM plugins AS p
         CROSS JOIN LATERAL (
             SELECT count(*) AS later, min(due_at) AS next_due_at FROM deliveries
             WHERE plugin = p.name AND ",
    open!(),
    " AND due_at > $1) AS l
         CROSS JOIN LATERAL (
             SELECT count(*) AS blocked_keys FROM deliveries
             WHERE plugin = p.name AND standing = 2) AS b
     ORDER BY p.name COLLATE \"C\""
);

impl Window {
    /// The queues of all plugins that anything was ever routed to, in the order of their names. What is due is decided
    /// by the database's time, or where that is `now`, by that.
    pub(crate) async fn queues(&self, now: Timestamp) -> Result<Vec<Queue>, ReadError> {
        let mut connection = self.connect().await?;
        let moment = Moment::look(&mut connection).await?;
        let now = match self.database().time {
            Time::Given => Some(now.as_millis()),
            Time::Server => None,
        };
        // Some gateway may have seen a later time.
        let sql = "SELECT greatest(clock, coalesce($1::bigint,
                       floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint + ahead)) AS now FROM meta";
        let now = moment.the_row(sql, &[&now]).await?.time("now")?;
        let (depths, first_due) =
            (depths::all(&moment).await?, depths::first_due(&moment, now).await?);
        let rows = moment.rows(WAITING, &[&now.as_millis()]).await?;
        Ok(rows.iter().map(|row| queue(row, &depths, &first_due)).collect::<Result<_, _>>()?)
    }
}

fn queue(
    row: &Row,
    depths: &BTreeMap<PluginName, Depth>,
    first_due: &BTreeMap<PluginName, Timestamp>,
) -> Result<Queue, Fault> {
    let plugin = row.parsed("name")?;
    let later = count(row.value("later")?);
    let Depth { due, behind, leased, dead, held, let_go, let_go_at } =
        depths.get(&plugin).copied().unwrap_or_default();
    Ok(Queue {
        due: due.saturating_sub(later) + let_go,
        later,
        behind,
        held,
        leased,
        dead,
        blocked_keys: row.number("blocked_keys")?,
        oldest_due_at: first_due.get(&plugin).copied().into_iter().chain(let_go_at).min(),
        next_due_at: row.time_if_any("next_due_at")?,
        plugin,
    })
}
