//! What operators see of alerts.

use hookweir_store::{Notice, Store};
use serde_json::{Value, json};

use super::{Fault, time};
use crate::alerts::Name;

/// What is raised, and what was cleared lately: the raised ones first, the newest first.
pub(super) async fn list(store: &Store) -> Result<Value, Fault> {
    let mut notices = store.reader().notices().await?;
    notices.sort_by_key(|notice| (notice.cleared_at.is_some(), std::cmp::Reverse(changed(notice))));
    Ok(json!({ "items": notices.iter().map(show).collect::<Vec<_>>() }))
}

fn changed(notice: &Notice) -> hookweir_event::Timestamp {
    notice.cleared_at.unwrap_or(notice.raised_at)
}

fn show(notice: &Notice) -> Value {
    let name: Option<Name> = notice.name.parse().ok();
    let mut shown = json!({
        "alert": name.as_ref().map_or(&*notice.name, |name| name.kind.as_str()),
        "state": if notice.cleared_at.is_none() { "raised" } else { "cleared" },
        "raisedAt": time(notice.raised_at),
        "clearedAt": notice.cleared_at.map(time),
        "event": notice.event.to_string(),
        "told": serde_json::from_slice::<Value>(&notice.body).unwrap_or_default(),
    });
    if let Some((what, name)) = name.and_then(|name| name.about.label()) {
        shown[what] = json!(name);
    }
    shown
}
