//! schemathesis against the admin API of a running gateway: what its description promises is asked for, and
//! what it does not. A virtual environment below the target folder holds the tool; a test starts the
//! gateway and runs it.

use std::time::Duration;

use crate::{
    command,
    python::{self, Missing},
    steps::{Ci, Outcome},
};

/// The tool's and its dependencies' versions.
const REQUIREMENTS: &str = "tests/ci/schemathesis.txt";
/// The test that runs it.
const TEST: &str = "admin_contract::the_api_is_as_it_is_described";

pub(crate) fn run(ci: &Ci) -> Outcome {
    let program = match python::installed(ci, REQUIREMENTS, "schemathesis") {
        Ok(folder) => folder.join("schemathesis"),
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
