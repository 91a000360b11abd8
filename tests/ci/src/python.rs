//! Tools from PyPI, each list of them in a virtual environment below the target folder.

use std::{fs, path::PathBuf, time::Duration};

use crate::{command, steps::Ci};

/// How long it may take to make one, or to fill it.
const PATIENCE: Duration = Duration::from_secs(300);

/// Why they are not there.
pub(crate) enum Missing {
    /// PyPI can't be reached, say.
    Tool(String),
    /// The repository is not whole.
    File(String),
}

/// The folder of the programs that come with `list`, a file of versions; installed once for each content of it.
pub(crate) fn installed(ci: &Ci, list: &str, name: &str) -> Result<PathBuf, Missing> {
    let list = ci.root.join(list);
    let versions =
        fs::read_to_string(&list).map_err(|e| Missing::File(format!("{}: {e}", list.display())))?;
    let python =
        command::answer(command::new("python3", &ci.root).args(["-c", "import venv, ensurepip"]));
    if python.is_none() {
        return Err(Missing::Tool("Python 3 with venv is not there".to_owned()));
    }
    let venv = ci.target_dir().join(name);
    let (programs, note) = (venv.join("bin"), venv.join("installed.txt"));
    if fs::read_to_string(&note).unwrap_or_default() == versions {
        return Ok(programs);
    }
    // Left over from another list, it may hold what this one does not name.
    let _ = fs::remove_dir_all(&venv);
    let mut make = command::new("python3", &ci.root);
    command::live_within(make.args(["-m", "venv"]).arg(&venv), PATIENCE).map_err(Missing::Tool)?;
    let mut pip = command::new(venv.join("bin/pip"), &ci.root);
    pip.args(["install", "--quiet", "--disable-pip-version-check", "--requirement"]).arg(&list);
    command::live_within(&mut pip, PATIENCE).map_err(Missing::Tool)?;
    fs::write(&note, versions).map_err(|e| Missing::Tool(format!("{}: {e}", note.display())))?;
    Ok(programs)
}
