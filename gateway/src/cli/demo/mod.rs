//! `hookweir demo`: the whole line at work, over HTTP and with real processes, as a story.
//!
//! Builds the example plugins, opens stand-ins for the systems that they speak to, starts a gateway, sends it
//! what providers would, and tells chapter by chapter what came of it: see [`story`]. At the end every fate is
//! read back from the store. `--once` ends with 0 only if all is as it should be.

mod book;
mod closing;
mod ending;
mod house;
mod module;
mod outside;
mod page;
mod report;
mod sender;
mod stage;
mod stand_in;
mod story;

use std::path::{Path, PathBuf};

use tokio::signal::unix::{SignalKind, signal};

use self::{book::Book, house::House, outside::Outside, stage::Stage, story::Story};
use super::{Exit, plugin, runtime, tell};
use crate::toolchain::Install;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Tell of a bad day instead: what a plugin depends on goes down, and an operator mends what came of it.
    #[arg(long)]
    incident: bool,
    /// End when all is told: 0 only if every event ended as it should.
    #[arg(long)]
    once: bool,
    /// Print what happened as JSON, when all is told.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Exit {
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => {
            tell(format_args!("failed to start threads: {error}"));
            return Exit::Failed;
        }
    };
    let story = if args.incident { Story::Incident } else { Story::Day };
    let played = build(story).and_then(|built| runtime.block_on(play((args, story), &built)));
    match played {
        Ok(true) => Exit::Ok,
        Ok(false) => {
            tell("the demo did not go as it should: see what is marked with ✗ above");
            Exit::Failed
        }
        Err(reason) => {
            tell(format_args!("the demo failed: {reason}"));
            Exit::Failed
        }
    }
}

/// The modules of a story's plugins, and where their sources are.
struct Built {
    modules: Vec<PathBuf>,
    plugins: PathBuf,
}

/// Builds the example plugins that a story has.
fn build(story: Story) -> Result<Built, String> {
    let plugins = find_plugins()
        .ok_or("the example plugins are not here; run the demo inside a clone of Hookweir")?;
    tell("building the example plugins");
    let folders: Vec<_> = story.plugins().iter().map(|name| plugins.join(name)).collect();
    let modules = plugin::build(&folders, Some(&plugins), Install::IfNeeded)?;
    Ok(Built { modules, plugins })
}

/// Plays the story; answers whether it went as it should. If not, the gateway's folder stays.
async fn play((args, story): (&Args, Story), built: &Built) -> Result<bool, String> {
    let outside = Outside::open().await?;
    let house = House::build(story, &built.modules, &outside)?;
    tell("starting a gateway and telling its story\n");
    let mut stage = Stage::new(house, outside, built.plugins.clone())?;
    let mut book = Book::new(args.json);
    let ended = perform(args, &mut book, &mut stage).await;
    let house = stage.close();
    if ended.is_err() || !book.ok {
        let folder = house.keep();
        let log = folder.join("gateway.log");
        tell(format_args!(
            "the gateway's log is {}; remove its folder when you are done",
            log.display()
        ));
    }
    ended.map(|()| book.ok)
}

async fn perform(args: &Args, book: &mut Book, stage: &mut Stage) -> Result<(), String> {
    // One for all of it: a Ctrl-C that comes while nobody listens is heard by whoever does next.
    let interrupts = signal(SignalKind::interrupt());
    let mut interrupts = interrupts.map_err(|error| format!("listening for Ctrl-C: {error}"))?;
    let telling = async {
        stage.start().await?;
        // Why it does not come to its end is on the page where it does not.
        Ok::<_, String>(stage.house.story.tell(book, stage).await.is_ok())
    };
    let is_whole = tokio::select! {
        is_whole = telling => is_whole?,
        _ = interrupts.recv() => return stage.stop().await.and(Err("interrupted".into())),
    };
    if is_whole {
        book.close(stage).await?;
    }
    book.end();
    if is_whole && !args.once {
        closing::stay_up(stage, book.ok, &mut interrupts).await;
    }
    stage.stop().await
}

/// `plugins/` of the clone that the command runs in.
fn find_plugins() -> Option<PathBuf> {
    let here = std::env::current_dir().ok()?;
    let holds_examples = |folder: &PathBuf| folder.join("payments/samples").is_dir();
    here.ancestors().map(|folder: &Path| folder.join("plugins")).find(holds_examples)
}
