//! Builds plugins. For crates it finds a standard library for `wasm32-unknown-unknown` and runs cargo with
//! the compiler that has it; for JavaScript and Python it runs the tools that make components of them,
//! installed into the project's own folder.
//!
//! The order for crates, and why: the active toolchain is what the user chose; rustup can complete it in
//! seconds where its server is reachable; Debian's compiler carries the library's sources and works
//! where only a package mirror is. Whatever was used is said, since modules differ by compiler.

mod apt;
mod command;
mod debian;
mod environment;
mod error;
mod javascript;
mod needed;
mod package;
mod project;
mod python;
mod rustup;
mod saves;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

pub use error::ToolchainError;
use package::Package;
use project::Language;
pub use project::read_wants;
pub use saves::Saves;

/// What plugins are built for; the gateway turns the core module into a component on load.
pub const TARGET: &str = "wasm32-unknown-unknown";

/// How crates are compiled and linked, beside what the package's own config says.
///
/// The heap that the linker lays out: enough for what most events need, so that no instance has to
/// grow its memory, and what it does not touch costs nothing. The SDK's allocator knows of it. With
/// `payments` and 1 KiB bodies, a call took 24 us before and 14 behind; on two cores at once, where
/// page tables are shared, 39 and 10.
///
/// And whom `getrandom` asks, which knows of no chance on this target: the SDK, with its feature `getrandom`.
const FLAGS: &[&str] =
    &["-C", "link-arg=--initial-heap=524288", "--cfg", "getrandom_backend=\"custom\""];

/// The same as cargo takes it. Panics in crates name their source: not where the author's home is.
fn flags() -> String {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(std::env::home_dir()?.join(".cargo")));
    let mut flags: Vec<_> = FLAGS.iter().map(|&flag| toml::Value::from(flag)).collect();
    if let Some(home) = home.as_deref().and_then(Path::to_str) {
        flags.push(format!("--remap-path-prefix={home}/registry/src=crates").into());
    }
    format!("target.{TARGET}.rustflags={}", toml::Value::Array(flags))
}

/// Whether the system's package manager may be asked to install a compiler, Node.js or Python. It is used as root only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Install {
    /// Never: an error says what to type.
    Never,
    /// If nothing else works.
    IfNeeded,
}

/// A compiler with a standard library for plugins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Toolchain(Way);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Way {
    Active,
    Rustup,
    Debian { version: String },
}

/// A module that was built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// The core module, or the component.
    pub wasm: PathBuf,
    /// The package's name.
    pub name: String,
}

/// Builds the plugins in these folders, each by its language; `progress` gets what takes time and what
/// the tools write, line by line.
///
/// # Errors
/// At the first that can't be built.
pub fn build(
    folders: &[PathBuf],
    install: Install,
    progress: &dyn Fn(&str),
) -> Result<Vec<Built>, ToolchainError> {
    let mut rust = None;
    let mut built = Vec::new();
    for folder in folders {
        built.push(match Language::of(folder)? {
            Language::Rust => {
                if rust.is_none() {
                    let found = find(install, progress)?;
                    progress(&format!("building with {}", found.which()));
                    rust = Some(found);
                }
                let toolchain = rust.as_ref().expect("invariant: it was found just now");
                toolchain.build(folder, None, progress)?
            }
            Language::JavaScript => javascript::build(folder, install, progress)?,
            Language::Python => python::build(folder, install, progress)?,
        });
    }
    Ok(built)
}

/// Finds a toolchain; `progress` is told what takes time.
///
/// # Errors
/// [`ToolchainError::NoneWorks`], with the reason of each way and the commands that would help.
pub fn find(install: Install, progress: &dyn Fn(&str)) -> Result<Toolchain, ToolchainError> {
    let active = match active_has_target() {
        Ok(()) => return Ok(Toolchain(Way::Active)),
        Err(reason) => reason,
    };
    let installed = debian::installed();
    let rustup = match rustup::add_target(installed.is_ok(), progress) {
        // Rustup may have added it to another toolchain than the one that answers here.
        Ok(()) => match active_has_target() {
            Ok(()) => return Ok(Toolchain(Way::Rustup)),
            Err(_) => "it added the target to a toolchain that is not the active one".to_owned(),
        },
        Err(reason) => reason,
    };
    match installed.or_else(|missing| install_debian(&missing, install, progress)) {
        Ok(version) => Ok(Toolchain(Way::Debian { version })),
        Err(debian) => Err(ToolchainError::NoneWorks { active, rustup, debian }),
    }
}

/// Installs Debian's compiler if that is wanted and allowed; else says how.
fn install_debian(
    missing: &str,
    install: Install,
    progress: &dyn Fn(&str),
) -> Result<String, String> {
    if install == Install::IfNeeded && apt::is_root() {
        return debian::install(progress).map_err(|error| error.to_string());
    }
    let how = debian::advice();
    Err(format!("{missing}\n   {how}\n   (`--install` does this by itself when run as root)"))
}

/// Whether the toolchain that answers to `rustc` has a built library for the target.
fn active_has_target() -> Result<(), String> {
    let mut rustc = Command::new("rustc");
    environment::clean(&mut rustc, environment::Toolchain::Active);
    let sysroot = command::run(rustc.args(["--print", "sysroot"]), None, &|_| ())
        .map_err(|error| error.to_string())?;
    let library = Path::new(sysroot.trim()).join("lib/rustlib").join(TARGET).join("lib");
    if library.is_dir() { Ok(()) } else { Err(format!("{} is not there", library.display())) }
}

impl Toolchain {
    /// What it is, in words for the user.
    pub fn which(&self) -> String {
        match &self.0 {
            Way::Active => "the active toolchain".into(),
            Way::Rustup => "rustup's target, just added".into(),
            Way::Debian { version } => format!("Debian's rustc {version} with -Zbuild-std"),
        }
    }

    /// Builds the package in `package_dir`; `progress` gets what cargo writes, line by line.
    ///
    /// All plugins of a workspace share one target folder, `plugins` in the workspace's own, so that
    /// the library is built once and a gateway built by another compiler is left alone.
    ///
    /// # Errors
    /// If the folder holds no package, cargo fails, or the package makes no module.
    pub fn build(
        &self,
        package_dir: &Path,
        target_dir: Option<&Path>,
        progress: &dyn Fn(&str),
    ) -> Result<Built, ToolchainError> {
        let no_package = || ToolchainError::NoPackage(package_dir.to_owned());
        let manifest =
            fs::canonicalize(package_dir.join("Cargo.toml")).map_err(|_| no_package())?;
        let package = self.describe(&manifest)?.ok_or_else(no_package)?;
        let shared = package.target_dir.join("plugins");
        let profile = package.profile();

        let mut cargo = self.cargo(&manifest);
        cargo.args(["build", "--target", TARGET, "--profile", profile, "--config", &flags()]);
        cargo.args(["--message-format", "json-render-diagnostics", "--manifest-path"]);
        cargo.arg(&manifest).arg("--target-dir").arg(target_dir.unwrap_or(&shared));
        if matches!(self.0, Way::Debian { .. }) {
            cargo.arg("-Zbuild-std=std,panic_abort");
        }
        let messages = command::run(&mut cargo, None, progress)?;
        let wasm = package.module(&messages, &manifest)?;
        // What can't be read here can't be read by whoever wants it, who says so.
        if fs::read(&wasm).is_ok_and(|module| package::lacks_chance(&module)) {
            return Err(ToolchainError::NoChance(package.name));
        }
        Ok(Built { wasm, name: package.name })
    }

    /// What cargo says of the package. Asked in the caller's own environment, so that the workspace's
    /// target folder is where the user told it to be.
    fn describe(&self, manifest: &Path) -> Result<Option<Package>, ToolchainError> {
        let mut cargo = self.cargo(manifest);
        if let Some(chosen) = std::env::var_os("CARGO_TARGET_DIR") {
            let absolute = std::path::absolute(&chosen).unwrap_or_else(|_| chosen.into());
            cargo.env("CARGO_TARGET_DIR", absolute);
        }
        cargo.args(["metadata", "--no-deps", "--format-version", "1", "--manifest-path"]);
        let answer = command::run(cargo.arg(manifest), None, &|_| ())?;
        Package::read(&answer, manifest).map_err(|error| ToolchainError::Answer {
            command: command::show(&cargo),
            reason: error.to_string(),
        })
    }

    /// Cargo in the package's folder, whose `.cargo/config.toml` counts.
    fn cargo(&self, manifest: &Path) -> Command {
        let mut cargo = match self.0 {
            Way::Active | Way::Rustup => {
                let mut cargo = Command::new("cargo");
                environment::clean(&mut cargo, environment::Toolchain::Active);
                cargo
            }
            Way::Debian { .. } => {
                let mut cargo = Command::new(debian::CARGO);
                environment::clean(&mut cargo, environment::Toolchain::Other);
                cargo.env("RUSTC", debian::RUSTC).env("RUSTC_BOOTSTRAP", "1");
                cargo
            }
        };
        if let Some(folder) = manifest.parent() {
            cargo.current_dir(folder);
        }
        cargo
    }
}
