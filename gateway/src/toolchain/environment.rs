//! What a plugin's build must not inherit. `cargo run` and rustup leave variables behind that belong
//! to the gateway's own build: its flags, its wrapper, its target, its libraries.

use std::process::Command;

/// Variables that steer a build of the gateway and would break, or silently change, a plugin's.
const BUILD: &[&str] = &[
    "CARGO_BUILD_RUSTC",
    "CARGO_BUILD_RUSTC_WRAPPER",
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "CARGO_BUILD_TARGET_DIR",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_TARGET_DIR",
    "LD_LIBRARY_PATH",
    "RUSTC",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTC_WRAPPER",
    "RUSTFLAGS",
];

/// Which compiler rustup was told to run; means nothing to any but rustup's.
const CHOICE: &[&str] = &["RUSTUP_TOOLCHAIN"];

/// Whose environment it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Toolchain {
    /// The one that the user chose: the choice stays.
    Active,
    /// Another one.
    Other,
}

/// Removes what must not be inherited.
pub(super) fn clean(command: &mut Command, toolchain: Toolchain) {
    let choice = if toolchain == Toolchain::Other { CHOICE } else { &[] };
    for name in BUILD.iter().chain(choice) {
        command.env_remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn removed(toolchain: Toolchain) -> Vec<String> {
        let mut command = Command::new("cargo");
        clean(&mut command, toolchain);
        let gone = command.get_envs().filter(|(_, value)| value.is_none());
        gone.map(|(name, _)| name.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn what_a_build_leaves_behind_is_removed() {
        let gone = removed(Toolchain::Other);
        for name in [
            "RUSTUP_TOOLCHAIN",
            "RUSTC_WRAPPER",
            "RUSTFLAGS",
            "CARGO_ENCODED_RUSTFLAGS",
            "CARGO_BUILD_TARGET",
            "CARGO_TARGET_DIR",
            "LD_LIBRARY_PATH",
        ] {
            assert!(gone.iter().any(|g| g == name), "{name} stays");
        }
    }

    #[test]
    fn the_users_choice_of_toolchain_and_folders_stay() {
        let gone = removed(Toolchain::Active);
        assert!(!gone.iter().any(|g| g == "RUSTUP_TOOLCHAIN"));
        assert!(!gone.iter().any(|g| g == "CARGO_HOME" || g == "PATH" || g == "RUSTUP_HOME"));
    }
}
