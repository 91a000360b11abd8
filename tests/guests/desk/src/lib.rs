//! A guest that keeps the state of orders, which webhooks change and requests read, and that verifies a
//! source of its own. Some of its paths do what an api must not.

mod answers;
mod proof;

use hookweir_sdk::prelude::*;

/// What the operator may set.
#[derive(serde::Deserialize)]
struct Config {
    /// Keeps this version out, for this reason.
    refuse: Option<String>,
}

#[init]
fn init(config: Config) -> Result<(), String> {
    config.refuse.map_or(Ok(()), Err)
}

/// The body is the order's name, the type what became of it.
#[plugin(subscribe = ["test/*", "erp/*"])]
fn handle(event: Event) -> Result<Outputs, Failure> {
    match event.event_type() {
        "spin" => busy(event.text().parse().or_reject()?),
        kind => state::set(&format!("order:{}", event.text()), kind)?,
    }
    Ok(outputs![])
}

#[api]
fn respond(request: Request) -> Result<Response, Failure> {
    answers::to(&request)
}

#[verifier]
fn verify(request: Request) -> Result<Verified, String> {
    proof::of(&request)
}

/// Is busy for so many milliseconds.
fn busy(millis: u64) {
    let end = clock::monotonic_ns() + millis * 1_000_000;
    while clock::monotonic_ns() < end {}
}

/// Without a host call, so that only the host's own clock can end it.
fn endless() -> ! {
    let mut turns = 0_u64;
    loop {
        turns = std::hint::black_box(turns.wrapping_add(1));
    }
}
