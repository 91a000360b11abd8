//! `hookweir plugin list`, `rollback`, `pin`: versions of the running gateway's plugins.

use hookweir_event::PluginName;
use serde_json::{Value, json};

use crate::cli::{
    Exit,
    operator::{Common, Operator, Table, items, joined, printable, table},
    say, source,
};

/// A plugin and one of its versions.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Which {
    /// The plugin.
    name: PluginName,
    /// The first digits of the version, as `plugin list` shows them.
    #[arg(id = "digest", value_name = "VERSION")]
    version: Option<String>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct PinArgs {
    #[command(flatten)]
    which: Which,
    /// Hold no version any more: what is in the folder goes live.
    #[arg(long, conflicts_with = "digest")]
    off: bool,
}

pub(super) fn list(common: &Common) -> Exit {
    Operator::run(common, |operator| {
        let answer = operator.all("plugins")?;
        operator.show(&answer, listing);
        if !common.json() {
            items(&answer["items"]).flat_map(notes).for_each(say);
        }
        Ok(())
    })
}

pub(super) fn rollback(which: &Which) -> Exit {
    let body = json!({ "version": which.version });
    order(&which.common, &which.name, "rollback", &body)
}

pub(super) fn pin(args: &PinArgs) -> Exit {
    let PinArgs { which, off } = args;
    let body = json!({ "version": which.version, "off": off });
    order(&which.common, &which.name, "pin", &body)
}

fn order(common: &Common, name: &PluginName, verb: &str, body: &Value) -> Exit {
    Operator::run(common, |operator| {
        let answer = operator.post(&format!("plugins/{name}/{verb}"), body)?;
        operator.tell(&answer, printable(answer["said"].as_str().unwrap_or_default()));
        Ok(())
    })
}

/// The first digits of a version: enough to tell those of one plugin apart.
pub(in crate::cli) fn short(version: &Value) -> &str {
    let text = version.as_str().unwrap_or("-");
    text.get(..12).unwrap_or(text)
}

fn listing(answer: &Value) -> Table {
    let head =
        ["PLUGIN", "VERSION", "SINCE", "STANDS", "BREAKER", "RUNNING", "OUTCOMES", "EARLIER"];
    let row = |plugin: &Value| {
        let live = &plugin["live"];
        let outcomes = plugin["outcomes"].as_object().into_iter().flatten();
        let outcomes = outcomes.map(|(outcome, count)| format!("{outcome}: {count}"));
        let earlier = items(&plugin["earlier"]).map(|served| short(&served["version"]).to_owned());
        vec![
            plugin["name"].as_str().unwrap_or_default().to_owned(),
            short(&live["version"]).to_owned(),
            live["since"].as_str().unwrap_or("-").to_owned(),
            stands(plugin),
            plugin["breaker"]["state"].as_str().unwrap_or("-").to_owned(),
            plugin["running"].to_string(),
            joined(outcomes),
            joined(earlier),
        ]
    };
    table(head, items(&answer["items"]).map(row))
}

/// How a plugin's version stands, in a word or two.
fn stands(plugin: &Value) -> String {
    let live = &plugin["live"];
    let words = [
        (live.is_null(), "waits"),
        (live["probation"] == true, "probation"),
        (!plugin["pinned"].is_null(), "pinned"),
        (!plugin["paused"].is_null(), "paused"),
        (!plugin["file"].is_null(), "file not live"),
    ];
    let said = words.into_iter().filter(|(holds, _)| *holds).map(|(_, word)| word.to_owned());
    let said = joined(said);
    if said == "-" { "live".to_owned() } else { said }
}

/// What a row has no room for.
fn notes(plugin: &Value) -> Vec<String> {
    let name = plugin["name"].as_str().unwrap_or_default();
    let mut notes = Vec::new();
    let file = &plugin["file"];
    if let Some(reason) = file["reason"].as_str() {
        notes.push(format!("{name}: file {} is not live: {reason}", short(&file["version"])));
    }
    let breaker = &plugin["breaker"];
    if let Some(why) = breaker["why"].as_str() {
        let since = breaker["since"].as_str().unwrap_or_default();
        let next = breaker["nextProbe"].as_str();
        let next = match next {
            _ if breaker["elsewhere"] == true => "told by another gateway, which probes".to_owned(),
            Some(next) => format!("next probe at {next}"),
            None => "a probe runs".to_owned(),
        };
        notes.push(format!("{name}: breaker open since {since}: {why}; {next}"));
    }
    notes.extend(shared(name, plugin));
    let shown = |away: &&Value| away["version"] != file["version"];
    if !plugin["paused"].is_null() {
        let since = plugin["paused"]["since"].as_str().unwrap_or_default();
        notes.push(format!("{name}: paused since {since} {}", source::paused(plugin)));
    }
    for away in items(&plugin["turnedAway"]).filter(shown) {
        let (version, reason) = (short(&away["version"]), away["reason"].as_str());
        let (at, reason) = (away["at"].as_str().unwrap_or_default(), reason.unwrap_or_default());
        notes.push(format!("{name}: {version} was turned away at {at}: {reason}"));
    }
    // A reason may be a plugin's own words, and what is to be added has lines.
    notes.iter().flat_map(|note| note.lines()).map(printable).collect()
}

/// How it stands on all gateways: what is proposed with each one's word, and what each runs.
fn shared(name: &str, plugin: &Value) -> Vec<String> {
    let mut notes = Vec::new();
    let proposal = &plugin["shared"]["proposal"];
    if let (Some(by), true) = (proposal["by"].as_str(), proposal["refused"].is_null()) {
        let what = match proposal["version"].is_null() {
            true => "its removal".to_owned(),
            false => short(&proposal["version"]).to_owned(),
        };
        let words = items(&proposal["words"]).map(|said| {
            let text = |key: &str| said[key].as_str().unwrap_or_default();
            format!("{} {}", text("gateway"), text("word"))
        });
        notes.push(format!("{name}: {by} proposes {what}: {}", joined(words)));
    }
    for runs in items(&plugin["shared"]["gateways"]) {
        let gateway = runs["gateway"].as_str().unwrap_or_default();
        let (version, standing) = (short(&runs["version"]), runs["standing"].as_str());
        let standing = standing.unwrap_or_default();
        notes.push(format!("{name}: {gateway} runs {version}: {standing}"));
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_tells_how_a_plugin_stands_and_the_notes_tell_why() {
        let version = "ab".repeat(32);
        let plugin = json!({
            "name": "ci",
            "live": { "version": version, "since": "2026-11-01T00:00:00Z", "probation": true },
            "pinned": null,
            "breaker": { "state": "open", "since": "S", "why": "10 failures in a row", "nextProbe": "N" },
            "file": { "version": "cd".repeat(32), "why": "failed", "reason": "failed to load: \u{1b}[31m\nx" },
            "earlier": [{ "version": "ef".repeat(32) }],
            "turnedAway": [
                { "version": "cd".repeat(32), "reason": "shown already", "at": "A" },
                { "version": "01".repeat(32), "reason": "rolled back", "at": "A" },
            ],
            "running": 3,
            "outcomes": { "done": 2, "trap": 10 },
        });
        let rows = listing(&json!({ "items": [plugin] }));
        let row: Vec<_> = rows[1].iter().map(String::as_str).collect();
        let expected = [
            "ci",
            "abababababab",
            "2026-11-01T00:00:00Z",
            "probation, file not live",
            "open",
            "3",
            "done: 2, trap: 10",
            "efefefefefef",
        ];
        assert_eq!(row, expected);
        let notes = notes(&plugin);
        assert_eq!(notes.len(), 4, "{notes:?}");
        assert_eq!(notes[0], "ci: file cdcdcdcdcdcd is not live: failed to load: \u{fffd}[31m");
        assert_eq!(notes[2], "ci: breaker open since S: 10 failures in a row; next probe at N");
        assert_eq!(notes[3], "ci: 010101010101 was turned away at A: rolled back");
        let told = json!({ "state": "open", "since": "S", "why": "it traps", "elsewhere": true });
        let notes = super::notes(&json!({ "name": "ci", "breaker": told }));
        assert_eq!(
            notes[0],
            "ci: breaker open since S: it traps; told by another gateway, which probes"
        );
        assert_eq!(stands(&json!({ "live": null })), "waits");
        let shared = json!({ "shared": {
            "gateways": [{ "gateway": "a:81", "version": version, "standing": "live" }],
            "proposal": { "version": null, "by": "b:81", "refused": null,
                          "words": [{ "gateway": "a:81", "word": "awaited" }] },
        } });
        let shared = super::shared("ci", &shared);
        assert_eq!(
            shared,
            ["ci: b:81 proposes its removal: a:81 awaited", "ci: a:81 runs abababababab: live"]
        );
        assert_eq!(stands(&json!({ "live": { "probation": false } })), "live");
    }
}
