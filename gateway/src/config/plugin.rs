//! `[plugins.NAME]`: what the operator allows a plugin and how its deliveries are run.

use std::{collections::BTreeMap, time::Duration};

use hookweir_event::{Backoff, Pattern, PluginName};
use hookweir_host::{CORE_INSTANCES_MAX, Grant, Limits, TABLE_ELEMENTS_MAX};

use super::{
    alerts::AlertsConfig,
    reach,
    read::{Node, Section},
    secret::Secrets,
    server::{Token, set},
    units::{self, Rate},
};
use crate::order::{OnDead, OrderBy};

/// How long an open breaker waits before its first probe.
pub const PROBE_FIRST: Duration = Duration::from_secs(1);
/// The longest that it can be told to wait.
const PROBE_MAX: Duration = Duration::from_secs(3600);

/// What the operator says of one plugin.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PluginConfig {
    /// Replaces the module's own list.
    pub subscribe: Option<Vec<Pattern>>,
    /// Which of its events are handled one after another.
    pub order_by: Option<OrderBy>,
    /// How its deliveries are run.
    pub policy: Policy,
    /// Limits of an attempt, and the plugin's own settings.
    pub grant: Grant,
    /// What it answers below `/api/NAME/`.
    pub api: ApiConfig,
    /// Whether it may verify requests. `None`: the operator has not said.
    pub verifier: Option<bool>,
    /// From where on something is wrong with it.
    pub alerts: AlertsConfig,
}

/// How a plugin answers requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiConfig {
    /// Who may ask. `None`: the operator has not said, and so nobody.
    pub access: Option<ApiAccess>,
    /// Requests at the same time; some more wait.
    pub concurrency: u32,
}

impl Default for ApiConfig {
    fn default() -> Self {
        Self { access: None, concurrency: 16 }
    }
}

/// Who may ask a plugin's api.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApiAccess {
    /// Nobody.
    Off,
    /// Anybody.
    Public,
    /// Who has the token.
    Token(Token),
}

impl ApiAccess {
    fn read(node: &Node<'_, '_>, secrets: &Secrets<'_>) -> Option<Self> {
        let expected = "expected \"public\", \"off\" or { token = { env = \"NAME\" } }";
        if node.is_table() {
            let section = node.section()?;
            let token = section.get("token");
            if token.is_none() {
                section.fault(expected);
            }
            section.finish();
            return token.and_then(|node| Token::read(&node, secrets)).map(Self::Token);
        }
        node.parsed(|word| match word {
            "public" => Ok(Self::Public),
            "off" => Ok(Self::Off),
            _ => Err(expected),
        })
    }
}

/// How a plugin's deliveries are run (DESIGN §6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Attempts at the same time.
    pub concurrency: u32,
    /// Attempts begun in a time.
    pub rate: Option<Rate>,
    /// Attempts before a delivery is dead.
    pub max_attempts: u32,
    /// The wait between attempts.
    pub backoff: Backoff,
    /// What a dead letter means for later deliveries with its order key.
    pub order_on_dead: OnDead,
    /// When its deliveries are held back because they would fail; never, if it is switched off.
    pub breaker: Option<BreakerConfig>,
}

/// When a plugin's breaker opens, and how long it waits at most to try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerConfig {
    /// System failures in a row that open it.
    pub failures: u32,
    /// The longest wait between two probes.
    pub probe_max: Duration,
}

impl Default for BreakerConfig {
    /// Ten in a row are two events' worth with the default of five attempts: one poisonous event alone does
    /// not hold the others up.
    fn default() -> Self {
        Self { failures: 10, probe_max: Duration::from_secs(60) }
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            concurrency: 100,
            rate: Some(Rate { count: 1000, per: Duration::from_secs(60) }),
            max_attempts: 5,
            backoff: Backoff::default(),
            order_on_dead: OnDead::default(),
            breaker: Some(BreakerConfig::default()),
        }
    }
}

pub(super) fn read_all(
    section: Option<&Section<'_, '_>>,
    secrets: &Secrets<'_>,
    alerts: &AlertsConfig,
) -> BTreeMap<PluginName, PluginConfig> {
    let entries = section.map(Section::entries).unwrap_or_default();
    let read = |(name, node): &(String, Node<'_, '_>)| {
        let plugin = node.section().map(|section| PluginConfig::read(&section, secrets, alerts));
        let name = name.parse().map_err(|error| node.fault(error)).ok()?;
        Some((name, plugin?))
    };
    entries.iter().filter_map(read).collect()
}

impl PluginConfig {
    fn read(section: &Section<'_, '_>, secrets: &Secrets<'_>, alerts: &AlertsConfig) -> Self {
        let subscribe = section.get("subscribe").and_then(|node| node.items()).map(|items| {
            items.iter().filter_map(|item| item.parsed(str::parse::<Pattern>)).collect()
        });
        let mut config = Self { subscribe, ..Self::default() };
        config.order_by = section.get("order_by").and_then(|node| node.parsed(str::parse));
        config.policy.read(section);
        read_limits(&mut config.grant.limits, section);
        if let Some(node) = section.get("config") {
            if !node.is_table() {
                node.fault("expected a table of settings");
            } else if let Some(serde_json::Value::Object(settings)) = node.json() {
                config.grant.config = settings;
            }
        }
        reach::read(&mut config.grant, section, secrets);
        config.api.access = section.get("api").and_then(|node| ApiAccess::read(&node, secrets));
        let concurrency = section.get("api_concurrency").and_then(|node| node.number(1..1001));
        set(&mut config.api.concurrency, concurrency.and_then(|n| u32::try_from(n).ok()));
        config.alerts = alerts.of_plugin(section.sub("alerts").as_ref());
        config.verifier = section.get("verifier").and_then(|node| node.flag());
        section.finish();
        config
    }
}

impl Policy {
    fn read(&mut self, section: &Section<'_, '_>) {
        let count = |key, most| {
            section
                .get(key)
                .and_then(|node| node.number(1..most))
                .and_then(|n| u32::try_from(n).ok())
        };
        set(&mut self.concurrency, count("concurrency", 10_001));
        set(&mut self.max_attempts, count("max_attempts", 101));
        set(&mut self.rate, section.get("rate").and_then(|node| node.parsed(units::rate)));
        let wait = |key| section.get(key).and_then(|node| node.parsed(units::duration));
        set(&mut self.backoff.base, wait("backoff"));
        set(&mut self.backoff.max, wait("backoff_max"));
        set(&mut self.backoff.retry_after_max, wait("retry_after_max"));
        let on_dead = section.get("order_on_dead").and_then(|node| node.parsed(str::parse));
        set(&mut self.order_on_dead, on_dead);
        self.breaker = read_breaker(section);
    }
}

fn read_breaker(section: &Section<'_, '_>) -> Option<BreakerConfig> {
    let mut breaker = BreakerConfig::default();
    let failures = section.get("breaker_failures").and_then(|node| node.number(1..1001));
    set(&mut breaker.failures, failures.and_then(|n| u32::try_from(n).ok()));
    let probe_max = section.get("breaker_probe_max").and_then(|node| {
        let wait = node.parsed(units::duration)?;
        let fits = (PROBE_FIRST..=PROBE_MAX).contains(&wait);
        if !fits {
            node.fault("is between 1s and 1h");
        }
        fits.then_some(wait)
    });
    set(&mut breaker.probe_max, probe_max);
    let on = section.get("breaker").and_then(|node| node.parsed(units::on_or_off));
    on.unwrap_or(true).then_some(breaker)
}

fn read_limits(limits: &mut Limits, section: &Section<'_, '_>) {
    // A linear memory is 64 KiB at least and, being 32-bit, 4 GiB at most.
    let memory = section.get("memory").and_then(|node| node.size_in(64 << 10..=4 << 30));
    set(&mut limits.memory, memory);
    let size = |key| section.get(key).and_then(|node| node.parsed(units::size));
    let duration = |key| section.get(key).and_then(|node| node.parsed(units::duration));
    let count = |key, most| {
        let number = section.get(key).and_then(|node| node.number(0..most));
        number.and_then(|number| usize::try_from(number).ok())
    };
    set(&mut limits.state_bytes, size("state_max"));
    set(&mut limits.wall, duration("timeout"));
    set(&mut limits.api_wall, duration("api_timeout"));
    set(&mut limits.cpu, duration("cpu"));
    let reuse = section.get("reuse").and_then(|node| node.number(1..1_000_001));
    set(&mut limits.reuse, reuse.and_then(|number| u32::try_from(number).ok()));
    set(&mut limits.outputs, count("outputs", 10_001));
    set(&mut limits.output_bytes, size("outputs_max"));
    set(&mut limits.log_lines, count("log_lines", 100_001));
    let bytes = size("log_max").and_then(|bytes| usize::try_from(bytes).ok());
    set(&mut limits.log_bytes, bytes);
    let bytes = size("log_line_max").and_then(|bytes| usize::try_from(bytes).ok());
    set(&mut limits.log_line_bytes, bytes);
    read_guards(limits, section);
}

/// Limits that no honest plugin meets, unless it is a large one: an interpreter, a library of tables.
fn read_guards(limits: &mut Limits, section: &Section<'_, '_>) {
    let size = |key, range| section.get(key).and_then(|node| node.size_in(range));
    let number = |key, most: u64| section.get(key).and_then(|node| node.number(1..most + 1));
    set(&mut limits.table_elements, number("table_elements", TABLE_ELEMENTS_MAX));
    let instances = number("core_instances", u64::from(CORE_INSTANCES_MAX));
    set(&mut limits.core_instances, instances.and_then(|n| u32::try_from(n).ok()));
    set(&mut limits.handles, number("handles", 100_000).and_then(|n| usize::try_from(n).ok()));
    limits.host_call_bytes = size("host_call_max", 1 << 10..=1 << 30);
    let random = size("random_max", 0..=16 << 20);
    set(&mut limits.random_bytes, random.and_then(|bytes| u32::try_from(bytes).ok()));
    let module = &mut limits.module;
    set(&mut module.bytes, size("module_max", 1 << 10..=1 << 30));
    set(&mut module.function_bytes, size("function_max", 1 << 10..=64 << 20));
    let time = section.get("compile_timeout").and_then(|node| node.parsed(units::duration));
    set(&mut module.compile_time, time);
}
