//! A guest that imports WASI 0.2 beside the contract, as components of other toolchains do, and
//! tells what it got: that WASI is linked, and that nothing of the host shows through it.

use hookweir_sdk::prelude::*;
use serde_json::json;

/// The WASI interfaces of `wit/`.
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]
mod wasi_imports {
    wit_bindgen::generate!({ path: "wit", world: "asks", generate_all });
}

use wasi_imports::wasi::{cli::environment, clocks::wall_clock, random::random as wasi_random};

#[plugin(subscribe = ["test/powerless"])]
fn handle(_event: Event) -> Result<Outputs, Failure> {
    let now = wall_clock::now();
    let seen = json!({
        "environment": environment::get_environment(),
        "arguments": environment::get_arguments(),
        "cwd": environment::initial_cwd(),
        "unix_seconds": now.seconds,
        "random_bytes": wasi_random::get_random_bytes(16).len(),
    });
    Ok(outputs![Output::json("seen", &seen)?])
}
