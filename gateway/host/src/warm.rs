//! Instances that are kept for the next call, for plugins whose start is slow: interpreters, mostly.
//!
//! The operator asks for it by saying how many calls one may serve; without that each call gets a fresh
//! instance. A kept one is used by one call at a time, and is gone after a trap, a timeout or an answer
//! that broke a limit, after its calls are used up, and with its version. What the guest left in its
//! memory is there in its next call: that is the price.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::{Store, component::Instance};

use crate::guest::Guest;

/// One version's kept instances.
pub(crate) struct Warm {
    /// How many calls one serves; 1: none is kept.
    uses: u32,
    idle: Mutex<Vec<(Housed, OwnedSemaphorePermit)>>,
    /// Of all versions: each kept instance has a slot of the pool.
    room: Arc<Semaphore>,
}

/// A guest's store, and its instance once it has started.
pub(crate) struct Housed {
    pub(crate) store: Store<Guest>,
    pub(crate) instance: Option<Instance>,
    used: u32,
}

impl Housed {
    pub(crate) fn new(store: Store<Guest>) -> Self {
        Self { store, instance: None, used: 0 }
    }
}

impl Warm {
    pub(crate) fn new(uses: u32, room: Arc<Semaphore>) -> Self {
        Self { uses, idle: Mutex::default(), room }
    }

    /// The instance that was kept last: its memory is the likeliest to be in the caches.
    pub(crate) fn take(&self) -> Option<Housed> {
        if self.uses <= 1 {
            return None;
        }
        self.idle().pop().map(|(housed, _)| housed)
    }

    /// Keeps an instance whose call went well, if it may serve another and there is room.
    pub(crate) fn keep(&self, mut housed: Housed) {
        housed.used += 1;
        if housed.used >= self.uses {
            return;
        }
        if let Ok(room) = Arc::clone(&self.room).try_acquire_owned() {
            self.idle().push((housed, room));
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<(Housed, OwnedSemaphorePermit)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Warm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Warm").field("uses", &self.uses).finish_non_exhaustive()
    }
}
