//! What the writer knows without asking the database. All of it can be read again.

use hookweir_event::Timestamp;
use rusqlite::Connection;

use super::{
    blocks::Blocks,
    claims::Claims,
    depths::Depths,
    fault::Fault,
    fresh::Fresh,
    memory::{Memory, Totals},
    parcels::{self, Parcels},
};

/// The writer's memory, part by part.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) memory: Memory,
    pub(super) claims: Claims,
    pub(super) blocks: Blocks,
    pub(super) parcels: Parcels,
    pub(super) fresh: Fresh,
    pub(super) depths: Depths,
    /// Room for envelopes, kept between batches.
    pub(super) envelope: Vec<u8>,
}

/// Where [`Known::back_to`] goes back to.
pub(super) struct Mark {
    totals: Totals,
    claims: usize,
    blocks: usize,
    parcels: parcels::Mark,
    fresh: Fresh,
    depths: Depths,
}

impl Known {
    /// Reads anew what a rolled back transaction left in doubt.
    pub(super) fn refresh(&mut self, connection: &Connection) -> Result<(), Fault> {
        if self.fresh.is_stale() {
            (self.fresh, _) = Fresh::read(connection, &mut self.parcels, self.memory.boot)?;
            self.depths = Depths::read(connection)?;
        }
        Ok(())
    }

    /// Writes down what the transaction made, the last thing before its commit.
    pub(super) fn write(&mut self, connection: &Connection, now: Timestamp) -> Result<(), Fault> {
        self.parcels.write(connection)?;
        self.claims.write(connection, now)?;
        self.blocks.write(connection)
    }

    /// The transaction is on disk.
    pub(super) fn committed(&mut self) {
        self.claims.committed();
        self.blocks.committed();
        self.parcels.committed();
        self.fresh.committed();
        self.depths.committed();
    }

    /// The transaction never was; the totals were these before it.
    pub(super) fn rolled_back(&mut self, totals: Totals) {
        self.memory = Memory::with(self.memory.boot, totals);
        self.claims.rolled_back();
        self.blocks.rolled_back();
        self.parcels.rolled_back();
        self.fresh.rolled_back();
    }

    /// Before an operation that may fail alone.
    pub(super) fn mark(&self) -> Mark {
        Mark {
            totals: self.memory.totals,
            claims: self.claims.mark(),
            blocks: self.blocks.mark(),
            parcels: self.parcels.mark(),
            fresh: self.fresh.clone(),
            depths: self.depths.clone(),
        }
    }

    /// The operation since the mark never was.
    pub(super) fn back_to(&mut self, mark: Mark) {
        self.memory = Memory::with(self.memory.boot, mark.totals);
        self.claims.back_to(mark.claims);
        self.blocks.back_to(mark.blocks);
        self.parcels.back_to(mark.parcels);
        self.fresh = mark.fresh;
        self.depths = mark.depths;
    }
}
