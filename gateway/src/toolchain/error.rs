//! What can go wrong between a plugin's sources and its module. Each message is meant for the
//! person who typed the command: it names the command that failed and shows the end of what it said.

use std::{io, path::PathBuf};

use thiserror::Error;

/// Why no toolchain was found, or why a build made no module.
#[derive(Debug, Error)]
pub enum ToolchainError {
    /// None of the three ways leads to a standard library for the target.
    #[error(
        "no standard library for wasm32-unknown-unknown\n\
         1. the active toolchain: {active}\n\
         2. rustup: {rustup}\n\
         3. Debian's compiler: {debian}"
    )]
    NoneWorks {
        /// Why the first way is closed.
        active: String,
        /// Why the second is.
        rustup: String,
        /// Why the third is, with the commands that open it.
        debian: String,
    },
    /// A command could not be run at all.
    #[error("failed to run `{command}`: {source}")]
    NotStarted {
        /// As one would type it.
        command: String,
        /// The system's word.
        source: io::Error,
    },
    /// A command ran and failed.
    #[error("`{command}` failed ({status})\n{tail}")]
    Failed {
        /// As one would type it.
        command: String,
        /// The exit code, the signal, or the time limit.
        status: String,
        /// The last lines that it wrote.
        tail: String,
    },
    /// The answer of a command is not what its documentation promises.
    #[error("`{command}` gave an answer that can't be read: {reason}")]
    Answer {
        /// As one would type it.
        command: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The folder holds no package.
    #[error("{} holds no package: `plugin build` wants the folder with the plugin's Cargo.toml, package.json or pyproject.toml", .0.display())]
    NoPackage(PathBuf),
    /// A program that the build needs is not there.
    #[error(
        "{what} is needed for this plugin: {cause}\n\
         on Debian, as root: {how}\n\
         (`--install` does this by itself when run as root)"
    )]
    Needed {
        /// The program, in words.
        what: &'static str,
        /// How it failed.
        cause: String,
        /// The command that brings it.
        how: String,
    },
    /// A file of the project says nothing that a plugin can be made of.
    #[error("{}: {reason}", path.display())]
    Project {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The package was built and made no module.
    #[error(
        "package `{0}` makes no .wasm file: its Cargo.toml needs `[lib] crate-type = [\"cdylib\"]`"
    )]
    NoModule(String),
    /// One of the package's crates draws through `getrandom`, and nobody gives it anything.
    #[error(
        "package `{0}` has a crate that draws random numbers through getrandom; give its hookweir-sdk the feature \
         for that: `hookweir-sdk = {{ .., features = [\"getrandom\"] }}`"
    )]
    NoChance(String),
    /// The lock that keeps two installations apart can't be taken.
    #[error("failed to lock {}: {source}", path.display())]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
}
