//! `hookweir events`: find events, see what became of them, have them replayed, exported, compared with a list.

use std::path::{Path, PathBuf};

use hookweir_event::SourceName;
use serde_json::{Value, json};

use super::{
    Exit, jobs,
    operator::{Common, Operator, Table, counted, items, joined, printable, table, with_query},
    put_out, requests, tell,
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
    /// Show one event: its request, its deliveries, their attempts, what they logged and, if the config has the
    /// plugin's record_requests, a line for each request that they sent.
    Show {
        /// The event's id.
        id: String,
        /// Show all that is kept of the requests that attempts sent, and of what they were answered.
        #[arg(long)]
        requests: bool,
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
        /// Pass over plugins that were replayed an event then or later: for a replay that was cut short.
        #[arg(long, value_name = "TIME", conflicts_with_all = ["ids", "dedupe_id"])]
        unless_replayed_since: Option<String>,
        #[command(flatten)]
        common: Common,
    },
    /// Print all that is kept of events, a line of JSON for each, the newest first. What comes meanwhile is not
    /// among them.
    Export {
        #[command(flatten)]
        filter: Filter,
        /// Go on behind the line that has this `cursor`.
        #[arg(long)]
        cursor: Option<String>,
        #[command(flatten)]
        common: Common,
    },
    /// Say which of a provider's ids never came, by the dedupe keys that are kept.
    Missing {
        /// The source.
        #[arg(long)]
        source: SourceName,
        /// A file with an id in each line, or a JSON object such as {"id": "1", "type": "push", "at": "2026-01-31T12:00:00Z"}; `-`
        /// is standard input.
        #[arg(long, value_name = "FILE")]
        ids: PathBuf,
        /// The type of all that do not say theirs; needed where the source does not sign its ids.
        #[arg(long = "type", value_name = "TYPE")]
        event_type: Option<String>,
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
    #[arg(long, value_parser = ["due", "behind", "held", "leased", "done", "dead", "discarded", "blocks", "unrouted"])]
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
    /// The same of deliveries that stand so, if it does not say how.
    pub(super) fn or_state(&self, state: &str) -> Self {
        let state = self.state.clone().or_else(|| Some(state.to_owned()));
        Self { state, ..self.clone() }
    }

    pub(super) fn parameters(&self) -> [(&'static str, Option<String>); 11] {
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
        Command::Show { id, requests, common } => Operator::run(&common, |operator| {
            let mut event = operator.get(&format!("events/{id}"))?;
            if requests || !common.json() {
                requests::add(operator, &mut event)?;
            }
            operator.tell(&event, detail(&event, requests));
            Ok(())
        }),
        Command::Export { filter, cursor, common } => {
            Operator::run(&common, |operator| export(operator, &filter, cursor))
        }
        Command::Missing { source, ids, event_type, common } => {
            Operator::run(&common, |operator| {
                let answer = missing(operator, &source, &ids, event_type.as_deref())?;
                operator.tell(&answer, reconciled(&answer));
                Ok(())
            })
        }
        Command::Replay { ids: named, filter, to, dry_run, unless_replayed_since, common } => {
            if named.is_empty() == (filter == Filter::default()) {
                tell("name the events to replay, or say which by a filter such as --since");
                return Exit::Failed;
            }
            Operator::run(&common, |operator| {
                // One that has a dedupe id is found by it first.
                let by_job = named.is_empty() && filter.dedupe_id.is_none();
                if by_job {
                    let order = json!({
                        "kind": "replay", "to": to, "dryRun": dry_run,
                        "unlessReplayedSince": unless_replayed_since,
                    });
                    return replay_all(operator, &filter, &order);
                }
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

/// All that the filter means, by a job.
fn replay_all(operator: &Operator, filter: &Filter, order: &Value) -> Result<(), String> {
    let job = jobs::run(operator, filter.parameters(), order)?;
    let count = |name: &str| job[name].as_u64().unwrap_or(0);
    let (done, made) = (count("done"), count("deliveries"));
    if order["dryRun"] == true {
        let answer = json!({ "events": count("found"), "deliveries": made, "dryRun": true });
        let events = counted(count("found"), "event", "events");
        operator.tell(&answer, format_args!("{events} would be replayed"));
        return Ok(());
    }
    let answer = json!({ "events": done, "unwanted": count("passed"), "deliveries": made });
    let unwanted = match count("passed") {
        0 => String::new(),
        unwanted => format!("; {unwanted} that no plugin is to be sent"),
    };
    let events = counted(done, "event", "events");
    let deliveries = counted(made, "delivery", "deliveries");
    operator.tell(&answer, format_args!("{events} replayed: {deliveries}{unwanted}"));
    Ok(())
}

/// Prints the lines as they come. One that broke off says where it goes on.
fn export(operator: &Operator, filter: &Filter, cursor: Option<String>) -> Result<(), String> {
    let parameters = filter.parameters().into_iter().chain([("cursor", cursor)]);
    let mut last = None;
    let ended = operator.lines(&with_query("export", parameters), |line| {
        let cursor = serde_json::from_slice::<Value>(line).map_err(|error| error.to_string())?;
        put_out(&[line, b"\n"].concat())?;
        last = cursor["cursor"].as_str().map(str::to_owned);
        Ok(())
    });
    match (ended, last) {
        (Err(reason), Some(last)) => Err(format!("{reason}; it goes on with --cursor {last}")),
        (ended, _) => ended,
    }
}

/// How many ids one request asks about.
const IDS_AT_ONCE: usize = 1000;

fn missing(
    operator: &Operator,
    source: &SourceName,
    file: &Path,
    event_type: Option<&str>,
) -> Result<Value, String> {
    let text = String::from_utf8(super::send::read(file)?).map_err(|error| error.to_string())?;
    let mut sent = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        sent.push(match line.starts_with('{') {
            true => serde_json::from_str(line).map_err(|error| format!("{line}: {error}"))?,
            false => json!({ "id": line }),
        });
    }
    let (mut seen, mut missing, mut unknown) = (0, Vec::new(), Vec::new());
    let mut known_since = Value::Null;
    for some in sent.chunks(IDS_AT_ONCE) {
        let order = json!({ "items": some, "type": event_type });
        let mut answer = operator.post(&format!("sources/{source}/missing"), &order)?;
        seen += answer["seen"].as_u64().unwrap_or(0);
        for (name, all) in [("missing", &mut missing), ("unknown", &mut unknown)] {
            if let Value::Array(ids) = answer[name].take() {
                all.extend(ids);
            }
        }
        known_since = answer["knownSince"].take();
    }
    let known_since = known_since.as_str();
    Ok(json!({ "seen": seen, "missing": missing, "unknown": unknown, "knownSince": known_since }))
}

fn reconciled(answer: &Value) -> String {
    let mut lines: Vec<_> =
        items(&answer["missing"]).filter_map(|id| id.as_str().map(printable)).collect();
    let count = |name: &str| items(&answer[name]).count() as u64;
    let unknown = match count("unknown") {
        0 => String::new(),
        unknown => format!(", {unknown} older than is known"),
    };
    let known_since = answer["knownSince"]
        .as_str()
        .map_or(String::new(), |since| format!("; what came since {since} is known"));
    lines.push(format!(
        "{} missing, {} seen{unknown}{known_since}",
        count("missing"),
        answer["seen"],
    ));
    lines.join("\n")
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
fn detail(event: &Value, requests: bool) -> String {
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
            lines.extend(requests::lines(attempt, requests));
        }
    }
    lines.iter().map(|line| printable(line)).collect::<Vec<_>>().join("\n")
}
