//! Appending: an event with its claims and deliveries, or a duplicate counted.

use hookweir_event::{Attempt, EventId, EventType, Hops, Origin, Outcome, Timestamp};
use rusqlite::{CachedStatement, Connection, params};

use super::{
    Append,
    claims::Claims,
    codec,
    fault::Fault,
    memory::Memory,
    order::Standing,
    schema::{ORDINAL_MAX, child_key},
};
use crate::{Output, Receipt, Route};

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
    insert_event: Statement<'a>,
    insert_delivery: Statement<'a>,
}

/// A statement that is looked up once in a batch.
#[derive(Default)]
struct Statement<'a>(Option<CachedStatement<'a>>);

impl<'a> Statement<'a> {
    fn get(
        &mut self,
        connection: &'a Connection,
        sql: &str,
    ) -> rusqlite::Result<&mut CachedStatement<'a>> {
        match &mut self.0 {
            Some(statement) => Ok(statement),
            none => Ok(none.insert(connection.prepare_cached(sql)?)),
        }
    }
}

/// A row of `events`.
struct Row<'a> {
    id: EventId,
    origin: &'a Origin,
    event_type: &'a EventType,
    received_at: Timestamp,
    hops: Hops,
    from: Option<Lineage>,
    envelope: &'a [u8],
    body: &'a [u8],
}

/// Where an event comes from, if a plugin made it.
#[derive(Debug, Clone, Copy)]
struct Lineage {
    parent: i64,
    root: i64,
}

impl<'a> Batch<'a> {
    pub(super) fn new(
        connection: &'a Connection,
        now: Timestamp,
        memory: &'a mut Memory,
        claims: &'a mut Claims,
        envelope: &'a mut Vec<u8>,
    ) -> Self {
        Self {
            connection,
            now,
            memory,
            claims,
            envelope,
            work_due: false,
            insert_event: Statement::default(),
            insert_delivery: Statement::default(),
        }
    }

    pub(super) fn append(&mut self, new: &Append) -> Result<Receipt, Fault> {
        let key = self.memory.totals.next_event;
        if let Some(first) = self.claim(new, key)? {
            return self.count_duplicate(first);
        }
        self.insert(&Row {
            id: new.id,
            origin: &new.origin,
            event_type: &new.event_type,
            received_at: new.received_at,
            hops: new.hops,
            from: None,
            envelope: &new.envelope,
            body: &new.body,
        })?;
        self.route(key, &new.routes)?;
        Ok(Receipt::new(new.id, false))
    }

    /// Keeps an output of the event with the key `parent`.
    pub(super) fn append_output(
        &mut self,
        output: &Output,
        parent: &crate::LeaseKey,
    ) -> Result<(), Fault> {
        let hops = hookweir_event::Hops(parent.hops).next();
        let lineage = Lineage { parent: parent.event, root: parent.root };
        let event = &output.event;
        let mut envelope = std::mem::take(self.envelope);
        codec::write_envelope(event, &mut envelope);
        let inserted = self.insert(&Row {
            id: event.id,
            origin: &event.origin,
            event_type: &event.event_type,
            received_at: event.received_at,
            hops,
            from: Some(lineage),
            envelope: &envelope,
            body: &event.body,
        });
        *self.envelope = envelope;
        let key = inserted?;
        self.memory.totals.outputs += 1;
        if hops.beyond_limit() {
            self.bury(key, &output.routes)
        } else {
            self.route(key, &output.routes)
        }
    }

    /// Takes all claims for the event with this key, or none and returns the event that holds one.
    fn claim(&mut self, new: &Append, key: i64) -> Result<Option<i64>, Fault> {
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

    fn insert(&mut self, row: &Row<'_>) -> Result<i64, Fault> {
        let key = self.memory.totals.next_event;
        let origin = self.memory.origin(self.connection, row.origin)?;
        let sql = "INSERT INTO events
            (key, id, origin, type, received_at, hops, parent, root, envelope, body)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
        self.insert_event.get(self.connection, sql)?.execute(params![
            key,
            row.id.as_bytes(),
            origin,
            row.event_type.as_str(),
            row.received_at.as_millis(),
            row.hops.0,
            row.from.map(|from| from.parent),
            row.from.map(|from| from.root),
            row.envelope,
            row.body,
        ])?;
        self.memory.totals.next_event += 1;
        self.memory.totals.events += 1;
        Ok(key)
    }

    /// Makes the deliveries of an event, due now or behind others with their order key.
    fn route(&mut self, event: i64, routes: &[Route]) -> Result<(), Fault> {
        check_fan_out(routes)?;
        if routes.is_empty() {
            self.memory.totals.unrouted += 1;
        }
        for (ordinal, route) in (0..).zip(routes) {
            let plugin = self.memory.plugin(self.connection, &route.plugin)?;
            let key = child_key(event, ordinal);
            self.memory.totals.due += 1;
            if let Some(order_key) = &route.order_key
                && self.line_up(key, plugin, order_key)? == Standing::Behind
            {
                continue;
            }
            if route.order_key.is_none() {
                let sql = "INSERT INTO deliveries (key, plugin, due_at) VALUES (?1, ?2, ?3)";
                self.insert_delivery.get(self.connection, sql)?.execute(params![
                    key,
                    plugin,
                    self.now.as_millis()
                ])?;
            }
            self.memory.note_due(plugin, self.now);
            self.work_due = true;
        }
        Ok(())
    }

    /// Makes the deliveries of an event that went too far: dead from the start, with the reason.
    fn bury(&mut self, event: i64, routes: &[Route]) -> Result<(), Fault> {
        check_fan_out(routes)?;
        if routes.is_empty() {
            self.memory.totals.unrouted += 1;
        }
        for (ordinal, route) in (0..).zip(routes) {
            let plugin = self.memory.plugin(self.connection, &route.plugin)?;
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

fn check_fan_out(routes: &[Route]) -> Result<(), Fault> {
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
