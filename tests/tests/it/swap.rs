//! A reload loses nothing (guarantee 7): plugins and config are replaced while webhooks come in.

use std::{
    collections::{BTreeSet, HashMap},
    io::Write as _,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime},
};

use hookweir_event::Digest;
use hookweir_store::{DeliveryState, Shown};
use hookweir_tests::{
    guests,
    house::House,
    load::{ECHO, Load, PAYMENT},
};
use tokio::task::JoinHandle;

/// Swaps of one run: the long one is `HOOKWEIR_SWAPS=10000`, with a gateway that was built for release.
fn swaps() -> u64 {
    std::env::var("HOOKWEIR_SWAPS").ok().and_then(|text| text.parse().ok()).unwrap_or(300)
}

/// A house with `payments` and a guest.
fn house_with(guest: &str) -> House {
    let house = House::new(
        env!("CARGO_BIN_EXE_hookweir-under-test"),
        &format!("[plugins.{guest}]\nrate = \"off\"\n[plugins.payments]\nrate = \"off\""),
    );
    house.put_guest(guest);
    house.put_guest("payments");
    house
}

fn house() -> House {
    house_with("hostile")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn swaps_under_load_lose_nothing_and_memory_stays_flat() {
    // Each swap compiles: the small one takes a third of the time.
    let house = house_with("echo");
    let gateway = house.start().await;
    let load = Load::with_pauses(&house, &[ECHO, PAYMENT], Duration::from_millis(5));
    let module = guests::wasm("echo");
    let (all, mut resident) = (swaps(), Vec::new());
    let (mut good, mut bad) = (BTreeSet::new(), 0);
    let bad_each = if all >= 1000 { 100 } else { 10 };
    for number in 1..=all {
        // Now and then one that fails its trial, which is decided about when nobody can be writing to it any more.
        if number % bad_each == 0 {
            let log = house.log().len();
            house.put("echo", &guests::with_section(guests::wrong_types(), number));
            let said = house.until_log(log, &["last good version keeps serving"]).await;
            assert!(said.contains("does not have the types"), "{said}");
            bad += 1;
        }
        let log = house.log().len();
        let next = guests::with_section(module.clone(), number);
        good.insert(Digest::of(&next));
        house.put("echo", &next);
        house.until_log(log, &["plugin is live", "echo"]).await;
        resident.push(gateway.resident_parts());
    }
    let accepted = load.end().await;
    let events = house.settled().await;
    assert!(accepted.len() as u64 >= all, "there was load: {}", accepted.len());
    let mut versions = BTreeSet::new();
    let (mut by_id, mut outputs) = (HashMap::new(), HashMap::<_, usize>::new());
    for shown in &events {
        by_id.insert(shown.event.id, shown);
        *outputs.entry(shown.event.parent).or_default() += 1;
    }
    for sent in &accepted {
        let shown = by_id[&sent.id];
        let delivery = &shown.deliveries[0];
        assert_eq!(
            (delivery.state, delivery.attempts.len()),
            (DeliveryState::Done, 1),
            "{shown:#?}"
        );
        versions.extend(delivery.attempts[0].attempt.version);
        assert_eq!(outputs.get(&Some(sent.id)).copied().unwrap_or(0), sent.kind.outputs);
    }
    assert!(versions.len() as u64 > all / 2, "{} versions ran", versions.len());
    good.extend([Digest::of(&module), Digest::of(&guests::wasm("payments"))]);
    let failed: Vec<_> = versions.difference(&good).collect();
    assert!(failed.is_empty(), "versions that failed their trial ran: {failed:?}");
    // What grows once and stays, such as what the store knows by heart of its first 20,000 events, grows in
    // the first fifth of a long run: 50 MiB. Then only claims, to 7 MiB with the 131,072nd (`claims::Pace`). A
    // short run, which ends before, is given 40 for it.
    let early = resident[resident.len() / 5];
    let late = resident[resident.len() - 1];
    let slack = if all >= 1000 { 0 } else { 40 << 20 };
    eprintln!(
        "{all} swaps and {bad} versions turned away beside {} events; resident after a fifth {early}, at the end {late}",
        accepted.len(),
    );
    let twenty = resident.chunks(resident.len().div_ceil(20)).map(|part| part[part.len() - 1]);
    let twenty: Vec<_> = twenty.map(|resident| resident.to_string()).collect();
    let (early, late) = (early.whole(), late.whole());
    assert!(late <= early + early / 20 + slack, "it grew: {twenty:#?}");
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_file_leaves_the_last_good_version_serving() {
    let house = house();
    let gateway = house.start().await;
    let sender = house.sender("test");
    let module = guests::wasm("hostile");
    let truncated = module[..module.len() / 2].to_vec();
    // An empty module: valid, and no plugin.
    let empty = b"\0asm\x01\0\0\0".to_vec();
    for (number, (bad, word)) in [
        (truncated, "not valid WebAssembly"),
        (b"(module)".to_vec(), "WebAssembly text"),
        (empty, "#[plugin]"),
    ]
    .into_iter()
    .enumerate()
    {
        let log = house.log().len();
        house.put("hostile", &bad);
        house.until_log(log, &["last good version keeps serving", word]).await;
        sender.send("echo", &number.to_string(), b"x").await.unwrap();
    }
    assert!(house.settled().await.iter().all(|shown| {
        shown.deliveries.iter().all(|delivery| delivery.state == DeliveryState::Done)
    }));
    assert!(gateway.stop().await.success());
    // The bad file is still there at the next start.
    let gateway = house.start().await;
    sender.send("echo", "after", b"x").await.unwrap();
    house.until("the last good version", |counts| counts.done == 4).await;
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_plugins_deliveries_wait_until_it_comes_back() {
    let house = house();
    let gateway = house.start().await;
    let sender = house.sender("test");
    let later = sender.send("retry-after", "1", b"3000").await.unwrap().id().unwrap();
    let failed = |shown: &Shown| shown.deliveries[0].attempts.len() == 1;
    house.until_event(later, "the first attempt", failed).await;
    let log = house.log().len();
    std::fs::remove_file(house.plugins().join("hostile.wasm")).unwrap();
    house.until_log(log, &["plugin was removed"]).await;
    // Nobody subscribes any more: kept, unrouted.
    let orphan = sender.send("echo", "2", b"x").await.unwrap().id().unwrap();
    assert!(house.reader().show(orphan).await.unwrap().unwrap().deliveries.is_empty());
    house.put_guest("hostile");
    house
        .until_event(later, "the second attempt", |shown| shown.deliveries[0].attempts.len() > 1)
        .await;
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_written_slowly_is_taken_whole() {
    let house = house();
    let gateway = house.start().await;
    let log = house.log().len();
    let module = guests::with_section(guests::wasm("hostile"), 7);
    let mut file = std::fs::File::create(house.plugins().join("hostile.wasm")).unwrap();
    for piece in module.chunks(module.len() / 10 + 1) {
        file.write_all(piece).unwrap();
        // A writer at its own pace; nothing is waited for here.
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    drop(file);
    let said = house.until_log(log, &["plugin is live", "hostile"]).await;
    assert!(!said.contains("failed to load"), "{said}");
    assert!(gateway.stop().await.success());
}

/// Someone who writes to a file all the time.
struct Writer {
    writing: JoinHandle<()>,
    /// When it began to write last, and the longest time that it did not.
    rests: Arc<Mutex<(Instant, Duration)>>,
}

impl Writer {
    async fn start(path: PathBuf) -> Self {
        let touch = move || {
            let file = std::fs::File::options().append(true).open(&path).unwrap();
            file.set_modified(SystemTime::now()).unwrap();
        };
        touch();
        let rests = Arc::new(Mutex::new((Instant::now(), Duration::ZERO)));
        let noted = rests.clone();
        let writing = tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(20)).await;
                let begun = Instant::now();
                touch();
                let mut rests = noted.lock().unwrap();
                *rests = (begun, rests.1.max(rests.0.elapsed()));
            }
        });
        Self { writing, rests }
    }

    /// The longest time that it did not write.
    async fn stop(self) -> Duration {
        let (last, longest) = *self.rests.lock().unwrap();
        let longest = longest.max(last.elapsed());
        self.writing.abort();
        assert!(self.writing.await.unwrap_err().is_cancelled(), "it wrote to the end");
        longest
    }
}

/// A plugin whose trial takes all the CPU time that it is granted.
fn endless() -> Vec<u8> {
    let text = r#"(component
        (core module $m (func $start (loop br 0)) (start $start) (func (export "handle")))
        (core instance $i (instantiate $m))
        (func $handle (canon lift (core func $i "handle")))
        (instance $handler (export "handle" (func $handle)))
        (export "hookweir:plugin/handler@1.0.0" (instance $handler)))"#;
    wat::parse_str(text).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_plugin_does_not_use_up_the_time_that_the_next_ones_file_is_waited_for() {
    // Longer than a start waits for a file.
    let house = house();
    house.write_config("[plugins.a-slow-one]\ncpu = \"2500ms\"\n");
    house.put("a-slow-one", &endless());
    tokio::time::sleep(Duration::from_millis(300)).await;
    let writer = Writer::start(house.plugins().join("hostile.wasm")).await;
    let started = Instant::now();
    let mut gateway = house.spawn();
    house.until_log(0, &["a-slow-one", "used more than 2.5s of CPU time"]).await;
    let log = house.log();
    let rest = writer.stop().await;
    // Where the machine stood still for longer than a writer may, it was taken for done.
    let live = log.contains("plugin is live plugin=hostile");
    assert!(!live || rest >= Duration::from_millis(200), "it was written to after {rest:?}: {log}");
    assert!(started.elapsed() > Duration::from_millis(2500));
    house.ready(&mut gateway).await;
    let sent = house.sender("test").send("echo", "1", b"x").await.unwrap().id().unwrap();
    let shown = house.reader().show(sent).await.unwrap().unwrap();
    assert_eq!(shown.deliveries.len(), 1, "{shown:#?}\n{}", house.log());
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_is_live_before_the_next_ones_trial_is_over() {
    let house = house();
    house.write_config("[plugins.z-slow]\ncpu = \"90s\"\ntimeout = \"180s\"\n");
    let _gateway = house.start().await;
    let log = house.log().len();
    // Both are there when the folder is looked at.
    let slow = house.plugins().join("z-slow.wasm");
    std::fs::write(slow.with_extension("part"), endless()).unwrap();
    let put = Instant::now();
    house.put("hostile", &guests::with_section(guests::wasm("hostile"), 7));
    std::fs::rename(slow.with_extension("part"), slow).unwrap();
    house.until_log(log, &["plugin is live", "hostile"]).await;
    assert!(put.elapsed() < Duration::from_secs(90), "the trial took that long");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_written_to_during_a_start_leaves_the_version_before_it_serving() {
    let house = house();
    let gateway = house.start().await;
    assert!(gateway.stop().await.success());
    let log = house.log().len();
    let module = guests::wasm("hostile");
    house.put("hostile", &module[..module.len() / 2]);
    let writer = Writer::start(house.plugins().join("hostile.wasm")).await;
    let gateway = house.start().await;
    let sent = house.sender("test").send("echo", "1", b"x").await.unwrap().id().unwrap();
    let said = house.log()[log..].contains("not valid");
    let rest = writer.stop().await;
    assert!(!said || rest >= Duration::from_secs(2), "it was decided about, {rest:?} old");
    let shown = house.reader().show(sent).await.unwrap().unwrap();
    assert_eq!(shown.deliveries.len(), 1, "{shown:#?}\n{}", house.log());
    house.until_log(log, &["last good version keeps serving", "not valid WebAssembly"]).await;
    house.until("the event", |counts| counts.done == 1).await;
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_config_reloads_whole_or_not_at_all() {
    let house = house();
    let gateway = house.start().await;
    let source = "[sources.late]\npath = \"/webhooks/late\"\nscheme = \"github\"\n\
                  secrets = [{ env = \"TEST_SECRET\" }]\n";
    let scheme = hookweir_verify::Scheme::preset("github").unwrap();
    let late = hookweir_tests::sender::Sender::new(
        house.public,
        "/webhooks/late",
        scheme,
        hookweir_tests::house::SECRET,
    );
    assert_eq!(late.send("push", "1", b"{}").await.unwrap().status, 404);

    let log = house.log().len();
    house.write_config(&format!("{source}[plugins.hostile]\nconcurency = 5\n"));
    let said = house.until_log(log, &["unknown key \"concurency\""]).await;
    assert!(said.contains("did you mean \"concurrency\"?"), "{said}");
    assert_eq!(late.send("push", "2", b"{}").await.unwrap().status, 404);

    let log = house.log().len();
    house.write_config(&format!("{source}[store]\nurl = \"sqlite:elsewhere/x.db\"\n"));
    house.until_log(log, &["store.url needs a restart"]).await;
    assert_eq!(late.send("push", "3", b"{}").await.unwrap().status, 404);

    let log = house.log().len();
    house.write_config(source);
    house.until_log(log, &["config reloaded"]).await;
    assert_eq!(late.send("push", "4", b"{}").await.unwrap().status, 202);
    assert!(gateway.stop().await.success());
}
