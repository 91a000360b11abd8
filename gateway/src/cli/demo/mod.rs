//! `hookweir demo`: the whole line at work, over HTTP and with real processes.
//!
//! Builds the example plugins, starts a gateway, sends it what GitHub and Stripe would, restarts it,
//! and reads every fate back from the store. `--once` ends with 0 only if all are as expected.

mod house;
mod report;
mod sender;
mod story;

use std::path::{Path, PathBuf};

use hookweir_store::Reader;

use self::{house::House, report::Check, sender::Sender};
use super::{Exit, plugin, runtime, tell};
use crate::toolchain::Install;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// End when all is done: 0 only if every event ended as it should.
    #[arg(long)]
    once: bool,
    /// Print what happened as JSON.
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
    match prepare().and_then(|(house, plugins)| runtime.block_on(play(args, &house, plugins))) {
        Ok(true) => Exit::Ok,
        Ok(false) => {
            tell("the demo did not go as it should");
            Exit::Failed
        }
        Err(reason) => {
            tell(format_args!("the demo failed: {reason}"));
            Exit::Failed
        }
    }
}

/// Builds the plugins and a house for them.
fn prepare() -> Result<(House, PathBuf), String> {
    let plugins = find_plugins()
        .ok_or("the example plugins are not here; run the demo inside a clone of Hookweir")?;
    tell("1/5 building the example plugins");
    let folders = [plugins.join("github"), plugins.join("payments")];
    let modules = plugin::build(&folders, Some(&plugins), Install::IfNeeded)?;
    Ok((House::build(&modules)?, plugins))
}

/// Plays the story; answers whether it went as it should.
async fn play(args: &Args, house: &House, plugins: PathBuf) -> Result<bool, String> {
    tell("2/5 starting a gateway");
    let gateway = house.start().await?;
    let reader = Reader::at(house.database());

    tell("3/5 sending signed webhooks of GitHub and Stripe, and replacing a plugin meanwhile");
    let sender = Sender::new(house, plugins);
    let mut told = story::tell(&sender, &house.plugins(), &reader).await?;
    drop(reader);

    tell("4/5 restarting the gateway");
    let stopped = gateway.stop().await;
    let detail = stopped.as_ref().err().cloned().unwrap_or_else(|| "exit 0".into());
    told.checks.push(Check { what: "SIGTERM ends it calmly".into(), ok: stopped.is_ok(), detail });
    let gateway = house.start().await?;

    tell("5/5 reading every fate back from the store\n");
    let reader = Reader::at(house.database());
    let report = report::compare(told, &reader).await?;
    report.print(args.json);
    if !args.once {
        stay_up(house).await;
    }
    gateway.stop().await?;
    Ok(report.ok)
}

/// Leaves the gateway running until Ctrl-C.
async fn stay_up(house: &House) {
    let config = house.config();
    tell(format_args!(
        "\nThe gateway is up at http://{}. Send it more, from another terminal:\n\n  \
         export GITHUB_SECRET={} STRIPE_SECRET={}\n  \
         cargo run -q -- send github --type push --body plugins/github/samples/push.json --config {}\n\n\
         Its log is {}; drop plugins into {}. Ctrl-C ends it and removes them all.",
        house.public,
        house.secret("github"),
        house.secret("stripe"),
        config.display(),
        house.log().display(),
        house.plugins().display(),
    ));
    let _ = tokio::signal::ctrl_c().await;
}

/// `plugins/` of the clone that the command runs in.
fn find_plugins() -> Option<PathBuf> {
    let here = std::env::current_dir().ok()?;
    let holds_examples = |folder: &PathBuf| folder.join("payments/samples").is_dir();
    here.ancestors().map(|folder: &Path| folder.join("plugins")).find(holds_examples)
}
