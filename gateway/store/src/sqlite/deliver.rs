//! Deliveries: leasing, settling, giving back, and freeing what another process held when it ended.

use std::{sync::Arc, time::Duration};

use hookweir_event::{Attempt, Fate, OrderKey, PluginName, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, params, types::Type};

use super::{
    append::Batch,
    codec, exchanges,
    fault::Fault,
    fresh::Held,
    hold::ASIDE_MAX,
    schema::{child_key, parent_key},
};
use crate::{
    Lease, LeaseKey, Leased, Settled, Settlement, Want,
    bounds::{self, ATTEMPTS_MAX, dies_of_loss},
};

/// A column's text as what it stands for.
pub(super) fn parsed<T: std::str::FromStr>(row: &Row<'_>, at: usize) -> rusqlite::Result<T> {
    row.get_ref(at)?.as_str()?.parse().map_err(|_| unreadable(at))
}

/// The error for a value that this code never wrote.
pub(super) fn unreadable(at: usize) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(at, Type::Blob, "not written by Hookweir".into())
}

/// Whether it is that, and not the disk that can't be read.
pub(super) fn is_unreadable(error: &rusqlite::Error) -> bool {
    matches!(error, rusqlite::Error::FromSqlConversionFailure(..))
}

impl Batch<'_> {
    pub(super) fn lease(&mut self, wants: &[Want]) -> Result<Leased, Fault> {
        let mut leases = Vec::new();
        let mut next_due: Option<i64> = None;
        for want in wants {
            let Some(plugin) = self.memory.known_plugin(self.connection, &want.plugin)? else {
                continue;
            };
            self.take(plugin, want, &mut leases)?;
            let sql = "SELECT min(due_at) FROM deliveries
                       WHERE plugin = ?1 AND settled_at IS NULL AND standing IS NOT 1 AND held IS NULL
                       AND due_at > ?2 AND boot IS NULL";
            let later: Option<i64> = self
                .connection
                .prepare_cached(sql)?
                .query_row([plugin, self.now.as_millis()], |row| row.get(0))?;
            next_due = next_due.into_iter().chain(later).min();
        }
        let next_due = next_due.map(|at| Timestamp::from_millis(at).since(self.now));
        Ok(Leased { leases, next_due })
    }

    /// Takes the deliveries of one plugin that are due and free, the longest due first: those with rows and
    /// the fresh ones, each in their order. Those that a hold keeps are set aside.
    fn take(&mut self, plugin: i64, want: &Want, leases: &mut Vec<Lease>) -> Result<(), Fault> {
        self.take_back_aside(plugin, want.max)?;
        let reach = want.max.saturating_add(self.aside_max()?);
        let rows = self.due_rows(plugin, reach)?;
        let whose = (plugin, &want.plugin);
        let (fresh, more) = self.fresh.due(self.connection, self.parcels, whose, reach)?;
        // There is more, which a step did not reach: whoever asks is to ask again.
        self.work_due |= more;
        let rows_end = rows.len() < reach;
        let (mut rows, mut fresh) = (rows.into_iter().peekable(), fresh.into_iter().peekable());
        let (mut taken, mut taken_fresh, mut last_due) = (0, 0, self.now);
        let (mut rotten, mut aside, mut fresh_aside) = (Vec::new(), 0, Vec::new());
        while taken < want.max {
            if aside == ASIDE_MAX {
                self.work_due = true;
                break;
            }
            let row = rows.peek().map(|row| (row.due_at, row.delivery));
            let due = fresh.peek().map(|due| (due.at, due.delivery));
            let found = match (row, due) {
                (Some(row), due) if due.is_none_or(|due| row < due) => {
                    last_due = row.0;
                    rows.next()
                }
                (_, Some((due_at, delivery))) => {
                    taken_fresh += 1;
                    fresh.next();
                    Some(Found::fresh(delivery, due_at))
                }
                _ => None,
            };
            let Some(found) = found else { break };
            if let Some(origin) = self.holder_of(found.delivery)? {
                aside += 1;
                match found.has_row {
                    true => self.set_aside(found.delivery, plugin, origin)?,
                    false => fresh_aside.push((found.delivery, found.due_at, origin)),
                }
                continue;
            }
            taken += 1;
            let (key, lease) = self.lease_of(&found, &want.plugin)?;
            if found.has_row {
                self.mark(plugin, &key)?;
            }
            match lease {
                Some(lease) => leases.push(lease),
                None => rotten.push(key),
            }
        }
        self.lease_fresh(plugin, taken_fresh, &fresh_aside)?;
        rotten.into_iter().try_for_each(|key| self.bury_rotten(key))?;
        if want.max > 0 {
            let frontier = match rows.peek() {
                Some(next) => next.due_at,
                None if rows_end => self.now,
                None => last_due,
            };
            self.memory.advance_frontier(plugin, frontier.as_millis());
        }
        Ok(())
    }

    /// The first of a plugin's fresh deliveries are leased, but for those that are set aside.
    fn lease_fresh(
        &mut self,
        plugin: i64,
        count: usize,
        aside: &[(i64, Timestamp, i64)],
    ) -> Result<(), Fault> {
        let moved = i64::try_from(count - aside.len()).unwrap_or(i64::MAX);
        self.memory.totals.due -= moved;
        self.memory.totals.leased += moved;
        // Only what changes is written: a lease that finds nothing is no commit.
        if moved > 0 {
            let depth = self.depths.of(plugin);
            (depth.due, depth.leased) = (depth.due - moved, depth.leased + moved);
        }
        let is_aside = |delivery| aside.binary_search_by_key(&delivery, |kept| kept.0).is_ok();
        let too_many = self.fresh.lease(plugin, count, self.now, is_aside);
        for (delivery, due_at, origin) in aside {
            self.set_fresh_aside((*delivery, *due_at), plugin, *origin)?;
        }
        for (delivery, held) in too_many {
            self.give_row(delivery, &held, &Given { attempts: 0, ..Given::free(held.due_at) })?;
            let sql = "UPDATE deliveries SET boot = ?2, leased_at = ?3 WHERE key = ?1";
            let (boot, at) = (self.memory.boot, self.now.as_millis());
            self.connection.prepare_cached(sql)?.execute([delivery, boot, at])?;
        }
        Ok(())
    }

    /// Deliveries with rows that are due and free.
    fn due_rows(&self, plugin: i64, max: usize) -> Result<Vec<Found>, Fault> {
        let sql =
            "SELECT d.key, d.due_at, d.turn, d.attempts, d.lost_leases, d.excused, d.order_key,
                       d.replayed_at, d.let_go_at FROM deliveries AS d
             WHERE d.plugin = ?1 AND d.settled_at IS NULL AND d.standing IS NOT 1 AND d.held IS NULL
             AND d.due_at BETWEEN ?2 AND ?3 AND d.boot IS NULL
             ORDER BY d.due_at, d.key LIMIT ?4";
        let mut statement = self.connection.prepare_cached(sql)?;
        let limit = i64::try_from(max).unwrap_or(i64::MAX);
        let (from, now) = (self.memory.frontier(plugin), self.now.as_millis());
        let rows = statement.query_map([plugin, from, now, limit], |row| {
            Ok(Found {
                delivery: row.get(0)?,
                due_at: Timestamp::from_millis(row.get(1)?),
                turn: row.get(2)?,
                attempts: row.get(3)?,
                lost_leases: row.get(4)?,
                excused: row.get(5)?,
                order_key: row.get_ref(6)?.as_str_or_null()?.map(OrderKey::new),
                replayed_at: row.get::<_, Option<_>>(7)?.map(Timestamp::from_millis),
                let_go_at: row.get::<_, Option<_>>(8)?.map(Timestamp::from_millis),
                has_row: true,
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// The lease's key, and the lease, if the event can still be read.
    fn lease_of(
        &mut self,
        found: &Found,
        plugin: &PluginName,
    ) -> Result<(LeaseKey, Option<Lease>), Fault> {
        let (connection, memory) = (self.connection, &mut *self.memory);
        let of = parent_key(found.delivery);
        let known = self.parcels.entry(connection, of, |parcel, entry| {
            let root = entry.from.map_or(entry.id, |[_, root]| root);
            (entry.id, entry.hops, root, parcel.committed_at)
        })?;
        let (id, hops, root, committed_at) = known.ok_or_else(|| unreadable(0))?;
        let event = match self.parcels.with(connection, of, |parcel, entry| {
            let origin = memory.origin_name(connection, entry.origin)?;
            parcel.event(entry, origin)
        }) {
            Err(error) if is_unreadable(&error) => None,
            event => event?,
        };
        let key = LeaseKey {
            delivery: found.delivery,
            ids: [id, root],
            hops: hops.0,
            boot: self.memory.boot,
            turn: found.turn + 1,
            attempt: found.attempts + 1,
            leased_at: self.now,
            ordered: found.order_key.is_some(),
        };
        let lease = event.map(|event| Lease {
            attempt: key.attempt,
            key: key.clone(),
            plugin: plugin.clone(),
            event: Arc::new(event),
            lost_leases: found.lost_leases,
            excused: found.excused,
            order_key: found.order_key.clone(),
            replayed_at: found.replayed_at,
            committed_at,
            waited: self.now.since(found.waits_since()),
        });
        Ok((key, lease))
    }

    /// Writes a lease down. Touches no index.
    fn mark(&mut self, plugin: i64, key: &LeaseKey) -> Result<(), Fault> {
        let sql = "UPDATE deliveries SET boot = ?2, turn = ?3, leased_at = ?4 WHERE key = ?1";
        self.connection.prepare_cached(sql)?.execute(params![
            key.delivery,
            key.boot,
            key.turn,
            key.leased_at.as_millis()
        ])?;
        self.memory.totals.due -= 1;
        self.memory.totals.leased += 1;
        let depth = self.depths.of(plugin);
        (depth.due, depth.leased) = (depth.due - 1, depth.leased + 1);
        Ok(())
    }

    pub(super) fn settle(&mut self, settlement: &Settlement) -> Result<Settled, Fault> {
        let key = &settlement.key;
        let fate = match settlement.fate {
            // The key space ends here; no limit on attempts comes near.
            Fate::Due { .. } if key.attempt >= ATTEMPTS_MAX => Fate::Dead { blocks: true },
            fate => fate,
        };
        if !settlement.state.is_empty() {
            let Some(plugin) = self.holder(key)? else {
                return Ok(Settled::LeaseLost);
            };
            let Some(found) = self.state_holds(plugin, &settlement.state)? else {
                // In its old place: behind all others it might never win.
                self.take_back(key, None)?;
                return Ok(Settled::Conflict);
            };
            self.change_state(plugin, &settlement.state, &found)?;
        }
        let closed = match self.fresh.held(key) {
            Some(held) => self.close_fresh(key, &held, fate)?,
            None => self.close_lease(key, fate)?,
        };
        let Some(plugin) = closed else {
            return Ok(Settled::LeaseLost);
        };
        self.record(key.delivery, key.attempt, key.leased_at, &settlement.attempt)?;
        if let Some(exchanges) = &settlement.exchanges {
            self.keep_exchanges(child_key(key.delivery, key.attempt), exchanges)?;
        }
        for output in &settlement.outputs {
            self.append_output(output, key)?;
        }
        self.memory.totals.leased -= 1;
        self.depths.of(plugin).leased -= 1;
        match fate {
            Fate::Done => self.memory.totals.done += 1,
            Fate::Dead { .. } => self.count_dead(plugin, key.delivery)?,
            Fate::Due { .. } => {
                self.memory.totals.due += 1;
                self.depths.of(plugin).due += 1;
            }
        }
        match fate {
            Fate::Dead { blocks: true } if key.ordered => self.block(key.delivery)?,
            Fate::Done | Fate::Dead { .. } if key.ordered => self.step_out(key.delivery)?,
            _ => {}
        }
        Ok(Settled::Committed)
    }

    /// One more dead letter.
    pub(super) fn count_dead(&mut self, plugin: i64, delivery: i64) -> Result<(), Fault> {
        self.depths.of(plugin).dead += 1;
        self.memory.totals.dead += 1;
        self.memory.totals.dead_bytes += self.bytes_of(delivery)?;
        Ok(())
    }

    /// What a dead letter keeps: its event, and what its attempts sent.
    pub(super) fn bytes_of(&self, delivery: i64) -> Result<i64, Fault> {
        let of = parent_key(delivery);
        let bytes = self.parcels.entry(self.connection, of, |_, entry| entry.bytes())?;
        let sent = exchanges::bytes_of_delivery(self.connection, delivery)?;
        Ok(bytes.ok_or_else(|| unreadable(0))? + sent)
    }

    /// The plugin whose delivery is held under this key; none if it is not held any more.
    fn holder(&self, key: &LeaseKey) -> Result<Option<i64>, Fault> {
        if let Some(held) = self.fresh.held(key) {
            return Ok(Some(held.plugin));
        }
        let sql = "SELECT plugin FROM deliveries WHERE key = ?1 AND boot = ?2 AND turn = ?3";
        let mut statement = self.connection.prepare_cached(sql)?;
        let held = params![key.delivery, key.boot, key.turn];
        Ok(statement.query_row(held, |row| row.get(0)).optional()?)
    }

    /// Ends the lease of a fresh delivery, of which it answers the plugin. If it is not done, it gets a row.
    fn close_fresh(
        &mut self,
        key: &LeaseKey,
        held: &Held,
        fate: Fate,
    ) -> Result<Option<i64>, Fault> {
        self.fresh.release(key.delivery);
        let given = match fate {
            Fate::Done => return Ok(Some(held.plugin)),
            Fate::Due { after } => Given::free(self.now + after),
            Fate::Dead { .. } => Given { died_at: Some(self.now), ..Given::free(held.due_at) },
        };
        self.give_row(key.delivery, held, &given)?;
        Ok(Some(held.plugin))
    }

    /// Gives a fresh delivery a row, after its first lease.
    fn give_row(&mut self, delivery: i64, held: &Held, given: &Given) -> Result<(), Fault> {
        let sql = "INSERT INTO deliveries
            (key, plugin, due_at, turn, attempts, settled_at, dead)
            VALUES (?1, ?2, ?3, 1, ?4, ?5, ?6)";
        self.connection.prepare_cached(sql)?.execute(params![
            delivery,
            held.plugin,
            given.due_at.as_millis(),
            given.attempts,
            given.died_at.map(Timestamp::as_millis),
            given.died_at.is_some()
        ])?;
        if given.died_at.is_none() {
            self.memory.note_due(held.plugin, given.due_at);
            self.work_due = true;
        }
        Ok(())
    }

    /// Ends a lease with a fate, and answers whose it was; none if it is not held any more.
    fn close_lease(&mut self, key: &LeaseKey, fate: Fate) -> Result<Option<i64>, Fault> {
        match fate {
            Fate::Due { after } => self.free(key, Some(self.now + after), key.attempt),
            Fate::Done | Fate::Dead { .. } => {
                let sql = "UPDATE deliveries
                    SET boot = NULL, leased_at = NULL, attempts = ?4, settled_at = ?5, dead = ?6
                    WHERE key = ?1 AND boot = ?2 AND turn = ?3 RETURNING plugin";
                let (delivery, boot, turn, attempt) =
                    (key.delivery, key.boot, key.turn, key.attempt);
                let (now, died) = (self.now.as_millis(), fate != Fate::Done);
                let ended = params![delivery, boot, turn, attempt, now, died];
                let mut statement = self.connection.prepare_cached(sql)?;
                Ok(statement.query_row(ended, |row| row.get(0)).optional()?)
            }
        }
    }

    /// Ends a lease and leaves the delivery open. Answers whose it is; none if it is not held any more.
    fn free(
        &mut self,
        key: &LeaseKey,
        due_at: Option<Timestamp>,
        attempts: u32,
    ) -> Result<Option<i64>, Fault> {
        let sql = "UPDATE deliveries
            SET boot = NULL, leased_at = NULL, attempts = ?4, due_at = coalesce(?5, due_at)
            WHERE key = ?1 AND boot = ?2 AND turn = ?3 RETURNING plugin, due_at";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query(params![
            key.delivery,
            key.boot,
            key.turn,
            attempts,
            due_at.map(Timestamp::as_millis)
        ])?;
        let Some(row) = rows.next()? else {
            return Ok(None);
        };
        let plugin = row.get(0)?;
        self.memory.note_due(plugin, Timestamp::from_millis(row.get(1)?));
        self.work_due = true;
        Ok(Some(plugin))
    }

    pub(super) fn give_back(&mut self, leases: &[LeaseKey], after: Duration) -> Result<(), Fault> {
        leases.iter().try_for_each(|key| self.take_back(key, Some(self.now + after)))
    }

    /// Due then, or when it was, and no attempt more.
    fn take_back(&mut self, key: &LeaseKey, due_at: Option<Timestamp>) -> Result<(), Fault> {
        let freed = if let Some(held) = self.fresh.held(key) {
            self.fresh.release(key.delivery);
            let due_at = due_at.unwrap_or(held.due_at);
            self.give_row(key.delivery, &held, &Given { attempts: 0, ..Given::free(due_at) })?;
            Some(held.plugin)
        } else {
            self.free(key, due_at, key.attempt - 1)?
        };
        if let Some(plugin) = freed {
            self.memory.totals.leased -= 1;
            self.memory.totals.due += 1;
            let depth = self.depths.of(plugin);
            (depth.leased, depth.due) = (depth.leased - 1, depth.due + 1);
        }
        Ok(())
    }

    /// Keeps the record of an attempt.
    pub(super) fn record(
        &mut self,
        delivery: i64,
        number: u32,
        started_at: Timestamp,
        attempt: &Attempt,
    ) -> Result<(), Fault> {
        let version = match &attempt.version {
            Some(version) => Some(self.memory.version(self.connection, version)?),
            None => None,
        };
        let sql = "INSERT INTO attempts
            (key, started_at, outcome, message, version, wall_us, cpu_us, logs, ended_at)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
        self.connection.prepare_cached(sql)?.execute(params![
            child_key(delivery, number),
            started_at.as_millis(),
            attempt.outcome.as_str(),
            attempt.message,
            version,
            micros(attempt.wall),
            micros(attempt.cpu),
            codec::write_logs(&attempt.logs),
            self.now.as_millis()
        ])?;
        Ok(())
    }

    /// Frees the leases of other boots: each one is a lost attempt, and the last straw is death. There
    /// are either only foreign leases or none, since every boot begins with this. `fresh` are those of
    /// fresh deliveries.
    pub(super) fn free_foreign_leases(&mut self, fresh: &[(i64, Held)]) -> Result<(), Fault> {
        for (delivery, held) in fresh {
            self.give_row(*delivery, held, &Given { attempts: 0, ..Given::free(held.due_at) })?;
            let (delivery, plugin, leased_at) = (*delivery, held.plugin, held.leased_at);
            self.lose(&Lost { delivery, plugin, attempts: 0, lost_leases: 0, leased_at })?;
        }
        self.foreign_leases()?.iter().try_for_each(|lost| self.lose(lost))
    }

    fn lose(&mut self, lost: &Lost) -> Result<(), Fault> {
        let number = lost.attempts + 1;
        let lost_leases = lost.lost_leases + 1;
        let dead = dies_of_loss(lost_leases, number);
        self.record(lost.delivery, number, lost.leased_at, &bounds::lost())?;
        let sql = "UPDATE deliveries SET boot = NULL, leased_at = NULL, attempts = ?2,
                   lost_leases = ?3, settled_at = ?4, dead = ?5 WHERE key = ?1";
        self.connection.prepare_cached(sql)?.execute(params![
            lost.delivery,
            number,
            lost_leases,
            dead.then_some(self.now.as_millis()),
            dead
        ])?;
        self.memory.totals.leased -= 1;
        self.depths.of(lost.plugin).leased -= 1;
        if dead {
            self.block(lost.delivery)?;
            self.count_dead(lost.plugin, lost.delivery)
        } else {
            self.memory.totals.due += 1;
            self.depths.of(lost.plugin).due += 1;
            Ok(())
        }
    }

    /// `totals` tells how many leases there are, so a long backlog is not searched to its end.
    fn foreign_leases(&self) -> Result<Vec<Lost>, Fault> {
        let sql = "SELECT key, attempts, lost_leases, leased_at, plugin FROM deliveries
                   WHERE settled_at IS NULL AND boot <> ?1 LIMIT ?2";
        let mut statement = self.connection.prepare_cached(sql)?;
        let rows = statement.query_map([self.memory.boot, self.memory.totals.leased], |row| {
            Ok(Lost {
                delivery: row.get(0)?,
                attempts: row.get(1)?,
                lost_leases: row.get(2)?,
                leased_at: Timestamp::from_millis(row.get(3)?),
                plugin: row.get(4)?,
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}

/// A delivery that may be leased.
struct Found {
    delivery: i64,
    due_at: Timestamp,
    turn: i64,
    attempts: u32,
    lost_leases: u32,
    excused: u32,
    order_key: Option<OrderKey>,
    replayed_at: Option<Timestamp>,
    /// If it was aside.
    let_go_at: Option<Timestamp>,
    has_row: bool,
}

impl Found {
    fn fresh(delivery: i64, due_at: Timestamp) -> Self {
        let (turn, attempts, lost_leases, excused) = (0, 0, 0, 0);
        let (order_key, replayed_at, let_go_at, has_row) = (None, None, None, false);
        Self {
            delivery,
            due_at,
            turn,
            attempts,
            lost_leases,
            excused,
            order_key,
            replayed_at,
            let_go_at,
            has_row,
        }
    }

    /// Since when nothing but the plugin keeps it waiting.
    fn waits_since(&self) -> Timestamp {
        self.let_go_at.map_or(self.due_at, |at| at.max(self.due_at))
    }
}

/// What the row of a delivery says that was fresh.
struct Given {
    due_at: Timestamp,
    attempts: u32,
    /// If it is dead.
    died_at: Option<Timestamp>,
}

impl Given {
    /// After one attempt, due again.
    fn free(due_at: Timestamp) -> Self {
        Self { due_at, attempts: 1, died_at: None }
    }
}

/// A lease that another boot held when it ended.
struct Lost {
    delivery: i64,
    plugin: i64,
    attempts: u32,
    lost_leases: u32,
    leased_at: Timestamp,
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

/// Our key in `boots`.
pub(super) fn boot_key(connection: &Connection, owner: &[u8; 16]) -> rusqlite::Result<i64> {
    let sql = "INSERT INTO boots (name) VALUES (?1) ON CONFLICT (name) DO NOTHING";
    connection.execute(sql, [owner])?;
    connection.query_row("SELECT key FROM boots WHERE name = ?1", [owner], |row| row.get(0))
}
