//! `hookweir alerts`: what is raised, and what was cleared lately.

use serde_json::Value;

use super::{
    Exit,
    operator::{Common, Operator, Table, items, printable, table},
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Those that are raised, alone.
    #[arg(long)]
    raised: bool,
    #[command(flatten)]
    common: Common,
}

pub(super) fn run(args: &Args) -> Exit {
    Operator::run(&args.common, |operator| {
        let mut answer = operator.all("alerts")?;
        if let (true, Value::Array(alerts)) = (args.raised, &mut answer["items"]) {
            alerts.retain(|alert| alert["state"] == "raised");
        }
        operator.show(&answer, rows);
        Ok(())
    })
}

fn rows(answer: &Value) -> Table {
    let row = |alert: &Value| {
        let text = |key: &str| printable(alert[key].as_str().unwrap_or("-"));
        vec![
            text("alert"),
            about(alert),
            text("state"),
            text("raisedAt"),
            text("clearedAt"),
            told(&alert["told"]),
        ]
    };
    table(
        ["ALERT", "ABOUT", "STATE", "RAISED", "CLEARED", "TOLD"],
        items(&answer["items"]).map(row),
    )
}

/// Whose it is.
pub(super) fn about(alert: &Value) -> String {
    let whose = |kind| Some(format!("{kind} {}", printable(alert[kind].as_str()?)));
    whose("plugin").or_else(|| whose("source")).unwrap_or_else(|| "the gateway".to_owned())
}

/// What was measured, in short: `error_rate 1.0, threshold 0.2`.
fn told(told: &Value) -> String {
    let facts = told.as_object().into_iter().flatten();
    let facts = facts.filter(|(name, value)| {
        let is_column = ["state", "since", "plugin", "source"].contains(&name.as_str());
        !is_column && (value.is_number() || value.is_string())
    });
    let facts = facts.map(|(name, value)| match value.as_str() {
        Some(text) => format!("{name} {text}"),
        None => format!("{name} {value}"),
    });
    printable(&facts.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_alert_is_a_row_that_says_whose_it_is_and_what_was_measured() {
        let alert = json!({
            "alert": "error-rate", "plugin": "ship", "source": null, "state": "raised",
            "raisedAt": "2026-01-01T00:00:00Z", "clearedAt": null,
            "told": { "state": "raised", "plugin": "ship", "error_rate": 0.5, "threshold": 0.2,
                      "since": "2026-01-01T00:00:00Z", "more": { "not": "shown" } },
        });
        let rows = rows(&json!({ "items": [alert] }));
        let wanted = ["error-rate", "plugin ship", "raised", "2026-01-01T00:00:00Z", "-"];
        assert_eq!(rows[1][..5], wanted);
        assert_eq!(rows[1][5], "error_rate 0.5, threshold 0.2");
        assert_eq!(about(&json!({ "source": "shop" })), "source shop");
        assert_eq!(about(&json!({ "plugin": null })), "the gateway");
    }
}
