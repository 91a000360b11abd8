//! What a running guest can reach: its store's data and the interfaces implemented on it.
//!
//! log, config, clock, random and state are the contract's; its http and secrets are in `reach`. WASI 0.2
//! is there so that components of other toolchains start; it has no files, no environment, no arguments,
//! no sockets, and its http is the contract's. Its context draws randomness when made, so it is made only
//! when a guest first asks.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use hookweir_event::{Clock, Exchanges, LogLevel, LogLine, PluginName, Timestamp};
use serde_json::Value;
use wasmtime::{
    Engine,
    component::{HasSelf, Linker, ResourceTable},
};
use wasmtime_wasi::{HostWallClock, WasiCtx, WasiCtxView, WasiView, random::Deterministic};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::{
    Limits, RecordLimits, Transport,
    attempt::Means,
    bindings::plugin::hookweir::plugin as contract,
    egress::{Egress, Hooks, Requests, Subject},
    fixed::Fixed,
    limiter::Limiter,
    logs::Logs,
    meter::Meter,
    reach::Bare,
    state::State,
    stdio::Stdio,
    version::Inner,
};

/// Bytes of answers after which a guest is not kept for another call.
const RECEIVED_MAX: u64 = 64 << 20;

/// Everything that belongs to one call and goes with it.
pub(crate) struct Guest {
    pub(crate) limiter: Limiter,
    pub(crate) meter: Arc<Meter>,
    /// CPU time that the call may take.
    pub(crate) cpu: Duration,
    pub(crate) logs: SharedLogs,
    /// None in a call that has no state.
    pub(crate) state: Option<State>,
    subject: Option<Subject>,
    closed: Option<&'static str>,
    transport: Option<Arc<dyn Transport>>,
    record: Option<RecordLimits>,
    requests: Option<Arc<Requests>>,
    /// Bytes of answers, over all of its calls.
    received: u64,
    handles: usize,
    random_bytes: u32,
    version: Arc<Inner>,
    clock: Clock,
    started: Instant,
    fixed: Option<Fixed>,
    wasi: Option<Box<Wasi>>,
}

struct Wasi {
    ctx: WasiCtx,
    table: ResourceTable,
    http: WasiHttpCtx,
    hooks: Hooks,
    streams: [Stdio; 2],
}

/// What a call leaves behind.
pub(crate) struct Left {
    pub(crate) state: Option<State>,
    pub(crate) logs: Vec<LogLine>,
    pub(crate) memory_peak: u64,
    pub(crate) exchanges: Option<Exchanges>,
}

/// Shared with the streams that stand for stdout and stderr.
#[derive(Clone)]
pub(crate) struct SharedLogs(Arc<Mutex<Logs>>);

impl SharedLogs {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Logs> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Guest {
    pub(crate) fn new(version: Arc<Inner>, limits: &Limits, means: Means) -> Self {
        let Means { clock, state, subject, closed, transport, fixed, records } = means;
        let name = &version.name;
        let logs = Logs::new(limits, Arc::clone(version.egress.redaction()));
        let state = state.map(|kept| State::new(kept, name.clone(), limits.state_bytes));
        Self {
            limiter: Limiter::new(limits),
            meter: Arc::default(),
            cpu: limits.cpu,
            logs: SharedLogs(Arc::new(Mutex::new(logs))),
            state,
            subject,
            closed,
            transport,
            record: limits.http.record.filter(|_| records),
            requests: None,
            received: 0,
            handles: limits.handles,
            random_bytes: limits.random_bytes,
            version,
            clock,
            started: Instant::now(),
            fixed,
            wasi: None,
        }
    }

    /// Another call in a guest that was kept: all that is a call's own is new; its memory is not.
    pub(crate) fn begin(&mut self, limits: &Limits, means: Means) {
        self.limiter.begin();
        // What it has of stdout and stderr writes to the same lines.
        *self.logs.lock() = Logs::new(limits, Arc::clone(self.version.egress.redaction()));
        let (limiter, logs, wasi) = (&mut self.limiter, self.logs.clone(), self.wasi.take());
        let limiter = std::mem::replace(limiter, Limiter::new(limits));
        let (received, version) = (self.received, Arc::clone(&self.version));
        *self = Self { limiter, logs, wasi, received, ..Self::new(version, limits, means) };
        if self.wasi.is_some() {
            let requests = self.requests();
            self.wasi().hooks = Hooks(requests);
        }
    }

    /// Takes what a call leaves behind.
    pub(crate) fn end(&mut self) -> Left {
        if let Some(wasi) = &self.wasi {
            wasi.streams.iter().for_each(Stdio::finish);
        }
        // One that sends nothing has sent nothing, which is kept too.
        let mut exchanges = self.record.map(|_| Exchanges::default());
        if let Some(requests) = self.requests.take() {
            requests.end();
            self.received = self.received.saturating_add(requests.received());
            exchanges = requests.recorded();
        }
        Left {
            state: self.state.take(),
            logs: self.logs.lock().finish(),
            memory_peak: self.limiter.peak(),
            exchanges,
        }
    }

    /// Whether it holds more than another call should begin with: of memory, or of answers, since a guest can
    /// keep what it was sent by wasi:http.
    pub(crate) fn is_worn(&self) -> bool {
        self.received > RECEIVED_MAX || self.limiter.is_nearly_full()
    }

    pub(crate) fn plugin(&self) -> &PluginName {
        &self.version.name
    }

    pub(crate) fn egress(&self) -> &Arc<Egress> {
        &self.version.egress
    }

    /// The state, and the time by which its entries expire.
    fn state(&mut self) -> Result<(&mut State, Timestamp), String> {
        let now = self.clock.now();
        let state = self
            .state
            .as_mut()
            .ok_or("a verifier has no state: what it says must hang on the request alone")?;
        Ok((state, now))
    }

    /// Its requests so far. Most guests send none.
    pub(crate) fn requests(&mut self) -> Arc<Requests> {
        let Self { requests, version, subject, closed, transport, record, .. } = self;
        let new = || {
            let egress = Arc::clone(&version.egress);
            Arc::new(Requests::new(egress, subject.take(), *closed, transport.take(), *record))
        };
        Arc::clone(requests.get_or_insert_with(new))
    }

    fn wasi(&mut self) -> &mut Wasi {
        let requests = self.requests();
        self.wasi.get_or_insert_with(|| {
            let mut table = ResourceTable::new();
            table.set_max_capacity(self.handles);
            let [stdout, stderr] =
                [LogLevel::Info, LogLevel::Warn].map(|level| Stdio::new(self.logs.clone(), level));
            let mut builder = WasiCtx::builder();
            if let Some(fixed) = &self.fixed {
                let cycle = || Deterministic::new(fixed.cycle());
                builder.secure_random(cycle()).insecure_random(cycle()).insecure_random_seed(0);
            }
            let ctx = builder
                .stdout(stdout.clone())
                .stderr(stderr.clone())
                .max_random_size(u64::from(self.random_bytes))
                .wall_clock(WallClock(self.clock.clone()))
                .allow_tcp(false)
                .allow_udp(false)
                .allow_ip_name_lookup(false)
                .build();
            let mut http = WasiHttpCtx::new();
            http.set_field_size_limit(self.version.egress.header_bytes());
            Box::new(Wasi { ctx, table, http, hooks: Hooks(requests), streams: [stdout, stderr] })
        })
    }
}

/// How much of the world a version may reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// What its grant says.
    Granted,
    /// Nothing: the contract's own `http` and `secrets` are not even linked. wasi:http is, since other
    /// toolchains import it unasked; it has no hosts and no network behind it.
    Nothing,
}

/// Links what guests may import.
pub(crate) fn linker(engine: &Engine, reach: Reach) -> wasmtime::Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    link(&mut linker)?;
    match reach {
        Reach::Granted => {
            contract::http::add_to_linker::<_, HasSelf<Guest>>(&mut linker, |guest| guest)?;
            contract::secrets::add_to_linker::<_, HasSelf<Guest>>(&mut linker, |guest| guest)?;
        }
        Reach::Nothing => {
            contract::http::add_to_linker::<_, Bare<'static>>(&mut linker, |guest| Bare(guest))?;
            contract::secrets::add_to_linker::<_, Bare<'static>>(&mut linker, |guest| Bare(guest))?;
        }
    }
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    Ok(linker)
}

fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    contract::types::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)?;
    contract::log::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)?;
    contract::config::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)?;
    contract::clock::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)?;
    contract::random::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)?;
    contract::state::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)?;
    wasmtime_wasi::p2::add_to_linker_async(linker)
}

impl contract::types::Host for Guest {}

impl contract::log::Host for Guest {
    fn write(
        &mut self,
        level: contract::log::Level,
        message: String,
        fields: Vec<(String, String)>,
    ) {
        let level = match level {
            contract::log::Level::Trace => LogLevel::Trace,
            contract::log::Level::Debug => LogLevel::Debug,
            contract::log::Level::Info => LogLevel::Info,
            contract::log::Level::Warn => LogLevel::Warn,
            contract::log::Level::Error => LogLevel::Error,
        };
        self.logs.lock().write(level, &message, &fields);
    }
}

impl contract::config::Host for Guest {
    fn get(&mut self, key: String) -> Option<String> {
        self.version.config.get(&key).map(|value| match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        })
    }

    fn all(&mut self) -> String {
        self.version.config_json.clone()
    }
}

impl contract::clock::Host for Guest {
    fn now_ms(&mut self) -> u64 {
        u64::try_from(self.clock.now().as_millis()).unwrap_or(0)
    }

    fn monotonic_ns(&mut self) -> u64 {
        match &mut self.fixed {
            Some(fixed) => fixed.elapsed_ns(),
            None => u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX),
        }
    }
}

impl contract::random::Host for Guest {
    fn bytes(&mut self, len: u32) -> wasmtime::Result<Vec<u8>> {
        let max = self.random_bytes;
        if len > max {
            return Err(wasmtime::format_err!(
                "it asked for {len} random bytes at once; its limit is {max}"
            ));
        }
        let mut bytes = vec![0; len as usize];
        match &mut self.fixed {
            Some(fixed) => fixed.fill(&mut bytes),
            None => getrandom::fill(&mut bytes).map_err(|error| {
                wasmtime::format_err!("the system has no random bytes: {error}")
            })?,
        }
        Ok(bytes)
    }
}

impl contract::state::Host for Guest {
    async fn get(&mut self, key: String) -> Result<Option<Vec<u8>>, String> {
        let (state, now) = self.state()?;
        state.get(now, key).await
    }

    async fn set(
        &mut self,
        key: String,
        value: Vec<u8>,
        ttl_ms: Option<u64>,
    ) -> Result<(), String> {
        let (state, now) = self.state()?;
        state.set(now, key, value, ttl_ms.map(Duration::from_millis)).await
    }

    async fn set_if_absent(
        &mut self,
        key: String,
        value: Vec<u8>,
        ttl_ms: Option<u64>,
    ) -> Result<bool, String> {
        let (state, now) = self.state()?;
        state.set_if_absent(now, key, value, ttl_ms.map(Duration::from_millis)).await
    }

    async fn increment(
        &mut self,
        key: String,
        by: i64,
        ttl_ms: Option<u64>,
    ) -> Result<i64, String> {
        let (state, now) = self.state()?;
        state.increment(now, key, by, ttl_ms.map(Duration::from_millis)).await
    }

    async fn delete(&mut self, key: String) -> Result<bool, String> {
        let (state, now) = self.state()?;
        state.delete(now, key).await
    }

    async fn list_keys(
        &mut self,
        prefix: String,
        after: Option<String>,
        limit: u32,
    ) -> Result<Vec<String>, String> {
        let (state, now) = self.state()?;
        state.list(now, &prefix, after, limit).await
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let Wasi { ctx, table, .. } = self.wasi();
        WasiCtxView { ctx, table }
    }
}

impl WasiHttpView for Guest {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        let Wasi { table, http, hooks, .. } = self.wasi();
        WasiHttpCtxView { ctx: http, table, hooks }
    }
}

struct WallClock(Clock);

impl HostWallClock for WallClock {
    fn resolution(&self) -> Duration {
        Duration::from_millis(1)
    }

    fn now(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.now().as_millis()).unwrap_or(0))
    }
}
