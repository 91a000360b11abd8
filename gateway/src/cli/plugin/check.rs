//! `hookweir plugin check`: what a file is, what it wants, and whether it would go live.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use hookweir_event::{Clock, Pattern, PluginName};
use hookweir_host::{Grant, Host, Inspection, Kind, NoNetwork, NoState, Settings, Wants, inspect};
use serde_json::{Value, json};

use crate::{
    cli::{Exit, config_fault, operator::printable, runtime, say, tell},
    config::{Config, PluginConfig, Subscriptions, Surroundings},
    reload::approve,
};

const EXAMPLES: &str = "\
Examples:
  hookweir plugin check payments.wasm
  hookweir plugin check plugins/*.wasm --config /etc/hookweir/gateway.toml --json";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Args {
    /// The modules.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// The config whose grants count; without the file, the defaults do.
    #[arg(long, default_value = "gateway.toml")]
    config: PathBuf,
    /// Print what each is as JSON, an object a line.
    #[arg(long)]
    json: bool,
}

/// What is known of a file that can be loaded at all.
struct Checked {
    seen: Inspection,
    /// The subscriptions in force.
    subscriptions: Vec<Pattern>,
    /// What keeps it out, each in words.
    reasons: Vec<String>,
    /// What to add to the config, if that would help.
    add: Option<String>,
}

pub(super) fn run(args: &Args) -> Exit {
    let config =
        match args.config.exists().then(|| Config::load(&args.config, &Surroundings::real())) {
            None => None,
            Some(Ok(config)) => Some(config),
            Some(Err(error)) => return config_fault(&error),
        };
    let mut exit = Exit::Ok;
    for file in &args.files {
        let checked = check(file, config.as_ref());
        if args.json {
            say(json(file, &checked));
        } else {
            show(file, &checked);
        }
        if !checked.is_ok_and(|checked| checked.reasons.is_empty()) {
            exit = Exit::Failed;
        }
    }
    exit
}

fn check(file: &Path, config: Option<&Config>) -> Result<Checked, String> {
    let bytes = std::fs::read(file).map_err(|error| format!("failed to read it: {error}"))?;
    let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let name: PluginName = stem.parse().map_err(|error| format!("its name: {error}"))?;
    let own = config.and_then(|config| config.plugins.get(&name));
    let limits = own.map(|own| own.grant.limits.module.clone()).unwrap_or_default();
    let seen = inspect(&bytes, &limits).map_err(|fault| format!("failed to load: {fault}"))?;
    let rule = config.map_or(Subscriptions::Module, |config| config.host.subscriptions);
    let approved = approve(name.as_str(), &seen.wants, seen.optional_exports(), own, rule);
    let mut checked = Checked { seen, subscriptions: Vec::new(), reasons: Vec::new(), add: None };
    match approved {
        Ok(subscriptions) => checked.subscriptions = subscriptions,
        Err(needs) => {
            checked.reasons.push(needs.to_string());
            checked.add = Some(needs.toml());
        }
    }
    // What it lacks of grants does not hide that it would not start either.
    checked.reasons.extend(try_it(name, bytes, own).err());
    Ok(checked)
}

fn show(file: &Path, checked: &Result<Checked, String>) {
    let name = file.display();
    let checked = match checked {
        Ok(checked) => checked,
        Err(reason) => return tell(format_args!("{name}: {reason}")),
    };
    let seen = &checked.seen;
    say(format_args!("{name}: {}, {} bytes", kind(seen.kind), seen.size));
    let Wants { sdk, http, secrets, .. } = &seen.wants;
    for (what, list) in [
        ("version", vec![seen.digest.short()]),
        ("sdk", vec![sdk.clone().unwrap_or_else(|| "unknown".to_owned())]),
        ("subscribes", texts(&seen.wants.subscribe)),
        ("http", texts(http)),
        ("secrets", secrets.clone()),
        ("exports", seen.exports.clone()),
        ("imports", seen.imports.clone()),
    ] {
        if !list.is_empty() {
            say(format_args!("  {what:<10} {}", printable(&list.join(" "))));
        }
    }
    for reason in &checked.reasons {
        tell(format_args!("{name}: {reason}"));
    }
    if checked.reasons.is_empty() {
        match texts(&checked.subscriptions).join(" ") {
            none if none.is_empty() => say("  would go live, and be given no events"),
            patterns => say(format_args!("  would go live with {patterns}")),
        }
    }
}

fn json(file: &Path, checked: &Result<Checked, String>) -> Value {
    let file = file.display().to_string();
    let Checked { seen, subscriptions, reasons, add } = match checked {
        Ok(checked) => checked,
        Err(reason) => return json!({ "file": file, "wouldGoLive": false, "reasons": [reason] }),
    };
    let Wants { sdk, subscribe, http, secrets } = &seen.wants;
    json!({
        "file": file,
        "component": seen.kind == Kind::Component,
        "bytes": seen.size,
        "version": seen.digest.to_string(),
        "sdk": sdk,
        "wants": { "subscribe": texts(subscribe), "http": texts(http), "secrets": secrets },
        "exports": seen.exports,
        "imports": seen.imports,
        "wouldGoLive": reasons.is_empty(),
        "subscriptions": texts(subscriptions),
        "reasons": reasons,
        "add": add,
    })
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Core => "core module, made a component on load",
        Kind::Component => "component",
    }
}

fn texts<T: ToString>(items: &[T]) -> Vec<String> {
    items.iter().map(ToString::to_string).collect()
}

/// Loads it as the gateway would, down to the trial start.
fn try_it(name: PluginName, bytes: Vec<u8>, own: Option<&PluginConfig>) -> Result<(), String> {
    let settings = Settings { instances: 1, ..Settings::default() };
    let host = Host::new(settings, Clock::system(), Arc::new(NoState), Arc::new(NoNetwork))
        .map_err(|error| error.to_string())?;
    let grant = own.map_or_else(Grant::default, |own| own.grant.clone());
    let runtime = runtime().map_err(|error| error.to_string())?;
    let prepared = runtime.block_on(host.prepare(name, bytes, grant));
    prepared.map(drop).map_err(|fault| format!("failed to load: {fault}"))
}
