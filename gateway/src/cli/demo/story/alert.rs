//! An alert: what is wrong is said in the team's chat, by a URL that stands nowhere.

use super::{Chapter, reaching};
use crate::cli::demo::{
    ending::done_after,
    outside::Outside,
    page::{Page, same, so},
    sender::Webhook,
    stage::Stage,
};

/// One alert.
pub(super) struct Alert;

impl Chapter for Alert {
    const TITLE: &'static str = "An alert: said in the team's chat";
    const PLUGINS: &'static [&'static str] = &["alerts"];

    fn config(outside: &Outside) -> String {
        let reaching = reaching("https://hooks.slack.com", &[outside.chat.origin()]);
        format!(
            r#"
[plugins.alerts]
subscribe = ["gateway/alert.*", "monitoring/alert.*"]   # the module asks for the first alone
{reaching}config = {{ gateway = "demo" }}
backoff = "100ms"
secrets = {{ WEBHOOK_URL = {{ env = "CHAT_URL", readable = true }} }}
"#
        )
    }

    async fn play(stage: &mut Stage, page: &mut Page) -> Result<(), String> {
        let before = stage.outside.chat.came().len();
        let alert = stage.sender.body("alerts", "alert.latency.json")?;
        let alert = Webhook::new("monitoring", "alert.latency", "", &alert);
        stage.outside.chat.be_busy_once(0);
        let answer = stage.sender.send(&alert).await?;
        page.tell(format_args!("The team's own monitoring sent alert.latency, signed: {answer}."));
        let id = page.expect("an alert", &answer, vec![done_after("alerts", 2..=2)], vec![])?;
        stage.settle(page).await?;

        let came = stage.outside.chat.came();
        let [busy, said] = &came[before..] else {
            return Err(format!("the chat was told {} times", came.len() - before));
        };
        let text = said.json()["text"].as_str().unwrap_or_default().to_owned();
        page.tell(format_args!(
            "The chat was busy, {}, and told again. Then it reads:",
            busy.answered
        ));
        text.lines().for_each(|line| page.tell(format_args!("   {line}")));
        let first = text.lines().next();
        let wanted = Some("*demo*: events take too long at `payments`");
        page.check("the chat says what is wrong, and where", same(first, wanted));
        let url = stage.house.secret("CHAT_URL");
        let secret = url.rsplit('/').next().unwrap_or_default();
        let event = stage.reader.event(id).await.map_err(|error| error.to_string())?;
        let shown = format!("{event:?}{:?}", stage.show(id).await?);
        let is_told = stage.logged(secret)? || shown.contains(secret);
        let told = so(!is_told, || "it is in the log, or with the event".to_owned());
        page.check(
            "the chat's URL is a secret: not even the failure told it to log or event",
            told,
        );
        Ok(())
    }
}
