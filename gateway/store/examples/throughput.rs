//! How fast the store is: `cargo run --release --example throughput -- append|life SECONDS|COUNT [FOLDER]`.
//!
//! 64 senders append events of 1 KiB with two claims, as GitHub's have, and one delivery. With `life`, eight workers lease
//! them, 32 at a time, and settle each with one attempt and one unrouted output; senders pause while
//! more than 20,000 wait. A number below 1000 is seconds, above it lifecycles.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "an example")]

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use hookweir_event::{
    Attempt, Clock, Digest, Event, EventId, Fate, Hops, Outcome, PluginName, Timestamp,
};
use hookweir_store::{NewEvent, Options, Output, Route, Settlement, Store, Want};
use tokio::task::JoinSet;

const SENDERS: u64 = 64;
const WORKERS: usize = 8;
const BACKLOG: u64 = 20_000;

#[derive(Default)]
struct Progress {
    stop: AtomicBool,
    appended: AtomicU64,
    settled: AtomicU64,
}

fn main() {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let life = match args.first().map(String::as_str) {
        Some("append") => false,
        Some("life") => true,
        _ => panic!("append or life?"),
    };
    let amount: u64 = args.get(1).map_or(5, |text| text.parse().unwrap());
    let folder =
        args.get(2).map_or_else(|| std::env::temp_dir().join("hookweir-throughput"), PathBuf::from);
    let _ = std::fs::remove_dir_all(&folder);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build();
    runtime.unwrap().block_on(measure(life, amount, folder.join("hookweir.db")));
    std::fs::remove_dir_all(&folder).unwrap();
}

async fn measure(life: bool, amount: u64, path: PathBuf) {
    let store = Store::open(Options::new(&path, [1; 16], Clock::system())).await.unwrap();
    let progress = Arc::new(Progress::default());
    let (started, cpu) = (Instant::now(), cpu_seconds(None));
    let mut senders = JoinSet::new();
    for sender in 0..SENDERS {
        senders.spawn(send(store.clone(), Arc::clone(&progress), sender, life));
    }
    let mut workers = JoinSet::new();
    for _ in 0..if life { WORKERS } else { 0 } {
        workers.spawn(work(store.clone(), Arc::clone(&progress)));
    }
    let mut log_longest = 0;
    loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let mut log = path.clone().into_os_string();
        log.push("-wal");
        log_longest = std::fs::metadata(log).map_or(0, |log| log.len()).max(log_longest);
        let counter = if life { &progress.settled } else { &progress.appended };
        let seconds = started.elapsed().as_secs();
        if (amount < 1000 && seconds >= amount)
            || (amount >= 1000 && counter.load(Ordering::Relaxed) >= amount)
        {
            break;
        }
    }
    let elapsed = started.elapsed().as_secs_f64();
    let (all, writer) = (cpu_seconds(None) - cpu, cpu_seconds(Some("store-writer")));
    let checkpointer = cpu_seconds(Some("store-checkpoin"));
    let (appended, settled) =
        (progress.appended.load(Ordering::Relaxed), progress.settled.load(Ordering::Relaxed));
    progress.stop.store(true, Ordering::Relaxed);
    let mut waits: Vec<u32> = senders.join_all().await.into_iter().flatten().collect();
    workers.join_all().await;
    waits.sort_unstable();
    let quantile = |per_mille: usize| waits[(waits.len() - 1) * per_mille / 1000];
    let each = |seconds: f64| seconds * 1e6 / appended as f64;
    println!(
        "{}: {:.0} appends/s, {:.0} settled/s | p50 {} us, p99 {} us, p99.9 {} us, max {} us | \
         CPU us/event: writer {:.1}, checkpointer {:.1}, all {:.1} | log {} MiB",
        if life { "life" } else { "append" },
        appended as f64 / elapsed,
        settled as f64 / elapsed,
        quantile(500),
        quantile(990),
        quantile(999),
        quantile(1000),
        each(writer),
        each(checkpointer),
        each(all),
        log_longest >> 20,
    );
    let closing = Instant::now();
    let reader = store.reader();
    store.close().await.unwrap();
    let size = std::fs::metadata(&path).unwrap().len();
    println!(
        "closed in {:?}, {} MiB, {:?}",
        closing.elapsed(),
        size >> 20,
        reader.counts().unwrap()
    );
}

async fn send(store: Store, progress: Arc<Progress>, sender: u64, life: bool) -> Vec<u32> {
    let mut waits = Vec::new();
    let route: PluginName = "worker".parse().unwrap();
    let mut n = sender;
    while !progress.stop.load(Ordering::Relaxed) {
        n += SENDERS;
        let waiting = progress.appended.load(Ordering::Relaxed)
            - progress
                .settled
                .load(Ordering::Relaxed)
                .min(progress.appended.load(Ordering::Relaxed));
        if life && waiting > BACKLOG {
            tokio::time::sleep(Duration::from_millis(1)).await;
            continue;
        }
        let new = NewEvent {
            event: event(n, 1024),
            claims: vec![Digest::of(&n.to_be_bytes()), Digest::of(&(!n).to_be_bytes())],
            dedupe_window: Duration::from_secs(72 * 3600),
            routes: vec![Route::to(route.clone())],
        };
        let asked = Instant::now();
        let receipt = store.append(new).await.unwrap();
        assert!(!receipt.is_duplicate());
        waits.push(u32::try_from(asked.elapsed().as_micros()).unwrap());
        progress.appended.fetch_add(1, Ordering::Relaxed);
    }
    waits
}

async fn work(store: Store, progress: Arc<Progress>) {
    let plugin: PluginName = "worker".parse().unwrap();
    let mut wakeups = store.wakeups();
    while !progress.stop.load(Ordering::Relaxed) {
        wakeups.mark_unchanged();
        let want = Want { plugin: plugin.clone(), max: 32 };
        let leased = store.lease(vec![want]).await.unwrap();
        if leased.leases.is_empty() {
            let _ = tokio::time::timeout(Duration::from_millis(100), wakeups.changed()).await;
            continue;
        }
        let mut settling = JoinSet::new();
        for lease in leased.leases {
            let (store, progress) = (store.clone(), Arc::clone(&progress));
            settling.spawn(async move {
                let mut output = event(u64::MAX - lease.attempt as u64, 64);
                output.id = EventId::new(Clock::system().now(), chance(&lease.event.id));
                output.origin = "plugin.worker".parse().unwrap();
                let attempt = Attempt {
                    outcome: Outcome::Done,
                    message: None,
                    version: Some(Digest::from_bytes([7; 32])),
                    wall: Duration::from_micros(80),
                    cpu: Duration::from_micros(60),
                    logs: Vec::new(),
                };
                let outputs = vec![Output { event: output, routes: Vec::new() }];
                let settlement = Settlement {
                    key: lease.key,
                    attempt,
                    fate: Fate::Done,
                    outputs,
                    state: vec![],
                };
                let _ = store.settle(settlement).await.unwrap();
                progress.settled.fetch_add(1, Ordering::Relaxed);
            });
        }
        settling.join_all().await;
    }
}

fn chance(of: &EventId) -> [u8; 10] {
    Digest::of(of.as_bytes()).as_bytes()[..10].try_into().unwrap()
}

fn event(n: u64, body: usize) -> Event {
    let now: Timestamp = Clock::system().now();
    let random = Digest::of(&(!n).to_be_bytes());
    Event {
        id: EventId::new(now, random.as_bytes()[..10].try_into().unwrap()),
        origin: "github".parse().unwrap(),
        event_type: "push".parse().unwrap(),
        received_at: now,
        method: "POST".into(),
        path: "/webhooks/github".into(),
        query: None,
        headers: [
            "content-type",
            "user-agent",
            "x-github-event",
            "x-github-delivery",
            "x-hub-signature-256",
        ]
        .map(|name| (name.to_owned(), b"a value of some length".to_vec()))
        .into(),
        body: vec![b'x'; body],
        attributes: Vec::new(),
        hops: Hops::default(),
    }
}

/// CPU time of this process, or of its threads with this name; from /proc, in hundredths.
fn cpu_seconds(thread: Option<&str>) -> f64 {
    let of = |stat: String| -> f64 {
        let after = stat.rsplit(") ").next().unwrap().to_owned();
        let fields: Vec<_> = after.split(' ').collect();
        (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
    };
    let Some(name) = thread else {
        return of(std::fs::read_to_string("/proc/self/stat").unwrap());
    };
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let stats =
        tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("stat")).ok());
    stats.filter(|stat| stat.contains(&format!("({name})"))).map(of).sum()
}
