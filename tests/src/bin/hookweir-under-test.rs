//! The gateway's own `main`, built beside the tests so that they can find it.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    hookweir::cli::Cli::parse().run().into()
}
