//! Metrics over the real port: each is read before and after what it counts, nothing that a stranger says
//! becomes a label, and the page of the docs, the dashboard and the rules name what there is.

use std::{collections::BTreeSet, fs};

use hookweir_event::Digest;
use hookweir_tests::{
    bounded,
    guests::{self, root},
    house::House,
    scrape::Scrape,
};
use reqwest::{Method, Response};

const PROGRAM: &str = env!("CARGO_BIN_EXE_hookweir-under-test");

fn house(sections: &str) -> House {
    let house = House::new(PROGRAM, sections);
    house.put_guest("hostile");
    house
}

/// What a sample has grown by.
struct Grown(Scrape, Scrape);

impl Grown {
    fn by(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.1.value(name, labels) - self.0.value(name, labels)
    }

    #[track_caller]
    fn is(&self, name: &str, labels: &[(&str, &str)], by: f64) {
        assert_eq!(self.by(name, labels), by, "{name} {labels:?}: {:#?}", self.1);
    }
}

async fn ask(house: &House, method: Method, url: String) -> Response {
    let client = bounded::client();
    let url = url.replace("ADMIN", &house.admin.to_string());
    let url = url.replace("PUBLIC", &house.public.to_string());
    client.request(method, url).send().await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_request_is_counted_by_its_source_and_what_became_of_it() {
    let house = house("");
    let gateway = house.start().await;
    let before = house.metrics().await;
    let sender = house.sender("test");
    assert_eq!(sender.send("echo", "1", b"12345").await.unwrap().status, 202);
    assert!(sender.send("echo", "1", b"12345").await.unwrap().duplicate());
    let mut forged = sender.signed("echo", "2", b"x");
    forged.body = b"y".to_vec().into();
    assert_eq!(sender.post(forged).await.unwrap().status, 401);
    for path in ["/nowhere", "/api/nobody/x", "/webhooks/Test"] {
        let url = format!("http://PUBLIC{path}");
        assert_eq!(ask(&house, Method::POST, url).await.status(), 404);
    }
    let grown = Grown(before, house.metrics().await);
    let test = [("source", "test")];
    grown.is("hookweir_source_requests_total", &test, 3.0);
    grown.is("hookweir_source_accepted_total", &test, 1.0);
    grown.is("hookweir_source_duplicates_total", &test, 1.0);
    let refused = [("source", "test"), ("reason", "bad-signature")];
    grown.is("hookweir_source_refused_total", &refused, 1.0);
    grown.is("hookweir_source_refused_total", &[], 1.0);
    grown.is("hookweir_source_body_bytes_total", &test, 11.0);
    grown.is("hookweir_source_ack_seconds_count", &test, 2.0);
    assert!(grown.by("hookweir_source_ack_seconds_sum", &test) > 0.0);
    grown.is("hookweir_stray_requests_total", &[], 3.0);
    grown.is("hookweir_source_requests_total", &[("source", "github")], 0.0);
    assert_eq!(grown.1.labelled("source"), ["github", "stripe", "test"].map(str::to_owned).into());
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handshake_is_counted_as_what_it_is() {
    let house = house(
        "[sources.slack]\npath = \"/webhooks/slack\"\nscheme = \"slack\"\n\
         secrets = [{ env = \"TEST_SECRET\" }]\n",
    );
    let gateway = house.start().await;
    let before = house.metrics().await;
    let body = br#"{"type":"url_verification","challenge":"abc"}"#;
    let reply = house.sender("slack").send("url_verification", "1", body).await.unwrap();
    assert_eq!(reply.status, 200);
    let grown = Grown(before, house.metrics().await);
    let slack = [("source", "slack")];
    grown.is("hookweir_source_requests_total", &slack, 1.0);
    grown.is("hookweir_source_handshakes_total", &slack, 1.0);
    grown.is("hookweir_source_accepted_total", &slack, 0.0);
    grown.is("hookweir_source_ack_seconds_count", &slack, 0.0);
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_attempt_is_counted_by_its_version_and_outcome() {
    let house = house(
        "[plugins.hostile]\nmax_attempts = 1\nconcurrency = 7\n\
         [plugins.late]\nsubscribe = [\"test/*\"]\n",
    );
    let gateway = house.start().await;
    let before = house.metrics().await;
    let sender = house.sender("test");
    for (id, event_type) in [("1", "echo"), ("2", "retry"), ("3", "reject"), ("4", "trap")] {
        sender.send(event_type, id, b"x").await.unwrap();
    }
    house.until("the attempts", |counts| counts.done == 1 && counts.dead == 3).await;
    let hostile = [("plugin", "hostile")];
    // What is counted when an attempt is over is so a moment after it is in the store.
    let over = |scrape: &Scrape| {
        scrape.value("hookweir_plugin_dead_letters", &hostile) == 3.0
            && scrape.value("hookweir_plugin_handling_seconds_count", &hostile) == 4.0
            && scrape.value("hookweir_plugin_running", &hostile) == 0.0
    };
    let grown = Grown(before, house.until_metrics("the dead letters", over).await);
    let version = Digest::of(&guests::wasm("hostile")).short();
    for outcome in ["done", "retry", "reject", "trap"] {
        let labels = [("plugin", "hostile"), ("version", &*version), ("outcome", outcome)];
        grown.is("hookweir_plugin_attempts_total", &labels, 1.0);
    }
    grown.is("hookweir_plugin_attempts_total", &[], 4.0);
    grown.is("hookweir_plugin_run_seconds_count", &hostile, 4.0);
    grown.is("hookweir_plugin_queue_wait_seconds_count", &hostile, 4.0);
    grown.is("hookweir_plugin_handling_seconds_count", &hostile, 4.0);
    assert!(grown.by("hookweir_plugin_cpu_seconds_total", &hostile) > 0.0);
    assert!(grown.1.value("hookweir_plugin_memory_peak_bytes", &hostile) >= 65_536.0);
    grown.is("hookweir_store_deliveries", &[("state", "dead")], 3.0);
    grown.is("hookweir_store_deliveries", &[("state", "due")], 4.0);
    grown.is("hookweir_store_events", &[], 5.0);
    let now = grown.1;
    assert_eq!(now.value("hookweir_plugin_running_limit", &hostile), 7.0);
    assert_eq!(now.value("hookweir_plugin_running", &hostile), 0.0);
    assert_eq!(now.value("hookweir_plugin_live", &hostile), 1.0);
    // One that is not there: its deliveries wait, and the oldest gets older.
    let late = [("plugin", "late")];
    assert_eq!(now.value("hookweir_plugin_live", &late), 0.0);
    let due = [("plugin", "late"), ("state", "due")];
    assert_eq!(now.value("hookweir_plugin_deliveries", &due), 4.0);
    let older = |scrape: &Scrape| scrape.value("hookweir_plugin_oldest_due_seconds", &late) > 1.0;
    let later = house.until_metrics("an age", older).await;
    assert_eq!(later.value("hookweir_plugin_oldest_due_seconds", &hostile), 0.0);
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_runs_and_what_a_breaker_holds_back_is_seen() {
    let house = house("[plugins.hostile]\nbreaker_failures = 1\ncpu = \"20s\"\n");
    let gateway = house.start().await;
    let hostile = [("plugin", "hostile")];
    let sender = house.sender("test");
    sender.send("spin", "1", b"3000").await.unwrap();
    let running = |scrape: &Scrape| {
        scrape.value("hookweir_plugin_running", &hostile) == 1.0
            && scrape.value("hookweir_pool_instances", &[]) == 1.0
    };
    let seen = house.until_metrics("an attempt that runs", running).await;
    assert!(seen.value("hookweir_pool_instances_limit", &[]) > 1.0);
    assert_eq!(seen.value("hookweir_plugin_breaker_open", &hostile), 0.0);
    sender.send("trap", "2", b"x").await.unwrap();
    let open = |scrape: &Scrape| scrape.value("hookweir_plugin_breaker_open", &hostile) == 1.0;
    house.until_metrics("an open breaker", open).await;
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_are_told_apart_the_live_one_and_the_one_before() {
    let house = house("");
    let gateway = house.start().await;
    let hostile = [("plugin", "hostile")];
    let reloads = |scrape: &Scrape, result| {
        let labels = [("plugin", "hostile"), ("result", result)];
        scrape.value("hookweir_plugin_reloads_total", &labels)
    };
    assert_eq!(reloads(&house.metrics().await, "published"), 1.0);
    let module = |number| guests::with_section(guests::wasm("hostile"), number);
    let mut versions = vec![Digest::of(&guests::wasm("hostile")).short()];
    for number in 1..4 {
        house.put("hostile", &module(number));
        let version = Digest::of(&module(number)).to_string();
        house.until_plugin("hostile", "the version", |p| p["live"]["version"] == *version).await;
        versions.push(Digest::of(&module(number)).short());
        house.sender("test").send("echo", &number.to_string(), b"x").await.unwrap();
        let done = |scrape: &Scrape| {
            let labels = [("version", &*versions[versions.len() - 1]), ("outcome", "done")];
            scrape.value("hookweir_plugin_attempts_total", &labels) == 1.0
        };
        house.until_metrics("an attempt", done).await;
    }
    let now = house.metrics().await;
    assert_eq!(now.labelled("version").len(), 3, "two of the plugin, and the gateway's own");
    for version in &versions[2..] {
        let labels = [("plugin", "hostile"), ("version", &**version)];
        assert_eq!(now.series("hookweir_plugin_cpu_seconds_total", &labels), 1);
    }
    assert_eq!((reloads(&now, "published"), reloads(&now, "refused")), (4.0, 0.0));
    house.put("hostile", b"no module");
    house.until_metrics("a refusal", |scrape| reloads(scrape, "refused") == 1.0).await;
    let handled =
        |scrape: &Scrape| scrape.value("hookweir_plugin_handling_seconds_count", &hostile) == 3.0;
    house.until_metrics("the settlements", handled).await;
    assert!(now.value("hookweir_pool_versions", &[]) >= 1.0);
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_is_taken_back_is_counted() {
    let house = house("");
    let gateway = house.start().await;
    house.put("hostile", &guests::ill_tempered(&guests::wasm("hostile")));
    house.until_log(0, &["plugin is live", "before"]).await;
    let sender = house.sender("test");
    for id in 0..5 {
        sender.send("temper", &id.to_string(), b"x").await.unwrap();
    }
    let back = |scrape: &Scrape| {
        let labels = [("plugin", "hostile"), ("result", "rolled-back")];
        scrape.value("hookweir_plugin_reloads_total", &labels) == 1.0
    };
    house.until_metrics("a version that is taken back", back).await;
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_api_is_counted_by_its_plugin() {
    let house = House::new(PROGRAM, "[plugins.desk]\napi = \"public\"\nverifier = false\n");
    house.put_guest("desk");
    let gateway = house.start().await;
    let before = house.metrics().await;
    let answer = ask(&house, Method::GET, "http://PUBLIC/api/desk/anything".into()).await;
    let answered = !answer.headers().contains_key("retry-after") && answer.status() != 400;
    let url = "http://PUBLIC/api/desk/anything".to_owned();
    assert_eq!(ask(&house, Method::OPTIONS, url).await.status(), 405);
    let grown = Grown(before, house.metrics().await);
    let desk = [("plugin", "desk")];
    grown.is("hookweir_plugin_api_requests_total", &desk, 2.0);
    grown.is("hookweir_plugin_api_answered_total", &desk, f64::from(u8::from(answered)));
    let refused = [("plugin", "desk"), ("reason", "method_not_allowed")];
    grown.is("hookweir_plugin_api_refused_total", &refused, 1.0);
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_the_process_and_the_connections_are_measured() {
    let house = house("");
    let gateway = house.start().await;
    let before = house.metrics().await;
    let sender = house.sender("test");
    sender.send("echo", "1", b"x").await.unwrap();
    house.until("the echo", |counts| counts.done == 1).await;
    let grown = Grown(before, house.metrics().await);
    for (verb, least) in [("append", 1.0), ("lease", 1.0), ("settle", 1.0)] {
        let by = grown.by("hookweir_store_operations_total", &[("verb", verb)]);
        assert!(by >= least, "{verb}: {by}");
    }
    assert!(grown.by("hookweir_store_commits_total", &[]) >= 2.0);
    assert!(grown.by("hookweir_store_batch_operations_sum", &[]) >= 2.0);
    assert!(grown.by("hookweir_store_sync_seconds_sum", &[]) > 0.0);
    let now = grown.1;
    assert_eq!(now.value("hookweir_store_health", &[("state", "ready")]), 1.0);
    assert_eq!(now.value("hookweir_store_health", &[]), 1.0);
    let files = ["hookweir_store_database_bytes", "hookweir_store_log_bytes"];
    assert!(files.map(|name| now.value(name, &[])).iter().sum::<f64>() >= 4096.0);
    assert!(now.value("hookweir_store_disk_free_bytes", &[]) > 0.0);
    assert!(now.value("hookweir_connections", &[]) >= 1.0, "the sender's is kept open");
    assert_eq!(now.value("hookweir_connections_limit", &[]), 4096.0);
    assert_eq!(now.value("hookweir_build_info", &[("version", env!("CARGO_PKG_VERSION"))]), 1.0);
    #[allow(clippy::cast_precision_loss, reason = "memory is far below 2^53 bytes")]
    let resident = gateway.resident() as f64;
    let told = now.value("process_resident_memory_bytes", &[]);
    assert!((resident / told - 1.0).abs() < 0.5, "{resident} {told}");
    for name in ["process_threads", "process_open_fds", "process_cpu_seconds_total"] {
        assert!(now.value(name, &[]) > 0.0, "{name}");
    }
    assert!(now.value("process_start_time_seconds", &[]) > 1.7e9);
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_with_too_little_left_is_seen() {
    let house = house("[store]\ndisk_free_min = \"1000000GiB\"\n");
    let gateway = house.spawn();
    house.until_log(0, &["listening"]).await;
    let reply = house.sender("test").send("echo", "1", b"x").await.unwrap();
    assert_eq!(reply.status, 503);
    let now = house.metrics().await;
    assert!(now.value("hookweir_store_errors_total", &[("kind", "full")]) >= 1.0);
    assert_eq!(now.value("hookweir_store_health", &[("state", "refusing")]), 1.0);
    let refused = [("source", "test"), ("reason", "store_refuses")];
    assert_eq!(now.value("hookweir_source_refused_total", &refused), 1.0);
    gateway.signal(rustix::process::Signal::TERM);
    assert!(gateway.ended().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_is_for_who_has_the_token() {
    let house = house("");
    let gateway = house.start().await;
    let url = || "http://ADMIN/metrics".to_owned();
    assert_eq!(ask(&house, Method::GET, url()).await.status(), 401);
    let data = house.database().with_file_name("admin-token");
    let token = fs::read_to_string(data).unwrap();
    let client = bounded::client();
    let asking = |method| {
        let url = format!("http://{}/metrics", house.admin);
        client.request(method, url).bearer_auth(&token).send()
    };
    let page = asking(Method::GET).await.unwrap();
    let media_type = page.headers()["content-type"].to_str().unwrap();
    assert_eq!(media_type, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert_eq!(asking(Method::POST).await.unwrap().status(), 405);
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn switched_off_there_is_no_page() {
    let house = House::new(PROGRAM, "admin.metrics = false\n");
    let gateway = house.start().await;
    let token = fs::read_to_string(house.database().with_file_name("admin-token")).unwrap();
    let client = bounded::client();
    let asking = client.get(format!("http://{}/metrics", house.admin)).bearer_auth(token);
    let answer = asking.send().await.unwrap();
    assert_eq!(answer.status(), 404);
    assert!(answer.text().await.unwrap().contains("admin.metrics is false"));
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn labels_are_few_and_none_is_a_strangers() {
    let house = house("");
    let gateway = house.start().await;
    let sender = house.sender("test");
    let samples =
        |scrape: &Scrape| scrape.names().keys().map(|n| scrape.series(n, &[])).sum::<usize>();
    sender.send("nothing", "0", b"x").await.unwrap();
    house.until("the first", |counts| counts.done == 1).await;
    let before = house.metrics().await;
    for number in 1..30 {
        let stranger = format!("stranger-{number}");
        sender.send(&stranger, &stranger, b"x").await.unwrap();
        ask(&house, Method::POST, format!("http://PUBLIC/{stranger}")).await;
        ask(&house, Method::POST, format!("http://PUBLIC/api/{stranger}/x")).await;
    }
    house.until("the others", |counts| counts.dead == 29).await;
    let now = house.metrics().await;
    let labels = [
        "alert", "kind", "le", "outcome", "plugin", "reason", "result", "source", "state", "verb",
        "version",
    ];
    let known: BTreeSet<_> = labels.map(str::to_owned).into();
    assert!(now.labels().is_subset(&known), "{:?}", now.labels());
    assert_eq!(samples(&before), samples(&now));
    for label in labels {
        assert!(!now.labelled(label).iter().any(|value| value.contains("stranger")));
    }
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_paused_is_seen() {
    let house = house("");
    let gateway = house.start().await;
    let paused = |scrape: &Scrape| {
        let of = |name, labels| (scrape.value(name, labels), scrape.series(name, labels));
        [
            of("hookweir_plugin_paused", &[("plugin", "hostile")]),
            of("hookweir_source_paused", &[("source", "test")]),
            of("hookweir_source_paused", &[("source", "stripe")]),
        ]
    };
    assert_eq!(paused(&house.metrics().await), [(0.0, 1); 3]);
    for place in ["plugins/hostile/pause", "sources/test/pause"] {
        house.operate(place, &serde_json::json!({ "why": "maintenance" })).await;
    }
    assert_eq!(paused(&house.metrics().await), [(1.0, 1), (1.0, 1), (0.0, 1)]);
    house.operate("plugins/hostile/resume", &serde_json::json!({})).await;
    assert_eq!(paused(&house.metrics().await), [(0.0, 1), (1.0, 1), (0.0, 1)]);
    assert!(gateway.stop().await.success());
}

fn operating(name: &str) -> String {
    fs::read_to_string(root().join("docs/operating").join(name)).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_docs_list_what_there_is_and_the_dashboard_and_the_rules_ask_for_nothing_else() {
    let house = house("");
    let gateway = house.start().await;
    let scrape = house.metrics().await;
    assert!(gateway.stop().await.success());
    let there = scrape.names();
    let page = operating("metrics.md");
    let row = |line: &str| {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let name = cells.get(1)?.strip_prefix('`')?.strip_suffix('`')?;
        Some((name.to_owned(), (*cells.get(2)?).to_owned()))
    };
    let listed: Vec<_> = page.lines().filter_map(row).collect();
    let listed: std::collections::BTreeMap<_, _> = listed
        .into_iter()
        .filter(|(name, _)| name.starts_with("hookweir_") || name.starts_with("process_"))
        .collect();
    assert_eq!(listed, there);
    for (file, least) in
        [("grafana.json", 10), ("alerts.rules.yml", 10), ("alerts.rules.test.yml", 5)]
    {
        let text = operating(file);
        let asked: BTreeSet<_> = text
            .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .filter(|word| word.starts_with("hookweir_") || word.starts_with("process_"))
            .collect();
        assert!(asked.len() >= least, "{file}: {asked:?}");
        for name in asked {
            let series = ["_bucket", "_sum", "_count"].iter().find_map(|end| {
                let histogram = name.strip_suffix(end)?;
                (there.get(histogram)? == "histogram").then_some(())
            });
            assert!(series.is_some() || there.contains_key(name), "{file}: there is no {name}");
        }
    }
    let dashboard: serde_json::Value = serde_json::from_str(&operating("grafana.json")).unwrap();
    assert!(dashboard["panels"].as_array().unwrap().len() >= 10);
}
