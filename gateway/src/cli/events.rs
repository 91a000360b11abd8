//! `hookweir events`: find events, see what became of them, have them replayed.

use serde_json::{Value, json};

use super::{
    Exit,
    operator::{Common, Operator, Table, counted, items, joined, printable, table, with_query},
    tell,
};

/// How many ids one request asks for, and how many events one request replays.
const AT_ONCE: usize = 1000;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// List events, the newest first.
    List {
        #[command(flatten)]
        filter: Filter,
        /// How many.
        #[arg(long, default_value_t = 50)]
        limit: usize,
        /// Go on where an earlier listing ended.
        #[arg(long)]
        cursor: Option<String>,
        #[command(flatten)]
        common: Common,
    },
    /// Say how many events there are.
    Count {
        #[command(flatten)]
        filter: Filter,
        #[command(flatten)]
        common: Common,
    },
    /// Show one event: its request, its deliveries, their attempts and what they logged.
    Show {
        /// The event's id.
        id: String,
        #[command(flatten)]
        common: Common,
    },
    /// Have events delivered once more, as they were received, the oldest first: those named, or all
    /// that the filter means.
    Replay {
        /// The events' ids.
        ids: Vec<String>,
        #[command(flatten)]
        filter: Filter,
        /// To this plugin alone, in place of all that subscribe now.
        #[arg(long, value_name = "PLUGIN")]
        to: Option<String>,
        /// Say how many, and replay none.
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        common: Common,
    },
    /// List the order keys that dead letters hold up.
    Blocked(Common),
}

/// Which events are meant: those for which all holds that is said.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
pub(super) struct Filter {
    /// Of this source; `plugin.NAME` for outputs.
    #[arg(long)]
    source: Option<String>,
    /// Of exactly this type.
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,
    /// Of this pattern, such as `stripe/payment_intent.*`.
    #[arg(long = "match", value_name = "PATTERN")]
    pattern: Option<String>,
    /// With a delivery of this plugin.
    #[arg(long)]
    plugin: Option<String>,
    /// With a delivery that is so (with --plugin: of that plugin).
    #[arg(long, value_parser = ["due", "behind", "leased", "done", "dead", "blocks", "unrouted"])]
    state: Option<String>,
    /// With a delivery that is ordered by this key.
    #[arg(long, value_name = "KEY")]
    order_key: Option<String>,
    /// With the provider's id for it. Needs --source, and --type where the source does not sign ids.
    #[arg(long, value_name = "ID", requires = "source")]
    dedupe_id: Option<String>,
    /// That were sent again within their window.
    #[arg(long)]
    duplicated: bool,
    /// With this text in the path, a header or the body.
    #[arg(long)]
    text: Option<String>,
    /// Received then or later, such as 2026-01-31T12:00:00Z.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Received before.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
}

impl Filter {
    fn parameters(&self) -> [(&'static str, Option<String>); 11] {
        let filter = self.clone();
        [
            ("source", filter.source),
            ("type", filter.event_type),
            ("match", filter.pattern),
            ("plugin", filter.plugin),
            ("state", filter.state),
            ("orderKey", filter.order_key),
            ("dedupe", filter.dedupe_id),
            ("duplicated", filter.duplicated.then(|| "true".to_owned())),
            ("text", filter.text),
            ("since", filter.since),
            ("until", filter.until),
        ]
    }
}

pub(super) fn run(command: Command) -> Exit {
    match command {
        Command::List { filter, limit, cursor, common } => Operator::run(&common, |operator| {
            let answer = list(operator, &filter, limit, cursor)?;
            operator.show(&answer, listing);
            if let (Some(next), false) = (answer["next"].as_str(), common.json()) {
                tell(format_args!("more: --cursor {next}"));
            }
            Ok(())
        }),
        Command::Count { filter, common } => Operator::run(&common, |operator| {
            let count = ids(operator, &filter)?.len();
            operator.tell(&json!({ "events": count }), count);
            Ok(())
        }),
        Command::Show { id, common } => Operator::run(&common, |operator| {
            let event = operator.get(&format!("events/{id}"))?;
            operator.tell(&event, detail(&event));
            Ok(())
        }),
        Command::Replay { ids: named, filter, to, dry_run, common } => {
            if named.is_empty() == (filter == Filter::default()) {
                tell("name the events to replay, or say which by a filter such as --since");
                return Exit::Failed;
            }
            Operator::run(&common, |operator| {
                let which = if named.is_empty() { ids(operator, &filter)? } else { named };
                replay(operator, &which, to.as_deref(), dry_run)
            })
        }
        Command::Blocked(common) => Operator::run(&common, |operator| {
            let answer = operator.get("blocked")?;
            operator.show(&answer, blocked);
            Ok(())
        }),
    }
}

/// As many as were asked for, over as many pages as it takes: one may end early that looked at much.
fn list(
    operator: &Operator,
    filter: &Filter,
    limit: usize,
    mut cursor: Option<String>,
) -> Result<Value, String> {
    let mut found = Vec::new();
    while found.len() < limit {
        let page = [
            ("limit", Some((limit - found.len()).min(AT_ONCE).to_string())),
            ("cursor", cursor.take()),
        ];
        let mut answer =
            operator.get(&with_query("events", filter.parameters().into_iter().chain(page)))?;
        if let Value::Array(items) = answer["items"].take() {
            found.extend(items);
        }
        cursor = answer["next"].as_str().map(str::to_owned);
        if cursor.is_none() {
            break;
        }
    }
    Ok(json!({ "items": found, "next": cursor }))
}

/// All that the filter means, the newest first.
pub(super) fn ids(operator: &Operator, filter: &Filter) -> Result<Vec<String>, String> {
    let (mut ids, mut cursor) = (Vec::new(), None);
    loop {
        let page = [
            ("ids", Some("true".into())),
            ("limit", Some(AT_ONCE.to_string())),
            ("cursor", cursor),
        ];
        let answer =
            operator.get(&with_query("events", filter.parameters().into_iter().chain(page)))?;
        ids.extend(items(&answer["items"]).filter_map(|id| id.as_str().map(str::to_owned)));
        cursor = answer["next"].as_str().map(str::to_owned);
        if cursor.is_none() {
            return Ok(ids);
        }
    }
}

fn replay(
    operator: &Operator,
    newest_first: &[String],
    to: Option<&str>,
    dry_run: bool,
) -> Result<(), String> {
    let all = newest_first.len();
    if dry_run {
        let answer = json!({ "events": all, "dryRun": true });
        operator.tell(
            &answer,
            format_args!("{} would be replayed", counted(all as u64, "event", "events")),
        );
        return Ok(());
    }
    let oldest_first: Vec<&String> = newest_first.iter().rev().collect();
    let (mut events, mut unwanted, mut deliveries) = (0, 0, 0);
    for some in oldest_first.chunks(AT_ONCE) {
        let answer = operator.post("replay", &json!({ "events": some, "plugin": to }))?;
        let count = |name: &str| answer[name].as_u64().unwrap_or(0);
        events += count("events");
        unwanted += count("unwanted");
        deliveries += count("deliveries");
        if all > AT_ONCE {
            tell(format_args!("{events} of {all} events"));
        }
    }
    let answer = json!({ "events": events, "unwanted": unwanted, "deliveries": deliveries });
    let unwanted = match unwanted {
        0 => String::new(),
        unwanted => format!("; {unwanted} that no plugin subscribes to"),
    };
    let events = counted(events, "event", "events");
    let deliveries = counted(deliveries, "delivery", "deliveries");
    operator.tell(&answer, format_args!("{events} replayed: {deliveries}{unwanted}"));
    Ok(())
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap_or("-")
}

fn listing(answer: &Value) -> Table {
    let row = |event: &Value| {
        let deliveries = items(&event["deliveries"])
            .map(|delivery| format!("{} {}", text(delivery, "plugin"), text(delivery, "state")));
        vec![
            text(event, "id").to_owned(),
            text(event, "receivedAt").to_owned(),
            printable(&format!("{}/{}", text(event, "source"), text(event, "type"))),
            event["bytes"].to_string(),
            event["duplicates"].to_string(),
            joined(deliveries),
        ]
    };
    let head = ["EVENT", "RECEIVED", "SOURCE/TYPE", "BYTES", "DUPLICATES", "DELIVERIES"];
    table(head, items(&answer["items"]).map(row))
}

fn blocked(answer: &Value) -> Table {
    let row = |blocked: &Value| {
        vec![
            text(blocked, "plugin").to_owned(),
            printable(text(blocked, "orderKey")),
            blocked["waiting"].to_string(),
            text(blocked, "since").to_owned(),
            text(blocked, "by").to_owned(),
        ]
    };
    table(
        ["PLUGIN", "ORDER KEY", "WAITING", "SINCE", "BLOCKED BY"],
        items(&answer["items"]).map(row),
    )
}

/// One event, in lines.
fn detail(event: &Value) -> String {
    let mut lines = vec![
        format!("{}/{}  {}", text(event, "source"), text(event, "type"), text(event, "receivedAt")),
        format!("{} {}", text(event, "method"), text(event, "path")),
    ];
    for header in items(&event["headers"]) {
        let part = |at: usize| header[at].as_str().unwrap_or_default();
        lines.push(format!("{}: {}", part(0), part(1)));
    }
    lines.push(String::new());
    match (event["body"].as_str(), event["unreadable"].as_str()) {
        (Some(body), _) => lines.extend(body.lines().map(str::to_owned)),
        (None, Some(why)) => lines.push(format!("its content is lost: {why}")),
        (None, None) => {
            let (bytes, body) = (&event["bytes"], text(event, "bodyBase64"));
            lines.push(format!("{bytes} bytes in base64: {body}"));
        }
    }
    lines.push(String::new());
    if let Some(parent) = event["parent"].as_str() {
        lines.push(format!("made from {parent}"));
    }
    for delivery in items(&event["deliveries"]) {
        lines.push(format!(
            "{}  {}  {}",
            text(delivery, "id"),
            text(delivery, "plugin"),
            text(delivery, "state")
        ));
        for attempt in items(&delivery["attempts"]) {
            lines.push(format!(
                "  #{}  {}  {}  {} us  {}",
                attempt["number"],
                text(attempt, "startedAt"),
                text(attempt, "outcome"),
                attempt["wallMicros"],
                attempt["message"].as_str().unwrap_or_default()
            ));
            for line in items(&attempt["logs"]) {
                lines.push(format!("      {} {}", text(line, "level"), text(line, "text")));
            }
        }
    }
    lines.iter().map(|line| printable(line)).collect::<Vec<_>>().join("\n")
}
