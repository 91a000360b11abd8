//! What requests may hold between their first byte and their commit: memory for bodies, places in front of the
//! store. Nobody waits for either: what can't be had at once is shed, and its sender told to come again.
//!
//! Shared between sources by one rule (the module `share`). A large body that was let in is never cut off for others.

mod bodies;
mod places;
mod share;

use std::sync::Arc;

pub use self::{
    bodies::Bodies,
    places::Places,
    share::{Lane, Pool},
};
pub(crate) use self::{
    bodies::{Hold, SMALL},
    places::Place,
};

/// All that requests share.
#[derive(Debug, Default)]
pub struct Budget {
    /// Bytes of bodies, and of the headers before them.
    pub bodies: Bodies,
    /// Events that wait for their commit.
    pub places: Places,
}

/// What one source holds of it. The plugins' APIs together are as one.
#[derive(Debug, Default)]
pub struct Shares {
    /// Bytes of headers, and of bodies up to 64 KiB; larger ones are not in their way.
    small: Lane,
    /// Bytes of larger ones.
    large: Lane,
    /// Events that wait for their commit.
    places: Lane,
}

impl Shares {
    /// Bytes of bodies, and of the headers before them.
    pub fn body_bytes(&self) -> u64 {
        self.small.held() + self.large.held()
    }

    /// Events that wait for their commit.
    pub fn appends(&self) -> u64 {
        self.places.held()
    }
}

/// Why a request was shed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shed {
    /// Bodies take all the memory that they may.
    Memory,
    /// The source's bodies take their share of it.
    MemoryShare,
    /// Those from this address take theirs.
    MemoryAddress,
    /// As many events wait for their commit as may.
    Queue,
    /// As many of the source's.
    QueueShare,
    /// The disk is filling up, and the source's priority is low.
    DiskLow,
    /// The store's own queue is full.
    StoreQueue,
}

impl Shed {
    /// The word for metrics and operators.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::MemoryShare => "memory-share",
            Self::MemoryAddress => "memory-address",
            Self::Queue => "queue",
            Self::QueueShare => "queue-share",
            Self::DiskLow => "disk-low",
            Self::StoreQueue => "store-queue",
        }
    }

    /// The same as a sentence.
    pub(crate) fn sentence(self) -> &'static str {
        match self {
            Self::Memory => "bodies take all the memory that they may (server.bodies_max)",
            Self::MemoryShare => "the source's bodies take their share of server.bodies_max",
            Self::MemoryAddress => "this address's bodies take their share of server.bodies_max",
            Self::Queue => "as many events wait for their commit as may (server.appends_max)",
            Self::QueueShare => "the source's events take their share of server.appends_max",
            Self::DiskLow => {
                "less than store.disk_free_low is left, and the source's priority is low"
            }
            Self::StoreQueue => "the store's queue is full",
        }
    }
}

/// For who takes and gives back.
type Parties = (Arc<Budget>, Arc<Shares>);
