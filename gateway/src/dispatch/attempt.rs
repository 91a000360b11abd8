//! One attempt: call, decide, settle. Runs on the guests' runtime, in a task of its own.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use hookweir_event::{Attempt, Clock, Event, EventId, Fate, Hops, NewOutput, Origin, Outcome};
use hookweir_host::{Host, NotRun, Ran, Version};
use hookweir_store::{Lease, Output, Settled, Settlement, Store, StoreError};

use super::{decide::decide, place::Place};
use crate::{
    chance::Chance, config::Policy, live::Board, metrics::figures::AttemptFigures, tasks::Stop,
    trace,
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
    describe(&mut lease);
    let mut cut = bench.cut.clone();
    // Cutting it off drops the call, and with it the instance.
    let called = tokio::select! {
        called = bench.host.call(&run.version, &lease.event, lease.attempt) => called,
        () = cut.asked() => Err(NotRun::ShuttingDown),
    };
    match called {
        Ok(ran) => {
            let outcome =
                ran.result.as_ref().map_or_else(|failure| failure.outcome, |_| Outcome::Done);
            place.end(outcome, Instant::now());
            run.figures.ran(outcome, ran.wall, ran.cpu, ran.memory_peak);
            bench.settle(lease, &run, ran).await;
        }
        Err(fault) => bench.give_back(lease, fault).await,
    }
}

/// Tells the plugin what is the delivery's and not the event's.
fn describe(lease: &mut Lease) {
    let order_key = lease.order_key.as_ref().map(|key| ("order-key", key.to_string()));
    let replayed_at = lease.replayed_at.map(|at| ("replayed-at-ms", at.as_millis().to_string()));
    for (name, value) in [order_key, replayed_at].into_iter().flatten() {
        // Nobody else has the event, so that nothing is copied.
        Arc::make_mut(&mut lease.event).attributes.push((name.to_owned(), value));
    }
}

impl Bench {
    async fn settle(&self, lease: Lease, run: &Run, ran: Ran) {
        let Run { version, policy, figures } = run;
        let Ran { result, state, wall, cpu, logs, .. } = ran;
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
                    tracing::debug!(event_id = %lease.event.id, plugin = %lease.plugin, "its state was changed meanwhile; runs again");
                    return false;
                }
                Ok(Settled::LeaseLost) => {
                    tracing::warn!(event_id = %lease.event.id, plugin = %lease.plugin, "lease was lost; its outcome is dropped");
                    return false;
                }
                Err(StoreError::Poisoned(_) | StoreError::Closed) => return false,
                Err(error) => {
                    tracing::warn!(event_id = %lease.event.id, plugin = %lease.plugin, %error, "failed to settle; trying again");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(longest);
                }
            }
        }
    }

    async fn give_back(&self, lease: Lease, fault: NotRun) {
        tracing::warn!(event_id = %lease.event.id, plugin = %lease.plugin, %fault, "not run; will be");
        give_back(&self.store, lease, REQUEUE).await;
    }
}

/// Returns a lease unused. If even that fails, the lease is freed when the store is next opened.
pub(super) async fn give_back(store: &Store, lease: Lease, after: Duration) {
    if let Err(error) = store.give_back(vec![lease.key], after).await {
        tracing::warn!(event_id = %lease.event.id, plugin = %lease.plugin, %error, "failed to give a lease back");
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
    match (failure, fate) {
        (None, _) => {
            tracing::debug!(event_id = %event.id, %plugin, attempt, wall_us, "done");
        }
        (Some(failure), hookweir_event::Fate::Due { after }) => tracing::info!(
            event_id = %event.id, %plugin, attempt, wall_us, outcome = %failure.outcome,
            message = failure.message, due_in_ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX), "will be tried again"
        ),
        (Some(failure), _) => tracing::warn!(
            event_id = %event.id, %plugin, attempt, wall_us, outcome = %failure.outcome,
            message = failure.message, "dead letter"
        ),
    }
}
