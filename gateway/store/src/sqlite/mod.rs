//! The SQLite engine. Its constraints and invariants:
//!
//! - One thread owns the one connection that writes; a lock file keeps other processes out.
//! - What waits in the queue is taken together: one transaction, one sync of the log, then the answers.
//!   Nothing is answered before that sync; if the commit fails, every operation in it fails.
//! - An operation fails alone: only if one is itself at fault is its batch rolled back and run again
//!   with a savepoint around each, since savepoints cost and such operations are rare.
//! - The events of a commit are one row (`parcels`).
//! - A delivery has a row only when something out of the ordinary happened to it (`fresh`). One with a row
//!   is open while `settled_at` is null, and leased while `boot` is not null. The one index on deliveries
//!   covers open ones only, and no column that a lease changes.
//! - Event, delivery and attempt share one key space (`schema`): their tables grow at the end.
//! - A claim is one more random page. New ones are kept in memory and in a table that grows at its end,
//!   and reach their table in the order of keys, many to a page (`claims`).
//! - Time is the store's own and never goes back (`steady`).
//! - What is over is forgotten in small steps, in the transactions of other work (`retain`).
//! - What events are searched by is written once for each thousand (`blocks`).
//! - Pages go from the log to the database file on another thread; the writer itself copies only the
//!   short rest, after which the log starts anew. That bounds the log at 64 MiB.
//! - After a failed sync nobody knows what is on disk: the engine is poisoned and touches nothing more.

pub(crate) mod anchor;
mod append;
pub(crate) mod blocks;
mod checkpoint;
pub(crate) mod claims;
pub(crate) mod codec;
pub(crate) mod deliver;
mod fault;
mod filter;
pub(crate) mod fresh;
mod known;
pub(crate) mod memory;
mod open;
pub(crate) mod order;
pub(crate) mod parcels;
pub(crate) mod recount;
mod retain;
pub(crate) mod schema;
pub(crate) mod stand;
mod state;
mod steady;
mod writer;

pub(crate) use self::open::{lock, recognise};
use self::{anchor::Anchor, blocks::Term, open::folder_of};
use std::time::Duration;

use hookweir_event::{Digest, Event, EventId, EventType, Hops, Origin, PluginName, Timestamp};
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    DeliveryId, Health, LeaseKey, Leased, Mend, NewEvent, OpenError, Options, Receipt, Replay,
    Route, Settled, Settlement, StoreError, Want,
};

/// What the writer is asked to do. Applied by reference, so that it can be run again.
#[derive(Debug)]
pub(crate) enum Verb {
    Append(Append),
    Lease(Vec<Want>),
    Settle(Settlement),
    GiveBack(Vec<LeaseKey>, Duration),
    Mend(Vec<DeliveryId>, Mend),
    Unblock(PluginName),
    Replay(Vec<Replay>),
}

/// A [`NewEvent`] as the writer needs it. Made by who appends: encoding an event and letting go of its
/// parts is not for the one thread that all wait for.
#[derive(Debug)]
pub(crate) struct Append {
    id: EventId,
    origin: Origin,
    event_type: EventType,
    received_at: Timestamp,
    hops: Hops,
    envelope: Vec<u8>,
    body: Vec<u8>,
    claims: Vec<Digest>,
    dedupe_window: Duration,
    routes: Vec<Route>,
    terms: Vec<Term>,
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
fn terms(event: &Event, claims: &[Digest], routes: &[Route]) -> Vec<Term> {
    let mut terms = vec![Term::origin(&event.origin), Term::event_type(&event.event_type)];
    terms.extend(claims.iter().map(Term::claim));
    terms.extend(routes.iter().map(|route| Term::plugin(&route.plugin)));
    terms.extend(routes.iter().filter_map(|route| route.order_key.as_ref()).map(Term::order_key));
    terms
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
}

/// The answer goes to whoever asked, if that one still waits.
pub(crate) type Reply = oneshot::Sender<Result<Done, StoreError>>;

/// What travels to the writer.
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
    /// Set when the writer has ended.
    pub(crate) finished: watch::Sender<Option<Result<(), StoreError>>>,
}

/// Opens the database on a thread of its own, answers `opened`, then serves until the queue's last
/// sender is gone or [`Op::Close`] arrives.
pub(crate) fn run(
    options: &Options,
    queue: mpsc::Receiver<Op>,
    (back, anchor): (mpsc::WeakSender<Op>, &Anchor),
    signals: &Signals,
    opened: oneshot::Sender<Result<(), OpenError>>,
) {
    let (database, checkpointer) = match open::open(options, back, anchor) {
        Ok(ready) => ready,
        Err(error) => {
            let _ = opened.send(Err(error));
            return;
        }
    };
    let _ = opened.send(Ok(()));
    writer::Writer::new(options, database, checkpointer, signals).serve(queue);
}
