//! The clock that lets guests be interrupted: a thread that moves the engine's epoch at each tick.
//!
//! A thread of its own, since a starved runtime would stop its own clock. It holds the engine weakly
//! and ends with it. While no guest runs it sleeps, so that an idle gateway costs nothing.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    thread::{self, Thread},
    time::Duration,
};

use wasmtime::{Engine, EngineWeak};

/// How long a guest may hold its thread before others run: behind 64 guests that spin on one thread,
/// a neighbour's event waits 128 ms. Ticking took 2.3 % of a core at 1 ms on the virtual machine
/// where it was measured, half of that at 2 ms.
const TICK: Duration = Duration::from_millis(2);
/// How long to go on ticking behind the last guest; waking up costs more than some ticks.
const LINGER_TICKS: u32 = 50;
/// How often to look whether the engine is still there.
const LOOK: Duration = Duration::from_secs(1);

pub(crate) struct Ticker {
    shared: Arc<Shared>,
    thread: Thread,
}

#[derive(Default)]
struct Shared {
    guests: AtomicUsize,
    asleep: AtomicBool,
}

/// The clock ticks as long as one of these lives.
pub(crate) struct Ticking<'a>(&'a Shared);

impl Ticker {
    pub(crate) fn start(engine: &Engine) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let (theirs, engine) = (Arc::clone(&shared), engine.weak());
        let thread = thread::Builder::new()
            .name("hookweir-tick".into())
            .spawn(move || tick(&engine, &theirs))?;
        Ok(Self { shared, thread: thread.thread().clone() })
    }

    /// Must be held while a guest runs.
    pub(crate) fn ticking(&self) -> Ticking<'_> {
        // First the count, then the look, as the thread does it the other way round: one of the two
        // sees the other.
        self.shared.guests.fetch_add(1, SeqCst);
        if self.shared.asleep.load(SeqCst) {
            self.thread.unpark();
        }
        Ticking(&self.shared)
    }
}

impl Drop for Ticking<'_> {
    fn drop(&mut self) {
        self.0.guests.fetch_sub(1, SeqCst);
    }
}

fn tick(engine: &EngineWeak, shared: &Shared) {
    let mut idle = 0;
    while let Some(engine) = engine.upgrade() {
        engine.increment_epoch();
        drop(engine);
        if shared.guests.load(SeqCst) > 0 {
            idle = 0;
        } else {
            idle += 1;
        }
        if idle < LINGER_TICKS {
            thread::sleep(TICK);
            continue;
        }
        shared.asleep.store(true, SeqCst);
        if shared.guests.load(SeqCst) == 0 {
            thread::park_timeout(LOOK);
        }
        shared.asleep.store(false, SeqCst);
    }
}
