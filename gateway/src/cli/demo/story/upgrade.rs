//! An upgrade that wants more than it was granted: it does not go live before the operator says so.

use hookweir_event::Digest;
use serde_json::{Value, json};

use super::Chapter;
use crate::cli::demo::{
    ending::{Ending, done},
    module,
    page::{Page, same, so},
    stage::Stage,
    story::reload::pay,
};

/// What the new version wants to reach. It has no code for it, so nothing is sent there.
const WISH: &str = "https://fraud-check.example";

/// A version of `payments` with a wish.
pub(super) struct Upgrade;

impl Chapter for Upgrade {
    const TITLE: &'static str = "An upgrade that wants more: refused, then granted";
    const PLUGINS: &'static [&'static str] = &["payments"];

    async fn play(stage: &mut Stage, page: &mut Page) -> Result<(), String> {
        let old = Digest::of(&stage.read("payments")?);
        let wanting = module::wanting(&stage.read("payments")?, WISH)?;
        let new = stage.replace("payments", &wanting)?;
        page.tell(format_args!(
            "payments.wasm, version {}, was replaced by {}: the same code, but its file says that it also wants to \
             send requests to {WISH}.",
            old.short(),
            new.short()
        ));
        let waits = |plugin: &Value| plugin["file"]["why"] == "needs-approval";
        let plugin = stage.until_plugin("payments", "its new file to need approval", waits).await?;
        let reason = plugin["file"]["reason"].as_str().unwrap_or_default().to_owned();
        page.tell(format_args!("The gateway does not take it: {}", reason.replace('\n', " ")));
        let live = plugin["live"]["version"].clone();
        let before = pay(stage, "evt_demo_before_grant").await?;
        page.expect("a payment before the grant", &before, vec![done("payments")], paid())?;
        stage.settled().await?;

        let said = stage.command(&["plugin", "approve", "payments", "--write"])?;
        page.tell("The operator said `hookweir plugin approve payments --write`, and the config has two lines more:");
        // Where the config is, is no news.
        said.lines().skip(1).for_each(|line| page.tell(format_args!("   {line}")));
        let plugin = stage.until_live("payments", new).await?;
        let after = pay(stage, "evt_demo_after_grant").await?;
        page.expect("a payment after the grant", &after, vec![done("payments")], paid())?;
        stage.settle(page).await?;

        let held = so(reason.contains(WISH), || reason.clone());
        let held = held.and_then(|()| same(live, json!(old.to_string())));
        page.check("the new version did not go live before it was granted what it wants", held);
        let (Some(before), Some(after)) = (before.id, after.id) else {
            return Err("a payment was not accepted".to_owned());
        };
        let ran = [stage.ran_on(before).await?, stage.ran_on(after).await?];
        let what = format!(
            "no payment waited: one was handled by {} before the grant, one by {} after it",
            old.short(),
            new.short()
        );
        page.check(what, same(ran, [Some(old), Some(new)]));
        page.check("with the grant it did, without a restart", same(&plugin["file"], &json!(null)));
        Ok(())
    }
}

fn paid() -> Vec<(&'static str, Vec<Ending>)> {
    vec![("order.paid", vec![done("orders")])]
}
