//! PostgreSQL's programs, which the tests start servers of their own with. As root they are installed where they are
//! missing, without the cluster that Debian would make and start.

use std::{
    env, fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use crate::{
    command,
    steps::{Ci, Outcome},
};

/// What `hookweir-ground` runs.
const PROGRAMS: [&str; 6] =
    ["initdb", "pg_basebackup", "pg_dump", "pg_restore", "postgres", "psql"];
/// The first version that the store can be in.
const VERSION_MIN: u32 = 14;
const CLUSTERS: &str = "/etc/postgresql-common/createcluster.conf";

pub(crate) fn run(ci: &Ci) -> Outcome {
    if installed().is_none()
        && let Err(why) = install(ci)
    {
        return Outcome::Failed(why);
    }
    let Some(folder) = installed() else {
        return Outcome::Failed(format!("PostgreSQL {VERSION_MIN} or later is not there"));
    };
    command::live(command::new(folder.join("postgres"), &ci.root).arg("--version")).into()
}

/// Where they are.
fn installed() -> Option<PathBuf> {
    if let Some(folder) = env::var_os("HOOKWEIR_POSTGRES") {
        return Some(folder.into()).filter(|folder: &PathBuf| is_whole(folder));
    }
    let packaged = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let packaged = packaged.filter(|entry| {
        let version = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
        version.is_some_and(|version| version >= VERSION_MIN)
    });
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = packaged.map(|entry| entry.path().join("bin")).chain(env::split_paths(&path));
    folders.into_iter().find(|folder| is_whole(folder))
}

fn is_whole(folder: &Path) -> bool {
    PROGRAMS.iter().all(|name| folder.join(name).is_file())
}

fn install(ci: &Ci) -> Result<(), String> {
    let id = command::answer(command::new("id", &ci.root).arg("-u")).unwrap_or_default();
    if id.trim() != "0" {
        return Err(format!(
            "the tests need PostgreSQL {VERSION_MIN} or later: install it (apt-get install postgresql), or name the folder of \
             its programs in HOOKWEIR_POSTGRES"
        ));
    }
    // Lists that are merely old may do still.
    let _ = apt(ci, &["update"]);
    apt(ci, &["install", "--yes", "--no-install-recommends", "postgresql-common"])?;
    // Read when the server itself is installed.
    let no_cluster = fs::File::options().append(true).create(true).open(CLUSTERS);
    let written =
        no_cluster.and_then(|mut file| file.write_all(b"\ncreate_main_cluster = false\n"));
    written.map_err(|error| format!("{CLUSTERS}: {error}"))?;
    apt(ci, &["install", "--yes", "--no-install-recommends", "postgresql"])
}

fn apt(ci: &Ci, args: &[&str]) -> Result<(), String> {
    let mut apt = command::new("apt-get", &ci.root);
    apt.args(["-o", "DPkg::Lock::Timeout=300"]).args(args);
    command::live(apt.env("DEBIAN_FRONTEND", "noninteractive"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_without_one_of_the_programs_is_none() {
        let folder = env::temp_dir().join(format!("hookweir-ci-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        for name in PROGRAMS {
            assert!(!is_whole(&folder), "{name} is not there yet");
            fs::write(folder.join(name), "").unwrap();
        }
        assert!(is_whole(&folder));
        fs::remove_dir_all(folder).unwrap();
    }
}
