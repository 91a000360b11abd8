//! schemathesis against the admin API of a running gateway: what its description promises is asked for, and
//! what it does not. A virtual environment below the target folder holds the tool; a test starts the
//! gateway and runs it.

use std::{fs, time::Duration};

use crate::{
    command,
    steps::{Ci, Outcome},
};

/// The tool's and its dependencies' versions.
const REQUIREMENTS: &str = "tests/ci/schemathesis.txt";
/// The test that runs it.
const TEST: &str = "admin_contract::the_api_is_as_it_is_described";

pub(crate) fn run(ci: &Ci) -> Outcome {
    let python =
        command::answer(command::new("python3", &ci.root).args(["-c", "import venv, ensurepip"]));
    if python.is_none() {
        return Outcome::PassedWithout("schemathesis, which wants Python 3 with venv".to_owned());
    }
    let program = match installed(ci) {
        Ok(program) => program,
        Err(Missing::Tool(why)) => {
            return Outcome::PassedWithout(format!(
                "schemathesis, which can't be installed: {why}"
            ));
        }
        Err(Missing::File(why)) => return Outcome::Failed(why),
    };
    // Of the whole workspace, as the step `test` built it: alone, the package would have other features, and
    // be built again with much of what it stands on.
    let mut test = ci.cargo(&["test", "--locked", "--workspace", "--test", "it"]);
    test.args(["--", "--ignored", "--exact", "--nocapture", TEST]);
    test.env("HOOKWEIR_SCHEMATHESIS", program);
    test.env("HOOKWEIR_SCHEMATHESIS_SECONDS", ci.contract.as_secs().to_string());
    // The rest is for building the test, and for finding a failure's smallest request.
    command::live_within(&mut test, ci.contract * 2 + Duration::from_secs(1200)).into()
}

enum Missing {
    /// PyPI can't be reached, say.
    Tool(String),
    /// The repository is not whole.
    File(String),
}

/// The program, installed once for each list of versions.
fn installed(ci: &Ci) -> Result<std::path::PathBuf, Missing> {
    let list = ci.root.join(REQUIREMENTS);
    let versions =
        fs::read_to_string(&list).map_err(|e| Missing::File(format!("{}: {e}", list.display())))?;
    let venv = ci.target_dir().join("schemathesis");
    let (program, note) = (venv.join("bin/schemathesis"), venv.join("installed.txt"));
    let noted = fs::read_to_string(&note).unwrap_or_default();
    if noted == versions && program.exists() {
        return Ok(program);
    }
    // Left over from another list, it may hold what this one does not name.
    let _ = fs::remove_dir_all(&venv);
    let mut make = command::new("python3", &ci.root);
    let patience = Duration::from_secs(300);
    command::live_within(make.args(["-m", "venv"]).arg(&venv), patience).map_err(Missing::Tool)?;
    let mut pip = command::new(venv.join("bin/pip"), &ci.root);
    pip.args(["install", "--quiet", "--disable-pip-version-check", "--requirement"]).arg(&list);
    command::live_within(&mut pip, patience).map_err(Missing::Tool)?;
    fs::write(&note, versions).map_err(|e| Missing::Tool(format!("{}: {e}", note.display())))?;
    Ok(program)
}
