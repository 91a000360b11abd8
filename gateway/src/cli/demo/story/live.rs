//! Which plugins there are, and that each is live with what the config grants it.

use super::Chapter;
use crate::cli::demo::{page::Page, stage::Stage};

/// The gateway is up.
pub(super) struct Live;

impl Chapter for Live {
    const TITLE: &'static str = "A gateway, its plugins, and stand-ins for the world outside";

    async fn play(stage: &mut Stage, page: &mut Page) -> Result<(), String> {
        page.tell(format_args!(
            "The gateway, a process of its own, takes webhooks at http://{}.",
            stage.house.public
        ));
        page.tell(
            "All else is played by this program: the providers, which sign as the real ones do, and the \
             systems that plugins speak to, each at a port of 127.0.0.1:",
        );
        for row in stage.outside.of(stage.house.story).chunks(2) {
            let cells = row
                .iter()
                .map(|it| format!("stand-in for {:<23} :{:<8}", it.what, it.address.port()));
            page.tell(format_args!("   {}", cells.collect::<String>().trim_end()));
        }
        page.tell(
            "Plugins may send to public addresses only. So that they reach the stand-ins, the demo's config \
             grants them 127.0.0.1 (`http_addresses`).",
        );
        page.tell(
            "An answer of 202 says: the signature is right, and the event is on the disk. Plugins run after that.",
        );
        let mut waiting = Vec::new();
        for name in &stage.house.plugins {
            let plugin = stage.plugin(name).await?;
            if plugin["live"].is_null() {
                let reason = plugin["file"]["reason"].as_str().unwrap_or("no reason was given");
                waiting.push(format!("{name}: {reason}"));
            }
        }
        let names = stage.house.plugins.join(", ");
        let what = format!("all {} plugins are live: {names}", stage.house.plugins.len());
        page.check(what, if waiting.is_empty() { Ok(()) } else { Err(waiting.join("\n")) });
        Ok(())
    }
}
