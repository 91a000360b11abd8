//! The story as it is told: its pages, each printed when it is played, and at the end what the store says.

use serde::Serialize;

use super::{
    page::Page,
    report::{self, Row},
    stage::Stage,
    story::Chapter,
};
use crate::cli::say;

/// What is shown of the gateway's log where the story can't go on.
const LOG_LINES: usize = 3;

/// Everything that the demo found.
#[derive(Debug, Serialize)]
pub(super) struct Book {
    pub(super) chapters: Vec<Page>,
    pub(super) events: Vec<Row>,
    /// Whether all is as it should be.
    pub(super) ok: bool,
    /// A program reads it, when it is whole.
    #[serde(skip)]
    json: bool,
}

impl Book {
    pub(super) fn new(json: bool) -> Self {
        Self { chapters: Vec::new(), events: Vec::new(), ok: true, json }
    }

    /// Plays a chapter and tells it.
    ///
    /// # Errors
    /// If those behind it can't be played.
    pub(super) async fn write<C: Chapter>(&mut self, stage: &mut Stage) -> Result<(), String> {
        let mut page = Page::new(C::TITLE, C::PLUGINS);
        let played = C::play(stage, &mut page).await;
        if let Err(reason) = &played {
            // What became of its events may tell why.
            let judged = stage.judge(&mut page).await.err().unwrap_or_default();
            let log = stage.house.log_end(LOG_LINES);
            let reason = format!("{reason}\n{judged}\nthe end of the gateway's log:\n{log}");
            page.check("the chapter comes to its end", Err(reason));
        }
        self.add(page);
        played
    }

    /// The last page: every fate, read back from the store.
    pub(super) async fn close(&mut self, stage: &Stage) -> Result<(), String> {
        let all = stage.events(None).await?;
        let page = report::page(&self.chapters, &all, stage.sender.accepted());
        self.events = report::rows(&all);
        self.add(page);
        if !self.json {
            report::print(&self.events);
        }
        Ok(())
    }

    fn add(&mut self, page: Page) {
        self.ok &= page.is_ok();
        self.chapters.push(page);
        let number = self.chapters.len();
        if let Some(page) = self.chapters.last().filter(|_| !self.json) {
            page.lines(number).into_iter().for_each(say);
        }
    }

    /// Ends it. For a program all of it is printed now.
    pub(super) fn end(&self) {
        if self.json {
            say(serde_json::to_string_pretty(self).unwrap_or_default());
        }
    }
}
