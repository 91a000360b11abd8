//! `hookweir plugin`: make, build and check plugins.

mod build;
mod check;
mod new;

pub(super) use self::build::build;
use super::Exit;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Make a new plugin's crate, ready to test and build.
    New(new::Args),
    /// Build plugins for wasm32-unknown-unknown.
    Build(build::Args),
    /// Say what a file is, what it wants, and whether it would load under the config's grants.
    Check(check::Args),
}

pub(super) fn run(command: Command) -> Exit {
    match command {
        Command::New(args) => new::run(&args),
        Command::Build(args) => build::run(&args),
        Command::Check(args) => check::run(&args),
    }
}
