//! The host: one engine for all plugins, and the two things it does: prepare a version, call one.

use std::{fmt, panic::AssertUnwindSafe, sync::Arc};

use futures_util::FutureExt as _;
use hookweir_event::{Clock, Event, PluginName};
use serde_json::Value;
use tokio::sync::{Semaphore, SemaphorePermit, TryAcquireError};
use wasmtime::{Engine, component::Linker};

use crate::{
    Genuine, Grant, HostError, Limits, LoadFault, Network, NotRun, Request, Response, Settings,
    StateReader, Version,
    attempt::{self, Job, Means, Ran},
    canary,
    compile::{Compiled, Compiler},
    egress::{Egress, Subject},
    engine::{self, CANARIES},
    fixed::Fixed,
    guest::{self, Guest, Reach},
    interfaces::Interfaces,
    job::{Handle, Respond, Verify},
    rehearsal::{Props, Rehearsal},
    ticker::Ticker,
    version::Inner,
    warm::{Warm, WarmRoom},
};

/// Runs plugins. One per process; cheap to clone.
#[derive(Clone)]
pub struct Host(Arc<Shared>);

struct Shared {
    engine: Engine,
    /// For versions with a grant to reach the world, and for those without one.
    linkers: (Linker<Guest>, Linker<Guest>),
    compiler: Compiler,
    ticker: Ticker,
    clock: Clock,
    state: Arc<dyn StateReader>,
    network: Arc<dyn Network>,
    settings: Settings,
    /// The gates in front of the pool, which has room for all: one permit is one instance.
    slots: Semaphore,
    api_slots: Semaphore,
    verifier_slots: Semaphore,
    canaries: Semaphore,
    /// For instances that are kept between calls.
    warm_room: Arc<WarmRoom>,
    /// One more for each version.
    versions: Arc<()>,
}

/// How full the host is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gauges {
    /// Attempts that run now.
    pub instances_in_use: u32,
    /// The most that can.
    pub instances_max: u32,
    /// Versions that are loaded: those that serve, that are tried, or that finish what they began.
    pub versions: u64,
}

impl Host {
    /// Starts the engine, its ticking clock and its compile threads.
    ///
    /// # Errors
    /// If the engine, its cache or its threads can't be had.
    pub fn new(
        settings: Settings,
        clock: Clock,
        state: Arc<dyn StateReader>,
        network: Arc<dyn Network>,
    ) -> Result<Self, HostError> {
        let engine = engine::start(&settings)?;
        let ticker = Ticker::start(&engine)?;
        let linker = |reach| {
            guest::linker(&engine, reach).map_err(|error| HostError::Engine(format!("{error:#}")))
        };
        let linkers = (linker(Reach::Granted)?, linker(Reach::Nothing)?);
        let compiler = Compiler::new(engine.clone(), settings.compile_threads)?;
        Ok(Self(Arc::new(Shared {
            slots: Semaphore::new(settings.instances as usize),
            api_slots: Semaphore::new(settings.api_instances as usize),
            verifier_slots: Semaphore::new(settings.verifier_instances as usize),
            canaries: Semaphore::new(CANARIES as usize),
            warm_room: Arc::new(WarmRoom::new(settings.warm_instances, settings.warm_memory)),
            versions: Arc::default(),
            engine,
            linkers,
            compiler,
            ticker,
            clock,
            state,
            network,
            settings,
        })))
    }

    /// Takes a file's bytes to a version that can run: parses, makes a component of a core module,
    /// compiles on the host's own threads, links, instantiates once and calls `init` if there is one.
    ///
    /// Not for the hot path; safe to call concurrently. Drive it where guests may run. The digest is
    /// that of `bytes`, whatever becomes of them.
    pub async fn prepare(
        &self,
        name: PluginName,
        bytes: Vec<u8>,
        grant: Grant,
    ) -> Result<Version, LoadFault> {
        let Shared { settings, .. } = &*self.0;
        let (limit, max) = (grant.limits.memory, settings.memory_max);
        if limit > max {
            return Err(LoadFault::MemoryGrant { limit, max });
        }
        let compiled = self.0.compiler.compile(bytes, &grant.limits.module).await?;
        let version = self.link(name, compiled, grant)?;
        let _turn = self.0.canaries.acquire().await.map_err(|_| NotRun::ShuttingDown)?;
        let _ticking = self.0.ticker.ticking();
        canary::fly(&self.0.engine, &self.0.clock, &version.inner).await?;
        Ok(version)
    }

    fn link(
        &self,
        name: PluginName,
        compiled: Compiled,
        grant: Grant,
    ) -> Result<Version, LoadFault> {
        let reaches = grant.http.is_some() || !grant.secrets.is_empty();
        let (granted, bare) = &self.0.linkers;
        let linker = if reaches { granted } else { bare };
        let pre = linker.instantiate_pre(&compiled.component);
        let pre = pre.map_err(|error| LoadFault::WrongImport(format!("{error:#}")))?;
        // The names of the exports; their types are known when it is instantiated.
        let interfaces = Interfaces::find(&pre)?;
        let egress = Arc::new(Egress::new(name.clone(), &grant, &*self.0.network));
        let warm = Warm::new(grant.limits.reuse, &self.0.warm_room);
        let inner = Inner {
            name,
            digest: compiled.inspection.digest,
            wants: compiled.inspection.wants,
            limits: grant.limits,
            config_json: Value::Object(grant.config.clone()).to_string(),
            config: grant.config,
            egress,
            pre,
            interfaces,
            _counted: Arc::clone(&self.0.versions),
        };
        Ok(Version { inner: Arc::new(inner), warm })
    }

    /// One attempt, in a fresh instance unless the limits let one serve more.
    ///
    /// Drive it on the guests' own runtime: a guest holds its thread for up to a tick at a time.
    /// Dropping the future ends the attempt and leaves nothing behind.
    pub async fn call(
        &self,
        version: &Version,
        event: &Event,
        attempt: u32,
    ) -> Result<Ran, NotRun> {
        let _slot = self.0.slots.try_acquire().map_err(|full| match full {
            TryAcquireError::NoPermits => NotRun::PoolExhausted,
            TryAcquireError::Closed => NotRun::ShuttingDown,
        })?;
        let means = Means { subject: Some(Subject::of(event)), records: true, ..self.means() };
        self.run(version, version.limits(), means, Some(&version.warm), &Handle { event, attempt })
            .await
    }

    /// The same in a fresh instance, with chance and passing time that hang on the event and the attempt alone:
    /// for comparing what versions do.
    ///
    /// # Errors
    /// [`NotRun`].
    pub async fn repeat(
        &self,
        version: &Version,
        event: &Event,
        attempt: u32,
    ) -> Result<Ran, NotRun> {
        let _slot = turn(&self.0.slots, version.limits()).await?;
        let fixed = Some(Fixed::of(event.id, attempt));
        let means = Means { subject: Some(Subject::of(event)), fixed, ..self.means() };
        self.run(version, version.limits(), means, None, &Handle { event, attempt }).await
    }

    /// The plugin's answer to a request, in a fresh instance. It sees its state; what it changed there
    /// is for the caller to commit before the answer leaves.
    ///
    /// Waits for an instance as long as a call may take. Drive it where guests may run.
    ///
    /// # Errors
    /// [`NotRun`]; a version that does not export `api` ends as one that trapped.
    pub async fn respond(
        &self,
        version: &Version,
        request: &Request,
    ) -> Result<Ran<Response>, NotRun> {
        let limits = version.limits().for_api();
        let _slot = turn(&self.0.api_slots, &limits).await?;
        let means = Means { subject: Subject::of_request(request), ..self.means() };
        self.run(version, &limits, means, Some(&version.warm), &Respond(request)).await
    }

    /// What the plugin says of a request: genuine, or why not. It runs in a fresh instance under limits
    /// that no config raises, without its state, and nothing of the call is kept.
    ///
    /// Waits for an instance as long as a call may take. Drive it where guests may run.
    ///
    /// # Errors
    /// [`NotRun`]; a version that does not export `verifier` ends as one that trapped.
    pub async fn verify(
        &self,
        version: &Version,
        request: &Request,
    ) -> Result<Ran<Result<Genuine, String>>, NotRun> {
        let limits = version.limits().for_verifier();
        let _slot = turn(&self.0.verifier_slots, &limits).await?;
        let closed = Some("a verifier has no network");
        let means = Means { state: None, closed, ..self.means() };
        self.run(version, &limits, means, None, &Verify(request)).await
    }

    /// One attempt on an event of the author's, before the version goes live. It takes an instance of those
    /// that are kept free for trials.
    ///
    /// # Errors
    /// [`NotRun`].
    pub async fn rehearse(&self, version: &Version, rehearsal: &Rehearsal) -> Result<Ran, NotRun> {
        let _turn = self.0.canaries.acquire().await.map_err(|_| NotRun::ShuttingDown)?;
        let props = Props::of(rehearsal);
        let Rehearsal { event, attempt, .. } = rehearsal;
        let means = Means {
            state: Some(props.clone()),
            subject: Some(Subject::of(event)),
            transport: Some(props),
            ..self.means()
        };
        self.run(version, version.limits(), means, None, &Handle { event, attempt: *attempt }).await
    }

    /// What a call is lent if nothing is kept from it.
    fn means(&self) -> Means {
        let Shared { clock, state, .. } = &*self.0;
        Means {
            clock: clock.clone(),
            state: Some(Arc::clone(state)),
            subject: None,
            closed: None,
            transport: None,
            fixed: None,
            records: false,
        }
    }

    async fn run<J: Job>(
        &self,
        version: &Version,
        limits: &Limits,
        means: Means,
        warm: Option<&Warm>,
        job: &J,
    ) -> Result<Ran<J::Answer>, NotRun> {
        let Shared { engine, ticker, .. } = &*self.0;
        let _ticking = ticker.ticking();
        let run = attempt::run(engine, means, &version.inner, limits, warm, job);
        // The store of a call that panics is dropped with it, so nothing half done is seen again.
        match AssertUnwindSafe(run).catch_unwind().await {
            Ok(ran) => ran,
            Err(panic) => Ok(Ran::of_panic(panic.as_ref())),
        }
    }

    /// Starts no attempt and tries no version any more; what runs goes on, and requests that were let
    /// in are still answered.
    pub fn stop(&self) {
        self.0.slots.close();
        self.0.canaries.close();
    }

    /// How full the host is.
    pub fn gauges(&self) -> Gauges {
        let instances_max = self.0.settings.instances;
        let free = u32::try_from(self.0.slots.available_permits()).unwrap_or(u32::MAX);
        let instances_in_use = instances_max.saturating_sub(free);
        let versions = (Arc::strong_count(&self.0.versions) - 1) as u64;
        Gauges { instances_in_use, instances_max, versions }
    }
}

/// A place among those that run, for whom somebody waits who would not come again at once.
async fn turn<'s>(slots: &'s Semaphore, limits: &Limits) -> Result<SemaphorePermit<'s>, NotRun> {
    match tokio::time::timeout(limits.wall, slots.acquire()).await {
        Ok(slot) => slot.map_err(|_| NotRun::ShuttingDown),
        Err(_) => Err(NotRun::PoolExhausted),
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("settings", &self.0.settings).finish_non_exhaustive()
    }
}
