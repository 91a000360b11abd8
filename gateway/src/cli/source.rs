//! `hookweir source`: what became of sources' requests, asked of the running gateway, and holding them up.

use hookweir_event::SourceName;
use serde_json::{Value, json};

use super::{
    Exit,
    operator::{Common, Operator, Table, items, joined, printable, table},
};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// List the sources, which secrets proved how many requests, and how many were refused and why.
    List(Common),
    /// Show the last refusals of a source, the newest first, and why.
    Refusals {
        /// The source, as the config names it.
        source: SourceName,
        #[command(flatten)]
        common: Common,
    },
    /// Refuse a source's requests with 503 until it is resumed, over restarts too. Senders come back by themselves.
    Pause(PauseArgs),
    /// Take a source's requests again.
    Resume(ResumeArgs),
}

/// What to pause.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct PauseArgs {
    #[command(flatten)]
    which: ResumeArgs,
    /// Why, for whoever finds it paused.
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,
}

/// What to resume.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct ResumeArgs {
    /// Its name in the config.
    name: String,
    #[command(flatten)]
    common: Common,
}

pub(super) fn run(command: Command) -> Exit {
    match command {
        Command::List(common) => show(&common, "sources", sources),
        Command::Refusals { source, common } => {
            show(&common, &format!("sources/{source}/refusals"), refusals)
        }
        Command::Pause(args) => pause("sources", &args),
        Command::Resume(args) => resume("sources", &args),
    }
}

fn show(common: &Common, path: &str, rows: fn(&Value) -> Table) -> Exit {
    Operator::run(common, |operator| {
        let answer = operator.get(path)?;
        operator.show(&answer, rows);
        Ok(())
    })
}

/// What is to be paused, of what is at this place.
pub(super) fn pause(place: &str, args: &PauseArgs) -> Exit {
    let PauseArgs { which, why } = args;
    Operator::run(&which.common, |operator| {
        let path = format!("{place}/{}/pause", which.name);
        let answer = operator.post(&path, &json!({ "why": why }))?;
        operator.tell(&answer, format_args!("{} is paused", which.name));
        Ok(())
    })
}

/// What is to go on, of what is at this place.
pub(super) fn resume(place: &str, which: &ResumeArgs) -> Exit {
    Operator::run(&which.common, |operator| {
        let answer = operator.post(&format!("{place}/{}/resume", which.name), &Value::Null)?;
        let was_paused = answer["wasPaused"] == true;
        let said = if was_paused { "goes on" } else { "was not paused" };
        operator.tell(&answer, format_args!("{} {said}", which.name));
        Ok(())
    })
}

/// A pause, in a cell.
pub(super) fn paused(thing: &Value) -> String {
    let pause = &thing["paused"];
    let Some(by) = pause["by"].as_str() else { return "-".to_owned() };
    let why = pause["why"].as_str().map(|why| format!(": {why}")).unwrap_or_default();
    printable(&format!("by {by}{why}"))
}

fn sources(answer: &Value) -> Table {
    let head = ["SOURCE", "SCHEME", "PATH", "VERIFIED BY SECRET", "REFUSED", "PAUSED"];
    let row = |source: &Value| {
        let verified = items(&source["verified"])
            // People count from one, and so does `hookweir verify`.
            .filter_map(|proofs| Some((proofs["secret"].as_u64()? + 1, &proofs["count"])))
            .map(|(secret, count)| format!("#{secret}: {count}"));
        let refused = source["refused"].as_object().into_iter().flatten();
        let refused = refused.map(|(reason, count)| format!("{reason}: {count}"));
        let text = |key: &str| source[key].as_str().unwrap_or_default().to_owned();
        vec![
            text("name"),
            text("scheme"),
            text("path"),
            joined(verified),
            joined(refused),
            paused(source),
        ]
    };
    table(head, items(&answer["items"]).map(row))
}

pub(super) fn refusals(answer: &Value) -> Table {
    let head = ["AT", "CLIENT", "REASON", "DETAIL", "REQUEST"];
    let row = |refusal: &Value| {
        ["at", "client", "reason", "detail", "requestId"]
            .map(|key| printable(refusal[key].as_str().unwrap_or_default()))
            .to_vec()
    };
    table(head, items(&answer["items"]).map(row))
}
