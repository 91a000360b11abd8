//! Alerts: what is raised, and what was cleared lately.

use axum::extract::State;
use hookweir_store::{Notice, ReadError, Reader};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    Desk,
    asked::Params,
    fault::Refused,
    list::Listed,
    reply::{Answer, Json, Page, Time},
};
use crate::alerts::{About, Name};

/// An alert.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Alert {
    /// `latency`, `error-rate`, `queue-age`, `dead-letters`, `refusals` or `disk`.
    alert: String,
    /// Whose it is, if it is a plugin's.
    plugin: Option<String>,
    /// Whose it is, if it is a source's.
    source: Option<String>,
    /// `raised` or `cleared`.
    state: &'static str,
    /// Since when.
    raised_at: Time,
    /// When it was over; null: it is not.
    cleared_at: Option<Time>,
    /// The event that told of it last.
    event: String,
    /// What that one told: its body.
    told: Value,
}

/// List alerts.
///
/// What is raised, and the last hundred that were cleared, in the order of their names.
#[utoipa::path(get, path = "/v1/alerts", operation_id = "alerts.list", tag = "gateway",
    params(Listed),
    responses((status = 200, description = "The alerts.", body = Page<Alert>),
              (status = 500, description = "The store can't be read.", body = Refused)))]
pub(super) async fn list(
    State(desk): State<Desk>,
    Params(asked): Params<Listed>,
) -> Answer<Page<Alert>> {
    let notices = desk.store.reader().notices().await?;
    Ok(Json(asked.page(notices.iter().map(|notice| (&*notice.name, notice)), show)))
}

/// Those that are raised, in the order of their names.
pub(super) async fn raised(reader: &Reader) -> Result<Vec<Alert>, ReadError> {
    let notices = reader.notices().await?;
    Ok(notices.iter().filter(|notice| notice.cleared_at.is_none()).map(show).collect())
}

fn show(notice: &Notice) -> Alert {
    let name: Option<Name> = notice.name.parse().ok();
    let about = name.as_ref().map(|name| &name.about);
    let plugin = about.and_then(|about| match about {
        About::Plugin(name) => Some(name.to_string()),
        About::Source(_) | About::Gateway => None,
    });
    let source = about.and_then(|about| match about {
        About::Source(name) => Some(name.to_string()),
        About::Plugin(_) | About::Gateway => None,
    });
    Alert {
        // Another version's has a name that is not known here.
        alert: name.map_or_else(|| notice.name.clone(), |name| name.kind.as_str().to_owned()),
        plugin,
        source,
        state: if notice.cleared_at.is_none() { "raised" } else { "cleared" },
        raised_at: Time(notice.raised_at),
        cleared_at: notice.cleared_at.map(Time),
        event: notice.event.to_string(),
        told: serde_json::from_slice(&notice.body).unwrap_or_default(),
    }
}
