//! What operators see of plugins that answer requests.

use serde_json::{Value, json};

use crate::{
    config::ApiAccess,
    live::{Live, Plugin},
};

/// All plugins that may be asked, in the order of their names.
pub(super) fn list(live: &Live) -> Value {
    let show = |(name, plugin): (&_, &Plugin)| {
        let access = match plugin.api.access.as_ref()? {
            ApiAccess::Off => return None,
            ApiAccess::Public => "public",
            ApiAccess::Token(_) => "token",
        };
        Some(json!({
            "plugin": format!("{name}"),
            "access": access,
            "loaded": plugin.version.as_ref().is_some_and(|version| version.exports().api),
            "answered": plugin.record.answered(),
            "refused": plugin.record.refused_by_reason(),
        }))
    };
    json!({ "items": live.plugins().iter().filter_map(show).collect::<Vec<_>>() })
}
