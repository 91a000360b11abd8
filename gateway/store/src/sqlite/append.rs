//! Appending: an event with its claims and deliveries, or a duplicate counted.

use hookweir_event::{Attempt, Digest, Event, EventId, Outcome, PluginName, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};

use super::{
    codec,
    fault::Fault,
    memory::Memory,
    schema::{ORDINAL_MAX, child_key},
};
use crate::{NewEvent, Output, Receipt};

/// After so many new claims the purge takes another step.
const PURGE_EVERY: u32 = 512;
/// So many claims a step looks at: twice what came in, so that the purge overtakes the arrivals. About
/// 0.2 ms.
const PURGE_STEP: i64 = 2 * PURGE_EVERY as i64;

/// One transaction in the making. All its operations happen at one time.
pub(super) struct Batch<'a> {
    pub(super) connection: &'a Connection,
    pub(super) now: Timestamp,
    pub(super) memory: &'a mut Memory,
    pub(super) scratch: &'a mut Scratch,
    /// Whether it makes work due, or changes when the next work is.
    pub(super) work_due: bool,
}

/// What a batch needs besides, kept between batches.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    envelope: Vec<u8>,
    claims_since_purge: u32,
    /// Where the purge goes on.
    purged_to: Vec<u8>,
}

/// Where an event comes from, if a plugin made it.
#[derive(Debug, Clone, Copy)]
struct Lineage {
    parent: i64,
    root: i64,
}

impl Batch<'_> {
    pub(super) fn append(&mut self, new: &NewEvent) -> Result<Receipt, Fault> {
        let key = self.memory.totals.next_event;
        if let Some(first) = self.claim(new, key)? {
            return self.count_duplicate(first);
        }
        self.insert(&new.event, new.event.hops.0, None)?;
        self.route(key, &new.routes)?;
        Ok(Receipt::new(new.event.id, false))
    }

    /// Keeps an output of the event with the key `parent`.
    pub(super) fn append_output(
        &mut self,
        output: &Output,
        parent: &crate::LeaseKey,
    ) -> Result<(), Fault> {
        let hops = hookweir_event::Hops(parent.hops).next();
        let lineage = Lineage { parent: parent.event, root: parent.root };
        let key = self.insert(&output.event, hops.0, Some(lineage))?;
        self.memory.totals.outputs += 1;
        if hops.beyond_limit() {
            self.bury(key, &output.routes)
        } else {
            self.route(key, &output.routes)
        }
    }

    /// Takes all claims for the event with this key, or none and returns the event that holds one.
    fn claim(&mut self, new: &NewEvent, key: i64) -> Result<Option<i64>, Fault> {
        if new.claims.len() > 1 {
            for claim in &new.claims {
                if let Some(first) = self.holder(claim)? {
                    return Ok(Some(first));
                }
            }
        }
        let expires_at = self.now + new.dedupe_window;
        for claim in &new.claims {
            // One descent into the tree for the common case, a claim that is new.
            let sql = "INSERT INTO claims (claim, expires_at, event) VALUES (?1, ?2, ?3)
                       ON CONFLICT (claim) DO UPDATE SET expires_at = ?2, event = ?3
                       WHERE expires_at <= ?4";
            let taken = self.connection.prepare_cached(sql)?.execute(params![
                short(claim),
                expires_at.as_millis(),
                key,
                self.now.as_millis()
            ])?;
            if taken == 0 {
                // The same claim twice in one event is no duplicate of itself.
                match self.holder(claim)? {
                    Some(first) if first != key => return Ok(Some(first)),
                    _ => {}
                }
            }
            self.scratch.claims_since_purge += 1;
        }
        Ok(None)
    }

    /// The event that holds a claim now.
    fn holder(&self, claim: &Digest) -> Result<Option<i64>, Fault> {
        let sql = "SELECT event FROM claims WHERE claim = ?1 AND expires_at > ?2";
        let mut statement = self.connection.prepare_cached(sql)?;
        let found = statement
            .query_row(params![short(claim), self.now.as_millis()], |row| row.get(0))
            .optional()?;
        Ok(found)
    }

    fn count_duplicate(&mut self, first: i64) -> Result<Receipt, Fault> {
        let sql = "INSERT INTO duplicates (event, count) VALUES (?1, 1)
                   ON CONFLICT (event) DO UPDATE SET count = count + 1";
        self.connection.prepare_cached(sql)?.execute([first])?;
        let sql = "SELECT id FROM events WHERE key = ?1";
        let id = self.connection.prepare_cached(sql)?.query_row([first], |row| row.get(0))?;
        self.memory.totals.duplicates += 1;
        Ok(Receipt::new(EventId::from_bytes(id), true))
    }

    fn insert(&mut self, event: &Event, hops: u8, from: Option<Lineage>) -> Result<i64, Fault> {
        let key = self.memory.totals.next_event;
        let origin = self.memory.origin(self.connection, &event.origin)?;
        codec::write_envelope(event, &mut self.scratch.envelope);
        let sql = "INSERT INTO events
            (key, id, origin, type, received_at, hops, parent, root, envelope, body)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
        self.connection.prepare_cached(sql)?.execute(params![
            key,
            event.id.as_bytes(),
            origin,
            event.event_type.as_str(),
            event.received_at.as_millis(),
            hops,
            from.map(|from| from.parent),
            from.map(|from| from.root),
            self.scratch.envelope,
            event.body,
        ])?;
        self.memory.totals.next_event += 1;
        self.memory.totals.events += 1;
        Ok(key)
    }

    /// Makes the deliveries of an event, due now.
    fn route(&mut self, event: i64, routes: &[PluginName]) -> Result<(), Fault> {
        check_fan_out(routes)?;
        if routes.is_empty() {
            self.memory.totals.unrouted += 1;
        }
        for (ordinal, name) in (0..).zip(routes) {
            let plugin = self.memory.plugin(self.connection, name)?;
            let sql = "INSERT INTO deliveries (key, plugin, due_at) VALUES (?1, ?2, ?3)";
            self.connection.prepare_cached(sql)?.execute(params![
                child_key(event, ordinal),
                plugin,
                self.now.as_millis()
            ])?;
            self.memory.note_due(plugin, self.now);
            self.memory.totals.due += 1;
            self.work_due = true;
        }
        Ok(())
    }

    /// Makes the deliveries of an event that went too far: dead from the start, with the reason.
    fn bury(&mut self, event: i64, routes: &[PluginName]) -> Result<(), Fault> {
        check_fan_out(routes)?;
        if routes.is_empty() {
            self.memory.totals.unrouted += 1;
        }
        for (ordinal, name) in (0..).zip(routes) {
            let plugin = self.memory.plugin(self.connection, name)?;
            let key = child_key(event, ordinal);
            let sql = "INSERT INTO deliveries (key, plugin, due_at, attempts, settled_at, dead)
                       VALUES (?1, ?2, ?3, 1, ?3, 1)";
            self.connection.prepare_cached(sql)?.execute(params![
                key,
                plugin,
                self.now.as_millis()
            ])?;
            let attempt =
                nothing_ran(Outcome::HopLimit, "the event passed through too many plugins");
            self.record(key, 1, self.now, &attempt)?;
            self.memory.totals.dead += 1;
        }
        Ok(())
    }

    /// Deletes expired claims, a step at a time, in the order of their keys, so that each page is
    /// touched once per round.
    pub(super) fn purge_claims(&mut self) -> Result<(), Fault> {
        if self.scratch.claims_since_purge < PURGE_EVERY {
            return Ok(());
        }
        self.scratch.claims_since_purge = 0;
        let sql = "SELECT claim FROM claims WHERE claim > ?1 ORDER BY claim LIMIT 1 OFFSET ?2";
        let to: Option<Vec<u8>> = self
            .connection
            .prepare_cached(sql)?
            .query_row(params![self.scratch.purged_to, PURGE_STEP], |row| row.get(0))
            .optional()?;
        // No claim is longer than 16 bytes, so these 17 are behind them all.
        let end = to.clone().unwrap_or_else(|| vec![0xff; 17]);
        let sql = "DELETE FROM claims WHERE claim > ?1 AND claim <= ?2 AND expires_at <= ?3";
        self.connection.prepare_cached(sql)?.execute(params![
            self.scratch.purged_to,
            end,
            self.now.as_millis()
        ])?;
        self.scratch.purged_to = to.unwrap_or_default();
        Ok(())
    }
}

/// The bytes of a claim that are kept.
fn short(claim: &Digest) -> &[u8] {
    &claim.as_bytes()[..16]
}

fn check_fan_out(routes: &[PluginName]) -> Result<(), Fault> {
    if routes.len() > ORDINAL_MAX as usize {
        return Err(Fault::Operation(format!(
            "an event can have {ORDINAL_MAX} deliveries at most"
        )));
    }
    Ok(())
}

/// The record of an attempt in which no plugin ran to an end.
pub(super) fn nothing_ran(outcome: Outcome, message: &str) -> Attempt {
    Attempt {
        outcome,
        message: Some(message.to_owned()),
        version: None,
        wall: std::time::Duration::ZERO,
        cpu: std::time::Duration::ZERO,
        logs: Vec::new(),
    }
}
