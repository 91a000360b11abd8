//! A guest that does, on demand, what a plugin must not: the event's type says what.
//!
//! The well-behaved types (`echo`, `retry`, `reject`, `version`, …) are there so that one module
//! serves tests of the whole line. Where a type takes a number, the body holds it.

mod harm;
mod remembered;
mod tree;

use std::{
    hint::black_box,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::Duration,
};

use hookweir_sdk::prelude::*;

/// Which build this is: tests of reloading build two.
const VERSION: &str = match option_env!("GUEST_VERSION") {
    Some(version) => version,
    None => "1",
};

/// What tests write over in the built module: the same code with another temper is another version.
static TEMPER: [u8; 12] = *b"temper: good";

#[plugin(subscribe = ["test/*", "plugin.hostile/hops"])]
fn handle(event: Event) -> Result<Outputs, Failure> {
    match event.event_type() {
        "echo" => Ok(outputs![echo(&event)]),
        "nothing" => Ok(outputs![]),
        "hops" => Ok(outputs![Output::new("hops", event.body())]),
        "version" => Ok(outputs![Output::new("version", VERSION)]),
        "config" => Ok(outputs![Output::json("config", &config::all::<serde_json::Value>()?)?]),
        "log" => log_each_level(),
        "retry" => Err(Failure::retry("as asked")),
        "retry-after" => {
            let wait = Duration::from_millis(number(&event, 60_000)?);
            Err(Failure::retry("as asked").after(wait))
        }
        "retry-until" => retry_until(&event),
        "reject" => Err(Failure::reject("as asked")),
        "spin" => spin(number(&event, 100)?),
        "count" => count(),
        "count-and-fail" => count().and(Err(Failure::retry("as asked"))),
        "temper" => temper(&event),
        "uses" => uses(number(&event, 0)?),
        "hoard" => hoard(number(&event, 1)?),
        "state" => remembered::steps(&event.text()),
        "tree" => tree::written(event),
        _ => harm::done_by(&event),
    }
}

/// The number that the body holds, if it holds anything.
fn number(event: &Event, default: u64) -> Result<u64, Failure> {
    match event.text().trim() {
        "" => Ok(default),
        text => text.parse().or_reject(),
    }
}

/// The event as an output, with what a test may want to see of it.
fn echo(event: &Event) -> Output {
    Output::new("echoed", event.body())
        .header("x-source", event.source())
        .attribute("attempt", event.attempt().to_string())
        .attribute("event", event.id())
        .attribute("received-at-ms", event.received_at_ms().to_string())
}

/// Fails until the attempt that the body names.
fn retry_until(event: &Event) -> Result<Outputs, Failure> {
    if u64::from(event.attempt()) < number(event, 2)? {
        return Err(Failure::retry("not yet"));
    }
    Ok(outputs![echo(event)])
}

/// An echo, in a module of good temper.
fn temper(event: &Event) -> Result<Outputs, Failure> {
    // Read from where it lies: nothing of it may be known when this is compiled.
    assert!(black_box(&TEMPER).ends_with(b"good"), "of ill temper");
    Ok(outputs![echo(event)])
}

fn log_each_level() -> Result<Outputs, Failure> {
    log::trace!("a trace");
    log::debug!("a debug line");
    log::info!(field = "value", number = 7, "an info line");
    log::warn!("a warning\nwith a line break and \u{1b}[31mcolour");
    log::error!("an error");
    Ok(outputs![])
}

/// Counts events, and says how many there were: an output more for each.
fn count() -> Result<Outputs, Failure> {
    let sum = state::increment("counted", 1)?;
    Ok(outputs![Output::new("counted", sum.to_string())])
}

/// Says how often this instance has been called, after it was busy for so many milliseconds, and leaves a
/// line without an end.
fn uses(millis: u64) -> Result<Outputs, Failure> {
    static USES: AtomicU32 = AtomicU32::new(0);
    let uses = USES.fetch_add(1, Relaxed) + 1;
    log::info!("use {uses}");
    spin(millis)?;
    Ok(outputs![Output::new("uses", uses.to_string())])
}

/// Says how often this instance has been called, and lets so many KiB lie for ever.
fn hoard(kib: u64) -> Result<Outputs, Failure> {
    let bytes = usize::try_from(kib * 1024).map_err(|_| Failure::reject("too much"))?;
    vec![1_u8; bytes].leak();
    uses(0)
}

/// Is busy for so many milliseconds.
fn spin(millis: u64) -> Result<Outputs, Failure> {
    let end = clock::monotonic_ns() + millis * 1_000_000;
    while clock::monotonic_ns() < end {}
    Ok(outputs![])
}
