//! `hookweir plugin run`: one event through a module, here and now, in the engine and the limits of a gateway.

use std::{
    fs,
    path::{Path, PathBuf},
};

use hookweir_event::{Clock, Outcome};
use hookweir_kit::Sample;

use super::trial::{self, Out};
use crate::cli::{Exit, say, send, tell};

const EXAMPLES: &str = "\
Examples:
  hookweir plugin run payments.wasm --event payments.samples/paid.json
  hookweir plugin run github.wasm --body push.json --as github/push --json

An event file:
  { \"source\": \"stripe\", \"type\": \"payment_intent.succeeded\", \"body\": { \"id\": \"evt_1\" },
    \"headers\": { \"x-a\": \"b\" }, \"attempt\": 1, \"state\": { \"order:1\": \"open\" },
    \"http\": { \"POST https://api.example.com/v1\": { \"status\": 201, \"body\": {} } } }";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Args {
    /// The module. Its name is the plugin's.
    file: PathBuf,
    /// The event, with the state that it finds and the answers to its requests.
    #[arg(long, value_name = "FILE.json", required_unless_present = "body")]
    event: Option<PathBuf>,
    /// A bare body, as a provider sends it; `--as` says whose.
    #[arg(long, value_name = "FILE", requires = "kind", conflicts_with = "event")]
    body: Option<PathBuf>,
    /// What the body is.
    #[arg(long = "as", id = "kind", value_name = "SOURCE/TYPE", requires = "body")]
    kind: Option<String>,
    /// A header beside the body; may be given several times.
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = send::header_line, requires = "body")]
    headers: Vec<(String, String)>,
    /// Which attempt this is, if not the first or what the event file says.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    attempt: Option<u32>,
    /// Let requests out that are granted and have no answer in the event file: over the gateway's own way out,
    /// to public addresses and to those that the config adds.
    #[arg(long)]
    allow: bool,
    /// The config whose grant and limits count. Without one, the plugin is granted the hosts that it wants and
    /// made-up secrets, under the default limits.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print what happened as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Exit {
    match attempt(args) {
        Ok(exit) => exit,
        Err(reason) => {
            tell(format_args!("failed to run it: {reason}"));
            Exit::Failed
        }
    }
}

fn attempt(args: &Args) -> Result<Exit, String> {
    let config = match trial::config(args.config.as_deref()) {
        Ok(config) => config,
        Err(exit) => return Ok(exit),
    };
    let mut sample = sample(args)?;
    if let Some(attempt) = args.attempt {
        sample.rehearsal.attempt = attempt;
    }
    let out = if args.allow { Out::Granted } else { Out::Closed };
    let plugin = trial::load(&args.file, config.as_ref(), out)?;
    trial::note_subscription(&plugin, config.as_ref(), &sample);
    let ran = plugin.replay(&sample).map_err(|fault| fault.to_string())?;
    if args.json {
        say(trial::report(&plugin, &sample, &ran));
    } else {
        trial::lines(&plugin, &sample, &ran).into_iter().for_each(say);
    }
    if !args.allow {
        trial::note_unanswered(&ran);
    }
    Ok(if ran.outcome() == Outcome::Done { Exit::Ok } else { Exit::Failed })
}

/// The event, from whichever of the two files.
fn sample(args: &Args) -> Result<Sample, String> {
    let now = Clock::system().now();
    if let Some(file) = &args.event {
        let sample = Sample::parse(&read(file)?, now);
        return sample.map_err(|error| format!("{} {error}", file.display()));
    }
    let (Some(file), Some(kind)) = (&args.body, &args.kind) else {
        return Err("name an event, or a body and what it is".to_owned());
    };
    let (source, event_type) = kind
        .split_once('/')
        .ok_or_else(|| format!("`{kind}` is not SOURCE/TYPE, such as github/push"))?;
    let headers = args.headers.iter();
    let headers = headers.map(|(name, value)| (name.clone(), value.clone().into_bytes()));
    let sample = Sample::of_body(source, event_type, headers.collect(), read(file)?, now);
    sample.map_err(|error| format!("the event {error}"))
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    fs::read(file).map_err(|error| format!("{}: {error}", file.display()))
}
