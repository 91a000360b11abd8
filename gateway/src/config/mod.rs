//! `gateway.toml`: what it may say, what it says, and every fault in it at once.
//!
//! Parsing is pure: the text, the environment and the reading of secret files are parameters. What
//! comes out is valid and is never checked again.

mod addresses;
mod alerts;
mod contact;
mod egress;
mod plugin;
mod reach;
mod read;
mod scope;
mod secret;
mod seen;
mod server;
mod shown;
mod source;
mod store;
#[cfg(test)]
mod tests;
mod tls;
mod traces;
mod units;

use std::{
    collections::BTreeMap,
    fmt, io,
    path::{Path, PathBuf},
};

use hookweir_event::{PluginName, SourceName};
use thiserror::Error;
use toml::de::DeTable;

pub use self::{
    addresses::{AddressFile, AddressList, Addresses},
    alerts::AlertsConfig,
    contact::Contact,
    egress::EgressConfig,
    plugin::{ApiAccess, ApiConfig, BreakerConfig, PROBE_FIRST, PluginConfig, Policy},
    read::Fault,
    scope::Scope,
    seen::Seen,
    server::{
        AdminConfig, AuditConfig, HostConfig, NamedToken, ServerConfig, Subscriptions, Token,
        Versions,
    },
    source::{Priority, Reply, SourceConfig},
    store::{DatabasePlace, FilePlace, Place, StoreConfig},
    traces::TracesConfig,
    units::Rate,
};
pub(crate) use self::{read::near, server::token_name};
use self::{
    read::{Faults, Section},
    secret::Secrets,
};

/// All of `gateway.toml`, valid.
#[derive(Debug, Clone)]
pub struct Config {
    /// The public listener.
    pub server: ServerConfig,
    /// The operators' listener.
    pub admin: AdminConfig,
    /// Where events are kept.
    pub store: StoreConfig,
    /// How plugins are run.
    pub host: HostConfig,
    /// How the gateway itself reaches the world.
    pub egress: EgressConfig,
    /// Which traces are recorded, if any are.
    pub traces: Option<TracesConfig>,
    /// From where on something is wrong.
    pub alerts: AlertsConfig,
    /// The ingress endpoints.
    pub sources: BTreeMap<SourceName, SourceConfig>,
    /// What the operator says of plugins; a plugin may also have no entry.
    pub plugins: BTreeMap<PluginName, PluginConfig>,
    /// The files that it names, with secrets, certificates and addresses: a change in one is a change of the
    /// config.
    pub secret_files: Vec<PathBuf>,
}

/// Why there is no config.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("failed to read {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file can be read, but not followed.
    #[error("{}", listing(path, faults))]
    Faulty {
        /// The file.
        path: PathBuf,
        /// All of its faults, in its order.
        faults: Vec<Fault>,
    },
}

fn listing(path: &Path, faults: &[Fault]) -> String {
    let lines: Vec<_> = faults.iter().map(|fault| format!("{}:{fault}", path.display())).collect();
    lines.join("\n")
}

/// What a config may ask of the world it is read in.
pub struct Surroundings<'a> {
    /// The value of an environment variable.
    pub env: &'a (dyn Fn(&str) -> Option<String> + Sync),
    /// The text of a file.
    pub file: &'a (dyn Fn(&Path) -> io::Result<String> + Sync),
}

impl Surroundings<'static> {
    /// This process's environment and the machine's files.
    pub fn real() -> Self {
        Self { env: &|name| std::env::var(name).ok(), file: &|path| std::fs::read_to_string(path) }
    }
}

impl fmt::Debug for Surroundings<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Surroundings")
    }
}

/// Has `parse` read the text of the file at `path`, and the folder that it is in.
fn load_by<T>(
    path: &Path,
    around: &Surroundings<'_>,
    parse: impl FnOnce(&str, &Path) -> Result<T, Vec<Fault>>,
) -> Result<T, ConfigError> {
    let text = (around.file)(path)
        .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
    let folder = path.parent().unwrap_or(Path::new(""));
    parse(&text, folder).map_err(|faults| ConfigError::Faulty { path: path.to_owned(), faults })
}

/// What `read` makes of the text of a config, or all the faults that it found.
fn parse_by<T>(text: &str, read: impl FnOnce(&Section<'_, '_>) -> T) -> Result<T, Vec<Fault>> {
    let faults = Faults::new(text);
    let (table, syntax) = DeTable::parse_recoverable(text);
    for error in &syntax {
        faults.add(error.span().map_or(0, |span| span.start), error.message());
    }
    let made = syntax.is_empty().then(|| read(&Section::root(&table, &faults)));
    let found = faults.into_vec();
    made.filter(|_| found.is_empty()).ok_or(found)
}

impl Config {
    /// Reads the file at `path`. Relative paths in it start at its folder.
    ///
    /// # Errors
    /// If the file can't be read, or has faults.
    pub fn load(path: &Path, around: &Surroundings<'_>) -> Result<Self, ConfigError> {
        load_by(path, around, |text, folder| Self::parse(text, folder, around))
    }

    /// Reads the text of a config. `folder` is where relative paths in it start.
    ///
    /// # Errors
    /// All faults, in the order of the text.
    pub fn parse(text: &str, folder: &Path, around: &Surroundings<'_>) -> Result<Self, Vec<Fault>> {
        parse_by(text, |root| {
            let secrets = Secrets::new(folder, around);
            let alerts = AlertsConfig::read(root.sub("alerts").as_ref());
            let plugins = plugin::read_all(root.sub("plugins").as_ref(), &secrets, &alerts);
            let mut server = ServerConfig::read(root.sub("server"), &secrets);
            let known = (&plugins, &alerts);
            let sources =
                source::read_all(root.sub("sources").as_ref(), &secrets, known, &mut server);
            let store = StoreConfig::read(root.sub("store"), &secrets);
            let config = Self {
                server,
                admin: AdminConfig::read(root.sub("admin"), &secrets),
                host: HostConfig::read(root.sub("host"), folder, store.file().is_some()),
                store,
                egress: EgressConfig::read(root.sub("egress"), &secrets),
                traces: TracesConfig::read(root.sub("traces"), &secrets),
                alerts,
                sources,
                plugins,
                secret_files: secrets.into_files(),
            };
            root.finish();
            config
        })
    }

    /// What is watched of a plugin.
    pub fn alerts_of(&self, plugin: &PluginName) -> AlertsConfig {
        self.plugins.get(plugin).map_or(self.alerts, |own| own.alerts)
    }

    /// Whether what becomes of a plugin's deliveries is counted: for metrics, or to watch it.
    pub fn counts(&self, plugin: &PluginName) -> bool {
        self.admin.metrics || self.alerts_of(plugin).judges_attempts()
    }

    /// What differs from `new` in a way that only a restart can follow.
    pub fn needs_restart(&self, new: &Self) -> Vec<&'static str> {
        let mut differences = vec![
            ("server.listen", self.server.listen != new.server.listen),
            ("server.connections", self.server.connections != new.server.connections),
            ("server.header_timeout", self.server.header_timeout != new.server.header_timeout),
            ("server.idle_timeout", self.server.idle_timeout != new.server.idle_timeout),
            ("server.drain_delay", self.server.drain_delay != new.server.drain_delay),
            ("server.grace", self.server.grace != new.server.grace),
            ("admin", self.admin.needs_restart(&new.admin)),
            ("egress", self.egress != new.egress),
            ("traces", self.traces != new.traces),
            ("host", self.host.needs_restart(&new.host)),
        ];
        differences.extend(self.store.needs_restart(&new.store));
        differences.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key).collect()
    }
}
