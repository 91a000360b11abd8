//! A push: three systems are told at the same time, and who does not take it is told again alone.

use serde_json::json;

use super::{Chapter, reaching, short};
use crate::cli::demo::{
    ending::{done, done_after},
    outside::Outside,
    page::{Page, same, so},
    sender::{Sender, Webhook},
    stage::{Stage, named},
    stand_in::StandIn,
};

/// A push, and an event that nobody wants.
pub(super) struct Push;

impl Chapter for Push {
    const TITLE: &'static str = "A push: build server, board and chat are told at the same time, who fails is told again alone";
    const PLUGINS: &'static [&'static str] = &["github"];

    fn config(outside: &Outside) -> String {
        let [ci, board, chat] =
            [&outside.builds, &outside.board, &outside.chat].map(StandIn::origin);
        let reaching =
            reaching("https://ci.example.com", &[ci.clone(), board.clone(), chat.clone()]);
        format!(
            r#"
[plugins.github]
{reaching}backoff = "100ms"

[plugins.github.config]
ci = {{ url = "{ci}/hook", secret = "CI_TOKEN" }}
board = {{ url = "{board}/hook" }}
chat = {{ url = "{chat}/hook" }}

[plugins.github.secrets]
CI_TOKEN = {{ env = "CI_TOKEN", hosts = ["{ci}"] }}
"#
        )
    }

    async fn play(stage: &mut Stage, page: &mut Page) -> Result<(), String> {
        stage.outside.board.be_busy_once(1);
        let mut push = stage.sender.sample("github", "push.json")?;
        // A push as GitHub published one, but that it closes an issue.
        push["commits"][0]["message"] = json!("Say hello. Fixes #42");
        let push = Webhook::new("github", "push", "72d3162e-cc78-11e3-81ab-4c9367dc0958", &push);
        let answer = stage.sender.send(&push).await?;
        page.tell(format_args!("GitHub sent a push, signed: {answer}."));
        let again = vec![("board.update", vec![done_after("github", 2..=2)])];
        let pushed = page.expect("a push", &answer, vec![done("github")], again)?;

        let answer = stage.sender.send(&ping(&stage.sender)?).await?;
        page.expect("a ping, that nobody subscribed to", &answer, vec![], vec![])?;
        stage.settle(page).await?;

        let [builds, board, chat] =
            [&stage.outside.builds, &stage.outside.board, &stage.outside.chat].map(StandIn::came);
        let ([build], [first, second], [said]) = (&builds[..], &board[..], &chat[..]) else {
            let counts = [builds.len(), board.len(), chat.len()];
            return Err(format!("build server, board and chat were asked {counts:?} times"));
        };
        page.tell(format_args!(
            "The plugin told three at the same time: the build server said {}, the chat {}, the board {}, \
             Retry-After: 1.",
            build.answered, said.answered, first.answered
        ));
        let outputs = stage.outputs(pushed).await?;
        let left = outputs.first().ok_or("nothing was left to do")?;
        page.tell(format_args!(
            "What is left became an event of its own, {} {}; {} ms later the board said {}.",
            named(left),
            short(left.event.id),
            second.at.since(first.at).as_millis(),
            second.answered
        ));
        page.tell(format_args!("The chat reads: {}", said.json()["text"].as_str().unwrap_or("-")));
        page.tell("GitHub sent a ping, which no plugin subscribed to: it is kept, unrouted.");

        let commit = "6113728f27ae82c7b1a177c8d03f9e96e0adf246";
        let built = same(build.json()["sha"].as_str(), Some(commit));
        page.check("one build was begun, of the commit that was pushed", built);
        let moved =
            same(second.json(), json!({ "move": ["Codertocat/Hello-World#42"], "to": "done" }));
        let key = "idempotency-key";
        let once_more =
            so((&first.body, first.header(key)) == (&second.body, second.header(key)), || {
                "the second request is another than the first".into()
            });
        page.check(
            "the board moved the issue that the push closes, told as the same request",
            moved.and(once_more),
        );
        Ok(())
    }
}

/// GitHub's ping, as published.
pub(super) fn ping(sender: &Sender) -> Result<Webhook<'static>, String> {
    let id = "83d3162e-cc78-11e3-81ab-4c9367dc0959";
    Ok(Webhook {
        source: "github",
        event_type: "ping",
        id,
        body: sender.raw("github", "ping.json")?,
    })
}
