//! What a call and a load cost: `cargo run --example calls -p hookweir-host -- FILE.wasm`, with the
//! payments plugin. Figures are µs a call in a fresh instance with an event of 1 KiB, on one thread
//! and on two, then the cost of the clock that ticks while nothing runs.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a program for a person")]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use hookweir_event::{Clock, Event, EventId, Hops, Timestamp};
use hookweir_host::{Grant, Host, NoNetwork, NoState, Settings, Version};

const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_millis(500);

fn main() {
    let path = std::env::args().nth(1).expect("name a .wasm file");
    let bytes = std::fs::read(path).unwrap();
    let cache = std::env::temp_dir().join(format!("hookweir-calls-{}", std::process::id()));
    let load = |what: &str| {
        let settings = Settings { cache: Some(cache.clone()), ..Settings::default() };
        let started = Instant::now();
        let host =
            Host::new(settings, Clock::system(), Arc::new(NoState), Arc::new(NoNetwork)).unwrap();
        let engine = started.elapsed();
        let prepare = host.prepare("payments".parse().unwrap(), bytes.clone(), Grant::default());
        let version = runtime(1).block_on(prepare).unwrap();
        let all = started.elapsed();
        println!("{what}: engine {engine:.1?}, plugin {:.1?}", all - engine);
        (host, version)
    };
    load("first load, compiled ");
    // The cache writes behind our back.
    std::thread::sleep(Duration::from_millis(200));
    let (host, version) = load("second load, from cache");
    let event = event();
    assert!(runtime(1).block_on(host.call(&version, &event, 1)).unwrap().result.is_ok());
    for threads in [1, 2] {
        let figures = (0..ROUNDS).map(|_| round(threads, &host, &version, &event));
        let (wall, cpu): (Vec<_>, Vec<_>) = figures.unzip();
        println!("{threads} thread(s): µs a call, wall {}, CPU {}", spread(wall), spread(cpu));
    }
    let before = process_cpu();
    std::thread::sleep(Duration::from_secs(2));
    println!("idle: {:.2} % of a core", (process_cpu() - before) / 2.0 * 100.0);
    std::fs::remove_dir_all(cache).unwrap();
}

fn runtime(threads: usize) -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(threads).enable_all().build().unwrap()
}

/// The median, and the ends.
fn spread(mut figures: Vec<f64>) -> String {
    figures.sort_by(f64::total_cmp);
    let (low, mid, high) = (figures[0], figures[ROUNDS / 2], figures[ROUNDS - 1]);
    format!("{mid:.1} [{low:.1}-{high:.1}]")
}

/// µs a call: of wall time with all threads together, and of CPU time.
fn round(threads: usize, host: &Host, version: &Version, event: &Event) -> (f64, f64) {
    let runtime = runtime(threads);
    let (started, cpu) = (Instant::now(), process_cpu());
    let tasks = (0..threads).map(|_| {
        let (host, version, event) = (host.clone(), version.clone(), event.clone());
        runtime.spawn(async move {
            let mut calls = 0_u32;
            while started.elapsed() < ROUND {
                let ran = host.call(&version, &event, 1).await.unwrap();
                assert!(ran.result.is_ok(), "{:?}", ran.result);
                calls += 1;
            }
            calls
        })
    });
    let tasks: Vec<_> = tasks.collect();
    let calls: u32 = tasks.into_iter().map(|task| runtime.block_on(task).unwrap()).sum();
    let each = |seconds: f64| seconds * 1e6 / f64::from(calls);
    (each(started.elapsed().as_secs_f64()), each(process_cpu() - cpu))
}

fn process_cpu() -> f64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap()).as_secs_f64()
}

/// A payment as Stripe tells of it, padded to 1 KiB.
fn event() -> Event {
    let start = r#"{"id":"evt_1","type":"payment_intent.succeeded","data":{"object":{"id":"pi_1","object":"payment_intent","amount":4200,"amount_received":4200,"currency":"eur","customer":"cus_1","status":"succeeded","metadata":{"order_id":"A-1"},"description":""#;
    let end = r#""}}}"#;
    let padding = "x".repeat(1024 - start.len() - end.len());
    let header = |name: &str, value: &str| (name.to_owned(), value.as_bytes().to_vec());
    Event {
        id: EventId::new(Timestamp::from_secs(1_700_000_000), [7; 10]),
        origin: "stripe".parse().unwrap(),
        event_type: "payment_intent.succeeded".parse().unwrap(),
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
        body: format!("{start}{padding}{end}").into_bytes(),
        attributes: vec![],
        hops: Hops::default(),
    }
}
