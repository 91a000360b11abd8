//! In the middle of it the gateway is gone, without a chance to write anything.

use hookweir_event::Origin;

use super::{Chapter, ORDERS, counts};
use crate::cli::demo::{
    page::{Page, same},
    stage::Stage,
};

/// A power cut.
pub(super) struct Power;

impl Chapter for Power {
    const TITLE: &'static str = "In the middle of it the power fails";

    async fn play(stage: &mut Stage, page: &mut Page) -> Result<(), String> {
        let told = alerts_made(stage).await?;
        stage.kill()?;
        page.tell("The gateway was ended with SIGKILL, and is started again.");
        stage.start().await?;
        let still = stage.command(&["alerts", "--raised", "--json"])?;
        stage
            .until_plugin("fulfilment", "its breaker to open", |it| {
                it["breaker"]["state"] == "open"
            })
            .await?;
        page.tell("It begins where it was: orders wait, the alert is raised still, and soon the breaker is open again.");
        let waiting: usize = counts(stage, ["due", "leased"]).await?.iter().sum();
        page.check("all orders are there, none twice", same(waiting, ORDERS));
        page.check(
            "the alert is the one of before, and was not told again",
            same((still.matches("\"error-rate\"").count(), alerts_made(stage).await?), (1, told)),
        );
        Ok(())
    }
}

/// How many events the gateway made of its own.
async fn alerts_made(stage: &Stage) -> Result<usize, String> {
    let all = stage.events(None).await?;
    Ok(all.iter().filter(|shown| matches!(shown.event.origin, Origin::Gateway)).count())
}
