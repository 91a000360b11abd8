//! What the gateway is deployed with: systemd's own judgement of the unit, hadolint's of the Containerfile, and the schemas
//! of Kubernetes for its manifests. What can't be installed here is said.

use crate::{
    command,
    python::{self, Missing},
    steps::{Ci, Outcome},
};

const UNIT: &str = "deploy/hookweir.service";
/// Of the exposure that `systemd-analyze security` finds, from 0 to 100, the most that passes. It needs the network, and
/// memory that becomes executable.
const EXPOSURE_MAX: &str = "--threshold=15";
const CONTAINERFILE: &str = "deploy/Containerfile";
const MANIFESTS: [&str; 2] = ["deploy/kubernetes/hookweir.yaml", "deploy/kubernetes/monitor.yaml"];
/// The versions of the tools from PyPI.
const REQUIREMENTS: &str = "tests/ci/deploy.txt";

pub(crate) fn run(ci: &Ci) -> Outcome {
    let mut unchecked = Vec::new();
    if command::answer(command::new("systemd-analyze", &ci.root).arg("--version")).is_some() {
        let mut analyze = command::new("systemd-analyze", &ci.root);
        analyze.args(["--no-pager", "security", "--offline=true", EXPOSURE_MAX, UNIT]);
        if let Err(why) = command::live(&mut analyze) {
            return Outcome::Failed(why);
        }
    } else {
        unchecked.push(format!("{UNIT}, which wants systemd-analyze"));
    }
    match python::installed(ci, REQUIREMENTS, "deploy") {
        Ok(programs) => {
            let run = |program: &str, args: &[&str]| {
                command::live(command::new(programs.join(program), &ci.root).args(args))
            };
            let lint = run("hadolint", &[CONTAINERFILE]);
            let validate =
                |()| run("kubernetes-validate", &[&["--strict"][..], &MANIFESTS].concat());
            if let Err(why) = lint.and_then(validate) {
                return Outcome::Failed(why);
            }
        }
        Err(Missing::Tool(why)) => {
            unchecked.push(format!("{CONTAINERFILE} and the manifests: {why}"));
        }
        Err(Missing::File(why)) => return Outcome::Failed(why),
    }
    match unchecked.is_empty() {
        true => Outcome::Passed,
        false => Outcome::PassedWithout(unchecked.join("; ")),
    }
}
