//! The engine's handle: sends operations to the writer thread and waits for its answers.
//!
//! From the moment an operation is queued it belongs to the engine: a caller that goes away loses the
//! answer, never the event.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use hookweir_event::{PluginName, StateChange};
use tokio::sync::{
    mpsc::{self, WeakSender, error::TrySendError},
    oneshot, watch,
};

use super::{Done, Op, Signals, Verb, anchor::Anchor, open, window::Window, writer::Writer};
use crate::{
    DeliveryId, Health, LeaseKey, Leased, Mend, NewEvent, NewNotice, OpenError, Options, Pausable,
    Pause, Receipt, Replay, Settled, Settlement, SqliteFile, StoreError, Want, Written,
    figures::Counting,
};

/// The engine. Dropped, it finishes what is queued, checkpoints, syncs and ends its threads, and waits
/// for that.
pub(crate) struct Engine {
    /// Present until the drop.
    queue: Option<mpsc::Sender<Op>>,
    thread: Option<JoinHandle<()>>,
    signals: Signals,
    window: Window,
}

impl Drop for Engine {
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

impl Engine {
    pub(crate) async fn open(file: SqliteFile, options: Options) -> Result<Self, OpenError> {
        let (queue, operations) = mpsc::channel(options.queue.max(1));
        let signals = Signals {
            wakeups: watch::Sender::new(0),
            health: watch::Sender::new(Health::Ready),
            finished: watch::Sender::new(None),
            figures: Arc::default(),
            left: Arc::new(AtomicU64::new(u64::MAX)),
        };
        let anchor = Anchor::default();
        let window = Window::beside(file.clone(), anchor.clone());
        let path = file.path.clone();
        let (opened, ready) = oneshot::channel();
        let (back, told) = (queue.downgrade(), signals.clone());
        let thread = std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || {
                let _farewell = Farewell(told.clone());
                run((&file, &options), operations, (back, &anchor), &told, opened);
            })
            .map_err(|source| OpenError::File { path: path.clone(), source })?;
        let engine = Self { queue: Some(queue), thread: Some(thread), signals, window };
        match ready.await {
            Ok(opened) => opened.map(|()| engine),
            Err(_) => Err(OpenError::Engine { path, reason: "the writer ended early".into() }),
        }
    }

    pub(crate) async fn append(&self, event: NewEvent) -> Result<Receipt, StoreError> {
        match self.ask_now(Verb::Append(event.into())).await? {
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

    pub(crate) async fn unblock(&self, plugin: PluginName) -> Result<u64, StoreError> {
        match self.ask(Verb::Unblock(plugin)).await? {
            Done::Mended(count) => Ok(count),
            _ => unreachable!("invariant: each verb is answered by its own variant"),
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
        match self.ask_now(Verb::WriteState(plugin, changes)).await? {
            Done::WroteState(written) => Ok(written),
            _ => unreachable!("invariant: each verb is answered by its own variant"),
        }
    }

    pub(crate) async fn notice(&self, notice: NewNotice) -> Result<bool, StoreError> {
        match self.ask(Verb::Notice(notice.into())).await? {
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

    pub(crate) fn window(&self) -> Window {
        self.window.clone()
    }

    pub(crate) async fn close(&self) -> Result<(), StoreError> {
        let mut finished = self.signals.finished.subscribe();
        // Closed already is as good.
        let _ = self.queue()?.send(Op::Close).await;
        let ended = finished.wait_for(Option::is_some).await;
        ended.map_or(Err(StoreError::Closed), |ended| ended.clone().unwrap_or(Ok(())))
    }

    /// Refused at once if the queue is full: what comes from outside has no other bound.
    async fn ask_now(&self, verb: Verb) -> Result<Done, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.queue()?.try_send(Op::Do(verb, reply)).map_err(|error| match error {
            TrySendError::Full(_) => self.counted(StoreError::Overloaded),
            TrySendError::Closed(_) => self.counted(self.why_closed()),
        })?;
        self.answer(answer).await
    }

    /// Waits for a place in the queue: the back half's verbs are bounded by its own limits, and a
    /// settlement must not get lost in a flood of appends.
    async fn ask(&self, verb: Verb) -> Result<Done, StoreError> {
        let (reply, answer) = oneshot::channel();
        let sent = self.queue()?.send(Op::Do(verb, reply)).await;
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

    fn queue(&self) -> Result<&mpsc::Sender<Op>, StoreError> {
        self.queue.as_ref().ok_or(StoreError::Closed)
    }

    fn why_closed(&self) -> StoreError {
        match &*self.signals.health.borrow() {
            Health::Poisoned(reason) => StoreError::Poisoned(reason.clone()),
            Health::Ready | Health::Refusing(_) => StoreError::Closed,
        }
    }
}

/// The writer thread: opens the database, answers `opened`, then serves until the queue's last sender is
/// gone or [`Op::Close`] arrives.
fn run(
    (file, options): (&SqliteFile, &Options),
    queue: mpsc::Receiver<Op>,
    (back, anchor): (WeakSender<Op>, &Anchor),
    signals: &Signals,
    opened: oneshot::Sender<Result<(), OpenError>>,
) {
    let (database, checkpointer) = match open::open(file, options, back, anchor) {
        Ok(ready) => ready,
        Err(error) => {
            let _ = opened.send(Err(error));
            return;
        }
    };
    let _ = opened.send(Ok(()));
    Writer::new(file, database, checkpointer, signals).serve(queue);
}
