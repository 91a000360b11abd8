//! The handle: sends operations to the writer thread and waits for its answers.
//!
//! From the moment an operation is queued it belongs to the store: a caller that goes away loses the
//! answer, never the event.

use std::{fmt, sync::Arc, thread::JoinHandle, time::Duration};

use hookweir_event::PluginName;
use tokio::sync::{
    mpsc::{self, error::TrySendError},
    oneshot, watch,
};

use crate::{
    DeliveryId, Health, LeaseKey, Leased, Mend, NewEvent, OpenError, Options, Reader, Receipt,
    Replay, Settled, Settlement, StoreError, Want,
    sqlite::{self, Done, Op, Signals, Verb, anchor::Anchor},
};

/// The store. Cheap to clone; dropping the last handle finishes what is queued, checkpoints, syncs
/// and ends the threads, and waits for that.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    /// Present until the drop.
    queue: Option<mpsc::Sender<Op>>,
    thread: Option<JoinHandle<()>>,
    signals: Signals,
    reader: Reader,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Tells the handles when the writer ended, and when it did so before its time.
struct Farewell(Signals);

impl Drop for Farewell {
    fn drop(&mut self) {
        let in_time = self.0.finished.borrow().is_some();
        if !in_time {
            let reason = "the writer ended early".to_owned();
            self.0.health.send_replace(Health::Poisoned(reason.clone()));
            self.0.finished.send_replace(Some(Err(StoreError::Poisoned(reason))));
        }
    }
}

impl Store {
    /// Opens the store, and makes it if there is none. When this returns, all that was ever
    /// acknowledged is on disk, and the leases of other boots are free.
    ///
    /// # Errors
    /// If another process writes to it, if the file is not ours or too new, or if it can't be read.
    pub async fn open(options: Options) -> Result<Self, OpenError> {
        let (queue, operations) = mpsc::channel(options.queue.max(1));
        let signals = Signals {
            wakeups: watch::Sender::new(0),
            health: watch::Sender::new(Health::Ready),
            finished: watch::Sender::new(None),
        };
        let anchor = Anchor::default();
        let reader = Reader::new(options.path.clone(), options.vfs.clone(), anchor.clone());
        let path = options.path.clone();
        let (opened, ready) = oneshot::channel();
        let (back, told) = (queue.downgrade(), signals.clone());
        let thread = std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || {
                let _farewell = Farewell(told.clone());
                sqlite::run(&options, operations, (back, &anchor), &told, opened);
            })
            .map_err(|source| OpenError::File { path: path.clone(), source })?;
        let shared = Shared { queue: Some(queue), thread: Some(thread), signals, reader };
        let store = Self { shared: Arc::new(shared) };
        match ready.await {
            Ok(opened) => opened.map(|()| store),
            Err(_) => Err(OpenError::Engine { path, reason: "the writer ended early".into() }),
        }
    }

    /// Keeps an event with its claims and deliveries, or finds that it is a duplicate.
    ///
    /// # Errors
    /// [`StoreError::Overloaded`] at once if the queue is full; otherwise as the commit failed.
    pub async fn append(&self, event: NewEvent) -> Result<Receipt, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.queue()?.try_send(Op::Do(Verb::Append(event.into()), reply)).map_err(|error| {
            match error {
                TrySendError::Full(_) => StoreError::Overloaded,
                TrySendError::Closed(_) => self.why_closed(),
            }
        })?;
        match self.answer(answer).await? {
            Done::Append(receipt) => Ok(receipt),
            _ => unreachable!("invariant: each verb is answered by its own variant"),
        }
    }

    /// Takes deliveries that are due. The lease is on disk before it is answered.
    ///
    /// # Errors
    /// As the commit failed; nothing is leased then.
    pub async fn lease(&self, wants: Vec<Want>) -> Result<Leased, StoreError> {
        match self.ask(Verb::Lease(wants)).await? {
            Done::Lease(leased) => Ok(leased),
            _ => unreachable!("invariant: each verb is answered by its own variant"),
        }
    }

    /// Records an attempt, the delivery's fate and the outputs, all or nothing.
    ///
    /// # Errors
    /// As the commit failed; the lease is held still, and the settlement can be tried again.
    pub async fn settle(&self, settlement: Settlement) -> Result<Settled, StoreError> {
        match self.ask(Verb::Settle(settlement)).await? {
            Done::Settle(settled) => Ok(settled),
            _ => unreachable!("invariant: each verb is answered by its own variant"),
        }
    }

    /// Returns leases unused, for faults of the gateway's own: the attempts are not counted, and the
    /// deliveries are due again after the wait. Leases that are not held any more are passed over.
    ///
    /// # Errors
    /// As the commit failed; the leases are held still.
    pub async fn give_back(
        &self,
        leases: Vec<LeaseKey>,
        after: Duration,
    ) -> Result<(), StoreError> {
        match self.ask(Verb::GiveBack(leases, after)).await? {
            Done::GiveBack => Ok(()),
            _ => unreachable!("invariant: each verb is answered by its own variant"),
        }
    }

    /// Has dead letters retried or skipped. Returns how many of those named were dead, or in the way of
    /// others; the rest is passed over.
    ///
    /// # Errors
    /// As the commit failed; nothing is mended then.
    pub async fn mend(&self, which: Vec<DeliveryId>, how: Mend) -> Result<u64, StoreError> {
        match self.ask(Verb::Mend(which, how)).await? {
            Done::Mended(count) => Ok(count),
            _ => unreachable!("invariant: each verb is answered by its own variant"),
        }
    }

    /// Has events delivered once more, with deliveries of their own. An event that is not kept any more is
    /// passed over. Returns how many deliveries were made.
    ///
    /// # Errors
    /// As the commit failed, or if an event would have more deliveries than it can; nothing is replayed
    /// then.
    pub async fn replay(&self, replays: Vec<Replay>) -> Result<u64, StoreError> {
        match self.ask(Verb::Replay(replays)).await? {
            Done::Replayed(count) => Ok(count),
            _ => unreachable!("invariant: each verb is answered by its own variant"),
        }
    }

    /// Lets all lines of a plugin go on that a dead letter blocks: for one whose lines are not to be
    /// blocked, any more. Returns how many those were.
    ///
    /// # Errors
    /// As the commit failed; nothing goes on then.
    pub async fn unblock(&self, plugin: PluginName) -> Result<u64, StoreError> {
        match self.ask(Verb::Unblock(plugin)).await? {
            Done::Mended(count) => Ok(count),
            _ => unreachable!("invariant: each verb is answered by its own variant"),
        }
    }

    /// Changes after each commit that made work due, now or later. Subscribe before you look for
    /// work, and none is missed.
    pub fn wakeups(&self) -> watch::Receiver<u64> {
        self.shared.signals.wakeups.subscribe()
    }

    /// Whether the store takes work.
    pub fn health(&self) -> watch::Receiver<Health> {
        self.shared.signals.health.subscribe()
    }

    /// Reads on a connection of its own, without being in the writer's way.
    pub fn reader(&self) -> Reader {
        self.shared.reader.clone()
    }

    /// Finishes what is queued, checkpoints, syncs, and ends. Operations of other handles that come
    /// later are answered [`Closed`](StoreError::Closed).
    ///
    /// # Errors
    /// [`StoreError::Poisoned`] if a sync failed, now or before.
    pub async fn close(self) -> Result<(), StoreError> {
        let mut finished = self.shared.signals.finished.subscribe();
        // Closed already is as good.
        let _ = self.queue()?.send(Op::Close).await;
        let ended = finished.wait_for(Option::is_some).await;
        ended.map_or(Err(StoreError::Closed), |ended| ended.clone().unwrap_or(Ok(())))
    }

    /// Waits for a place in the queue: the back half's verbs are bounded by its own limits, and a
    /// settlement must not get lost in a flood of appends.
    async fn ask(&self, verb: Verb) -> Result<Done, StoreError> {
        let (reply, answer) = oneshot::channel();
        let sent = self.queue()?.send(Op::Do(verb, reply)).await;
        sent.map_err(|_| self.why_closed())?;
        self.answer(answer).await
    }

    async fn answer(
        &self,
        answer: oneshot::Receiver<Result<Done, StoreError>>,
    ) -> Result<Done, StoreError> {
        answer.await.unwrap_or_else(|_| Err(self.why_closed()))
    }

    fn queue(&self) -> Result<&mpsc::Sender<Op>, StoreError> {
        self.shared.queue.as_ref().ok_or(StoreError::Closed)
    }

    fn why_closed(&self) -> StoreError {
        match &*self.shared.signals.health.borrow() {
            Health::Poisoned(reason) => StoreError::Poisoned(reason.clone()),
            Health::Ready | Health::Refusing(_) => StoreError::Closed,
        }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("reader", &self.shared.reader).finish_non_exhaustive()
    }
}
