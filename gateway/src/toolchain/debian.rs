//! Debian's compiler: it comes with the standard library's sources, so it can build the library for
//! any target itself (`-Zbuild-std`), where no built one can be had.
//!
//! It installs beside rustup's toolchains without touching them; `--no-remove` holds apt to that.
//! Names and versions come from what apt offers, since `lld-N` follows the compiler's LLVM.

use std::path::Path;

use super::{
    ToolchainError,
    apt::{self, ask, candidate},
};

pub(super) const CARGO: &str = "/usr/bin/cargo";
pub(super) const RUSTC: &str = "/usr/bin/rustc";
const LINKER: &str = "/usr/bin/rust-lld";

/// All but the linker, whose name holds a version.
const PACKAGES: &[&str] = &["rustc-web", "rust-web-src", "cargo-web", "rust-web-llvm"];

/// What the SDK needs at least: the `rust-version` that all of the workspace shares.
const RUST_VERSION: &str = env!("CARGO_PKG_RUST_VERSION");

/// The version of the installed compiler (`1.96.0`), or why it can't be used.
pub(super) fn installed() -> Result<String, String> {
    for tool in [RUSTC, CARGO, LINKER] {
        if !Path::new(tool).exists() {
            return Err(format!("{tool} is not installed"));
        }
    }
    let version = ask(RUSTC, &["--version"])?;
    let version = version.split_whitespace().nth(1).unwrap_or_default().to_owned();
    if minor(&version) < minor(RUST_VERSION) {
        return Err(format!("{RUSTC} is {version}, plugins need {RUST_VERSION}"));
    }
    let library = Path::new(ask(RUSTC, &["--print", "sysroot"])?.trim())
        .join("lib/rustlib/src/rust/library/std/Cargo.toml");
    if !library.exists() {
        return Err(format!("{RUSTC} {version} has no library sources ({})", library.display()));
    }
    Ok(version)
}

/// The commands that install it, as a person would type them, or why there are none.
pub(super) fn advice() -> String {
    match packages() {
        Ok(packages) => format!("as root: {}", apt::show_install(&packages)),
        Err(reason) => format!("{reason}; `apt-get update` as root may help"),
    }
}

/// Installs it and returns its version.
pub(super) fn install(progress: &dyn Fn(&str)) -> Result<String, ToolchainError> {
    let _lock = apt::lock()?;
    // Whoever held the lock may have installed it.
    if let Ok(version) = installed() {
        return Ok(version);
    }
    let mut updated = false;
    if !offered() {
        apt::update(progress)?;
        updated = true;
    }
    let mut result = install_packages(progress);
    if result.is_err() && !updated {
        // Lists that are merely old name files that the mirror no longer has.
        apt::update(progress)?;
        result = install_packages(progress);
    }
    result?;
    installed()
        .map_err(|reason| ToolchainError::Answer { command: "apt-get install".into(), reason })
}

fn install_packages(progress: &dyn Fn(&str)) -> Result<(), ToolchainError> {
    let packages = packages()
        .map_err(|reason| ToolchainError::Answer { command: "apt-cache".into(), reason })?;
    apt::install(&packages, progress)
}

/// Whether apt knows a compiler that is new enough.
fn offered() -> bool {
    ask("apt-cache", &["policy", "rustc-web"])
        .is_ok_and(|policy| candidate(&policy).is_some_and(|v| minor(v) >= minor(RUST_VERSION)))
}

/// What to install, the linker included.
fn packages() -> Result<Vec<String>, String> {
    let policy = ask("apt-cache", &["policy", "rustc-web"])?;
    let version = candidate(&policy).ok_or("apt offers no rustc-web")?;
    if minor(version) < minor(RUST_VERSION) {
        return Err(format!("apt offers rustc-web {version}, plugins need {RUST_VERSION}"));
    }
    let depends = ask("apt-cache", &["depends", "--recurse", "--important", "rustc-web"])?;
    let llvm = llvm_version(&depends).ok_or("rustc-web names no libllvm")?;
    let linker = format!("lld-{llvm}");
    Ok(PACKAGES.iter().map(ToString::to_string).chain([linker]).collect())
}

/// The LLVM that the compiler is linked with: the first `libllvmN` among its dependencies.
fn llvm_version(depends: &str) -> Option<u32> {
    depends.split_whitespace().find_map(|word| word.strip_prefix("libllvm")?.parse().ok())
}

/// Major and minor of `1.96.0+dfsg1-1~deb12u2`; nothing else matters, and what can't be read is old.
fn minor(version: &str) -> (u32, u32) {
    let mut parts = version.split(['.', '+', '-', '~']).map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEPENDS: &str = "rustc-web
  Depends: libc6
  Depends: libstd-rust-web-dev
libstd-rust-web-dev
  Depends: libstd-rust-web-1.96
libstd-rust-web-1.96
  Depends: libllvm22
libllvm22
  Depends: libz3-4
";

    #[test]
    fn the_linker_follows_the_compilers_llvm() {
        assert_eq!(llvm_version(DEPENDS), Some(22));
        assert_eq!(llvm_version(&DEPENDS.replace("libllvm22", "libllvm19")), Some(19));
        assert_eq!(llvm_version("rustc-web\n  Depends: libc6\n"), None);
        // Debian's t64 names, should LLVM ever take part in such a transition, are no number.
        assert_eq!(llvm_version("Depends: libllvm22t64 libllvm22"), Some(22));
    }

    #[test]
    fn versions_compare_by_number() {
        assert!(minor("1.96.0+dfsg1-1~deb12u2") > minor("1.95"));
        assert!(minor("1.100.0") > minor("1.96.0"));
        assert!(minor("1.85.0+dfsg3-1~deb12u3") < minor("1.95"));
        assert!(minor("(none)") < minor("1.95"));
    }
}
