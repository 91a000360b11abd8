//! What operators do to dead letters and events: have them tried again, let others go on without them, put them
//! aside, replay them.
//!
//! Each is the same however often it is asked for: what is not dead any more is passed over.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashSet},
};

use hookweir_event::{EventId, PluginName};
use tokio_postgres::Row;

use super::{
    Fault,
    batch::Batch,
    rows::{BEHIND, BLOCKS, Delivery, FIRST, Line, id_of},
    settle::{Name, number_of},
};
use crate::{
    DeliveryId, Mend, Replay,
    bounds::{ATTEMPTS_MAX, deliveries_fit},
};

/// What the column `dead` says of one that was put aside; 1 of the others.
const DISCARDED: i16 = 2;

/// So many lines one commit lets go on.
const UNBLOCK: i64 = 1000;

impl<'m> Batch<'m> {
    /// Mends dead letters. Returns how many of those named were dead, or in the way of others.
    pub(super) async fn mend(&mut self, which: &[DeliveryId], how: Mend) -> Result<u64, Fault> {
        self.touch_days(which.iter().map(|id| &id.event)).await?;
        let mut seen = HashSet::new();
        let name = |id: &DeliveryId| Some((id.event, i16::try_from(id.ordinal).ok()?));
        let names: Vec<Name> =
            which.iter().filter_map(name).filter(|name| seen.insert(*name)).collect();
        self.lock(&names).await?;
        match how {
            Mend::Retry => self.retry(&names).await,
            Mend::Skip => self.step_out(&names, Some(BLOCKS)).await,
            Mend::Discard => self.discard(&names).await,
        }
    }

    /// Locks deliveries, in the order of their keys.
    async fn lock(&self, names: &[Name]) -> Result<(), Fault> {
        let (events, ordinals) = columns_of(names);
        let sql = "SELECT 1 FROM deliveries AS d
                   JOIN unnest($1::bytea[], $2::smallint[]) AS k(event, ordinal)
                       ON d.event = k.event AND d.ordinal = k.ordinal
                   ORDER BY d.event, d.ordinal FOR UPDATE OF d";
        self.moment.rows(sql, &[&events, &ordinals]).await?;
        Ok(())
    }

    /// Makes dead letters due now, discarded or not, with all their attempts before them. Returns how many were dead.
    async fn retry(&mut self, names: &[Name]) -> Result<u64, Fault> {
        let (events, ordinals) = columns_of(names);
        let sql = "SELECT d.event, d.ordinal, d.plugin, d.dead, d.order_key, d.standing FROM deliveries AS d
                   JOIN unnest($1::bytea[], $2::smallint[]) WITH ORDINALITY AS k(event, ordinal, nth)
                       ON d.event = k.event AND d.ordinal = k.ordinal
                   WHERE d.dead <> 0 AND d.attempts < $3 ORDER BY k.nth";
        let most = number_of(ATTEMPTS_MAX);
        let rows = self.moment.rows(sql, &[&events, &ordinals, &most]).await?;
        if rows.is_empty() {
            return Ok(0);
        }
        let (mut names, mut standings) = (Vec::new(), Vec::new());
        let mut back: BTreeMap<Line, Vec<usize>> = BTreeMap::new();
        for (at, row) in rows.iter().enumerate() {
            names.push((id_of(row, 0)?, row.get(1)));
            let key = row.get::<_, Option<Vec<u8>>>(4);
            standings.push(key.as_ref().map(|_| FIRST));
            if let (Some(key), None) = (key, row.get::<_, Option<i16>>(5)) {
                back.entry((row.get(2), key)).or_default().push(at);
            }
        }
        for at in self.stand_again(&back).await? {
            standings[at] = Some(BEHIND);
        }
        let (events, ordinals) = columns_of(&names);
        let sql = "UPDATE deliveries AS d SET settled_at = NULL, dead = 0, due_at = $4, lost_leases = 0,
                       excused = d.attempts, standing = k.standing, discarded_at = NULL
                   FROM unnest($1::bytea[], $2::smallint[], $3::smallint[]) AS k(event, ordinal, standing)
                   WHERE d.event = k.event AND d.ordinal = k.ordinal";
        let now = self.now.as_millis();
        self.moment.run(sql, &[&events, &ordinals, &standings, &now]).await?;
        for (row, standing) in rows.iter().zip(standings) {
            let plugin: &str = row.get(2);
            if row.get::<_, i16>(3) == DISCARDED {
                self.counted.totals.discarded -= 1;
            } else {
                self.counted.totals.dead -= 1;
                self.counted.of(plugin).dead -= 1;
            }
            self.counted.totals.due += 1;
            if standing == Some(BEHIND) {
                self.counted.of(plugin).behind += 1;
            } else {
                self.counted.of(plugin).due += 1;
                self.work_due = true;
            }
        }
        self.counted.totals.dead_bytes -= self.bytes_of(&names).await?;
        Ok(names.len() as u64)
    }

    /// They come back to their old places in their lines: one is the first of its line, if nobody stands there, the others
    /// wait. Answers those.
    async fn stand_again(&self, back: &BTreeMap<Line, Vec<usize>>) -> Result<Vec<usize>, Fault> {
        if back.is_empty() {
            return Ok(Vec::new());
        }
        let plugins: Vec<&str> = back.keys().map(|(plugin, _)| plugin.as_str()).collect();
        let keys: Vec<&[u8]> = back.keys().map(|(_, key)| &key[..]).collect();
        let more: Vec<i64> =
            back.values().map(|some| i64::try_from(some.len()).unwrap_or(i64::MAX)).collect();
        let sql = "INSERT INTO lines AS l (plugin, order_key, last, length)
                   SELECT plugin, order_key, 0, more
                   FROM unnest($1::text[], $2::bytea[], $3::bigint[]) AS n(plugin, order_key, more)
                   ON CONFLICT (plugin, order_key) DO UPDATE SET length = l.length + excluded.length
                   RETURNING plugin, order_key, length";
        let mut behind = Vec::new();
        for row in self.moment.rows(sql, &[&plugins, &keys, &more]).await? {
            let some = back.get(&(row.get(0), row.get(1))).map_or(&[][..], |some| some);
            let was_empty =
                usize::try_from(row.get::<_, i64>(2)).is_ok_and(|now| now == some.len());
            behind.extend(some.iter().skip(usize::from(was_empty)));
        }
        Ok(behind)
    }

    /// Puts dead letters aside. Returns how many were dead, and not aside already. Those behind them go on.
    async fn discard(&mut self, names: &[Name]) -> Result<u64, Fault> {
        let (events, ordinals) = columns_of(names);
        let sql = "UPDATE deliveries AS d SET dead = $3, discarded_at = $4
                   FROM unnest($1::bytea[], $2::smallint[]) AS k(event, ordinal)
                   WHERE d.event = k.event AND d.ordinal = k.ordinal AND d.dead = 1
                   RETURNING d.event, d.ordinal, d.plugin";
        let now = self.now.as_millis();
        let mut discarded = Vec::new();
        for row in self.moment.rows(sql, &[&events, &ordinals, &DISCARDED, &now]).await? {
            discarded.push((id_of(&row, 0)?, row.get(1)));
            self.counted.of(row.get(2)).dead -= 1;
            self.counted.totals.dead -= 1;
            self.counted.totals.discarded += 1;
        }
        self.step_out(&discarded, None).await?;
        Ok(discarded.len() as u64)
    }

    /// Takes deliveries out of their lines, those that stand there, and so if that is said; the next ones are due with the
    /// rows that are written. Returns how many did.
    async fn step_out(&mut self, names: &[Name], standing: Option<i16>) -> Result<u64, Fault> {
        if names.is_empty() {
            return Ok(0);
        }
        let (events, ordinals) = columns_of(names);
        let sql = "UPDATE deliveries AS d SET standing = NULL
                   FROM unnest($1::bytea[], $2::smallint[]) AS k(event, ordinal)
                   WHERE d.event = k.event AND d.ordinal = k.ordinal AND d.standing IS NOT NULL
                       AND d.standing = coalesce($3, d.standing)
                   RETURNING d.plugin, d.order_key";
        let rows = self.moment.rows(sql, &[&events, &ordinals, &standing]).await?;
        for row in &rows {
            let key =
                row.get::<_, Option<Vec<u8>>>(1).ok_or_else(|| Fault::unreadable("a line"))?;
            self.rows.lines.entry((row.get(0), key)).or_default().leave += 1;
        }
        Ok(rows.len() as u64)
    }

    /// Lets lines of a plugin go on that dead letters block, the oldest first, some at a time. Returns how many those were.
    pub(super) async fn unblock(&mut self, plugin: &PluginName) -> Result<u64, Fault> {
        let sql = "SELECT event, ordinal FROM deliveries WHERE plugin = $1 AND standing = 2
                   ORDER BY seq, ordinal LIMIT $2";
        let rows = self.moment.rows(sql, &[&plugin.as_str(), &UNBLOCK]).await?;
        let name = |row: &Row| Ok((id_of(row, 0)?, row.get(1)));
        let names = rows.iter().map(name).collect::<Result<Vec<Name>, Fault>>()?;
        self.lock(&names).await?;
        self.step_out(&names, Some(BLOCKS)).await
    }

    /// Makes further deliveries of events. Returns how many.
    pub(super) async fn replay(&mut self, replays: &'m [Replay]) -> Result<u64, Fault> {
        let mut made = 0;
        self.touch_days(replays.iter().map(|replay| &replay.event)).await?;
        for Replay { event, routes } in replays {
            // Locked, so that nobody gives it the same numbers at the same time.
            let sql = "SELECT seq, origin FROM events WHERE id = $1 FOR UPDATE";
            let id = &event.as_bytes()[..];
            let Some(row) = self.moment.row(sql, &[&id]).await? else { continue };
            let had = self.deliveries_of(*event).await?;
            deliveries_fit(had + routes.len()).map_err(Fault::Operation)?;
            if had == 0 && !routes.is_empty() {
                self.counted.totals.unrouted -= 1;
            }
            for (ordinal, route) in (had..).zip(routes) {
                self.rows.deliveries.push(Delivery {
                    event: *event,
                    ordinal: i16::try_from(ordinal).unwrap_or(i16::MAX),
                    seq: row.get(0),
                    origin: Cow::Owned(row.get(1)),
                    route,
                    replayed: true,
                    buried: false,
                });
                made += 1;
            }
        }
        Ok(made)
    }

    /// How many deliveries an event has, those included that this transaction is about to make.
    async fn deliveries_of(&self, event: EventId) -> Result<usize, Fault> {
        let sql = "SELECT coalesce(max(ordinal) + 1, 0) FROM deliveries WHERE event = $1";
        let id = &event.as_bytes()[..];
        let had: i32 = self.moment.the_row(sql, &[&id]).await?.get(0);
        let more = self.rows.deliveries.iter().filter(|delivery| delivery.event == event).count();
        Ok(usize::try_from(had).unwrap_or(0) + more)
    }
}

/// The names of deliveries as columns.
fn columns_of(names: &[Name]) -> (Vec<&[u8]>, Vec<i16>) {
    names.iter().map(|(event, ordinal)| (&event.as_bytes()[..], *ordinal)).unzip()
}
