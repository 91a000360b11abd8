//! Instances that are kept for the next call, for plugins whose start is slow: interpreters, mostly.
//!
//! The operator asks for it by saying how many calls one may serve; without that each call gets a fresh
//! instance. A kept one is used by one call at a time, and is gone after a trap, a timeout or an answer
//! that broke a limit, after its calls are used up, when three quarters of its memory are taken, after a minute
//! without any, and with its version. What the guest left in its memory is there in its next call: that is the
//! price.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::{Store, component::Instance};

use crate::guest::Guest;

/// How long one is kept that nobody calls, while others want its room.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// What a place in the room for kept instances is counted in.
const MIB: u64 = 1 << 20;

/// The room for kept instances, of all versions: each has a slot of the pool, and what its memories have.
pub(crate) struct WarmRoom {
    places: Arc<Semaphore>,
    /// In MiB.
    memory: Arc<Semaphore>,
    versions: Mutex<Vec<Weak<Warm>>>,
}

/// One version's kept instances.
pub(crate) struct Warm {
    /// How many calls one serves; 1: none is kept.
    uses: u32,
    idle: Mutex<Vec<Idle>>,
    room: Arc<WarmRoom>,
}

struct Idle {
    housed: Housed,
    since: Instant,
    _place: Place,
}

/// What one kept instance has of the room.
struct Place {
    _slot: OwnedSemaphorePermit,
    _memory: OwnedSemaphorePermit,
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

impl WarmRoom {
    pub(crate) fn new(places: u32, memory: u64) -> Self {
        let mib = usize::try_from(memory / MIB).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Self {
            places: Arc::new(Semaphore::new(places as usize)),
            memory: Arc::new(Semaphore::new(mib)),
            versions: Mutex::default(),
        }
    }

    /// A place for one with so many bytes; if there is none, those that nobody has called for long make
    /// room.
    fn place(&self, bytes: u64, now: Instant) -> Option<Place> {
        let mib = u32::try_from(bytes.div_ceil(MIB)).ok()?;
        let place = || {
            let slot = Arc::clone(&self.places).try_acquire_owned().ok()?;
            let memory = Arc::clone(&self.memory).try_acquire_many_owned(mib).ok()?;
            Some(Place { _slot: slot, _memory: memory })
        };
        place().or_else(|| {
            let versions: Vec<_> = self.versions().iter().filter_map(Weak::upgrade).collect();
            versions.iter().for_each(|version| version.drop_old(now));
            place()
        })
    }

    fn versions(&self) -> MutexGuard<'_, Vec<Weak<Warm>>> {
        self.versions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Warm {
    pub(crate) fn new(uses: u32, room: &Arc<WarmRoom>) -> Arc<Self> {
        let warm = Arc::new(Self { uses, idle: Mutex::default(), room: Arc::clone(room) });
        if uses > 1 {
            let mut versions = room.versions();
            versions.retain(|version| version.strong_count() > 0);
            versions.push(Arc::downgrade(&warm));
        }
        warm
    }

    /// The instance that was kept last: its memory is the likeliest to be in the caches.
    pub(crate) fn take(&self, now: Instant) -> Option<Housed> {
        if self.uses <= 1 {
            return None;
        }
        let idle = self.idle().pop()?;
        (now.saturating_duration_since(idle.since) < IDLE_MAX).then_some(idle.housed)
    }

    /// Keeps an instance whose call went well, if it may serve another and there is room.
    pub(crate) fn keep(&self, mut housed: Housed, now: Instant) {
        housed.used += 1;
        if housed.used >= self.uses || housed.store.data().is_worn() {
            return;
        }
        let bytes = housed.store.data().limiter.used();
        if let Some(place) = self.room.place(bytes, now) {
            self.idle().push(Idle { housed, since: now, _place: place });
        }
    }

    fn drop_old(&self, now: Instant) {
        let is_old = |idle: &mut Idle| now.saturating_duration_since(idle.since) >= IDLE_MAX;
        // Dropped when nobody waits for the lock any more.
        let _old: Vec<_> = self.idle().extract_if(.., is_old).collect();
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Warm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Warm").field("uses", &self.uses).finish_non_exhaustive()
    }
}
