//! What the build server, the board and the team are told, and where.

use hookweir_sdk::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::push::News;

/// Who is told, in the plugin's config. Whoever is left out is not.
#[derive(Deserialize)]
struct Config {
    ci: Option<Target>,
    board: Option<Target>,
    chat: Option<Target>,
}

/// Where a request goes.
#[derive(Deserialize)]
struct Target {
    url: String,
    /// The name of a granted secret, sent as `Authorization: Bearer`.
    secret: Option<String>,
}

/// Tells everybody at the same time.
pub(crate) fn everybody(event: &Event, news: &News) -> Result<Outputs, Failure> {
    let Config { ci, board, chat } = config::all()?;
    let News { repository, branch, commit, closed, text } = news;
    let cards: Vec<_> = closed.iter().map(|issue| format!("{repository}#{issue}")).collect();
    let mut requests = Vec::new();
    if let Some(ci) = ci {
        let build = json!({ "project": repository, "ref": branch, "sha": commit });
        requests.push(("ci.trigger", ci.post(&build)?));
    }
    if let Some(board) = board
        && !cards.is_empty()
    {
        let moves = json!({ "move": cards, "to": "done" });
        requests.push(("board.update", board.post(&moves)?));
    }
    if let Some(chat) = chat {
        requests.push(("team.notify", chat.post(&json!({ "text": text }))?));
    }
    log::info!(repository = repository, commit = commit, told = requests.len(), "pushed");
    http::send_each(event, requests)
}

impl Target {
    fn post<T: Serialize>(self, body: &T) -> Result<http::Request, Failure> {
        let request = http::post(self.url).json(body)?;
        Ok(match self.secret {
            Some(secret) => request.bearer(&secret),
            None => request,
        })
    }
}
