//! `[sources.NAME]`: the ingress endpoints.

use std::{collections::BTreeMap, time::Duration};

use hookweir_event::{PluginName, SourceName};
use hookweir_verify::{Declaration, Preset, ReplayGuard, Scheme, Secret};

use super::{
    addresses::Addresses,
    alerts::AlertsConfig,
    plugin::PluginConfig,
    read::{Node, Section, near},
    secret::Secrets,
    server::{ServerConfig, set},
    tls,
    units::{self, Rate, Size},
};
use crate::serve::ClientAuthority;

/// The most that `body_max` can be: the largest webhooks, GitHub's, have 25 MiB, and one is held in memory
/// whole, some times over.
const BODY_MAX: u64 = 256 << 20;

/// One configured ingress endpoint.
#[derive(Debug, Clone)]
pub struct SourceConfig {
    /// Where senders post; unique.
    pub path: String,
    /// How a sender proves itself.
    pub scheme: Scheme,
    /// The plugin that does the scheme's check, if one does.
    pub verifier: Option<PluginName>,
    /// Any of them will do while it is valid.
    pub secrets: Vec<Secret>,
    /// Whether the secret comes with the provider's handshake, and there are none above.
    pub learns: bool,
    /// The URL that the sender calls, without a query, where its scheme signs it.
    pub public_url: Option<String>,
    /// Verified requests in a time.
    pub rate: Option<Rate>,
    /// Addresses that may post.
    pub addresses: Addresses,
    /// Whose certificate a sender has to show, beside what the scheme asks for.
    pub client_ca: Option<ClientAuthority>,
    /// The largest body, in bytes.
    pub body_max: u64,
    /// Whether its bodies may be compressed. What is larger than `body_max` unpacked is refused too.
    pub decompress: bool,
    /// How important it is, where there is not room for all.
    pub priority: Priority,
    /// How long a duplicate is told from a new event.
    pub dedupe_window: Duration,
    /// What an accepted request is answered with.
    pub reply: Reply,
    /// The header that goes back with it as it came, where the provider wants that.
    pub echoes: Option<&'static str>,
    /// From where on something is wrong with it.
    pub alerts: AlertsConfig,
}

/// How important a source is, where there is not room for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Priority {
    /// It is turned away first.
    Low,
    /// As others.
    #[default]
    Normal,
    /// It is turned away last.
    High,
}

impl Priority {
    /// The word in the config.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
        }
    }

    fn parse(word: &str) -> Result<Self, &'static str> {
        let all = [Self::Low, Self::Normal, Self::High];
        let named = all.into_iter().find(|priority| priority.as_str() == word);
        named.ok_or("expected \"high\", \"normal\" or \"low\"")
    }
}

/// What an accepted request is answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// A 2xx status.
    pub status: u16,
    /// Replaces the JSON body with the event's id.
    pub body: Option<String>,
}

pub(super) fn read_all(
    section: Option<&Section<'_, '_>>,
    secrets: &Secrets<'_>,
    (plugins, alerts): (&BTreeMap<PluginName, PluginConfig>, &AlertsConfig),
    server: &mut ServerConfig,
) -> BTreeMap<SourceName, SourceConfig> {
    let entries = section.map(Section::entries).unwrap_or_default();
    let mut paths = BTreeMap::new();
    let mut sources = BTreeMap::new();
    for (name, node) in &entries {
        let taken = |path: &Node<'_, '_>| path.parsed(|path| claimed(&mut paths, path, name));
        let section = node.section();
        let known = (plugins, alerts, server.bodies_max);
        let source =
            section.and_then(|section| SourceConfig::read(&section, secrets, known, taken));
        let client_ca = source.as_ref().and_then(|source| source.client_ca.as_ref());
        if client_ca.is_some() && server.tls.is_none() {
            node.fault("client_ca needs [server.tls]: certificates are shown in its handshake");
        }
        let parsed: Option<SourceName> = name.parse().map_err(|error| node.fault(error)).ok();
        if let (Some(parsed), Some(source)) = (parsed, source) {
            sources.insert(parsed, source);
        }
    }
    let authorities = sources.values().filter_map(|source| source.client_ca.as_ref());
    server.tls = server.tls.take().map(|tls| tls.asking(authorities));
    sources
}

/// A path that is well formed and no other source's.
fn claimed<'n>(
    paths: &mut BTreeMap<String, &'n str>,
    path: &str,
    name: &'n str,
) -> Result<String, String> {
    let path = checked_path(path)?;
    match paths.insert(path.clone(), name) {
        Some(other) => Err(format!("the path {path} is already taken by {other}")),
        None => Ok(path),
    }
}

impl SourceConfig {
    /// The URL that the sender called, if one is configured: what is public about it, never the Host
    /// header, with the query that came in.
    pub fn url_called(&self, query: Option<&str>) -> Option<String> {
        let public = self.public_url.as_deref()?;
        Some(match query {
            Some(query) => format!("{public}?{query}"),
            None => public.to_owned(),
        })
    }

    /// Reads every key before it gives up, so that one fault does not hide the others.
    fn read(
        section: &Section<'_, '_>,
        secrets: &Secrets<'_>,
        (plugins, alerts, bodies_max): (&BTreeMap<PluginName, PluginConfig>, &AlertsConfig, u64),
        claim: impl FnOnce(&Node<'_, '_>) -> Option<String>,
    ) -> Option<Self> {
        let path = match section.get("path") {
            Some(node) => claim(&node),
            None => {
                section.fault("needs a path, such as path = \"/webhooks/github\"");
                None
            }
        };
        let insecure = section.get("insecure").and_then(|node| node.flag()).unwrap_or(false);
        let Proof { scheme, preset, verifier } = read_scheme(section, insecure, plugins);
        // A preset checks, whatever else is said: without secrets it would refuse everything.
        let unchecked = scheme.as_ref().map_or(insecure, Scheme::is_insecure);
        let (keys, learns) = read_secrets(section, secrets, (scheme.as_ref(), preset), unchecked);
        let wanted = preset.and_then(|preset| preset.reply);
        let mut reply = Reply {
            status: wanted.map_or(202, |reply| reply.status),
            body: wanted.map(|reply| reply.body.to_owned()),
        };
        if let Some(answer) = section.sub("reply") {
            let status = answer.get("status").and_then(|node| node.number(200..300));
            set(&mut reply.status, status.and_then(|status| u16::try_from(status).ok()));
            if let Some(body) = answer.get("body") {
                reply.body = body.text().map(str::to_owned);
            }
            answer.finish();
        }
        let rate = section.get("rate").and_then(|node| node.parsed(units::rate));
        let body_max = section.get("body_max").and_then(|node| node.parsed(units::size));
        let window = section.get("dedupe_window").and_then(|node| node.parsed(units::duration));
        let public_url = section.get("public_url").and_then(|node| node.parsed(public_url));
        let addresses = Addresses::read(section, secrets);
        let client_ca = tls::read_client_ca(section, secrets);
        if body_max.is_some_and(|bytes| bytes > BODY_MAX) {
            section.fault("body_max: at most 256MiB");
        } else if body_max.is_some_and(|bytes| bytes > bodies_max / 2) {
            let bodies_max = Size(bodies_max);
            section.fault(format_args!(
                "body_max: at most half of server.bodies_max, which is {bodies_max}: one body must not take the \
                 memory of all"
            ));
        }
        let decompress = section.get("decompress").and_then(|node| node.flag()).unwrap_or(false);
        if decompress && body_max.is_some_and(|bytes| bytes > bodies_max / 4) {
            section.fault("body_max: with decompress at most a quarter of server.bodies_max");
        }
        let priority = section.get("priority").and_then(|node| node.parsed(Priority::parse));
        let alerts = alerts.of_source(section.sub("alerts").as_ref());
        section.finish();
        let scheme = scheme?;
        if scheme.needs_url() && public_url.is_none() {
            section.fault("needs public_url: its scheme signs the URL that the sender calls");
        }
        Some(Self {
            path: path?,
            scheme,
            verifier,
            secrets: keys,
            learns,
            public_url,
            rate: rate.unwrap_or(Some(Rate { count: 1000, per: Duration::from_secs(60) })),
            addresses,
            client_ca,
            body_max: body_max.unwrap_or(1 << 20),
            decompress,
            priority: priority.unwrap_or_default(),
            dedupe_window: window.unwrap_or(Duration::from_secs(72 * 3600)),
            reply,
            echoes: preset.and_then(|preset| preset.echoes),
            alerts,
        })
    }
}

/// The secrets, and whether they come with the provider's handshake instead.
fn read_secrets(
    section: &Section<'_, '_>,
    secrets: &Secrets<'_>,
    (scheme, preset): (Option<&Scheme>, Option<&Preset>),
    unchecked: bool,
) -> (Vec<Secret>, bool) {
    let Some(node) = section.get("secrets") else {
        // A verifier may do without: with a public key that is part of it, say.
        let found = preset.is_some_and(Preset::finds_keys)
            || scheme.is_some_and(|scheme| scheme.finds_keys() || scheme.is_vouched());
        if !unchecked && !found {
            section.fault("needs secrets, such as secrets = [{ env = \"GITHUB_SECRET\" }]");
        }
        return (Vec::new(), false);
    };
    if node.is_text() {
        if node.text() != Some("handshake") {
            node.fault("expected a list, or \"handshake\" if the provider's handshake brings it");
        } else if scheme.is_some_and(|scheme| !scheme.learns()) {
            node.fault("this scheme has no handshake that brings a secret");
        }
        return (Vec::new(), true);
    }
    let items = node.items();
    if items.as_ref().is_some_and(Vec::is_empty) && !unchecked {
        node.fault("needs at least one secret");
    }
    (items.iter().flatten().filter_map(|item| secrets.read(item, scheme)).collect(), false)
}

/// How a source is proven, and where that comes from.
#[derive(Default)]
struct Proof {
    scheme: Option<Scheme>,
    preset: Option<&'static Preset>,
    verifier: Option<PluginName>,
}

/// A preset's name, a plugin's, or a table that declares a scheme. Without any a source does not start,
/// unless it says `insecure = true`.
fn read_scheme(
    section: &Section<'_, '_>,
    insecure: bool,
    plugins: &BTreeMap<PluginName, PluginConfig>,
) -> Proof {
    let params = section.sub("params").map(|params| read_params(&params)).unwrap_or_default();
    let replay_guard = section.get("replay_guard");
    let Some(node) = section.get("scheme") else {
        section.fault(
            "needs a scheme: a preset such as scheme = \"github\", or a table that declares one. \
             To take anything from anyone, say insecure = true and scheme = { type = .., id = .. }",
        );
        return Proof::default();
    };
    let is_text = node.is_text();
    let plugin = is_text.then(|| node.text()?.strip_prefix(VERIFIER_PREFIX)).flatten();
    if !params.is_empty() && (node.is_table() || plugin.is_some()) {
        node.fault("only presets have params");
    }
    let mut proof = if let Some(plugin) = plugin {
        read_verifier(&node, plugin, plugins)
    } else if node.is_table() {
        Proof { scheme: read_declaration(&node, insecure), ..Proof::default() }
    } else {
        let preset = read_preset(&node);
        let scheme = preset.and_then(|preset| {
            for (name, why) in preset.binds {
                if params.get(*name).is_none_or(String::is_empty) {
                    section.fault(format_args!("needs params = {{ {name} = \"..\" }}: {why}"));
                }
            }
            let faults = match preset.scheme(&params) {
                Ok(scheme) => return Some(scheme),
                Err(faults) => faults,
            };
            faults.into_iter().for_each(|fault| {
                section.fault(format_args!("{}: {}", fault.field, fault.message));
            });
            None
        });
        Proof { scheme, preset, verifier: None }
    };
    let Some(guard) = replay_guard else { return proof };
    let word =
        guard.parsed(|word| ReplayGuard::from_word(word).ok_or("expected \"content\" or \"none\""));
    proof.scheme = proof.scheme.zip(word).and_then(|(scheme, word)| {
        scheme.with_replay_guard(word).map_err(|fault| guard.fault(fault.message)).ok()
    });
    proof
}

/// What stands before the name of a plugin that verifies.
const VERIFIER_PREFIX: &str = "plugin:";

fn read_verifier(
    node: &Node<'_, '_>,
    name: &str,
    plugins: &BTreeMap<PluginName, PluginConfig>,
) -> Proof {
    let verifier: Option<PluginName> = name.parse().map_err(|error| node.fault(error)).ok();
    let granted = |plugin| plugins.get(plugin).and_then(|plugin| plugin.verifier) == Some(true);
    if verifier.as_ref().is_some_and(|plugin| !granted(plugin)) {
        node.fault(format_args!(
            "the plugin {name} is not granted that: say verifier = true at [plugins.{name}]"
        ));
    }
    let scheme = Some(Scheme::vouched(&format!("{VERIFIER_PREFIX}{name}")));
    Proof { scheme, preset: None, verifier }
}

fn read_preset(node: &Node<'_, '_>) -> Option<&'static Preset> {
    let name = node.text()?;
    let preset = Preset::named(name);
    if preset.is_none() {
        let hint = near(name, Scheme::preset_names())
            .map_or_else(String::new, |near| format!("; did you mean \"{near}\"?"));
        node.fault(format_args!(
            "no preset \"{name}\"{hint} (`hookweir verify --list` names them)"
        ));
    }
    preset
}

/// What a preset wants to know beside the secrets. The names are the preset's to check.
fn read_params(section: &Section<'_, '_>) -> BTreeMap<String, String> {
    let entries = section.entries().into_iter();
    entries.filter_map(|(name, node)| Some((name, node.text()?.to_owned()))).collect()
}

fn read_declaration(node: &Node<'_, '_>, insecure: bool) -> Option<Scheme> {
    let section = node.section()?;
    let mut declaration = Declaration::default();
    let mut typed = true;
    for key in Declaration::KEYS {
        let text = section.get(key).map(|value| value.text().map(str::to_owned));
        typed &= text != Some(None);
        if let Some(place) = declaration.value_mut(key) {
            *place = text.flatten();
        }
    }
    section.finish();
    if !typed {
        // A key of the wrong type would be reported once more, as one that is left out.
        return None;
    }
    let scheme =
        if insecure { Scheme::insecure(&declaration) } else { Scheme::declare(&declaration) };
    let faults = match scheme {
        Ok(scheme) => return Some(scheme),
        Err(faults) => faults,
    };
    for fault in faults {
        match section.get(fault.field) {
            Some(at) => at.fault(fault.message),
            None => node.fault(format_args!("{}: {}", fault.field, fault.message)),
        }
    }
    None
}

fn public_url(text: &str) -> Result<String, &'static str> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    match rest {
        Some(rest) if !rest.is_empty() && !text.contains(['?', '#', ' ']) => Ok(text.to_owned()),
        _ => Err(
            "expected the URL that the sender calls, without a query: \"https://hooks.example.com/webhooks/twilio\"",
        ),
    }
}

fn checked_path(path: &str) -> Result<String, &'static str> {
    if !path.starts_with('/') || path.contains(['?', '#', '*', ' ']) {
        return Err("expected a path such as \"/webhooks/github\"");
    }
    if path == "/api" || path.starts_with("/api/") {
        return Err("/api/ belongs to plugins; choose another path");
    }
    Ok(path.to_owned())
}
