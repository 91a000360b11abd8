//! One attempt: call, decide, settle. Runs on the guests' runtime, in a task of its own.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use hookweir_event::{
    Attempt, Clock, Event, EventId, Fate, Hops, NewOutput, OrderKey, Origin, Outcome, Timestamp,
};
use hookweir_host::{Host, NotRun, Ran, Version};
use hookweir_store::{Lease, Output, Settled, Settlement, Store, StoreError};

use super::{decide::decide, place::Place};
use crate::{
    chance::Chance,
    config::Policy,
    live::Board,
    metrics::figures::AttemptFigures,
    tasks::Stop,
    trace::{self, Begun, Context, Fact, Kind, Tracer},
};

/// How long a delivery waits that the gateway itself could not run. No attempt is counted.
const REQUEUE: Duration = Duration::from_millis(100);
/// How long a settlement waits for a store that refuses, at first and at most.
const SETTLE_PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// What every attempt stands on.
#[derive(Clone)]
pub(super) struct Bench {
    pub(super) board: Arc<Board>,
    pub(super) store: Store,
    pub(super) host: Host,
    pub(super) clock: Clock,
    pub(super) chance: Chance,
    pub(super) tracer: Tracer,
    /// Asked when the grace time is over.
    pub(super) cut: Stop,
}

/// What runs an attempt, and where it is counted.
pub(super) struct Run {
    pub(super) version: Version,
    pub(super) policy: Policy,
    pub(super) figures: AttemptFigures,
}

/// Runs a lease to its end, whatever that is. The place is free after that.
pub(super) async fn run(bench: Bench, mut lease: Lease, run: Run, mut place: Place) {
    for attribute in told(lease.order_key.as_ref(), lease.replayed_at) {
        // Nobody else has the event, so that nothing is copied.
        Arc::make_mut(&mut lease.event).attributes.push(attribute);
    }
    let mut span = bench.begin(&lease, &run.version);
    let calling = span.child("call");
    enter(&mut lease, &calling);
    let mut cut = bench.cut.clone();
    // Cutting it off drops the call, and with it the instance.
    let called = tokio::select! {
        called = bench.host.call(&run.version, &lease.event, lease.attempt) => called,
        () = cut.asked() => Err(NotRun::ShuttingDown),
    };
    drop(calling);
    enter(&mut lease, &span);
    match called {
        Ok(ran) => {
            let outcome =
                ran.result.as_ref().map_or_else(|failure| failure.outcome, |_| Outcome::Done);
            place.end(outcome, Instant::now());
            run.figures.ran(outcome, ran.wall, ran.cpu, ran.memory_peak);
            span.note("hookweir.outcome", || Fact::named(&outcome));
            if outcome != Outcome::Done {
                // What the plugin says of it may quote anything, and stays here.
                span.fail(|| outcome.to_string());
            }
            let _settling = span.child("settle");
            bench.settle(lease, &run, ran).await;
        }
        Err(fault) => {
            span.fail(|| fault.to_string());
            tracing::warn!(event_id = %lease.event.id, trace_id = trace::id(&lease.event.attributes), plugin = %lease.plugin, %fault, "not run; will be");
            bench.give_back(&lease, REQUEUE).await;
        }
    }
}

/// Returns a lease for which nothing is to run now: it is due as before. Its place, if it has one, is free after that, so that
/// the gateway's end waits for it.
pub(super) async fn put_back(bench: Bench, lease: Lease, place: Option<Place>) {
    bench.give_back(&lease, Duration::ZERO).await;
    drop(place);
}

/// What is made or sent from here on is part of this span, if it is one.
fn enter(lease: &mut Lease, span: &Begun) {
    if let Some(context) = span.context() {
        trace::enter(&mut Arc::make_mut(&mut lease.event).attributes, context);
    }
}

/// What the plugin is told that is the delivery's and not the event's.
pub(crate) fn told(
    order_key: Option<&OrderKey>,
    replayed_at: Option<Timestamp>,
) -> impl Iterator<Item = (String, String)> {
    let order_key = order_key.map(|key| ("order-key".to_owned(), key.to_string()));
    let replayed_at =
        replayed_at.map(|at| ("replayed-at-ms".to_owned(), at.as_millis().to_string()));
    [order_key, replayed_at].into_iter().flatten()
}

impl Bench {
    /// The span of an attempt on an event whose trace is recorded.
    fn begin(&self, lease: &Lease, version: &Version) -> Begun {
        let Lease { event, plugin, attempt, .. } = lease;
        let parent = || Context::of(&event.attributes);
        let mut span = self.tracer.go_on(Kind::Consumer, parent, || format!("attempt {plugin}"));
        span.note("hookweir.plugin", || Fact::named(plugin));
        span.note("hookweir.version", || Fact::Text(version.digest().short()));
        span.note("hookweir.event", || Fact::named(&event.id));
        span.note("hookweir.event_type", || Fact::named(&event.event_type));
        span.note("hookweir.attempt", || Fact::Number((*attempt).into()));
        span
    }

    async fn settle(&self, lease: Lease, run: &Run, ran: Ran) {
        let Run { version, policy, figures } = run;
        let Ran { result, state, wall, cpu, logs, exchanges, .. } = ran;
        let chance = self.chance.number();
        let verdict = result.as_ref().map(|_| ());
        let uncounted = lease.lost_leases + lease.excused;
        let fate = decide(verdict, lease.attempt, uncounted, policy, chance);
        report(&lease, result.as_ref().err(), fate, wall);
        let (outcome, message) = match &result {
            Ok(_) => (Outcome::Done, None),
            Err(failure) => (failure.outcome, Some(failure.message.clone())),
        };
        let outputs = result.unwrap_or_default();
        let settlement = Settlement {
            key: lease.key.clone(),
            attempt: Attempt { outcome, message, version: Some(version.digest()), wall, cpu, logs },
            fate,
            outputs: outputs.into_iter().map(|output| self.output(&lease, output)).collect(),
            state,
            exchanges,
        };
        let committed = self.commit(&lease, settlement).await;
        // One that an operator had retried took as long as the operator did.
        if committed && !matches!(fate, Fate::Due { .. }) && lease.excused == 0 {
            let since = lease.replayed_at.unwrap_or(lease.committed_at);
            figures.handled(self.clock.now().since(since));
        }
    }

    /// An output becomes an event: it gets an id and a route. Its origin says who made it, so it
    /// can't pass for a verified webhook.
    fn output(&self, lease: &Lease, output: NewOutput) -> Output {
        let now = self.clock.now();
        let mut attributes = output.attributes;
        trace::follow(&mut attributes, &lease.event.attributes);
        let event = Event {
            id: EventId::new(now, self.chance.bytes()),
            origin: Origin::Plugin(lease.plugin.clone()),
            event_type: output.event_type,
            received_at: now,
            method: "POST".into(),
            path: String::new(),
            query: None,
            headers: output.headers,
            body: output.body,
            attributes,
            hops: Hops::default(),
        };
        let routes = self.board.load().route(&event);
        Output { event, routes }
    }

    /// Settles until the store takes it or never will. A full disk must not make the gateway forget
    /// what a plugin did: the lease is kept, and with it the slot, so nothing piles up. Says whether it was
    /// committed.
    async fn commit(&self, lease: &Lease, settlement: Settlement) -> bool {
        let (mut pause, longest) = SETTLE_PAUSE;
        loop {
            match self.store.settle(settlement.clone()).await {
                Ok(Settled::Committed) => return true,
                Ok(Settled::Conflict) => {
                    tracing::debug!(event_id = %lease.event.id, trace_id = trace::id(&lease.event.attributes), plugin = %lease.plugin, "its state was changed meanwhile; runs again");
                    return false;
                }
                Ok(Settled::LeaseLost) => {
                    tracing::warn!(event_id = %lease.event.id, trace_id = trace::id(&lease.event.attributes), plugin = %lease.plugin, "lease was lost; its outcome is dropped");
                    return false;
                }
                Err(StoreError::Poisoned(_) | StoreError::Closed) => return false,
                Err(error) => {
                    tracing::warn!(event_id = %lease.event.id, trace_id = trace::id(&lease.event.attributes), plugin = %lease.plugin, %error, "failed to settle; trying again");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(longest);
                }
            }
        }
    }

    /// Returns a lease unused, which is due `after` that, until the store takes it or never will: what kept the plugin from
    /// running may be that the store is away, and nobody else would run the delivery as long as this process lives.
    async fn give_back(&self, lease: &Lease, after: Duration) {
        let (mut pause, longest) = SETTLE_PAUSE;
        loop {
            match self.store.give_back(vec![lease.key.clone()], after).await {
                Ok(()) | Err(StoreError::Poisoned(_) | StoreError::Closed) => return,
                Err(error) => {
                    tracing::warn!(event_id = %lease.event.id, trace_id = trace::id(&lease.event.attributes), plugin = %lease.plugin, %error, "failed to give a lease back; trying again");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(longest);
                }
            }
        }
    }
}

/// One line for an attempt: quiet for what went well.
fn report(
    lease: &Lease,
    failure: Option<&hookweir_event::Failure>,
    fate: hookweir_event::Fate,
    wall: Duration,
) {
    let Lease { event, plugin, attempt, .. } = lease;
    let wall_us = u64::try_from(wall.as_micros()).unwrap_or(u64::MAX);
    let trace_id = || trace::id(&event.attributes);
    match (failure, fate) {
        (None, _) => {
            tracing::debug!(event_id = %event.id, trace_id = trace_id(), %plugin, attempt, wall_us, "done");
        }
        (Some(failure), hookweir_event::Fate::Due { after }) => tracing::info!(
            event_id = %event.id, trace_id = trace_id(), %plugin, attempt, wall_us, outcome = %failure.outcome,
            message = failure.message, due_in_ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX), "will be tried again"
        ),
        (Some(failure), _) => tracing::warn!(
            event_id = %event.id, trace_id = trace_id(), %plugin, attempt, wall_us, outcome = %failure.outcome,
            message = failure.message, "dead letter"
        ),
    }
}
