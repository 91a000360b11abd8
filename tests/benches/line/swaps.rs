//! From a plugin's file being closed to the first attempt of its new version, under a steady trickle of
//! events; and what a plugin costs that is loaded and has nothing to do.

use std::time::Duration;

use hookweir_event::{Clock, Digest};
use hookweir_store::Shown;
use hookweir_tests::guests;

use crate::{
    Flags,
    figures::{Rounds, Section},
    process::Running,
};

/// What a swap may take, in milliseconds.
const SWAP_MAX: f64 = 100.0;
/// Plugins that are loaded for the second figure.
const IDLE: u64 = 100;
/// Events come this often.
const TRICKLE: Duration = Duration::from_millis(2);

pub(crate) async fn measure(flags: &Flags) -> Section {
    let module = guests::wasm("payments");
    let about = format!("a module of {} KiB", module.len() / 1024);
    let mut section = Section::new("swaps and idle plugins", about, &["ms", "KiB"]);
    let (swap, mut target) = (swaps(flags, &module).await, Rounds::default());
    (0..flags.rounds).for_each(|_| target.push(SWAP_MAX));
    section.ratio("100 ms / swap", target.over(&swap), Some(1.0));
    section.row("swap: file closed to first attempt", vec![swap]);
    section.row(
        "one of 100 idle plugins, resident",
        vec![Rounds::default(), idle(flags, &module).await],
    );
    section
}

async fn swaps(flags: &Flags, module: &[u8]) -> Rounds {
    let running = Running::start("[plugins.payments]\nrate = \"off\"", &["payments"]).await;
    let house = &running.house;
    let (stripe, clock) = (house.sender("stripe"), Clock::system());
    let mut taken = Rounds::default();
    let mut number = 0_u64;
    // The first one warms up.
    for round in 0..=flags.rounds {
        let changed = guests::with_section(module.to_vec(), round as u64 + 1);
        let version = Digest::of(&changed);
        std::fs::write(house.plugins().join("payments.wasm"), &changed).unwrap();
        let closed = clock.now();
        let first = loop {
            number += 1;
            let body = hookweir_tests::load::payment(&format!("evt_{number}"), "{}");
            let sent = stripe.send("payment_intent.succeeded", "", body.as_bytes()).await.unwrap();
            let over = |shown: &Shown| !shown.deliveries[0].attempts.is_empty();
            let shown = house.until_event(sent.id().unwrap(), "an attempt", over).await;
            let attempt = &shown.deliveries[0].attempts[0];
            if attempt.attempt.version == Some(version) {
                break attempt.started_at;
            }
            tokio::time::sleep(TRICKLE).await;
        };
        if round > 0 {
            taken.push(first.since(closed).as_secs_f64() * 1000.0);
        }
    }
    taken
}

/// KiB of resident memory for each of the idle plugins.
async fn idle(flags: &Flags, module: &[u8]) -> Rounds {
    let mut figures = Rounds::default();
    for _ in 0..flags.rounds {
        let alone = Running::start("", &["payments"]).await;
        let before = alone.gateway.resident();
        assert!(alone.gateway.stop().await.success());
        for number in 0..IDLE {
            let name = format!("idle-{number}");
            alone.house.put(&name, &guests::with_section(module.to_vec(), number));
        }
        // The first start compiles; the second finds compiled code, as any later one does.
        assert!(alone.house.start().await.stop().await.success());
        let all = alone.house.start().await;
        figures.push((all.resident().saturating_sub(before)) as f64 / 1024.0 / IDLE as f64);
    }
    figures
}
