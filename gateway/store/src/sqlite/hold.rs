//! Holds: what is due of a source's events is not leased until an operator lets it go on.
//!
//! Whoever leases comes upon such a delivery where it stands among the others, and sets it aside: it gets a row, if
//! it has none, whose column `held` names the source. No index that leases read has it from then on, so that a million
//! of them slow nobody down. When the hold is lifted nothing is moved at once: each lease takes back as many as it
//! may hand out, in the order their events were committed. They are due since when they were, and so keep their place
//! before what came later; how long they wait is counted since the hold was lifted (`let_go_at`).

use std::collections::{BTreeMap, BTreeSet};

use hookweir_event::{Origin, SourceName, Timestamp};
use rusqlite::{Connection, params};

use super::{append::Batch, fault::Fault, schema::parent_key};

/// So many deliveries of a plugin one lease sets aside: some milliseconds of the writer's time.
pub(super) const ASIDE_MAX: usize = 256;

/// Which sources are held, by the keys of their origins.
#[derive(Debug, Clone, Default)]
pub(super) struct Holds {
    in_force: BTreeSet<i64>,
    /// Those that were lifted, since when, while something is aside still.
    lifted: BTreeMap<i64, Timestamp>,
}

impl Holds {
    pub(super) fn read(connection: &Connection) -> rusqlite::Result<Self> {
        let mut holds = Self::default();
        let mut statement = connection.prepare_cached("SELECT origin, lifted_at FROM holds")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let origin = row.get(0)?;
            match row.get::<_, Option<_>>(1)? {
                None => _ = holds.in_force.insert(origin),
                Some(at) => _ = holds.lifted.insert(origin, Timestamp::from_millis(at)),
            }
        }
        Ok(holds)
    }

    /// Since when what is aside of an origin may go on; none: it may not.
    pub(super) fn lifted_at(&self, origin: i64) -> Option<Timestamp> {
        self.lifted.get(&origin).copied()
    }
}

impl Batch<'_> {
    /// Holds a source from now on.
    pub(super) fn hold(&mut self, source: &SourceName) -> Result<(), Fault> {
        let origin = self.origin_of(source)?;
        let sql = "INSERT INTO holds (origin, lifted_at) VALUES (?1, NULL)
                   ON CONFLICT (origin) DO UPDATE SET lifted_at = NULL";
        self.connection.prepare_cached(sql)?.execute([origin])?;
        self.memory.holds = None;
        Ok(())
    }

    /// Lets a held source go on.
    pub(super) fn lift(&mut self, source: &SourceName) -> Result<(), Fault> {
        let origin = self.origin_of(source)?;
        let sql = "UPDATE holds SET lifted_at = ?2 WHERE origin = ?1 AND lifted_at IS NULL";
        let now = self.now.as_millis();
        self.connection.prepare_cached(sql)?.execute([origin, now])?;
        self.forget_empty(origin)?;
        self.memory.holds = None;
        self.work_due = true;
        Ok(())
    }

    fn origin_of(&mut self, source: &SourceName) -> Result<i64, Fault> {
        Ok(self.memory.origin(self.connection, &Origin::Source(source.clone()))?)
    }

    /// A hold that was lifted is over once nothing is aside.
    fn forget_empty(&mut self, origin: i64) -> Result<(), Fault> {
        if self.depths.aside_of(origin) == 0 {
            let sql = "DELETE FROM holds WHERE origin = ?1 AND lifted_at IS NOT NULL";
            self.connection.prepare_cached(sql)?.execute([origin])?;
            self.memory.holds = None;
        }
        Ok(())
    }

    fn holds(&mut self) -> Result<&Holds, Fault> {
        if self.memory.holds.is_none() {
            self.memory.holds = Some(Holds::read(self.connection)?);
        }
        Ok(self.memory.holds.get_or_insert_default())
    }

    /// How many more a lease looks at than it may hand out.
    pub(super) fn aside_max(&mut self) -> Result<usize, Fault> {
        Ok(if self.holds()?.in_force.is_empty() { 0 } else { ASIDE_MAX })
    }

    /// The origin whose hold keeps a delivery from being leased.
    pub(super) fn holder_of(&mut self, delivery: i64) -> Result<Option<i64>, Fault> {
        if self.holds()?.in_force.is_empty() {
            return Ok(None);
        }
        // By the directory alone: what an event says may be damaged.
        let event = parent_key(delivery);
        let origin = self.parcels.entry(self.connection, event, |_, entry| entry.origin)?;
        let in_force = &self.holds()?.in_force;
        Ok(origin.filter(|origin| in_force.contains(origin)))
    }

    /// Sets a delivery with a row aside.
    pub(super) fn set_aside(
        &mut self,
        delivery: i64,
        plugin: i64,
        origin: i64,
    ) -> Result<(), Fault> {
        let sql = "UPDATE deliveries SET held = ?2 WHERE key = ?1";
        self.connection.prepare_cached(sql)?.execute([delivery, origin])?;
        self.depths.set_aside(plugin, origin, 1);
        Ok(())
    }

    /// The same of a fresh one, which is taken out of its line already.
    pub(super) fn set_fresh_aside(
        &mut self,
        (delivery, due_at): (i64, Timestamp),
        plugin: i64,
        origin: i64,
    ) -> Result<(), Fault> {
        let sql = "INSERT INTO deliveries (key, plugin, due_at, held) VALUES (?1, ?2, ?3, ?4)";
        let row = params![delivery, plugin, due_at.as_millis(), origin];
        self.connection.prepare_cached(sql)?.execute(row)?;
        self.depths.set_aside(plugin, origin, 1);
        Ok(())
    }

    /// Takes back up to `max` of a plugin's deliveries of each source that is not held any more.
    pub(super) fn take_back_aside(&mut self, plugin: i64, max: usize) -> Result<(), Fault> {
        if !self.depths.has_aside(plugin) {
            return Ok(());
        }
        for (origin, at) in self.holds()?.lifted.clone() {
            if self.depths.aside(plugin, origin) == 0 {
                continue;
            }
            let sql = "UPDATE deliveries SET held = NULL, let_go_at = ?3 WHERE key IN
                       (SELECT key FROM deliveries INDEXED BY deliveries_held
                        WHERE plugin = ?1 AND held = ?2 ORDER BY key LIMIT ?4)
                       RETURNING due_at";
            let limit = i64::try_from(max).unwrap_or(i64::MAX);
            let which = [plugin, origin, at.as_millis(), limit];
            let mut statement = self.connection.prepare_cached(sql)?;
            let mut rows = statement.query(which)?;
            let mut back = 0;
            while let Some(row) = rows.next()? {
                back += 1;
                self.memory.note_due(plugin, Timestamp::from_millis(row.get(0)?));
            }
            self.depths.set_aside(plugin, origin, -back);
            self.forget_empty(origin)?;
        }
        Ok(())
    }
}
