//! Builds a plugin of Python: a virtual environment in the project's own folder gets what
//! `requirements.txt` names, componentize-py among it, and that makes the component of `plugin.py` and all
//! that it imports. Unlike npm's, a Python project has no place for an author's own build command.

use std::{path::Path, process::Command};

use serde::Deserialize;

use super::{
    Built, Install, ToolchainError, command,
    needed::Needed,
    project::{COMPONENT, Project},
};

const MANIFEST: &str = "pyproject.toml";
const REQUIREMENTS: &str = "requirements.txt";
const VENV: &str = ".venv";
/// The tool that makes the component, in the virtual environment.
const TOOL: &str = "componentize-py";
/// The module with the exports.
const MODULE: &str = "plugin";
const BINDINGS: &str = "build/bindings";
/// The world in `wit/world.wit`.
const WORLD: &str = "this";

const PYTHON: Needed = Needed {
    what: "Python 3.11 or later with venv",
    program: "python3",
    trial: &[
        "-c",
        "import sys, venv, ensurepip\n\
         if sys.version_info < (3, 11): sys.exit('this is Python ' + sys.version.split()[0])",
    ],
    packages: &["python3", "python3-venv"],
};

#[derive(Deserialize)]
struct Manifest {
    project: Option<Table>,
}

#[derive(Deserialize)]
struct Table {
    name: Option<String>,
}

/// Builds the project in `folder`; `progress` gets what pip and componentize-py write, line by line.
pub(super) fn build(
    folder: &Path,
    install: Install,
    progress: &dyn Fn(&str),
) -> Result<Built, ToolchainError> {
    let project = Project::open(folder, MANIFEST, name)?;
    let wants = project.wants()?;
    let run = |program: &str, args: &[&str]| {
        progress(&format!("{program} {}", args.join(" ")));
        let own = project.folder.join(VENV).join("bin").join(program);
        let mut command = Command::new(if own.exists() { own } else { program.into() });
        command.args(args).current_dir(&project.folder);
        // Another environment that is active here, and what it adds, is not this project's.
        command.env_remove("PYTHONPATH").env_remove("PYTHONHOME");
        command.env("VIRTUAL_ENV", project.folder.join(VENV));
        command::run(&mut command, None, progress)
    };
    project.installed(&[REQUIREMENTS], ".venv/.hookweir-installed", || {
        PYTHON.be_there(install, progress)?;
        run("python3", &["-m", "venv", VENV])?;
        let pip = ["install", "--quiet", "--disable-pip-version-check"];
        run("pip", &[&pip[..], &["--requirement", REQUIREMENTS]].concat()).map(drop)
    })?;
    project.clear(Some(BINDINGS))?;
    let version = run(TOOL, &["--version"])?;
    let world = ["--wit-path", "wit", "--world", WORLD];
    // The contract's types, for editors and the author's tests.
    run(TOOL, &[&world[..], &["bindings", BINDINGS]].concat())?;
    run(TOOL, &[&world[..], &["componentize", MODULE, "-o", COMPONENT]].concat())?;
    project.finish(wants, version.trim().to_owned())
}

/// Python writes names with underscores, plugins have none.
fn name(manifest: &str) -> Result<String, String> {
    let manifest: Manifest = toml::from_str(manifest).map_err(|error| error.to_string())?;
    let name = manifest.project.and_then(|project| project.name);
    Ok(name.ok_or("it has no `project.name`, which is the plugin's")?.replace('_', "-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_the_projects() {
        assert_eq!(name("[project]\nname = \"daily_sales\"").unwrap(), "daily-sales");
        assert!(name("[project]\nversion = \"1\"").unwrap_err().contains("`project.name`"));
        assert!(name("[tool.x]\ny = 1").unwrap_err().contains("`project.name`"));
    }
}
