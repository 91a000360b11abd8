//! What a plugin costs by the language it is written in: each event, in a fresh instance and in one that is
//! kept, and each version, to compile and to load again.
//!
//! In this process, through the kit: the examples, which `cargo ci --only languages` builds, on a webhook of
//! 1 KiB that each of them reads and finds to bring nothing new. So what is measured is the language and the
//! host, not what a plugin does.

use std::{
    fs,
    time::{Duration, Instant},
};

use hookweir_host::{Limits, ModuleLimits};
use hookweir_kit::{Event, Kit, Plugin};
use hookweir_tests::{guests, load};
use serde_json::json;

use crate::{
    Flags,
    figures::{Rounds, Section},
    process::cpu,
};

/// One measurement, at least: CPU time is told in ticks of 10 ms.
const SLICE: Duration = Duration::from_millis(500);
/// More than an interpreter takes on a slow machine.
const COMPILES: Duration = Duration::from_secs(600);

const EVENT: &[&str] = &["us of CPU, fresh", "us of CPU, kept", "KiB, fresh", "KiB, kept"];
const VERSION: &[&str] =
    &["KiB of module", "s to compile", "s of CPU for that", "ms from the cache"];

/// A plugin of a language.
struct Subject {
    language: &'static str,
    plugin: &'static str,
    module: Vec<u8>,
    event: Event,
}

#[derive(Default)]
struct Figures {
    fresh: Rounds,
    kept: Rounds,
    fresh_memory: Rounds,
    kept_memory: Rounds,
    module: Rounds,
    compile: Rounds,
    compile_cpu: Rounds,
    cached: Rounds,
}

pub(crate) async fn measure(flags: &Flags) -> Vec<Section> {
    let rounds = flags.rounds;
    // The kit brings a runtime of its own, and waits for it.
    tokio::task::spawn_blocking(move || sections(rounds)).await.unwrap()
}

fn subjects() -> [Subject; 3] {
    let filler = "x".repeat(700);
    let paid = load::payment("evt_1", &json!({ "note": &filler }).to_string());
    let closed = json!({ "action": "closed", "issue": { "number": 1, "title": "t", "body": &filler },
        "repository": { "full_name": "owner/repository" } });
    let charge = json!({ "id": "ch_1", "created": 1_700_000_000, "amount": 1250, "currency": "eur",
        "amount_refunded": 0, "description": &filler });
    let charged = json!({ "type": "charge.succeeded", "data": { "object": charge } });
    let built = |plugin: &str| {
        let path = guests::root().join("plugins").join(plugin).with_extension("wasm");
        fs::read(&path).unwrap_or_else(|error| {
            panic!("{}: {error}; `cargo ci --only languages` makes it", path.display())
        })
    };
    let subject = |language, plugin, module, event| Subject { language, plugin, module, event };
    [
        subject(
            "Rust",
            "payments",
            guests::wasm("payments"),
            Event::new("stripe", "payment_intent.succeeded").body(paid),
        ),
        subject(
            "JavaScript",
            "js-labels",
            built("js-labels"),
            Event::new("github", "issues").json(&closed),
        ),
        subject(
            "Python",
            "py-takings",
            built("py-takings"),
            Event::new("stripe", "charge.succeeded").json(&charged),
        ),
    ]
}

fn sections(rounds: usize) -> Vec<Section> {
    let subjects = subjects();
    // Loaded once, so that compiled code is there.
    let loaded = subjects.each_ref().map(|one| (one.load(1, true), one.load(1_000_000, true)));
    let mut figures = subjects.each_ref().map(|_| Figures::default());
    for round in 0..=rounds {
        for ((subject, (fresh, kept)), figures) in subjects.iter().zip(&loaded).zip(&mut figures) {
            let (fresh, kept) = (calls(fresh, &subject.event), calls(kept, &subject.event));
            // The first round warms up.
            if round > 0 {
                figures.fresh.push(fresh.0);
                figures.kept.push(kept.0);
                figures.fresh_memory.push(fresh.1);
                figures.kept_memory.push(kept.1);
                subject.versions(figures);
            }
        }
    }
    let [rust, javascript, python] = &figures;
    let about = "a webhook of 1 KiB, read and found to bring nothing new";
    let mut event = Section::new("languages: an event", about.to_owned(), EVENT);
    event.ratio("JavaScript / Rust, CPU in a fresh one", javascript.fresh.over(&rust.fresh), None);
    event.ratio("Python / Rust, CPU in a fresh one", python.fresh.over(&rust.fresh), None);
    event.ratio("JavaScript / Rust, CPU in a kept one", javascript.kept.over(&rust.kept), None);
    event.ratio("Python / Rust, CPU in a kept one", python.kept.over(&rust.kept), None);
    let about = "`payments`, `js-labels`, `py-takings`";
    let mut version = Section::new("languages: a version", about.to_owned(), VERSION);
    for (subject, figures) in subjects.iter().zip(figures) {
        let Figures { fresh, kept, fresh_memory, kept_memory, .. } = figures;
        event.row(subject.language, vec![fresh, kept, fresh_memory, kept_memory]);
        let Figures { module, compile, compile_cpu, cached, .. } = figures;
        version.row(subject.language, vec![module, compile, compile_cpu, cached]);
    }
    vec![event, version]
}

impl Subject {
    fn load(&self, reuse: u32, cache: bool) -> Plugin {
        let module = ModuleLimits { compile_time: COMPILES, ..ModuleLimits::default() };
        let kit = Kit::new().limits(Limits { reuse, module, ..Limits::default() });
        let kit = if cache { kit } else { kit.without_cache() };
        kit.load_bytes(&self.plugin.parse().unwrap(), self.module.clone()).unwrap()
    }

    /// What it takes to have one.
    fn versions(&self, figures: &mut Figures) {
        figures.module.push(self.module.len() as f64 / 1024.0);
        let (cpu_before, started) = (own_cpu(), Instant::now());
        self.load(1, false);
        figures.compile.push(started.elapsed().as_secs_f64());
        figures.compile_cpu.push((own_cpu() - cpu_before).as_secs_f64());
        let started = Instant::now();
        self.load(1, true);
        figures.cached.push(started.elapsed().as_secs_f64() * 1e3);
    }
}

/// CPU time of a call in microseconds, all of it: the host's as well. And the memory of its instance in KiB.
fn calls(plugin: &Plugin, event: &Event) -> (f64, f64) {
    let (cpu_before, started) = (own_cpu(), Instant::now());
    let (mut calls, mut memory) = (0_u32, 0);
    while started.elapsed() < SLICE {
        let ran = plugin.run(event);
        ran.assert_done();
        memory = memory.max(ran.memory_peak());
        calls += 1;
    }
    let each = (own_cpu() - cpu_before).as_secs_f64() / f64::from(calls);
    (each * 1e6, memory as f64 / 1024.0)
}

fn own_cpu() -> Duration {
    cpu(&[std::process::id()])
}
