//! How many of each there are: what a transaction changes of that, added up and written at its end.
//!
//! Everybody would want to write the same rows. So each writer has rows of its own, and who wants to know the number
//! adds them up: there are at most as many as there are writers.

use std::collections::BTreeMap;

use super::{Fault, Moment};
pub(super) use crate::totals::Totals;

/// So many writers have rows of their own; more of them share some.
pub(super) const SHARDS: i64 = 256;

/// By how much the deliveries of a plugin change that are not done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Depth {
    pub(super) due: i64,
    pub(super) behind: i64,
    pub(super) leased: i64,
    pub(super) dead: i64,
    /// Those that are aside for a hold, which are in none of the others.
    pub(super) held: i64,
}

/// What a transaction changes.
#[derive(Debug, Clone, Default)]
pub(super) struct Counted {
    pub(super) totals: Totals,
    /// By plugin, and by the origin that they are aside for; empty for the others.
    depths: BTreeMap<String, BTreeMap<String, Depth>>,
}

impl Counted {
    /// Of a plugin's deliveries.
    pub(super) fn of(&mut self, plugin: &str) -> &mut Depth {
        self.aside(plugin, "")
    }

    /// Of those that are aside for the hold of an origin.
    pub(super) fn aside(&mut self, plugin: &str, origin: &str) -> &mut Depth {
        entry(entry(&mut self.depths, plugin), origin)
    }

    /// The depths that change, by plugin and origin.
    fn changed(&self) -> impl Iterator<Item = (&str, &str, &Depth)> {
        let all = self.depths.iter().flat_map(|(plugin, depths)| {
            depths.iter().map(|(origin, depth)| (plugin.as_str(), origin.as_str(), depth))
        });
        all.filter(|(.., depth)| **depth != Depth::default())
    }

    /// Whether what all have written down of plugins' deliveries is this.
    pub(super) async fn agrees(&self, moment: &Moment<'_>) -> Result<bool, Fault> {
        let sql =
            "SELECT plugin, origin, sum(due)::bigint, sum(behind)::bigint, sum(leased)::bigint,
                       sum(dead)::bigint, sum(held)::bigint
                   FROM depths GROUP BY plugin, origin";
        let mut written = Self::default();
        for row in moment.rows(sql, &[]).await? {
            let [due, behind, leased, dead, held] = [2, 3, 4, 5, 6].map(|at| row.get(at));
            *written.aside(row.get(0), row.get(1)) = Depth { due, behind, leased, dead, held };
        }
        Ok(written.changed().eq(self.changed()))
    }

    /// Writes them down, and answers whether there was anything to write.
    pub(super) async fn write(&self, moment: &Moment<'_>, shard: i32) -> Result<bool, Fault> {
        tokio::try_join!(
            biased;
            self.write_totals(moment, shard),
            self.write_depths(moment, shard),
        )
        .map(|(totals, depths)| totals || depths)
    }

    /// The same, and commits. The [statements](STATEMENTS) have to be prepared: nothing is to be on its way behind the commit.
    pub(super) async fn commit(&self, moment: &Moment<'_>, shard: i32) -> Result<bool, Fault> {
        let (wrote, ()) =
            tokio::try_join!(biased; self.write(moment, shard), moment.commit_behind())?;
        Ok(wrote)
    }

    async fn write_totals(&self, moment: &Moment<'_>, shard: i32) -> Result<bool, Fault> {
        if self.totals == Totals::default() {
            return Ok(false);
        }
        let Totals { events, outputs, unrouted, due, leased, done, .. } = self.totals;
        let Totals { dead, discarded, duplicates, bytes, dead_bytes, .. } = self.totals;
        moment
            .run(
                TOTALS,
                &[
                    &shard,
                    &events,
                    &outputs,
                    &unrouted,
                    &due,
                    &leased,
                    &done,
                    &dead,
                    &discarded,
                    &duplicates,
                    &bytes,
                    &dead_bytes,
                ],
            )
            .await?;
        Ok(true)
    }

    async fn write_depths(&self, moment: &Moment<'_>, shard: i32) -> Result<bool, Fault> {
        let (mut plugins, mut origins, mut numbers) =
            (Vec::new(), Vec::new(), [(); 5].map(|()| Vec::new()));
        for (plugin, origin, depth) in self.changed() {
            plugins.push(plugin);
            origins.push(origin);
            let Depth { due, behind, leased, dead, held } = *depth;
            for (all, number) in numbers.iter_mut().zip([due, behind, leased, dead, held]) {
                all.push(number);
            }
        }
        if plugins.is_empty() {
            return Ok(false);
        }
        let [due, behind, leased, dead, held] = &numbers;
        moment.run(DEPTHS, &[&shard, &plugins, &origins, due, behind, leased, dead, held]).await?;
        Ok(true)
    }
}

/// What a map has of a name, which is nothing at first.
fn entry<'m, V: Default>(map: &'m mut BTreeMap<String, V>, name: &str) -> &'m mut V {
    if !map.contains_key(name) {
        map.insert(name.to_owned(), V::default());
    }
    map.get_mut(name).expect("invariant: it is there by now")
}

/// What a transaction ends with.
pub(super) const STATEMENTS: [&str; 2] = [TOTALS, DEPTHS];

const TOTALS: &str =
    "INSERT INTO totals AS t VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
    ON CONFLICT (shard) DO UPDATE SET
        events = t.events + excluded.events, outputs = t.outputs + excluded.outputs,
        unrouted = t.unrouted + excluded.unrouted, due = t.due + excluded.due,
        leased = t.leased + excluded.leased, done = t.done + excluded.done,
        dead = t.dead + excluded.dead, discarded = t.discarded + excluded.discarded,
        duplicates = t.duplicates + excluded.duplicates,
        bytes = t.bytes + excluded.bytes, dead_bytes = t.dead_bytes + excluded.dead_bytes";

const DEPTHS: &str = "INSERT INTO depths AS d
    SELECT $1, * FROM unnest($2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[],
                             $8::bigint[])
    ON CONFLICT (shard, plugin, origin) DO UPDATE SET
        due = d.due + excluded.due, behind = d.behind + excluded.behind, leased = d.leased + excluded.leased,
        dead = d.dead + excluded.dead, held = d.held + excluded.held";
