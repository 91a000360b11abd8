//! `hookweir plugin build --watch`: builds, and builds again on each save, until Ctrl-C.

use std::path::{Path, PathBuf};

use super::build::{Args, build};
use crate::{
    cli::{Exit, runtime, say, tell},
    toolchain::{Install, Saves},
};

/// Builds until the process is told to end. What does not build is said, and waits for the next save.
pub(super) fn run(args: &Args, install: Install) -> Exit {
    match watch(args, install) {
        Ok(never) => match never {},
        Err(reason) => {
            tell(format_args!("failed to watch: {reason}"));
            Exit::Failed
        }
    }
}

fn watch(args: &Args, install: Install) -> Result<std::convert::Infallible, String> {
    let runtime = runtime().map_err(|error| error.to_string())?;
    let _inside = runtime.enter();
    crate::tasks::watch_signals(async {
        if tokio::signal::ctrl_c().await.is_ok() {
            // A compiler that runs is in the terminal's group and gets the signal itself.
            std::process::exit(0);
        }
    });
    // Before the first build, so that what is saved during it is not missed.
    let mut saves = Saves::of(&args.plugins)?;
    loop {
        once(&args.plugins, args.out.as_deref(), install);
        tell("watching for saves; Ctrl-C ends it");
        let saved = saves.wait()?;
        tell(format_args!("\nsaved {}", saved.display()));
    }
}

fn once(plugins: &[PathBuf], out: Option<&Path>, install: Install) {
    match build(plugins, out, install) {
        Ok(modules) => {
            for module in modules {
                let size = std::fs::metadata(&module).map_or(0, |file| file.len());
                say(format_args!("built {}, {size} bytes", module.display()));
            }
        }
        Err(reason) => tell(format_args!("failed to build: {reason}")),
    }
}
