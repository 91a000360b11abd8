//! `hookweir plugin new`: a crate that tests and builds at the first try.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use hookweir_event::PluginName;

use crate::cli::{Exit, say, tell};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// The plugin's name, which is also its folder's.
    name: PluginName,
    /// Where `plugin-sdk` is; without it, looked for in this folder and those above.
    #[arg(long, value_name = "DIR")]
    sdk: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> Exit {
    let name = args.name.as_str();
    let Some(sdk) = args.sdk.clone().or_else(find_sdk) else {
        tell(
            "failed to find hookweir-sdk: give --sdk the path of plugin-sdk in a clone of Hookweir",
        );
        return Exit::Failed;
    };
    match write(Path::new(name), name, &sdk) {
        Ok(()) => {
            say(format_args!("made {name}. Next:"));
            say(format_args!("  cd {name} && cargo test"));
            say("  hookweir plugin build");
            Exit::Ok
        }
        Err(error) => {
            tell(format_args!("failed to make {name}: {error}"));
            Exit::Failed
        }
    }
}

/// The SDK of the clone that the command runs in.
fn find_sdk() -> Option<PathBuf> {
    let here = std::env::current_dir().ok()?;
    here.ancestors()
        .map(|folder| folder.join("plugin-sdk"))
        .find(|sdk| sdk.join("wit/hookweir.wit").is_file())
}

fn write(folder: &Path, name: &str, sdk: &Path) -> io::Result<()> {
    fs::create_dir(folder)?;
    fs::create_dir(folder.join("src"))?;
    let sdk = fs::canonicalize(sdk)?;
    let files = [
        ("Cargo.toml", MANIFEST),
        ("src/lib.rs", SOURCE),
        (".gitignore", "/target\n*.wasm\n"),
        ("README.md", README),
    ];
    for (path, template) in files {
        let text = template.replace("{name}", name).replace("{sdk}", &sdk.to_string_lossy());
        fs::write(folder.join(path), text)?;
    }
    Ok(())
}

const MANIFEST: &str = include_str!("template/Cargo.toml.txt");
const SOURCE: &str = include_str!("template/lib.rs.txt");
const README: &str = include_str!("template/README.md.txt");
