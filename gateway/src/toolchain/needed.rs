//! Programs that the builds of other languages need: looked for, installed where that is allowed, and
//! otherwise named with the command that brings them.

use std::process::Command;

use super::{Install, ToolchainError, apt, command};

/// A program, and how to have it.
pub(super) struct Needed {
    /// In words: `Node.js 18 or later`.
    pub(super) what: &'static str,
    pub(super) program: &'static str,
    /// Arguments with which it ends well only if all that is needed of it is there.
    pub(super) trial: &'static [&'static str],
    /// Debian's packages that bring it.
    pub(super) packages: &'static [&'static str],
}

impl Needed {
    /// Sees that it is there; what it said of itself.
    pub(super) fn be_there(
        &self,
        install: Install,
        progress: &dyn Fn(&str),
    ) -> Result<String, ToolchainError> {
        let cause = match self.tried() {
            Ok(said) => return Ok(said),
            Err(cause) => cause,
        };
        if install == Install::IfNeeded && apt::is_root() {
            apt::install_fresh(self.packages, progress)?;
            return self.tried().map_err(|cause| self.missing(&cause));
        }
        Err(self.missing(&cause))
    }

    fn tried(&self) -> Result<String, ToolchainError> {
        command::run(Command::new(self.program).args(self.trial), None, &|_| ())
    }

    fn missing(&self, cause: &ToolchainError) -> ToolchainError {
        ToolchainError::Needed {
            what: self.what,
            cause: cause.to_string(),
            how: apt::show_install(self.packages),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_with_the_command_that_brings_it() {
        let needed = |program, trial| Needed {
            what: "Something 2 or later",
            program,
            trial,
            packages: &["something", "something-more"],
        };
        let there = needed("/bin/sh", &["-c", "echo 2.1"]);
        assert_eq!(there.be_there(Install::Never, &|_| ()).unwrap(), "2.1\n");
        for (program, trial, words) in [
            ("/nowhere/at-all", &[][..], "/nowhere/at-all"),
            ("/bin/sh", &["-c", "echo too old >&2; exit 1"], "too old"),
        ] {
            let error = needed(program, trial).be_there(Install::Never, &|_| ()).unwrap_err();
            let said = error.to_string();
            assert!(said.starts_with("Something 2 or later is needed for this plugin: "), "{said}");
            assert!(said.contains(words), "{said}");
            let how = "apt-get install -y --no-install-recommends something something-more";
            assert!(said.contains(how) && said.contains("--install"), "{said}");
        }
    }
}
