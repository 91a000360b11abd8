//! The fix is deployed, the dead letters are tried again, and the alert clears.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use super::{Chapter, NEW_FIELD, ORDERS, counts, said_in_chat, tell_command, trial, until_alert};
use crate::cli::demo::{
    page::{Page, same},
    stage::Stage,
};

/// Mending.
pub(super) struct Mend;

impl Chapter for Mend {
    const TITLE: &'static str = "Deployed, tried again, and the alert clears";
    const PLUGINS: &'static [&'static str] = &["fulfilment", "alerts"];

    async fn play(stage: &mut Stage, page: &mut Page) -> Result<(), String> {
        let fixed = stage.house.aside(trial::FILE);
        let fixed = fs::read(&fixed).map_err(|error| format!("{}: {error}", fixed.display()))?;
        let version = stage.replace("fulfilment", &fixed)?;
        stage.until_live("fulfilment", version).await?;
        page.tell(format_args!(
            "The new file was put into the plugins folder, and version {} is live: no restart.",
            version.short()
        ));
        let args = ["dead", "retry", "--plugin", "fulfilment"];
        let (said, beside) = match stage.hookweir(&args)? {
            (0, said, beside) => (said, beside),
            (code, _, fault) => return Err(format!("dead retry ended with {code}: {fault}")),
        };
        tell_command(page, &args, if said.is_empty() { &beside } else { &said }, 4);
        stage.settled().await?;
        for alert in ["dead-letters", "error-rate"] {
            until_alert(stage, alert, "cleared").await?;
        }
        let over = |_: &serde_json::Value| (said_in_chat(stage, "*demo*: over") == 2).then_some(());
        stage.until("status", "the chat to be told that it is over", over).await?;
        let args = ["alerts"];
        tell_command(page, &args, &stage.command(&args)?, 5);

        let fates = counts(stage, ["done", "dead"]).await?;
        page.check("every order is done, and no dead letter is left", same(fates, [ORDERS + 1, 0]));
        let (orders, most) = shipments(stage);
        page.check(
            "the warehouse has each order, and ships each once",
            same((orders, most), (ORDERS + 1, 1)),
        );
        let told = [
            "*demo*: too many attempts",
            "*demo*: too many dead",
            "*demo*: over: too many attempts",
            "*demo*: over: too many dead",
        ];
        let told = told.map(|words| said_in_chat(stage, words));
        page.check(
            "the chat was told of both alerts, and of the end of both, once each",
            same(told, [1; 4]),
        );
        Ok(())
    }
}

/// How many orders the warehouse has taken, and in how many shipments at most: by their keys, as it counts.
fn shipments(stage: &Stage) -> (usize, usize) {
    let mut orders: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for came in stage.outside.warehouse.came().iter().filter(|came| came.answered == 201) {
        let body = came.json();
        let field = if body[NEW_FIELD].is_null() { super::OLD_FIELD } else { NEW_FIELD };
        let order = body[field].as_str().unwrap_or_default().to_owned();
        orders.entry(order).or_default().insert(came.header("idempotency-key").to_owned());
    }
    (orders.len(), orders.values().map(BTreeSet::len).max().unwrap_or(0))
}
