//! The fuzzer of `tests/fuzz`, run on each of its targets for a while. It keeps what it finds interesting below the
//! target folder.
//!
//! It is built by the stable compiler. The workspace's own crates alone are built with coverage: cargo has this program
//! run the compiler for them, which adds the flags. What they depend on is taken as the tests have it.

use std::{
    env,
    ffi::{OsStr, OsString},
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{Command, ExitCode},
    time::Duration,
};

use crate::{
    command,
    steps::{Ci, Outcome},
};

/// As hookweir-fuzz has them.
const TARGETS: [&str; 5] = ["edge", "admin", "config", "told", "verify"];

/// What `cargo fuzz` passes, less the sanitizer, which wants another compiler.
const FLAGS: [&str; 8] = [
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Cdebug-assertions",
    "-Coverflow-checks",
];

/// Set for this program where it is to run the compiler.
const AS_COMPILER: &str = "HOOKWEIR_CI_COVERAGE";

/// One input that takes longer has found something.
const HANG: &str = "-timeout=30";

pub(crate) fn run(ci: &Ci) -> Outcome {
    let compiler = command::answer(command::new("c++", &ci.root).arg("--version"));
    if compiler.is_none()
        && let Err(why) = install(ci)
    {
        let without = format!("the fuzzer, which wants a C++ compiler: {why}");
        return Outcome::PassedWithout(without);
    }
    fuzz(ci).into()
}

fn install(ci: &Ci) -> Result<(), String> {
    let id = command::answer(command::new("id", &ci.root).arg("-u")).unwrap_or_default();
    if id.trim() != "0" {
        return Err("install g++".to_owned());
    }
    let mut apt = command::new("apt-get", &ci.root);
    apt.args(["install", "--yes", "--no-install-recommends", "g++"]);
    command::live(apt.env("DEBIAN_FRONTEND", "noninteractive"))
}

fn fuzz(ci: &Ci) -> Result<(), String> {
    let program = build(ci)?;
    let home = ci.target_dir().join("fuzz");
    let each = ci.fuzz / u32::try_from(TARGETS.len()).unwrap_or(1);
    for target in TARGETS {
        let corpus = home.join(target);
        let mut run = Command::new(&program);
        run.env("HOOKWEIR_FUZZ", target).env("HOOKWEIR_FUZZ_CORPUS", &corpus);
        let time = format!("-max_total_time={}", each.as_secs().max(1));
        run.args([
            &time,
            HANG,
            "-rss_limit_mb=4096",
            "-max_len=65536",
            "-verbosity=0",
            "-print_funcs=0",
            "-print_final_stats=1",
        ]);
        run.arg(format!("-artifact_prefix={}/{target}-", home.display())).arg(&corpus);
        command::live_within(run.current_dir(&ci.root), each + Duration::from_secs(300))?;
    }
    Ok(())
}

/// Where the built fuzzer is.
fn build(ci: &Ci) -> Result<PathBuf, String> {
    let this = env::current_exe().map_err(|error| format!("where this program is: {error}"))?;
    // The whole workspace, so that features are those of all other tests; of it this one.
    let args = ["test", "--workspace", "--locked", "--no-run", "--test", "fuzzer"];
    let mut cargo = ci.cargo(&args);
    cargo.args(["--features", "hookweir-fuzz/libfuzzer"]);
    cargo.env("RUSTC_WORKSPACE_WRAPPER", this).env(AS_COMPILER, "1");
    command::live(&mut cargo)?;
    // Built by now; cargo says where.
    let said = command::answer(cargo.args(["--quiet", "--message-format", "json"]));
    let found = said.as_deref().and_then(executable).map(PathBuf::from);
    found.ok_or_else(|| "cargo does not say where the fuzzer is".to_owned())
}

/// The one program among cargo's messages.
fn executable(messages: &str) -> Option<&str> {
    let found =
        messages.lines().filter_map(|line| line.split_once("\"executable\":\"")).next_back();
    found.and_then(|(_, rest)| Some(rest.split_once('"')?.0))
}

/// Runs the compiler with coverage, if that is what this program was started for: its first argument is the compiler.
pub(crate) fn as_compiler() -> Option<ExitCode> {
    env::var_os(AS_COMPILER)?;
    let mut args = env::args_os().skip(1);
    let compiler = args.next()?;
    let args: Vec<_> = args.collect();
    let mut compile = Command::new(compiler);
    compile.args(&args);
    if is_covered(&args) {
        compile.args(FLAGS);
    }
    // Only comes back if it can't be started.
    eprintln!("failed to run the compiler: {}", compile.exec());
    Some(ExitCode::FAILURE)
}

/// Macros and build scripts run in the compiler and in cargo, and questions to the compiler build nothing.
fn is_covered(args: &[OsString]) -> bool {
    let after = |flag: &str| {
        let at = args.iter().position(|arg| arg == OsStr::new(flag));
        at.and_then(|at| args.get(at + 1)?.to_str())
    };
    let name = after("--crate-name");
    let is_script = name.is_some_and(|name| name.starts_with("build_script"));
    name.is_some_and(|name| name != "___")
        && !is_script
        && after("--crate-type") != Some("proc-macro")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn what_runs_in_the_compiler_is_built_as_ever() {
        assert!(is_covered(&args("--crate-name hookweir --crate-type lib --emit=link")));
        assert!(is_covered(&args("--crate-name fuzzer --edition=2024 fuzzer.rs")));
        assert!(!is_covered(&args("--crate-name macros --crate-type proc-macro")));
        assert!(!is_covered(&args("--crate-name build_script_build --crate-type bin")));
        assert!(!is_covered(&args("- --crate-name ___ --print=file-names")));
        assert!(!is_covered(&args("-vV")));
    }

    #[test]
    fn the_fuzzer_is_found_among_what_cargo_says() {
        let said =
            "{\"reason\":\"a\",\"executable\":null}\n{\"executable\":\"/t/fuzzer-1\",\"b\":1}\n{}";
        assert_eq!(executable(said), Some("/t/fuzzer-1"));
        assert_eq!(executable("{}"), None);
    }
}
