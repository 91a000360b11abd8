//! What happens in the demo, a chapter a file, and what must come of it.

mod alert;
mod bad_version;
mod forged;
mod incident;
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

/// What is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Story {
    /// An ordinary day of all plugins.
    Day,
    /// A bad one: what a plugin depends on goes down.
    Incident,
}

impl Story {
    /// The plugins that it has, those of Rust: other languages need their tools.
    pub(super) fn plugins(self) -> &'static [&'static str] {
        match self {
            Self::Day => &DAY,
            Self::Incident => &incident::PLUGINS,
        }
    }

    /// What all its chapters need in the gateway's config.
    pub(super) fn config(self, outside: &Outside) -> String {
        match self {
            Self::Day => [
                signup::Signup::config,
                push::Push::config,
                order::Order::config,
                stock::Stock::config,
                alert::Alert::config,
                relay::Relay::config,
            ]
            .map(|config| config(outside))
            .concat(),
            Self::Incident => incident::config(outside),
        }
    }

    /// Its alerts, as the gateway's config has them.
    pub(super) fn alerts(self) -> &'static str {
        match self {
            Self::Day => "error_rate = \"off\"\n",
            Self::Incident => incident::ALERTS,
        }
    }

    /// Tells it from the first chapter to the last.
    pub(super) async fn tell(self, book: &mut Book, stage: &mut Stage) -> Result<(), String> {
        match self {
            Self::Day => day(book, stage).await,
            Self::Incident => incident::tell(book, stage).await,
        }
    }

    /// What one may try when all is told.
    pub(super) fn to_try(self, stage: &Stage) -> String {
        let folder = stage.house.folder();
        match self {
            Self::Day => day_to_try(stage, folder.display()),
            Self::Incident => incident::to_try(folder.display()),
        }
    }
}

const DAY: [&str; 7] =
    ["alerts", "github", "inventory", "orders", "payments", "relay", "user-signup"];

async fn day(book: &mut Book, stage: &mut Stage) -> Result<(), String> {
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

fn day_to_try(stage: &Stage, folder: impl std::fmt::Display) -> String {
    let api = format!("http://{}/api", stage.house.public);
    let (order, item) = (order::ORDER, stock::ITEM);
    format!(
        "  hookweir send github --type push --body plugins/github/samples/push.json   # signed as GitHub would
  hookweir events list --state dead         # or --source stripe, --plugin github, ..
  hookweir events show ID                   # the request, its attempts, each with its error and its log
  hookweir dead list                        # the payment of no order
  hookweir dead retry --all
  hookweir plugin list                      # versions: live, earlier, turned away
  hookweir plugin rollback payments
  hookweir source list                      # what came from whom since the restart, and what was refused

  curl {api}/orders/{order}
  curl {api}/inventory/warehouse/{item}
  curl -H \"Authorization: Bearer $RELAY_API_TOKEN\" {api}/relay/endpoints

  cp your-own.wasm {folder}/      # live at once; see plugin-sdk/README.md

The examples in JavaScript and Python need Node.js and Python; `--install` brings them through apt, as root:

  cargo run -q --bin hookweir -- plugin build plugins/py-takings --install --out {folder}
  cargo run -q --bin hookweir -- plugin build plugins/js-labels --install --out {folder}    # waits for its grants: plugin list
"
    )
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
