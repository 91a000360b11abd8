//! What operators have done through the admin API of a running gateway: bulk work with progress, what is put aside,
//! what is paused, plugins' state, exports, what is new, and what never came.

use std::{fs, time::Instant};

use hookweir_event::EventId;
use hookweir_store::{DeliveryState, Shown};
use hookweir_tests::{
    bounded,
    house::{House, PATIENCE},
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::cli::say;

const PROGRAM: &str = env!("CARGO_BIN_EXE_hookweir-under-test");

/// The plugin `hostile` does what an event's type says, once.
fn house() -> House {
    let house = House::new(
        PROGRAM,
        "[plugins.hostile]\nmax_attempts = 1\nbreaker = \"off\"\norder_by = \"/key\"\n\
         [plugins.late]\nsubscribe = [\"github/*\"]\n",
    );
    house.put_guest("hostile");
    house
}

async fn text(house: &House, method: Method, place: &str, body: &Value) -> (u16, String) {
    let token = house.config().parent().unwrap().join("data/admin-token");
    let client = bounded::client();
    let asking = client.request(method, format!("http://{}/v1/{place}", house.admin));
    let asking = asking.bearer_auth(fs::read_to_string(token).unwrap());
    let asking = if body.is_null() { asking } else { asking.json(body) };
    let reply = asking.send().await.unwrap();
    (reply.status().as_u16(), reply.text().await.unwrap())
}

async fn ask(house: &House, method: Method, place: &str, body: Value) -> (u16, Value) {
    let (status, text) = text(house, method, place, &body).await;
    (status, serde_json::from_str(&text).unwrap_or_else(|_| panic!("{status}: {text}")))
}

async fn get(house: &House, place: &str) -> Value {
    let (status, answer) = ask(house, Method::GET, place, Value::Null).await;
    assert_eq!(status, 200, "{place}: {answer}");
    answer
}

async fn post(house: &House, place: &str, body: Value) -> Value {
    let (status, answer) = ask(house, Method::POST, place, body).await;
    assert_eq!(status, 200, "{place}: {answer}");
    answer
}

async fn refused(house: &House, method: Method, place: &str, body: Value) -> (u16, String) {
    let (status, answer) = ask(house, method, place, body).await;
    (status, answer["code"].as_str().unwrap_or_else(|| panic!("{place}: {answer}")).to_owned())
}

async fn send(house: &House, event_type: &str, id: &str, body: &str) -> EventId {
    let reply = house.sender("test").send(event_type, id, body.as_bytes()).await.unwrap();
    reply.id().unwrap_or_else(|| panic!("{reply:?}"))
}

/// Waits until the queue of the first plugin stands so.
async fn until_queue(house: &House, what: &str, enough: impl Fn(&Value) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let queues = get(house, "queues").await;
        if enough(&queues["items"][0]) {
            return;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}: {queues:#}");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

/// A job, when it is over.
async fn job(house: &House, place: &str, body: Value) -> Value {
    let begun = post(house, place, body).await;
    let place = format!("jobs/{}", begun["id"].as_str().unwrap());
    let deadline = Instant::now() + PATIENCE;
    loop {
        let job = get(house, &place).await;
        if !job["endedAt"].is_null() {
            return job;
        }
        assert!(Instant::now() < deadline, "waited in vain for {job}");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

fn counts(job: &Value) -> [u64; 5] {
    ["found", "done", "passed", "failed", "left"].map(|name| job[name].as_u64().unwrap())
}

fn last(shown: &Shown) -> DeliveryState {
    shown.deliveries.last().unwrap().state
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bulk_work_says_how_far_it_is_and_does_nothing_twice() {
    let house = house();
    let gateway = house.start().await;
    let mut dead = Vec::new();
    for nth in 0..5 {
        dead.push(send(&house, "retry", &nth.to_string(), "{}").await);
    }
    house.until("five deaths", |counts| counts.dead == 5).await;

    let dry = job(&house, "jobs?plugin=hostile", json!({ "kind": "retry", "dryRun": true })).await;
    assert_eq!((counts(&dry), &dry["state"]), ([5, 5, 0, 0, 0], &json!("done")));
    assert_eq!(house.until("nothing", |_| true).await.dead, 5, "a dry run does nothing");

    let discarded = job(&house, "jobs?state=dead", json!({ "kind": "discard" })).await;
    assert_eq!(counts(&discarded), [5, 5, 0, 0, 0]);
    assert_eq!(
        (&discarded["filter"], &discarded["by"]),
        (&json!({ "state": "dead" }), &json!("admin"))
    );
    let after = house.until("nothing", |_| true).await;
    assert_eq!((after.dead, after.discarded), (0, 5));
    let again = job(&house, "jobs?state=dead", json!({ "kind": "discard" })).await;
    assert_eq!(counts(&again), [0; 5], "there is nothing left to discard");
    let listed = get(&house, "deliveries?state=discarded&limit=1000").await;
    let listed = listed["items"].as_array().unwrap();
    assert_eq!(listed.len(), 5);
    assert!(listed.iter().all(|one| !one["delivery"]["discardedAt"].is_null()));

    // What was put aside comes back, runs once more each, and dies again.
    let retried = job(&house, "jobs?state=discarded", json!({ "kind": "retry" })).await;
    assert_eq!(counts(&retried), [5, 5, 0, 0, 0]);
    house.until("five deaths again", |counts| counts.dead == 5 && counts.discarded == 0).await;
    for id in &dead {
        let shown = house.reader().show(*id).await.unwrap().unwrap();
        assert_eq!(shown.deliveries[0].attempts.len(), 2);
    }
    let place = format!("deliveries/{}/0", dead[0]);
    let one = get(&house, &place).await;
    assert_eq!(one["delivery"]["attempts"].as_array().unwrap().len(), 2);
    assert_eq!(one["event"]["id"], json!(dead[0].to_string()));

    let replay = json!({ "kind": "replay" });
    let replayed = job(&house, "jobs?source=test&type=retry", replay.clone()).await;
    assert_eq!((counts(&replayed), &replayed["deliveries"]), ([5, 5, 0, 0, 0], &json!(5)));
    house.until("ten deaths", |counts| counts.dead == 10).await;
    let since = json!({ "kind": "replay", "unlessReplayedSince": replayed["startedAt"] });
    let resumed = job(&house, "jobs?source=test", since).await;
    assert_eq!((counts(&resumed), &resumed["deliveries"]), ([5, 0, 5, 0, 0], &json!(0)));
    let to = json!({ "kind": "replay", "to": "late", "dryRun": true });
    assert_eq!(job(&house, "jobs?source=test", to).await["deliveries"], json!(5));

    for (place, body, refusal) in [
        ("jobs", replay.clone(), (400, "malformed")),
        ("jobs?colour=red", replay.clone(), (400, "malformed")),
        ("jobs?state=done", json!({ "kind": "retry" }), (400, "malformed")),
        ("jobs?source=test", json!({ "kind": "replay", "to": "nobody" }), (404, "not_found")),
        ("jobs/nothing/cancel", json!({}), (404, "not_found")),
    ] {
        let (status, code) = refused(&house, Method::POST, place, body).await;
        assert_eq!((status, code.as_str()), refusal, "{place}");
    }
    let jobs = get(&house, "jobs").await;
    assert_eq!(jobs["items"].as_array().unwrap().len(), 7);
    assert_eq!(jobs["items"][6]["id"], dry["id"], "the newest first");
    let over = format!("jobs/{}/cancel", dry["id"].as_str().unwrap());
    assert_eq!(post(&house, &over, json!({})).await["state"], "done", "what is over stays so");
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_does_not_have_its_events_in_memory_all_at_once() {
    const COUNT: u64 = 128;
    let house = House::new(PROGRAM, "[plugins.late]\nsubscribe = [\"github/*\"]\n");
    let gateway = house.start().await;
    let body = "x".repeat((1 << 20) - 1);
    let mut sent = Vec::new();
    for nth in 0..COUNT {
        sent.push(send(&house, "large", &nth.to_string(), &body).await.to_string());
    }
    gateway.forget_resident_peak();
    let before = gateway.resident();
    let replayed = post(&house, "replay", json!({ "events": sent, "plugin": "late" })).await;
    assert_eq!((&replayed["events"], &replayed["deliveries"]), (&json!(COUNT), &json!(COUNT)));
    let grown = gateway.resident_peak().saturating_sub(before) >> 20;
    assert!(grown < COUNT / 3, "{grown} MiB more for {COUNT} MiB of events");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_paused_waits_over_a_restart_and_then_goes_on() {
    let house = house();
    let gateway = house.start().await;
    let why = json!({ "why": "the shop is closed" });
    let paused = post(&house, "plugins/hostile/pause", why.clone()).await;
    assert_eq!((&paused["by"], &paused["why"]), (&json!("admin"), &json!("the shop is closed")));
    let waits = send(&house, "nothing", "1", "{}").await;
    assert!(gateway.stop().await.success());
    let gateway = house.start().await;
    let queues = get(&house, "queues").await;
    let queue = &queues["items"][0];
    assert_eq!((&queue["plugin"], &queue["due"]), (&json!("hostile"), &json!(1)));
    assert_eq!(queue["paused"]["why"], "the shop is closed");
    assert!(queue["oldestDueAt"].is_string() && queue["oldestDueSeconds"].is_number());
    let shown = house.admin("plugins/hostile").await;
    assert_eq!((&shown["paused"]["by"], &shown["running"]), (&json!("admin"), &json!(0)));

    post(&house, "sources/test/pause", why).await;
    let reply = house.sender("test").send("nothing", "2", b"{}").await.unwrap();
    assert_eq!(reply.status, 503);
    assert_eq!((reply.code(), reply.header("retry-after")), ("paused", Some("60")));
    assert!(!reply.body.to_string().contains("shop"), "why is not for senders");
    let refusals = get(&house, "sources/test/refusals").await;
    assert_eq!(refusals["items"][0]["detail"], "paused by admin: the shop is closed");
    let sources = get(&house, "sources").await;
    let test = sources["items"].as_array().unwrap().iter().find(|one| one["name"] == "test");
    assert_eq!(test.unwrap()["paused"]["by"], "admin");
    assert_eq!(get(&house, "pauses").await["items"].as_array().unwrap().len(), 2);
    // Others go on.
    let push = house.sender("github").send("push", "3", b"{}").await.unwrap();
    assert_eq!(push.status, 202);
    assert_eq!(house.reader().show(waits).await.unwrap().unwrap().deliveries[0].attempts.len(), 0);

    let resumed = post(&house, "sources/test/resume", json!({})).await;
    assert_eq!(resumed, json!({ "wasPaused": true }));
    send(&house, "nothing", "2", "{}").await;
    post(&house, "plugins/hostile/resume", json!({})).await;
    let done = |shown: &Shown| last(shown) == DeliveryState::Done;
    house.until_event(waits, "what waited", done).await;
    let resumed = post(&house, "plugins/hostile/resume", json!({})).await;
    assert_eq!(resumed, json!({ "wasPaused": false }));
    for place in ["sources/nobody/pause", "plugins/nobody/pause"] {
        assert_eq!(refused(&house, Method::POST, place, json!({})).await.0, 404, "{place}");
    }
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_source_is_taken_and_waits_over_a_restart() {
    // One at a time: by what each of them made it is seen which went before which.
    let house = House::new(PROGRAM, "[plugins.hostile]\nconcurrency = 1\n");
    house.put_guest("hostile");
    let gateway = house.start().await;
    let why = json!({ "why": "the shop is closed", "hold": true });
    post(&house, "sources/test/pause", why).await;
    let mut sent = Vec::new();
    for nth in 0..20 {
        sent.push(send(&house, "echo", &nth.to_string(), "{}").await);
    }
    until_queue(&house, "all of them held", |queue| queue["held"] == 20).await;
    assert!(gateway.stop().await.success());
    let gateway = house.start().await;
    let queues = get(&house, "queues").await;
    let queue = &queues["items"][0];
    assert_eq!((&queue["due"], &queue["oldestDueAt"]), (&json!(0), &Value::Null), "{queue:#}");
    let scrape = house.metrics().await;
    let held = scrape.value("hookweir_source_held", &[("source", "test")]);
    assert_eq!((held, scrape.value("hookweir_source_held", &[])), (1.0, 1.0));
    let of_plugin = [("plugin", "hostile"), ("state", "held")];
    let held = scrape.value("hookweir_plugin_deliveries", &of_plugin);
    assert_eq!((held, scrape.value("hookweir_plugin_oldest_due_seconds", &[])), (20.0, 0.0));
    let status = say(&house, &["status"]).unwrap();
    assert!(status.contains("deliveries of source test, by admin: the shop"), "{status}");
    let listed = say(&house, &["events", "list", "--state", "held"]).unwrap();
    assert!(sent.iter().all(|id| listed.contains(&id.to_string())), "{listed}");
    assert_eq!(house.reader().counts().await.unwrap().done, 0);

    assert!(say(&house, &["source", "resume", "test"]).unwrap().contains("test goes on"));
    let settled = house.settled().await;
    // An output is committed with what made it.
    let order: Vec<_> = settled.iter().filter_map(|shown| shown.event.parent).collect();
    assert_eq!(order, sent, "in the order they were accepted");
    let audit = get(&house, "audit?limit=10").await;
    let verbs: Vec<_> = audit["items"].as_array().unwrap().iter().map(|a| &a["verb"]).collect();
    assert_eq!(verbs, ["sources.resume", "sources.pause"]);
    assert_eq!(audit["items"][1]["parameters"]["hold"], true);
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_can_be_paused_over_a_restart() {
    let house = house();
    let gateway = house.start().await;
    let plugin = json!({ "why": "the shop is closed" });
    post(&house, "plugins/hostile/pause", plugin).await;
    let waits = send(&house, "nothing", "1", "{}").await;
    let said = say(&house, &["pause", "--why", "the house is on fire"]).unwrap();
    assert!(said.contains("everything is paused"), "{said}");
    post(&house, "plugins/hostile/resume", json!({})).await;
    assert!(gateway.stop().await.success());
    let gateway = house.start().await;
    for source in ["test", "github"] {
        let reply = house.sender(source).send("nothing", "2", b"{}").await.unwrap();
        assert_eq!((reply.status, reply.code()), (503, "paused"), "{source}");
    }
    let api = reqwest::get(format!("http://{}/api/hostile/", house.public)).await.unwrap();
    assert_eq!(api.status(), 503);
    let status = say(&house, &["status"]).unwrap();
    assert!(status.contains("paused      everything, by admin: the house"), "{status}");
    // It had all the time of a start and of three requests.
    assert_eq!(house.reader().counts().await.unwrap().due, 1);
    assert!(say(&house, &["resume"]).unwrap().contains("everything goes on"));
    assert!(say(&house, &["resume"]).unwrap().contains("was not paused"));
    let done = |shown: &Shown| last(shown) == DeliveryState::Done;
    house.until_event(waits, "what waited", done).await;
    send(&house, "nothing", "2", "{}").await;
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugins_state_is_read_and_written_by_its_rules() {
    let house = house();
    let gateway = house.start().await;
    let entry = |key: &str| format!("plugins/hostile/state/entry?key={key}");
    let put = Method::PUT;
    for nth in 0..3 {
        let (status, _) =
            ask(&house, put.clone(), &entry(&format!("order%2F{nth}")), json!({ "value": "open" }))
                .await;
        assert_eq!(status, 200);
    }
    let (_, odd) = ask(
        &house,
        put.clone(),
        &entry("raw"),
        json!({ "valueBase64": "/wA=", "ttlSeconds": 3600 }),
    )
    .await;
    assert_eq!((&odd["bytes"], &odd["valueBase64"]), (&json!(2), &json!("/wA=")));
    assert!(odd["expiresAt"].is_string());
    let first = get(&house, "plugins/hostile/state?prefix=order/&limit=2").await;
    let keys = |page: &Value| -> Vec<String> {
        let items = page["items"].as_array().unwrap().iter();
        items.map(|item| item["key"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(keys(&first), ["order/0", "order/1"]);
    assert!(first["items"][0]["value"].is_null() && first["items"][0]["bytes"] == 4);
    let cursor = first["next"].as_str().unwrap();
    let rest = get(&house, &format!("plugins/hostile/state?prefix=order/&cursor={cursor}")).await;
    assert_eq!((keys(&rest), &rest["next"]), (vec!["order/2".to_owned()], &Value::Null));

    let read = get(&house, &entry("order/0")).await;
    assert_eq!(read["value"], "open");
    let version = read["version"].as_u64().unwrap();
    let paid = json!({ "value": "paid", "ifVersion": version });
    let (status, now) = ask(&house, put.clone(), &entry("order/0"), paid.clone()).await;
    assert_eq!((status, &now["value"]), (200, &json!("paid")));
    let large = "x".repeat((64 << 10) + 1);
    for (method, place, body, refusal) in [
        (put.clone(), entry("order/0"), paid, (409, "conflict")),
        (
            put.clone(),
            entry("order/0"),
            json!({ "value": "v", "ifAbsent": true }),
            (409, "conflict"),
        ),
        (put.clone(), entry("gone"), json!({ "value": "v", "ifVersion": 1 }), (409, "conflict")),
        (put.clone(), entry("k"), json!({ "value": large }), (400, "malformed")),
        (put.clone(), entry(&"k".repeat(513)), json!({ "value": "v" }), (400, "malformed")),
        (put.clone(), entry(""), json!({ "value": "v" }), (400, "malformed")),
        (put.clone(), entry("k"), json!({}), (400, "malformed")),
        (
            put.clone(),
            "plugins/nobody/state/entry?key=k".into(),
            json!({ "value": "v" }),
            (404, "not_found"),
        ),
        (Method::GET, entry("gone"), Value::Null, (404, "not_found")),
        (Method::GET, "plugins/nobody/state".into(), Value::Null, (404, "not_found")),
        (Method::DELETE, entry("gone"), Value::Null, (404, "not_found")),
        (
            Method::DELETE,
            format!("{}&ifVersion={version}", entry("order/0")),
            Value::Null,
            (409, "conflict"),
        ),
    ] {
        let (status, code) = refused(&house, method, &place, body).await;
        assert_eq!((status, code.as_str()), refusal, "{place}");
    }
    let absent = json!({ "value": "v", "ifAbsent": true });
    assert_eq!(ask(&house, put, &entry("new"), absent).await.0, 200);
    assert_eq!(ask(&house, Method::DELETE, &entry("order/0"), Value::Null).await.0, 200);
    assert_eq!(refused(&house, Method::GET, &entry("order/0"), Value::Null).await.0, 404);
    // Who wrote what is written down, the values are not.
    let audit = get(&house, "audit").await.to_string();
    assert!(audit.contains("state.set") && audit.contains("state.delete"), "{audit}");
    assert!(!audit.contains("paid") && !audit.contains("/wA="), "{audit}");
    assert!(gateway.stop().await.success());
}

/// Where a change is made that the description names, below `/v1/`.
fn place(path: &str) -> String {
    let name = if path.contains("/sources/") { "test" } else { "hostile" };
    let place = path["/v1/".len()..].replace("{name}", name).replace("{id}", "nothing");
    if place.ends_with("/entry") { place + "?key=k" } else { place }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_that_a_change_is_given_is_found_nowhere() {
    const HUSH: &str = "hush-this-is-secret";
    let house = house();
    let gateway = house.start().await;
    let mut asked = 0;
    for (path, item) in get(&house, "openapi.json").await["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys().filter(|method| *method != "get") {
            let method: Method = method.to_uppercase().parse().unwrap();
            for body in [
                json!({ "vaule": HUSH }),
                json!({ "vaule": [HUSH] }),
                json!({ "deliveries": [{ "value": HUSH }] }),
                json!({ "value": [HUSH] }),
                json!({ "value": { "value": HUSH } }),
                json!({ "valueBase64": format!("*{HUSH}") }),
                json!({ "ttlSeconds": HUSH }),
                json!({ "key": HUSH }),
            ] {
                let (status, said) = text(&house, method.clone(), &place(path), &body).await;
                assert!(!said.contains(HUSH), "{method} {path}: {status} {said}");
                asked += 1;
            }
        }
    }
    assert!(asked > 8 * 10, "{asked}");
    let (status, said) =
        ask(&house, Method::PUT, "plugins/hostile/state/entry?key=k", json!({ "value": HUSH }))
            .await;
    assert_eq!(status, 200, "{said}");
    let (_, said) = ask(
        &house,
        Method::PUT,
        "plugins/hostile/state/entry?key=k",
        json!({ "ttlSeconds": HUSH }),
    )
    .await;
    let sentence = said["error"].as_str().unwrap();
    assert!(sentence.starts_with("ttlSeconds: expected u64"), "{sentence}");

    let audit = get(&house, "audit?limit=1000").await.to_string();
    let lines = fs::read_to_string(house.database().with_file_name("audit.jsonl")).unwrap();
    for told in [&audit, &lines] {
        assert!(told.contains("state.set") && told.contains(r#""vaule":"[redacted]""#), "{told}");
        assert!(!told.contains(HUSH), "{told}");
    }
    assert!(!house.log().contains(HUSH), "{}", house.log());
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_has_everything_once_and_goes_on_where_it_ended() {
    let house = house();
    let gateway = house.start().await;
    let mut sent = Vec::new();
    let since = get(&house, "tail?type=log").await["next"].as_str().unwrap().to_owned();
    for nth in 0..3 {
        sent.push(send(&house, "log", &nth.to_string(), &format!("{{\"nth\":{nth}}}")).await);
    }
    send(&house, "nothing", "other", "{}").await;
    house.until("all done", |counts| counts.done == 4).await;
    let export = async |place: &str| -> Vec<Value> {
        let (status, text) = text(&house, Method::GET, place, &Value::Null).await;
        assert_eq!(status, 200, "{text}");
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let lines = export("export?type=log").await;
    let ids: Vec<EventId> =
        lines.iter().map(|line| line["event"]["id"].as_str().unwrap().parse().unwrap()).collect();
    assert_eq!(ids, sent.iter().rev().copied().collect::<Vec<_>>());
    assert_eq!(lines[2]["event"]["body"], "{\"nth\":0}");
    let attempt = &lines[2]["event"]["deliveries"][0]["attempts"][0];
    assert_eq!(attempt["outcome"], "done");
    let logs = attempt["logs"].as_array().unwrap();
    assert!(logs.iter().any(|line| line["level"] == "warn"), "{logs:?}");
    let cursor = lines[0]["cursor"].as_str().unwrap();
    send(&house, "log", "later", "{}").await;
    let rest = export(&format!("export?type=log&cursor={cursor}")).await;
    assert_eq!(rest.len(), 2, "a new one moves nothing");
    assert_eq!(rest[0]["event"]["id"], lines[1]["event"]["id"]);
    assert!(export("export?type=nowhere").await.is_empty());

    let news = get(&house, &format!("tail?type=log&cursor={since}&limit=2")).await;
    assert_eq!((news["items"].as_array().unwrap().len(), &news["more"]), (2, &json!(true)));
    let next = news["next"].as_str().unwrap();
    let rest = get(&house, &format!("tail?type=log&cursor={next}")).await;
    assert_eq!((rest["items"].as_array().unwrap().len(), &rest["more"]), (2, &json!(false)));
    for place in ["export?dedupe=1&source=test", "tail?duplicated=true", "export?cursor=x"] {
        assert_eq!(refused(&house, Method::GET, place, Value::Null).await.0, 400, "{place}");
    }
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_provider_sent_and_never_came_is_named() {
    let house = house();
    let gateway = house.start().await;
    for id in ["1", "2"] {
        send(&house, "nothing", id, "{}").await;
    }
    let place = "sources/test/missing";
    let ids = json!({ "ids": ["1", "2", "3"], "type": "nothing" });
    let answer = post(&house, place, ids).await;
    assert_eq!((&answer["seen"], &answer["missing"]), (&json!(2), &json!(["3"])));
    assert!(answer["knownSince"].is_string());
    // The id is not signed, so that one of another type is another.
    let items = json!({ "items": [
        { "id": "1", "type": "nothing" },
        { "id": "1", "type": "log" },
        { "id": "4", "type": "nothing", "at": "2001-01-01T00:00:00Z" },
    ] });
    let answer = post(&house, place, items).await;
    assert_eq!((&answer["seen"], &answer["missing"]), (&json!(1), &json!(["1"])));
    assert_eq!(answer["unknown"], json!(["4"]), "it may have been seen and forgotten");
    for (place, body, status) in [
        (place, json!({ "ids": ["1"] }), 400),
        (place, json!({ "ids": vec!["1"; 5001], "type": "nothing" }), 400),
        ("sources/nobody/missing", json!({ "ids": [] }), 404),
    ] {
        assert_eq!(refused(&house, Method::POST, place, body).await.0, status, "{place}");
    }
    // Where ids are signed they stand alone.
    let stripe = post(&house, "sources/stripe/missing", json!({ "ids": ["evt_1"] })).await;
    assert_eq!(stripe["missing"], json!(["evt_1"]));
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_window_that_was_made_longer_brings_nothing_back() {
    let shop = |window: &str| {
        format!(
            "[sources.shop]\npath = \"/shop\"\nscheme = \"stripe\"\n\
             secrets = [{{ env = \"TEST_SECRET\" }}]\ndedupe_window = \"{window}\"\n"
        )
    };
    let house = House::new(PROGRAM, &shop("1h"));
    let gateway = house.start().await;
    let place = "sources/shop/missing";
    let known = post(&house, place, json!({ "ids": [] })).await;
    // An hour ago, and a little more by now: whatever was claimed then may be forgotten.
    let sent = json!({ "items": [{ "id": "evt_1", "at": known["knownSince"] }] });
    house.write_config(&shop("30d"));
    house.until_log(0, &["config reloaded"]).await;
    let answer = post(&house, place, sent.clone()).await;
    assert_eq!((&answer["unknown"], &answer["missing"]), (&json!(["evt_1"]), &json!([])));
    assert!(gateway.stop().await.success());

    let gateway = house.start().await;
    let answer = post(&house, place, sent).await;
    assert_eq!((&answer["unknown"], &answer["missing"]), (&json!(["evt_1"]), &json!([])));
    gateway.stop().await;
}
