//! One input, whatever it is: what the fuzzer tries with coverage to guide it, and what the property tests beside it
//! try without. Nothing may panic, hang, lose an event, or say what it must not.
//!
//! What is thrown at the verifying of signatures lies beside it, in `gateway/verify/fuzz`.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    clippy::print_stderr,
    reason = "a panic is what is found, and what can't go on says why"
)]

mod admin;
mod config;
mod edge;
mod house;
mod told;

use std::str::FromStr;

/// What is thrown at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The public port: the bytes of one connection.
    Edge,
    /// The admin API: a request of an operator who may do everything.
    Admin,
    /// A config file.
    Config,
    /// What a plugin is told of an event.
    Told,
    /// The parsing and verifying of signatures.
    Verify,
}

impl Target {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Edge, Self::Admin, Self::Config, Self::Told, Self::Verify];

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Edge => "edge",
            Self::Admin => "admin",
            Self::Config => "config",
            Self::Told => "told",
            Self::Verify => "verify",
        }
    }

    /// Tries one input.
    pub fn one(self, input: &[u8]) {
        match self {
            Self::Edge => edge::one(input),
            Self::Admin => admin::one(input),
            Self::Config => config::one(input),
            Self::Told => told::one(input),
            Self::Verify => hookweir_verify_fuzz::one(input),
        }
    }

    /// Inputs to begin with, each of which gets somewhere.
    pub fn seeds(self) -> Vec<Vec<u8>> {
        match self {
            Self::Edge => edge::seeds(),
            Self::Admin => admin::seeds(),
            Self::Config => config::seeds(),
            Self::Told => told::seeds(),
            Self::Verify => vectors(),
        }
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|target| target.name() == name);
        found.ok_or_else(|| {
            format!("`{name}` is no target; they are edge, admin, config, told, verify")
        })
    }
}

/// Each recorded vector.
fn vectors() -> Vec<Vec<u8>> {
    let files = [
        include_str!("../../../gateway/verify/tests/vectors/open.jsonl"),
        include_str!("../../../gateway/verify/tests/vectors/more.jsonl"),
    ];
    files.iter().flat_map(|text| text.lines()).map(|line| line.as_bytes().to_vec()).collect()
}
