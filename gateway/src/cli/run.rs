//! `hookweir run`: a timeline. Logging, config, runtime, build, say every address, run, stop.

use std::path::Path;

use hookweir_event::Clock;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};

use super::{Exit, config_fault, hangup::Hangups, tell};
use crate::{
    chance::Chance,
    config::{Config, Seen, Surroundings},
    egress::Names,
    gateway::{Ended, Gateway, StartError, Surrounds},
    log::{self, Format},
    supervisor::Supervisor,
    tasks::{Stop, Stopper},
};

pub(super) fn run(config_path: &Path, format: Format) -> Exit {
    let filter = std::env::var("RUST_LOG").unwrap_or_else(|_| "info".into());
    log::start(format, &filter);
    let (config, seen) = Seen::load(config_path, &Surroundings::real());
    let config = match config {
        Ok(config) => config,
        Err(error) => return config_fault(&error),
    };
    allow_files(config.server.connections);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tell(format_args!("failed to start threads: {error}"));
            return Exit::Failed;
        }
    };
    let exit = runtime.block_on(serve(config, seen));
    // Whatever is left has had its grace time.
    runtime.shutdown_background();
    exit
}

/// What is open beside the public listener's connections: the store, plugins' connections, the admin address.
const OTHER_FILES: u64 = 1024;

/// Takes as many file descriptors as the process may have: a connection is one, and most systems give 1024 unless
/// one asks.
fn allow_files(connections: usize) {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    if let Err(error) = raised {
        tracing::warn!(%error, "failed to raise the limit of open files");
    }
    let most = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    if most < connections as u64 + OTHER_FILES {
        tracing::warn!(
            most,
            connections,
            "the limit of open files is too low for server.connections"
        );
    }
}

async fn serve(config: Config, seen: Seen) -> Exit {
    let supervisor = Supervisor::of_environment(|name| std::env::var_os(name), std::process::id());
    let around = Surrounds {
        seen,
        clock: Clock::system(),
        chance: Chance::system(),
        names: Names::system(),
        supervisor: supervisor.clone(),
        vfs: None,
    };
    let (stop, hangups) = (on_signal(), Hangups::listen());
    let gateway = match Gateway::build(config, around, stop).await {
        Ok(gateway) => gateway,
        Err(StartError::Stopped) => {
            tracing::info!("stopped before it had started");
            return Exit::Ok;
        }
        Err(error) => {
            tracing::error!("{error}");
            return Exit::Failed;
        }
    };
    if let Ok(public) = gateway.public_address() {
        tracing::info!(%public, admin = %gateway.admin_address(), "listening");
    }
    for source in gateway.board().load().sources() {
        let scheme = &source.config.scheme;
        tracing::info!(source = %source.name, path = source.config.path, scheme = scheme.name(), "source");
        if scheme.is_insecure() {
            tracing::warn!(source = %source.name, "takes anything from anyone: insecure = true");
        }
    }
    if let Some(hangups) = hangups {
        crate::tasks::watch_signals(hangups.obey(gateway.wishes(), supervisor));
    }
    match gateway.run().await {
        Ended::Stopped { cut_off } => {
            tracing::info!(cut_off, "stopped");
            Exit::Ok
        }
        Ended::Failed(reason) => {
            tracing::error!(reason, "stopped: a part of the gateway failed");
            Exit::Failed
        }
    }
}

/// Asks to stop at the first SIGTERM or SIGINT. The second ends the process at once, with 143 or 130, which loses
/// nothing either: what was acknowledged is on disk, and what was not gets no answer.
pub(super) fn on_signal() -> Stop {
    let (stopper, stop) = Stopper::new();
    let signals = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    let (Ok(mut terminate), Ok(mut interrupt)) = signals else {
        tracing::warn!("failed to listen for signals; stop the process with SIGKILL");
        return stop;
    };
    crate::tasks::watch_signals(async move {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        tracing::info!("stopping; a second signal stops at once");
        stopper.stop();
        let second = tokio::select! {
            _ = terminate.recv() => SignalKind::terminate(),
            _ = interrupt.recv() => SignalKind::interrupt(),
        };
        tracing::warn!("stopped at once");
        // As a shell says it of a process that a signal ended.
        std::process::exit(128 + second.as_raw_value());
    });
    stop
}
