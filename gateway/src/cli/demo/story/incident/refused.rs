//! The warehouse is back, and takes no orders of the old form any more.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::{Chapter, NEW_FIELD, OLD_FIELD, ORDERS, counts, shipped, until_alert};
use crate::cli::demo::{
    page::{Page, same},
    stage::Stage,
    stand_in::Reply,
};

/// The warehouse's new version.
pub(super) struct Refused;

impl Chapter for Refused {
    const TITLE: &'static str = "The warehouse is back, and refuses what it took before";
    const PLUGINS: &'static [&'static str] = &["fulfilment"];

    async fn play(stage: &mut Stage, page: &mut Page) -> Result<(), String> {
        stage.outside.warehouse.answer_with(takes_new_form);
        stage.outside.warehouse.be_down(false);
        page.tell(
            "Its new version is up, and somebody there has renamed a field: 422 to every order. That will not pass by \
             itself, so `fulfilment` rejects, and the breaker closes, since the warehouse does answer.",
        );
        stage.settled().await?;
        let raised = until_alert(stage, "dead-letters", "raised").await?;
        let [dead] = counts(stage, ["dead"]).await?;
        page.tell(format_args!(
            "{dead} orders are dead letters now: kept, and not tried again before somebody says so. The gateway raised \
             another alert, `dead-letters`, at {}.",
            raised["told"]["dead_letters"]
        ));
        page.check("each order of the outage is a dead letter, none is lost", same(dead, ORDERS));
        let plugin = stage.plugin("fulfilment").await?;
        page.check("the breaker is closed", same(&plugin["breaker"]["state"], &json!("closed")));
        Ok(())
    }
}

fn takes_new_form(headers: &HeaderMap, body: &Bytes) -> Reply {
    let order: Value = serde_json::from_slice(body).unwrap_or_default();
    if order[NEW_FIELD].is_string() {
        let key = headers.get("idempotency-key").and_then(|key| key.to_str().ok());
        return Reply {
            status: StatusCode::CREATED,
            body: shipped(key.unwrap_or_default()),
            fault: None,
        };
    }
    let error = format!("unknown field {OLD_FIELD}; since version 2 it is called {NEW_FIELD}");
    let fault = Some(error.clone());
    Reply { status: StatusCode::UNPROCESSABLE_ENTITY, body: json!({ "error": error }), fault }
}
