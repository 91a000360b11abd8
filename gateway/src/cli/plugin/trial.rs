//! A plugin on trial: loaded into the kit as a gateway with this config would load it, and what a run of it
//! came to, for people and for programs.

use std::{
    env,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use hookweir_event::{
    Change, Clock, Lasts, NameError, NewOutput, Outcome, Pattern, PluginName, REDACTED, StateChange,
};
use hookweir_kit::{Kit, LogLine, Plugin, Ran, Sample, Sent};
use serde_json::{Value, json};

use crate::{
    cli::{Exit, config_fault, operator::printable, tell},
    config::{Config, Subscriptions, Surroundings},
    egress::{Names, Roads},
    reload::approve,
};

/// Characters of a body or a value that people are shown.
const SHOWN_MAX: usize = 200;

/// Where requests go that have no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Out {
    /// Nowhere: they are denied.
    Closed,
    /// As far as the grant allows, the way that a gateway's requests go.
    Granted,
}

/// The config that was named, if one was.
pub(super) fn config(path: Option<&Path>) -> Result<Option<Config>, Exit> {
    let load = |path| Config::load(path, &Surroundings::real());
    path.map(load).transpose().map_err(|error| config_fault(&error))
}

/// Loads a module: with the config's grant, or, without a config, with what it wants.
pub(super) fn load(file: &Path, config: Option<&Config>, out: Out) -> Result<Plugin, String> {
    let mut kit = kit().clock(Clock::system());
    if let Some(config) = config {
        kit = granted(kit, config, name(file).ok().as_ref());
    }
    if out == Out::Granted {
        let roots = config.and_then(|config| config.egress.roots.as_deref());
        let roads = Roads::new(roots, Names::system());
        kit = kit.network(Arc::new(roads.map_err(|error| format!("egress.roots: {error}"))?));
    }
    let plugin = kit.load(file).map_err(|error| error.to_string())?;
    if let Some(config) = config {
        note_needs(&plugin, config);
    }
    Ok(plugin)
}

/// A kit that keeps compiled code for the next command.
pub(super) fn kit() -> Kit {
    match cache() {
        Some(folder) => Kit::new().cache(folder),
        None => Kit::new().without_cache(),
    }
}

/// Where compiled code is kept from one command to the next, of which an interpreter's takes half a minute: in
/// the user's own cache (XDG Base Directory Specification). The engine forgets what has not been used for long.
fn cache() -> Option<PathBuf> {
    let given = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let caches = given.or_else(|| Some(env::home_dir()?.join(".cache")))?;
    Some(caches.join("hookweir/compiled"))
}

/// The plugin that a file would be, as the kit has it.
pub(super) fn name(file: &Path) -> Result<PluginName, NameError> {
    let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    stem.replace('_', "-").parse()
}

/// With the config's grant and limits.
pub(super) fn granted(kit: Kit, config: &Config, name: Option<&PluginName>) -> Kit {
    let own = name.and_then(|name| config.plugins.get(name));
    kit.stack(config.host.stack).grant(own.map(|own| own.grant.clone()).unwrap_or_default())
}

/// Says what keeps the version out of a gateway with this config. It is run all the same, with less.
pub(super) fn note_needs(plugin: &Plugin, config: &Config) {
    let own = config.plugins.iter().find(|(name, _)| name.as_str() == plugin.name());
    let (own, rule) = (own.map(|(_, own)| own), config.host.subscriptions);
    if let Err(needs) = approve(plugin.name(), plugin.wants(), plugin.exports(), own, rule) {
        tell(format_args!("{} would not go live under this config: {needs}", plugin.name()));
    }
}

/// Says that a gateway would not give the plugin this event.
pub(super) fn note_subscription(plugin: &Plugin, config: Option<&Config>, sample: &Sample) {
    let own = config
        .and_then(|config| config.plugins.iter().find(|(name, _)| name.as_str() == plugin.name()));
    let granted = own.and_then(|(_, own)| own.subscribe.as_ref());
    let patterns: &[Pattern] = granted.unwrap_or(&plugin.wants().subscribe);
    let event = &sample.rehearsal.event;
    let rule = config.map_or(Subscriptions::Module, |config| config.host.subscriptions);
    let counts = rule == Subscriptions::Module || granted.is_some();
    if counts && !patterns.iter().any(|pattern| pattern.matches(&event.origin, &event.event_type)) {
        let (name, event_type) = (plugin.name(), &event.event_type);
        tell(format_args!(
            "{name} does not subscribe to {}/{event_type}: a gateway would not give it this event",
            event.origin
        ));
    }
}

/// Says how requests get answers, if one had none.
pub(super) fn note_unanswered(ran: &Ran) {
    let unanswered = |sent: &&Sent| {
        !sent.is_canned()
            && !sent.is_refused()
            && sent
                .answer()
                .is_some_and(|answer| answer.as_ref().is_err_and(|fault| fault.code() == "denied"))
    };
    if let Some(sent) = ran.requests().iter().find(unanswered) {
        let line = printable(&sent.answerable_line());
        let secret = if line.contains(REDACTED) { " (with what is [redacted] here)" } else { "" };
        tell(format_args!(
            "nothing left this machine: answer requests in the event file, by \"http\": {{ \"{line}\": {{ \"status\": 200 }} }}{secret}, \
             or let those that are granted out with --allow"
        ));
    }
}

/// What a run came to, for programs.
pub(super) fn report(plugin: &Plugin, sample: &Sample, ran: &Ran) -> Value {
    let event = &sample.rehearsal.event;
    let failure = ran.result().err();
    let retry_after = failure.and_then(|failure| failure.retry_after);
    let log = |line: &LogLine| json!({ "level": line.level.as_str(), "text": line.text });
    json!({
        "plugin": plugin.name(),
        "version": plugin.version().to_string(),
        "event": {
            "source": event.origin.to_string(),
            "type": event.event_type.as_str(),
            "attempt": sample.rehearsal.attempt,
        },
        "outcome": ran.outcome().as_str(),
        "message": failure.map(|failure| &failure.message),
        "retryAfterMs": retry_after.map(millis),
        "outputs": outputs(ran).iter().map(output).collect::<Vec<_>>(),
        "state": ran.changes().map(change).collect::<Vec<_>>(),
        "logs": ran.logs().iter().map(log).collect::<Vec<_>>(),
        "requests": ran.requests().iter().map(request).collect::<Vec<_>>(),
        "cpuMicros": micros(ran.cpu()),
        "wallMicros": micros(ran.wall()),
        "memoryBytes": ran.memory_peak(),
    })
}

fn outputs(ran: &Ran) -> &[NewOutput] {
    ran.result().map_or(&[], Vec::as_slice)
}

fn output(output: &NewOutput) -> Value {
    let mut shown = json!({
        "type": output.event_type.as_str(),
        "headers": headers(&output.headers),
        "attributes": output.attributes,
    });
    content(&mut shown, "body", &output.body);
    shown
}

fn change(change: &StateChange) -> Value {
    let mut shown = json!({ "key": change.key });
    match &change.change {
        Change::Keep => {}
        Change::Delete => shown["deleted"] = json!(true),
        Change::Set { value, lasts } => {
            content(&mut shown, "value", value);
            if let Lasts::For(ttl) = lasts {
                shown["ttlMs"] = json!(millis(*ttl));
            }
        }
    }
    shown
}

fn request(sent: &Sent) -> Value {
    let line = sent.shown_line();
    let (method, url) = line.split_once(' ').unwrap_or_default();
    let mut shown = json!({
        "method": method,
        "url": url,
        "headers": headers(&sent.shown_headers()),
        "canned": sent.is_canned(),
    });
    content(&mut shown, "body", &sent.shown_body());
    match sent.answer() {
        Some(Ok(status)) => shown["status"] = json!(status),
        Some(Err(fault)) => {
            shown["error"] = json!({ "code": fault.code(), "message": fault.to_string() });
        }
        None => shown["error"] = json!({ "code": "cut-off", "message": "the call ended before" }),
    }
    shown
}

fn headers(headers: &[(String, Vec<u8>)]) -> Vec<Value> {
    let header = |(name, value): &(String, Vec<u8>)| json!([name, String::from_utf8_lossy(value)]);
    headers.iter().map(header).collect()
}

/// Text as it is, anything else in base64, as the admin API has it.
fn content(shown: &mut Value, name: &str, bytes: &[u8]) {
    match str::from_utf8(bytes) {
        Ok(text) => shown[name] = json!(text),
        Err(_) => shown[format!("{name}Base64")] = json!(BASE64_STANDARD.encode(bytes)),
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

pub(super) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// The same, for people.
pub(super) fn lines(plugin: &Plugin, sample: &Sample, ran: &Ran) -> Vec<String> {
    let event = &sample.rehearsal.event;
    let mut lines = vec![format!(
        "{} {}, {}/{}, attempt {}: {}",
        plugin.name(),
        plugin.version().short(),
        event.origin,
        event.event_type,
        sample.rehearsal.attempt,
        ended(ran)
    )];
    let mut add = |what: &str, line: String| lines.push(format!("  {what:<8} {line}"));
    for output in outputs(ran) {
        let (event_type, size) = (&output.event_type, output.body.len());
        add("output", format!("{event_type}, {size} bytes: {}", shown(&output.body)));
    }
    for StateChange { key, change, .. } in ran.changes() {
        let key = printable(key);
        match change {
            Change::Keep => {}
            Change::Delete => add("state", format!("{key} deleted")),
            Change::Set { value, lasts } => {
                let ttl = match lasts {
                    Lasts::For(ttl) => format!(" for {ttl:?}"),
                    Lasts::ForEver | Lasts::AsBefore => String::new(),
                };
                add("state", format!("{key} = {}{ttl}", shown(value)));
            }
        }
    }
    for sent in ran.requests() {
        let line = printable(&sent.shown_line());
        add("request", format!("{line}, {} bytes -> {}", sent.body().len(), answered(sent)));
    }
    for LogLine { level, text } in ran.logs() {
        add("log", format!("{:<5} {text}", level.as_str()));
    }
    add("took", cost(ran));
    lines
}

/// How it ended, in words.
pub(super) fn ended(ran: &Ran) -> String {
    match ran.result() {
        Ok(_) => Outcome::Done.to_string(),
        Err(failure) => {
            let after = failure.retry_after.map(|after| format!(" (after {after:?})"));
            let (outcome, after) = (failure.outcome, after.unwrap_or_default());
            format!("{outcome}: {}{after}", printable(&failure.message))
        }
    }
}

fn answered(sent: &Sent) -> String {
    match sent.answer() {
        Some(Ok(status)) if sent.is_canned() => format!("{status}, canned"),
        Some(Ok(status)) => status.to_string(),
        Some(Err(fault)) => format!("{}: {fault}", fault.code()),
        None => "cut off".to_owned(),
    }
}

fn cost(ran: &Ran) -> String {
    let [cpu, wall] = [ran.cpu(), ran.wall()].map(|time| time.as_secs_f64() * 1e3);
    let kib = ran.memory_peak() >> 10;
    format!("{cpu:.2} ms of CPU, {wall:.2} ms from start to end, {kib} KiB of memory")
}

/// The beginning of it, on one line.
pub(super) fn shown(bytes: &[u8]) -> String {
    let Ok(text) = str::from_utf8(bytes) else { return format!("{} bytes", bytes.len()) };
    let mut shown = printable(text);
    if let Some((end, _)) = shown.char_indices().nth(SHOWN_MAX) {
        shown.truncate(end);
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use hookweir_event::Basis;

    use super::*;

    #[test]
    fn people_are_shown_the_beginning_and_no_control_characters() {
        assert_eq!(shown(b"a\x1b[31m\n"), "a\u{fffd}[31m\u{fffd}");
        assert_eq!(shown(&[0xff, 0]), "2 bytes");
        let long = shown("é".repeat(SHOWN_MAX + 1).as_bytes());
        assert_eq!(long.chars().count(), SHOWN_MAX + 1);
        assert!(long.ends_with('…'));
    }

    #[test]
    fn programs_are_shown_what_is_no_text_in_base64() {
        let set = |value: &[u8], lasts| StateChange {
            key: "k".to_owned(),
            based_on: Basis::Anything,
            change: Change::Set { value: value.to_vec(), lasts },
        };
        let minute = Lasts::For(Duration::from_secs(60));
        assert_eq!(change(&set(b"v", minute)), json!({ "key": "k", "value": "v", "ttlMs": 60000 }));
        let binary = change(&set(&[0xff], Lasts::ForEver));
        assert_eq!(binary, json!({ "key": "k", "valueBase64": "/w==" }));
    }
}
