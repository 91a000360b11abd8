//! What a plugin is run in: its grant, config and secrets, state, answers and clock.

use std::{
    collections::BTreeMap,
    fmt, fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use hookweir_event::{Clock, PluginName, StateEntry, Timestamp};
use hookweir_host::{
    Grant, Host, HostError, HttpGrant, Limits, LoadFault, Network, Redaction, SecretGrant,
    SecretText, Settings, Wants, inspect,
};
use serde_json::{Map, Value};

use crate::{
    Canned, KitError, Plugin,
    memory::Memory,
    time::{START, Time},
    wire::Wire,
};

/// Calls of one test that can have an instance at the same time: the test's, and those that are kept.
const INSTANCES: u32 = 4;

/// Sets a plugin up, and loads it.
pub struct Kit {
    settings: Settings,
    grant: Option<Grant>,
    limits: Limits,
    config: Map<String, Value>,
    /// Values, and whether the plugin may read them.
    secrets: BTreeMap<String, (String, bool)>,
    memory: Memory,
    wire: Wire,
    time: Time,
}

impl Default for Kit {
    fn default() -> Self {
        Self::new()
    }
}

impl Kit {
    /// The limits that a gateway has by default, and a grant of what the module wants: requests to the hosts
    /// it names, and a made-up value for each of its secrets. No config, no state, no answers; the time stands
    /// still at the start of 2026.
    pub fn new() -> Self {
        let settings = Settings {
            cache: beside_this_program(),
            instances: INSTANCES,
            api_instances: INSTANCES,
            verifier_instances: INSTANCES,
            warm_instances: INSTANCES,
            ..Settings::default()
        };
        Self {
            settings,
            grant: None,
            limits: Limits::default(),
            config: Map::new(),
            secrets: BTreeMap::new(),
            memory: Memory::default(),
            wire: Wire::default(),
            time: Time::at(START),
        }
    }

    /// One value of the plugin's config; strings, numbers, `json!` and all that becomes JSON.
    #[must_use]
    pub fn config(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.config.insert(key.into(), value.into());
        self
    }

    /// A secret that is put into requests to the hosts that the module names.
    #[must_use]
    pub fn secret(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.secrets.insert(name.into(), (value.into(), false));
        self
    }

    /// A secret that the plugin may read as well.
    #[must_use]
    pub fn readable_secret(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.secrets.insert(name.into(), (value.into(), true));
        self
    }

    /// An entry of the plugin's state, that lasts.
    #[must_use]
    pub fn state(self, key: &str, value: impl AsRef<[u8]>) -> Self {
        self.memory.put(key, value.as_ref().to_vec());
        self
    }

    /// What a request to `line` (method and URL: `POST https://api.example.com/v1`) is answered with.
    /// Said again for one line, the answers are given in turn, and the last one stays. A request without an
    /// answer is denied.
    #[must_use]
    pub fn http(self, line: &str, answer: Canned) -> Self {
        self.wire.can(line, answer);
        self
    }

    /// Entries of the plugin's state as a store has them, with the time until which each holds.
    #[must_use]
    pub fn entries(self, entries: impl IntoIterator<Item = StateEntry>) -> Self {
        entries.into_iter().for_each(|entry| self.memory.take(entry));
        self
    }

    /// What requests are answered with that have no answer of their own and whose line begins so, in place of
    /// being denied; of several beginnings the longest counts, and an empty one is that of all.
    #[must_use]
    pub fn http_below(self, beginning: &str, answer: Canned) -> Self {
        self.wire.can_below(beginning, answer);
        self
    }

    /// The time that the plugin is told: Unix time in milliseconds. It stands still;
    /// [`Plugin::advance`] moves it.
    #[must_use]
    pub fn now_ms(self, millis: i64) -> Self {
        Self { time: Time::at(Timestamp::from_millis(millis)), ..self }
    }

    /// Other limits than a gateway's default ones.
    #[must_use]
    pub fn limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Exactly this grant: what the module wants, and what the kit was told of config, secrets and limits, does
    /// not count.
    #[must_use]
    pub fn grant(self, grant: Grant) -> Self {
        Self { grant: Some(grant), ..self }
    }

    /// A clock that goes by itself.
    #[must_use]
    pub fn clock(self, clock: Clock) -> Self {
        Self { time: Time::from(clock), ..self }
    }

    /// Lets requests that have no answer go out this way.
    #[must_use]
    pub fn network(self, network: Arc<dyn Network>) -> Self {
        self.wire.let_out(network);
        self
    }

    /// Bytes of the guest's stack, if not a gateway's default.
    #[must_use]
    pub fn stack(mut self, bytes: usize) -> Self {
        self.settings.stack = bytes;
        self
    }

    /// Compiles each time anew, instead of keeping compiled code beside the test's own program.
    #[must_use]
    pub fn without_cache(mut self) -> Self {
        self.settings.cache = None;
        self
    }

    /// Keeps compiled code in this folder, instead of beside the test's own program. It is made if it is missing,
    /// and nobody else can read or write there from then on. Without the right to do so nothing is kept.
    #[must_use]
    pub fn cache(mut self, folder: impl Into<PathBuf>) -> Self {
        self.settings.cache = Some(folder.into());
        self
    }

    /// Loads a plugin as a gateway does, down to its trial start and its `init`. The file's stem is its name.
    ///
    /// # Errors
    /// If there is no such file, or the gateway would not load it either.
    pub fn load(self, path: impl AsRef<Path>) -> Result<Plugin, KitError> {
        let path = path.as_ref();
        let bytes = fs::read(path)
            .map_err(|source| KitError::Unreadable { path: path.to_owned(), source })?;
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        // Cargo's own files have underscores, and names have none.
        let name: Result<PluginName, _> = stem.replace('_', "-").parse();
        let name = name.map_err(|source| KitError::Name { path: path.to_owned(), source })?;
        self.load_bytes(&name, bytes)
    }

    /// The same of a file's bytes.
    ///
    /// # Errors
    /// If the gateway would not load it either.
    pub fn load_bytes(mut self, plugin: &PluginName, bytes: Vec<u8>) -> Result<Plugin, KitError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(KitError::Threads)?;
        let limits = self.grant.as_ref().map_or(&self.limits, |grant| &grant.limits);
        let prepared = inspect(&bytes, &limits.module)
            .map(|seen| self.grant.take().unwrap_or_else(|| self.granted(&seen.wants)));
        let grant = prepared.map_err(|fault| failed(plugin, fault))?;
        let readable = grant.secrets.values().filter(|secret| secret.readable);
        self.wire.hide(Redaction::new(readable.map(|secret| &secret.value)));
        let redaction = Redaction::new(grant.secrets.values().map(|secret| &secret.value));
        let memory = Arc::new(self.memory);
        let host = host(&self.settings, &self.time, &memory, &self.wire)?;
        let version = runtime.block_on(host.prepare(plugin.clone(), bytes, grant));
        let version = version.map_err(|fault| failed(plugin, fault))?;
        Ok(Plugin::new(runtime, host, version, memory, self.wire, self.time, redaction))
    }

    /// What a module wants, with what the kit was told.
    fn granted(&self, wants: &Wants) -> Grant {
        let made_up = wants.secrets.iter().map(|name| {
            // Of no use to a request if there is no host that it could go to.
            (name.clone(), (format!("secret-{name}"), wants.http.is_empty()))
        });
        let mut secrets: BTreeMap<_, _> = made_up.collect();
        secrets.extend(self.secrets.clone());
        let secret = |(name, (value, readable))| {
            let value = SecretText::new(value);
            (name, SecretGrant { value, hosts: wants.http.clone(), readable })
        };
        let http = HttpGrant { origins: wants.http.clone(), addresses: Vec::new() };
        Grant {
            limits: self.limits.clone(),
            config: self.config.clone(),
            http: (!wants.http.is_empty()).then_some(http),
            secrets: secrets.into_iter().map(secret).collect(),
        }
    }
}

fn failed(plugin: &PluginName, fault: LoadFault) -> KitError {
    KitError::Load { plugin: plugin.clone(), fault }
}

/// An engine. Where compiled code can't be kept, each start compiles.
fn host(
    settings: &Settings,
    time: &Time,
    memory: &Arc<Memory>,
    wire: &Wire,
) -> Result<Host, HostError> {
    let start =
        |settings| Host::new(settings, time.clock(), memory.clone(), Arc::new(wire.clone()));
    match start(settings.clone()) {
        Err(HostError::Cache { .. }) => start(Settings { cache: None, ..settings.clone() }),
        started => started,
    }
}

/// A test's program lies in the folder that its author builds in, where nobody else may write.
fn beside_this_program() -> Option<PathBuf> {
    Some(std::env::current_exe().ok()?.parent()?.join("hookweir-kit"))
}

impl fmt::Debug for Kit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Kit")
    }
}
