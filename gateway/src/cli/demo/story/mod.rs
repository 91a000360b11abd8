//! What happens in the demo, a chapter a file, and what must come of it.

mod alert;
mod bad_version;
mod forged;
mod live;
mod order;
mod push;
mod relay;
mod reload;
mod restart;
mod signup;
mod stock;
mod upgrade;

use super::{book::Book, outside::Outside, page::Page, stage::Stage};

/// A chapter of the story.
pub(super) trait Chapter {
    const TITLE: &'static str;
    /// The plugins that it is about.
    const PLUGINS: &'static [&'static str] = &[];

    /// What it needs in the gateway's config.
    fn config(_: &Outside) -> String {
        String::new()
    }

    /// Plays it. The error is why it can't go on; then neither can those behind it.
    async fn play(stage: &mut Stage, page: &mut Page) -> Result<(), String>;
}

/// What all chapters need in the gateway's config.
pub(super) fn config(outside: &Outside) -> String {
    [
        signup::Signup::config,
        push::Push::config,
        order::Order::config,
        stock::Stock::config,
        alert::Alert::config,
        relay::Relay::config,
    ]
    .map(|config| config(outside))
    .concat()
}

/// Tells it from the first chapter to the last.
pub(super) async fn tell(book: &mut Book, stage: &mut Stage) -> Result<(), String> {
    book.write::<live::Live>(stage).await?;
    book.write::<signup::Signup>(stage).await?;
    book.write::<push::Push>(stage).await?;
    book.write::<order::Order>(stage).await?;
    book.write::<stock::Stock>(stage).await?;
    book.write::<alert::Alert>(stage).await?;
    book.write::<relay::Relay>(stage).await?;
    book.write::<forged::Forged>(stage).await?;
    book.write::<upgrade::Upgrade>(stage).await?;
    book.write::<bad_version::BadVersion>(stage).await?;
    book.write::<reload::Reload>(stage).await?;
    book.write::<restart::Restart>(stage).await
}

/// What one may ask the plugins when all is told, as `curl` is told.
pub(super) fn lookups(stage: &Stage) -> Vec<String> {
    let api = format!("http://{}/api", stage.house.public);
    vec![
        format!("{api}/orders/{}", order::ORDER),
        format!("{api}/inventory/warehouse/{}", stock::ITEM),
        format!("-H \"Authorization: Bearer $RELAY_API_TOKEN\" {api}/relay/endpoints"),
    ]
}

/// The lines of a config that let a plugin reach these stand-ins. `host` is what is granted in production;
/// addresses of this machine are nowhere reached unless they are granted too.
fn reaching(host: &str, origins: &[String]) -> String {
    let origins: Vec<_> = origins.iter().map(|origin| format!(", \"{origin}\"")).collect();
    format!(
        "http = [\"{host}\"{}]   # the first as in production, the rest are the stand-ins\n\
         http_addresses = [\"127.0.0.1\"]   # not public, so it has to be granted\n",
        origins.concat()
    )
}

/// The last digits of an id, which are random: the first ones are the time.
fn short(id: impl std::fmt::Display) -> String {
    let id = id.to_string();
    format!("…{}", &id[id.len().saturating_sub(7)..])
}
