//! Appending: an event with its claims and deliveries, or a duplicate counted.

use hookweir_event::{Attempt, EventId, EventType, Hops, Origin, Outcome, Timestamp};
use rusqlite::{CachedStatement, Connection, OptionalExtension, params};

use super::{
    Append,
    blocks::Blocks,
    claims::Claims,
    codec,
    fault::Fault,
    memory::Memory,
    order::Standing,
    schema::{ORDINAL_MAX, child_key, child_keys},
    terms,
};
use crate::{Output, Receipt, Replay, Route};

/// One transaction in the making. All its operations happen at one time.
pub(super) struct Batch<'a> {
    pub(super) connection: &'a Connection,
    pub(super) now: Timestamp,
    pub(super) memory: &'a mut Memory,
    pub(super) claims: &'a mut Claims,
    pub(super) blocks: &'a mut Blocks,
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
    /// When the last of its claims expires.
    claimed_until: Timestamp,
    envelope: &'a [u8],
    body: &'a [u8],
}

/// The first event with a claim.
struct First {
    id: EventId,
    /// Whether the event itself is kept still.
    kept: bool,
}

/// Where an event comes from, if a plugin made it.
#[derive(Debug, Clone, Copy)]
struct Lineage {
    parent: i64,
    root: i64,
    /// Of these two.
    ids: [EventId; 2],
}

impl<'a> Batch<'a> {
    pub(super) fn new(
        connection: &'a Connection,
        now: Timestamp,
        memory: &'a mut Memory,
        claims: &'a mut Claims,
        blocks: &'a mut Blocks,
        envelope: &'a mut Vec<u8>,
    ) -> Self {
        Self {
            connection,
            now,
            memory,
            claims,
            blocks,
            envelope,
            work_due: false,
            insert_event: Statement::default(),
            insert_delivery: Statement::default(),
        }
    }

    pub(super) fn append(&mut self, new: &Append) -> Result<Receipt, Fault> {
        let key = self.memory.totals.next_event;
        if let Some(first) = self.claim(new, key)? {
            self.memory.totals.duplicates += i64::from(first.kept);
            return Ok(Receipt::new(first.id, true));
        }
        let claimed_until = match new.claims.is_empty() {
            true => Timestamp::default(),
            false => self.now + new.dedupe_window,
        };
        self.insert(&Row {
            id: new.id,
            origin: &new.origin,
            event_type: &new.event_type,
            received_at: new.received_at,
            hops: new.hops,
            from: None,
            claimed_until,
            envelope: &new.envelope,
            body: &new.body,
        })?;
        self.blocks.add(key, new.received_at, new.terms.iter().copied());
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
        let lineage = Lineage { parent: parent.event, root: parent.root, ids: parent.ids };
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
            claimed_until: Timestamp::default(),
            envelope: &envelope,
            body: &event.body,
        });
        *self.envelope = envelope;
        let key = inserted?;
        self.blocks.add(key, event.received_at, terms(event, &[], &output.routes));
        self.memory.totals.outputs += 1;
        if hops.beyond_limit() {
            self.bury(key, &output.routes)
        } else {
            self.route(key, &output.routes)
        }
    }

    /// Takes all claims for the event with this key, or none and returns the event that holds one.
    fn claim(&mut self, new: &Append, key: i64) -> Result<Option<First>, Fault> {
        for claim in &new.claims {
            if let Some(holder) = self.claims.holder(self.connection, claim, self.now)?
                && let Some(first) = self.first(holder)?
            {
                return Ok(Some(first));
            }
        }
        for claim in &new.claims {
            self.claims.take(claim, key, self.now + new.dedupe_window);
        }
        Ok(None)
    }

    /// The event that holds a claim, and notes that it was sent again. None if nobody knows it any more.
    fn first(&mut self, holder: i64) -> Result<Option<First>, Fault> {
        let sql = "SELECT id, 1 FROM events WHERE key = ?1
                   UNION ALL SELECT id, 0 FROM departed WHERE key = ?1";
        let mut statement = self.connection.prepare_cached(sql)?;
        let first = statement
            .query_row([holder], |row| {
                Ok(First { id: EventId::from_bytes(row.get(0)?), kept: row.get(1)? })
            })
            .optional()?;
        if first.as_ref().is_some_and(|first| first.kept) {
            let sql = "INSERT INTO duplicates (event, count, last_at) VALUES (?1, 1, ?2)
                       ON CONFLICT (event) DO UPDATE SET count = count + 1, last_at = ?2";
            self.connection.prepare_cached(sql)?.execute([holder, self.now.as_millis()])?;
        }
        Ok(first)
    }

    fn insert(&mut self, row: &Row<'_>) -> Result<i64, Fault> {
        let key = self.memory.totals.next_event;
        let origin = self.memory.origin(self.connection, row.origin)?;
        let sql = "INSERT INTO events
            (key, id, origin, type, received_at, hops, parent, root, parent_id, root_id, claimed_until,
             envelope, body)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)";
        self.insert_event.get(self.connection, sql)?.execute(params![
            key,
            row.id.as_bytes(),
            origin,
            row.event_type.as_str(),
            row.received_at.as_millis(),
            row.hops.0,
            row.from.map(|from| from.parent),
            row.from.map(|from| from.root),
            row.from.as_ref().map(|from| from.ids[0].as_bytes()),
            row.from.as_ref().map(|from| from.ids[1].as_bytes()),
            row.claimed_until.as_millis(),
            row.envelope,
            row.body,
        ])?;
        self.memory.totals.next_event += 1;
        self.memory.totals.events += 1;
        self.memory.totals.bytes += (row.envelope.len() + row.body.len()).cast_signed() as i64;
        Ok(key)
    }

    /// Makes the deliveries of an event, due now or behind others with their order key.
    fn route(&mut self, event: i64, routes: &[Route]) -> Result<(), Fault> {
        check_fan_out(routes.len())?;
        if routes.is_empty() {
            self.memory.totals.unrouted += 1;
        }
        for (ordinal, route) in (0..).zip(routes) {
            self.deliver(child_key(event, ordinal), route, event)?;
        }
        Ok(())
    }

    /// Makes one delivery. Its place in the order of its key is that of an event.
    fn deliver(&mut self, key: i64, route: &Route, place: i64) -> Result<(), Fault> {
        let plugin = self.memory.plugin(self.connection, &route.plugin)?;
        self.memory.totals.due += 1;
        if let Some(order_key) = &route.order_key {
            if self.line_up(key, plugin, order_key, place)? == Standing::Behind {
                return Ok(());
            }
        } else {
            let sql = "INSERT INTO deliveries (key, plugin, due_at) VALUES (?1, ?2, ?3)";
            self.insert_delivery.get(self.connection, sql)?.execute(params![
                key,
                plugin,
                self.now.as_millis()
            ])?;
        }
        self.memory.note_due(plugin, self.now);
        self.work_due = true;
        Ok(())
    }

    /// Makes further deliveries of events. Returns how many.
    pub(super) fn replay(&mut self, replays: &[Replay]) -> Result<u64, Fault> {
        let mut made = 0;
        for Replay { event, routes } in replays {
            let sql = "SELECT key FROM events WHERE id = ?1";
            let mut statement = self.connection.prepare_cached(sql)?;
            let key = statement.query_row([event.as_bytes()], |row| row.get(0)).optional()?;
            let Some(event) = key else { continue };
            let sql = "SELECT max(key) FROM deliveries WHERE key BETWEEN ?1 AND ?2";
            let (first, last) = child_keys(event);
            let newest: Option<i64> =
                self.connection.prepare_cached(sql)?.query_row([first, last], |row| row.get(0))?;
            let had = newest.map_or(0, |newest| usize::try_from(newest - first + 1).unwrap_or(0));
            check_fan_out(had + routes.len())?;
            if had == 0 && !routes.is_empty() {
                self.memory.totals.unrouted -= 1;
            }
            for (key, route) in (newest.map_or(first, |newest| newest + 1)..).zip(routes) {
                // Behind all events there are, and before the next.
                self.deliver(key, route, self.memory.totals.next_event)?;
                let sql = "UPDATE deliveries SET replayed_at = ?2 WHERE key = ?1";
                self.connection.prepare_cached(sql)?.execute([key, self.now.as_millis()])?;
                self.blocks.add_plugin(self.connection, event, route)?;
                made += 1;
            }
        }
        Ok(made)
    }

    /// Makes the deliveries of an event that went too far: dead from the start, with the reason.
    fn bury(&mut self, event: i64, routes: &[Route]) -> Result<(), Fault> {
        check_fan_out(routes.len())?;
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
            self.count_dead(key)?;
        }
        Ok(())
    }
}

fn check_fan_out(deliveries: usize) -> Result<(), Fault> {
    if deliveries > ORDINAL_MAX as usize {
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
