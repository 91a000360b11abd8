//! Plugins of other languages: the examples, as `cargo ci --only languages` leaves them, in a real gateway;
//! new projects, from the command to a module that would go live; and what they say that they want.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
    time::Duration,
};

use hookweir_event::{Digest, EventId, Outcome};
use hookweir_store::{DeliveryState, Shown};
use hookweir_tests::{
    bounded,
    guests::root,
    house::{House, SECRET},
    sender::Sender,
    world::World,
};
use serde_json::{Value, json};
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_hookweir-under-test");
/// How long the compiler may take for an interpreter, beside other tests.
const COMPILES: Duration = Duration::from_secs(300);
/// A config for where `plugin check` compiles beside other tests.
const SLOW: &str = "[plugins.orders]\ncompile_timeout = \"5m\"\n";
/// A day, in seconds.
const DAY: u64 = 86_400;

/// The module of an example in another language.
fn module(name: &str) -> Vec<u8> {
    let path = root().join("plugins").join(name).with_extension("wasm");
    fs::read(&path).unwrap_or_else(|error| {
        panic!("{}: {error}; `cargo ci --only languages` makes it", path.display())
    })
}

/// What a program printed on both of its outputs, if it ended as expected.
#[track_caller]
fn said(program: &str, folder: &Path, args: &[&str], well: bool) -> String {
    let output = bounded::output(Command::new(program).args(args).current_dir(folder));
    let Output { status, stdout, stderr } = output;
    let said = String::from_utf8([stdout, stderr].concat()).unwrap();
    assert_eq!(status.success(), well, "{program} {args:?}\n{said}");
    said
}

/// Puts an example into the folder of a gateway that runs, and waits until it is live.
async fn live(house: &House, name: &str) {
    house.put(name, &module(name));
    let waiting = async {
        while house.admin(&format!("plugins/{name}")).await["live"].is_null() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let lived = tokio::time::timeout(COMPILES, waiting).await;
    assert!(lived.is_ok(), "{name} did not go live\n{}", house.log());
}

async fn settled(house: &House, sender: &Sender, kind: &str, body: Value) -> Shown {
    let body = body.to_string();
    let id = Digest::of(body.as_bytes()).short();
    let reply = sender.send(kind, &id, body.as_bytes()).await.unwrap();
    let id = reply.id().unwrap_or_else(|| panic!("{reply:?}"));
    let tried = |shown: &Shown| shown.deliveries.iter().any(|one| !one.attempts.is_empty());
    house.until_event(id, "an attempt", tried).await
}

/// The outputs of an event, by type.
async fn outputs(house: &House, of: EventId) -> Vec<String> {
    let events = house.events().await;
    let outputs = events.iter().filter(|shown| shown.event.parent == Some(of));
    outputs.map(|shown| format!("{}/{}", shown.event.origin, shown.event.event_type)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_of_javascript_handles_a_signed_event() {
    let github = World::start("127.0.0.1").await;
    let api = format!("http://{}", github.address);
    let house = House::new(
        PROGRAM,
        &format!(
            "[plugins.js-labels]\nhttp = [\"https://api.github.com\", \"{api}\"]\nhttp_addresses = [\"127.0.0.1\"]\n\
             secrets = {{ GITHUB_TOKEN = {{ env = \"TEST_SECRET\", hosts = [\"{api}\"] }} }}\n\
             config = {{ api = \"{api}\" }}\n{}",
            limits("js-labels"),
        ),
    );
    let gateway = house.start().await;
    live(&house, "js-labels").await;
    let sender = house.sender("github");
    let opened = fs::read(root().join("plugins/js-labels/samples/issues.opened.json")).unwrap();
    let opened: Value = serde_json::from_slice(&opened).unwrap();

    let done = settled(&house, &sender, "issues", opened.clone()).await;
    let attempt = &done.deliveries[0].attempts[0].attempt;
    assert_eq!(attempt.outcome, Outcome::Done, "{done:#?}");
    assert!(attempt.logs[0].text.contains("documentation"), "{:?}", attempt.logs);
    assert_eq!(outputs(&house, done.event.id).await, ["plugin.js-labels/issue.labelled"]);
    let came = github.came();
    assert_eq!(came[0].line, "POST /repos/Codertocat/Hello-World/issues/1/labels");
    assert_eq!(came[0].header("authorization"), Some(&*format!("Bearer {SECRET}")));
    assert_eq!(came[0].body, r#"{"labels":["documentation"]}"#);

    let none = settled(&house, &sender, "issues", json!({ "action": "opened" })).await;
    let dead = &none.deliveries[0];
    assert_eq!(dead.state, DeliveryState::Dead);
    assert_eq!(dead.attempts[0].attempt.outcome, Outcome::Reject);
    assert_eq!(dead.attempts[0].attempt.message.as_deref(), Some("no issue in it"));
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_of_python_handles_signed_events_and_keeps_state() {
    let sections = format!("[plugins.py-takings]\n{}", limits("py-takings"));
    let house = House::new(PROGRAM, &sections);
    let gateway = house.start().await;
    live(&house, "py-takings").await;
    let sender = house.sender("stripe");
    let noon = 20_000 * DAY + DAY / 2;
    let charge = |kind: &str, id: &str, created: u64, refunded: u64| {
        let object = json!({ "id": id, "created": created, "amount": 1250, "currency": "eur",
            "amount_refunded": refunded });
        json!({ "id": format!("evt_{kind}_{id}"), "type": kind, "data": { "object": object } })
    };
    let send = async |kind: &str, id: &str, created: u64, refunded: u64| {
        settled(&house, &sender, kind, charge(kind, id, created, refunded)).await
    };

    // Before its charge.
    let early = send("charge.refunded", "ch_2", noon, 250).await;
    let attempt = &early.deliveries[0].attempts[0].attempt;
    assert_eq!(attempt.outcome, Outcome::Retry, "{early:#?}");
    assert_eq!(attempt.message.as_deref(), Some("its charge has not come yet"));
    let waits = early.deliveries[0].due_at.since(early.event.received_at);
    assert!(waits >= Duration::from_secs(60), "it waits as long as it asked for: {waits:?}");

    for id in ["ch_1", "ch_2"] {
        let done = send("charge.succeeded", id, noon, 0).await;
        let attempt = &done.deliveries[0].attempts[0].attempt;
        assert_eq!(attempt.outcome, Outcome::Done, "{done:#?}");
        assert!(outputs(&house, done.event.id).await.is_empty());
    }
    let next = send("charge.succeeded", "ch_3", noon + DAY, 0).await;
    assert_eq!(outputs(&house, next.event.id).await, ["plugin.py-takings/takings.closed"]);
    let log = &next.deliveries[0].attempts[0].attempt.logs;
    assert!(log[0].text.contains("total=25.00"), "{log:?}");

    let none = settled(
        &house,
        &sender,
        "charge.succeeded",
        json!({ "type": "charge.succeeded", "id": "evt_0" }),
    )
    .await;
    assert_eq!(none.deliveries[0].state, DeliveryState::Dead);
    let message = none.deliveries[0].attempts[0].attempt.message.as_deref();
    assert_eq!(message, Some("no charge in it"));
    assert!(gateway.stop().await.success());
}

/// The lines of `docs/languages.md` for this plugin.
fn limits(plugin: &str) -> String {
    let page = fs::read_to_string(root().join("docs/languages.md")).unwrap();
    let block =
        page.split("```toml\n").find(|block| block.starts_with(&format!("[plugins.{plugin}]")));
    let block = block.and_then(|block| block.split("```").next()).unwrap();
    block.lines().skip(1).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_samples_of_the_examples_come_to_what_they_say() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("token"), "made-up").unwrap();
    let config = format!(
        "[plugins.js-labels]\nhttp = [\"https://api.github.com\"]\n\
         secrets = {{ GITHUB_TOKEN = {{ file = \"token\", hosts = [\"https://api.github.com\"] }} }}\n{}\n\
         [plugins.py-takings]\n{}",
        limits("js-labels"),
        limits("py-takings")
    );
    fs::write(folder.path().join("gateway.toml"), config).unwrap();
    for (plugin, count) in [
        ("js-labels", "4 passed, 0 failed, 1 skipped"),
        ("py-takings", "5 passed, 0 failed, 0 skipped"),
    ] {
        // As in the plugin's own folder, but for the build.
        let own = folder.path().join(plugin);
        fs::create_dir_all(own.join("samples")).unwrap();
        let from = root().join("plugins").join(plugin).join("samples");
        for sample in fs::read_dir(&from).unwrap().map(Result::unwrap) {
            fs::copy(sample.path(), own.join("samples").join(sample.file_name())).unwrap();
        }
        let file = own.join(plugin).with_extension("wasm");
        fs::write(&file, module(plugin)).unwrap();
        let test = ["plugin", "test", file.to_str().unwrap(), "--config", "gateway.toml"];
        let tested = said(PROGRAM, folder.path(), &test, true);
        assert!(tested.contains(count), "no {count:?} in\n{tested}");
    }
}

#[test]
fn a_new_project_of_javascript_tests_builds_and_checks_at_the_first_try() {
    let folder = TempDir::new().unwrap();
    let new = ["plugin", "new", "orders", "--lang", "js"];
    let next = said(PROGRAM, folder.path(), &new, true);
    assert!(next.contains("npm test"), "{next}");
    let project = folder.path().join("orders");
    let tests = said("npm", &project, &["test"], true);
    assert!(tests.contains("# pass 2") && tests.contains("# fail 0"), "{tests}");
    said(PROGRAM, &project, &["plugin", "build"], true);
    would_go_live(&project, "componentize-js 0.");
}

#[test]
fn a_new_project_of_python_builds_tests_and_checks_at_the_first_try() {
    let folder = TempDir::new().unwrap();
    let new = ["plugin", "new", "orders", "--lang", "python"];
    let next = said(PROGRAM, folder.path(), &new, true);
    assert!(next.contains("python -m unittest"), "{next}");
    let project = folder.path().join("orders");
    said(PROGRAM, &project, &["plugin", "build"], true);
    let python = project.join(".venv/bin/python");
    let tests = said(python.to_str().unwrap(), &project, &["-m", "unittest"], true);
    assert!(tests.contains("Ran 2 tests") && tests.contains("OK"), "{tests}");
    // Over what the first left.
    said(PROGRAM, &project, &["plugin", "build"], true);
    would_go_live(&project, "componentize-py 0.");
}

#[track_caller]
fn would_go_live(project: &Path, sdk: &str) {
    fs::write(project.join("gateway.toml"), SLOW).unwrap();
    let check = said(PROGRAM, project, &["plugin", "check", "orders.wasm"], true);
    for words in [sdk, "component", "subscribes erp/order.created", "would go live"] {
        assert!(check.contains(words), "no {words:?} in\n{check}");
    }
}

#[test]
fn what_a_project_lacks_is_said_before_anything_is_built() {
    let folder = TempDir::new().unwrap();
    let build = |words: &[&str]| {
        let told = said(PROGRAM, folder.path(), &["plugin", "build"], false);
        assert!(words.iter().all(|word| told.contains(word)), "{words:?} in\n{told}");
        assert!(!folder.path().join("node_modules").exists());
    };
    build(&["Cargo.toml, package.json or pyproject.toml"]);
    fs::write(folder.path().join("package.json"), r#"{"name":"Orders"}"#).unwrap();
    build(&["package.json: the name `Orders`", "a-z, 0-9 and '-'"]);
    fs::write(folder.path().join("package.json"), r#"{"name":"orders"}"#).unwrap();
    build(&["wants.toml: ", "subscribe = [\"github/push\"]"]);
    fs::write(folder.path().join("wants.toml"), "subscribe = [\"push\"]").unwrap();
    build(&["wants.toml: ", "source/type"]);
}

#[test]
fn what_another_toolchain_made_is_told_what_it_wants() {
    let folder = TempDir::new().unwrap();
    let component = root().join("plugins/js-labels/build/component.wasm");
    let file = folder.path().join("orders.wasm");
    fs::copy(&component, &file).unwrap_or_else(|error| {
        panic!("{}: {error}; `cargo ci --only languages` makes it", component.display())
    });
    let wants =
        "subscribe = [\"erp/*\"]\nhttp = [\"https://api.example.com\"]\nsecrets = [\"API_KEY\"]\n";
    fs::write(folder.path().join("wants.toml"), wants).unwrap();
    said(PROGRAM, folder.path(), &["plugin", "embed", "orders.wasm"], true);
    let check = said(PROGRAM, folder.path(), &["plugin", "check", "orders.wasm"], false);
    for words in ["subscribes erp/*", "http       https://api.example.com", "secrets    API_KEY"] {
        assert!(check.contains(words), "no {words:?} in\n{check}");
    }
    let again = said(PROGRAM, folder.path(), &["plugin", "embed", "orders.wasm"], false);
    assert!(again.contains("has a section `hookweir:wants` already"), "{again}");
}
