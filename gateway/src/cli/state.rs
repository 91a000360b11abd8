//! `hookweir state`: a plugin's own data, read and written by the rules that the plugin itself has.

use std::path::PathBuf;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use hookweir_event::PluginName;
use serde_json::{Value, json};

use super::{
    Exit,
    operator::{Common, Operator, Table, items, printable, table, with_query},
};

/// How many keys one request asks for.
const AT_ONCE: usize = 1000;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// List the keys of a plugin's state, with the size and the version of each.
    List {
        /// The plugin.
        plugin: PluginName,
        /// Those that begin so.
        #[arg(long, default_value = "")]
        prefix: String,
        #[command(flatten)]
        common: Common,
    },
    /// Print the value of a key.
    Get {
        #[command(flatten)]
        entry: Entry,
    },
    /// Write the value of a key. An attempt that relied on what was there is run again.
    Set {
        #[command(flatten)]
        entry: Entry,
        /// The value.
        #[arg(required_unless_present = "file")]
        value: Option<String>,
        /// A file with the value, in place of that; `-` is standard input.
        #[arg(long, value_name = "FILE", conflicts_with = "value")]
        file: Option<PathBuf>,
        /// How long it lasts, in seconds; for ever, if this is left out.
        #[arg(long, value_name = "SECONDS")]
        ttl: Option<u64>,
        /// Only if it is this version that is there.
        #[arg(long, value_name = "VERSION")]
        if_version: Option<u64>,
        /// Only if there is none.
        #[arg(long, conflicts_with = "if_version")]
        if_absent: bool,
    },
    /// Delete a key.
    Delete {
        #[command(flatten)]
        entry: Entry,
        /// Only if it is this version that is there.
        #[arg(long, value_name = "VERSION")]
        if_version: Option<u64>,
    },
}

/// A plugin and a key of its state.
#[derive(Debug, clap::Args)]
pub(super) struct Entry {
    /// The plugin.
    plugin: PluginName,
    /// The key.
    key: String,
    #[command(flatten)]
    common: Common,
}

impl Entry {
    fn place(&self, if_version: Option<u64>) -> String {
        let if_version = if_version.map(|version| version.to_string());
        let parameters = [("key", Some(self.key.clone())), ("ifVersion", if_version)];
        with_query(&format!("plugins/{}/state/entry", self.plugin), parameters)
    }
}

pub(super) fn run(command: Command) -> Exit {
    match command {
        Command::List { plugin, prefix, common } => Operator::run(&common, |operator| {
            let found = list(operator, &plugin, &prefix)?;
            operator.show(&json!({ "items": found }), rows);
            Ok(())
        }),
        Command::Get { entry } => Operator::run(&entry.common, |operator| {
            let answer = operator.get(&entry.place(None))?;
            if entry.common.json() {
                operator.tell(&answer, "");
                return Ok(());
            }
            // As it is: for a file or another program.
            let bytes = match (answer["value"].as_str(), answer["valueBase64"].as_str()) {
                (Some(text), _) => text.as_bytes().to_vec(),
                (None, Some(base64)) => {
                    BASE64_STANDARD.decode(base64).map_err(|error| error.to_string())?
                }
                (None, None) => Vec::new(),
            };
            super::put_out(&bytes)
        }),
        Command::Set { entry, value, file, ttl, if_version, if_absent } => {
            Operator::run(&entry.common, |operator| {
                let bytes = match (value, &file) {
                    (Some(text), _) => text.into_bytes(),
                    (None, Some(path)) => super::send::read(path)?,
                    (None, None) => Vec::new(),
                };
                let order = json!({
                    "valueBase64": BASE64_STANDARD.encode(bytes),
                    "ttlSeconds": ttl,
                    "ifVersion": if_version,
                    "ifAbsent": if_absent,
                });
                let answer = operator.put(&entry.place(None), &order)?;
                operator.tell(&answer, format_args!("version {}", answer["version"]));
                Ok(())
            })
        }
        Command::Delete { entry, if_version } => Operator::run(&entry.common, |operator| {
            let answer = operator.delete(&entry.place(if_version))?;
            operator.tell(&answer, "deleted");
            Ok(())
        }),
    }
}

fn list(operator: &Operator, plugin: &PluginName, prefix: &str) -> Result<Vec<Value>, String> {
    let (mut found, mut cursor) = (Vec::new(), None);
    loop {
        let parameters = [
            ("prefix", Some(prefix.to_owned())),
            ("limit", Some(AT_ONCE.to_string())),
            ("cursor", cursor),
        ];
        let mut answer =
            operator.get(&with_query(&format!("plugins/{plugin}/state"), parameters))?;
        if let Value::Array(items) = answer["items"].take() {
            found.extend(items);
        }
        cursor = answer["next"].as_str().map(str::to_owned);
        if cursor.is_none() {
            return Ok(found);
        }
    }
}

fn rows(answer: &Value) -> Table {
    let row = |entry: &Value| {
        vec![
            printable(entry["key"].as_str().unwrap_or_default()),
            entry["bytes"].to_string(),
            entry["version"].to_string(),
            entry["expiresAt"].as_str().unwrap_or("-").to_owned(),
        ]
    };
    table(["KEY", "BYTES", "VERSION", "EXPIRES"], items(&answer["items"]).map(row))
}
