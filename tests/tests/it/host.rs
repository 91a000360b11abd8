//! The plugin host against built guests: what a plugin does to itself, and that it does it to nobody
//! else. Guarantee 6.

use std::{
    pin::pin,
    sync::{Arc, OnceLock},
    time::Duration,
};

use hookweir_event::{
    Clock, Digest, Event, EventId, Failure, Hops, LogLevel, Origin, Outcome, Timestamp,
};
use hookweir_host::{
    Grant, Host, Inspection, Kind, Limits, LoadFault, ModuleLimits, NoNetwork, NoState, NotRun,
    Ran, Settings, Version, inspect,
};
use hookweir_tests::guests;

/// One engine for the whole process, as in the gateway.
fn host() -> &'static Host {
    static HOST: OnceLock<Host> = OnceLock::new();
    HOST.get_or_init(|| {
        Host::new(Settings::default(), Clock::system(), Arc::new(NoState), Arc::new(NoNetwork))
            .unwrap()
    })
}

fn look(bytes: &[u8]) -> Result<Inspection, LoadFault> {
    inspect(bytes, &ModuleLimits::default())
}

async fn version(guest: &str, grant: Grant) -> Version {
    host().prepare(guest.parse().unwrap(), guests::wasm(guest), grant).await.unwrap()
}

async fn hostile() -> Version {
    version("hostile", Grant::default()).await
}

fn limits(limits: Limits) -> Grant {
    Grant { limits, ..Grant::default() }
}

fn event(event_type: &str, body: &str) -> Event {
    Event {
        id: EventId::new(Timestamp::from_secs(1_700_000_000), [7; 10]),
        origin: "test".parse().unwrap(),
        event_type: event_type.parse().unwrap(),
        received_at: Timestamp::from_millis(1_700_000_000_123),
        method: "POST".into(),
        path: "/webhooks/test".into(),
        query: Some("a=b".into()),
        headers: vec![("content-type".into(), b"application/json".to_vec())],
        body: body.into(),
        attributes: vec![("traceparent".into(), "00-1".into())],
        hops: Hops::default(),
    }
}

async fn call(version: &Version, event_type: &str, body: &str) -> Ran {
    host().call(version, &event(event_type, body), 1).await.unwrap()
}

async fn failure(version: &Version, event_type: &str, body: &str) -> Failure {
    let ran = call(version, event_type, body).await;
    ran.result.expect_err("the guest should have failed")
}

/// Runs on threads of its own, as guests do in the gateway.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_reaches_the_guest_whole() {
    let hostile = hostile().await;
    let event = event("echo", "{\"a\":1}");
    let ran = host().call(&hostile, &event, 3).await.unwrap();
    let outputs = ran.result.unwrap();
    assert_eq!(outputs.len(), 1);
    assert_eq!(outputs[0].event_type.as_str(), "echoed");
    assert_eq!(outputs[0].body, event.body);
    assert_eq!(outputs[0].headers, [("x-source".to_owned(), b"test".to_vec())]);
    let attribute = |name: &str| {
        let found = outputs[0].attributes.iter().find(|(found, _)| found == name);
        found.map(|(_, value)| value.as_str())
    };
    assert_eq!(attribute("attempt"), Some("3"));
    assert_eq!(attribute("event"), Some(event.id.to_string().as_str()));
    assert_eq!(attribute("received-at-ms"), Some("1700000000123"));
    assert!(ran.memory_peak >= 1 << 20, "{}", ran.memory_peak);
    assert!(ran.cpu > Duration::ZERO && ran.wall >= ran.cpu / 2, "{:?} {:?}", ran.cpu, ran.wall);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_and_their_waits_are_told_apart() {
    let hostile = hostile().await;
    let retry = failure(&hostile, "retry-after", "60000").await;
    assert_eq!(retry.outcome, Outcome::Retry);
    assert_eq!(retry.retry_after, Some(Duration::from_secs(60)));
    assert_eq!(retry.message, "as asked");
    assert_eq!(failure(&hostile, "retry", "").await.retry_after, None);
    assert_eq!(failure(&hostile, "reject", "").await.outcome, Outcome::Reject);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn config_and_logs_pass_the_border() {
    let config = serde_json::json!({ "currency": "eur", "steps": [1, 2] });
    let config = config.as_object().unwrap().clone();
    let grant = Grant { config: config.clone(), ..Grant::default() };
    let hostile = version("hostile", grant).await;
    let outputs = call(&hostile, "config", "").await.result.unwrap();
    let seen: serde_json::Value = serde_json::from_slice(&outputs[0].body).unwrap();
    assert_eq!(seen, serde_json::Value::Object(config));

    let logs = call(&hostile, "log", "").await.logs;
    let levels: Vec<_> = logs.iter().map(|line| line.level).collect();
    use LogLevel::{Debug, Error, Info, Trace, Warn};
    assert_eq!(levels, [Trace, Debug, Info, Warn, Error]);
    assert!(logs[2].text.contains("field=value") && logs[2].text.contains("number=7"), "{logs:?}");
    assert_eq!(logs[3].text, r"a warning\nwith a line break and \u{1b}[31mcolour");
}

#[tokio::test(flavor = "current_thread")]
async fn a_loop_ends_at_its_cpu_limit_while_neighbours_go_on() {
    let hostile = hostile().await;
    let mut ticks = 0;
    let mut calling = pin!(call(&hostile, "loop", ""));
    let ran = loop {
        tokio::select! {
            ran = &mut calling => break ran,
            () = tokio::time::sleep(Duration::from_millis(5)) => ticks += 1,
        }
    };
    let failure = ran.result.unwrap_err();
    assert_eq!(failure.outcome, Outcome::CpuLimit, "{failure:?}");
    assert!(ran.cpu >= Duration::from_millis(500), "{:?}", ran.cpu);
    assert!(ran.cpu < Duration::from_millis(600), "{:?}", ran.cpu);
    // In half a second at least, where each has its turn in some ten milliseconds.
    assert!(ticks >= 17, "a neighbour on the same thread ran {ticks} times");

    let failure = self::failure(&hostile, "host-calls", "").await;
    assert_eq!(failure.outcome, Outcome::CpuLimit, "time in host calls counts: {failure:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_wall_clock_ends_what_the_cpu_limit_lets_pass() {
    let wall = Duration::from_millis(100);
    let grant = limits(Limits { wall, cpu: Duration::from_secs(60), ..Limits::default() });
    let hostile = version("hostile", grant).await;
    let ran = call(&hostile, "loop", "").await;
    let failure = ran.result.unwrap_err();
    assert_eq!(failure.outcome, Outcome::Timeout);
    assert_eq!(failure.message, "it took longer than 100ms");
    assert!(ran.wall >= wall && ran.wall < wall * 5, "{:?}", ran.wall);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_ends_at_its_limit() {
    let hostile = hostile().await;
    let ran = call(&hostile, "allocate", "").await;
    let failure = ran.result.unwrap_err();
    assert_eq!(failure.outcome, Outcome::MemoryLimit, "{failure:?}");
    assert!(failure.message.contains("its limit is 67108864"), "{failure:?}");
    assert!(ran.memory_peak <= 64 << 20 && ran.memory_peak > 32 << 20, "{}", ran.memory_peak);
    assert!(call(&hostile, "echo", "").await.result.is_ok(), "the next instance starts afresh");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn traps_say_what_happened() {
    let hostile = hostile().await;
    let recursion = failure(&hostile, "recurse", "").await;
    assert_eq!(recursion.outcome, Outcome::Trap);
    assert!(recursion.message.contains("calls nest too deep"), "{recursion:?}");
    let panic = failure(&hostile, "panic", "").await;
    assert_eq!(panic.outcome, Outcome::Trap);
    assert!(panic.message.starts_with("panicked at "), "{panic:?}");
    assert!(panic.message.ends_with("on purpose"), "{panic:?}");
    assert_eq!(failure(&hostile, "trap", "").await.message, "it aborted without a word");
    let random = failure(&hostile, "random-huge", "").await;
    assert_eq!(random.outcome, Outcome::Trap);
    assert!(random.message.contains("its limit is 65536"), "{random:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_out_is_bounded() {
    let hostile = hostile().await;
    for event_type in ["garbage-type", "empty-type", "many-outputs", "huge-output"] {
        let failure = failure(&hostile, event_type, "").await;
        assert_eq!(failure.outcome, Outcome::Invalid, "{event_type}: {failure:?}");
    }
    let just_over = failure(&hostile, "huge-output", "5000000").await;
    assert!(just_over.message.contains("more than the 4194304 allowed"), "{just_over:?}");
    let huge = failure(&hostile, "huge-failure", "").await;
    assert_eq!(huge.outcome, Outcome::Retry);
    assert!(huge.message.len() < 2000, "{}", huge.message.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_guest_hands_over_holds_and_draws_has_limits_that_can_be_set() {
    let random = Limits { random_bytes: 100, ..Limits::default() };
    let said = failure(&version("hostile", limits(random)).await, "random-huge", "").await;
    assert!(said.message.contains("its limit is 100"), "{said:?}");

    // A line is cut where it is kept, and what is handed over for it before that.
    let large = Limits { host_call_bytes: Some(64 << 10), ..Limits::default() };
    let said = failure(&version("hostile", limits(large)).await, "log-huge", "").await;
    assert_eq!(said.outcome, Outcome::Invalid);
    assert_eq!(said.message, "it handed over more at once than the 65536 bytes allowed");

    // It begins 60 requests, each with a body and a stream.
    let hoard = r#"{"hoard":true}"#;
    let many = version("foreign", Grant::default()).await;
    let ran = call(&many, "foreign", hoard).await;
    assert!(ran.result.is_ok(), "{:?}", ran.result);
    let few = Limits { handles: 100, ..Limits::default() };
    let said = failure(&version("foreign", limits(few)).await, "foreign", hoard).await;
    assert_eq!(said.outcome, Outcome::Trap, "{said:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_flood_is_cut_and_counted() {
    let hostile = hostile().await;
    let ran = call(&hostile, "log-flood", "10000").await;
    assert!(ran.result.is_ok(), "{:?}", ran.result);
    let bytes: usize = ran.logs.iter().map(|line| line.text.len()).sum();
    assert!(ran.logs.len() <= 1001 && bytes <= 65 << 10, "{} lines, {bytes}", ran.logs.len());
    let last = ran.logs.last().unwrap();
    assert!(last.text.contains("9000 more log lines were dropped"), "{last:?}");
    let ran = call(&hostile, "log-huge", "").await;
    assert!(ran.result.is_ok(), "{:?}", ran.result);
    assert!(ran.logs[0].text.len() < 5000);
    let short = Limits { log_line_bytes: 100, ..Limits::default() };
    let ran = call(&version("hostile", limits(short)).await, "log-huge", "").await;
    assert!(ran.logs[0].text.len() < 200, "{}", ran.logs[0].text.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_call_leaves_nothing_behind() {
    let grant = limits(Limits { cpu: Duration::from_secs(60), ..Limits::default() });
    let hostile = version("hostile", grant).await;
    for _ in 0..20 {
        let event = event("loop", "");
        let call = host().call(&hostile, &event, 1);
        let cut = tokio::time::timeout(Duration::from_millis(5), call).await;
        assert!(cut.is_err(), "the call should still have been running");
    }
    assert!(call(&hostile, "echo", "").await.result.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_spinning_guests_do_not_stop_the_clock() {
    let grant = limits(Limits { cpu: Duration::from_millis(20), ..Limits::default() });
    let hostile = version("hostile", grant).await;
    let event = event("loop", "");
    let calls = (0..64).map(|_| {
        let (version, event) = (hostile.clone(), event.clone());
        tokio::spawn(async move { host().call(&version, &event, 1).await.unwrap() })
    });
    for call in calls.collect::<Vec<_>>() {
        let failure = call.await.unwrap().result.unwrap_err();
        assert_eq!(failure.outcome, Outcome::CpuLimit, "{failure:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_pool_runs_nothing_and_recovers() {
    let settings = Settings { instances: 2, ..Settings::default() };
    let small =
        Host::new(settings, Clock::system(), Arc::new(NoState), Arc::new(NoNetwork)).unwrap();
    let name = || "hostile".parse().unwrap();
    let bytes = guests::wasm("hostile");
    let grant = limits(Limits { cpu: Duration::from_secs(60), ..Limits::default() });
    let version = small.prepare(name(), bytes.clone(), grant).await.unwrap();
    let event = event("loop", "");
    {
        let mut busy = [(); 2].map(|()| Box::pin(small.call(&version, &event, 1)));
        for call in &mut busy {
            assert!(tokio::time::timeout(Duration::from_millis(5), call).await.is_err());
        }
        assert_eq!(small.gauges().instances_in_use, 2);
        let refused = small.call(&version, &event, 1).await;
        assert_eq!(refused.unwrap_err(), NotRun::PoolExhausted);
        let tried = small.prepare(name(), bytes.clone(), Grant::default()).await;
        assert!(tried.is_ok(), "a reload has instances of its own: {tried:?}");
    }
    assert_eq!(small.gauges().instances_in_use, 0);
    let echo = self::event("echo", "");
    assert!(small.call(&version, &echo, 1).await.unwrap().result.is_ok());
    small.stop();
    assert_eq!(small.call(&version, &echo, 1).await.unwrap_err(), NotRun::ShuttingDown);
    let tried = small.prepare(name(), bytes, Grant::default()).await;
    assert_eq!(tried.unwrap_err(), LoadFault::NotRun(NotRun::ShuttingDown));
}

/// What the guest says of how often its instance was called.
async fn uses(version: &Version, body: &str) -> String {
    counted(version, "uses", body).await
}

/// The same of another type of event.
async fn counted(version: &Version, event_type: &str, body: &str) -> String {
    let ran = call(version, event_type, body).await;
    let said = String::from_utf8(ran.result.unwrap().remove(0).body).unwrap();
    // The lines of one call are not those of another.
    assert_eq!(ran.logs.len(), 1, "{:?}", ran.logs);
    assert_eq!(ran.logs[0].text, format!("use {said}"));
    said
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_call_has_a_fresh_instance_unless_one_may_serve_more() {
    let fresh = hostile().await;
    for _ in 0..3 {
        assert_eq!(uses(&fresh, "").await, "1");
    }
    let grant = limits(Limits { reuse: 3, ..Limits::default() });
    let reused = version("hostile", grant).await;
    let mut said = Vec::new();
    for _ in 0..7 {
        said.push(uses(&reused, "").await);
    }
    assert_eq!(said, ["1", "2", "3", "1", "2", "3", "1"]);
    // What fails by itself is no reason for a fresh one, and a trap is.
    assert_eq!(failure(&reused, "reject", "").await.outcome, Outcome::Reject);
    assert_eq!(uses(&reused, "").await, "2");
    assert_eq!(failure(&reused, "panic", "").await.outcome, Outcome::Trap);
    assert_eq!(uses(&reused, "").await, "1");
    // An answer that broke a limit is one too.
    assert_eq!(failure(&reused, "many-outputs", "").await.outcome, Outcome::Invalid);
    assert_eq!(uses(&reused, "").await, "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kept_instance_has_each_calls_limits_anew() {
    let cpu = Duration::from_millis(500);
    let grant = limits(Limits { reuse: 100, cpu, log_lines: 1, ..Limits::default() });
    let reused = version("hostile", grant).await;
    for number in 1..=6 {
        assert_eq!(uses(&reused, "200").await, number.to_string(), "1200 ms in all");
    }
    assert_eq!(failure(&reused, "loop", "").await.outcome, Outcome::CpuLimit);
    assert_eq!(uses(&reused, "").await, "1");
    // Calls at the same time are in instances of their own.
    let calls = (0..3).map(|_| {
        let reused = reused.clone();
        tokio::spawn(async move { uses(&reused, "200").await })
    });
    let mut said = Vec::new();
    for call in calls.collect::<Vec<_>>() {
        said.push(call.await.unwrap());
    }
    said.sort();
    assert_eq!(said, ["1", "1", "2"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_lets_garbage_lie_is_dropped_before_its_memory_is_full() {
    let grant = limits(Limits { reuse: 1000, memory: 16 << 20, ..Limits::default() });
    let reused = version("hostile", grant).await;
    let mut said = Vec::new();
    for _ in 0..40 {
        said.push(counted(&reused, "hoard", "1024").await.parse::<u32>().unwrap());
    }
    let begun = said.iter().filter(|&&uses| uses == 1).count();
    assert!((2..=5).contains(&begun), "{said:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_is_kept_than_there_is_room_for() {
    let grant = limits(Limits { reuse: 100, ..Limits::default() });
    // The guest has between one and two MiB.
    for (warm_memory, warm_instances, second) in
        [(1 << 20, 16, "1"), (2 << 20, 16, "2"), (2 << 20, 0, "1"), (2 << 20, 1, "2")]
    {
        let settings = Settings { warm_memory, warm_instances, ..Settings::default() };
        let host =
            Host::new(settings, Clock::system(), Arc::new(NoState), Arc::new(NoNetwork)).unwrap();
        let bytes = guests::wasm("hostile");
        let version = host.prepare("hostile".parse().unwrap(), bytes, grant.clone()).await.unwrap();
        for said in ["1", second] {
            let ran = host.call(&version, &event("uses", ""), 1).await.unwrap();
            assert!((1 << 20..2 << 20).contains(&ran.memory_peak), "{}", ran.memory_peak);
            assert_eq!(ran.result.unwrap()[0].body, said.as_bytes());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_stays_flat_over_many_calls() {
    let hostile = hostile().await;
    let event = event("echo", &"x".repeat(1024));
    let run = async |calls: u32| {
        for _ in 0..calls {
            let ran = host().call(&hostile, &event, 1).await.unwrap();
            assert!(ran.result.is_ok());
        }
    };
    run(500).await;
    // Other tests run beside this one in the same process: some of the rounds are without what they take.
    let mut grown = Vec::new();
    for _ in 0..5 {
        let before = resident();
        run(3000).await;
        grown.push(resident().saturating_sub(before));
    }
    assert!(*grown.iter().min().unwrap() < 8 << 20, "{grown:?} bytes more after 3000 calls each");
}

/// This process's resident memory in bytes.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_core_module_and_its_component_are_the_same_to_us() {
    let core = guests::wasm("hostile");
    let component = wit_component::ComponentEncoder::default()
        .validate(true)
        .module(&core)
        .and_then(|mut encoder| encoder.encode())
        .unwrap();
    assert_eq!(look(&core).unwrap().kind, Kind::Core);
    assert_eq!(look(&component).unwrap().kind, Kind::Component);
    let mut results = Vec::new();
    for bytes in [core, component] {
        let digest = Digest::of(&bytes);
        let name = "hostile".parse().unwrap();
        let version = host().prepare(name, bytes, Grant::default()).await.unwrap();
        assert_eq!(version.digest(), digest, "a version is the digest of the file");
        let wants: Vec<_> = version.wants().subscribe.iter().map(ToString::to_string).collect();
        results.push((wants, call(&version, "echo", "{}").await.result.unwrap()));
    }
    assert_eq!(results[0].0, ["test/*", "plugin.hostile/hops"]);
    assert_eq!(results[0], results[1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wasi_is_there_and_powerless() {
    let powerless = version("powerless", Grant::default()).await;
    let outputs = call(&powerless, "powerless", "").await.result.unwrap();
    let seen: serde_json::Value = serde_json::from_slice(&outputs[0].body).unwrap();
    assert_eq!(seen["environment"], serde_json::json!([]));
    assert_eq!(seen["arguments"], serde_json::json!([]));
    assert_eq!(seen["cwd"], serde_json::Value::Null);
    assert!(seen["unix_seconds"].as_u64().unwrap() > 1_700_000_000);
    assert_eq!(seen["random_bytes"], 16);
    let inspection = look(&guests::wasm("powerless")).unwrap();
    assert!(inspection.imports.iter().any(|name| name.starts_with("wasi:cli/environment")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_example_plugins_load_and_say_what_they_want() {
    for (guest, source) in [
        ("alerts", "gateway"),
        ("github", "github"),
        ("inventory", "shopify"),
        ("orders", "shopify"),
        ("payments", "stripe"),
        ("relay", "erp"),
        ("user-signup", "clerk"),
    ] {
        let version = version(guest, Grant::default()).await;
        let subscribe = &version.wants().subscribe;
        let source: Origin = source.parse().unwrap();
        let own = subscribe.iter().any(|pattern| pattern.origin() == Some(&source));
        assert!(own, "{guest}: {subscribe:?}");
        assert!(version.wants().sdk.is_some(), "{guest}");
    }
}
