//! `[server]`, `[admin]` and `[host]`.

use std::{
    collections::BTreeMap,
    fmt,
    net::{Ipv4Addr, SocketAddr},
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};

use hookweir_event::{Digest, REDACTED};
use hookweir_host::Settings;

use super::{
    addresses::{AddressList, Addresses},
    read::{Node, Section},
    scope::Scope,
    secret::Secrets,
    tls,
    units::{self, Rate},
};
use crate::serve::{ClientAuthority, Tls};

/// The public listener and what it grants to strangers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerConfig {
    /// Where senders post.
    pub listen: SocketAddr,
    /// Open connections at most; more wait in the system's backlog.
    pub connections: usize,
    /// Those that one address may have open; none: any number.
    pub connections_per_address: Option<usize>,
    /// From the first byte of a request to the last of its headers.
    pub header_timeout: Duration,
    /// How long a connection may stay open between requests.
    pub idle_timeout: Duration,
    /// From the headers to the last byte of the body.
    pub body_timeout: Duration,
    /// How long requests are taken still after a stop was asked for, while `/readyz` says that none should come.
    pub drain_delay: Duration,
    /// How long requests and attempts may go on after that.
    pub grace: Duration,
    /// Proxies whose `Forwarded` and `X-Forwarded-For` are believed, by the public listener.
    pub trusted_proxies: AddressList,
    /// Whether each connection begins with a PROXY header of theirs.
    pub proxy_protocol: bool,
    /// Who may ask for anything at all.
    pub addresses: Addresses,
    /// TLS, if it is spoken.
    pub tls: Option<Tls>,
    /// Requests a client address may make, whatever comes of them.
    pub address_rate: Option<Rate>,
    /// Requests a client address may have refused before it is refused unread.
    pub refused_rate: Option<Rate>,
    /// Verified requests of all sources together.
    pub rate: Option<Rate>,
    /// Bytes of bodies that are held at a time: read, checked, or waiting for their commit.
    pub bodies_max: u64,
    /// Events that wait for their commit at a time.
    pub appends_max: u64,
    /// How long an event should wait for its commit at most. While it takes longer, fewer may wait.
    pub append_latency: Duration,
}

/// Less would not hold one body of the default size of four sources.
const BODIES: RangeInclusive<u64> = 4 << 20..=1 << 40;

impl ServerConfig {
    pub(super) fn read(section: Option<Section<'_, '_>>, files: &Secrets<'_>) -> Self {
        let minute = Duration::from_secs(60);
        let mut config = Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            connections: 4096,
            // A busy sender has dozens; 16 addresses would be needed to take all.
            connections_per_address: Some(256),
            header_timeout: Duration::from_secs(10),
            // Longer than balancers keep theirs, 60 s mostly: they must not send into one that is being closed.
            idle_timeout: Duration::from_secs(75),
            body_timeout: Duration::from_secs(30),
            // Where nothing watches readiness, waiting would only make restarts slow.
            drain_delay: Duration::ZERO,
            grace: Duration::from_secs(20),
            trusted_proxies: AddressList::default(),
            proxy_protocol: false,
            addresses: Addresses::default(),
            tls: None,
            // Generous for one sender's whole fleet behind one address, and far below what one
            // flooding address would need to fill the machine.
            address_rate: Some(Rate { count: 60_000, per: minute }),
            refused_rate: Some(Rate { count: 600, per: minute }),
            // Each source has its own; one for all could be spent by one.
            rate: None,
            // A body is held up to three times over on its way to the disk, beside what plugins take: the
            // whole stays below the GiB that small machines have.
            bodies_max: 256 << 20,
            // Half of the store's queue: what plugins have done finds room in the other.
            appends_max: 2048,
            // Senders give up after 5 to 30 s.
            append_latency: Duration::from_secs(1),
        };
        let Some(section) = section else { return config };
        set(&mut config.listen, section.get("listen").and_then(|node| node.parsed(address)));
        set(&mut config.rate, section.get("rate").and_then(|node| node.parsed(units::rate)));
        set(&mut config.bodies_max, section.get("bodies_max").and_then(|n| n.size_in(BODIES)));
        let appends = section.get("appends_max").and_then(|node| node.number(1..1_000_001));
        set(&mut config.appends_max, appends);
        let connections = section.get("connections").and_then(|node| node.number(1..1_000_001));
        set(&mut config.connections, connections.and_then(|n| usize::try_from(n).ok()));
        let per_address = section.get("connections_per_address");
        set(
            &mut config.connections_per_address,
            per_address.and_then(|node| per_address_of(&node)),
        );
        for (key, field) in [
            ("header_timeout", &mut config.header_timeout),
            ("idle_timeout", &mut config.idle_timeout),
            ("body_timeout", &mut config.body_timeout),
            ("drain_delay", &mut config.drain_delay),
            ("grace", &mut config.grace),
            ("append_latency", &mut config.append_latency),
        ] {
            set(field, section.get(key).and_then(|node| node.parsed(units::duration)));
        }
        config.trusted_proxies = AddressList::read(&section, "trusted_proxies", files);
        if let Some(node) = section.get("proxy_protocol") {
            set(&mut config.proxy_protocol, node.flag());
            if config.proxy_protocol && config.trusted_proxies.networks.is_empty() {
                node.fault("needs trusted_proxies: a PROXY header is believed of nobody else");
            }
        }
        config.addresses = Addresses::read(&section, files);
        config.tls = section.sub("tls").and_then(|section| tls::read(&section, files));
        set(
            &mut config.address_rate,
            section.get("address_rate").and_then(|n| n.parsed(units::rate)),
        );
        set(
            &mut config.refused_rate,
            section.get("refused_rate").and_then(|n| n.parsed(units::rate)),
        );
        section.finish();
        config
    }
}

/// The operators' listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminConfig {
    /// Where health is asked for.
    pub listen: SocketAddr,
    /// What the admin API asks for; made by the gateway if there is none.
    pub token: Option<Token>,
    /// Tokens of others, by the names that say who they are.
    pub tokens: BTreeMap<String, NamedToken>,
    /// Whether it asks for nothing: on loopback only.
    pub insecure: bool,
    /// Names under which it is reached, beside addresses and `localhost`.
    pub hosts: Vec<String>,
    /// Proxies in front of this address whose `Forwarded` and `X-Forwarded-For` are believed. Those in front of
    /// the public one are others: what they let through could name an operator's address, or spend its limit.
    pub trusted_proxies: AddressList,
    /// TLS, if it is spoken.
    pub tls: Option<Tls>,
    /// Whose certificates let operators in, beside their token; none: whoever has the token.
    pub client_ca: Option<ClientAuthority>,
    /// Whether there are metrics.
    pub metrics: bool,
    /// Requests a client address may have refused before those to come are answered with 429 unread. Whoever has a
    /// right token is let in all the same: what keeps tokens from being guessed is their length.
    pub refused_rate: Option<Rate>,
    /// How much of the audit log is kept.
    pub audit: AuditConfig,
}

/// How much of the audit log is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditConfig {
    /// Bytes of one file.
    pub max: u64,
    /// Files that are kept beside the one that is written to.
    pub files: u32,
}

impl Default for AuditConfig {
    /// A change takes about half a KiB: together some hundred thousand.
    fn default() -> Self {
        Self { max: 16 << 20, files: 4 }
    }
}

/// A line of it takes some KiB at most.
const AUDIT: RangeInclusive<u64> = 64 << 10..=1 << 30;

/// A token that the config knows by its digest alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NamedToken {
    /// The SHA-256 of its text.
    pub sha256: Digest,
    /// What it is for.
    pub scope: Scope,
}

/// Tokens are compared with each request's one after another.
const TOKENS_MAX: usize = 100;

/// A name that a token may have.
pub(crate) fn token_name(name: &str) -> Result<String, &'static str> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if name.is_empty() || name.len() > 64 || !name.bytes().all(fits) {
        return Err("the name of a token is made of a-z, 0-9 and `-`, 64 at most");
    }
    if name == "admin" {
        return Err("`admin` is who has admin.token; choose another name");
    }
    Ok(name.to_owned())
}

impl NamedToken {
    fn read_all(section: &Section<'_, '_>) -> BTreeMap<String, Self> {
        let entries = section.entries();
        if entries.len() > TOKENS_MAX {
            section.fault(format_args!("at most {TOKENS_MAX} tokens"));
        }
        entries.into_iter().filter_map(|(name, node)| Self::read(name, &node)).collect()
    }

    fn read(name: String, node: &Node<'_, '_>) -> Option<(String, Self)> {
        if let Err(fault) = token_name(&name) {
            node.fault(fault);
        }
        let section = node.section()?;
        let sha256 = section.get("sha256");
        let scope = section.get("scope");
        if sha256.is_none() || scope.is_none() {
            section.fault("a token is { sha256 = \"..\", scope = \"read\" }; `hookweir admin token` makes one");
        }
        let digest = |text: &str| {
            text.parse::<Digest>().map_err(|_| "expected the SHA-256 of a token, 64 hex digits")
        };
        let sha256 = sha256.and_then(|node| node.parsed(digest));
        let scope = scope.and_then(|node| node.parsed(str::parse));
        section.finish();
        Some((name, Self { sha256: sha256?, scope: scope? }))
    }
}

/// A secret text that does not print.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

/// The shortest token that is taken, in bytes. 16 random ones in hex have 32.
const TOKEN_MIN: usize = 16;

impl Token {
    /// Reads one from where secrets are.
    pub(super) fn read(node: &Node<'_, '_>, secrets: &Secrets<'_>) -> Option<Self> {
        let token = secrets.text(node)?;
        if token.len() < TOKEN_MIN || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            node.fault(format_args!(
                "a token has at least {TOKEN_MIN} characters, none of them a space"
            ));
        }
        Some(Self(token))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl AdminConfig {
    pub(super) fn read(section: Option<Section<'_, '_>>, secrets: &Secrets<'_>) -> Self {
        let mut config = Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8081)),
            token: None,
            tokens: BTreeMap::new(),
            insecure: false,
            hosts: Vec::new(),
            trusted_proxies: AddressList::default(),
            tls: None,
            client_ca: None,
            metrics: true,
            refused_rate: Some(Rate { count: 60, per: Duration::from_secs(60) }),
            audit: AuditConfig::default(),
        };
        let Some(section) = section else { return config };
        set(&mut config.listen, section.get("listen").and_then(|node| node.parsed(address)));
        config.token = section.get("token").and_then(|node| Token::read(&node, secrets));
        let tokens = section.sub("tokens");
        config.tokens = tokens.map(|tokens| NamedToken::read_all(&tokens)).unwrap_or_default();
        config.trusted_proxies = AddressList::read(&section, "trusted_proxies", secrets);
        if let Some(section) = section.sub("tls") {
            config.client_ca = tls::read_client_ca(&section, secrets);
            let tls = tls::read(&section, secrets);
            config.tls = tls.map(|tls| tls.asking(config.client_ca.iter()));
        }
        let refused_rate = section.get("refused_rate").and_then(|node| node.parsed(units::rate));
        set(&mut config.refused_rate, refused_rate);
        let max = section.get("audit_max").and_then(|node| node.size_in(AUDIT));
        set(&mut config.audit.max, max);
        let files = section.get("audit_files").and_then(|node| node.number(0..101));
        set(&mut config.audit.files, files.and_then(|n| u32::try_from(n).ok()));
        if let Some(node) = section.get("insecure") {
            set(&mut config.insecure, node.flag());
            if config.insecure && !config.listen.ip().is_loopback() {
                node.fault("without a token the admin API is for loopback addresses only");
            }
            if config.insecure && (config.token.is_some() || !config.tokens.is_empty()) {
                node.fault("there is a token; remove one of the two");
            }
        }
        set(&mut config.metrics, section.get("metrics").and_then(|node| node.flag()));
        if let Some(node) = section.get("hosts") {
            let hosts = node.items().unwrap_or_default();
            config.hosts = hosts.iter().filter_map(|host| host.text().map(str::to_owned)).collect();
        }
        section.finish();
        config
    }

    /// Whether more differs than can be followed: a token is made, and its limit, at the start.
    pub(super) fn needs_restart(&self, new: &Self) -> bool {
        self.listen != new.listen
            || self.insecure != new.insecure
            || self.token.is_some() != new.token.is_some()
            || self.refused_rate != new.refused_rate
            || self.audit != new.audit
            || self.metrics != new.metrics
    }
}

/// Whose word decides which events a plugin gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subscriptions {
    /// The module's own, unless the operator lists others: the folder is trusted to subscribe.
    Module,
    /// Only what the operator lists in `[plugins.NAME]`.
    Granted,
}

/// Which versions of plugins serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Versions {
    /// Those of this gateway's own folder.
    Folder,
    /// Those that all gateways at one store agree on: what one's folder shows is proposed to all.
    Store,
}

/// How plugins are run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostConfig {
    /// The folder of the plugins.
    pub dir: PathBuf,
    /// Whose subscriptions are in force.
    pub subscriptions: Subscriptions,
    /// Which versions of plugins serve.
    pub versions: Versions,
    /// Attempts that may run at the same time, over all plugins.
    pub instances: u32,
    /// Memory that all running attempts together may be granted, in bytes.
    pub memory: u64,
    /// Threads that run plugins. Ingress has its own.
    pub threads: usize,
    /// Bytes of a plugin's stack.
    pub stack: usize,
    /// Instances that are kept between calls, of all plugins that ask for it by `reuse`.
    pub kept: u32,
    /// Bytes of memory that those have together.
    pub kept_memory: u64,
    /// Whether the system tells of changes in the folders that are followed. Some file systems, those of
    /// networks above all, tell of none or of some.
    pub watch: bool,
    /// How often those folders are looked at without being told.
    pub rescan: Duration,
}

/// Looking more often than this would be most of what the gateway does.
const RESCAN_MIN: Duration = Duration::from_millis(100);
/// A handler of a few frames fits into the least; the most for each instance is address space only.
const STACK: RangeInclusive<u64> = 64 << 10..=16 << 20;

impl HostConfig {
    /// `alone`: the store is no other gateway's.
    pub(super) fn read(section: Option<Section<'_, '_>>, folder: &Path, alone: bool) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let host = Settings::default();
        let mut config = Self {
            dir: folder.join("plugins"),
            subscriptions: Subscriptions::Module,
            versions: Versions::Folder,
            instances: host.instances,
            memory: 8 << 30,
            // One core is left for ingress and the store, where there is one to leave.
            threads: cores.saturating_sub(1).max(1),
            stack: host.stack,
            kept: host.warm_instances,
            kept_memory: host.warm_memory,
            watch: true,
            rescan: Duration::from_secs(15),
        };
        let Some(section) = section else { return config };
        set(
            &mut config.dir,
            section.get("dir").and_then(|node| node.text()).map(|dir| folder.join(dir)),
        );
        set(
            &mut config.subscriptions,
            section.get("subscriptions").and_then(|node| node.parsed(subscriptions)),
        );
        set(&mut config.versions, section.get("versions").and_then(|node| versions(&node, alone)));
        let instances = section.get("instances").and_then(|node| node.number(1..10_001));
        set(&mut config.instances, instances.and_then(|n| u32::try_from(n).ok()));
        set(&mut config.memory, section.get("memory").and_then(|node| node.parsed(units::size)));
        let threads = section.get("threads").and_then(|node| node.number(1..1025));
        set(&mut config.threads, threads.and_then(|n| usize::try_from(n).ok()));
        let kept = section.get("kept").and_then(|node| node.number(0..1_001));
        set(&mut config.kept, kept.and_then(|n| u32::try_from(n).ok()));
        let kept_memory = section.get("kept_memory").and_then(|node| node.parsed(units::size));
        set(&mut config.kept_memory, kept_memory);
        let stack = section.get("stack").and_then(|node| node.size_in(STACK));
        set(&mut config.stack, stack.and_then(|bytes| usize::try_from(bytes).ok()));
        set(&mut config.watch, section.get("watch").and_then(|node| node.parsed(units::on_or_off)));
        set(&mut config.rescan, section.get("rescan").and_then(|node| node.parsed(rescan)));
        section.finish();
        config
    }

    /// Whether more differs than can be followed: the pool is made once.
    pub(super) fn needs_restart(&self, new: &Self) -> bool {
        let Self { subscriptions, rescan, .. } = *self;
        *self != Self { subscriptions, rescan, ..new.clone() }
    }
}

/// Puts a value that was read without fault in the default's place.
pub(super) fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

/// A number, or `"off"`.
#[expect(
    clippy::option_option,
    reason = "none: it can't be read; the inner one: there is no limit"
)]
fn per_address_of(node: &Node<'_, '_>) -> Option<Option<usize>> {
    if node.is_text() {
        let off = |text: &str| {
            if text == "off" { Ok(None) } else { Err("expected a number, or \"off\"") }
        };
        return node.parsed(off);
    }
    node.number(1..1_000_001).and_then(|n| usize::try_from(n).ok()).map(Some)
}

pub(super) fn address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(|_| "expected an address and port such as \"127.0.0.1:8080\"")
}

fn rescan(text: &str) -> Result<Duration, String> {
    match units::duration(text)? {
        short if short < RESCAN_MIN => Err("is at least \"100ms\"".to_owned()),
        rescan => Ok(rescan),
    }
}

fn versions(node: &Node<'_, '_>, alone: bool) -> Option<Versions> {
    let read = |text: &str| match text {
        "folder" => Ok(Versions::Folder),
        "store" if alone => Err(
            "a store in a file is one gateway's alone, which has nobody to share with: leave it out, or set store.url = \"postgres://..\"",
        ),
        "store" => Ok(Versions::Store),
        _ => Err("expected \"folder\" or \"store\""),
    };
    node.parsed(read)
}

fn subscriptions(text: &str) -> Result<Subscriptions, &'static str> {
    match text {
        "module" => Ok(Subscriptions::Module),
        "granted" => Ok(Subscriptions::Granted),
        _ => Err("expected \"module\" or \"granted\""),
    }
}
