//! `hookweir api`: what became of requests that plugins answer, asked of the running gateway.

use hookweir_event::PluginName;
use serde_json::Value;

use super::{
    Exit,
    operator::{Common, Operator, Table, items, joined, table},
    source::refusals,
};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// List the plugins that may be asked, how many requests they answered, and how many were refused and why.
    List(Common),
    /// Show the last requests to a plugin that it did not answer, the newest first, and why.
    Refusals {
        /// The plugin.
        plugin: PluginName,
        #[command(flatten)]
        common: Common,
    },
}

pub(super) fn run(command: Command) -> Exit {
    let (path, common, rows): (_, _, fn(&Value) -> Table) = match command {
        Command::List(common) => ("apis".to_owned(), common, apis),
        Command::Refusals { plugin, common } => {
            (format!("apis/{plugin}/refusals"), common, refusals)
        }
    };
    Operator::run(&common, |operator| {
        let answer = operator.all(&path)?;
        operator.show(&answer, rows);
        Ok(())
    })
}

fn apis(answer: &Value) -> Table {
    let head = ["PLUGIN", "ACCESS", "LOADED", "ANSWERED", "REFUSED"];
    let row = |api: &Value| {
        let refused = api["refused"].as_object().into_iter().flatten();
        let refused = refused.map(|(reason, count)| format!("{reason}: {count}"));
        let text = |key: &str| api[key].as_str().unwrap_or_default().to_owned();
        let loaded = if api["loaded"] == true { "yes" } else { "no" };
        let answered = api["answered"].to_string();
        vec![text("plugin"), text("access"), loaded.to_owned(), answered, joined(refused)]
    };
    table(head, items(&answer["items"]).map(row))
}
