//! What the page says, metric by metric. `docs/operating/metrics.md` lists the same.

use std::time::Duration;

use hookweir_event::{Outcome, PluginName, Timestamp};
use hookweir_store::{Depth, Health as StoreHealth, Store, Survey, WHOLE};

use super::{
    Metrics,
    figures::{Count, SourceFigures},
    page::{Labels, Page},
    process::Process,
};
use crate::{
    alerts::Standing,
    budget::Budget,
    dispatch::Monitor,
    health::{Health, Reloaded},
    limits::SharedRates,
    live::{Live, Plugin, Source},
    pauses::Pauses,
    serve::Tls,
};

/// Microseconds and milliseconds of a second.
const MICROS: f64 = 1e6;
const MILLIS: f64 = 1e3;

fn label(name: &'static str, value: &(impl ToString + ?Sized)) -> Labels {
    vec![(name, value.to_string())]
}

fn labels<const N: usize>(pairs: [(&'static str, &str); N]) -> Labels {
    pairs.map(|(name, value)| (name, value.to_owned())).into()
}

/// What is not known is left out: a 0 would be taken for one.
pub(super) fn process(page: &mut Page, process: Process) {
    let mut gauge = |name, help, number: Option<u64>| {
        let mut gauge = page.gauge(name, help);
        number.into_iter().for_each(|number| gauge.is(Labels::new(), number));
    };
    gauge("process_resident_memory_bytes", "Resident memory", process.resident_bytes);
    gauge("process_virtual_memory_bytes", "Address space", process.virtual_bytes);
    gauge("process_threads", "Threads", process.threads);
    gauge("process_open_fds", "Open file descriptors", process.open_files);
    gauge("process_max_fds", "The most file descriptors that may be open", process.files_max);
    let help = "When the process started, since 1970";
    let mut start = page.gauge("process_start_time_seconds", help);
    process.start_seconds.into_iter().for_each(|at| start.measures(Labels::new(), at));
    let mut cpu = page.counter("process_cpu_seconds", "CPU time of all threads");
    process.cpu_seconds.into_iter().for_each(|seconds| cpu.sum(Labels::new(), seconds));
}

pub(super) fn gateway(page: &mut Page, metrics: &Metrics) {
    let version = label("version", env!("CARGO_PKG_VERSION"));
    page.info("hookweir_build", "The version that runs", version);
    let gauges = metrics.host.gauges();
    let mut gauge = |name, help, number| page.gauge(name, help).is(Labels::new(), number);
    let (open, most) = (metrics.connections.open(), metrics.connections.most());
    gauge("hookweir_connections", "Open connections of the public listener", open as u64);
    gauge("hookweir_connections_limit", "The most that may be open", most as u64);
    let help = "Connections of the public listener that were closed before there was a request";
    let mut closed = page.counter("hookweir_connections_turned_away", help);
    for (why, count) in metrics.connections.turned_away() {
        closed.count(label("reason", why.as_str()), count);
    }
    let mut gauge = |name, help, number| page.gauge(name, help).is(Labels::new(), number);
    let (used, max) = (gauges.instances_in_use, gauges.instances_max);
    gauge("hookweir_pool_instances", "Plugin instances that run attempts now", used.into());
    gauge("hookweir_pool_instances_limit", "The most that may", max.into());
    let help =
        "Versions of plugins that are compiled and loaded, those that finish attempts included";
    gauge("hookweir_pool_versions", help, gauges.versions);
}

/// When certificates run out, each by its place in the config.
pub(super) fn certificates(page: &mut Page, live: &Live) {
    let help = "When a certificate runs out, or one that stands behind it does, since 1970";
    let mut expires = page.gauge("hookweir_tls_certificate_expires_timestamp_seconds", help);
    let config = &live.config;
    for (listener, tls) in [("server", &config.server.tls), ("admin", &config.admin.tls)] {
        let run_out = tls.iter().flat_map(Tls::run_out);
        for (at, run_out) in run_out.enumerate() {
            let place = match at.checked_sub(1) {
                None => format!("{listener}.tls.cert"),
                Some(at) => format!("{listener}.tls.certs[{at}].cert"),
            };
            if let Some(run_out) = run_out {
                expires.is(label("certificate", &place), run_out.as_secs());
            }
        }
    }
}

type SourceCount = fn(&SourceFigures) -> &Count;

pub(super) fn sources(page: &mut Page, live: &Live, strays: &Count) {
    let mut sources: Vec<_> = live.sources().map(AsRef::as_ref).collect();
    sources.sort_by_key(|source: &&Source| &source.name);
    let counters: [(&str, &str, SourceCount); 5] = [
        ("hookweir_source_requests", "Requests to the source's path", |f| &f.requests),
        ("hookweir_source_accepted", "Requests that became an event", |f| &f.accepted),
        ("hookweir_source_duplicates", "Requests sent again, and answered", |f| &f.duplicates),
        ("hookweir_source_handshakes", "Handshakes answered", |f| &f.handshakes),
        ("hookweir_source_body_bytes", "Bodies that were read whole", |f| &f.body_bytes),
    ];
    for (name, help, count) in counters {
        let mut counter = page.counter(name, help);
        for source in &sources {
            counter.count(label("source", &source.name), count(&source.figures).get());
        }
    }
    let mut refused = page.counter("hookweir_source_refused", "Requests refused");
    for source in &sources {
        for (reason, count) in source.record.refused_by_reason() {
            refused.count(labels([("source", source.name.as_str()), ("reason", reason)]), count);
        }
    }
    let help = "From a request's headers to its acknowledgement, duplicates included";
    let mut acks = page.histogram("hookweir_source_ack_seconds", help);
    for source in &sources {
        acks.spread(label("source", &source.name), source.figures.acks(), MICROS);
    }
    let help = "Requests to a path that no source has and no plugin answers";
    page.counter("hookweir_stray_requests", help).count(Labels::new(), strays.get());
}

/// What requests hold between their first byte and their commit.
pub(super) fn budget(page: &mut Page, live: &Live, budget: &Budget) {
    let server = &live.config.server;
    let Budget { bodies, places } = budget;
    let mut gauge = |name, help, number| page.gauge(name, help).is(Labels::new(), number);
    let help = "Headers and bodies that are read, checked, or wait for their commit";
    gauge("hookweir_bodies_bytes", help, bodies.held());
    gauge("hookweir_bodies_limit_bytes", "The most that may be", server.bodies_max);
    gauge("hookweir_appends", "Events that wait for their commit", places.taken());
    let help = "The most that may now: fewer while commits are slow";
    gauge("hookweir_appends_limit", help, places.most(server));
    let mut sources: Vec<_> = live.sources().map(AsRef::as_ref).collect();
    sources.sort_by_key(|source: &&Source| &source.name);
    let mut bytes = page.gauge("hookweir_source_bodies_bytes", "The source's part of these");
    for source in &sources {
        bytes.is(label("source", &source.name), source.shares.body_bytes());
    }
    let mut appends = page.gauge("hookweir_source_appends", "The source's part of these");
    for source in &sources {
        appends.is(label("source", &source.name), source.shares.appends());
    }
}

/// What attempts of the live version and the one before came to.
pub(super) fn attempts(page: &mut Page, live: &Live) {
    let versions: Vec<_> = live
        .plugins()
        .iter()
        .flat_map(|(name, plugin)| {
            let versions = plugin.figures.versions().iter();
            versions.map(move |(version, figures)| (name.as_str(), version.short(), figures))
        })
        .collect();
    let mut attempts = page.counter("hookweir_plugin_attempts", "Attempts that ended");
    for (plugin, version, figures) in &versions {
        for (outcome, count) in figures.outcomes().filter(|(outcome, _)| is_run(*outcome)) {
            let outcome = outcome.as_str();
            let labels = [("plugin", *plugin), ("version", version), ("outcome", outcome)];
            attempts.count(self::labels(labels), count);
        }
    }
    let of = |plugin: &str, version: &str| labels([("plugin", plugin), ("version", version)]);
    let mut runs = page.histogram("hookweir_plugin_run_seconds", "How long attempts ran");
    for (plugin, version, figures) in &versions {
        runs.spread(of(plugin, version), figures.runs(), MICROS);
    }
    let mut cpu = page.counter("hookweir_plugin_cpu_seconds", "CPU time of attempts");
    for (plugin, version, figures) in &versions {
        cpu.sum(of(plugin, version), figures.cpu().as_secs_f64());
    }
    let help = "The most memory that an attempt had since the version serves";
    let mut peak = page.gauge("hookweir_plugin_memory_peak_bytes", help);
    for (plugin, version, figures) in &versions {
        peak.is(of(plugin, version), figures.memory_peak());
    }
}

/// Whether a version ran: the other outcomes are the store's.
fn is_run(outcome: Outcome) -> bool {
    !matches!(outcome, Outcome::Lost | Outcome::HopLimit | Outcome::Unreadable)
}

pub(super) fn deliveries(page: &mut Page, live: &Live, survey: Option<&Survey>, now: Timestamp) {
    let plugins = live.plugins();
    let help = "How long deliveries were due before an attempt began";
    let mut waits = page.histogram("hookweir_plugin_queue_wait_seconds", help);
    for (name, plugin) in plugins {
        waits.spread(label("plugin", name), plugin.figures.plugin.waits(), MILLIS);
    }
    let help = "From the commit of an event, or its replay, until its delivery was done or dead";
    let mut handled = page.histogram("hookweir_plugin_handling_seconds", help);
    for (name, plugin) in plugins {
        handled.spread(label("plugin", name), plugin.figures.plugin.handled(), MILLIS);
    }
    let depth = |name: &PluginName| {
        survey.and_then(|survey| survey.depths.iter().find(|d| d.plugin == *name))
    };
    let none = |name: &PluginName| Depth {
        plugin: name.clone(),
        due: 0,
        behind: 0,
        held: 0,
        let_go: 0,
        leased: 0,
        dead: 0,
        due_at: None,
    };
    let depths: Vec<_> = match survey {
        Some(_) => plugins.keys().map(|name| depth(name).cloned().unwrap_or(none(name))).collect(),
        None => Vec::new(),
    };
    let mut waiting = page.gauge("hookweir_plugin_deliveries", "Deliveries that are not over");
    for Depth { plugin, due, behind, held, leased, .. } in &depths {
        let states = [("due", due), ("behind", behind), ("held", held), ("leased", leased)];
        for (state, count) in states {
            waiting.is(labels([("plugin", plugin.as_str()), ("state", state)]), *count);
        }
    }
    let mut dead = page.gauge("hookweir_plugin_dead_letters", "Dead letters that are kept");
    for depth in &depths {
        dead.is(label("plugin", &depth.plugin), depth.dead);
    }
    let help = "How long the oldest delivery that is due has been so";
    let mut oldest = page.gauge("hookweir_plugin_oldest_due_seconds", help);
    for depth in &depths {
        let age = depth.due_at.map_or(Duration::ZERO, |due_at| now.since(due_at));
        oldest.measures(label("plugin", &depth.plugin), age.as_secs_f64());
    }
}

pub(super) fn plugins(page: &mut Page, live: &Live, (monitor, health): (&Monitor, &Health)) {
    let plugins: Vec<_> = live.plugins().iter().collect();
    let seen: Vec<_> = plugins.iter().map(|(name, _)| (*name, monitor.plugin(name))).collect();
    let mut running = page.gauge("hookweir_plugin_running", "Attempts that run now");
    for (name, seen) in &seen {
        running.is(label("plugin", name), seen.running as u64);
    }
    let mut limit = page.gauge("hookweir_plugin_running_limit", "The most that may run at a time");
    for (name, plugin) in &plugins {
        limit.is(label("plugin", name), plugin.policy.concurrency.into());
    }
    let help = "Whether its breaker holds its deliveries back";
    let mut breaker = page.gauge("hookweir_plugin_breaker_open", help);
    for (name, seen) in &seen {
        breaker.is(label("plugin", name), seen.breaker.is_some().into());
    }
    let help = "Whether that is since another gateway told of it, which probes";
    let mut elsewhere = page.gauge("hookweir_plugin_breaker_elsewhere", help);
    for (name, seen) in &seen {
        let is = seen.breaker.as_ref().is_some_and(|open| open.elsewhere);
        elsewhere.is(label("plugin", name), is.into());
    }
    let mut is_live = page.gauge("hookweir_plugin_live", "Whether a version serves");
    for (name, plugin) in &plugins {
        is_live.is(label("plugin", name), plugin.version.is_some().into());
    }
    let mut reloads = page.counter("hookweir_plugin_reloads", "What became of new versions");
    for (name, _) in &plugins {
        for (reloaded, count) in Reloaded::ALL.into_iter().zip(health.reloads(name)) {
            let labels = [("plugin", name.as_str()), ("result", reloaded.as_str())];
            reloads.count(self::labels(labels), count);
        }
    }
    apis(page, &plugins);
}

fn apis(page: &mut Page, plugins: &[(&PluginName, &Plugin)]) {
    let mut requests = page.counter("hookweir_plugin_api_requests", "Requests to its api");
    for (name, plugin) in plugins {
        requests.count(label("plugin", name), plugin.figures.plugin.api_requests.get());
    }
    let mut answered = page.counter("hookweir_plugin_api_answered", "Requests that it answered");
    for (name, plugin) in plugins {
        answered.count(label("plugin", name), plugin.record.answered());
    }
    let mut refused = page.counter("hookweir_plugin_api_refused", "Requests that were refused");
    for (name, plugin) in plugins {
        for (reason, count) in plugin.record.refused_by_reason() {
            refused.count(labels([("plugin", name.as_str()), ("reason", reason)]), count);
        }
    }
}

/// What an operator holds up.
pub(super) fn pauses(page: &mut Page, live: &Live, pauses: &Pauses) {
    let help = "Whether an operator has paused it, or everything";
    let mut paused = page.gauge("hookweir_source_paused", help);
    let mut sources: Vec<_> = live.sources().map(|source| &source.name).collect();
    sources.sort();
    for name in &sources {
        paused.is(label("source", name), pauses.refuses(name).is_some().into());
    }
    let mut held = page.gauge("hookweir_source_held", "Whether an operator holds its deliveries");
    for name in sources {
        held.is(label("source", name), pauses.held(name).is_some().into());
    }
    let mut paused = page.gauge("hookweir_plugin_paused", help);
    for name in live.plugins().keys() {
        paused.is(label("plugin", name), pauses.waits(name).into());
    }
}

/// What of its rates this gateway has, where others share them.
pub(super) fn rates(page: &mut Page, live: &Live, rates: &SharedRates) {
    let help = "Gateways that have the store open, this one among them";
    page.gauge("hookweir_gateways", help).is(Labels::new(), rates.gateways().into());
    let share = |name: String| Some(f64::from(rates.part(&name)?) / f64::from(WHOLE));
    let help = "The part of its rate that this gateway lets through";
    let mut part = page.gauge("hookweir_source_rate_part", help);
    let mut sources: Vec<_> = live.sources().map(|source| &source.name).collect();
    sources.sort();
    for name in sources {
        if let Some(share) = share(format!("source/{name}")) {
            part.measures(label("source", name), share);
        }
    }
    let mut part = page.gauge("hookweir_plugin_rate_part", help);
    for name in live.plugins().keys() {
        if let Some(share) = share(format!("plugin/{name}")) {
            part.measures(label("plugin", name), share);
        }
    }
}

/// How often nobody could say how the store stands.
pub(super) fn unseen(page: &mut Page, failures: u64) {
    let help = "Looks at how the store stands that failed";
    page.counter("hookweir_store_survey_failures", help).count(Labels::new(), failures);
}

pub(super) fn store(page: &mut Page, store: &Store, survey: Option<&Survey>) {
    let figures = store.figures();
    let commits = figures.batches.count();
    page.counter("hookweir_store_commits", "Commits").count(Labels::new(), commits);
    let mut batches = page.histogram("hookweir_store_batch_operations", "Operations in a commit");
    batches.spread(Labels::new(), figures.batches, 1.0);
    let help = "How long a commit took: its log is written and synced";
    let mut syncs = page.histogram("hookweir_store_sync_seconds", help);
    syncs.spread(Labels::new(), figures.syncs, MICROS);
    let mut operations = page.counter("hookweir_store_operations", "Operations done");
    for (verb, count) in figures.operations {
        operations.count(label("verb", verb.as_str()), count);
    }
    let mut errors = page.counter("hookweir_store_errors", "Operations that failed");
    for (kind, count) in figures.errors {
        errors.count(label("kind", kind), count);
    }
    let is = match &*store.health().borrow() {
        StoreHealth::Ready => "ready",
        StoreHealth::Refusing(_) => "refusing",
        StoreHealth::Poisoned(_) => "poisoned",
    };
    let mut health = page.gauge("hookweir_store_health", "1 for how the store is");
    for state in ["ready", "refusing", "poisoned"] {
        health.is(label("state", state), (state == is).into());
    }
    let counts = survey.map(|survey| survey.counts);
    let mut events = page.gauge("hookweir_store_events", "Events that are kept");
    counts.into_iter().for_each(|counts| events.is(Labels::new(), counts.events));
    let mut deliveries = page.gauge("hookweir_store_deliveries", "Deliveries that are kept");
    if let Some(counts) = counts {
        for (state, count) in [
            ("due", counts.due),
            ("leased", counts.leased),
            ("done", counts.done),
            ("dead", counts.dead),
        ] {
            deliveries.is(label("state", state), count);
        }
    }
    let mut gauge = |name, help, number: Option<u64>| {
        let mut gauge = page.gauge(name, help);
        number.into_iter().for_each(|number| gauge.is(Labels::new(), number));
    };
    let bytes = survey.map(|survey| survey.database_bytes);
    gauge("hookweir_store_database_bytes", "Length of the database file", bytes);
    let bytes = survey.map(|survey| survey.log_bytes);
    gauge("hookweir_store_log_bytes", "Length of its log", bytes);
    let bytes = survey.and_then(|survey| survey.disk_free_bytes);
    gauge("hookweir_store_disk_free_bytes", "What is left on its disk", bytes);
    let standbys = survey.and_then(|survey| survey.standbys);
    let help = "Standbys that have what the database acknowledges";
    let synchronous = standbys.map(|standbys| standbys.synchronous);
    gauge("hookweir_store_synchronous_standbys", help, synchronous);
    let help = "Whether the database acknowledges only what a standby has";
    let wanted = standbys.map(|standbys| standbys.wanted.into());
    gauge("hookweir_store_synchronous_standbys_wanted", help, wanted);
}

pub(super) fn alerts(page: &mut Page, standing: &Standing) {
    let mut raised = page.gauge("hookweir_alert_raised", "1 for each alert that is raised");
    for (name, is_raised) in standing.watched() {
        let mut labels = label("alert", name.kind.as_str());
        labels.extend(name.about.label());
        raised.is(labels, is_raised.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_process_that_is_not_seen_there_is_no_sample() {
        let told = |process| {
            let mut page = Page::default();
            super::process(&mut page, process);
            let text = page.text();
            let samples = text.lines().filter(|line| !line.starts_with('#'));
            samples.map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(told(Process::default()), [""; 0]);
        let threads = Process { threads: Some(7), ..Process::default() };
        assert_eq!(told(threads), ["process_threads 7.0"]);
    }
}
