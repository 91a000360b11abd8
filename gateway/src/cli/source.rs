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
    /// Refuse a source's requests with 503, or hold its deliveries, until it is resumed, over restarts too. Senders
    /// come back by themselves.
    Pause(SourcePauseArgs),
    /// Take a source's requests again, and let its deliveries go on.
    Resume(ResumeArgs),
}

/// Which source to pause, and how.
#[derive(Debug, clap::Args)]
pub(super) struct SourcePauseArgs {
    #[command(flatten)]
    pause: PauseArgs,
    /// Take its requests, and hold their deliveries.
    #[arg(long)]
    hold: bool,
}

/// What to pause everything for.
#[derive(Debug, clap::Args)]
pub(super) struct PauseAllArgs {
    /// Why, for whoever finds it paused.
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,
    #[command(flatten)]
    common: Common,
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
        Command::Pause(SourcePauseArgs { pause: args, hold }) => {
            let order = json!({ "why": args.why, "hold": hold });
            pause_with("sources", &args.which, &order)
        }
        Command::Resume(args) => resume("sources", &args),
    }
}

fn show(common: &Common, path: &str, rows: fn(&Value) -> Table) -> Exit {
    Operator::run(common, |operator| {
        let answer = operator.all(path)?;
        operator.show(&answer, rows);
        Ok(())
    })
}

/// What is to be paused, of what is at this place.
pub(super) fn pause(place: &str, args: &PauseArgs) -> Exit {
    pause_with(place, &args.which, &json!({ "why": args.why }))
}

fn pause_with(place: &str, which: &ResumeArgs, order: &Value) -> Exit {
    Operator::run(&which.common, |operator| {
        let answer = operator.post(&format!("{place}/{}/pause", which.name), order)?;
        let said = if order["hold"] == true { "is held" } else { "is paused" };
        operator.tell(&answer, format_args!("{} {said}", which.name));
        Ok(())
    })
}

/// Everything is to be paused.
pub(super) fn pause_everything(PauseAllArgs { why, common }: &PauseAllArgs) -> Exit {
    Operator::run(common, |operator| {
        let answer = operator.post("pause", &json!({ "why": why }))?;
        operator.tell(&answer, "everything is paused");
        Ok(())
    })
}

/// Everything is to go on.
pub(super) fn resume_everything(common: &Common) -> Exit {
    Operator::run(common, |operator| {
        let answer = operator.post("resume", &Value::Null)?;
        let was_paused = answer["wasPaused"] == true;
        let said = if was_paused { "everything goes on" } else { "everything was not paused" };
        operator.tell(&answer, said);
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

/// The pause of something, in a cell.
pub(super) fn paused(thing: &Value) -> String {
    pause_of(&thing["paused"])
}

fn pause_of(pause: &Value) -> String {
    let Some(by) = pause["by"].as_str() else { return "-".to_owned() };
    let why = pause["why"].as_str().map(|why| format!(": {why}")).unwrap_or_default();
    printable(&format!("by {by}{why}"))
}

fn sources(answer: &Value) -> Table {
    let head = ["SOURCE", "SCHEME", "PATH", "VERIFIED BY SECRET", "REFUSED", "PAUSED", "HELD"];
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
            pause_of(&source["held"]),
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
