//! The operator finds out what is wrong.

use serde_json::Value;

use super::{Chapter, NEW_FIELD, ORDERS, tell_command};
use crate::cli::demo::{
    page::{Page, so},
    stage::Stage,
};

/// Looking for the reason.
pub(super) struct Look;

impl Chapter for Look {
    const TITLE: &'static str = "The operator looks: what is wrong, where, and why";
    const PLUGINS: &'static [&'static str] = &["fulfilment"];

    async fn play(stage: &mut Stage, page: &mut Page) -> Result<(), String> {
        let args = ["alerts", "--raised"];
        let raised = stage.command(&args)?;
        tell_command(page, &args, &raised, 5);
        let args = ["dead", "list", "--plugin", "fulfilment"];
        let dead = stage.command(&args)?;
        tell_command(page, &args, &dead, 4);
        let listed = stage.command(&["dead", "list", "--plugin", "fulfilment", "--json"])?;
        let listed: Value = serde_json::from_str(&listed).map_err(|error| error.to_string())?;
        let first = listed["items"][0]["event"].as_str().ok_or("a dead letter names no event")?;
        let args = ["events", "show", first];
        let shown = stage.command(&args)?;
        tell_command(page, &args, &shown, 40);

        let found = raised.contains("dead-letters") && raised.contains("plugin fulfilment");
        page.check("the alerts say where to look", so(found, || raised.clone()));
        let reasons = dead.matches("answered with 422").count();
        let each = so(reasons == ORDERS, || format!("{reasons} of {ORDERS}:\n{dead}"));
        page.check("each dead letter says why", each);
        let words = so(shown.contains(NEW_FIELD), || shown.clone());
        page.check("the attempt's log has the warehouse's own words: the field was renamed", words);
        Ok(())
    }
}
