//! What operators do to dead letters and events: have them tried again, let others go on without them, put them
//! aside, replay them. Asked for seldom, and so done one by one.
//!
//! Each is the same however often it is asked for: what is not dead any more is passed over.

use std::borrow::Cow;

use hookweir_event::{EventId, PluginName};

use super::{
    Fault,
    batch::Batch,
    rows::{BEHIND, BLOCKS, Delivery, FIRST, id_of},
    settle::{Name, number_of},
};
use crate::{
    DeliveryId, Mend, Replay,
    bounds::{ATTEMPTS_MAX, deliveries_fit},
};

/// What the column `dead` says of one that was put aside; 1 of the others.
const DISCARDED: i16 = 2;

impl<'m> Batch<'m> {
    /// Mends dead letters. Returns how many of those named were dead, or in the way of others.
    pub(super) async fn mend(&mut self, which: &[DeliveryId], how: Mend) -> Result<u64, Fault> {
        let mut mended = 0;
        self.touch_days(which.iter().map(|id| &id.event)).await?;
        for DeliveryId { event, ordinal } in which {
            let Ok(ordinal) = i16::try_from(*ordinal) else { continue };
            let name = (*event, ordinal);
            mended += u64::from(match how {
                Mend::Retry => self.retry(name).await?,
                Mend::Skip => self.skip(name).await?,
                Mend::Discard => self.discard(name).await?,
            });
        }
        Ok(mended)
    }

    /// Makes a dead letter due now, discarded or not, with all its attempts before it; false if it is none.
    async fn retry(&mut self, name: Name) -> Result<bool, Fault> {
        let (event, ordinal) = (&name.0.as_bytes()[..], name.1);
        let sql = "SELECT plugin, dead, order_key, standing FROM deliveries
                   WHERE event = $1 AND ordinal = $2 AND dead <> 0 AND attempts < $3 FOR UPDATE";
        let most = number_of(ATTEMPTS_MAX);
        let Some(row) = self.moment.row(sql, &[&event, &ordinal, &most]).await? else {
            return Ok(false);
        };
        let (plugin, dead): (String, i16) = (row.get(0), row.get(1));
        let standing = match (row.get::<_, Option<&[u8]>>(2), row.get::<_, Option<i16>>(3)) {
            (None, _) => None,
            (Some(_), Some(_)) => Some(FIRST),
            (Some(key), None) => Some(self.stand_again(&plugin, key).await?),
        };
        let sql = "UPDATE deliveries SET settled_at = NULL, dead = 0, due_at = $3, lost_leases = 0,
                       excused = attempts, standing = $4, discarded_at = NULL
                   WHERE event = $1 AND ordinal = $2";
        self.moment.run(sql, &[&event, &ordinal, &self.now.as_millis(), &standing]).await?;
        if dead == DISCARDED {
            self.counted.totals.discarded -= 1;
        } else {
            self.counted.totals.dead -= 1;
            self.counted.of(&plugin).dead -= 1;
        }
        self.counted.totals.dead_bytes -= self.bytes_of(&[name]).await?;
        self.counted.totals.due += 1;
        if standing == Some(BEHIND) {
            self.counted.of(&plugin).behind += 1;
        } else {
            self.counted.of(&plugin).due += 1;
            self.work_due = true;
        }
        Ok(true)
    }

    /// It comes back to its old place in its line: the first of it, if nobody stands there, or else it waits.
    async fn stand_again(&self, plugin: &str, order_key: &[u8]) -> Result<i16, Fault> {
        let sql = "INSERT INTO lines AS l (plugin, order_key, last, length) VALUES ($1, $2, 0, 1)
                   ON CONFLICT (plugin, order_key) DO UPDATE SET length = l.length + 1 RETURNING length";
        let length: i64 = self.moment.the_row(sql, &[&plugin, &order_key]).await?.get(0);
        Ok(if length == 1 { FIRST } else { BEHIND })
    }

    /// Lets those behind a dead letter go on; false if it is in nobody's way.
    async fn skip(&mut self, name: Name) -> Result<bool, Fault> {
        self.step_out(name, Some(BLOCKS)).await
    }

    /// Puts a dead letter aside; false if it is none, or is aside already. Those behind it go on.
    async fn discard(&mut self, name: Name) -> Result<bool, Fault> {
        let sql = "UPDATE deliveries SET dead = $3, discarded_at = $4
                   WHERE event = $1 AND ordinal = $2 AND dead = 1 RETURNING plugin";
        let (event, now) = (&name.0.as_bytes()[..], self.now.as_millis());
        let row = self.moment.row(sql, &[&event, &name.1, &DISCARDED, &now]).await?;
        let Some(row) = row else { return Ok(false) };
        self.counted.of(row.get(0)).dead -= 1;
        self.counted.totals.dead -= 1;
        self.counted.totals.discarded += 1;
        self.step_out(name, None).await?;
        Ok(true)
    }

    /// Takes a delivery out of its line, if it stands there, and so if that is said; the next one is due with the rows that are
    /// written. Says whether it did.
    async fn step_out(&mut self, name: Name, standing: Option<i16>) -> Result<bool, Fault> {
        let sql = "UPDATE deliveries SET standing = NULL
                   WHERE event = $1 AND ordinal = $2 AND standing IS NOT NULL
                       AND standing = coalesce($3, standing)
                   RETURNING plugin, order_key";
        let event = &name.0.as_bytes()[..];
        let row = self.moment.row(sql, &[&event, &name.1, &standing]).await?;
        let Some(row) = row else { return Ok(false) };
        let key = row.get::<_, Option<Vec<u8>>>(1).ok_or_else(|| Fault::unreadable("a line"))?;
        self.rows.lines.entry((row.get(0), key)).or_default().leave += 1;
        Ok(true)
    }

    /// Lets all lines of a plugin go on that a dead letter blocks. Returns how many those were.
    pub(super) async fn unblock(&mut self, plugin: &PluginName) -> Result<u64, Fault> {
        let sql = "SELECT event, ordinal FROM deliveries WHERE plugin = $1 AND standing = 2
                   ORDER BY event, ordinal FOR UPDATE";
        let rows = self.moment.rows(sql, &[&plugin.as_str()]).await?;
        let mut count = 0;
        for row in &rows {
            count += u64::from(self.step_out((id_of(row, 0)?, row.get(1)), Some(BLOCKS)).await?);
        }
        Ok(count)
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
