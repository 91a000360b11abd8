//! GitHub: a push is told to the build server, the board and the team, all at the same time.
//!
//! Whoever does not take it is told again alone: `http::send_each` makes an event of what is left, which
//! comes back as `plugin.github/…`. So a chat server that is down costs no second build.

mod push;
mod tell;

use hookweir_sdk::prelude::*;

#[plugin(subscribe = ["github/push", "plugin.github/*"], http = ["https://*"])]
fn handle(event: Event) -> Result<Outputs, Failure> {
    match (event.source(), event.event_type()) {
        ("github", "push") => match push::read(&event.json()?) {
            Some(news) => tell::everybody(&event, &news),
            None => Ok(outputs![]),
        },
        (_, "ci.trigger" | "board.update" | "team.notify") => {
            http::send_again(&event).map(|_| outputs![])
        }
        (source, other) => Err(Failure::reject(format!("nobody is told of {source}/{other}"))),
    }
}

#[cfg(test)]
mod tests;
