//! An alert in words.

use std::fmt::Write as _;

use serde_json::{Map, Value};

/// Characters of a value that are shown: an error's text may be long.
const VALUE_MAX: usize = 300;

/// One line that says what is wrong and where, and one for each thing more that the alert tells. Which those
/// are is the gateway's to say; a later one may tell more.
pub(crate) fn of(gateway: &str, event_type: &str, alert: &Map<String, Value>) -> String {
    let what = match event_type.trim_start_matches("alert.") {
        "latency" => "events take too long",
        "errors" | "error-rate" => "too many attempts fail",
        "queue-age" => "events wait too long",
        "dead-letters" => "too many dead letters",
        "refusals" => "too many requests are refused",
        "disk" => "the disk runs full",
        other => other,
    };
    let over = alert.get("state").and_then(Value::as_str) == Some("cleared");
    let what = if over { format!("over: {what}") } else { what.to_owned() };
    let about = alert.get("plugin").or_else(|| alert.get("source")).map(shown);
    let mut text = match about {
        Some(about) => format!("*{}*: {} at `{about}`", escaped(gateway), escaped(&what)),
        None => format!("*{}*: {}", escaped(gateway), escaped(&what)),
    };
    for (name, value) in alert.iter().filter(|(name, _)| *name != "state") {
        if !value.is_null() && !value.is_object() && !value.is_array() {
            let _ = write!(text, "\n• {}: {}", escaped(&name.replace('_', " ")), shown(value));
        }
    }
    text
}

fn shown(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let mut short: String = text.chars().take(VALUE_MAX).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    escaped(&short)
}

/// Slack's three control characters: what an alert quotes must not call the whole channel.
/// <https://docs.slack.dev/messaging/formatting-message-text#escaping>
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
