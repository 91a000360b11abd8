//! Builds a plugin of JavaScript: npm installs what its lock file names into the project's own folder, and
//! the script `build` of its `package.json` makes the component. The author's script is run, not ours, so
//! that a bundler or a TypeScript compiler can go first.

use std::{fs, path::Path, process::Command};

use serde::Deserialize;

use super::{Built, Install, ToolchainError, command, needed::Needed, project::Project};

const MANIFEST: &str = "package.json";
const LOCK: &str = "package-lock.json";
/// The tool that makes the component, as npm knows it.
const TOOL: &str = "@bytecodealliance/componentize-js";

const NODE: Needed = Needed {
    what: "Node.js 18 or later",
    program: "node",
    trial: &[
        "-e",
        "const v = process.versions.node; if (parseInt(v) < 18) throw `this is Node.js ${v}`",
    ],
    packages: &["nodejs"],
};
const NPM: Needed =
    Needed { what: "npm", program: "npm", trial: &["--version"], packages: &["npm"] };

#[derive(Deserialize)]
struct Manifest {
    name: Option<String>,
    version: Option<String>,
}

/// Builds the project in `folder`; `progress` gets what npm writes, line by line.
pub(super) fn build(
    folder: &Path,
    install: Install,
    progress: &dyn Fn(&str),
) -> Result<Built, ToolchainError> {
    let project = Project::open(folder, MANIFEST, name)?;
    let wants = project.wants()?;
    NODE.be_there(install, progress)?;
    NPM.be_there(install, progress)?;
    let npm = |args: &[&str]| {
        progress(&format!("npm {}", args.join(" ")));
        let mut npm = Command::new("npm");
        npm.args(args).current_dir(&project.folder);
        command::run(&mut npm, None, progress).map(drop)
    };
    project.installed(&[MANIFEST, LOCK], "node_modules/.hookweir-installed", || {
        // What is locked, or, without a lock file, what is newest, which then is locked. No package's own
        // scripts: none of what a build needs has any.
        let verb = if project.folder.join(LOCK).is_file() { "ci" } else { "install" };
        npm(&[verb, "--ignore-scripts", "--no-audit", "--no-fund"])
    })?;
    project.clear(None)?;
    npm(&["run", "build"])?;
    project.finish(wants, tool(&project))
}

/// What made the component, for operators.
fn tool(project: &Project) -> String {
    let manifest = project.folder.join("node_modules").join(TOOL).join(MANIFEST);
    let manifest = fs::read_to_string(manifest).ok();
    let manifest = manifest.and_then(|text| serde_json::from_str::<Manifest>(&text).ok());
    let version = manifest.and_then(|manifest| manifest.version).unwrap_or_default();
    format!("componentize-js {version}").trim_end().to_owned()
}

/// The name without the organisation's.
fn name(manifest: &str) -> Result<String, String> {
    let manifest: Manifest = serde_json::from_str(manifest).map_err(|error| error.to_string())?;
    let name = manifest.name.ok_or("it has no `name`, which is the plugin's")?;
    Ok(name.rsplit('/').next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_the_packages() {
        assert_eq!(name(r#"{"name":"labels"}"#).unwrap(), "labels");
        assert_eq!(name(r#"{"name":"@shop/labels"}"#).unwrap(), "labels");
        assert!(name("{}").unwrap_err().contains("`name`"));
        assert!(name("{").unwrap_err().contains("line 1"));
    }
}
