//! One attempt: a fresh store and instance, driven under both clocks, and what it came to.

use std::{
    any::Any,
    sync::Arc,
    time::{Duration, Instant},
};

use hookweir_event::{Clock, Event, Failure, LogLine, NewOutput, Outcome, StateChange};
use wasmtime::{Engine, Store, UpdateDeadline};

use crate::{
    Limits, NotRun, StateReader,
    bindings::plugin::exports::hookweir::plugin::handler,
    egress::Subject,
    guest::Guest,
    meter::{Meter, metered},
    outcome::{self, OverCpu},
    version::Inner,
};

/// What an attempt came to.
#[derive(Debug)]
pub struct Ran {
    /// The outputs, or why there are none.
    pub result: Result<Vec<NewOutput>, Failure>,
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
}

impl Ran {
    /// What is said of an attempt in which the host failed. It counts: else an event that brings this
    /// about would do so for ever.
    pub(crate) fn of_panic(panic: &(dyn Any + Send)) -> Self {
        let words = panic.downcast_ref::<&str>().map(|words| (*words).to_owned());
        let words = words.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        tracing::error!(panic = words, "the host panicked in an attempt");
        Self {
            result: Err(outcome::failure(Outcome::Trap, &format!("the gateway failed: {words}"))),
            state: Vec::new(),
            wall: Duration::ZERO,
            cpu: Duration::ZERO,
            memory_peak: 0,
            logs: Vec::new(),
        }
    }
}

/// Handles of resources that a guest may hold; the default of 100,000 costs the host megabytes.
const HANDLES: usize = 1000;
/// What a guest may hand over in one host call beside its outputs: a log line, a key.
const HOSTCALL_BYTES: usize = 1 << 20;

/// A store in which all limits hold.
pub(crate) fn store(
    engine: &Engine,
    version: &Arc<Inner>,
    clock: &Clock,
    state: Arc<dyn StateReader>,
) -> Store<Guest> {
    let limits = &version.limits;
    let mut store = Store::new(engine, Guest::new(Arc::clone(version), clock.clone(), state));
    store.limiter(|guest| &mut guest.limiter);
    // Twice the outputs' limit, so that one that is over it gets a message that says so.
    let outputs = usize::try_from(limits.output_bytes).unwrap_or(usize::MAX);
    store.set_hostcall_fuel(outputs.saturating_mul(2).saturating_add(HOSTCALL_BYTES));
    store.set_max_component_handles(HANDLES);
    // At each tick: is the budget spent? Then let others run.
    store.set_epoch_deadline(1);
    let budget = limits.cpu;
    store.epoch_deadline_callback(move |guest| {
        if guest.data().meter.spent_now() > budget {
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

/// One attempt, from an empty store to the last log line.
pub(crate) async fn run(
    engine: &Engine,
    (clock, state): (&Clock, Arc<dyn StateReader>),
    version: &Arc<Inner>,
    event: &Event,
    attempt: u32,
) -> Result<Ran, NotRun> {
    let started = Instant::now();
    let limits = &version.limits;
    let mut store = store(engine, version, clock, state);
    store.data_mut().subject = Some(subject(event));
    let (meter, logs) = (Arc::clone(&store.data().meter), store.data().logs.clone());
    let ended = bounded(Arc::clone(&meter), limits, async {
        let plugin = version.pre.instantiate_async(&mut store).await?;
        let handler = plugin.hookweir_plugin_handler();
        let (id, source) = (event.id.to_string(), event.origin.to_string());
        let (headers, attributes) = lists(event);
        let event = lent(event, attempt, &id, &source, &headers, &attributes);
        handler.call_handle(&mut store, event).await
    });
    let result = match ended.await {
        Ok(Ok(Ok(outputs))) => outcome::outputs(outputs, limits),
        Ok(Ok(Err(said))) => Err(outcome::failed(&said)),
        Ok(Err(error)) => match outcome::not_run(&error) {
            Some(fault) => return Err(fault),
            None => Err(outcome::trapped(&error, store.data(), limits)),
        },
        Err(timed_out) => Err(timed_out),
    };
    let memory_peak = store.data().limiter.peak();
    // A line without an end is written when its stream goes.
    let Guest { mut state, .. } = store.into_data();
    if let Some(reason) = state.unreadable() {
        return Err(NotRun::State(reason));
    }
    let state = match &result {
        Ok(_) => state.into_changes(),
        // What it saw must have been so; what a failed attempt wrote was never there.
        Err(failure) if failure.outcome == Outcome::Reject => state.into_reads(),
        Err(_) => Vec::new(),
    };
    let logs = logs.lock().finish();
    Ok(Ran { result, state, wall: started.elapsed(), cpu: meter.spent(), memory_peak, logs })
}

fn subject(event: &Event) -> Subject {
    let traceparent = event.attributes.iter().find(|(name, _)| name == "traceparent");
    Subject { event: event.id, traceparent: traceparent.map(|(_, value)| value.clone()) }
}

type Lists<'a> = (Vec<(&'a str, &'a [u8])>, Vec<(&'a str, &'a str)>);

fn lists(event: &Event) -> Lists<'_> {
    let headers = event.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice()));
    let attributes = event.attributes.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    (headers.collect(), attributes.collect())
}

/// The event as the contract has it. All is borrowed: the one copy is the one into the guest.
fn lent<'a>(
    event: &'a Event,
    attempt: u32,
    id: &'a str,
    source: &'a str,
    headers: &'a [(&'a str, &'a [u8])],
    attributes: &'a [(&'a str, &'a str)],
) -> handler::Event<'a> {
    handler::Event {
        id,
        source,
        event_type: event.event_type.as_str(),
        attempt,
        received_at_ms: u64::try_from(event.received_at.as_millis()).unwrap_or(0),
        method: &event.method,
        path: &event.path,
        query: event.query.as_deref(),
        headers,
        body: &event.body,
        attributes,
    }
}
