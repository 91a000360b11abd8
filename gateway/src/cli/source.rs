//! `hookweir source`: what became of sources' requests, asked of the running gateway.

use std::path::PathBuf;

use hookweir_event::SourceName;
use serde_json::Value;

use super::{Exit, config_fault, runtime, say, tell};
use crate::{
    admin::token_file,
    config::{Config, Surroundings},
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

#[derive(Debug, clap::Args)]
pub(super) struct Common {
    /// Print what the gateway answers, for programs.
    #[arg(long)]
    json: bool,
    /// The gateway's admin address, if not where the config says.
    #[arg(long, value_name = "http://HOST:PORT")]
    url: Option<String>,
    /// A file with the token, if not where the config says.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The config file.
    #[arg(long, default_value = "gateway.toml")]
    config: PathBuf,
}

/// The cells of a table, its head first.
type Table = Vec<Vec<String>>;

pub(super) fn run(command: Command) -> Exit {
    let (path, common, table): (_, _, fn(&Value) -> Table) = match command {
        Command::List(common) => ("sources".to_owned(), common, sources),
        Command::Refusals { source, common } => {
            (format!("sources/{source}/refusals"), common, refusals)
        }
    };
    let config = match Config::load(&common.config, &Surroundings::real()) {
        Ok(config) => config,
        Err(error) => return config_fault(&error),
    };
    match ask(&path, &common, &config) {
        Ok(answer) if common.json => {
            say(answer);
            Exit::Ok
        }
        Ok(answer) => {
            columns(&table(&answer)).into_iter().for_each(say);
            Exit::Ok
        }
        Err(reason) => {
            tell(format_args!("failed to ask the gateway: {reason}"));
            Exit::Failed
        }
    }
}

fn ask(path: &str, common: &Common, config: &Config) -> Result<Value, String> {
    let base = common.url.clone().unwrap_or_else(|| format!("http://{}", config.admin.listen));
    let url = format!("{}/v1/{path}", base.trim_end_matches('/'));
    let token = token(common, config)?;
    let runtime = runtime().map_err(|error| error.to_string())?;
    let (status, body) = runtime.block_on(super::send::get(&url, token.as_deref()))?;
    let answer: Value =
        serde_json::from_str(&body).map_err(|_| format!("{url}: {status} {}", body.trim_end()))?;
    match (status, answer["error"].as_str()) {
        (200, _) => Ok(answer),
        (status, error) => Err(format!("{url}: {status} {}", error.unwrap_or_default())),
    }
}

fn token(common: &Common, config: &Config) -> Result<Option<String>, String> {
    if let (None, Some(token)) = (&common.token_file, &config.admin.token) {
        return Ok(Some(token.as_str().to_owned()));
    }
    if common.token_file.is_none() && config.admin.insecure {
        return Ok(None);
    }
    let made = token_file(config.store.data_folder());
    let file = common.token_file.as_ref().unwrap_or(&made);
    let text = std::fs::read_to_string(file);
    let text = text.map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(Some(text.trim().to_owned()))
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
    std::iter::once(head.map(str::to_owned).to_vec())
        .chain(items(&answer["items"]).map(row))
        .collect()
}

fn refusals(answer: &Value) -> Table {
    let head = ["AT", "CLIENT", "REASON", "DETAIL", "REQUEST"];
    let row = |refusal: &Value| {
        ["at", "client", "reason", "detail", "requestId"]
            .map(|key| printable(refusal[key].as_str().unwrap_or_default()))
            .to_vec()
    };
    std::iter::once(head.map(str::to_owned).to_vec())
        .chain(items(&answer["items"]).map(row))
        .collect()
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn joined(texts: impl Iterator<Item = String>) -> String {
    let texts: Vec<_> = texts.collect();
    if texts.is_empty() { "-".to_owned() } else { texts.join(", ") }
}

/// Some of it was written by strangers, and a terminal obeys control characters.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// Lines of cells, each column as wide as its widest.
fn columns(rows: &[Vec<String>]) -> Vec<String> {
    let count = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<_> = (0..count).map(|column| width(column).unwrap_or_default()).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}
