//! GitHub: a push becomes three steps, each an event of its own.
//!
//! `github/push` makes `ci.trigger`, `board.update` and `team.notify`. They come back to this module
//! as `plugin.github/…`, so a chat server that is down is tried again without a second build.

mod push;
mod steps;

use hookweir_sdk::prelude::*;

#[plugin(subscribe = ["github/push", "plugin.github/*"])]
fn handle(event: Event) -> Result<Outputs, Failure> {
    match (event.source(), event.event_type()) {
        ("github", "push") => push::split(&event.json()?),
        (_, "ci.trigger") => steps::trigger_ci(&event.json()?),
        (_, "board.update") => steps::update_board(&event.json()?),
        (_, "team.notify") => steps::notify_team(&event.json()?),
        (source, other) => Err(Failure::reject(format!("no step for {source}/{other}"))),
    }
}

#[cfg(test)]
mod tests;
