//! The fuzzer of `gateway/verify`, built with coverage by the stable compiler and run for a while.
//! It begins with the recorded vectors and keeps what it finds interesting below the target folder.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::{
    command,
    steps::{Ci, Outcome},
};

/// What `cargo fuzz` passes, less the sanitizer, which wants another compiler.
const FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
     -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares \
     -Cdebug-assertions -Coverflow-checks";

/// One input that takes longer has found something.
const HANG: &str = "-timeout=10";

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
    let host = command::answer(command::new("rustc", &ci.root).arg("-vV"));
    let host = host.as_deref().and_then(|text| text.lines().find_map(|l| l.strip_prefix("host: ")));
    let host = host.ok_or("rustc does not say what it is built for")?.to_owned();
    // A folder of its own: other flags would have everything else built anew.
    let target = ci.target_dir().join("fuzz");
    let mut build = ci.cargo(&["build", "--locked", "--package", "hookweir-verify-fuzz"]);
    build.args(["--features", "libfuzzer", "--target", &host, "--target-dir"]).arg(&target);
    command::live(build.env("RUSTFLAGS", FLAGS))?;

    let corpus = target.join("corpus");
    seed(&ci.root.join("gateway/verify/tests/vectors"), &corpus)?;
    let program: PathBuf = target.join(host).join("debug/verify");
    let mut run = Command::new(program);
    let time = format!("-max_total_time={}", ci.fuzz.as_secs());
    run.args([
        &time,
        HANG,
        "-rss_limit_mb=2048",
        "-max_len=65536",
        "-verbosity=0",
        "-print_funcs=0",
        "-print_final_stats=1",
    ]);
    run.arg(format!("-artifact_prefix={}/", target.display())).arg(&corpus);
    command::live_within(run.current_dir(&ci.root), ci.fuzz + Duration::from_secs(300))
}

/// Each recorded vector is an input to begin with.
fn seed(vectors: &Path, corpus: &Path) -> Result<(), String> {
    let fault = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
    fs::create_dir_all(corpus).map_err(|error| fault(corpus, error))?;
    for name in ["open.jsonl", "more.jsonl"] {
        let path = vectors.join(name);
        let text = fs::read_to_string(&path).map_err(|error| fault(&path, error))?;
        for (number, line) in text.lines().enumerate() {
            let path = corpus.join(format!("{name}-{number}"));
            fs::write(&path, line).map_err(|error| fault(&path, error))?;
        }
    }
    Ok(())
}
