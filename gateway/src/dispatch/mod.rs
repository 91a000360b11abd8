//! The back half of the line: lease, call, decide, settle.
//!
//! The driver sleeps until something can have changed: a commit that made work due, a slot that came
//! free, a retry's time, a rate's refill, a breaker's probe, a swapped plugin. It looks after it has registered for the
//! change, so that none is missed. Knows nothing of where events come from.

mod attempt;
mod breaker;
mod decide;
mod elsewhere;
mod monitor;
mod place;
mod rounds;
mod slots;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use hookweir_event::{Clock, PluginName};
use hookweir_host::Host;
use hookweir_store::{Lease, Leased, Store, StoreError, Want};
use tokio::sync::Notify;

pub use self::monitor::{Monitor, OpenBreaker, Seen};
pub(crate) use self::{attempt::told, elsewhere::Breakers, rounds::Rounds};
use self::{
    attempt::{Bench, Run},
    place::Place,
    slots::{Runnable, Slots},
};
use crate::{
    chance::Chance,
    health::Health,
    limits::SharedRates,
    live::{Board, Live, Plugin},
    order::OnDead,
    pauses::Pauses,
    tasks::{Spawner, Stop, Stopper},
    trace::Tracer,
};

/// The longest sleep, so that a change that nobody announced is found at all.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);
/// How long the store may take to take back what the end of the grace time cut off.
const GIVE_BACK: Duration = Duration::from_secs(5);
/// How long the driver waits after the store refused.
const STORE_PAUSE: Duration = Duration::from_millis(500);

/// The back half over a store.
pub struct Dispatch {
    bench: Bench,
    spawner: Spawner,
    changed: Arc<Notify>,
    health: Arc<Health>,
    pauses: Pauses,
    slots: Arc<Mutex<Slots>>,
    freed: Arc<Notify>,
    rounds: Rounds,
    cut: Stopper,
}

/// What made the driver look again.
enum Cause {
    Stop,
    Look,
    Swapped,
}

/// How much may run at the same time, whatever the plugins are.
#[derive(Debug, Clone, Copy)]
pub struct Capacity {
    /// Attempts.
    pub instances: usize,
    /// Memory granted to them, in bytes.
    pub memory: u64,
}

impl Dispatch {
    /// A driver over these. `changed` is notified when what is in force was swapped, pauses included;
    /// outcomes go to `health`.
    pub(crate) fn new(
        board: Arc<Board>,
        store: Store,
        host: Host,
        (clock, chance, tracer): (Clock, Chance, Tracer),
        capacity: Capacity,
        spawner: Spawner,
        (changed, health, pauses, rates): (Arc<Notify>, Arc<Health>, Pauses, Arc<SharedRates>),
    ) -> Self {
        let slots = Slots::new(capacity.instances, capacity.memory, rates);
        let (cut, asked) = Stopper::new();
        Self {
            bench: Bench { board, store, host, clock, chance, tracer, cut: asked },
            spawner,
            changed,
            health,
            pauses,
            slots: Arc::new(Mutex::new(slots)),
            freed: Arc::new(Notify::new()),
            rounds: Rounds::default(),
            cut,
        }
    }

    /// Tells operators how it goes.
    pub fn monitor(&self) -> Monitor {
        Monitor { slots: self.slots.clone(), clock: self.bench.clock.clone() }
    }

    /// What other gateways are told of its breakers, and tell of theirs.
    pub(crate) fn breakers(&self) -> Breakers {
        Breakers { slots: self.slots.clone(), freed: self.freed.clone() }
    }

    /// Tells whoever would restart it whether it goes round.
    pub(crate) fn rounds(&self) -> Rounds {
        self.rounds.clone()
    }

    /// Runs until `stop`, then waits up to `grace` for what runs. What is left after that is given
    /// back. Returns how many those are.
    pub async fn run(self, mut stop: Stop, grace: Duration) -> usize {
        let mut wakeups = self.bench.store.wakeups();
        let mut swapped = true;
        loop {
            if stop.is_asked() {
                break;
            }
            self.rounds.begin();
            // Registered before looking: what happens from here on wakes the driver.
            wakeups.mark_unchanged();
            let (changed, freed) = (self.changed.notified(), self.freed.notified());
            tokio::pin!(changed, freed);
            // One that was announced since the last look is taken here: whoever waits for `changed` hears of it, and if
            // nobody does, since there is more to start at once, nobody tells of it again.
            swapped |= changed.as_mut().enable();
            freed.as_mut().enable();
            if swapped {
                swapped = self.unblock().await.is_err();
            }
            let sleep = match self.look().await {
                Ok(Some(_)) if swapped => STORE_PAUSE,
                Ok(Some(sleep)) => sleep,
                Ok(None) => continue,
                Err(StoreError::Closed | StoreError::Poisoned(_)) => LONGEST_SLEEP,
                Err(error) => {
                    tracing::warn!(%error, "failed to lease; trying again");
                    STORE_PAUSE
                }
            };
            let cause = tokio::select! {
                biased;
                () = stop.asked() => Cause::Stop,
                woken = wakeups.changed() => if woken.is_ok() { Cause::Look } else { Cause::Stop },
                () = &mut freed => Cause::Look,
                () = &mut changed => Cause::Swapped,
                () = self.rounds.asked() => Cause::Look,
                () = tokio::time::sleep(sleep) => Cause::Look,
            };
            match cause {
                Cause::Stop => break,
                Cause::Look => {}
                Cause::Swapped => swapped = true,
            }
        }
        self.rounds.end();
        self.drain(grace).await
    }

    /// Lets keys go on that dead letters block and should not, after a change of the plugin's policy or
    /// a death by a lost lease, of which only the store knows.
    async fn unblock(&self) -> Result<(), StoreError> {
        let live = self.bench.board.load_full();
        let goes_on = |plugin: &Plugin| plugin.policy.order_on_dead == OnDead::Continue;
        for (name, _) in live.plugins().iter().filter(|(_, plugin)| goes_on(plugin)) {
            self.bench.store.unblock(name.clone()).await?;
        }
        Ok(())
    }

    /// Leases what may start and starts it. Answers how long nothing will change by itself, or
    /// nothing if there is more to do at once.
    async fn look(&self) -> Result<Option<Duration>, StoreError> {
        let live = self.bench.board.load_full();
        let plan = {
            let mut slots = self.slots();
            slots.keep_only(|name| live.plugins().contains_key(name));
            slots.plan(self.runnable(&live), Instant::now())
        };
        elsewhere::tell(&plan.turns);
        if plan.wants.is_empty() {
            return Ok(Some(plan.again.unwrap_or(LONGEST_SLEEP)));
        }
        let Leased { leases, next_due } = self.bench.store.lease(plan.wants.clone()).await?;
        let mut taken: BTreeMap<PluginName, usize> = BTreeMap::new();
        for lease in leases {
            *taken.entry(lease.plugin.clone()).or_default() += 1;
            self.start(&live, lease);
        }
        // A plugin that took all it was dealt may have more, and others may have left their share.
        let took_all = |want: &Want| taken.get(&want.plugin) == Some(&want.max);
        {
            let mut slots = self.slots();
            plan.wants.iter().for_each(|want| slots.took(&want.plugin, took_all(want)));
        }
        if plan.wants.iter().any(took_all) {
            return Ok(None);
        }
        let soonest = [plan.again, next_due, Some(LONGEST_SLEEP)].into_iter().flatten().min();
        Ok(soonest)
    }

    /// Starts what was leased for a plugin of `live`, in a task of its own.
    fn start(&self, live: &Live, lease: Lease) {
        let plugin = live.plugins().get(&lease.plugin);
        let Some((plugin, version)) = plugin.and_then(|p| Some((p, p.version.clone()?))) else {
            // There is no plugin whose place it could have.
            self.spawner.ingress(attempt::put_back(self.bench.clone(), lease, None));
            return;
        };
        let place = Place {
            probe: self.slots().start(&lease.plugin, plugin.memory),
            slots: self.slots.clone(),
            freed: self.freed.clone(),
            health: self.health.clone(),
            plugin: lease.plugin.clone(),
            version: version.digest(),
            event: lease.event.id,
            generation: plugin.generation,
            breaker: plugin.policy.breaker,
            memory: plugin.memory,
            ended: false,
        };
        if self.pauses.waits(&lease.plugin) {
            // It was paused after it was planned for.
            self.spawner.ingress(attempt::put_back(self.bench.clone(), lease, Some(place)));
            return;
        }
        let figures = plugin.figures.attempt(version.digest());
        figures.waited(lease.waited);
        let run = Run { version, policy: plugin.policy, figures };
        self.spawner.guest(attempt::run(self.bench.clone(), lease, run, place));
    }

    /// The plugins that can run: deliveries of the others wait.
    fn runnable<'l>(&self, live: &'l Live) -> impl Iterator<Item = Runnable<'l>> + use<'l, '_> {
        let plugins = live.plugins().iter().filter(|(name, _)| !self.pauses.waits(name));
        plugins.filter_map(|(name, Plugin { version, generation, policy, memory, .. })| {
            let version = version.as_ref()?.digest();
            Some(Runnable { name, version, generation: *generation, policy, memory: *memory })
        })
    }

    fn slots(&self) -> std::sync::MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for what runs, then cuts the rest off: it is given back and counts no attempt.
    async fn drain(&self, grace: Duration) -> usize {
        let left = self.idle(grace).await;
        if left > 0 {
            self.cut.stop();
            self.idle(GIVE_BACK).await;
        }
        left
    }

    /// Waits until nothing runs, for so long. Returns what still does.
    async fn idle(&self, patience: Duration) -> usize {
        let deadline = tokio::time::Instant::now() + patience;
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            let running = self.slots().running();
            if running == 0 || tokio::time::timeout_at(deadline, freed).await.is_err() {
                return running;
            }
        }
    }
}
