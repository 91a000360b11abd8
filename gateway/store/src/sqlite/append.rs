//! Appending: an event with its claims and deliveries, or a duplicate counted.

use hookweir_event::{EventId, Hops, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};

use super::{
    Append,
    blocks::Blocks,
    claims::Claims,
    codec,
    depths::Depths,
    fault::Fault,
    fresh::Fresh,
    known::Known,
    memory::Memory,
    order::Standing,
    parcels::{self, Entry, Parcels, Place},
    schema::{child_key, child_keys},
};
use crate::{
    Output, Receipt, Replay, Route,
    bounds::{bytes_fit, deliveries_fit, too_far},
    term::terms,
};

/// One transaction in the making. All its operations happen at one time.
pub(super) struct Batch<'a> {
    pub(super) connection: &'a Connection,
    pub(super) now: Timestamp,
    pub(super) memory: &'a mut Memory,
    pub(super) claims: &'a mut Claims,
    pub(super) blocks: &'a mut Blocks,
    pub(super) parcels: &'a mut Parcels,
    pub(super) fresh: &'a mut Fresh,
    pub(super) depths: &'a mut Depths,
    /// Room for envelopes, kept between batches.
    pub(super) envelope: &'a mut Vec<u8>,
    /// Whether it makes work due, or changes when the next work is.
    pub(super) work_due: bool,
}

/// The first event with a claim.
struct First {
    id: EventId,
    /// Whether the event itself is kept still.
    kept: bool,
}

impl<'a> Batch<'a> {
    pub(super) fn new(connection: &'a Connection, now: Timestamp, known: &'a mut Known) -> Self {
        let Known { memory, claims, blocks, parcels, fresh, depths, envelope } = known;
        let work_due = false;
        Self { connection, now, memory, claims, blocks, parcels, fresh, depths, envelope, work_due }
    }

    pub(super) fn append(&mut self, new: &Append) -> Result<Receipt, Fault> {
        let key = self.memory.totals.next_event;
        if let Some(first) = self.claim(new, key)? {
            self.memory.totals.duplicates += i64::from(first.kept);
            return Ok(Receipt::new(first.id, true));
        }
        self.keep(new)?;
        Ok(Receipt::new(new.id, false))
    }

    /// Keeps an event whose claims are taken, and the deliveries it is owed.
    pub(super) fn keep(&mut self, new: &Append) -> Result<(), Fault> {
        let key = self.memory.totals.next_event;
        let claimed_until = match new.claims.is_empty() {
            true => Timestamp::default(),
            false => self.now + new.dedupe_window,
        };
        let entry = Entry {
            key,
            id: new.id,
            origin: self.memory.origin(self.connection, &new.origin)?,
            event_type: new.event_type.clone(),
            received_at: new.received_at,
            hops: new.hops,
            from: None,
            claimed_until: Some(claimed_until),
            plugins: Vec::with_capacity(new.routes.len()),
            place: Place::default(),
        };
        self.insert(entry, &new.envelope, &new.body)?;
        self.blocks.add(key, new.received_at, new.terms.iter().copied());
        self.route(key, &new.routes)
    }

    /// Keeps an output of the event with the key `parent`.
    pub(super) fn append_output(
        &mut self,
        output: &Output,
        parent: &crate::LeaseKey,
    ) -> Result<(), Fault> {
        let hops = Hops(parent.hops).next();
        let event = &output.event;
        let key = self.memory.totals.next_event;
        let entry = Entry {
            key,
            id: event.id,
            origin: self.memory.origin(self.connection, &event.origin)?,
            event_type: event.event_type.clone(),
            received_at: event.received_at,
            hops,
            from: Some(parent.ids),
            claimed_until: Some(Timestamp::default()),
            plugins: Vec::with_capacity(output.routes.len()),
            place: Place::default(),
        };
        let mut envelope = std::mem::take(self.envelope);
        codec::write_envelope(event, &mut envelope);
        self.insert(entry, &envelope, &event.body)?;
        *self.envelope = envelope;
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
        let id = self.parcels.entry(self.connection, holder, |_, entry| entry.id)?;
        let first = match id {
            Some(id) => Some(First { id, kept: true }),
            None => self.departed(holder)?,
        };
        if first.as_ref().is_some_and(|first| first.kept) {
            let sql = "INSERT INTO duplicates (event, count, last_at) VALUES (?1, 1, ?2)
                       ON CONFLICT (event) DO UPDATE SET count = count + 1, last_at = ?2";
            self.connection.prepare_cached(sql)?.execute([holder, self.now.as_millis()])?;
        }
        Ok(first)
    }

    /// An event that is gone, whose claims hold still.
    fn departed(&self, holder: i64) -> Result<Option<First>, Fault> {
        let sql = "SELECT id FROM departed WHERE key = ?1";
        let mut statement = self.connection.prepare_cached(sql)?;
        let id = statement.query_row([holder], |row| row.get(0)).optional()?;
        Ok(id.map(|id| First { id: EventId::from_bytes(id), kept: false }))
    }

    fn insert(&mut self, entry: Entry, envelope: &[u8], body: &[u8]) -> Result<(), Fault> {
        bytes_fit(envelope.len() + body.len()).map_err(Fault::Operation)?;
        let totals = &mut self.memory.totals;
        totals.next_event += 1;
        totals.events += 1;
        totals.bytes += (envelope.len() + body.len()).cast_signed() as i64;
        self.parcels.add(self.now, entry, envelope, body);
        Ok(())
    }

    /// Makes the deliveries of an event, due now or behind others with their order key.
    fn route(&mut self, event: i64, routes: &[Route]) -> Result<(), Fault> {
        deliveries_fit(routes.len()).map_err(Fault::Operation)?;
        if routes.is_empty() {
            self.memory.totals.unrouted += 1;
        }
        for (ordinal, route) in (0..).zip(routes) {
            let key = child_key(event, ordinal);
            let before = &routes[..ordinal as usize];
            let again = before.iter().any(|before| before.plugin == route.plugin);
            if route.order_key.is_some() || again {
                self.parcels.deliver(0);
                self.deliver(key, route, event)?;
            } else {
                self.deliver_fresh(key, route)?;
            }
        }
        Ok(())
    }

    /// Makes one delivery of an event that was just added, without a row.
    fn deliver_fresh(&mut self, key: i64, route: &Route) -> Result<(), Fault> {
        let plugin = self.memory.plugin(self.connection, &route.plugin)?;
        self.parcels.deliver(plugin);
        self.fresh.add(plugin, key, self.now);
        self.memory.totals.due += 1;
        self.depths.of(plugin).due += 1;
        self.work_due = true;
        Ok(())
    }

    /// Makes one delivery. Its place in the order of its key is that of an event.
    fn deliver(&mut self, key: i64, route: &Route, place: i64) -> Result<(), Fault> {
        let plugin = self.memory.plugin(self.connection, &route.plugin)?;
        self.memory.totals.due += 1;
        if let Some(order_key) = &route.order_key {
            if self.line_up(key, plugin, order_key, place)? == Standing::Behind {
                self.depths.of(plugin).behind += 1;
                return Ok(());
            }
        } else {
            let sql = "INSERT INTO deliveries (key, plugin, due_at) VALUES (?1, ?2, ?3)";
            self.connection.prepare_cached(sql)?.execute(params![
                key,
                plugin,
                self.now.as_millis()
            ])?;
        }
        self.depths.of(plugin).due += 1;
        self.memory.note_due(plugin, self.now);
        self.work_due = true;
        Ok(())
    }

    /// Makes further deliveries of events. Returns how many.
    pub(super) fn replay(&mut self, replays: &[Replay]) -> Result<u64, Fault> {
        let mut made = 0;
        // So that events of this transaction are found as well.
        self.parcels.write(self.connection)?;
        for Replay { event, routes } in replays {
            let Some(key) = parcels::key_of(self.connection, *event)? else { continue };
            let newest = self.newest_delivery(key)?;
            let (event, first) = (key, child_key(key, 0));
            let had = newest.map_or(0, |newest| usize::try_from(newest - first + 1).unwrap_or(0));
            deliveries_fit(had + routes.len()).map_err(Fault::Operation)?;
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

    /// The last delivery that an event has.
    fn newest_delivery(&self, event: i64) -> Result<Option<i64>, Fault> {
        let sql = "SELECT max(key) FROM deliveries WHERE key BETWEEN ?1 AND ?2";
        let (first, last) = child_keys(event);
        let row: Option<i64> =
            self.connection.prepare_cached(sql)?.query_row([first, last], |row| row.get(0))?;
        let fresh = self.parcels.entry(self.connection, event, |_, entry| {
            let count = i64::try_from(entry.plugins.len()).unwrap_or(0);
            (count > 0).then_some(first + count - 1)
        })?;
        Ok(row.max(fresh.flatten()))
    }

    /// Makes the deliveries of an event that went too far: dead from the start, with the reason.
    fn bury(&mut self, event: i64, routes: &[Route]) -> Result<(), Fault> {
        deliveries_fit(routes.len()).map_err(Fault::Operation)?;
        if routes.is_empty() {
            self.memory.totals.unrouted += 1;
        }
        for (ordinal, route) in (0..).zip(routes) {
            let plugin = self.memory.plugin(self.connection, &route.plugin)?;
            let key = child_key(event, ordinal);
            self.parcels.deliver(0);
            let sql = "INSERT INTO deliveries (key, plugin, due_at, attempts, settled_at, dead)
                       VALUES (?1, ?2, ?3, 1, ?3, 1)";
            self.connection.prepare_cached(sql)?.execute(params![
                key,
                plugin,
                self.now.as_millis()
            ])?;
            self.record(key, 1, self.now, &too_far())?;
            self.count_dead(plugin, key)?;
        }
        Ok(())
    }
}
