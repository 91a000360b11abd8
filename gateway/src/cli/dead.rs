//! `hookweir dead`: deliveries that are not tried again until somebody says so.

use serde_json::{Value, json};

use super::{
    Exit,
    operator::{Common, Operator, Table, counted, items, printable, table, with_query},
    tell,
};

/// How many events one request asks for, and how many deliveries one request mends.
const AT_ONCE: usize = 1000;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// List dead letters, the newest event first, with what their last attempt said.
    List {
        /// Those of this plugin.
        #[arg(long)]
        plugin: Option<String>,
        #[command(flatten)]
        common: Common,
    },
    /// Have dead letters tried again, with all their attempts before them.
    Retry(Which),
    /// Let the order keys go on that these dead letters hold up. They stay dead.
    Skip(Which),
}

/// Which dead letters.
#[derive(Debug, clap::Args)]
pub(super) struct Which {
    /// Their ids, as `dead list` shows them.
    #[arg(required_unless_present_any = ["all", "plugin"])]
    deliveries: Vec<String>,
    /// All of this plugin.
    #[arg(long, conflicts_with = "deliveries")]
    plugin: Option<String>,
    /// All there are.
    #[arg(long, conflicts_with_all = ["deliveries", "plugin"])]
    all: bool,
    #[command(flatten)]
    common: Common,
}

pub(super) fn run(command: Command) -> Exit {
    match command {
        Command::List { plugin, common } => Operator::run(&common, |operator| {
            let dead: Vec<_> = all(operator, plugin.as_deref())?;
            operator.show(&json!({ "items": dead }), listing);
            Ok(())
        }),
        Command::Retry(which) => {
            Operator::run(&which.common, |operator| mend(operator, &which, "retry"))
        }
        Command::Skip(which) => {
            Operator::run(&which.common, |operator| mend(operator, &which, "skip"))
        }
    }
}

fn mend(operator: &Operator, which: &Which, how: &str) -> Result<(), String> {
    let mut ids = which.deliveries.clone();
    if ids.is_empty() {
        let dead = all(operator, which.plugin.as_deref())?;
        // The oldest first, as they came.
        ids = dead.iter().rev().filter_map(|dead| dead["id"].as_str().map(str::to_owned)).collect();
    }
    let mut mended = 0;
    for (nth, some) in ids.chunks(AT_ONCE).enumerate() {
        let answer = operator.post(&format!("dead/{how}"), &json!({ "deliveries": some }))?;
        mended += answer["deliveries"].as_u64().unwrap_or(0);
        if ids.len() > AT_ONCE {
            tell(format_args!("{} of {}", nth * AT_ONCE + some.len(), ids.len()));
        }
    }
    let done = if how == "retry" { "due again" } else { "in nobody's way any more" };
    let of = counted(ids.len() as u64, "dead letter", "dead letters");
    let answer = json!({ "deliveries": mended });
    operator.tell(&answer, format_args!("{mended} of {of} {done}"));
    Ok(())
}

/// All dead letters, each with its event's id, source and type.
fn all(operator: &Operator, plugin: Option<&str>) -> Result<Vec<Value>, String> {
    let (mut dead, mut cursor) = (Vec::new(), None);
    loop {
        let parameters = [
            ("state", Some("dead".to_owned())),
            ("plugin", plugin.map(str::to_owned)),
            ("limit", Some(AT_ONCE.to_string())),
            ("cursor", cursor),
        ];
        let answer = operator.get(&with_query("events", parameters))?;
        for event in items(&answer["items"]) {
            let ours = |delivery: &&Value| {
                delivery["state"] == "dead"
                    && plugin.is_none_or(|plugin| delivery["plugin"] == plugin)
            };
            for delivery in items(&event["deliveries"]).filter(ours) {
                let mut delivery = delivery.clone();
                (delivery["source"], delivery["type"]) =
                    (event["source"].clone(), event["type"].clone());
                dead.push(delivery);
            }
        }
        cursor = answer["next"].as_str().map(str::to_owned);
        if cursor.is_none() {
            return Ok(dead);
        }
    }
}

fn listing(answer: &Value) -> Table {
    let row = |delivery: &Value| {
        let text = |key: &str| delivery[key].as_str().unwrap_or("-").to_owned();
        let last = items(&delivery["attempts"]).last();
        let said = |key: &str| last.and_then(|last| last[key].as_str()).unwrap_or("-");
        vec![
            text("id"),
            text("settledAt"),
            text("plugin"),
            printable(&format!("{}/{}", text("source"), text("type"))),
            said("outcome").to_owned(),
            if delivery["blocks"] == true { printable(&text("orderKey")) } else { "-".to_owned() },
            printable(said("message")),
        ]
    };
    let head = ["DELIVERY", "DIED", "PLUGIN", "SOURCE/TYPE", "OUTCOME", "BLOCKS", "MESSAGE"];
    table(head, items(&answer["items"]).map(row))
}
