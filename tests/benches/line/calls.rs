//! What a call of a plugin costs: the same work natively, in an instance that is kept, and in a fresh one
//! for each call, by turns; on one thread and on two.
//!
//! In this process, since what is measured is the host alone: an event of 1 KiB as Stripe sends it, through
//! `payments`, which reads what it needs of it and makes one output; and through a guest that reads it as a
//! tree and writes that into a log line, which is more work of the guest's own.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use hookweir_event::{Clock, Event, EventId, Hops, Timestamp};
use hookweir_host::{Grant, Host, Limits, NoNetwork, NoState, Settings, Version};
use hookweir_sdk::{Failure, Outputs, testing};
use hookweir_tests::{guests, load};

use crate::{
    Flags,
    figures::{Rounds, Section},
};

/// The plugin's own source, built for this machine.
#[path = "../../../plugins/payments/src/lib.rs"]
#[allow(dead_code, unused_imports, reason = "the handler alone is used")]
mod payments;
/// The other one's.
#[path = "../../guests/hostile/src/tree.rs"]
mod tree;

const COLUMNS: &[&str] = &["us/call, one thread", "calls/s, one thread", "calls/s, two threads"];
/// One measurement.
const SLICE: Duration = Duration::from_millis(500);
/// What a fresh instance may cost, in native calls.
const TARGET: f64 = 1.0 / 3.0;

/// What a plugin does.
#[derive(Clone, Copy)]
struct Work {
    plugin: &'static str,
    event_type: &'static str,
    about: &'static str,
    native: fn(hookweir_sdk::Event) -> Result<Outputs, Failure>,
}

const WORKS: [Work; 3] = [
    Work {
        plugin: "payments",
        event_type: "payment_intent.succeeded",
        about: "`payments` on an event of 1 KiB: read, decided, one output made",
        native: payments::handle,
    },
    Work {
        plugin: "hostile",
        event_type: "tree",
        about: "an event of 1 KiB read as a tree and written into a log line",
        native: tree::written,
    },
    Work {
        plugin: "hostile",
        event_type: "nothing",
        about: "the same event, with which the guest does nothing: what an instance costs by itself",
        native: |_| Ok(Outputs::default()),
    },
];

/// Who makes the calls.
#[derive(Clone)]
enum Subject {
    Native(Work),
    Plugin(Host, Version),
}

impl Subject {
    async fn call(&self, event: &Event) {
        match self {
            Self::Native(work) => {
                // As the host does: the event is copied to the handler, the outputs come back.
                let host = testing::Host::new();
                let body = event.body.clone();
                let lent = hookweir_sdk::Event::builder("stripe", work.event_type);
                let lent = lent.body(body).build();
                assert!(host.run(work.native, lent).is_ok());
            }
            Self::Plugin(host, version) => {
                let ran = host.call(version, event, 1).await.unwrap();
                assert!(ran.result.is_ok(), "{:?}", ran.result);
            }
        }
    }

    /// Calls a second, of so many threads together.
    fn rate(&self, threads: usize, event: &Event) -> f64 {
        let started = Instant::now();
        std::thread::scope(|scope| {
            let run = || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                runtime.unwrap().block_on(async {
                    let mut calls = 0_u32;
                    while started.elapsed() < SLICE {
                        for _ in 0..20 {
                            self.call(event).await;
                        }
                        calls += 20;
                    }
                    calls
                })
            };
            let threads: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
            let calls: u32 = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
            f64::from(calls) / started.elapsed().as_secs_f64()
        })
    }
}

#[derive(Default)]
struct Figures {
    each: Rounds,
    one: Rounds,
    two: Rounds,
}

pub(crate) async fn measure(flags: &Flags) -> Vec<Section> {
    let mut sections = Vec::new();
    for work in WORKS {
        sections.push(section(flags, work).await);
    }
    sections
}

async fn section(flags: &Flags, work: Work) -> Section {
    let subjects = [
        ("native", Subject::Native(work)),
        ("reused instance", prepared(work, 1_000_000).await),
        ("fresh instance", prepared(work, 1).await),
    ];
    let event = event(work.event_type);
    let mut figures = subjects.each_ref().map(|_| Figures::default());
    for round in 0..=flags.rounds {
        for ((_, subject), figures) in subjects.iter().zip(&mut figures) {
            let (subject, event) = (subject.clone(), event.clone());
            let rates = move || (subject.rate(1, &event), subject.rate(2, &event));
            let (one, two) = tokio::task::spawn_blocking(rates).await.unwrap();
            // The first round warms up.
            if round > 0 {
                figures.each.push(1e6 / one);
                figures.one.push(one);
                figures.two.push(two);
            }
        }
    }
    let mut section = Section::new("one call", work.about.to_owned(), COLUMNS);
    let [native, reused, fresh] = figures;
    // Nothing is infinitely faster than something.
    let target = (work.event_type != "nothing").then_some(TARGET);
    section.ratio("fresh / native, calls/s", fresh.one.over(&native.one), target);
    section.ratio("reused / native, calls/s", reused.one.over(&native.one), None);
    section.ratio("fresh on two threads / on one", fresh.two.over(&fresh.one), None);
    section.ratio("reused on two threads / on one", reused.two.over(&reused.one), None);
    section.ratio("native on two threads / on one", native.two.over(&native.one), None);
    for ((name, _), figures) in subjects.iter().zip([native, reused, fresh]) {
        section.row(name, vec![figures.each, figures.one, figures.two]);
    }
    section
}

/// The plugin, in a host of its own kind.
async fn prepared(work: Work, reuse: u32) -> Subject {
    let host =
        Host::new(Settings::default(), Clock::system(), Arc::new(NoState), Arc::new(NoNetwork));
    let host = host.unwrap();
    let grant = Grant { limits: Limits { reuse, ..Limits::default() }, ..Grant::default() };
    let name = work.plugin.parse().unwrap();
    let version = host.prepare(name, guests::wasm(work.plugin), grant).await.unwrap();
    Subject::Plugin(host, version)
}

fn event(event_type: &str) -> Event {
    let header = |name: &str, value: &str| (name.to_owned(), value.as_bytes().to_vec());
    Event {
        id: EventId::new(Timestamp::from_secs(1_700_000_000), [7; 10]),
        origin: "stripe".parse().unwrap(),
        event_type: event_type.parse().unwrap(),
        received_at: Timestamp::from_secs(1_700_000_000),
        method: "POST".into(),
        path: "/webhooks/stripe".into(),
        query: None,
        headers: vec![
            header("content-type", "application/json; charset=utf-8"),
            header("user-agent", "Stripe/1.0 (+https://stripe.com/docs/webhooks)"),
            header("stripe-signature", "[redacted]"),
            header("accept", "*/*; q=0.5, application/xml"),
        ],
        body: load::payment("evt_1", &format!(r#"{{"note":"{}"}}"#, "x".repeat(700))).into_bytes(),
        attributes: vec![],
        hops: Hops::default(),
    }
}
