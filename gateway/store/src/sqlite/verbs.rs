//! What travels between the handles and the writer.

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use hookweir_event::{
    Change, Digest, Event, EventId, EventType, Exchanges, Hops, Origin, PluginName, StateChange,
    Timestamp,
};
use tokio::sync::{oneshot, watch};

use super::{blocks::Term, codec, notices::Notice};
use crate::{
    DeliveryId, Health, LeaseKey, Leased, Mend, NewEvent, Pausable, Pause, Receipt, Replay, Route,
    Settled, Settlement, StoreError, StoreVerb, Want, Written, figures::Counting,
};

/// What the writer is asked to do. Applied by reference, so that it can be run again.
#[derive(Debug)]
pub(super) enum Verb {
    Append(Append),
    Lease(Vec<Want>),
    Settle(Settlement),
    GiveBack(Vec<LeaseKey>, Duration),
    Mend(Vec<DeliveryId>, Mend),
    Unblock(PluginName),
    Replay(Vec<Replay>),
    WriteState(PluginName, Vec<StateChange>),
    Notice(Notice),
    /// By whom, and why.
    Pause(Pausable, String, Option<String>),
    /// All of them, in one commit.
    Resume(Vec<Pausable>),
}

impl Verb {
    /// Whether it comes from outside, and is refused where there is too little room on the disk. What the
    /// back half asks for goes on.
    pub(super) fn wants_room(&self) -> bool {
        matches!(self, Self::Append(_) | Self::WriteState(..))
    }

    /// Which verb it is.
    pub(super) fn word(&self) -> StoreVerb {
        match self {
            Self::Append(_) => StoreVerb::Append,
            Self::Lease(_) => StoreVerb::Lease,
            Self::Settle(_) => StoreVerb::Settle,
            Self::GiveBack(..) => StoreVerb::GiveBack,
            Self::Mend(..) => StoreVerb::Mend,
            Self::Unblock(_) => StoreVerb::Unblock,
            Self::Replay(_) => StoreVerb::Replay,
            Self::WriteState(..) => StoreVerb::WriteState,
            Self::Notice(_) => StoreVerb::Notice,
            Self::Pause(..) => StoreVerb::Pause,
            Self::Resume(_) => StoreVerb::Resume,
        }
    }

    /// What has to be written for it, give or take.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Append(new) => new.body.len(),
            Self::Settle(settlement) => {
                let outputs = settlement.outputs.iter().map(|output| output.event.body.len());
                let sent = settlement.exchanges.as_ref().map_or(0, Exchanges::bytes);
                outputs.sum::<usize>() + written(&settlement.state) + sent
            }
            Self::WriteState(_, changes) => written(changes),
            Self::Lease(_)
            | Self::GiveBack(..)
            | Self::Mend(..)
            | Self::Unblock(_)
            | Self::Replay(_)
            | Self::Pause(..)
            | Self::Resume(_) => 0,
            Self::Notice(notice) => notice.append.body.len(),
        }
    }
}

fn written(changes: &[StateChange]) -> usize {
    let bytes = changes.iter().map(|change| match &change.change {
        Change::Set { value, .. } => change.key.len() + value.len(),
        Change::Keep | Change::Delete => 0,
    });
    bytes.sum()
}

/// A [`NewEvent`] as the writer needs it. Made by who appends: encoding an event and letting go of its
/// parts is not for the one thread that all wait for.
#[derive(Debug)]
pub(super) struct Append {
    pub(super) id: EventId,
    pub(super) origin: Origin,
    pub(super) event_type: EventType,
    pub(super) received_at: Timestamp,
    pub(super) hops: Hops,
    pub(super) envelope: Vec<u8>,
    pub(super) body: Vec<u8>,
    pub(super) claims: Vec<Digest>,
    pub(super) dedupe_window: Duration,
    pub(super) routes: Vec<Route>,
    pub(super) terms: Vec<Term>,
}

impl From<NewEvent> for Append {
    fn from(new: NewEvent) -> Self {
        let NewEvent { event, claims, dedupe_window, routes } = new;
        let mut envelope = Vec::with_capacity(512);
        codec::write_envelope(&event, &mut envelope);
        let terms = terms(&event, &claims, &routes);
        let Event { id, origin, event_type, received_at, hops, body, .. } = event;
        Self {
            id,
            origin,
            event_type,
            received_at,
            hops,
            envelope,
            body,
            claims,
            dedupe_window,
            routes,
            terms,
        }
    }
}

/// What an event is searched by.
pub(super) fn terms(event: &Event, claims: &[Digest], routes: &[Route]) -> Vec<Term> {
    let mut terms = vec![Term::origin(&event.origin), Term::event_type(&event.event_type)];
    terms.extend(claims.iter().map(Term::claim));
    terms.extend(routes.iter().map(|route| Term::plugin(&route.plugin)));
    terms.extend(routes.iter().filter_map(|route| route.order_key.as_ref()).map(Term::order_key));
    terms
}

/// What came of it, one variant for each verb.
#[derive(Debug)]
pub(super) enum Done {
    Append(Receipt),
    Lease(Leased),
    Settle(Settled),
    GiveBack,
    /// How many.
    Mended(u64),
    /// How many deliveries were made.
    Replayed(u64),
    WroteState(Written),
    /// Whether it was news.
    Noticed(bool),
    Paused(Pause),
    /// Whether any of them was paused.
    Resumed(bool),
}

/// The answer goes to whoever asked, if that one still waits.
pub(super) type Reply = oneshot::Sender<Result<Done, StoreError>>;

/// What travels to the writer.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly all are `Do`")]
pub(super) enum Op {
    /// Apply a verb and answer.
    Do(Verb, Reply),
    /// A second has passed: see whether commits work again, and what is to be forgotten.
    Tick,
    /// Finish what is queued, and take nothing more.
    Close,
}

/// What the engine tells the handles without being asked.
#[derive(Debug, Clone)]
pub(super) struct Signals {
    pub(super) wakeups: watch::Sender<u64>,
    pub(super) health: watch::Sender<Health>,
    /// Set when the writer has ended.
    pub(super) finished: watch::Sender<Option<Result<(), StoreError>>>,
    pub(super) figures: Arc<Counting>,
    /// Bytes left on the disk when that was looked at last; the most there are if nobody can tell.
    pub(super) left: Arc<AtomicU64>,
}
