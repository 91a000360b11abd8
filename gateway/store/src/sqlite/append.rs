//! Appending: an event with its claims and deliveries, or a duplicate counted.

use hookweir_event::{Attempt, Event, EventId, Outcome, PluginName, Timestamp};
use rusqlite::{Connection, params};

use super::{
    claims::Claims,
    codec,
    fault::Fault,
    memory::Memory,
    schema::{ORDINAL_MAX, child_key},
};
use crate::{NewEvent, Output, Receipt};

/// One transaction in the making. All its operations happen at one time.
pub(super) struct Batch<'a> {
    pub(super) connection: &'a Connection,
    pub(super) now: Timestamp,
    pub(super) memory: &'a mut Memory,
    pub(super) claims: &'a mut Claims,
    /// Room for envelopes, kept between batches.
    pub(super) envelope: &'a mut Vec<u8>,
    /// Whether it makes work due, or changes when the next work is.
    pub(super) work_due: bool,
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
        for claim in &new.claims {
            if let Some(first) = self.claims.holder(self.connection, claim, self.now)? {
                return Ok(Some(first));
            }
        }
        for claim in &new.claims {
            self.claims.take(claim, key, self.now + new.dedupe_window);
        }
        Ok(None)
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
        codec::write_envelope(event, self.envelope);
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
            &*self.envelope,
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
