//! Plugins that were built by earlier versions keep loading and running: modules in
//! `tests/fixtures/released` are never rebuilt.

use std::{fs, sync::Arc};

use hookweir_event::{Clock, Event, EventId, Hops, Timestamp};
use hookweir_host::{Grant, Host, NoNetwork, NoState, Request, Settings};
use hookweir_tests::{guests::root, load::payment};
use serde_json::{Map, Value};

fn event(origin: &str, event_type: &str, body: &str) -> Event {
    Event {
        id: EventId::new(Timestamp::from_secs(1_700_000_000), [7; 10]),
        origin: origin.parse().unwrap(),
        event_type: event_type.parse().unwrap(),
        received_at: Timestamp::from_secs(1_700_000_000),
        method: "POST".into(),
        path: "/".into(),
        query: None,
        headers: Vec::new(),
        body: body.as_bytes().to_vec(),
        attributes: Vec::new(),
        hops: Hops::default(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn released_plugins_still_load_and_run() {
    let host = Host::new(
        Settings { instances: 1, ..Settings::default() },
        Clock::system(),
        Arc::new(NoState),
        Arc::new(NoNetwork),
    )
    .unwrap();
    let folder = root().join("tests/fixtures/released");
    let paid = event("stripe", "payment_intent.succeeded", &payment("evt_1", "{}"));
    let push = fs::read_to_string(root().join("plugins/github/samples/push.json")).unwrap();
    let push = event("github", "push", &push);
    let customer = r#"{ "id": 7, "email": "ada@example.com", "first_name": "Ada" }"#;
    let signup = event("shopify", "customers/create", customer);
    let config = ["accounts_url", "mail_url", "mail_from"];
    let config: Map<_, _> = config
        .into_iter()
        .map(|key| (key.to_owned(), Value::from("https://api.example.com/")))
        .collect();
    for (file, event, outputs) in [
        ("payments-0-1-0", &paid, ["order.paid"].as_slice()),
        ("github-0-1-0", &push, &["ci.trigger", "board.update", "team.notify"]),
        // State, init, api and verifier; http and secrets; wasi:http.
        ("desk-0-1-0", &event("test", "opened", "7"), &[]),
        ("reach-0-1-0", &event("test", "send", "[]"), &["answers"]),
        ("foreign-0-1-0", &event("test", "foreign", "{}"), &["answers"]),
        // The whole config, the clock, and requests that are left: there is no network here.
        ("user-signup-0-1-0", &signup, &["account.create", "mail.welcome"]),
    ] {
        let module = fs::read(folder.join(file).with_extension("wasm")).unwrap();
        let grant = Grant { config: config.clone(), ..Grant::default() };
        let version = host.prepare(file.parse().unwrap(), module, grant).await.unwrap();
        let ran = host.call(&version, event, 1).await.unwrap();
        let made = ran.result.unwrap();
        let types: Vec<_> = made.iter().map(|output| output.event_type.as_str()).collect();
        assert_eq!(types, outputs, "{file}");
        let exports = version.exports();
        let asked = ["desk-0-1-0", "reach-0-1-0"].contains(&file);
        assert_eq!((exports.api, exports.verifier), (asked, file == "desk-0-1-0"), "{file}");
        if exports.verifier {
            let request =
                Request { method: "GET".into(), path: "/orders".into(), ..Request::default() };
            let answered = host.respond(&version, &request).await.unwrap();
            assert!(answered.result.is_ok(), "{answered:?}");
            let said = host.verify(&version, &request).await.unwrap();
            assert!(said.result.unwrap().is_err(), "there was no proof");
        }
    }
}
