//! `hookweir completions` and `hookweir man`: what a package of it brings along, made from the command line itself.

use std::path::PathBuf;

use clap::CommandFactory as _;

use super::{Cli, Exit, put_out, tell};

#[derive(Debug, clap::Args)]
pub(super) struct ManArgs {
    /// Write a page for each command into this folder, in place of printing the first one.
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
}

pub(super) fn completions(shell: clap_complete::Shell) -> Exit {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "hookweir", &mut text);
    printed(&text)
}

/// A page, on standard output.
fn printed(page: &[u8]) -> Exit {
    match put_out(page) {
        Ok(()) => Exit::Ok,
        Err(reason) => {
            tell(reason);
            Exit::Failed
        }
    }
}

pub(super) fn man(args: &ManArgs) -> Exit {
    let written = match &args.dir {
        Some(dir) => clap_mangen::generate_to(Cli::command(), dir),
        None => {
            let mut page = Vec::new();
            let rendered = clap_mangen::Man::new(Cli::command()).render(&mut page);
            if rendered.is_ok() {
                return printed(&page);
            }
            rendered
        }
    };
    match written {
        Ok(()) => Exit::Ok,
        Err(error) => {
            tell(format_args!("failed to write the manual: {error}"));
            Exit::Failed
        }
    }
}
