//! A version that passes its trial and then traps: the gateway takes it back by itself.

use hookweir_event::{Digest, Outcome};
use serde_json::{Value, json};

use super::{
    Chapter,
    stock::{self, LEFT, moved},
};
use crate::cli::demo::{
    ending::done_after,
    module,
    page::{Page, same, so},
    sender::Webhook,
    stage::Stage,
};

/// What comes to the warehouse meanwhile: the number of each, and how many.
const MOVES: [(i64, i64); 6] = [(21, 1), (22, 2), (23, 3), (24, -4), (25, 5), (26, 6)];

/// A version of `inventory` with a fault.
pub(super) struct BadVersion;

impl Chapter for BadVersion {
    const TITLE: &'static str = "A bad version: it traps, and is rolled back by itself";
    const PLUGINS: &'static [&'static str] = &["inventory"];

    async fn play(stage: &mut Stage, page: &mut Page) -> Result<(), String> {
        let good = stage.read("inventory")?;
        let bad = stage.replace("inventory", &module::trapping(&good)?)?;
        let good = Digest::of(&good);
        stage.until_live("inventory", bad).await?;
        page.tell(format_args!(
            "inventory.wasm, version {}, was replaced by {}. It loads and starts, so it is live, on probation.",
            good.short(),
            bad.short()
        ));
        for (sequence, by) in MOVES {
            let body = moved(sequence, by, 0);
            let answer =
                stage.sender.send(&Webhook::new("warehouse", "stock.moved", "", &body)).await?;
            let endings = vec![done_after("inventory", 1..=5)];
            page.expect("a move", &answer, endings, vec![("stock.changed", vec![])])?;
        }
        let sent = MOVES.len();
        page.tell(format_args!("The warehouse sent {sent} moves, signed. At each the handler traps: it is broken on purpose."));
        let serves = |plugin: &Value| plugin["live"]["version"] == json!(good.to_string());
        let plugin = stage.until_plugin("inventory", "its rollback", serves).await?;
        let away = plugin["turnedAway"][0].clone();
        page.tell(format_args!(
            "The gateway rolled it back: it {}.",
            away["reason"].as_str().unwrap_or("-")
        ));
        stage.settle(page).await?;

        let attempts = attempts(stage, page).await?;
        let traps = attempts.iter().filter(|made| made.version == Some(bad) && made.trapped);
        let traps = traps.count();
        let last = attempts.iter().filter(|made| made.version == Some(good) && made.last).count();
        page.tell(format_args!(
            "{traps} attempts trapped on {}, and were tried again; all {last} moves were done on {}.",
            bad.short(),
            good.short()
        ));
        page.check(
            "the bad version ran, and trapped",
            so(traps > 0, || "no attempt ran on it".to_owned()),
        );
        let cause = same(
            (&away["version"], &away["cause"]),
            (&json!(bad.to_string()), &json!("probation")),
        );
        page.check("the version before it serves again, and nobody had to say so", cause);
        page.check("each move was done on the good version", same(last, sent));
        let wanted = LEFT + MOVES.iter().map(|(_, by)| by).sum::<i64>();
        let stock = stock::look(stage).await?.1;
        let exact = same(&stock["available"], &json!(wanted));
        page.check(format_args!("the stock is exact all the same: {wanted}"), exact);
        Ok(())
    }
}

/// An attempt on one of the page's events.
struct Made {
    version: Option<Digest>,
    trapped: bool,
    /// Whether no other came after it.
    last: bool,
}

async fn attempts(stage: &Stage, page: &Page) -> Result<Vec<Made>, String> {
    let mut all = Vec::new();
    for expected in &page.expected {
        let deliveries = stage.show(expected.event).await?.map(|shown| shown.deliveries);
        for delivery in deliveries.unwrap_or_default() {
            let count = delivery.attempts.len();
            all.extend(delivery.attempts.iter().enumerate().map(|(nth, made)| Made {
                version: made.attempt.version,
                trapped: made.attempt.outcome == Outcome::Trap,
                last: nth + 1 == count,
            }));
        }
    }
    Ok(all)
}
