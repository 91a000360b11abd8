//! The one door from intake to the plugins: to those that answer requests, and to those that verify them
//! before anything is stored.
//!
//! What goes through is bounded: each plugin's api and each source's verifier has its own number of calls
//! at a time and a short line in front of it; the host has instances apart from those of events. Calls run
//! where guests run, and end when nobody waits for them any more.

mod api;
mod reply;
mod turns;
mod verifier;

use std::sync::Arc;

use hookweir_host::{Host, NotRun, Ran};
use hookweir_store::Store;
use tokio::sync::{Semaphore, oneshot};

pub(super) use self::{
    api::{is_api, plugin},
    turns::{Turn, Turns},
    verifier::Clerk,
};
use super::receive::RequestId;
use crate::tasks::Spawner;

/// What calls through the door stand on.
pub(crate) struct Door {
    host: Host,
    spawner: Spawner,
    store: Store,
    /// For answers on their way, in KiB.
    answers: Arc<Semaphore>,
}

/// Memory for answers that are being made or wait for their readers, in KiB: 64 of the largest.
const ANSWERS_MAX: usize = 256 << 10;

impl Door {
    /// A door to the plugins of this host, whose changes of state go into this store.
    pub(crate) fn new(host: Host, spawner: Spawner, store: Store) -> Self {
        Self { host, spawner, store, answers: Arc::new(Semaphore::new(ANSWERS_MAX)) }
    }

    /// Runs a call on the guests' runtime and waits for it. It keeps its turn until it has ended, also
    /// when the one who asked is gone.
    async fn run<T: Send + 'static>(
        &self,
        turn: Arc<Turn>,
        call: impl Future<Output = Result<T, NotRun>> + Send + 'static,
    ) -> Result<T, NotRun> {
        let (mut answer, answered) = oneshot::channel();
        self.spawner.guest(async move {
            let _turn = turn;
            tokio::select! {
                ran = call => drop(answer.send(ran)),
                () = answer.closed() => {}
            }
        });
        // Nobody drops the answer but a runtime that ends.
        answered.await.unwrap_or(Err(NotRun::ShuttingDown))
    }
}

/// What the plugin logged goes into the gateway's own log: there is no attempt to keep it with.
fn tell_logs<T>(ran: &Ran<T>, plugin: &str, request: RequestId) {
    for line in &ran.logs {
        tracing::debug!(target: "hookweir::plugin", %plugin, request_id = %request, level = ?line.level, "{}", line.text);
    }
}
