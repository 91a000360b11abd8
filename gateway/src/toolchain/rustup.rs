//! Asks rustup for the target's built standard library. Where its server can't be reached it fails
//! or hangs, so it gets a short time, and a failure is remembered for a while: a plugin's author who
//! builds every minute should not wait for it every minute.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use super::{TARGET, command, environment};

/// The library is 20 MB; whoever can fetch it at all has it by then.
const LIMIT: Duration = Duration::from_secs(20);

/// How long a failure counts, if there is another way.
const REMEMBERED: Duration = Duration::from_secs(3600);

/// Adds the target, or says why that can't be. With `other_way`, a failure of the last hour is not
/// tried again.
pub(super) fn add_target(other_way: bool, progress: &dyn Fn(&str)) -> Result<(), String> {
    if env::var("CARGO_NET_OFFLINE").is_ok_and(|value| value == "true") {
        return Err("not asked, since CARGO_NET_OFFLINE is set".into());
    }
    let note = note();
    if other_way && note.as_deref().is_some_and(is_fresh) {
        return Err("not asked, since it failed within the last hour".into());
    }
    progress(&format!("rustup target add {TARGET}"));
    let mut rustup = Command::new("rustup");
    environment::clean(&mut rustup, environment::Toolchain::Active);
    // What rustup says of a failure belongs to the error, and only if no other way works.
    let added = command::run(rustup.args(["target", "add", TARGET]), Some(LIMIT), &|_| ());
    if let Some(note) = note {
        remember(&note, added.is_err());
    }
    added.map(drop).map_err(|error| error.to_string())
}

/// Where a failure is noted: an empty file whose age counts.
fn note() -> Option<PathBuf> {
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache")))?;
    Some(cache.join("hookweir/rustup-target-add-failed"))
}

fn is_fresh(note: &Path) -> bool {
    let written = fs::metadata(note).and_then(|note| note.modified());
    written.is_ok_and(|written| written.elapsed().is_ok_and(|age| age < REMEMBERED))
}

/// Best effort: without a note the next build asks again, which costs it some seconds.
fn remember(note: &Path, failed: bool) {
    if !failed {
        let _ = fs::remove_file(note);
    } else if let Some(folder) = note.parent() {
        let _ = fs::create_dir_all(folder).and_then(|()| fs::write(note, ""));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_remembered_until_a_success() {
        let folder = tempfile::tempdir().unwrap();
        let note = folder.path().join("deeper/note");
        assert!(!is_fresh(&note));
        remember(&note, true);
        assert!(is_fresh(&note));
        remember(&note, false);
        assert!(!is_fresh(&note));
    }
}
