//! The host: one engine for all plugins, and the two things it does: prepare a version, run one.

use std::{fmt, panic::AssertUnwindSafe, sync::Arc};

use futures_util::FutureExt as _;
use hookweir_event::{Clock, Event, PluginName};
use serde_json::Value;
use tokio::sync::{Semaphore, TryAcquireError};
use wasmtime::{Engine, component::Linker};

use crate::{
    Grant, HostError, LoadFault, Network, NotRun, Settings, StateReader, Version,
    attempt::{self, Ran},
    bindings::plugin::PluginPre,
    canary,
    compile::{Compiled, Compiler},
    egress::Egress,
    engine::{self, CANARIES},
    guest::{self, Guest, Reach},
    ticker::Ticker,
    version::Inner,
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
    /// The gate in front of the pool, which has room for more: one permit is one attempt.
    slots: Semaphore,
    canaries: Semaphore,
}

/// How full the host is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gauges {
    /// Attempts that run now.
    pub instances_in_use: u32,
    /// The most that can.
    pub instances_max: u32,
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
        let threads = settings.compile_threads;
        let compiler = Compiler::new(engine.clone(), threads, settings.compile_time_max)?;
        Ok(Self(Arc::new(Shared {
            slots: Semaphore::new(settings.instances as usize),
            canaries: Semaphore::new(CANARIES as usize),
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
        let (size, max) = (bytes.len() as u64, settings.file_max);
        if size > max {
            return Err(LoadFault::TooLarge { size, max });
        }
        let (limit, max) = (grant.limits.memory, settings.memory_max);
        if limit > max {
            return Err(LoadFault::MemoryGrant { limit, max });
        }
        let compiled = self.0.compiler.compile(bytes).await?;
        let lifecycle = canary::has_lifecycle(&compiled.component);
        let version = self.link(name, compiled, grant)?;
        let _turn = self.0.canaries.acquire().await.map_err(|_| NotRun::ShuttingDown)?;
        let _ticking = self.0.ticker.ticking();
        canary::fly(&self.0.engine, &self.0.clock, &version.0, lifecycle).await?;
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
        let instance = linker.instantiate_pre(&compiled.component);
        let instance = instance.map_err(|error| LoadFault::WrongImport(format!("{error:#}")))?;
        // The names of the exports; their types are known when it is instantiated.
        let pre = PluginPre::new(instance).map_err(|error| canary::wrong_handler(&error))?;
        let egress = Arc::new(Egress::new(name.clone(), &grant, &*self.0.network));
        Ok(Version(Arc::new(Inner {
            name,
            digest: compiled.inspection.digest,
            wants: compiled.inspection.wants,
            limits: grant.limits,
            config_json: Value::Object(grant.config.clone()).to_string(),
            config: grant.config,
            egress,
            pre,
        })))
    }

    /// One attempt in a fresh instance.
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
        let Shared { engine, clock, state, ticker, .. } = &*self.0;
        let _ticking = ticker.ticking();
        let run = attempt::run(engine, (clock, Arc::clone(state)), &version.0, event, attempt);
        // The store of an attempt that panics is dropped with it, so nothing half done is seen again.
        match AssertUnwindSafe(run).catch_unwind().await {
            Ok(ran) => ran,
            Err(panic) => Ok(Ran::of_panic(panic.as_ref())),
        }
    }

    /// Starts no attempt and tries no version any more; what runs goes on.
    pub fn stop(&self) {
        self.0.slots.close();
        self.0.canaries.close();
    }

    /// How full the host is.
    pub fn gauges(&self) -> Gauges {
        let instances_max = self.0.settings.instances;
        let free = u32::try_from(self.0.slots.available_permits()).unwrap_or(u32::MAX);
        Gauges { instances_in_use: instances_max.saturating_sub(free), instances_max }
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("settings", &self.0.settings).finish_non_exhaustive()
    }
}
