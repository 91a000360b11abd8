//! Debian's package manager: asked what it offers, and, as root and where the user allows it, told to
//! install what a build needs. `--no-remove` holds it to adding.

use std::{
    fs::{self, File},
    os::unix::fs::MetadataExt as _,
    process::Command,
};

use super::{ToolchainError, command, environment};

/// Only root can write here, so nobody can have put a link in its place.
const LOCK: &str = "/run/hookweir-toolchain.lock";

/// Keeps two installations apart, as long as it is held.
pub(super) fn lock() -> Result<File, ToolchainError> {
    let lock = File::create(LOCK).and_then(|file| file.lock().map(|()| file));
    lock.map_err(|source| ToolchainError::Lock { path: LOCK.into(), source })
}

/// Whether this process may install packages.
pub(super) fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// Fetches the lists of what there is.
pub(super) fn update(progress: &dyn Fn(&str)) -> Result<(), ToolchainError> {
    progress("apt-get update");
    command::run(apt_get().args(["-qq", "update"]), None, progress).map(drop)
}

/// Installs packages whose lists are known.
pub(super) fn install(
    packages: &[impl AsRef<str>],
    progress: &dyn Fn(&str),
) -> Result<(), ToolchainError> {
    progress(&show_install(packages));
    let mut install = apt_get();
    install.args(["-qq", "-y", "--no-install-recommends", "--no-remove", "install"]);
    install.args(packages.iter().map(AsRef::as_ref));
    command::run(&mut install, None, progress).map(drop)
}

/// Installs packages; the lists are fetched first where there are none, or where they are merely old and
/// name files that the mirror no longer has.
pub(super) fn install_fresh(
    packages: &[&str],
    progress: &dyn Fn(&str),
) -> Result<(), ToolchainError> {
    let _lock = lock()?;
    let known = |package: &&str| {
        ask("apt-cache", &["policy", package]).is_ok_and(|policy| candidate(&policy).is_some())
    };
    if packages.iter().all(known) && install(packages, progress).is_ok() {
        return Ok(());
    }
    update(progress)?;
    install(packages, progress)
}

/// The command that installs them, as a person would type it.
pub(super) fn show_install(packages: &[impl AsRef<str>]) -> String {
    let packages: Vec<_> = packages.iter().map(AsRef::as_ref).collect();
    format!("apt-get install -y --no-install-recommends {}", packages.join(" "))
}

/// An apt that waits for another one instead of failing, and asks no questions.
fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command.args(["-o", "DPkg::Lock::Timeout=300"]).env("DEBIAN_FRONTEND", "noninteractive");
    command
}

/// The version that `apt-cache policy` would install.
pub(super) fn candidate(policy: &str) -> Option<&str> {
    let version = policy.lines().find_map(|line| line.trim().strip_prefix("Candidate: "))?;
    (version != "(none)").then_some(version)
}

/// A question that needs no network and is answered at once.
pub(super) fn ask(program: &str, args: &[&str]) -> Result<String, String> {
    let mut question = Command::new(program);
    environment::clean(&mut question, environment::Toolchain::Other);
    question.args(args).env("LC_ALL", "C");
    command::run(&mut question, None, &|_| ()).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_candidate_is_what_apt_would_install() {
        let policy = "rustc-web:\n  Installed: (none)\n  Candidate: 1.96.0+dfsg1-1~deb12u2\n  \
                      Version table:\n     1.96.0+dfsg1-1~deb12u2 500\n";
        assert_eq!(candidate(policy), Some("1.96.0+dfsg1-1~deb12u2"));
        assert_eq!(candidate("rustc-web:\n  Installed: (none)\n  Candidate: (none)\n"), None);
        assert_eq!(candidate(""), None);
    }
}
