//! The `hookweir` binary: the command line and nothing else. This is where the process ends.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    hookweir::cli::Cli::parse().run().into()
}
