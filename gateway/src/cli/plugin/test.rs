//! `hookweir plugin test`: the sample events beside a plugin, one after another, each with the state and the
//! answers that it brings.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use hookweir_event::Clock;
use hookweir_kit::{Plugin, Sample};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    build::build,
    trial::{self, Out},
};
use crate::{
    cli::{Exit, operator::printable, say, tell},
    config::Config,
    toolchain::Install,
};

const EXAMPLES: &str = "\
Examples:
  hookweir plugin test                     # builds the package here and runs samples/*.json
  hookweir plugin test payments.wasm       # runs payments.samples/*.json
  hookweir plugin test plugins --json      # all modules of a folder that have samples

A sample is an event file (see `hookweir plugin run --help`) that says what is to come of it:
\"expect\": \"done\", \"retry\" or \"reject\"; done, if it says nothing.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Args {
    /// A module, a plugin's package, or a folder of modules.
    #[arg(default_value = ".")]
    what: PathBuf,
    /// The config whose grants and limits count. Without one, plugins are granted the hosts that they want and
    /// made-up secrets, under the default limits.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print what happened as JSON.
    #[arg(long)]
    json: bool,
}

/// A module and where its samples are.
struct Subject {
    module: PathBuf,
    samples: PathBuf,
    /// Whether bare bodies may lie among the samples, as they do in a package. A gateway takes none.
    bodies: bool,
}

/// What came of one file.
struct Tried {
    plugin: String,
    sample: String,
    verdict: Verdict,
}

enum Verdict {
    /// As it says; with how it ended, and the CPU time in microseconds.
    Passed(String, u64),
    /// Why not, and what the plugin logged.
    Failed(String, Vec<String>),
    /// No event file.
    Skipped,
}

pub(super) fn run(args: &Args) -> Exit {
    let config = match trial::config(args.config.as_deref()) {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    match test(args, config.as_ref()) {
        Ok(true) => Exit::Ok,
        Ok(false) => Exit::Failed,
        Err(reason) => {
            tell(format_args!("failed to test: {reason}"));
            Exit::Failed
        }
    }
}

/// Whether all samples came to what they say.
fn test(args: &Args, config: Option<&Config>) -> Result<bool, String> {
    let built = tempfile::tempdir().map_err(|error| format!("a temporary folder: {error}"))?;
    let mut tried = Vec::new();
    for subject in subjects(&args.what, &built)? {
        let files = samples(&subject.samples)?;
        let plugin = trial::load(&subject.module, config, Out::Closed)?;
        for file in files {
            let one = try_one(&plugin, &file, subject.bodies);
            if !args.json {
                show(&one);
            }
            tried.push(one);
        }
    }
    let count =
        |meant: fn(&Verdict) -> bool| tried.iter().filter(|one| meant(&one.verdict)).count();
    let passed = count(|verdict| matches!(verdict, Verdict::Passed(..)));
    let failed = count(|verdict| matches!(verdict, Verdict::Failed(..)));
    let skipped = count(|verdict| matches!(verdict, Verdict::Skipped));
    if args.json {
        let items: Vec<_> = tried.iter().map(Tried::json).collect();
        say(json!({ "items": items, "passed": passed, "failed": failed, "skipped": skipped }));
    } else {
        say(format_args!("{passed} passed, {failed} failed, {skipped} skipped"));
    }
    if passed + failed == 0 {
        return Err(format!("there is no sample event for {}", args.what.display()));
    }
    Ok(failed == 0)
}

/// What is to be tested. A package is built first, into `built`.
fn subjects(what: &Path, built: &TempDir) -> Result<Vec<Subject>, String> {
    // A plugin's folder, whatever it is written in.
    let manifests = ["Cargo.toml", "package.json", "pyproject.toml"];
    if manifests.iter().any(|manifest| what.join(manifest).is_file()) {
        let modules = build(&[what.to_owned()], Some(built.path()), Install::Never)?;
        let subject = |module| Subject { module, samples: what.join("samples"), bodies: true };
        return Ok(modules.into_iter().map(subject).collect());
    }
    if what.is_dir() {
        let modules = list(what, "wasm").map_err(|error| format!("{}: {error}", what.display()))?;
        let found: Vec<_> = modules.into_iter().filter_map(beside).collect();
        if found.is_empty() {
            let folder = what.display();
            return Err(format!(
                "{folder} is no package, and has no module with samples beside it"
            ));
        }
        return Ok(found);
    }
    let subject = beside(what.to_owned()).ok_or_else(|| {
        let (file, own) = (what.display(), what.with_extension("samples"));
        format!("{file} has no samples: put event files into {}", own.display())
    })?;
    Ok(vec![subject])
}

/// A module with the samples beside it: its own, or those of the package that it lies in.
fn beside(module: PathBuf) -> Option<Subject> {
    let own = module.with_extension("samples");
    if own.is_dir() {
        return Some(Subject { module, samples: own, bodies: false });
    }
    let package = module.with_file_name("samples");
    package.is_dir().then_some(Subject { module, samples: package, bodies: true })
}

/// The samples of a folder in the order of their names.
fn samples(folder: &Path) -> Result<Vec<PathBuf>, String> {
    list(folder, "json").map_err(|error| format!("{}: {error}", folder.display()))
}

/// The files of a folder with this extension, in the order of their names.
fn list(folder: &Path, extension: &str) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn try_one(plugin: &Plugin, file: &Path, bodies: bool) -> Tried {
    let sample = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let failed = |why: String| Verdict::Failed(why, Vec::new());
    let verdict = match fs::read(file) {
        Ok(text) if bodies && is_bare(&text) => Verdict::Skipped,
        Ok(text) => match Sample::parse(&text, Clock::system().now()) {
            Ok(sample) => replay(plugin, &sample).unwrap_or_else(failed),
            Err(error) => failed(error.to_string()),
        },
        Err(error) => failed(format!("can't be read: {error}")),
    };
    Tried { plugin: plugin.name().to_owned(), sample, verdict }
}

/// Whether a text is a provider's own body: it does not say which source it is from, or does so as a
/// CloudEvent, whose source is another thing.
fn is_bare(text: &[u8]) -> bool {
    serde_json::from_slice::<Value>(text)
        .is_ok_and(|value| value.get("source").is_none() || value.get("specversion").is_some())
}

fn replay(plugin: &Plugin, sample: &Sample) -> Result<Verdict, String> {
    let ran = plugin.replay(sample).map_err(|fault| fault.to_string())?;
    let ended = trial::ended(&ran);
    if ran.outcome() == sample.expect {
        return Ok(Verdict::Passed(ended, trial::micros(ran.cpu())));
    }
    let line = |line: &hookweir_kit::LogLine| format!("{:<5} {}", line.level.as_str(), line.text);
    let why = format!("expected {}, and it ended as {ended}", sample.expect);
    Ok(Verdict::Failed(why, ran.logs().iter().map(line).collect()))
}

fn show(tried: &Tried) {
    let Tried { plugin, sample, verdict } = tried;
    let name = format!("{plugin} {}", printable(sample));
    match verdict {
        Verdict::Passed(ended, micros) => {
            say(format_args!("ok    {name}: {ended}, {micros} us of CPU"));
        }
        Verdict::Failed(why, logs) => {
            say(format_args!("FAIL  {name}: {}", printable(why)));
            for line in logs {
                say(format_args!("      {line}"));
            }
        }
        Verdict::Skipped => {
            say(format_args!(
                "-     {name}: a bare body; `plugin run --body .. --as SOURCE/TYPE` runs it"
            ));
        }
    }
}

impl Tried {
    fn json(&self) -> Value {
        let (verdict, said, logs) = match &self.verdict {
            Verdict::Passed(ended, _) => ("passed", Some(ended), &[][..]),
            Verdict::Failed(why, logs) => ("failed", Some(why), &logs[..]),
            Verdict::Skipped => ("skipped", None, &[][..]),
        };
        let mut shown = json!({
            "plugin": self.plugin,
            "sample": self.sample,
            "verdict": verdict,
            "said": said,
            "logs": logs,
        });
        if let Verdict::Passed(_, micros) = self.verdict {
            shown["cpuMicros"] = json!(micros);
        }
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_that_names_no_source_is_bare() {
        assert!(is_bare(br#"{"ref":"refs/heads/main"}"#) && is_bare(b"[1]"));
        assert!(!is_bare(br#"{"source":"github"}"#));
        let captured = br#"{"specversion":"1.0","id":"1","source":"/erp","type":"order.paid"}"#;
        assert!(is_bare(captured), "a CloudEvent");
        assert!(!is_bare(b"{"), "what is no JSON is said");
    }

    #[test]
    fn samples_are_those_of_the_module_or_of_its_package() {
        let folder = tempfile::tempdir().unwrap();
        let module = folder.path().join("a.wasm");
        assert!(beside(module.clone()).is_none());
        fs::create_dir(folder.path().join("samples")).unwrap();
        assert!(beside(module.clone()).unwrap().bodies);
        fs::create_dir(folder.path().join("a.samples")).unwrap();
        let own = beside(module).unwrap();
        assert!(own.samples.ends_with("a.samples") && !own.bodies);
    }
}
