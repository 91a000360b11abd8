//! Panics, reported. On `wasm32-unknown-unknown` standard error goes nowhere and a panic is a bare
//! trap; the hook tells the operator what was said, and where.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::{host, log::Level};

/// Sends every later panic's message and place to the host's log. Once an instance.
pub(crate) fn report_to_host() {
    // A plugin has one thread.
    static SET: AtomicBool = AtomicBool::new(false);
    if SET.swap(true, Ordering::Relaxed) {
        return;
    }
    std::panic::set_hook(Box::new(|info| {
        let said = info.payload_as_str().unwrap_or("no message");
        match info.location() {
            Some(at) => host::log(Level::Error, &format!("panicked at {at}: {said}"), Vec::new()),
            None => host::log(Level::Error, &format!("panicked: {said}"), Vec::new()),
        }
    }));
}
