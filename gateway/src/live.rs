//! What is in force right now: sources, plugins and the routes between them.
//!
//! One value, swapped in one atomic store. Intake, dispatch and admin read it; only reload writes
//! it. Whoever loaded it goes on with what they hold, so a swap pulls nothing from under anyone.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    sync::Arc,
};

use arc_swap::ArcSwap;
use hookweir_event::{EventType, Origin, Pattern, PluginName, SourceName};
use hookweir_host::Version;
use hookweir_verify::Secret;

use crate::{
    config::{Policy, ServerConfig, SourceConfig},
    learned::Learned,
    record::Record,
};

/// One configured source.
#[derive(Debug)]
pub struct Source {
    /// Its name, the first part of every route of its events.
    pub name: SourceName,
    /// All that the config says of it.
    pub config: SourceConfig,
    /// The secret that its provider's handshake brings, if that is where it comes from.
    pub learned: Option<Learned>,
    /// What became of its requests.
    pub record: Arc<Record>,
}

impl Source {
    /// A source whose data is kept in this folder.
    pub fn new(name: SourceName, config: SourceConfig, data: &Path) -> Self {
        let learned = config.learns.then(|| Learned::new(data, &name, &config.scheme));
        Self { name, config, learned, record: Arc::default() }
    }

    /// The same source, going on with the record of the one that it follows.
    pub fn following(self, before: Option<&Self>) -> Self {
        match before {
            Some(before) => Self { record: before.record.clone(), ..self },
            None => self,
        }
    }

    /// The secrets to verify with.
    pub fn secrets(&self) -> &[Secret] {
        match &self.learned {
            Some(learned) => learned.secrets(),
            None => &self.config.secrets,
        }
    }
}

/// One plugin that the gateway knows, running or not.
#[derive(Debug, Clone)]
pub struct Plugin {
    /// The version that runs; without one its deliveries wait.
    pub version: Option<Version>,
    /// What it is sent.
    pub subscribe: Vec<Pattern>,
    /// How its deliveries are run.
    pub policy: Policy,
    /// Memory that one attempt may take, in bytes.
    pub memory: u64,
}

/// Everything that can change while the gateway runs.
#[derive(Debug)]
pub struct Live {
    /// The public listener's limits.
    pub server: ServerConfig,
    sources: HashMap<String, Arc<Source>>,
    plugins: BTreeMap<PluginName, Plugin>,
    routes: Routes,
}

/// Who subscribed to what, by where events come from.
#[derive(Debug, Default)]
struct Routes {
    by_origin: HashMap<Origin, Vec<(Pattern, PluginName)>>,
    wide: Vec<(Pattern, PluginName)>,
}

impl Live {
    /// Puts sources, by their paths, and plugins together.
    pub fn new(
        server: ServerConfig,
        sources: impl IntoIterator<Item = Arc<Source>>,
        plugins: BTreeMap<PluginName, Plugin>,
    ) -> Self {
        let sources = sources.into_iter().map(|s| (s.config.path.clone(), s)).collect();
        let routes = Routes::new(&plugins);
        Self { server, sources, plugins, routes }
    }

    /// The source whose path this is.
    pub fn source_at(&self, path: &str) -> Option<&Arc<Source>> {
        self.sources.get(path)
    }

    /// The source of this name.
    pub fn source(&self, name: &SourceName) -> Option<&Arc<Source>> {
        self.sources().find(|source| source.name == *name)
    }

    /// All sources.
    pub fn sources(&self) -> impl Iterator<Item = &Arc<Source>> {
        self.sources.values()
    }

    /// All plugins, in the order of their names.
    pub fn plugins(&self) -> &BTreeMap<PluginName, Plugin> {
        &self.plugins
    }

    /// The plugins that an event goes to, each once.
    pub fn route(&self, origin: &Origin, event_type: &EventType) -> Vec<PluginName> {
        self.routes.to(origin, event_type)
    }
}

impl Routes {
    fn new(plugins: &BTreeMap<PluginName, Plugin>) -> Self {
        let mut routes = Self::default();
        for (name, plugin) in plugins {
            for pattern in &plugin.subscribe {
                let entry = (pattern.clone(), name.clone());
                match pattern.origin() {
                    Some(origin) => routes.by_origin.entry(origin.clone()).or_default().push(entry),
                    None => routes.wide.push(entry),
                }
            }
        }
        routes
    }

    fn to(&self, origin: &Origin, event_type: &EventType) -> Vec<PluginName> {
        let named = self.by_origin.get(origin).into_iter().flatten();
        let mut to: Vec<_> = named
            .chain(&self.wide)
            .filter(|(pattern, _)| pattern.matches(origin, event_type))
            .map(|(_, plugin)| plugin.clone())
            .collect();
        to.sort_unstable();
        to.dedup();
        to
    }
}

/// The one place where what is in force can be looked up and swapped.
pub type Board = ArcSwap<Live>;

#[cfg(test)]
mod tests {
    use super::*;

    fn routes(subscriptions: &[(&str, &[&str])]) -> Routes {
        let plugin = |patterns: &[&str]| Plugin {
            version: None,
            subscribe: patterns.iter().map(|p| p.parse().unwrap()).collect(),
            policy: Policy::default(),
            memory: 0,
        };
        Routes::new(&subscriptions.iter().map(|(n, p)| (n.parse().unwrap(), plugin(p))).collect())
    }

    fn to(routes: &Routes, event: &str) -> Vec<String> {
        let (origin, event_type) = event.split_once('/').unwrap();
        let to = routes.to(&origin.parse().unwrap(), &event_type.parse().unwrap());
        to.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_event_goes_to_each_subscriber_once() {
        let routes = routes(&[
            ("audit", &["*/*"]),
            ("ci", &["github/push", "github/*", "plugin.ci/*"]),
            ("pay", &["stripe/payment_intent.*"]),
        ]);
        assert_eq!(to(&routes, "github/push"), ["audit", "ci"]);
        assert_eq!(to(&routes, "stripe/payment_intent.succeeded"), ["audit", "pay"]);
        assert_eq!(to(&routes, "plugin.ci/built"), ["ci"]);
        assert!(to(&routes, "gateway/alert.latency").is_empty());
    }
}
