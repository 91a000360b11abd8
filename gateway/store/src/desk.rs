//! Where verbs are handed in, whichever engine does them: queued, and answered when they are done.
//!
//! From the moment an operation is queued it belongs to the engine: a caller that goes away loses the
//! answer, never the event.

use std::{
    io,
    sync::{Arc, atomic::Ordering},
    thread::JoinHandle,
    time::Duration,
};

use hookweir_event::{PluginName, StateChange};
use tokio::sync::{
    mpsc::{self, error::TrySendError},
    oneshot, watch,
};

use crate::{
    DeliveryId, Health, LeaseKey, Leased, Mend, NewEvent, NewNotice, Pausable, Pause, Receipt,
    Replay, Settled, Settlement, StoreError, Want, Written,
    figures::Counting,
    verbs::{Append, Done, Given, Notice, Op, Signals, Terms, Verb},
};

/// Of an engine's thread. A batch is one deep future; without optimisation it was seen to need more than the usual 2 MiB.
/// What is not touched takes no memory.
const STACK: usize = 16 << 20;

/// An engine's thread. Dropped, it waits until that has ended, which it does when the desk is gone.
pub(crate) struct Engine {
    thread: Option<JoinHandle<()>>,
}

impl Engine {
    /// Starts a thread that serves a desk. If it ends and did not say that it finished, the handles are told that the
    /// store is poisoned.
    pub(crate) fn start(
        name: &str,
        signals: &Signals,
        serve: impl FnOnce() + Send + 'static,
    ) -> io::Result<Self> {
        let farewell = Farewell(signals.clone());
        let thread = std::thread::Builder::new().name(name.to_owned()).stack_size(STACK);
        let thread = thread.spawn(move || {
            let _farewell = farewell;
            serve();
        })?;
        Ok(Self { thread: Some(thread) })
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Why an engine answers nothing any more that did not finish.
pub(crate) const ENDED_EARLY: &str = "the store's thread ended early";

/// Tells the handles when the engine ended, and when it did so before its time.
struct Farewell(Signals);

impl Drop for Farewell {
    fn drop(&mut self) {
        let in_time = self.0.finished.borrow().is_some();
        if !in_time {
            let reason = ENDED_EARLY.to_owned();
            self.0.health.send_replace(Health::Poisoned(reason.clone()));
            self.0.finished.send_replace(Some(Err(StoreError::Poisoned(reason))));
        }
    }
}

/// The queue of an engine, and what the engine tells. Dropped, it tells the engine to finish what is queued.
pub(crate) struct Desk {
    queue: mpsc::Sender<Op>,
    signals: Signals,
    terms: Terms,
}

impl Desk {
    /// The desk of an engine that takes from the other end of the queue.
    pub(crate) fn new(queue: mpsc::Sender<Op>, signals: Signals, terms: Terms) -> Self {
        Self { queue, signals, terms }
    }

    pub(crate) async fn append(&self, event: NewEvent) -> Result<Receipt, StoreError> {
        match self.ask_now(Verb::Append(Append::new(event, self.terms))).await? {
            Done::Append(receipt) => Ok(receipt),
            _ => unreachable!("invariant: each verb is answered by its own variant"),
        }
    }

    pub(crate) async fn lease(&self, wants: Vec<Want>) -> Result<Leased, StoreError> {
        match self.ask(Verb::Lease(wants)).await? {
            Done::Lease(leased) => Ok(leased),
            _ => unreachable!("invariant: each verb is answered by its own variant"),
        }
    }

    pub(crate) async fn settle(&self, settlement: Settlement) -> Result<Settled, StoreError> {
        match self.ask(Verb::Settle(settlement)).await? {
            Done::Settle(settled) => Ok(settled),
            _ => unreachable!("invariant: each verb is answered by its own variant"),
        }
    }

    pub(crate) async fn give_back(
        &self,
        leases: Vec<LeaseKey>,
        after: Duration,
    ) -> Result<(), StoreError> {
        match self.ask(Verb::GiveBack(leases, after)).await? {
            Done::GiveBack => Ok(()),
            _ => unreachable!("invariant: each verb is answered by its own variant"),
        }
    }

    pub(crate) async fn mend(&self, which: Vec<DeliveryId>, how: Mend) -> Result<u64, StoreError> {
        match self.ask(Verb::Mend(which, how)).await? {
            Done::Mended(count) => Ok(count),
            _ => unreachable!("invariant: each verb is answered by its own variant"),
        }
    }

    pub(crate) async fn replay(&self, replays: Vec<Replay>) -> Result<u64, StoreError> {
        match self.ask(Verb::Replay(replays)).await? {
            Done::Replayed(count) => Ok(count),
            _ => unreachable!("invariant: each verb is answered by its own variant"),
        }
    }

    /// Asks until nothing is left: an engine lets so many go on at once as are quickly done.
    pub(crate) async fn unblock(&self, plugin: PluginName) -> Result<u64, StoreError> {
        let mut all = 0;
        loop {
            match self.ask(Verb::Unblock(plugin.clone())).await? {
                Done::Mended(0) => return Ok(all),
                Done::Mended(count) => all += count,
                _ => unreachable!("invariant: each verb is answered by its own variant"),
            }
        }
    }

    pub(crate) async fn pause(
        &self,
        what: Pausable,
        by: String,
        why: Option<String>,
    ) -> Result<Pause, StoreError> {
        match self.ask(Verb::Pause(what, by, why)).await? {
            Done::Paused(pause) => Ok(pause),
            _ => unreachable!("invariant: each verb is answered by its own variant"),
        }
    }

    pub(crate) async fn resume(&self, what: Vec<Pausable>) -> Result<bool, StoreError> {
        match self.ask(Verb::Resume(what)).await? {
            Done::Resumed(was_paused) => Ok(was_paused),
            _ => unreachable!("invariant: each verb is answered by its own variant"),
        }
    }

    pub(crate) async fn write_state(
        &self,
        plugin: PluginName,
        changes: Vec<StateChange>,
    ) -> Result<Written, StoreError> {
        match self.ask_now(Verb::WriteState(plugin, changes, Given::default())).await? {
            Done::WroteState(written) => Ok(written),
            _ => unreachable!("invariant: each verb is answered by its own variant"),
        }
    }

    pub(crate) async fn notice(&self, notice: NewNotice) -> Result<bool, StoreError> {
        match self.ask(Verb::Notice(Notice::new(notice, self.terms))).await? {
            Done::Noticed(news) => Ok(news),
            _ => unreachable!("invariant: each verb is answered by its own variant"),
        }
    }

    pub(crate) fn figures(&self) -> Arc<Counting> {
        self.signals.figures.clone()
    }

    pub(crate) fn disk_left(&self) -> u64 {
        self.signals.left.load(Ordering::Relaxed)
    }

    pub(crate) fn wakeups(&self) -> watch::Receiver<u64> {
        self.signals.wakeups.subscribe()
    }

    pub(crate) fn health(&self) -> watch::Receiver<Health> {
        self.signals.health.subscribe()
    }

    pub(crate) async fn close(&self) -> Result<(), StoreError> {
        let mut finished = self.signals.finished.subscribe();
        // Closed already is as good.
        let _ = self.queue.send(Op::Close).await;
        let ended = finished.wait_for(Option::is_some).await;
        ended.map_or(Err(StoreError::Closed), |ended| ended.clone().unwrap_or(Ok(())))
    }

    /// Refused at once if the queue is full: what comes from outside has no other bound.
    async fn ask_now(&self, verb: Verb) -> Result<Done, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.queue.try_send(Op::Do(verb, reply)).map_err(|error| match error {
            TrySendError::Full(_) => self.counted(StoreError::Overloaded),
            TrySendError::Closed(_) => self.counted(self.why_closed()),
        })?;
        self.answer(answer).await
    }

    /// Waits for a place in the queue: the back half's verbs are bounded by its own limits, and a
    /// settlement must not get lost in a flood of appends.
    async fn ask(&self, verb: Verb) -> Result<Done, StoreError> {
        let (reply, answer) = oneshot::channel();
        let sent = self.queue.send(Op::Do(verb, reply)).await;
        sent.map_err(|_| self.counted(self.why_closed()))?;
        self.answer(answer).await
    }

    async fn answer(
        &self,
        answer: oneshot::Receiver<Result<Done, StoreError>>,
    ) -> Result<Done, StoreError> {
        answer.await.unwrap_or_else(|_| Err(self.why_closed()))
    }

    /// An operation that did not reach the writer, which counts all others.
    fn counted(&self, error: StoreError) -> StoreError {
        self.signals.figures.failed(&error);
        error
    }

    fn why_closed(&self) -> StoreError {
        match &*self.signals.health.borrow() {
            Health::Poisoned(reason) => StoreError::Poisoned(reason.clone()),
            Health::Ready | Health::Refusing(_) => StoreError::Closed,
        }
    }
}
