//! The harm itself. Each kind must end with an outcome of its own and must hurt nobody else.

use std::hint::black_box;

use hookweir_sdk::prelude::*;

use crate::number;

/// Does what the event's type says.
pub(crate) fn done_by(event: &Event) -> Result<Outputs, Failure> {
    match event.event_type() {
        "loop" => endless(),
        "allocate" => allocate(),
        "recurse" => Ok(outputs![Output::new("depth", recurse(0).to_string())]),
        "panic" => panic!("on purpose"),
        "trap" => trap(),
        "garbage-type" => Ok(outputs![Output::new("a b", "")]),
        "empty-type" => Ok(outputs![Output::new("", "")]),
        "many-outputs" => many_outputs(number(event, 100_000)?),
        "huge-output" => huge_output(number(event, 32 << 20)?),
        "huge-failure" => Err(Failure::retry("x".repeat(size(number(event, 8 << 20)?)))),
        "log-flood" => log_flood(number(event, 10_000)?),
        "log-huge" => {
            log::info!("{}", "x".repeat(size(number(event, 8 << 20)?)));
            Ok(outputs![])
        }
        "host-calls" => host_calls(),
        "random-huge" => Ok(outputs![Output::new("random", random::bytes(u32::MAX))]),
        other => Err(Failure::reject(format!("no behaviour `{other}`"))),
    }
}

fn size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Without a host call, so that only the host's own clock can end it.
fn endless() -> ! {
    let mut turns = 0_u64;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
}

/// Each megabyte is touched, so that it costs the host real memory.
fn allocate() -> ! {
    let mut kept = Vec::new();
    loop {
        kept.push(black_box(vec![1_u8; 1 << 20]));
    }
}

/// No tail call: each frame is needed after the inner one returns.
fn recurse(depth: u64) -> u64 {
    // Never true, but the compiler does not know.
    if black_box(depth) == u64::MAX {
        return depth;
    }
    let frame = black_box([depth; 16]);
    recurse(black_box(depth + 1)).wrapping_add(frame[0])
}

fn trap() -> ! {
    #[cfg(target_family = "wasm")]
    core::arch::wasm32::unreachable();
    #[cfg(not(target_family = "wasm"))]
    std::process::abort();
}

fn many_outputs(count: u64) -> Result<Outputs, Failure> {
    Ok((0..count).map(|_| Output::new("one-of-many", "")).collect())
}

fn huge_output(bytes: u64) -> Result<Outputs, Failure> {
    Ok(outputs![Output::new("huge", vec![b'x'; size(bytes)])])
}

fn log_flood(lines: u64) -> Result<Outputs, Failure> {
    for line in 0..lines {
        log::info!(line = line, "flood");
    }
    Ok(outputs![])
}

/// Is in the host more than in itself, without end.
fn host_calls() -> ! {
    loop {
        black_box(random::bytes(65_536));
    }
}
