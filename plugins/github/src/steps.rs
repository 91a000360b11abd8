//! The steps: what is told to the build server, the board and the chat.
//!
//! Each builds the request that goes out and logs it. Where it goes is the operator's to say, in the
//! plugin's config: `ci`, `board` and `chat`.

use hookweir_sdk::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Build this commit.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct CiTrigger {
    pub(crate) repository: String,
    pub(crate) branch: String,
    pub(crate) commit: String,
}

/// Move the cards of these issues to done.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct BoardUpdate {
    pub(crate) repository: String,
    pub(crate) closed: Vec<u64>,
}

/// Say this in the team's channel.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct TeamNotify {
    pub(crate) text: String,
}

/// Asks the build server for a build.
pub(crate) fn trigger_ci(step: &CiTrigger) -> Result<Outputs, Failure> {
    let CiTrigger { repository, branch, commit } = step;
    post("ci", &json!({ "project": repository, "ref": branch, "sha": commit }))
}

/// Moves the cards of closed issues.
pub(crate) fn update_board(step: &BoardUpdate) -> Result<Outputs, Failure> {
    if step.closed.is_empty() {
        log::debug!("no issue closed, the board stays as it is");
        return Ok(outputs![]);
    }
    let cards: Vec<String> =
        step.closed.iter().map(|issue| format!("{}#{issue}", step.repository)).collect();
    post("board", &json!({ "move": cards, "to": "done" }))
}

/// Tells the team.
pub(crate) fn notify_team(step: &TeamNotify) -> Result<Outputs, Failure> {
    post("chat", &json!({ "text": step.text }))
}

/// Where the request would go, and what it would hold.
fn post(target: &str, request: &Value) -> Result<Outputs, Failure> {
    let url = config::get(target).unwrap_or_else(|| format!("https://{target}.example.com/hook"));
    log::info!(url = url, request = request, "would post");
    Ok(outputs![])
}
