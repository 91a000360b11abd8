//! The host: one engine for all plugins.

use std::{sync::Arc, time::Duration};

use hookweir_event::{Clock, Event, Failure, LogLine, NewOutput, PluginName};

use crate::{Grant, HostError, LoadFault, NotRun, Settings, Version, Wants};

/// One engine per process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Host(Arc<Settings>);

/// What an attempt came to.
#[derive(Debug)]
pub struct Ran {
    /// The outputs, or why there are none.
    pub result: Result<Vec<NewOutput>, Failure>,
    /// From start to end.
    pub wall: Duration,
    /// CPU time in the guest and in host calls.
    pub cpu: Duration,
    /// The most that all its linear memories had together, in bytes.
    pub memory_peak: u64,
    /// What it logged.
    pub logs: Vec<LogLine>,
}

/// How full the host is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gauges {
    /// Attempts that have an instance now.
    pub instances_in_use: u32,
    /// The most that can.
    pub instances_max: u32,
}

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A core module, which the gateway makes a component.
    Core,
    /// A component.
    Component,
}

/// What [`inspect`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// What it is.
    pub kind: Kind,
    /// What it wants.
    pub wants: Wants,
    /// The interfaces it imports as a component.
    pub imports: Vec<String>,
    /// The interfaces it exports as a component.
    pub exports: Vec<String>,
    /// The file's size in bytes.
    pub size: u64,
}

/// Looks at a file without compiling it.
pub fn inspect(_bytes: &[u8]) -> Result<Inspection, LoadFault> {
    Err(LoadFault::NotWasm)
}

impl Host {
    /// Starts the engine, its clock and its compile threads.
    pub fn new(settings: Settings, _clock: Clock) -> Result<Self, HostError> {
        Ok(Self(Arc::new(settings)))
    }

    /// Takes a file to a version that can run. Not for the hot path; safe to call concurrently.
    #[expect(clippy::unused_async, reason = "not there yet")]
    pub async fn prepare(
        &self,
        _name: PluginName,
        _bytes: Vec<u8>,
        _grant: Grant,
    ) -> Result<Version, LoadFault> {
        Err(LoadFault::NotWasm)
    }

    /// One attempt in a fresh instance. Drive it on the guests' own runtime. Dropping the future ends
    /// the attempt and leaves nothing behind.
    #[expect(clippy::unused_async, reason = "not there yet")]
    pub async fn call(
        &self,
        _version: &Version,
        _event: &Event,
        _attempt: u32,
    ) -> Result<Ran, NotRun> {
        Err(NotRun::ShuttingDown)
    }

    /// How full the host is.
    pub fn gauges(&self) -> Gauges {
        Gauges { instances_in_use: 0, instances_max: self.0.instances }
    }
}
