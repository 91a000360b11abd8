//! The fourth stage: makes an admitted request durable. The only place that appends to the store,
//! and so the only one that ever holds a fresh [`Receipt`].

use hookweir_event::{Event, EventId, Hops, Origin};
use hookweir_store::{NewEvent, Receipt, Store, StoreError};

use super::{Refusal, admit::Admitted};
use crate::{
    live::Live,
    trace::{self, Context},
};

/// Who gets the event is fixed here, by the routes in force now.
pub(super) async fn append(
    store: &Store,
    live: &Live,
    admitted: Admitted,
    chance: [u8; 10],
    span: Option<Context>,
) -> Result<Receipt, Refusal> {
    let (source, verified, received_at) = admitted.into_parts();
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
    let routes = live.route(&event);
    let event = NewEvent {
        event,
        claims: parts.claims,
        dedupe_window: source.config.dedupe_window,
        routes,
    };
    store.append(event).await.map_err(|error| refusal(&error))
}

/// What a sender is told of a store that did not take its event. Nothing of it was kept.
pub(super) fn refusal(error: &StoreError) -> Refusal {
    match error {
        StoreError::Overloaded => Refusal::Overloaded,
        StoreError::Poisoned(_) => Refusal::StorePoisoned,
        StoreError::Closed => Refusal::ShuttingDown,
        StoreError::Full | StoreError::Busy | StoreError::Failed(_) => Refusal::StoreRefuses,
    }
}
