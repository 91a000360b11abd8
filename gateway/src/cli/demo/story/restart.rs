//! The gateway is stopped as a supervisor would stop it, and started again.

use super::Chapter;
use crate::cli::demo::{
    page::{Page, same},
    stage::Stage,
};

/// A calm end, and a new begin.
pub(super) struct Restart;

impl Chapter for Restart {
    const TITLE: &'static str = "A restart";

    async fn play(stage: &mut Stage, page: &mut Page) -> Result<(), String> {
        let before = versions(stage).await?;
        let stopped = stage.stop().await;
        page.tell("SIGTERM: the gateway takes nothing new, lets what runs finish, and ends. Then it is started again.");
        page.check("it ended calmly, with exit 0", stopped);
        stage.start().await?;
        page.check("the same versions serve", same(versions(stage).await?, before));
        Ok(())
    }
}

/// Which version of each plugin serves.
async fn versions(stage: &Stage) -> Result<Vec<String>, String> {
    let mut versions = Vec::new();
    for name in &stage.house.plugins {
        let version = &stage.plugin(name).await?["live"]["version"];
        versions.push(format!("{name} {}", version.as_str().unwrap_or("none")));
    }
    Ok(versions)
}
