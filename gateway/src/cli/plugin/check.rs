//! `hookweir plugin check`: what a file is, what it wants, and whether it would go live.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use hookweir_event::{Clock, PluginName};
use hookweir_host::{Grant, Host, Inspection, Kind, NoNetwork, NoState, Settings, Wants, inspect};

use crate::{
    cli::{Exit, config_fault, runtime, say, tell},
    config::{Config, PluginConfig, Subscriptions, Surroundings},
    reload::approve,
};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// The modules.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// The config whose grants count; without the file, the defaults do.
    #[arg(long, default_value = "gateway.toml")]
    config: PathBuf,
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
        if let Err(reason) = check(file, config.as_ref()) {
            tell(format_args!("{}: {reason}", file.display()));
            exit = Exit::Failed;
        }
    }
    exit
}

fn check(file: &Path, config: Option<&Config>) -> Result<(), String> {
    let bytes = std::fs::read(file).map_err(|error| format!("failed to read it: {error}"))?;
    let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let name: PluginName = stem.parse().map_err(|error| format!("its name: {error}"))?;
    let own = config.and_then(|config| config.plugins.get(&name));
    let limits = own.map(|own| own.grant.limits.module.clone()).unwrap_or_default();
    let seen = inspect(&bytes, &limits).map_err(|fault| format!("failed to load: {fault}"))?;
    describe(file, &seen);
    let rule = config.map_or(Subscriptions::Module, |config| config.host.subscriptions);
    let approved = approve(name.as_str(), &seen.wants, seen.optional_exports(), own, rule)
        .map_err(|needs| needs.to_string())?;
    try_it(name, bytes, own)?;
    let patterns: Vec<_> = approved.iter().map(ToString::to_string).collect();
    say(format_args!("  would go live with {}", patterns.join(" ")));
    Ok(())
}

fn describe(file: &Path, seen: &Inspection) {
    let kind = match seen.kind {
        Kind::Core => "core module, made a component on load",
        Kind::Component => "component",
    };
    let Wants { sdk, subscribe, http, secrets, .. } = &seen.wants;
    say(format_args!("{}: {kind}, {} bytes", file.display(), seen.size));
    say(format_args!("  sdk        {}", sdk.as_deref().unwrap_or("unknown")));
    let patterns: Vec<_> = subscribe.iter().map(ToString::to_string).collect();
    let origins: Vec<_> = http.iter().map(ToString::to_string).collect();
    for (what, list) in [
        ("subscribes", &patterns),
        ("http", &origins),
        ("secrets", secrets),
        ("exports", &seen.exports),
        ("imports", &seen.imports),
    ] {
        if !list.is_empty() {
            say(format_args!("  {what:<10} {}", list.join(" ")));
        }
    }
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
