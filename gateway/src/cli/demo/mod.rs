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

use self::{book::Book, house::House, outside::Outside, stage::Stage};
use super::{Exit, plugin, runtime, tell};
use crate::toolchain::Install;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
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
    let played =
        build().and_then(|(modules, plugins)| runtime.block_on(play(args, &modules, plugins)));
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

/// Builds the example plugins, and answers where they are, and where their sources are.
fn build() -> Result<(Vec<PathBuf>, PathBuf), String> {
    let plugins = find_plugins()
        .ok_or("the example plugins are not here; run the demo inside a clone of Hookweir")?;
    tell("building the example plugins");
    let entries = std::fs::read_dir(&plugins).map_err(|e| format!("{}: {e}", plugins.display()))?;
    let folders = entries.flatten().map(|entry| entry.path());
    // Those of other languages need their tools.
    let mut folders: Vec<_> =
        folders.filter(|folder| folder.join("Cargo.toml").is_file()).collect();
    folders.sort();
    let modules = plugin::build(&folders, Some(&plugins), Install::IfNeeded)?;
    Ok((modules, plugins))
}

/// Plays the story; answers whether it went as it should. If not, the gateway's folder stays.
async fn play(args: &Args, modules: &[PathBuf], plugins: PathBuf) -> Result<bool, String> {
    let outside = Outside::open().await?;
    let house = House::build(modules, &outside)?;
    tell("starting a gateway and telling its story\n");
    let mut stage = Stage::new(house, outside, plugins)?;
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
    let telling = async {
        stage.start().await?;
        // Why it does not come to its end is on the page where it does not.
        Ok::<_, String>(story::tell(book, stage).await.is_ok())
    };
    let is_whole = tokio::select! {
        is_whole = telling => is_whole?,
        _ = tokio::signal::ctrl_c() => return stage.stop().await.and(Err("interrupted".into())),
    };
    if is_whole {
        book.close(stage).await?;
    }
    book.end();
    if is_whole && !args.once {
        closing::stay_up(stage, book.ok).await;
    }
    stage.stop().await
}

/// `plugins/` of the clone that the command runs in.
fn find_plugins() -> Option<PathBuf> {
    let here = std::env::current_dir().ok()?;
    let holds_examples = |folder: &PathBuf| folder.join("payments/samples").is_dir();
    here.ancestors().map(|folder: &Path| folder.join("plugins")).find(holds_examples)
}
