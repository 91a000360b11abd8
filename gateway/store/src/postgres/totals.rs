//! How many of each there are: what a transaction changes of that, added up and written at its end.
//!
//! Everybody would want to write the same rows. So each writer has rows of its own, and who wants to know the number
//! adds them up: there are at most as many as there are writers.

use std::collections::BTreeMap;

use super::{Fault, Moment};

/// So many writers have rows of their own; more of them share some.
pub(super) const SHARDS: i64 = 256;

/// By how much the totals change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) events: i64,
    pub(super) outputs: i64,
    pub(super) unrouted: i64,
    pub(super) due: i64,
    pub(super) leased: i64,
    pub(super) done: i64,
    pub(super) dead: i64,
    pub(super) discarded: i64,
    pub(super) duplicates: i64,
    pub(super) bytes: i64,
    pub(super) dead_bytes: i64,
}

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
    depths: BTreeMap<(String, String), Depth>,
}

impl Counted {
    /// Of a plugin's deliveries.
    pub(super) fn of(&mut self, plugin: &str) -> &mut Depth {
        self.aside(plugin, "")
    }

    /// Of those that are aside for the hold of an origin.
    pub(super) fn aside(&mut self, plugin: &str, origin: &str) -> &mut Depth {
        self.depths.entry((plugin.to_owned(), origin.to_owned())).or_default()
    }

    /// Whether what all have written down of plugins' deliveries is this.
    pub(super) async fn agrees(&self, moment: &Moment<'_>) -> Result<bool, Fault> {
        let sql =
            "SELECT plugin, origin, sum(due)::bigint, sum(behind)::bigint, sum(leased)::bigint,
                       sum(dead)::bigint, sum(held)::bigint
                   FROM depths GROUP BY plugin, origin";
        let mut written = BTreeMap::new();
        for row in moment.rows(sql, &[]).await? {
            let [due, behind, leased, dead, held] = [2, 3, 4, 5, 6].map(|at| row.get(at));
            written.insert((row.get(0), row.get(1)), Depth { due, behind, leased, dead, held });
        }
        let mut counted = self.depths.clone();
        for depths in [&mut written, &mut counted] {
            depths.retain(|_, depth| *depth != Depth::default());
        }
        Ok(written == counted)
    }

    /// Writes them down, and answers whether there was anything to write.
    pub(super) async fn write(&self, moment: &Moment<'_>, shard: i32) -> Result<bool, Fault> {
        let mut wrote = false;
        let Totals { events, outputs, unrouted, due, leased, done, .. } = self.totals;
        let Totals { dead, discarded, duplicates, bytes, dead_bytes, .. } = self.totals;
        if self.totals != Totals::default() {
            let sql = "INSERT INTO totals AS t VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
                       ON CONFLICT (shard) DO UPDATE SET
                           events = t.events + excluded.events, outputs = t.outputs + excluded.outputs,
                           unrouted = t.unrouted + excluded.unrouted, due = t.due + excluded.due,
                           leased = t.leased + excluded.leased, done = t.done + excluded.done,
                           dead = t.dead + excluded.dead, discarded = t.discarded + excluded.discarded,
                           duplicates = t.duplicates + excluded.duplicates,
                           bytes = t.bytes + excluded.bytes, dead_bytes = t.dead_bytes + excluded.dead_bytes";
            moment
                .run(
                    sql,
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
            wrote = true;
        }
        let changed = || self.depths.iter().filter(|(_, depth)| **depth != Depth::default());
        if changed().next().is_some() {
            let plugins: Vec<_> = changed().map(|((plugin, _), _)| plugin.as_str()).collect();
            let origins: Vec<_> = changed().map(|((_, origin), _)| origin.as_str()).collect();
            let numbers = |of: fn(&Depth) -> i64| changed().map(|(_, depth)| of(depth)).collect();
            let [due, behind, leased, dead, held]: [Vec<i64>; 5] = [
                numbers(|depth| depth.due),
                numbers(|depth| depth.behind),
                numbers(|depth| depth.leased),
                numbers(|depth| depth.dead),
                numbers(|depth| depth.held),
            ];
            let sql = "INSERT INTO depths AS d
                       SELECT $1, * FROM unnest($2::text[], $3::text[], $4::bigint[], $5::bigint[],
                                                $6::bigint[], $7::bigint[], $8::bigint[])
                       ON CONFLICT (shard, plugin, origin) DO UPDATE SET
                           due = d.due + excluded.due, behind = d.behind + excluded.behind,
                           leased = d.leased + excluded.leased, dead = d.dead + excluded.dead,
                           held = d.held + excluded.held";
            moment
                .run(sql, &[&shard, &plugins, &origins, &due, &behind, &leased, &dead, &held])
                .await?;
            wrote = true;
        }
        Ok(wrote)
    }
}
