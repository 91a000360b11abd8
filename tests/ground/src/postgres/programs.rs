//! PostgreSQL's programs, and as whom they run: the server refuses to be root's.

use std::{
    env, fs,
    os::unix::{fs::chown, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use rustix::process::geteuid;

/// What to do where there is none.
const MISSING: &str = "this test needs PostgreSQL 14 or later, and there is none: install it (on Debian and Ubuntu `apt-get install postgresql`, \
     which `cargo ci` does by itself when it is run as root), or name the folder of its `initdb` and `postgres` in the environment variable \
     HOOKWEIR_POSTGRES";

/// The folder of one version's programs, and whose processes they are to be.
#[derive(Debug, Clone)]
pub(super) struct Programs {
    folder: PathBuf,
    /// User and group, where this process is root's.
    user: Option<(u32, u32)>,
}

impl Programs {
    pub(super) fn find() -> Self {
        let folder = match env::var_os("HOOKWEIR_POSTGRES") {
            Some(folder) => Some(PathBuf::from(folder)).filter(|folder| is_whole(folder)),
            None => packaged().or_else(on_path),
        };
        let folder = folder.unwrap_or_else(|| panic!("{MISSING}"));
        Self { folder, user: geteuid().is_root().then(unprivileged) }
    }

    /// A program, run in `home` by who may run it.
    pub(super) fn command(&self, name: &str, home: &Path) -> Command {
        let mut command = Command::new(self.folder.join(name));
        self.lower(&mut command, home);
        command
    }

    /// Has a command be run in `home` by whom the server may be run.
    pub(super) fn lower(&self, command: &mut Command, home: &Path) {
        command.current_dir(home).stdin(Stdio::null()).env("LC_ALL", "C").env("HOME", home);
        if let Some((user, group)) = self.user {
            command.uid(user).gid(group);
        }
    }

    /// Where a program is.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Gives them a file or folder.
    pub(super) fn give(&self, path: &Path) {
        if let Some((user, group)) = self.user {
            chown(path, Some(user), Some(group)).unwrap();
        }
    }
}

/// The newest of Debian's packages, which puts none of these on the path.
fn packaged() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
    let version = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let found = versions.filter_map(|entry| {
        let path = entry.ok()?.path();
        let (version, programs) = (version(&path)?, path.join("bin"));
        (version >= 14 && is_whole(&programs)).then_some((version, programs))
    });
    found.max().map(|(_, programs)| programs)
}

fn on_path() -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?).find(|folder| is_whole(folder))
}

fn is_whole(folder: &Path) -> bool {
    ["initdb", "pg_basebackup", "pg_dump", "pg_restore", "postgres", "psql"]
        .iter()
        .all(|name| folder.join(name).is_file())
}

/// User and group of `postgres`, whom Debian's package makes, or of whoever else has nothing.
fn unprivileged() -> (u32, u32) {
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let of = |name: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut ids = line.split(':').skip(2).map(str::parse);
        Some((ids.next()?.ok()?, ids.next()?.ok()?))
    };
    let found = of("postgres").or_else(|| of("nobody"));
    found.expect("PostgreSQL refuses to be root's, and there is no user `postgres` or `nobody`")
}
