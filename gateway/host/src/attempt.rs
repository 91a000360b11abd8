//! One call of a plugin: a store and an instance, driven under both clocks, and what it came to.
//!
//! What it is called for is a [`Job`]: an event, a request to answer, one to verify. The limits and the
//! books are the same for all of them.

use std::{
    any::Any,
    sync::Arc,
    time::{Duration, Instant},
};

use hookweir_event::{Clock, Exchanges, Failure, LogLine, NewOutput, Outcome, StateChange};
use wasmtime::{Engine, Store, UpdateDeadline, component::Instance};

use crate::{
    Limits, NotRun, StateReader, Transport,
    egress::Subject,
    fixed::Fixed,
    guest::{Guest, Left},
    meter::{Meter, metered},
    outcome::{self, OverCpu},
    state::State,
    version::Inner,
    warm::{Housed, Warm},
};

/// What a call came to: for an attempt, its outputs.
#[derive(Debug)]
pub struct Ran<T = Vec<NewOutput>> {
    /// The answer, or why there is none.
    pub result: Result<T, Failure>,
    /// What it read and changed of its state. If it rejected the event: what it read; if it failed: nothing.
    pub state: Vec<StateChange>,
    /// From start to end.
    pub wall: Duration,
    /// CPU time in the guest and in host calls.
    pub cpu: Duration,
    /// The most that all its memories and tables had together, in bytes.
    pub memory_peak: u64,
    /// What it logged.
    pub logs: Vec<LogLine>,
    /// What it sent and was answered, of an attempt whose limits say that it is kept.
    pub exchanges: Option<Exchanges>,
}

impl<T> Ran<T> {
    /// What is said of a call in which the host failed. An attempt counts: else an event that brings
    /// this about would do so for ever.
    pub(crate) fn of_panic(panic: &(dyn Any + Send)) -> Self {
        let words = panic.downcast_ref::<&str>().map(|words| (*words).to_owned());
        let words = words.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        tracing::error!(panic = words, "the host panicked in a call");
        Self {
            result: Err(outcome::failure(Outcome::Trap, &format!("the gateway failed: {words}"))),
            state: Vec::new(),
            wall: Duration::ZERO,
            cpu: Duration::ZERO,
            memory_peak: 0,
            logs: Vec::new(),
            exchanges: None,
        }
    }
}

/// What a guest is called for.
pub(crate) trait Job: Sync {
    /// What it answers if all goes well.
    type Answer: Send;

    /// Calls the export and reads its answer.
    fn call(&self, guest: Started<'_>) -> impl Future<Output = Said<Self::Answer>> + Send;
}

/// What a call of an export comes to: the outer error is a trap; the inner one is what the plugin said, or
/// what is wrong with its answer.
pub(crate) type Said<T> = wasmtime::Result<Result<T, Failure>>;

/// A guest that is about to be called.
pub(crate) struct Started<'a> {
    pub(crate) version: &'a Inner,
    pub(crate) limits: &'a Limits,
    pub(crate) store: &'a mut Store<Guest>,
    pub(crate) instance: Instance,
}

/// What the gateway lends a guest for one call.
pub(crate) struct Means {
    pub(crate) clock: Clock,
    /// `None`: it has no state in this call.
    pub(crate) state: Option<Arc<dyn StateReader>>,
    /// For whom it sends requests.
    pub(crate) subject: Option<Subject>,
    /// Why it can't, if it is not because of the grant.
    pub(crate) closed: Option<&'static str>,
    /// How they go, if not the version's own way.
    pub(crate) transport: Option<Arc<dyn Transport>>,
    /// Chance and passing time, if they are not to be the machine's.
    pub(crate) fixed: Option<Fixed>,
    /// Whether its requests are noted, if its limits say so.
    pub(crate) records: bool,
}

/// A store in which all limits hold.
pub(crate) fn store(
    engine: &Engine,
    version: &Arc<Inner>,
    limits: &Limits,
    means: Means,
) -> Store<Guest> {
    let mut store = Store::new(engine, Guest::new(Arc::clone(version), limits, means));
    store.limiter(|guest| &mut guest.limiter);
    store.set_hostcall_fuel(limits.at_once());
    store.set_max_component_handles(limits.handles);
    // At each tick: is the budget spent? Then let others run.
    store.epoch_deadline_callback(|guest| {
        let guest = guest.data();
        if guest.meter.spent_now() > guest.cpu {
            return Err(OverCpu.into());
        }
        Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())))
    });
    store
}

/// Drives `guest` until it ends or its wall time is over; then it is dropped, wherever it was.
pub(crate) async fn bounded<T>(
    meter: Arc<Meter>,
    limits: &Limits,
    guest: impl Future<Output = wasmtime::Result<T>>,
) -> Result<wasmtime::Result<T>, Failure> {
    let ended = tokio::time::timeout(limits.wall, metered(meter, guest)).await;
    ended.map_err(|_| outcome::timed_out(limits))
}

/// One call, from an empty store, or one that was kept, to the last log line.
pub(crate) async fn run<J: Job>(
    engine: &Engine,
    means: Means,
    version: &Arc<Inner>,
    limits: &Limits,
    warm: Option<&Warm>,
    job: &J,
) -> Result<Ran<J::Answer>, NotRun> {
    let started = Instant::now();
    let mut housed = match warm.and_then(|warm| warm.take(started)) {
        Some(mut kept) => {
            kept.store.data_mut().begin(limits, means);
            kept
        }
        None => Housed::new(store(engine, version, limits, means)),
    };
    let meter = Arc::clone(&housed.store.data().meter);
    let ended = bounded(Arc::clone(&meter), limits, call(version, limits, &mut housed, job));
    let result = match ended.await {
        Ok(Ok(said)) => said,
        Ok(Err(error)) => match outcome::not_run(&error) {
            Some(fault) => return Err(fault),
            None => Err(outcome::trapped(&error, housed.store.data(), limits)),
        },
        Err(timed_out) => Err(timed_out),
    };
    let Left { mut state, logs, memory_peak, exchanges } = housed.store.data_mut().end();
    if let Some(reason) = state.as_mut().and_then(State::unreadable) {
        return Err(NotRun::State(reason));
    }
    if let (Some(warm), Ok(_) | Err(Failure { outcome: Outcome::Retry | Outcome::Reject, .. })) =
        (warm, &result)
    {
        warm.keep(housed, Instant::now());
    }
    let state = match (state, &result) {
        (Some(state), Ok(_)) => state.into_changes(),
        // What it saw must have been so; what a failed attempt wrote was never there.
        (Some(state), Err(failure)) if failure.outcome == Outcome::Reject => state.into_reads(),
        _ => Vec::new(),
    };
    let (wall, cpu) = (started.elapsed(), meter.spent());
    Ok(Ran { result, state, wall, cpu, memory_peak, logs, exchanges })
}

/// Starts the guest, unless it has been, and calls it.
async fn call<J: Job>(
    version: &Inner,
    limits: &Limits,
    housed: &mut Housed,
    job: &J,
) -> Said<J::Answer> {
    let Housed { store, instance, .. } = housed;
    // From here: a kept store's last tick is long ago.
    store.set_epoch_deadline(1);
    let instance = match *instance {
        Some(instance) => instance,
        None => *instance.insert(version.pre.instantiate_async(&mut *store).await?),
    };
    job.call(Started { version, limits, store, instance }).await
}
