//! `hookweir dev`: a gateway in a scratch folder, its plugins built again on each save, and what becomes of
//! events as it happens, in one terminal.
//!
//! A timeline: build, write a config that grants the plugins what they want, start the gateway, say what to
//! try, and then build, serve and tell until Ctrl-C.

mod ground;
mod tail;

use std::{net::SocketAddr, path::PathBuf};

use hookweir_event::Clock;

use self::ground::Ground;
use super::{Exit, plugin::build, run::on_signal, say, tell};
use crate::{
    chance::Chance,
    config::{Seen, Surroundings},
    egress::Names,
    gateway::{Ended, Gateway, StartError, Surrounds},
    log::{self, Format},
    supervisor::Supervisor,
    tasks::{self, Stopper},
    toolchain::{Install, Saves},
};

const EXAMPLES: &str = "\
Examples:
  hookweir dev                                   # the package here
  hookweir dev plugins/orders plugins/relay --config gateway.toml";

/// What is said of the gateway itself: what goes wrong, and which versions are live.
const FILTER: &str = "warn,hookweir::reload=info";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The plugins' packages.
    #[arg(default_value = ".")]
    plugins: Vec<PathBuf>,
    /// Where to post events to: an address of this machine alone, for nobody has to sign.
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDRESS:PORT", value_parser = loopback)]
    listen: SocketAddr,
    /// A config whose `[plugins]` count: grants, config, limits. Files that it names for secrets are named by
    /// their whole paths. A plugin that is not in it is granted what it wants.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

fn loopback(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = text.parse().map_err(|_| "expected an address and port")?;
    match address.ip().is_loopback() {
        true => Ok(address),
        false => Err("events are taken unsigned, so it listens on this machine alone".to_owned()),
    }
}

pub(super) fn run(args: &Args, format: Format) -> Exit {
    let filter = std::env::var("RUST_LOG").unwrap_or_else(|_| FILTER.into());
    log::start(format, &filter);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tell(format_args!("failed to start threads: {error}"));
            return Exit::Failed;
        }
    };
    let ended = develop(args, &runtime);
    // A build that runs is the compiler's to end; what it makes, nobody waits for.
    runtime.shutdown_background();
    match ended {
        Ok(exit) => exit,
        Err(reason) => {
            tell(format_args!("failed to start: {reason}"));
            Exit::Failed
        }
    }
}

fn develop(args: &Args, runtime: &tokio::runtime::Runtime) -> Result<Exit, String> {
    let scratch = tempfile::Builder::new().prefix("hookweir-dev-").tempdir();
    let scratch = scratch.map_err(|error| format!("a scratch folder: {error}"))?;
    let ground = Ground::new(scratch.path().to_owned(), args.listen, args.config.clone())?;
    let stop = {
        let _inside = runtime.enter();
        on_signal()
    };
    // Before the first build, so that what is saved during it is not missed.
    let saves = Saves::of(&args.plugins)?;
    rebuild(&args.plugins, &ground);
    ground.write()?;
    let exit = runtime.block_on(async {
        let (config, seen) = Seen::load(&ground.config(), &Surroundings::real());
        let config = config.map_err(|error| error.to_string())?;
        let around = Surrounds {
            seen,
            clock: Clock::system(),
            chance: Chance::system(),
            names: Names::system(),
            supervisor: Supervisor::default(),
            vfs: None,
        };
        let gateway = match Gateway::build(config, around, stop).await {
            Ok(gateway) => gateway,
            Err(StartError::Stopped) => return Ok(Ended::Stopped { cut_off: 0 }),
            Err(error) => return Err(error.to_string()),
        };
        introduce(&gateway, &ground)?;
        let (plugins, building) = (args.plugins.clone(), ground.clone());
        tasks::run_blocking(move || keep_building(saves, &plugins, &building));
        let database = ground.database();
        // What it does until its end is told, whether it was asked to stop or a part of it failed.
        let (over, followed) = Stopper::new();
        let running = async {
            let ended = gateway.run().await;
            over.stop();
            ended
        };
        let (ended, ()) = tokio::join!(running, tail::follow(&database, followed));
        Ok::<_, String>(ended)
    })?;
    Ok(match exit {
        Ended::Stopped { .. } => Exit::Ok,
        Ended::Failed(reason) => {
            tell(format_args!("stopped: a part of the gateway failed: {reason}"));
            Exit::Failed
        }
    })
}

/// Builds what was saved, as long as anything is. The gateway sees the new files itself.
fn keep_building(mut saves: Saves, plugins: &[PathBuf], ground: &Ground) {
    loop {
        match saves.wait() {
            Ok(saved) => tell(format_args!("saved {}", saved.display())),
            Err(reason) => return tell(format_args!("no build on save any more: {reason}")),
        }
        rebuild(plugins, ground);
        if let Err(reason) = ground.write() {
            tell(reason);
        }
    }
}

fn rebuild(plugins: &[PathBuf], ground: &Ground) {
    for plugin in plugins {
        // One that does not build keeps no other from it.
        let one = std::slice::from_ref(plugin);
        if let Err(reason) = build(one, Some(&ground.plugins()), Install::Never) {
            tell(format_args!(
                "failed to build: {reason}\nits last good build, if there is one, goes on; save to try again"
            ));
        }
    }
}

fn introduce(gateway: &Gateway, ground: &Ground) -> Result<(), String> {
    let public = gateway.public_address().map_err(|error| error.to_string())?;
    say(format_args!(
        "a gateway takes events at http://{public}, unsigned, from this machine; Ctrl-C ends it and removes {}",
        ground.folder().display()
    ));
    say("try:");
    for (source, event_type) in ground.examples()? {
        say(format_args!(
            "  curl -H '{}: {event_type}' -d '{{}}' http://{public}{}",
            ground::TYPE_HEADER,
            ground::path_of(&source)
        ));
    }
    for plugin in ground.apis() {
        say(format_args!("  curl http://{public}/api/{plugin}/"));
    }
    let config = ground.config();
    say(format_args!("see:\n  hookweir events list --config {}\n", config.display()));
    say(tail::head());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsigned_events_are_taken_from_this_machine_alone() {
        assert!(loopback("127.0.0.1:0").is_ok() && loopback("[::1]:8080").is_ok());
        assert!(loopback("0.0.0.0:8080").unwrap_err().contains("this machine alone"));
        assert!(loopback("localhost").unwrap_err().contains("address and port"));
    }
}
