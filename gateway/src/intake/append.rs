//! The fourth stage: makes an admitted request durable. The only place that appends to the store,
//! and so the only one that ever holds a fresh [`Receipt`].

use std::{
    pin::Pin,
    task::{Context as Waker, Poll},
};

use hookweir_event::{Clock, Event, EventId, Hops, Origin};
use hookweir_store::{NewEvent, Receipt, Store, StoreError};

use super::{Refusal, admit::Admitted, desk::Desk};
use crate::{
    budget::Shed,
    tasks::Spawner,
    trace::{self, Context},
};

/// Where events are kept.
pub(super) struct Ledger {
    pub(super) store: Store,
    pub(super) clock: Clock,
    pub(super) spawner: Spawner,
}

/// Who gets the event is fixed here, by the routes in force now.
pub(super) async fn append(
    ledger: &Ledger,
    desk: &Desk,
    admitted: Admitted,
    chance: [u8; 10],
    span: Option<Context>,
) -> Result<Receipt, Refusal> {
    let (source, verified, received_at, held) = admitted.into_parts();
    let parts = verified.into_parts();
    let mut attributes: Vec<_> = trace::parent(&parts.headers).into_iter().collect();
    // What is done with the event is done in the trace of its receipt.
    if let Some(span) = span {
        trace::enter(&mut attributes, span);
    }
    let event = Event {
        id: EventId::new(received_at, chance),
        origin: Origin::Source(source.name.clone()),
        event_type: parts.event_type,
        received_at,
        method: parts.method,
        path: parts.path,
        query: parts.query,
        headers: parts.headers,
        body: parts.body.into(),
        attributes,
        hops: Hops::default(),
    };
    let routes = desk.live.route(&event);
    let event = NewEvent {
        event,
        claims: parts.claims,
        dedupe_window: source.config.dedupe_window,
        routes,
    };
    let (store, clock, budget) = (ledger.store.clone(), ledger.clock.clone(), desk.budget.clone());
    let work = async move {
        let begun = clock.ticks();
        let receipt = store.append(event).await;
        if receipt.is_ok() {
            budget.places.took(clock.ticks().saturating_sub(begun));
        }
        drop(held);
        receipt
    };
    let keeping = Keeping { work: Some(Box::pin(work)), spawner: ledger.spawner.clone() };
    keeping.await.map_err(|error| refusal(&error))
}

/// An append on its way. It goes on when its sender hangs up, since the event is the store's by then: and until
/// it is on disk it holds its memory and its place, which nobody frees by hanging up.
struct Keeping {
    work: Option<Pin<Box<Work>>>,
    spawner: Spawner,
}

type Work = dyn Future<Output = Result<Receipt, StoreError>> + Send;

impl Future for Keeping {
    type Output = Result<Receipt, StoreError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Waker<'_>) -> Poll<Self::Output> {
        let Some(work) = &mut self.work else { return Poll::Ready(Err(StoreError::Closed)) };
        let kept = work.as_mut().poll(cx);
        if kept.is_ready() {
            self.work = None;
        }
        kept
    }
}

impl Drop for Keeping {
    fn drop(&mut self) {
        if let Some(work) = self.work.take() {
            self.spawner.ingress(async move { drop(work.await) });
        }
    }
}

/// What a sender is told of a store that did not take its event. Nothing of it was kept.
pub(super) fn refusal(error: &StoreError) -> Refusal {
    match error {
        StoreError::Overloaded => Refusal::Overloaded(Shed::StoreQueue),
        StoreError::Poisoned(_) => Refusal::StorePoisoned,
        StoreError::Closed => Refusal::ShuttingDown,
        StoreError::Full | StoreError::Busy | StoreError::Failed(_) => Refusal::StoreRefuses,
    }
}
