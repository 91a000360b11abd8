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
/// The first systemd that judges a file.
const SYSTEMD_MIN: u32 = 250;
const CONTAINERFILE: &str = "deploy/Containerfile";
const MANIFESTS: [&str; 2] = ["deploy/kubernetes/hookweir.yaml", "deploy/kubernetes/monitor.yaml"];
/// The versions of the tools from PyPI.
const REQUIREMENTS: &str = "tests/ci/deploy.txt";

pub(crate) fn run(ci: &Ci) -> Outcome {
    let mut unchecked = Vec::new();
    let version = command::answer(command::new("systemd-analyze", &ci.root).arg("--version"));
    if version.as_deref().and_then(version_of).is_some_and(|version| version >= SYSTEMD_MIN) {
        let mut analyze = command::new("systemd-analyze", &ci.root);
        analyze.args(["--no-pager", "security", "--offline=true", EXPOSURE_MAX, UNIT]);
        if let Err(why) = command::live(&mut analyze) {
            return Outcome::Failed(why);
        }
    } else {
        unchecked.push(format!("{UNIT}, which wants systemd-analyze {SYSTEMD_MIN} or newer"));
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

/// From "systemd 252 (252.38-1~deb12u1)".
fn version_of(said: &str) -> Option<u32> {
    said.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systemd_says_which_version_it_is() {
        assert_eq!(version_of("systemd 252 (252.38-1~deb12u1)\n+PAM"), Some(252));
        assert_eq!(version_of(""), None);
    }
}
