//! A job's way: find all that is meant, then do it, the oldest first, some at a time.
//!
//! Ordered deliveries come back in the order of their keys only if the oldest go first, and a search finds
//! the newest first; so what is found is kept until all of it is.

use std::{sync::Arc, time::Duration};

use hookweir_event::{Clock, Event, EventId, PluginName, Timestamp};
use hookweir_store::{
    Cursor, DeliveryId, Mend, Page, ReadError, Reader, Replay, Route, StoreError,
};

use super::{Around, FOUND_MAX, Job, Stage, Work};
use crate::live::Live;

/// How many are looked for at once.
const PAGE: usize = 1000;
/// How many dead letters one commit mends, so that no answer to a sender waits long for it.
const MEND_AT_ONCE: usize = 200;
/// How many events one commit replays.
const REPLAY_AT_ONCE: usize = 100;
/// How long a job waits when the store refuses for now, and how often.
const PAUSE: Duration = Duration::from_millis(500);
const PAUSES_MAX: usize = 60;

/// Why a job goes no further.
enum Ended {
    Cancelled,
    Failed(String),
}

impl From<ReadError> for Ended {
    fn from(error: ReadError) -> Self {
        Self::Failed(error.to_string())
    }
}

/// One commit's part of a job.
enum Part {
    Mend(Vec<DeliveryId>, Mend),
    Replay(Vec<Replay>),
}

/// Ends a job that breaks off, with a panic or with its runtime: else it would run for ever, and keep one of the few
/// places that there are.
struct Ending {
    clock: Clock,
    job: Arc<Job>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        let mut progress = self.job.lock();
        if progress.stage.is_over() {
            return;
        }
        progress.ended_at = Some(self.clock.now());
        // Jobs are cancelled when the gateway stops, which may be over before they see it.
        if self.job.is_cancelled() {
            progress.stage = Stage::Cancelled;
            return;
        }
        progress.stage = Stage::Failed;
        progress.error.get_or_insert_with(|| "it broke off; the gateway's log says why".to_owned());
        tracing::error!(job = self.job.id, "a job broke off");
    }
}

/// A job on its way.
struct Walk {
    around: Around,
    job: Arc<Job>,
    /// With a connection of its own, so that operators who look on do not wait for it.
    reader: Reader,
}

/// Runs a job to its end. It has one also if it is never polled.
pub(super) fn run(around: Around, job: Arc<Job>) -> impl Future<Output = ()> + Send {
    let ending = Ending { clock: around.clock.clone(), job: job.clone() };
    async move {
        let _ending = ending;
        let reader = around.store.reader().apart();
        let walk = Walk { around, job, reader };
        let ended = match &walk.job.order.work {
            Work::Mend(how) => walk.mend_all(*how).await,
            Work::Replay { to, unless_replayed_since } => {
                walk.replay_all(to.as_ref(), *unless_replayed_since).await
            }
        };
        walk.end(ended);
    }
}

impl Walk {
    fn end(self, ended: Result<(), Ended>) {
        let Self { around, job, .. } = self;
        let mut progress = job.lock();
        progress.ended_at = Some(around.clock.now());
        progress.stage = match ended {
            Ok(()) => Stage::Done,
            Err(Ended::Cancelled) => Stage::Cancelled,
            Err(Ended::Failed(reason)) => {
                progress.error = Some(reason);
                Stage::Failed
            }
        };
        tracing::info!(
            job = job.id,
            by = job.order.by,
            stage = progress.stage.as_str(),
            found = progress.found,
            done = progress.done,
            passed = progress.passed,
            failed = progress.failed,
            error = progress.error,
            "a job has ended"
        );
    }

    /// Keeps what a page has. Answers where to go on, if there is more.
    fn keep<T>(&self, all: &mut Vec<T>, page: Page<T>) -> Result<Option<Cursor>, Ended> {
        all.extend(page.found);
        let mut progress = self.job.lock();
        progress.found = all.len() as u64;
        if all.len() > FOUND_MAX {
            let reason = format!("more than {FOUND_MAX} are meant; narrow the filter down");
            return Err(Ended::Failed(reason));
        }
        if self.job.is_cancelled() {
            return Err(Ended::Cancelled);
        }
        if page.next.is_none() {
            progress.stage = Stage::Running;
        }
        Ok(page.next)
    }

    /// The oldest of what is left; none when all is done.
    fn next<T>(&self, newest_first: &mut Vec<T>, at_once: usize) -> Result<Option<Vec<T>>, Ended> {
        if newest_first.is_empty() {
            return Ok(None);
        }
        if self.job.is_cancelled() {
            return Err(Ended::Cancelled);
        }
        let mut some = newest_first.split_off(newest_first.len().saturating_sub(at_once));
        some.reverse();
        Ok(Some(some))
    }

    /// Has the store do a part, and asks again while it refuses for now. What it says against the part
    /// itself is answered.
    async fn ask(&self, part: &Part) -> Result<Result<u64, String>, Ended> {
        let store = &self.around.store;
        let mut pauses = 0;
        loop {
            let answer = match part {
                Part::Mend(which, how) => store.mend(which.clone(), *how).await,
                Part::Replay(replays) => store.replay(replays.clone()).await,
            };
            match answer {
                Ok(count) => return Ok(Ok(count)),
                Err(StoreError::Failed(reason)) => return Ok(Err(reason)),
                Err(error) if error.retryable() && pauses < PAUSES_MAX => {
                    if self.job.is_cancelled() {
                        return Err(Ended::Cancelled);
                    }
                    pauses += 1;
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => return Err(Ended::Failed(error.to_string())),
            }
        }
    }

    async fn mend_all(&self, how: Mend) -> Result<(), Ended> {
        let (mut dead, mut from) = (Vec::new(), None);
        loop {
            let page = self.reader.delivery_ids(&self.job.order.filter, from, PAGE).await?;
            from = self.keep(&mut dead, page)?;
            if from.is_none() {
                break;
            }
        }
        while let Some(some) = self.next(&mut dead, MEND_AT_ONCE)? {
            if self.job.order.dry_run {
                self.count_mended(some.len(), some.len() as u64);
                continue;
            }
            let count = some.len();
            let part = Part::Mend(some, how);
            match (self.ask(&part).await?, part) {
                (Ok(mended), _) => self.count_mended(count, mended),
                // One of them is at fault, or the disk: each has its own chance. What the commit mended
                // all the same is passed over.
                (Err(_), Part::Mend(some, _)) => self.mend_each(some, how).await?,
                (Err(reason), Part::Replay(_)) => return Err(Ended::Failed(reason)),
            }
        }
        Ok(())
    }

    async fn mend_each(&self, some: Vec<DeliveryId>, how: Mend) -> Result<(), Ended> {
        for id in some {
            match self.ask(&Part::Mend(vec![id], how)).await? {
                Ok(mended) => self.count_mended(1, mended),
                Err(reason) => self.fails(format!("{id}: {reason}")),
            }
        }
        Ok(())
    }

    async fn replay_all(
        &self,
        to: Option<&PluginName>,
        unless_since: Option<Timestamp>,
    ) -> Result<(), Ended> {
        let started_at = self.reader.time(self.job.started_at).await?;
        let (mut events, mut from) = (Vec::new(), None);
        loop {
            let page = self.reader.search_ids(&self.job.order.filter, from, PAGE).await?;
            from = self.keep(&mut events, page)?;
            if from.is_none() {
                break;
            }
        }
        while let Some(some) = self.next(&mut events, REPLAY_AT_ONCE)? {
            let mut replays = Vec::with_capacity(some.len());
            for id in some {
                replays.extend(self.wanted(id, to, unless_since).await?);
            }
            let (events, made) =
                (replays.len(), replays.iter().map(|replay| replay.routes.len() as u64).sum());
            if self.job.order.dry_run {
                self.count_replayed(events, made);
                continue;
            }
            let part = Part::Replay(replays);
            match (self.ask(&part).await?, part) {
                (Ok(made), _) => self.count_replayed(events, made),
                (Err(_), Part::Replay(replays)) => self.replay_each(replays, started_at).await?,
                (Err(reason), Part::Mend(..)) => return Err(Ended::Failed(reason)),
            }
        }
        Ok(())
    }

    /// Each has its own chance. The commit may have survived that was said to have failed: what it made is
    /// not made once more. `since` is when the job began, by the store's time.
    async fn replay_each(&self, replays: Vec<Replay>, since: Timestamp) -> Result<(), Ended> {
        for replay in replays {
            let event = replay.event;
            let replay = self.without_done(replay, since).await?;
            match self.ask(&Part::Replay(vec![replay])).await? {
                Ok(made) => self.count_replayed(1, made),
                Err(reason) => self.fails(format!("{event}: {reason}")),
            }
        }
        Ok(())
    }

    /// An event with the deliveries that it is to have. Without any it is counted as passed over.
    async fn wanted(
        &self,
        id: EventId,
        to: Option<&PluginName>,
        unless_since: Option<Timestamp>,
    ) -> Result<Option<Replay>, Ended> {
        let event = match self.reader.event(id).await {
            Ok(event) => event,
            // It has rotted; the others are replayed.
            Err(ReadError::Failed(reason)) => {
                self.fails(format!("{id}: {reason}"));
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        let routes = {
            let live = self.around.board.load();
            event.map(|event| routes(&live, &event, to)).unwrap_or_default()
        };
        let mut replay = Replay { event: id, routes };
        if let Some(since) = unless_since {
            replay = self.without_done(replay, since).await?;
        }
        if replay.routes.is_empty() {
            self.job.lock().passed += 1;
            return Ok(None);
        }
        Ok(Some(replay))
    }

    /// Without the plugins that were replayed it since then.
    async fn without_done(&self, replay: Replay, since: Timestamp) -> Result<Replay, Ended> {
        let shown = self.reader.show(replay.event).await?;
        let deliveries = shown.map(|shown| shown.deliveries).unwrap_or_default();
        let is_done = |route: &Route| {
            deliveries.iter().any(|delivery| {
                delivery.plugin == route.plugin
                    && delivery.replayed_at.is_some_and(|at| at >= since)
            })
        };
        let routes = replay.routes.into_iter().filter(|route| !is_done(route)).collect();
        Ok(Replay { routes, ..replay })
    }

    fn count_mended(&self, asked: usize, mended: u64) {
        let mut progress = self.job.lock();
        progress.done += mended;
        progress.passed += (asked as u64).saturating_sub(mended);
    }

    fn count_replayed(&self, events: usize, made: u64) {
        let mut progress = self.job.lock();
        progress.done += events as u64;
        progress.deliveries += made;
    }

    fn fails(&self, reason: String) {
        let mut progress = self.job.lock();
        progress.failed += 1;
        progress.error.get_or_insert(reason);
    }
}

/// Where a replay of an event goes: to the plugin, whatever it subscribes to, or to all that subscribe now.
pub(crate) fn routes(live: &Live, event: &Event, to: Option<&PluginName>) -> Vec<Route> {
    match to {
        None => live.route(event),
        Some(name) => {
            let order_by = live.plugins().get(name).and_then(|plugin| plugin.order_by.as_ref());
            let order_key = order_by.and_then(|order_by| order_by.key(event));
            vec![Route { plugin: name.clone(), order_key }]
        }
    }
}
