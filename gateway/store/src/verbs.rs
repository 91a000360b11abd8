//! What travels between the handles and an engine.

use std::{
    sync::{Arc, Mutex, atomic::AtomicU64},
    time::Duration,
};

use hookweir_event::{
    Change, Digest, Event, EventId, EventType, Exchanges, Hops, Origin, PluginName, StateChange,
    Timestamp,
};
use tokio::sync::{oneshot, watch};

use crate::{
    DeliveryId, Health, LeaseKey, Leased, Mend, NewEvent, NewNotice, Pausable, Pause, Receipt,
    Replay, Route, Settled, Settlement, StoreError, StoreVerb, Want, Written, codec,
    figures::Counting, term::Term,
};

/// What an engine is asked to do. Applied by reference, so that it can be run again.
#[derive(Debug)]
pub(crate) enum Verb {
    Append(Append),
    Lease(Vec<Want>),
    Settle(Settlement),
    GiveBack(Vec<LeaseKey>, Duration),
    Mend(Vec<DeliveryId>, Mend),
    /// Some of those that are blocked, if there are any.
    Unblock(PluginName),
    Replay(Vec<Replay>),
    WriteState(PluginName, Vec<StateChange>, Given),
    Notice(Notice),
    /// By whom, and why.
    Pause(Pausable, String, Option<String>),
    /// All of them, in one commit.
    Resume(Vec<Pausable>),
}

impl Verb {
    /// Whether it comes from outside, and is refused where there is too little room on the disk. What the
    /// back half asks for goes on.
    pub(crate) fn wants_room(&self) -> bool {
        matches!(self, Self::Append(_) | Self::WriteState(..))
    }

    /// Which verb it is.
    pub(crate) fn word(&self) -> StoreVerb {
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
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Append(new) => new.body.len(),
            Self::Settle(settlement) => {
                let outputs = settlement.outputs.iter().map(|output| output.event.body.len());
                let sent = settlement.exchanges.as_ref().map_or(0, Exchanges::bytes);
                outputs.sum::<usize>() + written(&settlement.state) + sent
            }
            Self::WriteState(_, changes, _) => written(changes),
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

/// The versions that entries were given each time that a write was done: they tell whether one was committed of which
/// nobody heard. Nobody else is ever given them.
pub(crate) type Given = Mutex<Vec<i64>>;

fn written(changes: &[StateChange]) -> usize {
    let bytes = changes.iter().map(|change| match &change.change {
        Change::Set { value, .. } => change.key.len() + value.len(),
        Change::Keep | Change::Delete => 0,
    });
    bytes.sum()
}

/// A [`NewEvent`] as an engine needs it. Made by who appends: encoding an event and letting go of its
/// parts is not for the one thread that all wait for.
#[derive(Debug)]
pub(crate) struct Append {
    pub(crate) id: EventId,
    pub(crate) origin: Origin,
    pub(crate) event_type: EventType,
    pub(crate) received_at: Timestamp,
    pub(crate) hops: Hops,
    pub(crate) envelope: Vec<u8>,
    pub(crate) body: Vec<u8>,
    pub(crate) claims: Vec<Digest>,
    pub(crate) dedupe_window: Duration,
    pub(crate) routes: Vec<Route>,
    /// Empty, if the engine searches in another way.
    pub(crate) terms: Vec<Term>,
}

/// What an event is searched by.
pub(crate) type Terms = fn(&Event, &[Digest], &[Route]) -> Vec<Term>;

impl Append {
    pub(crate) fn new(new: NewEvent, terms: Terms) -> Self {
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

/// A [`NewNotice`] as an engine needs it.
#[derive(Debug)]
pub(crate) struct Notice {
    pub(crate) name: String,
    pub(crate) raised: bool,
    pub(crate) append: Append,
}

impl Notice {
    pub(crate) fn new(new: NewNotice, terms: Terms) -> Self {
        let NewNotice { name, raised, event, routes } = new;
        let (claims, dedupe_window) = (Vec::new(), Duration::ZERO);
        let append = Append::new(NewEvent { event, claims, dedupe_window, routes }, terms);
        Self { name, raised, append }
    }
}

/// What came of it, one variant for each verb.
#[derive(Debug)]
pub(crate) enum Done {
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
pub(crate) type Reply = oneshot::Sender<Result<Done, StoreError>>;

/// What travels to an engine.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly all are `Do`")]
pub(crate) enum Op {
    /// Apply a verb and answer.
    Do(Verb, Reply),
    /// A second has passed: see whether commits work again, and what is to be forgotten.
    Tick,
    /// Finish what is queued, and take nothing more.
    Close,
}

/// What the engine tells the handles without being asked.
#[derive(Debug, Clone)]
pub(crate) struct Signals {
    pub(crate) wakeups: watch::Sender<u64>,
    pub(crate) health: watch::Sender<Health>,
    /// Set when the engine has ended.
    pub(crate) finished: watch::Sender<Option<Result<(), StoreError>>>,
    pub(crate) figures: Arc<Counting>,
    /// Bytes left on the disk when that was looked at last; the most there are if nobody can tell.
    pub(crate) left: Arc<AtomicU64>,
}

impl Default for Signals {
    /// Of an engine that just began, and is well.
    fn default() -> Self {
        Self {
            wakeups: watch::Sender::new(0),
            health: watch::Sender::new(Health::Ready),
            finished: watch::Sender::new(None),
            figures: Arc::default(),
            left: Arc::new(AtomicU64::new(u64::MAX)),
        }
    }
}
