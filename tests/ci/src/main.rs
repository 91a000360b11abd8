//! `cargo ci`: what must hold before a change is taken, one step after the other, the quick ones
//! first. It stops at the first step that fails and ends with the tests counted.
//!
//! Standard library only, so that it is built in a second and its own build can't be what fails.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program's output")]

mod audit;
mod command;
mod contract;
mod deploy;
mod fuzz;
mod hang;
mod postgres;
mod processes;
mod python;
mod rules;
mod steps;
mod tally;

use std::{
    env,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use steps::{Ci, Outcome, STEPS, Step};

const HELP: &str = "\
Runs what CI checks, from formatting to the demo, and stops at the first step that fails.

Usage: cargo ci [--only STEP]... [--fuzz SECONDS] [--contract SECONDS] [--list]

      --only STEP      run this step alone; may be given more than once
      --fuzz SECONDS   how long the fuzzer runs, over all its targets (30)
      --contract SECONDS
                       how long schemathesis makes up requests (60)
      --list           name the steps
  -h, --help           this text

As root, the steps `plugins` and `fuzz` may install a compiler with apt, where no other way leads to one, and
`languages` Node.js and Python where they are missing, and `postgres` PostgreSQL. `contract` and `deploy` install what they need from PyPI below the target folder,
`rules` fetches Prometheus' checker from Debian.
Ends with 0 if all is well, 1 if a step failed, 2 if it was called wrongly.
";

fn main() -> ExitCode {
    if let Some(code) = fuzz::as_compiler() {
        return code;
    }
    match parse(env::args().skip(1)) {
        Ok(Wish::Run(steps, times)) => run(&steps, times),
        Ok(Wish::List) => {
            for step in STEPS {
                println!("{:<9} {}", step.name, step.about);
            }
            ExitCode::SUCCESS
        }
        Ok(Wish::Help) => {
            print!("{HELP}");
            ExitCode::SUCCESS
        }
        Err(fault) => {
            eprintln!("error: {fault}\n\n{HELP}");
            ExitCode::from(2)
        }
    }
}

/// How long the steps run that could go on for ever.
#[derive(Clone, Copy)]
struct Times {
    fuzz: Duration,
    contract: Duration,
}

enum Wish {
    Run(Vec<&'static Step>, Times),
    List,
    Help,
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<Wish, String> {
    let mut only = Vec::new();
    let mut times = Times { fuzz: Duration::from_secs(30), contract: Duration::from_secs(60) };
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--list" => return Ok(Wish::List),
            "-h" | "--help" => return Ok(Wish::Help),
            "--only" => {
                let name = args.next().ok_or("--only wants the name of a step")?;
                let known = STEPS.iter().find(|step| step.name == name);
                only.push(known.ok_or_else(|| format!("no step is called `{name}`; see --list"))?);
            }
            "--fuzz" => times.fuzz = wanted_seconds("--fuzz", args.next())?,
            "--contract" => times.contract = wanted_seconds("--contract", args.next())?,
            other => return Err(format!("unknown argument `{other}`")),
        }
    }
    Ok(Wish::Run(if only.is_empty() { STEPS.iter().collect() } else { only }, times))
}

fn wanted_seconds(flag: &str, given: Option<String>) -> Result<Duration, String> {
    let seconds = given.and_then(|text| text.parse().ok());
    seconds.map(Duration::from_secs).ok_or_else(|| format!("{flag} wants a number of seconds"))
}

/// One line of the table at the end.
struct Row {
    name: &'static str,
    outcome: Outcome,
    took: Duration,
}

fn run(steps: &[&'static Step], times: Times) -> ExitCode {
    let ci = Ci::new(root(), times.fuzz, times.contract);
    let mut rows = Vec::new();
    for (number, step) in steps.iter().enumerate() {
        println!("\n━━ {}/{} {}: {}", number + 1, steps.len(), step.name, step.about);
        let started = Instant::now();
        let outcome = (step.run)(&ci);
        let row = Row { name: step.name, outcome, took: started.elapsed() };
        println!("── {} {} in {}", row.name, row.outcome, seconds(row.took));
        let failed = row.outcome.is_failure();
        rows.push(row);
        if failed {
            break;
        }
    }
    report(&rows, &steps[rows.len()..], &ci)
}

fn report(rows: &[Row], not_run: &[&Step], ci: &Ci) -> ExitCode {
    println!("\n{:<9} {:>9}  result", "step", "time");
    for Row { name, outcome, took } in rows {
        println!("{name:<9} {:>9}  {outcome}", seconds(*took));
    }
    for step in not_run {
        println!("{:<9} {:>9}  not run", step.name, "-");
    }
    let total: Duration = rows.iter().map(|row| row.took).sum();
    println!("{:<9} {:>9}", "total", seconds(total));
    let failed = rows.iter().find(|row| row.outcome.is_failure());
    match failed {
        Some(row) => println!("\nCI FAILED at `{}`: cargo ci --only {}", row.name, row.name),
        None => println!("\nCI passed"),
    }
    // Last and alone on its line, for whoever reads only that.
    if let Some(tally) = ci.tally.get() {
        println!("{tally}");
    }
    if failed.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

/// The workspace's folder, two above this crate's.
fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(args: &[&str]) -> Result<Vec<&'static str>, String> {
        match parse(args.iter().map(ToString::to_string))? {
            Wish::Run(steps, _) => Ok(steps.iter().map(|step| step.name).collect()),
            Wish::List | Wish::Help => Err("no run".into()),
        }
    }

    #[test]
    fn all_steps_run_unless_some_are_named() {
        assert_eq!(names(&[]).unwrap().len(), STEPS.len());
        assert_eq!(names(&["--only", "fmt", "--only", "doc"]).unwrap(), ["fmt", "doc"]);
        assert!(names(&["--only", "nothing"]).unwrap_err().contains("`nothing`"));
        assert!(names(&["--only"]).is_err());
        assert!(names(&["--fuzz", "soon"]).is_err() && names(&["--fuzz", "9"]).is_ok());
        assert!(names(&["--fast"]).unwrap_err().contains("--fast"));
    }
}
