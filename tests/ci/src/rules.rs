//! Prometheus' own checker looks at the rules for Prometheus, and tries them on some series. Where it is not installed, Debian's package is
//! fetched and unpacked below the target folder, which wants no root and starts no server.

use std::{fs, path::PathBuf};

use crate::{
    command,
    steps::{Ci, Outcome},
};

const RULES: &str = "docs/operating/alerts.rules.yml";
/// What they are to say of some series.
const TESTS: &str = "docs/operating/alerts.rules.test.yml";

pub(crate) fn run(ci: &Ci) -> Outcome {
    match promtool(ci) {
        Ok(promtool) => {
            let run = |args: [&str; 3]| command::live(command::new(&promtool, &ci.root).args(args));
            run(["check", "rules", RULES]).and_then(|()| run(["test", "rules", TESTS])).into()
        }
        Err(why) => {
            Outcome::PassedWithout(format!("SKIPPED: {RULES}, which wants promtool: {why}"))
        }
    }
}

fn promtool(ci: &Ci) -> Result<PathBuf, String> {
    if command::answer(command::new("promtool", &ci.root).arg("--version")).is_some() {
        return Ok("promtool".into());
    }
    let folder = ci.target_dir().join("prometheus");
    let unpacked = folder.join("usr/bin/promtool");
    if unpacked.exists() {
        return Ok(unpacked);
    }
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let apt = command::live(command::new("apt-get", &folder).args(["download", "prometheus"]));
    apt.map_err(|why| format!("install prometheus ({why})"))?;
    let entries = fs::read_dir(&folder).map_err(|error| error.to_string())?;
    let mut files = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let package = files.find(|path| path.extension().is_some_and(|ending| ending == "deb"));
    let package = package.ok_or("apt-get has left no package")?;
    let mut unpack = command::new("dpkg-deb", &folder);
    command::live(unpack.arg("--extract").arg(&package).arg("."))?;
    let _ = fs::remove_file(package);
    Ok(unpacked)
}
