//! What authors try on their modules before any gateway has them: `plugin run` and `plugin test`.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

use hookweir_tests::{guests, world::World};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::cli::{Said, hookweir};

/// A folder with these modules, each built from this workspace.
fn folder(guests: &[&str]) -> TempDir {
    let folder = TempDir::new().unwrap();
    for name in guests {
        let module = folder.path().join(name).with_extension("wasm");
        fs::write(module, guests::wasm(name)).unwrap();
    }
    folder
}

fn write(folder: &Path, name: &str, content: &dyn ToString) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content.to_string()).unwrap();
}

fn run(folder: &Path, guest: &str, event: &Value, more: &[&str]) -> Said {
    write(folder, "event.json", event);
    let module = format!("{guest}.wasm");
    let args = ["plugin", "run", module.as_str(), "--event", "event.json"];
    hookweir(folder, &[&args[..], more].concat())
}

fn event(event_type: &str, body: impl Into<Value>) -> Value {
    json!({ "source": "test", "type": event_type, "body": body.into() })
}

#[test]
fn an_event_is_run_and_all_that_it_does_is_shown() {
    let folder = folder(&["hostile", "payments"]);
    let folder = folder.path();
    let mut count = event("count", "");
    count["state"] = json!({ "counted": "4" });
    let said = run(folder, "hostile", &count, &[]);
    said.succeeds(&[
        "test/count, attempt 1: done",
        "output   counted, 1 bytes: 5",
        "state    counted = 5",
        "ms of CPU",
        "KiB of memory",
    ]);
    assert_eq!(said.err, "");
    run(folder, "hostile", &event("log", ""), &[])
        .succeeds(&["log      info  an info line field=value number=7", "log      error an error"]);
    run(folder, "hostile", &event("echo", ""), &["--attempt", "3"]).succeeds(&["attempt 3: done"]);

    let retry = run(folder, "hostile", &event("retry-after", "1500"), &[]);
    assert_eq!(retry.code, 1);
    assert!(retry.out.contains("retry: as asked (after 1.5s)"), "{}", retry.out);
    let spin = run(folder, "hostile", &event("spin", "20000"), &[]);
    assert_eq!(spin.code, 1);
    assert!(spin.out.contains("cpu-limit: it used more than 500ms"), "{}", spin.out);

    // A provider's own body.
    let body = guests::root().join("plugins/payments/samples/payment_intent.succeeded.json");
    let body = body.to_str().unwrap();
    let paid = ["plugin", "run", "payments.wasm", "--body", body, "--as"];
    let paid = |kind: &str| hookweir(folder, &[&paid[..], &[kind]].concat());
    paid("stripe/payment_intent.succeeded").succeeds(&["output   order.paid", "order-4711"]);
    // What nobody would give it is run all the same, and said.
    let other = paid("shop/payment_intent.succeeded");
    other.succeeds(&["order.paid"]);
    assert!(
        other.err.contains("does not subscribe to shop/payment_intent.succeeded"),
        "{}",
        other.err
    );
}

#[test]
fn programs_are_told_the_same() {
    let folder = folder(&["hostile"]);
    let mut count = event("count-and-fail", "");
    count["attempt"] = json!(2);
    let said = run(folder.path(), "hostile", &count, &["--json"]);
    assert_eq!(said.code, 1);
    let told: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(told["plugin"], "hostile");
    assert_eq!(told["event"], json!({ "source": "test", "type": "count-and-fail", "attempt": 2 }));
    assert_eq!((&told["outcome"], &told["message"]), (&json!("retry"), &json!("as asked")));
    // What a failed attempt wrote was never there.
    assert_eq!((&told["outputs"], &told["state"]), (&json!([]), &json!([])));
    assert!(told["cpuMicros"].as_u64().unwrap() > 0);
    assert!(told["memoryBytes"].as_u64().unwrap() > 65_535);

    let steps = "set a 1 60000\nset b 2\ndelete c";
    let mut state = event("state", steps);
    state["state"] = json!({ "c": "3" });
    let told = run(folder.path(), "hostile", &state, &["--json"]);
    let told: Value = serde_json::from_str(&told.out).unwrap();
    let changes = json!([
        { "key": "a", "value": "1", "ttlMs": 60000 },
        { "key": "b", "value": "2" },
        { "key": "c", "deleted": true },
    ]);
    assert_eq!(told["state"], changes);
    assert_eq!(told["outputs"][0]["body"], "set\nset\ntrue");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_answered_by_the_event_file_and_go_out_only_if_that_is_allowed() {
    let folder = folder(&["reach"]);
    let folder = folder.path();
    let world = World::start("127.0.0.1").await;
    let url = format!("http://{}/there", world.address);
    let mut send = event(
        "send",
        json!([
            { "method": "POST", "url": "https://api.test/v1", "body": "x" },
            { "method": "POST", "url": url, "body": "hello", "secrets": [["authorization", "Bearer {KEY}"]] },
        ]),
    );
    send["http"] = json!({ "POST https://api.test/v1": { "status": 201, "headers": { "location": "/v1/1" } } });
    let canned = "request  POST https://api.test/v1, 1 bytes -> 201, canned";

    // Without a config it has what it wants, and nothing goes out.
    let mut closed = send.clone();
    closed["body"][1]["url"] = json!("http://127.0.0.1/there");
    closed["body"][1]["secrets"] = json!([]);
    let said = run(folder, "reach", &closed, &[]);
    said.succeeds(&[canned, "-> denied: there is no answer for", "\"location\":\"/v1/1\""]);
    assert!(
        said.err.contains("--allow") && said.err.contains("http://127.0.0.1/there"),
        "{}",
        said.err
    );
    assert_eq!(world.came().len(), 0);
    // Nor does it if that is allowed, for this machine is not public.
    let said = run(folder, "reach", &closed, &["--allow"]);
    said.succeeds(&[canned, "-> denied: 127.0.0.1 has no public address"]);
    assert_eq!(world.came().len(), 0);

    let grant = r#"[plugins.reach]
api = "off"
http = ["https://*", "http://*", "http://HOST"]
http_addresses = ["127.0.0.1"]
secrets = { KEY = { env = "TEST_SECRET", hosts = ["http://HOST"] } }
"#;
    let grant = grant.replace("HOST", &world.address.to_string());
    write(folder, "gateway.toml", &grant);
    let config = ["--config", "gateway.toml", "--allow"];
    let said = run(folder, "reach", &send, &config);
    said.succeeds(&[canned, &format!("POST {url}, 5 bytes -> 200"), "\"body\":\"hello\""]);
    let came = world.came();
    assert_eq!((came.len(), &came[0].body[..]), (1, &b"hello"[..]));
    let secret = format!("Bearer {}", hookweir_tests::house::SECRET);
    assert_eq!(came[0].header("authorization"), Some(secret.as_str()));
    // Whoever reads what was sent does not read the secret.
    let told = run(folder, "reach", &send, &[&config[..], &["--json"]].concat());
    assert!(!told.out.contains(hookweir_tests::house::SECRET), "{}", told.out);
    let told: Value = serde_json::from_str(&told.out).unwrap();
    let requests = told["requests"].as_array().unwrap();
    assert_eq!((&requests[0]["canned"], &requests[1]["canned"]), (&json!(true), &json!(false)));
    assert_eq!(requests[1]["status"], 200);
    let redacted = json!(["authorization", "[redacted]"]);
    assert!(requests[1]["headers"].as_array().unwrap().contains(&redacted), "{requests:#?}");
}

#[test]
fn compiled_code_is_kept_for_the_next_command_where_nobody_else_can_write() {
    let folder = folder(&["hostile"]);
    let caches = folder.path().join("caches");
    write(folder.path(), "event.json", &event("echo", "x"));
    let run = |caches: &Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hookweir-under-test"));
        command.args(["plugin", "run", "hostile.wasm", "--event", "event.json"]);
        Said::by(command.current_dir(folder.path()).env("XDG_CACHE_HOME", caches)).succeeds(&[]);
    };
    run(&caches);
    let compiled = caches.join("hookweir/compiled");
    assert_eq!(fs::metadata(&compiled).unwrap().permissions().mode() & 0o777, 0o700);
    assert!(fs::read_dir(&compiled).unwrap().next().is_some(), "nothing was kept");
    // Where nothing can be kept, it is compiled all the same.
    run(Path::new("/proc/nowhere"));
}

#[test]
fn a_config_that_grants_less_counts_and_is_said() {
    let folder = folder(&["reach", "hostile"]);
    let folder = folder.path();
    write(
        folder,
        "gateway.toml",
        &"[plugins.hostile]\ncpu = \"50ms\"\nconfig = { currency = \"eur\" }\n",
    );
    let config = ["--config", "gateway.toml"];
    run(folder, "hostile", &event("config", ""), &config).succeeds(&["{\"currency\":\"eur\"}"]);
    let spin = run(folder, "hostile", &event("spin", "20000"), &config);
    assert!(spin.out.contains("cpu-limit: it used more than 50ms"), "{}", spin.out);

    let send = event("send", json!([{ "url": "https://api.test/" }]));
    let said = run(folder, "reach", &send, &config);
    said.succeeds(&["requests are not granted"]);
    for word in ["would not go live", "[plugins.reach]", "http = [\"http://*\", \"https://*\"]"] {
        assert!(said.err.contains(word), "no {word:?} in {}", said.err);
    }
}

#[test]
fn what_can_not_be_run_is_refused_in_words() {
    let folder = folder(&["hostile"]);
    let folder = folder.path();
    write(folder, "body.json", &"{}");
    let run = |args: &[&str]| hookweir(folder, &[&["plugin", "run"], args].concat());
    run(&["hostile.wasm"]).fails(2, &["--event"]);
    run(&["hostile.wasm", "--body", "body.json"]).fails(2, &["--as"]);
    let body = ["hostile.wasm", "--body", "body.json", "--as"];
    run(&[&body[..], &["push"]].concat()).fails(1, &["`push` is not SOURCE/TYPE"]);
    run(&[&body[..], &["A b/push"]].concat()).fails(1, &["the event has no source"]);
    run(&["no.wasm", "--body", "body.json", "--as", "a/b"]).fails(1, &["no.wasm", "plugin build"]);
    run(&["hostile.wasm", "--event", "no.json"]).fails(1, &["failed to run it: no.json"]);
    run(&["hostile.wasm", "--event", "body.json"]).fails(1, &["body.json is no sample"]);
    run(&["body.json", "--event", "body.json"]).fails(1, &["is no sample"]);
    write(folder, "event.json", &event("echo", ""));
    run(&["body.json", "--event", "event.json"]).fails(1, &["not WebAssembly"]);
    write(folder, "gateway.toml", &"[plugin]\n");
    run(&["hostile.wasm", "--event", "event.json", "--config", "gateway.toml"])
        .fails(64, &["unknown key \"plugin\""]);
}

#[test]
fn samples_are_replayed_and_one_that_comes_to_something_else_fails() {
    let folder = folder(&["hostile", "reach"]);
    let folder = folder.path();
    let sample = |name: &str, mut sample: Value, expect: &str| {
        sample["expect"] = json!(expect);
        write(folder, &format!("hostile.samples/{name}"), &sample);
    };
    sample("1-count.json", event("count", ""), "done");
    // Each has a state of its own.
    sample("2-count.json", event("count", ""), "done");
    sample("3-retry.json", event("retry", ""), "retry");
    sample("4-reject.json", event("reject", ""), "reject");
    let test = |args: &[&str]| hookweir(folder, &[&["plugin", "test"], args].concat());
    let said = test(&["hostile.wasm"]);
    said.succeeds(&["ok    hostile 1-count.json: done", "4-reject.json: reject: as asked"]);
    said.succeeds(&["4 passed, 0 failed, 0 skipped"]);

    sample("5-log.json", event("log", ""), "retry");
    write(folder, "hostile.samples/6-bad.json", &"{");
    // No bare bodies here: the gateway would take this for a sample.
    write(folder, "hostile.samples/7-bare.json", &"{}");
    let said = test(&["."]);
    assert_eq!(said.code, 1, "{}", said.err);
    for line in [
        "FAIL  hostile 5-log.json: expected retry, and it ended as done",
        "      info  an info line",
        "FAIL  hostile 6-bad.json: is no sample",
        "FAIL  hostile 7-bare.json: is no sample",
        "4 passed, 3 failed, 0 skipped",
    ] {
        assert!(said.out.contains(line), "no {line:?} in\n{}", said.out);
    }
    let told = test(&["--json"]);
    assert_eq!(told.code, 1);
    let told: Value = serde_json::from_str(&told.out).unwrap();
    assert_eq!((&told["passed"], &told["failed"]), (&json!(4), &json!(3)));
    assert_eq!(told["items"][4]["verdict"], "failed");
    assert_eq!(told["items"][0]["sample"], "1-count.json");

    test(&["reach.wasm"]).fails(1, &["reach.wasm has no samples", "reach.samples"]);
    fs::remove_dir_all(folder.join("hostile.samples")).unwrap();
    test(&["."]).fails(1, &["is no package"]);
    fs::create_dir(folder.join("hostile.samples")).unwrap();
    test(&["."]).fails(1, &["there is no sample event"]);
}

#[test]
fn check_says_what_a_module_is_what_it_wants_and_what_keeps_it_out() {
    let folder = folder(&["reach", "desk"]);
    let folder = folder.path();
    let check = |args: &[&str]| hookweir(folder, &[&["plugin", "check"], args].concat());
    let said = check(&["reach.wasm"]);
    said.fails(1, &["needs approval", "[plugins.reach]", "api = "]);
    for words in ["core module", "version    ", "http       http://* https://*", "exports    "] {
        assert!(said.out.contains(words), "no {words:?} in\n{}", said.out);
    }
    let told: Value = serde_json::from_str(&check(&["reach.wasm", "--json"]).out).unwrap();
    assert_eq!((&told["wouldGoLive"], &told["component"]), (&json!(false), &json!(false)));
    assert_eq!(told["wants"]["http"], json!(["http://*", "https://*"]));
    assert_eq!(told["version"].as_str().unwrap().len(), 64);

    // What it lacks of grants does not hide that it would not start either.
    write(folder, "gateway.toml", &"[plugins.desk]\nconfig = { refuse = \"not today\" }\n");
    let refused = check(&["desk.wasm"]);
    refused.fails(1, &["needs approval", "its init refused: not today"]);
    // With the lines that it shows, it would.
    let add = told["add"]
        .as_str()
        .unwrap()
        .replace("{ token = { env = \"REACH_API_TOKEN\" } }", "\"off\"");
    write(folder, "gateway.toml", &add);
    check(&["reach.wasm"]).succeeds(&["would go live with test/*"]);
    let told: Value = serde_json::from_str(&check(&["reach.wasm", "--json"]).out).unwrap();
    assert_eq!((&told["wouldGoLive"], &told["subscriptions"]), (&json!(true), &json!(["test/*"])));
    let told = check(&["no.wasm", "--json"]);
    assert_eq!(told.code, 1);
    assert!(told.out.contains("failed to read it"), "{}", told.out);
}
