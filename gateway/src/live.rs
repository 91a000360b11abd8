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
use hookweir_event::{Event, Origin, Pattern, PluginName, SourceName};
use hookweir_host::Version;
use hookweir_store::Route;
use hookweir_verify::Secret;

use crate::{
    budget::Shares,
    config::{AlertsConfig, ApiConfig, Config, Policy, SourceConfig},
    learned::Learned,
    metrics::figures::{Figures, SourceFigures},
    order::OrderBy,
    record::Record,
    standing::Standing,
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
    /// How many there were.
    pub figures: Arc<SourceFigures>,
    /// What they hold now of what all share.
    pub shares: Arc<Shares>,
}

impl Source {
    /// A source whose data is kept in this folder. Its requests are counted, if that is wanted.
    pub fn new(name: SourceName, config: SourceConfig, data: &Path, counted: bool) -> Self {
        let learned = config.learns.then(|| Learned::new(data, &name, &config.scheme));
        let figures = Arc::new(SourceFigures::new(counted));
        Self { name, config, learned, record: Arc::default(), figures, shares: Arc::default() }
    }

    /// The same source, going on with the record, the figures and the shares of the one that it follows.
    pub fn following(self, before: Option<&Self>) -> Self {
        match before {
            Some(before) => {
                let (record, figures) = (before.record.clone(), before.figures.clone());
                Self { record, figures, shares: before.shares.clone(), ..self }
            }
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
    /// Another whenever the plugin begins anew: with a version, a grant, the operator's word. Its breaker
    /// closes then.
    pub generation: u64,
    /// What it is sent.
    pub subscribe: Vec<Pattern>,
    /// Which of them are handled one after another.
    pub order_by: Option<Arc<OrderBy>>,
    /// How its deliveries are run.
    pub policy: Policy,
    /// Memory that one attempt may take, in bytes.
    pub memory: u64,
    /// How it answers requests.
    pub api: ApiConfig,
    /// What became of the requests to its api.
    pub record: Arc<Record>,
    /// What became of its deliveries, counted.
    pub figures: Figures,
    /// What of that is watched.
    pub alerts: AlertsConfig,
    /// Whether it may verify requests.
    pub verifier: bool,
    /// How it stands, for operators.
    pub standing: Arc<Standing>,
}

/// Everything that can change while the gateway runs.
#[derive(Debug)]
pub struct Live {
    /// The config that it was made of.
    pub config: Arc<Config>,
    /// The gateways that share plugins' versions, if that is how it is, by what they call themselves.
    pub gateways: Option<Vec<String>>,
    sources: HashMap<String, Arc<Source>>,
    plugins: BTreeMap<PluginName, Plugin>,
    routes: Routes,
}

/// Who subscribed to what, by where events come from.
#[derive(Debug, Default)]
struct Routes {
    by_origin: HashMap<Origin, Vec<Subscriber>>,
    wide: Vec<Subscriber>,
}

/// One pattern of one plugin.
#[derive(Debug)]
struct Subscriber {
    pattern: Pattern,
    plugin: PluginName,
    order_by: Option<Arc<OrderBy>>,
}

impl Live {
    /// Puts sources, by their paths, and plugins together.
    pub fn new(
        config: Arc<Config>,
        sources: impl IntoIterator<Item = Arc<Source>>,
        plugins: BTreeMap<PluginName, Plugin>,
    ) -> Self {
        let sources = sources.into_iter().map(|s| (s.config.path.clone(), s)).collect();
        let routes = Routes::new(&plugins);
        Self { config, gateways: None, sources, plugins, routes }
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

    /// The plugins that an event goes to, each once, with the keys they order it by.
    pub fn route(&self, event: &Event) -> Vec<Route> {
        self.routes.of(event)
    }
}

impl Routes {
    fn new(plugins: &BTreeMap<PluginName, Plugin>) -> Self {
        let mut routes = Self::default();
        for (name, plugin) in plugins {
            for pattern in &plugin.subscribe {
                let entry = Subscriber {
                    pattern: pattern.clone(),
                    plugin: name.clone(),
                    order_by: plugin.order_by.clone(),
                };
                match pattern.origin() {
                    Some(origin) => routes.by_origin.entry(origin.clone()).or_default().push(entry),
                    None => routes.wide.push(entry),
                }
            }
        }
        routes
    }

    fn of(&self, event: &Event) -> Vec<Route> {
        let named = self.by_origin.get(&event.origin).into_iter().flatten();
        let mut to: Vec<_> = named
            .chain(&self.wide)
            .filter(|subscriber| subscriber.pattern.matches(&event.origin, &event.event_type))
            .collect();
        to.sort_unstable_by_key(|subscriber| &subscriber.plugin);
        to.dedup_by_key(|subscriber| &subscriber.plugin);
        let route = |to: &Subscriber| Route {
            plugin: to.plugin.clone(),
            order_key: to.order_by.as_ref().and_then(|order_by| order_by.key(event)),
        };
        to.into_iter().map(route).collect()
    }
}

/// The one place where what is in force can be looked up and swapped.
pub type Board = ArcSwap<Live>;

#[cfg(test)]
mod tests {
    use hookweir_event::{EventId, Hops, Timestamp};

    use super::*;

    fn routes(subscriptions: &[(&str, &[&str])]) -> Routes {
        let plugin = |patterns: &[&str]| Plugin {
            version: None,
            generation: 0,
            subscribe: patterns.iter().map(|p| p.parse().unwrap()).collect(),
            order_by: None,
            policy: Policy::default(),
            memory: 0,
            api: ApiConfig::default(),
            record: Arc::default(),
            figures: Figures::new(false),
            alerts: AlertsConfig::default(),
            verifier: false,
            standing: Arc::default(),
        };
        Routes::new(&subscriptions.iter().map(|(n, p)| (n.parse().unwrap(), plugin(p))).collect())
    }

    fn to(routes: &Routes, event: &str) -> Vec<String> {
        let (origin, event_type) = event.split_once('/').unwrap();
        let event = Event {
            id: EventId::from_bytes([0; 16]),
            origin: origin.parse().unwrap(),
            event_type: event_type.parse().unwrap(),
            received_at: Timestamp::default(),
            method: String::new(),
            path: String::new(),
            query: None,
            headers: Vec::new(),
            body: Vec::new(),
            attributes: Vec::new(),
            hops: Hops::default(),
        };
        routes.of(&event).iter().map(|route| route.plugin.to_string()).collect()
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
