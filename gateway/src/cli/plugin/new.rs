//! `hookweir plugin new`: a project that tests and builds at the first try.
//!
//! What must not differ between a new project and those that are tested here (the contract, the locked
//! versions of the tools, the gateway in memory) is taken from where it lies in this repository.

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
    /// What it is to be written in.
    #[arg(long, value_enum, default_value_t)]
    lang: Language,
    /// Where `plugin-sdk` is, for Rust; without it, looked for in this folder and those above.
    #[arg(long, value_name = "DIR")]
    sdk: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
enum Language {
    #[default]
    Rust,
    Js,
    Python,
}

/// A path below the project's folder, and what is written there.
type File = (&'static str, &'static str);

impl Language {
    fn files(self) -> Vec<File> {
        match self {
            Self::Rust => RUST.to_vec(),
            Self::Js => [COMPONENT, JAVASCRIPT].concat(),
            Self::Python => [COMPONENT, PYTHON].concat(),
        }
    }

    /// What to type next, in the project's folder.
    fn next(self) -> &'static [&'static str] {
        match self {
            Self::Rust => &["cargo test", "hookweir plugin build"],
            Self::Js => &["npm test", "hookweir plugin build"],
            Self::Python => &["hookweir plugin build", ".venv/bin/python -m unittest"],
        }
    }
}

pub(super) fn run(args: &Args) -> Exit {
    let name = args.name.as_str();
    let sdk = match args.lang {
        Language::Rust => args.sdk.clone().or_else(find_sdk),
        // They bring the contract along, and need no SDK.
        Language::Js | Language::Python => Some(PathBuf::new()),
    };
    let Some(sdk) = sdk else {
        tell(
            "failed to find hookweir-sdk: give --sdk the path of plugin-sdk in a clone of Hookweir",
        );
        return Exit::Failed;
    };
    match write(Path::new(name), name, args.lang, &sdk) {
        Ok(()) => {
            say(format_args!("made {name}. Next:"));
            say(format_args!("  cd {name}"));
            args.lang.next().iter().for_each(|command| say(format_args!("  {command}")));
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

fn write(folder: &Path, name: &str, language: Language, sdk: &Path) -> io::Result<()> {
    let sdk = if language == Language::Rust { fs::canonicalize(sdk)? } else { sdk.to_owned() };
    fs::create_dir(folder)?;
    for (path, template) in language.files() {
        let text = template.replace("{name}", name).replace("{sdk}", &sdk.to_string_lossy());
        // Those that are shared with an example bear its name.
        let named = ["package.json", "package-lock.json", "pyproject.toml"].contains(&path);
        let text =
            if named { text.replace(EXAMPLES[0], name).replace(EXAMPLES[1], name) } else { text };
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap_or(folder))?;
        fs::write(path, text)?;
    }
    Ok(())
}

/// The examples that the files of new projects are taken from.
const EXAMPLES: [&str; 2] = ["js-labels", "py-takings"];

macro_rules! template {
    ($path:literal) => {
        include_str!(concat!("template/", $path, ".txt"))
    };
}

macro_rules! repository {
    ($path:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../", $path))
    };
}

const RUST: &[File] = &[
    ("Cargo.toml", template!("rust/Cargo.toml")),
    ("src/lib.rs", template!("rust/lib.rs")),
    (".gitignore", "/target\n*.wasm\n"),
    ("README.md", template!("rust/README.md")),
];

/// What languages share whose tools make a component.
const COMPONENT: &[File] = &[
    ("wants.toml", template!("wants.toml")),
    ("wit/world.wit", repository!("plugins/js-labels/wit/world.wit")),
    ("wit/deps/hookweir/hookweir.wit", repository!("plugin-sdk/wit/hookweir.wit")),
];

const JAVASCRIPT: &[File] = &[
    ("package.json", repository!("plugins/js-labels/package.json")),
    ("package-lock.json", repository!("plugins/js-labels/package-lock.json")),
    ("plugin.js", template!("js/plugin.js")),
    ("plugin.test.js", template!("js/plugin.test.js")),
    ("testing/host.js", repository!("plugins/js-labels/testing/host.js")),
    (".gitignore", "/node_modules\n/build\n*.wasm\n"),
    ("README.md", template!("js/README.md")),
];

const PYTHON: &[File] = &[
    ("pyproject.toml", repository!("plugins/py-takings/pyproject.toml")),
    ("requirements.txt", repository!("plugins/py-takings/requirements.txt")),
    ("plugin.py", template!("python/plugin.py")),
    ("test_plugin.py", template!("python/test_plugin.py")),
    ("testing/__init__.py", repository!("plugins/py-takings/testing/__init__.py")),
    (".gitignore", "/.venv\n/build\n__pycache__\n*.wasm\n"),
    ("README.md", template!("python/README.md")),
];
