//! `hookweir plugin build`: builds plugins, each by its language's tools, and puts the modules where the
//! gateway looks for them.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use super::watch;
use crate::{
    cli::{Exit, say, tell},
    toolchain::{self, Install},
};

const EXAMPLES: &str = "\
Examples:
  hookweir plugin build --out /srv/hookweir/plugins
  hookweir plugin build plugins/github plugins/payments --watch";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Args {
    /// The plugins' folders.
    #[arg(default_value = ".")]
    pub(super) plugins: Vec<PathBuf>,
    /// Where the modules go. Without it, beside the plugin's folder if that is in a folder named
    /// `plugins`, else into the plugin's folder.
    #[arg(long, value_name = "DIR")]
    pub(super) out: Option<PathBuf>,
    /// Build again on each save, until Ctrl-C.
    #[arg(long)]
    watch: bool,
    /// As root, install through apt what is not found: a compiler for wasm32, Node.js, Python.
    #[arg(long)]
    install: bool,
}

pub(super) fn run(args: &Args) -> Exit {
    let install = if args.install { Install::IfNeeded } else { Install::Never };
    if args.watch {
        return watch::run(args, install);
    }
    match build(&args.plugins, args.out.as_deref(), install) {
        Ok(modules) => {
            for module in modules {
                say(module.display());
            }
            Exit::Ok
        }
        Err(reason) => {
            tell(format_args!("failed to build: {reason}"));
            Exit::Failed
        }
    }
}

/// Builds the plugins in these folders and answers where their modules are.
pub(in crate::cli) fn build(
    plugins: &[PathBuf],
    out: Option<&Path>,
    install: Install,
) -> Result<Vec<PathBuf>, String> {
    let progress = |line: &str| tell(line);
    let built = toolchain::build(plugins, install, &progress).map_err(|error| error.to_string())?;
    let mut modules = Vec::new();
    for (plugin, built) in plugins.iter().zip(built) {
        let folder = out.map_or_else(|| place(plugin), Path::to_owned);
        // The file's stem is the plugin's name, and names have no underscores.
        let module = folder.join(format!("{}.wasm", built.name.replace('_', "-")));
        let placed = fs::read(&built.wasm).and_then(|bytes| put(&bytes, &module));
        placed.map_err(|error| format!("{}: {error}", module.display()))?;
        modules.push(module);
    }
    Ok(modules)
}

/// Where a plugin's module goes if nobody says.
fn place(plugin: &Path) -> PathBuf {
    let folder = fs::canonicalize(plugin).unwrap_or_else(|_| plugin.to_owned());
    match folder.parent() {
        Some(parent) if parent.file_name().is_some_and(|name| name == "plugins") => {
            parent.to_owned()
        }
        _ => folder,
    }
}

/// Writes beside the place and renames, so that a gateway that watches never sees half a file.
pub(in crate::cli) fn put(module: &[u8], to: &Path) -> io::Result<()> {
    let to = std::path::absolute(to)?;
    let folder = to.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder)?;
    let mut aside = tempfile::Builder::new();
    aside.prefix(".hookweir-").permissions(fs::Permissions::from_mode(0o644));
    let mut aside = aside.tempfile_in(folder)?;
    aside.write_all(module)?;
    aside.persist(to)?;
    Ok(())
}
