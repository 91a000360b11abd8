//! `hookweir plugin embed`: puts what a plugin wants into a component that another toolchain made.
//!
//! The wishes lie in the file, not beside it: a version is the digest of the file's bytes, so what is kept,
//! pinned, approved or gone back to brings its own, and no half of a pair can be copied without the other.

use std::{fs, path::PathBuf};

use super::build::put;
use crate::{
    cli::{Exit, say, tell},
    toolchain::read_wants,
};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// The component, which is replaced.
    file: PathBuf,
    /// What it wants: `subscribe`, `http` and `secrets`.
    #[arg(long, value_name = "FILE", default_value = "wants.toml")]
    wants: PathBuf,
}

pub(super) fn run(args: &Args) -> Exit {
    match embed(args) {
        Ok(()) => {
            say(args.file.display());
            Exit::Ok
        }
        Err(reason) => {
            tell(format_args!("failed to embed: {reason}"));
            Exit::Failed
        }
    }
}

fn embed(args: &Args) -> Result<(), String> {
    let fault = |reason: &dyn std::fmt::Display| format!("{}: {reason}", args.file.display());
    let wants = read_wants(&args.wants).map_err(|error| error.to_string())?;
    let bytes = fs::read(&args.file).map_err(|error| fault(&error))?;
    let bytes = wants.put_into(&bytes).map_err(|error| fault(&error))?;
    put(&bytes, &args.file).map_err(|error| fault(&error))
}
