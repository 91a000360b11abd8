//! The steps in their order: what is quick or tells most comes first, what needs the gateway built
//! comes behind the step that builds it.

use std::{
    cell::Cell,
    fmt, fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use crate::{audit, command, contract, deploy, fuzz, hang::Slow, postgres, rules, tally::Tally};

/// One check.
pub(crate) struct Step {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) run: fn(&Ci) -> Outcome,
}

pub(crate) const STEPS: &[Step] = &[
    Step { name: "fmt", about: "the code is formatted", run: fmt },
    Step { name: "clippy", about: "no warnings, from rustc or clippy", run: clippy },
    Step { name: "plugins", about: "the example plugins build for WebAssembly", run: plugins },
    Step {
        name: "languages",
        about: "plugins of JavaScript and Python build and pass",
        run: languages,
    },
    Step {
        name: "postgres",
        about: "PostgreSQL is there, for the tests to start servers of",
        run: postgres::run,
    },
    Step { name: "test", about: "unit, integration and documentation tests", run: test },
    Step { name: "contract", about: "the admin API is as it is described", run: contract::run },
    Step { name: "fuzz", about: "nothing made up breaks it, gets in or is lost", run: fuzz::run },
    Step { name: "doc", about: "the documentation builds, its links lead somewhere", run: doc },
    Step { name: "audit", about: "licences, sources, advisories of what we depend on", run: audit },
    Step { name: "rules", about: "Prometheus takes the rules for alerts", run: rules::run },
    Step {
        name: "deploy",
        about: "unit, image and manifests are as they should be",
        run: deploy::run,
    },
    Step { name: "demo", about: "the demo runs once, from webhook to plugin", run: demo },
];

/// What the steps share.
pub(crate) struct Ci {
    /// The workspace.
    pub(crate) root: PathBuf,
    /// The tests that ran, if the step for them did.
    pub(crate) tally: Cell<Option<Tally>>,
    /// How long the fuzzer runs.
    pub(crate) fuzz: Duration,
    /// How long schemathesis makes up requests.
    pub(crate) contract: Duration,
}

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed,
    /// All that could be checked is well; this could not be.
    PassedWithout(String),
    Failed(String),
}

impl Outcome {
    pub(crate) fn is_failure(&self) -> bool {
        matches!(self, Self::Failed(_))
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed => f.write_str("passed"),
            Self::PassedWithout(what) => write!(f, "passed, but NOT CHECKED: {what}"),
            Self::Failed(why) => write!(f, "FAILED: {why}"),
        }
    }
}

impl From<Result<(), String>> for Outcome {
    fn from(result: Result<(), String>) -> Self {
        result.map_or_else(Self::Failed, |()| Self::Passed)
    }
}

impl Ci {
    pub(crate) fn new(root: PathBuf, fuzz: Duration, contract: Duration) -> Self {
        Self { root, tally: Cell::new(None), fuzz, contract }
    }

    /// Cargo in the workspace.
    pub(crate) fn cargo(&self, args: &[&str]) -> Command {
        let mut cargo = command::new("cargo", &self.root);
        cargo.args(args);
        cargo
    }

    /// The gateway's command, built with what the tests are built with: by itself it has other features of some
    /// crates, wasmtime is built once more for those, and that takes minutes.
    pub(crate) fn hookweir(&self) -> Result<Command, String> {
        let args = ["build", "--quiet", "--workspace", "--bins", "--locked"];
        command::live(&mut self.cargo(&args))?;
        Ok(command::new(self.target_dir().join("debug/hookweir"), &self.root))
    }

    /// Where cargo builds, for the tools as well.
    pub(crate) fn target_dir(&self) -> PathBuf {
        self.root.join(std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
    }
}

fn fmt(ci: &Ci) -> Outcome {
    command::live(&mut ci.cargo(&["fmt", "--all", "--check"])).into()
}

fn clippy(ci: &Ci) -> Outcome {
    let args = ["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"];
    command::live(&mut ci.cargo(&args)).into()
}

/// Also sets up the compiler that the tests and the demo need.
fn plugins(ci: &Ci) -> Outcome {
    let found = example_plugins(&ci.root.join("plugins"), "Cargo.toml");
    found.and_then(|all| all.iter().try_for_each(|folder| build_plugin(ci, folder))).into()
}

/// What it builds is what the tests run. Also sets up Node.js and Python, which that needs.
fn languages(ci: &Ci) -> Outcome {
    let tests: [(&str, &str, &[&str]); 2] = [
        ("package.json", "npm", &["test"]),
        ("pyproject.toml", ".venv/bin/python", &["-m", "unittest"]),
    ];
    let run = |(manifest, program, args): (&str, &str, &[&str])| {
        example_plugins(&ci.root.join("plugins"), manifest)?.iter().try_for_each(|folder| {
            build_plugin(ci, folder)?;
            let own = folder.join(program);
            let program = if own.exists() { own } else { program.into() };
            command::live(command::new(program, folder).args(args))
        })
    };
    tests.into_iter().try_for_each(run).into()
}

fn build_plugin(ci: &Ci, folder: &Path) -> Result<(), String> {
    let folder = folder.strip_prefix(&ci.root).unwrap_or(folder).to_string_lossy().into_owned();
    command::live(ci.hookweir()?.args(["plugin", "build", "--install", &folder]))
}

/// The folders below `plugins` that hold this manifest.
fn example_plugins(folder: &Path, manifest: &str) -> Result<Vec<PathBuf>, String> {
    let entries = fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let mut found: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.join(manifest).is_file())
        .collect();
    found.sort();
    if found.is_empty() {
        Err(format!("{} holds no {manifest}", folder.display()))
    } else {
        Ok(found)
    }
}

/// Does not stop at the first failing test binary, so that the count is of all.
fn test(ci: &Ci) -> Outcome {
    let mut tally = Tally::default();
    let mut cargo = ci.cargo(&["test", "--workspace", "--locked", "--no-fail-fast"]);
    // Most of them wait most of the time: for a lease to lapse, for a process to start.
    let threads = 2 * thread::available_parallelism().map_or(1, usize::from);
    cargo.env("RUST_TEST_THREADS", threads.to_string());
    let mut slow = Slow::default();
    let result = command::watched(&mut cargo, &mut |line| {
        let now = Instant::now();
        if let Some(line) = line {
            tally.read(line);
            slow.read(line, now);
        }
        slow.hanging(now).map_or(Ok(()), |names| Err(format!("these tests do not end: {names}")))
    });
    ci.tally.set(Some(tally));
    match result {
        Ok(()) if tally.passed == 0 => Outcome::Failed("no test ran".into()),
        result => result.into(),
    }
}

fn doc(ci: &Ci) -> Outcome {
    let mut cargo = ci.cargo(&["doc", "--workspace", "--no-deps", "--locked"]);
    command::live(cargo.env("RUSTDOCFLAGS", "-Dwarnings")).into()
}

fn audit(ci: &Ci) -> Outcome {
    audit::run(ci)
}

/// A good day and a bad one.
fn demo(ci: &Ci) -> Outcome {
    let stories = [&["demo", "--once"][..], &["demo", "--once", "--incident"]];
    stories.iter().try_for_each(|story| command::live(ci.hookweir()?.args(*story))).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_plugins_are_found() {
        let plugins = crate::root().join("plugins");
        for (manifest, name) in [
            ("Cargo.toml", "github"),
            ("package.json", "js-labels"),
            ("pyproject.toml", "py-takings"),
        ] {
            let found = example_plugins(&plugins, manifest).unwrap();
            assert!(found.iter().any(|path| path.ends_with(name)), "{found:?}");
        }
        let none = example_plugins(&plugins, "nothing.toml").unwrap_err();
        assert!(none.ends_with("holds no nothing.toml"), "{none}");
        let nowhere = example_plugins(Path::new("/nowhere"), "Cargo.toml").unwrap_err();
        assert!(nowhere.starts_with("/nowhere: "), "{nowhere}");
    }

    #[test]
    fn what_was_not_checked_is_said() {
        let outcome = Outcome::PassedWithout("advisories".into());
        assert_eq!(outcome.to_string(), "passed, but NOT CHECKED: advisories");
        assert!(!outcome.is_failure());
        assert!(Outcome::from(Err("why".to_owned())).is_failure());
    }
}
