//! How many deliveries of each plugin stand where: added up from what each of those who write has written down.

use std::collections::BTreeMap;

use hookweir_event::{PluginName, Timestamp};
use tokio_postgres::Row;

use super::{
    Fault, Moment,
    columns::{Columns, count},
    stand::open,
    window::Window,
};
use crate::{Counts, ReadError, Survey};

/// Where the deliveries of one plugin stand that are not done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Depth {
    /// Those that are aside are in none of these.
    pub(super) due: u64,
    pub(super) behind: u64,
    pub(super) leased: u64,
    pub(super) dead: u64,
    /// Of those that are aside: how many are held, how many may go on, and since when.
    pub(super) held: u64,
    pub(super) let_go: u64,
    pub(super) let_go_at: Option<Timestamp>,
}

/// The depths of all plugins that have any deliveries that are not done.
pub(super) async fn all(moment: &Moment<'_>) -> Result<BTreeMap<PluginName, Depth>, Fault> {
    let sql = "SELECT d.plugin, sum(d.due)::bigint AS due, sum(d.behind)::bigint AS behind,
                   sum(d.leased)::bigint AS leased, sum(d.dead)::bigint AS dead,
                   (coalesce(sum(d.held) FILTER (WHERE h.lifted_at IS NULL), 0))::bigint AS held,
                   (coalesce(sum(d.held) FILTER (WHERE h.lifted_at IS NOT NULL), 0))::bigint AS let_go,
                   min(h.lifted_at) FILTER (WHERE d.held <> 0) AS let_go_at
               FROM (SELECT plugin, origin, sum(due) AS due, sum(behind) AS behind, sum(leased) AS leased,
                         sum(dead) AS dead, sum(held) AS held
                     FROM depths GROUP BY plugin, origin) AS d
                   LEFT JOIN holds AS h ON h.origin = d.origin
               GROUP BY d.plugin";
    let mut all = BTreeMap::new();
    for row in moment.rows(sql, &[]).await? {
        let depth = depth(&row)?;
        if depth != Depth::default() {
            all.insert(row.parsed("plugin")?, depth);
        }
    }
    Ok(all)
}

fn depth(row: &Row) -> Result<Depth, Fault> {
    let number = |column| row.value(column).map(count);
    Ok(Depth {
        due: number("due")?,
        behind: number("behind")?,
        leased: number("leased")?,
        dead: number("dead")?,
        held: number("held")?,
        let_go: number("let_go")?,
        let_go_at: row.time_if_any("let_go_at")?,
    })
}

/// Since when the first of each plugin's deliveries is due, of those that are due until some moment; what a hold kept,
/// since it was lifted. Not those that are aside still.
///
/// They are looked at in the order in which they came to be due. At the front of the index stand those that are
/// leased, as many as may run at a time, and those that a hold kept until lately, as many as one lease took back.
pub(super) async fn first_due(
    moment: &Moment<'_>,
    until: Timestamp,
) -> Result<BTreeMap<PluginName, Timestamp>, Fault> {
    let sql = concat!(
        "SELECT p.name, least(f.due_at, k.let_go_at) AS due_at FROM plugins AS p
             LEFT JOIN LATERAL (
                 SELECT due_at FROM deliveries
                 WHERE plugin = p.name AND ",
        open!(),
        " AND boot IS NULL AND due_at <= $1
                     AND (let_go_at IS NULL OR let_go_at <= due_at)
                 ORDER BY due_at LIMIT 1) AS f ON true
             LEFT JOIN LATERAL (
                 SELECT min(let_go_at) AS let_go_at FROM deliveries
                 WHERE plugin = p.name AND ",
        open!(),
        " AND boot IS NULL
                     AND due_at <= least(f.due_at, $1) AND let_go_at > due_at) AS k ON true"
    );
    let mut all = BTreeMap::new();
    for row in moment.rows(sql, &[&until.as_millis()]).await? {
        if let Some(due_at) = row.time_if_any("due_at")? {
            all.insert(row.parsed("name")?, due_at);
        }
    }
    Ok(all)
}

/// How many of each there are.
const COUNTS: &str = "SELECT coalesce(sum(events), 0)::bigint AS events, coalesce(sum(outputs), 0)::bigint AS outputs,
        coalesce(sum(unrouted), 0)::bigint AS unrouted, coalesce(sum(due), 0)::bigint AS due,
        coalesce(sum(leased), 0)::bigint AS leased, coalesce(sum(done), 0)::bigint AS done,
        coalesce(sum(dead), 0)::bigint AS dead, coalesce(sum(discarded), 0)::bigint AS discarded,
        coalesce(sum(duplicates), 0)::bigint AS duplicates
    FROM totals";

fn counts(row: &Row) -> Result<Counts, Fault> {
    let number = |column| row.value(column).map(count);
    Ok(Counts {
        events: number("events")?,
        outputs: number("outputs")?,
        unrouted: number("unrouted")?,
        due: number("due")?,
        leased: number("leased")?,
        done: number("done")?,
        dead: number("dead")?,
        discarded: number("discarded")?,
        duplicates: number("duplicates")?,
    })
}

impl Window {
    /// How many of each there are.
    pub(crate) async fn counts(&self) -> Result<Counts, ReadError> {
        let row = self.ask_one(COUNTS, &[]).await?;
        Ok(row.as_ref().map_or(Ok(Counts::default()), counts)?)
    }

    /// How the store stands. How large it is, and which standbys there are, may be as it was some seconds ago; what room there is is the server's
    /// affair.
    pub(crate) async fn survey(&self) -> Result<Survey, ReadError> {
        let (database_bytes, standbys) = (self.size().await?, self.standbys().await);
        let mut connection = self.connect().await?;
        let moment = connection.moment().await?;
        let counts = counts(&moment.the_row(COUNTS, &[]).await?)?;
        let (depths, first_due) =
            (all(&moment).await?, first_due(&moment, Timestamp::from_millis(i64::MAX)).await?);
        let shown = |(plugin, depth): (PluginName, Depth)| {
            let Depth { due, behind, leased, dead, held, let_go, let_go_at } = depth;
            let first_due = first_due.get(&plugin).copied();
            let due_at = first_due.into_iter().chain(let_go_at).min();
            crate::Depth { plugin, due: due + let_go, behind, held, let_go, leased, dead, due_at }
        };
        Ok(Survey {
            counts,
            depths: depths.into_iter().map(shown).collect(),
            database_bytes,
            log_bytes: 0,
            disk_free_bytes: None,
            standbys,
        })
    }
}
