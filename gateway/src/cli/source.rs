//! `hookweir source`: what became of sources' requests, asked of the running gateway.

use hookweir_event::SourceName;
use serde_json::Value;

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
}

pub(super) fn run(command: Command) -> Exit {
    let (path, common, rows): (_, _, fn(&Value) -> Table) = match command {
        Command::List(common) => ("sources".to_owned(), common, sources),
        Command::Refusals { source, common } => {
            (format!("sources/{source}/refusals"), common, refusals)
        }
    };
    Operator::run(&common, |operator| {
        let answer = operator.all(&path)?;
        operator.show(&answer, rows);
        Ok(())
    })
}

fn sources(answer: &Value) -> Table {
    let head = ["SOURCE", "SCHEME", "PATH", "VERIFIED BY SECRET", "REFUSED"];
    let row = |source: &Value| {
        let verified = items(&source["verified"])
            // People count from one, and so does `hookweir verify`.
            .filter_map(|proofs| Some((proofs["secret"].as_u64()? + 1, &proofs["count"])))
            .map(|(secret, count)| format!("#{secret}: {count}"));
        let refused = source["refused"].as_object().into_iter().flatten();
        let refused = refused.map(|(reason, count)| format!("{reason}: {count}"));
        let text = |key: &str| source[key].as_str().unwrap_or_default().to_owned();
        vec![text("name"), text("scheme"), text("path"), joined(verified), joined(refused)]
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
