//! The dependency audit: cargo-deny with the rules of `deny.toml`.
//!
//! Licences, bans and sources need nothing but the lock file and always count. Advisories need a
//! database that lives on a code host; where that can't be reached the step says so and goes on.

use std::{fs, path::PathBuf, time::Duration};

use crate::{
    command,
    steps::{Ci, Outcome},
};

/// Pinned, so that a new release changes no verdict by itself.
const VERSION: &str = "0.20.2";

/// The database is a few MB.
const FETCH_LIMIT: Duration = Duration::from_secs(60);

pub(crate) fn run(ci: &Ci) -> Outcome {
    let deny = match cargo_deny(ci).and_then(|deny| check(ci, &deny).map(|()| deny)) {
        Ok(deny) => deny,
        Err(why) => return Outcome::Failed(why),
    };
    let mut fetch = command::new(&deny, &ci.root);
    fetch.args(["--locked", "fetch", "db"]).env("GIT_TERMINAL_PROMPT", "0");
    if let Err(why) = command::live_within(&mut fetch, FETCH_LIMIT) {
        println!(
            "The advisory database can't be fetched here, so known vulnerabilities in what we"
        );
        println!("depend on were NOT looked for: {why}");
        return Outcome::PassedWithout("advisories, their database can't be fetched".into());
    }
    let mut advisories = command::new(&deny, &ci.root);
    advisories.args(["--locked", "check", "--disable-fetch", "advisories"]);
    command::live(&mut advisories).into()
}

fn check(ci: &Ci, deny: &PathBuf) -> Result<(), String> {
    let mut check = command::new(deny, &ci.root);
    command::live(check.args(["--locked", "check", "licenses", "bans", "sources"]))
}

/// The pinned cargo-deny, installed into the target folder if it is nowhere.
fn cargo_deny(ci: &Ci) -> Result<PathBuf, String> {
    let tools = ci.target_dir().join("tools");
    let own = tools.join("bin/cargo-deny");
    let is_pinned = |deny: &PathBuf| {
        let mut ask = command::new(deny, &ci.root);
        command::answer(ask.arg("--version")).is_some_and(|answer| names_pinned(&answer))
    };
    if let Some(deny) = [own.clone(), "cargo-deny".into()].into_iter().find(is_pinned) {
        return Ok(deny);
    }
    let build = tools.join("build");
    let mut install = ci.cargo(&["install", "cargo-deny", "--version", VERSION, "--locked"]);
    // Unoptimised it is built in two minutes on two cores and checks this workspace in three seconds.
    install.args(["--debug", "--root"]).arg(&tools);
    install.env("CARGO_PROFILE_DEV_DEBUG", "0").env("CARGO_INCREMENTAL", "0");
    command::live(install.env("CARGO_TARGET_DIR", &build))?;
    // Only the program is wanted; what is left behind costs room and nothing else.
    let _ = fs::remove_dir_all(&build);
    Ok(own)
}

fn names_pinned(answer: &str) -> bool {
    answer.split_whitespace().eq(["cargo-deny", VERSION])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_pinned_version_is_taken() {
        assert!(names_pinned(&format!("cargo-deny {VERSION}\n")));
        assert!(!names_pinned("cargo-deny 0.1.0\n"));
        assert!(!names_pinned(""));
    }
}
