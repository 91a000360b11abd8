//! The command line: one file for each command, and the exit codes they share.

mod admin;
mod alerts;
mod api;
mod check;
mod dead;
mod demo;
mod dev;
mod events;
mod hangup;
mod jobs;
mod manual;
mod operator;
mod plugin;
mod ports;
mod queues;
mod requests;
mod run;
mod send;
mod source;
mod state;
mod status;
mod store;
mod tail;
mod verify;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

use crate::{config::ConfigError, log::Format};

/// A webhook gateway: it proves who sent a webhook, makes it durable, answers, and runs it through
/// WebAssembly plugins.
#[derive(Debug, Parser)]
#[command(name = "hookweir", version, propagate_version = true)]
pub struct Cli {
    /// How log lines are written.
    #[arg(long, global = true, value_enum, default_value_t = Format::Text, env = "HOOKWEIR_LOG_FORMAT")]
    log: Format,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway until SIGTERM or Ctrl-C.
    Run(ConfigArg),
    /// Read the config and report every fault in it.
    Check(ConfigArg),
    /// Build the example plugins, start a gateway, send it signed webhooks and show what happened.
    Demo(demo::Args),
    /// Try plugins while writing them: a gateway in a scratch folder, builds on save, and what becomes of events.
    Dev(dev::Args),
    /// Sign a webhook as a source's sender would, and post it to the running gateway.
    Send(send::Args),
    /// Check the presets against recorded requests, or list them.
    Verify(verify::Args),
    /// Ask the running gateway how it stands.
    Status(operator::Common),
    /// Have the running gateway look at its config and its plugins folder now, and say what came of it.
    Reload(operator::Common),
    /// Refuse all requests with 503 and attempt no delivery until all is resumed, over restarts too.
    Pause(source::PauseAllArgs),
    /// Let everything go on, but for what is paused by itself.
    Resume(operator::Common),
    /// List who had what changed through the admin API.
    Audit(status::AuditArgs),
    /// Make a token for the admin API.
    #[command(subcommand)]
    Admin(admin::Command),
    /// Ask the running gateway what became of sources' requests, pause a source and resume it.
    #[command(subcommand)]
    Source(source::Command),
    /// Ask the running gateway what became of requests that plugins answer.
    #[command(subcommand)]
    Api(api::Command),
    /// Find events, see what became of them, have them replayed.
    #[command(subcommand)]
    Events(events::Command),
    /// List dead letters, have them tried again, let others go on without them, or put them aside.
    #[command(subcommand)]
    Dead(dead::Command),
    /// Follow what becomes of events, as they come.
    Tail(tail::Args),
    /// Show what waits for each plugin.
    Queues(operator::Common),
    /// List alerts: what is raised, and what was cleared lately.
    Alerts(alerts::Args),
    /// Read and write a plugin's own data.
    #[command(subcommand)]
    State(state::Command),
    /// Check the store, back it up, put a backup back, or move it into a database.
    #[command(subcommand)]
    Store(store::Command),
    /// Make, build, check and try plugins, and see to those that the running gateway has.
    #[command(subcommand)]
    Plugin(plugin::Command),
    /// Print what a shell completes these commands by.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write a page for each command.
    Man(manual::ManArgs),
}

#[derive(Debug, clap::Args)]
struct ConfigArg {
    /// The config file.
    #[arg(long, default_value = "gateway.toml")]
    config: PathBuf,
}

/// How a command ended, as the shell sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It did what was asked.
    Ok,
    /// It did not.
    Failed,
    /// It could not tell: of commands of which `Failed` is an answer.
    Unknown,
    /// The config is bad (EX_USAGE of sysexits.h).
    Config,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Ok => 0,
            Exit::Failed => 1,
            // As of bad arguments, by clap.
            Exit::Unknown => 2,
            Exit::Config => 64,
        })
    }
}

impl Cli {
    /// Runs the command.
    pub fn run(self) -> Exit {
        match self.command {
            Command::Run(arg) => run::run(&arg.config, self.log),
            Command::Check(arg) => check::run(&arg.config),
            Command::Demo(args) => demo::run(&args),
            Command::Dev(args) => dev::run(&args, self.log),
            Command::Send(args) => send::run(args),
            Command::Verify(args) => verify::run(&args),
            Command::Status(common) => status::status(&common),
            Command::Reload(common) => status::reload(&common),
            Command::Pause(args) => source::pause_everything(&args),
            Command::Resume(common) => source::resume_everything(&common),
            Command::Audit(args) => status::audit(&args),
            Command::Admin(command) => admin::run(&command),
            Command::Source(command) => source::run(command),
            Command::Api(command) => api::run(command),
            Command::Events(command) => events::run(command),
            Command::Dead(command) => dead::run(command),
            Command::Store(command) => store::run(&command),
            Command::Plugin(command) => plugin::run(command),
            Command::Tail(args) => tail::run(&args),
            Command::Queues(common) => queues::run(&common),
            Command::Alerts(args) => alerts::run(&args),
            Command::State(command) => state::run(command),
            Command::Completions { shell } => manual::completions(shell),
            Command::Man(args) => manual::man(&args),
        }
    }
}

/// Prints to standard output. A reader that went away ends the command quietly.
fn say(line: impl std::fmt::Display) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Writes to standard output what must be there whole: a value, an export.
fn put_out(bytes: &[u8]) -> Result<(), String> {
    use std::io::Write as _;
    let mut out = std::io::stdout();
    let written = out.write_all(bytes).and_then(|()| out.flush());
    written.map_err(|error| format!("failed to write to standard output: {error}"))
}

/// Prints to standard error: progress and faults, which are not what a pipe is for.
fn tell(line: impl std::fmt::Display) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Says what is wrong with the config.
fn config_fault(error: &ConfigError) -> Exit {
    tell(error);
    if let ConfigError::Faulty { faults, .. } = error {
        tell(format_args!("{} fault{}", faults.len(), if faults.len() == 1 { "" } else { "s" }));
    }
    Exit::Config
}

/// A runtime for a command that talks to a gateway.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()
}
