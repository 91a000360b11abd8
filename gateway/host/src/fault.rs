//! What can go wrong, by whose fault it is: the gateway's at start ([`HostError`]) or while running
//! ([`NotRun`]), or the file's ([`LoadFault`]).
//!
//! Messages are lowercase fragments that complete "failed to …". A load fault is read by the plugin's
//! author, so it says what to do.

use std::{path::PathBuf, time::Duration};

use thiserror::Error;

/// Why there is no host. The process can't do its work.
#[derive(Debug, Error)]
pub enum HostError {
    /// The folder for compiled code can't be used.
    #[error("the folder for compiled plugins, {}, can't be used: {cause}", path.display())]
    Cache {
        /// The folder.
        path: PathBuf,
        /// What the system or the engine said.
        cause: String,
    },
    /// The engine refused its configuration.
    #[error("the WebAssembly engine can't start: {0}")]
    Engine(String),
    /// The system gave no thread.
    #[error("a thread of the plugin host can't start: {0}")]
    Thread(#[from] std::io::Error),
}

/// Why an attempt did not run, by no fault of the plugin: the delivery is requeued and no attempt is
/// counted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NotRun {
    /// All instances are taken.
    #[error("all plugin instances are in use")]
    PoolExhausted,
    /// The system gave no memory for an instance.
    #[error("the system has no memory for a plugin instance")]
    NoMemory,
    /// The plugin's state could not be read.
    #[error("the plugin's state can't be read: {0}")]
    State(String),
    /// The host is shutting down.
    #[error("the gateway is shutting down")]
    ShuttingDown,
}

/// Why a file did not become a version. Completes "failed to load plugin X: …".
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LoadFault {
    /// No bytes.
    #[error("the file is empty")]
    Empty,
    /// Beyond [`crate::ModuleLimits::bytes`].
    #[error("the file has {size} bytes, more than the {max} allowed")]
    TooLarge {
        /// The file's size.
        size: u64,
        /// The most allowed.
        max: u64,
    },
    /// Machine code, be it an executable or a module that was compiled ahead of time.
    #[error(
        "the file is machine code, not WebAssembly; plugins are .wasm files, and precompiled ones are not accepted"
    )]
    Native,
    /// Text format.
    #[error("the file is WebAssembly text; turn it into binary first, with `wasm-tools parse`")]
    Text,
    /// gzip.
    #[error("the file is compressed with gzip; unpack it first")]
    Gzip,
    /// Something else.
    #[error("the file is not WebAssembly")]
    NotWasm,
    /// Malformed, cut off, or with features that this gateway does not take.
    #[error("the file is not valid WebAssembly: {0}")]
    Malformed(String),
    /// A core module that imports from WASI preview 1.
    #[error(
        "it was built for wasm32-wasip1; build for wasm32-unknown-unknown (`hookweir plugin build` does)"
    )]
    WrongTarget,
    /// A core module that imports from JavaScript.
    #[error(
        "it imports `{0}`, which only a browser has; a dependency uses wasm-bindgen: switch off chrono's `wasmbind`, getrandom's `js` or `wasm_js`, uuid's `js` (`cargo tree -i wasm-bindgen` tells which)"
    )]
    WasmBindgen(String),
    /// A core module that does not say what it exports.
    #[error(
        "it holds no component type; is `#[plugin]` missing, or is the crate not a `cdylib` that uses hookweir-sdk?"
    )]
    NoComponentType,
    /// The core module and the interface that it claims differ.
    #[error("it does not fit the interface it names: {0}")]
    Unfit(String),
    /// No handler among the exports.
    #[error("it does not export `{handler}`; is `#[plugin]` missing?", handler = HANDLER)]
    NoHandler,
    /// A handler of another version of the contract.
    #[error("it exports `{0}`; this gateway calls `{handler}`", handler = HANDLER)]
    OtherVersion(String),
    /// A core module whose linker left a symbol open.
    #[error(
        "it imports the function `{0}` from `env`: a C library or an `extern` block that is not linked in"
    )]
    Undefined(String),
    /// An export has the right name and the wrong type.
    #[error("its `{interface}` does not have the types of {package}: {cause}", package = PACKAGE)]
    WrongExport {
        /// The interface.
        interface: &'static str,
        /// What differs.
        cause: String,
    },
    /// A core module that imports `http` and wants no host.
    #[error(
        "it sends requests and does not say where: name the hosts in `#[plugin(http = [\"https://..\"])]`, or \"https://*\" if the operator is to say"
    )]
    NoHosts,
    /// An import is of nobody's contract.
    #[error("it imports `{0}`, which this gateway does not have")]
    UnknownImport(String),
    /// An import has the right name and the wrong type.
    #[error("its imports do not have the types that this gateway offers: {0}")]
    WrongImport(String),
    /// Beyond a cap that protects the compiler.
    #[error("it has {found} {what}, more than the {max} allowed")]
    Cap {
        /// What there is too much of.
        what: &'static str,
        /// How much.
        found: u64,
        /// The most allowed.
        max: u64,
    },
    /// Its memory limit is beyond [`crate::Settings::memory_max`].
    #[error(
        "its memory limit of {limit} bytes is more than the {max} that the host has for one plugin"
    )]
    MemoryGrant {
        /// What it is granted.
        limit: u64,
        /// The most that can be.
        max: u64,
    },
    /// The custom section is no JSON, or a subscription is none.
    #[error("its section `{section}` can't be read: {0}", section = crate::wants::SECTION)]
    Wants(String),
    /// The compiler refused.
    #[error("it can't be compiled: {0}")]
    Compile(String),
    /// The compiler took longer than [`crate::ModuleLimits::compile_time`].
    #[error(
        "compiling it took longer than {0:?}; `compile_timeout` for it in the config allows more"
    )]
    CompileTime(Duration),
    /// It trapped while it was tried, before any event, or went over a limit.
    #[error("it failed when it was started: {0}")]
    Start(String),
    /// Its `init` returned an error.
    #[error("its init refused: {0}")]
    Init(String),
    /// A sample event beside it can't be read, or did not come to what it says.
    #[error("its sample {sample} {why}")]
    Sample {
        /// The sample's file.
        sample: String,
        /// What is wrong, completing the sentence.
        why: String,
    },
    /// All instances were taken, or the host is ending: try again.
    #[error("it could not be tried: {0}")]
    NotRun(#[from] NotRun),
}

/// The contract's package, as a version of this gateway has it.
pub(crate) const PACKAGE: &str = "hookweir:plugin@1.0.0";
/// The package's interfaces, of whatever version.
pub(crate) const PACKAGE_ANY: &str = "hookweir:plugin/";
/// The handler, of whatever version.
pub(crate) const HANDLER_ANY: &str = "hookweir:plugin/handler@";
/// The handler, of a version that this gateway can call: within 1.x the types are the same.
pub(crate) const HANDLER_1: &str = "hookweir:plugin/handler@1.";
/// What every plugin exports.
pub(crate) const HANDLER: &str = "hookweir:plugin/handler@1.0.0";
/// What is run once when a version is tried.
pub(crate) const LIFECYCLE: &str = "hookweir:plugin/lifecycle@1.0.0";
/// What sends requests, of a version that this gateway has.
pub(crate) const HTTP_1: &str = "hookweir:plugin/http@1.";
/// What answers requests.
pub(crate) const API: &str = "hookweir:plugin/api@1.0.0";
/// What proves who sent a request.
pub(crate) const VERIFIER: &str = "hookweir:plugin/verifier@1.0.0";
