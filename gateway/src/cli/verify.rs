//! `hookweir verify`: what the presets make of recorded requests.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
};

use hookweir_verify::{
    Preset,
    vector::{Outcome, Vector},
};

use super::{Exit, say, tell};

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = true)]
pub(super) struct Args {
    /// Test vectors, one JSON object a line: each is verified, and its verdict compared.
    #[arg(long, value_name = "FILE.jsonl")]
    vectors: Vec<PathBuf>,
    /// List the presets, each with its provider's page.
    #[arg(long)]
    list: bool,
}

pub(super) fn run(args: &Args) -> Exit {
    if args.list {
        for preset in Preset::all() {
            say(format_args!("{:<24} {}", preset.name, preset.docs));
        }
    }
    if args.vectors.is_empty() {
        return Exit::Ok;
    }
    let mut tally = Tally::default();
    for path in &args.vectors {
        if let Err(reason) = tally.file(path) {
            tell(format_args!("{}: {reason}", path.display()));
            return Exit::Failed;
        }
    }
    tally.report()
}

#[derive(Debug, Default, Clone, Copy)]
struct Count {
    passed: u32,
    failed: u32,
    advisory: u32,
}

#[derive(Debug, Default)]
struct Tally {
    providers: BTreeMap<String, Count>,
}

impl Tally {
    /// Runs the vectors of one file. A line that can't be read stops it: a vector that does not run
    /// must not look like one that passes.
    fn file(&mut self, path: &Path) -> Result<(), String> {
        let file = File::open(path).map_err(|error| error.to_string())?;
        for (index, line) in BufReader::new(file).lines().enumerate() {
            let at = |error: &dyn std::fmt::Display| format!("line {}: {error}", index + 1);
            let line = line.map_err(|error| at(&error))?;
            if line.trim().is_empty() {
                continue;
            }
            let vector = Vector::parse(&line).map_err(|error| at(&error))?;
            let count = self.providers.entry(vector.provider.clone()).or_default();
            match vector.run() {
                Outcome::Passed => count.passed += 1,
                Outcome::Advisory(_) => count.advisory += 1,
                Outcome::Failed(reason) => {
                    count.failed += 1;
                    say(format_args!("FAILED {}: {reason} ({})", vector.id, vector.why));
                }
            }
        }
        Ok(())
    }

    fn report(&self) -> Exit {
        let mut all = Count::default();
        for (provider, count) in &self.providers {
            let Count { passed, failed, advisory } = *count;
            say(format_args!("{provider}: {passed} passed, {failed} failed, {advisory} advisory"));
            all.passed += passed;
            all.failed += failed;
            all.advisory += advisory;
        }
        let Count { passed, failed, advisory } = all;
        say(format_args!("{passed} passed, {failed} failed, {advisory} advisory"));
        match (failed, passed) {
            (0, 1..) => Exit::Ok,
            (0, 0) => {
                tell("there was nothing to verify");
                Exit::Failed
            }
            _ => Exit::Failed,
        }
    }
}
