//! The contract's verbs, and what each promises.
//!
//! What keeps the promises is the engine that the store's location names; here is nothing of any. What an
//! engine must do is tested by one suite, `tests/conformance`.

use std::{fmt, sync::Arc, time::Duration};

use hookweir_event::{PluginName, StateChange};
use tokio::sync::watch;

use crate::{
    DeliveryId, Figures, Health, Heard, LeaseKey, Leased, Location, Mend, NewEvent, NewNotice,
    OpenError, Options, Pausable, Pause, Publishing, Reader, Receipt, Replay, Said, Settled,
    Settlement, StoreError, Want, Written,
    desk::{Desk, Engine},
    postgres,
    reader::Window,
    sqlite,
};

/// The store. Cheap to clone; dropping the last handle finishes what was asked, and waits for that.
///
/// From the moment a verb is called and did not fail at once, it belongs to the store: a caller that
/// goes away loses the answer, never the event.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

/// What the handles share. The desk is dropped first: that tells the engine to finish, and the engine, dropped, waits
/// until it has.
struct Shared {
    desk: Desk,
    _engine: Engine,
    reader: Reader,
    publishing: Option<Publishing>,
    /// Where other gateways are met, if there may be any.
    council: Option<postgres::Council>,
}

impl Store {
    /// Opens the store, and makes it if there is none. When this returns, all that was ever
    /// acknowledged is on disk, and the leases of other boots are free.
    ///
    /// # Errors
    /// If another process writes to it, if it is not ours or too new, or if it can't be read.
    pub async fn open(options: Options) -> Result<Self, OpenError> {
        let shared = match options.location.clone() {
            Location::Sqlite(file) => {
                let (desk, _engine, window) = sqlite::open(file, options).await?;
                let reader = Reader::new(Window::Sqlite(window));
                Shared { desk, _engine, reader, publishing: None, council: None }
            }
            Location::Postgres(database) => {
                let (desk, _engine, window, (publishing, council)) =
                    postgres::open(database, options).await?;
                let reader = Reader::new(Window::Postgres(window));
                let publishing = Some(Publishing::new(publishing));
                Shared { desk, _engine, reader, publishing, council: Some(council) }
            }
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Keeps an event with its claims and deliveries, or finds that it is a duplicate.
    ///
    /// # Errors
    /// [`StoreError::Overloaded`] at once if the queue is full; otherwise as the commit failed.
    pub async fn append(&self, event: NewEvent) -> Result<Receipt, StoreError> {
        self.shared.desk.append(event).await
    }

    /// Takes deliveries that are due. The lease is on disk before it is answered.
    ///
    /// # Errors
    /// As the commit failed; nothing is leased then.
    pub async fn lease(&self, wants: Vec<Want>) -> Result<Leased, StoreError> {
        self.shared.desk.lease(wants).await
    }

    /// Records an attempt, the delivery's fate and the outputs, all or nothing.
    ///
    /// # Errors
    /// As the commit failed; the lease is held still, and the settlement can be tried again.
    pub async fn settle(&self, settlement: Settlement) -> Result<Settled, StoreError> {
        self.shared.desk.settle(settlement).await
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
        self.shared.desk.give_back(leases, after).await
    }

    /// Has dead letters retried, skipped or discarded. Returns how many of those named were dead, or in the
    /// way of others; the rest is passed over, so that to ask twice does no more than to ask once. The store does ask
    /// twice where a connection broke: those that it had mended by then it does not count.
    ///
    /// # Errors
    /// As the commit failed; nothing is mended then.
    pub async fn mend(&self, which: Vec<DeliveryId>, how: Mend) -> Result<u64, StoreError> {
        self.shared.desk.mend(which, how).await
    }

    /// Has events delivered once more, with deliveries of their own. An event that is not kept any more is
    /// passed over. Returns how many deliveries were made.
    ///
    /// # Errors
    /// As the commit failed, or if an event would have more deliveries than it can; nothing is replayed
    /// then. Where the connection broke in the middle of the commit it may have been, and the reason says so.
    pub async fn replay(&self, replays: Vec<Replay>) -> Result<u64, StoreError> {
        self.shared.desk.replay(replays).await
    }

    /// Lets all lines of a plugin go on that a dead letter blocks: for one whose lines are not to be
    /// blocked, any more. Returns how many those were.
    ///
    /// # Errors
    /// As a commit failed: those go on of the commits before it, and the others do not.
    pub async fn unblock(&self, plugin: PluginName) -> Result<u64, StoreError> {
        self.shared.desk.unblock(plugin).await
    }

    /// Notes that something is paused, by whom and why: for whoever opens the store to hold to. Pausing what
    /// is paused changes by whom and why.
    ///
    /// # Errors
    /// As the commit failed; nothing is noted then.
    pub async fn pause(
        &self,
        what: Pausable,
        by: String,
        why: Option<String>,
    ) -> Result<Pause, StoreError> {
        self.shared.desk.pause(what, by, why).await
    }

    /// Notes that all of these go on, in one commit. False if none was paused.
    ///
    /// # Errors
    /// As the commit failed; what was paused is so still.
    pub async fn resume(
        &self,
        what: impl IntoIterator<Item = Pausable>,
    ) -> Result<bool, StoreError> {
        self.shared.desk.resume(what.into_iter().collect()).await
    }

    /// Changes a plugin's state alone, all or nothing, if all is as the changes rely on. It makes no event
    /// and settles nothing.
    ///
    /// # Errors
    /// [`StoreError::Overloaded`] at once if the queue is full, [`StoreError::Full`] if there is no room for
    /// events either; otherwise as the commit failed. Nothing is changed then. Where the connection broke in the
    /// middle of the commit it may have been, and the reason says so.
    pub async fn write_state(
        &self,
        plugin: PluginName,
        changes: Vec<StateChange>,
    ) -> Result<Written, StoreError> {
        self.shared.desk.write_state(plugin, changes).await
    }

    /// Keeps what was noticed, and the event that tells of it, if it is news: if what is raised was not, or
    /// what is cleared was raised. Returns whether it was. It goes on where there is no room for events of
    /// others, since that is one of the things that are noticed.
    ///
    /// # Errors
    /// As the commit failed; nothing is kept then.
    pub async fn notice(&self, notice: NewNotice) -> Result<bool, StoreError> {
        self.shared.desk.notice(notice).await
    }

    /// Whether other gateways may have the same store open.
    pub fn is_shared(&self) -> bool {
        self.shared.council.is_some()
    }

    /// Says something to the other gateways that have the store open, and hears what they say. The parts of a rate
    /// that gateways are answered are never more than the whole: whoever wants less than it had uses no more than
    /// that before it asks, and whoever was answered [`HOLDS`](crate::HOLDS) ago or more uses nothing. It is no work
    /// of the engine's, and waits for none. What was said is forgotten when the store is closed.
    ///
    /// # Errors
    /// As the commit failed. It may have taken place: who asked is heard by the others then, and does not know what
    /// it was answered.
    pub async fn confer(&self, said: Said) -> Result<Heard, StoreError> {
        let Some(council) = &self.shared.council else {
            let pauses = self.shared.reader.pauses().await;
            let pauses = pauses.map_err(|error| StoreError::Failed(error.to_string()))?;
            return Ok(Heard::alone(&said, pauses));
        };
        council.confer(said).await
    }

    /// What the store has done since it was opened.
    pub fn figures(&self) -> Figures {
        self.shared.desk.figures().read()
    }

    /// The bytes left on its disk, as they were within a second; the most there are if nobody can tell. Asking
    /// costs nothing.
    pub fn disk_left(&self) -> u64 {
        self.shared.desk.disk_left()
    }

    /// Changes after each commit that made work due, now or later. Subscribe before you look for
    /// work, and none is missed.
    pub fn wakeups(&self) -> watch::Receiver<u64> {
        self.shared.desk.wakeups()
    }

    /// Whether the store takes work.
    pub fn health(&self) -> watch::Receiver<Health> {
        self.shared.desk.health()
    }

    /// Looks on without being in the verbs' way.
    pub fn reader(&self) -> Reader {
        self.shared.reader.clone()
    }

    /// What gateways share of plugins' versions; none if the store is one gateway's alone.
    pub fn publishing(&self) -> Option<Publishing> {
        self.shared.publishing.clone()
    }

    /// Finishes what was asked, and ends. What other handles ask later is answered
    /// [`Closed`](StoreError::Closed).
    ///
    /// # Errors
    /// [`StoreError::Poisoned`] if a sync failed, now or before.
    pub async fn close(self) -> Result<(), StoreError> {
        self.shared.desk.close().await
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("reader", &self.reader()).finish_non_exhaustive()
    }
}
