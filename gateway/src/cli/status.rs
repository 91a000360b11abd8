//! `hookweir status`, `reload` and `audit`: how the running gateway stands, having its files looked at, and
//! who had what changed.

use serde_json::{Value, json};

use super::{
    Exit,
    operator::{Common, Operator, Table, counted, items, printable, table, with_query},
    plugin::short,
    say,
};

#[derive(Debug, clap::Args)]
pub(super) struct AuditArgs {
    /// How many changes, the newest first.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=1000))]
    limit: u64,
    /// Go on after an earlier page: what it ended with.
    #[arg(long)]
    cursor: Option<String>,
    #[command(flatten)]
    common: Common,
}

pub(super) fn status(common: &Common) -> Exit {
    Operator::run(common, |operator| {
        let answer = operator.get("status")?;
        operator.tell(&answer, summary(&answer).join("\n"));
        if !common.json() {
            operator.show(&answer, plugins);
        }
        Ok(())
    })
}

/// Fails if the config can't be followed, or a file can't go live.
pub(super) fn reload(common: &Common) -> Exit {
    Operator::run(common, |operator| {
        let answer = operator.post("reload", &json!({}))?;
        operator.tell(&answer, brought(&answer).join("\n"));
        let refused = answer["config"] == "refused";
        let not_live = items(&answer["notLive"]).count() as u64;
        match (refused, not_live) {
            (false, 0) => Ok(()),
            (true, _) => Err("the config is not followed".to_owned()),
            (false, count) => Err(format!("{} not live", counted(count, "file is", "files are"))),
        }
    })
}

pub(super) fn audit(args: &AuditArgs) -> Exit {
    Operator::run(&args.common, |operator| {
        let limit = ("limit", Some(args.limit.to_string()));
        let answer =
            operator.get(&with_query("audit", [limit, ("cursor", args.cursor.clone())]))?;
        operator.show(&answer, changes);
        if let (Some(next), false) = (answer["next"].as_str(), args.common.json()) {
            say(format_args!("there are more: --cursor {next}"));
        }
        Ok(())
    })
}

fn summary(status: &Value) -> Vec<String> {
    let text = |value: &Value| printable(value.as_str().unwrap_or("-"));
    let counts = &status["counts"];
    let ready = match status["reason"].as_str() {
        None => "ready".to_owned(),
        Some(reason) => format!("not ready: {}", printable(reason)),
    };
    let (version, since) = (text(&status["version"]), text(&status["startedAt"]));
    let mib = |bytes: &Value| bytes.as_u64().map_or("?".to_owned(), |n| (n >> 20).to_string());
    let disk = &status["disk"];
    let store = match status["store"]["reason"].as_str() {
        None => text(&status["store"]["state"]),
        Some(reason) => format!("{}: {}", text(&status["store"]["state"]), printable(reason)),
    };
    let sources = items(&status["sources"]).map(text).collect::<Vec<_>>().join(", ");
    let mut lines = vec![
        format!("{ready}, version {version}, since {since}"),
        format!(
            "events      {} ({} made by plugins, {} unrouted), {} duplicates answered",
            counts["events"], counts["outputs"], counts["unrouted"], counts["duplicates"]
        ),
        format!(
            "deliveries  {} due, {} leased, {} done, {} dead, {} discarded",
            counts["due"], counts["leased"], counts["done"], counts["dead"], counts["discarded"]
        ),
        match disk.is_null() {
            true => format!("store       {store}; in a database{}", standbys(&status["store"])),
            false => format!(
                "store       {store}; {} MiB left on the disk, {} have to be",
                mib(&disk["freeBytes"]),
                mib(&disk["leastBytes"])
            ),
        },
        format!("sources     {sources}"),
    ];
    if !status["gateways"].is_null() {
        let gateways = items(&status["gateways"]).map(text).collect::<Vec<_>>().join(", ");
        lines.push(format!("gateways    {gateways}"));
    }
    for alert in items(&status["alerts"]) {
        let (kind, about) = (text(&alert["alert"]), super::alerts::about(alert));
        lines.push(format!("alert       {kind} of {about}, since {}", text(&alert["raisedAt"])));
    }
    for thing in items(&status["paused"]) {
        let (kind, name) = (text(&thing["kind"]), text(&thing["name"]));
        let what = match &*kind {
            "gateway" => "everything".to_owned(),
            "held" => format!("deliveries of source {name}"),
            _ => format!("{kind} {name}"),
        };
        lines.push(format!("paused      {what}, {}", super::source::paused(thing)));
    }
    lines
}

/// Who else has what is acknowledged, if that is known.
fn standbys(store: &Value) -> String {
    match store["standbys"]["synchronous"].as_u64() {
        None => String::new(),
        Some(0) => ", on one server alone: no synchronous standby is connected".to_owned(),
        Some(count) => {
            format!(" with {}", counted(count, "synchronous standby", "synchronous standbys"))
        }
    }
}

fn plugins(status: &Value) -> Table {
    let row = |plugin: &Value| {
        let text = |key: &str| plugin[key].as_str();
        let note = text("file").map(|why| format!("file not live: {why}"));
        let note = text("breaker").map(|why| format!("breaker open: {why}")).or(note);
        let note = note.unwrap_or_else(|| "-".to_owned());
        vec![
            text("name").unwrap_or_default().to_owned(),
            short(&plugin["version"]).to_owned(),
            plugin["running"].to_string(),
            printable(note.lines().next().unwrap_or_default()),
        ]
    };
    table(["PLUGIN", "VERSION", "RUNNING", "NOTE"], items(&status["plugins"]).map(row))
}

fn brought(answer: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let mut lines = vec![format!("config: {}", text(&answer["config"]))];
    lines.extend(answer["reason"].as_str().unwrap_or_default().lines().map(printable));
    for plugin in items(&answer["plugins"]) {
        let (name, before, now) = (text(&plugin["name"]), &plugin["before"], &plugin["now"]);
        lines.push(match (before.is_null(), now.is_null()) {
            (true, _) => format!("{name}: {} is live", short(now)),
            (false, true) => format!("{name}: removed"),
            (false, false) => format!("{name}: {} is live, {} was", short(now), short(before)),
        });
    }
    for file in items(&answer["notLive"]) {
        let reason = text(&file["reason"]);
        let first = reason.lines().next().unwrap_or_default();
        lines.push(printable(&format!("{}: not live: {first}", text(&file["name"]))));
    }
    if answer["pending"] == true {
        lines.push("a file is not decided about yet: it may be half copied".to_owned());
    }
    lines
}

fn changes(answer: &Value) -> Table {
    let row = |change: &Value| {
        let text = |key: &str| printable(change[key].as_str().unwrap_or("-"));
        let ended = &change["ended"];
        let ended = match (ended["code"].as_str(), ended["status"].as_u64()) {
            (Some(code), Some(status)) => format!("{status} {code}"),
            (None, Some(status)) => status.to_string(),
            _ => "-".to_owned(),
        };
        let said = change["parameters"].as_object().filter(|said| !said.is_empty());
        let said = said.map_or("-".to_owned(), |said| printable(&json!(said).to_string()));
        vec![text("at"), text("who"), text("client"), text("verb"), text("object"), ended, said]
    };
    let head = ["AT", "WHO", "CLIENT", "CHANGE", "OF", "ENDED", "PARAMETERS"];
    table(head, items(&answer["items"]).map(row))
}
