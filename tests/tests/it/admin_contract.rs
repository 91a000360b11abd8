//! schemathesis against a running gateway that has something of everything: it asks for what the
//! description promises, and for what it does not, and finds no server error and no answer that is not
//! described. `cargo ci --only contract` installs it and runs this.

use std::{fs, process::Command};

use hookweir_tests::{guests, house::House};
use serde_json::json;

const PROGRAM: &str = env!("CARGO_BIN_EXE_hookweir-under-test");

/// An event that is handled, one that died with another behind it, one that nobody wanted, refusals, and a
/// plugin with earlier versions and a file that is not live.
async fn fill(house: &House) {
    let sender = house.sender("test");
    for (event_type, id, body) in [
        ("echo", "1", json!({ "word": "é\u{0}" })),
        ("log", "2", json!({})),
        ("retry", "3", json!({ "key": "k" })),
        ("nothing", "4", json!({ "key": "k" })),
    ] {
        let reply = sender.send(event_type, id, body.to_string().as_bytes()).await.unwrap();
        assert_eq!(reply.status, 202);
    }
    let reply = house.sender("github").send("push", "5", b"{}").await.unwrap();
    assert_eq!(reply.status, 202);
    let mut forged = house.sender("github").signed("push", "6", b"{}");
    forged.body = "{ }".into();
    assert_eq!(house.sender("github").post(forged).await.unwrap().status, 401);
    house.until("a dead letter", |counts| counts.dead == 1 && counts.done >= 2).await;
    house.put("faulty", b"no module");
    house.until_plugin("faulty", "its refusal", |plugin| !plugin["file"].is_null()).await;
    let blocked = house.admin("blocked").await;
    assert_eq!(blocked["items"].as_array().unwrap().len(), 1);
}

/// Runs it for so many seconds, by the rules in this file.
#[expect(clippy::print_stdout, reason = "how much was asked for, for who reads the log of CI")]
async fn schemathesis(house: &House, tool: &str, rules: &str, seconds: u64) {
    let token = fs::read_to_string(house.database().with_file_name("admin-token")).unwrap();
    let event = house.admin("events?source=test&type=retry").await;
    let url = format!("http://{}", house.admin);
    let mut command = Command::new(tool);
    command
        .arg("--config-file")
        .arg(guests::root().join("tests/ci").join(rules))
        .args(["run", &format!("{url}/v1/openapi.json"), "--url", &url])
        .args(["--header", &format!("Authorization: Bearer {token}")])
        .args(["--checks", "all", "--max-time", &seconds.to_string(), "--continue-on-failure"])
        .args(["--no-color", "--generation-database", "none"])
        .env("EVENT_ID", event["items"][0]["id"].as_str().unwrap())
        .current_dir(house.config().parent().unwrap());
    let said = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    println!("{}", String::from_utf8_lossy(&said.stdout));
    let fault = String::from_utf8_lossy(&said.stderr);
    assert!(said.status.success(), "schemathesis found something, or did not run: {fault}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "wants schemathesis: cargo ci --only contract"]
async fn the_api_is_as_it_is_described() {
    let tool =
        std::env::var("HOOKWEIR_SCHEMATHESIS").expect("cargo ci --only contract says where it is");
    let seconds = std::env::var("HOOKWEIR_SCHEMATHESIS_SECONDS").unwrap_or("60".into());
    let house = House::new(
        PROGRAM,
        "admin.refused_rate = \"off\"\n[plugins.hostile]\nmax_attempts = 1\norder_by = \"/key\"\n",
    );
    house.put_guest("hostile");
    let gateway = house.start().await;
    fill(&house).await;
    let seconds: u64 = seconds.parse().unwrap();
    schemathesis(&house, &tool, "schemathesis.toml", seconds).await;
    // Which of the texts are ids of events it can't know.
    schemathesis(&house, &tool, "schemathesis-event.toml", (seconds / 6).max(5)).await;
    // It was not let in at all, say.
    let audit = house.admin("audit").await;
    assert!(audit["items"].as_array().unwrap().len() > 10, "it had nothing changed");
    // What it did meanwhile took nothing down; it may have paused everything, and a source that it found.
    for place in ["resume", "sources/github/resume"] {
        house.operate(place, &json!({})).await;
    }
    let dead = house.reader().counts().await.unwrap().dead;
    let reply = house.sender("github").send("push", "7", b"{}").await.unwrap();
    assert_eq!(reply.status, 202, "{dead} dead");
    assert!(gateway.stop().await.success());
}
