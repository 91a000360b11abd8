//! What plugins answer themselves, through the real port: who may ask, what is on disk before an answer
//! leaves, and that nothing of it gets in the way of webhooks. Guarantees 3, 6 and 8.

use std::{collections::BTreeSet, time::Duration};

use hookweir_event::REDACTED;
use hookweir_store::{DeliveryState, Shown};
use hookweir_tests::{
    bounded,
    house::{House, PATIENCE, SECRET},
};
use reqwest::{Method, Response, StatusCode};
use serde_json::Value;
use tokio::task::JoinSet;

/// A house with the guest `desk`, whose api anybody may ask.
fn house(lines: &str, sections: &str) -> House {
    let desk = format!("[plugins.desk]\napi = \"public\"\nverifier = false\n{lines}\n{sections}");
    let house = House::new(env!("CARGO_BIN_EXE_hookweir-under-test"), &desk);
    house.put_guest("desk");
    house
}

/// Asks plugins of one gateway.
#[derive(Clone)]
struct Client(reqwest::Client, String);

/// An answer, read whole.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: reqwest::header::HeaderMap,
    body: Vec<u8>,
}

impl Client {
    fn of(house: &House) -> Self {
        let client = bounded::client();
        Self(client, format!("http://{}/api/", house.public))
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.0.request(method, format!("{}{path}", self.1))
    }

    async fn get(&self, path: &str) -> Answer {
        read(self.request(Method::GET, path).send().await.unwrap()).await
    }

    async fn post(&self, path: &str, body: &str) -> Answer {
        read(self.request(Method::POST, path).body(body.to_owned()).send().await.unwrap()).await
    }
}

async fn read(response: Response) -> Answer {
    let (status, headers) = (response.status(), response.headers().clone());
    Answer { status, headers, body: response.bytes().await.unwrap().to_vec() }
}

impl Answer {
    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    #[track_caller]
    fn assert_refused(&self, status: u16, code: &str) {
        let body = self.json();
        assert_eq!((self.status.as_u16(), body["code"].as_str()), (status, Some(code)), "{self:?}");
        assert_eq!(body["requestId"].as_str(), self.header("x-request-id"), "{self:?}");
        assert!(status != 503 || self.header("retry-after").is_some(), "{self:?}");
    }
}

/// What the command prints for the operator of this house.
fn operator(house: &House, arguments: &[&str]) -> String {
    let said = bounded::output(
        std::process::Command::new(env!("CARGO_BIN_EXE_hookweir-under-test"))
            .args(arguments)
            .env("TEST_SECRET", SECRET)
            .current_dir(house.config().parent().unwrap()),
    );
    assert!(said.status.success(), "{said:?}");
    String::from_utf8(said.stdout).unwrap()
}

fn is_done(shown: &Shown) -> bool {
    shown.deliveries.iter().all(|delivery| delivery.state == DeliveryState::Done)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_webhook_changed_is_read_a_moment_later() {
    let house = house("", "");
    let gateway = house.start().await;
    let (client, sender) = (Client::of(&house), house.sender("test"));
    assert_eq!(client.get("desk/orders/A1").await.status, 404);
    for (id, kind) in [("1", "order.created"), ("2", "order.paid")] {
        let sent = sender.send(kind, id, b"A1").await.unwrap().id().unwrap();
        house.until_event(sent, "the order", is_done).await;
        let answer = client.get("desk/orders/A1").await;
        assert_eq!((answer.status.as_u16(), answer.text()), (200, kind));
    }
    let listed = client.get("desk/orders").await;
    assert_eq!(listed.header("content-type"), Some("application/json"));
    assert_eq!(listed.json(), serde_json::json!(["order:A1"]));
    let head = client.request(Method::HEAD, "desk/orders/A1").send().await.unwrap();
    let head = read(head).await;
    assert_eq!((head.status.as_u16(), head.text()), (200, ""));
    assert_eq!(house.reader().counts().await.unwrap().events, 2, "a request is no event");
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_who_has_the_token_may_ask_and_the_plugin_does_not_see_it() {
    let house = House::new(
        env!("CARGO_BIN_EXE_hookweir-under-test"),
        "[plugins.desk]\napi = { token = { env = \"TEST_SECRET\" } }\nverifier = false\n",
    );
    house.put_guest("desk");
    let gateway = house.start().await;
    let client = Client::of(&house);
    let with = |value: &str| {
        let request = client.request(Method::PUT, "desk/echo?a=%20b&a=").body("body");
        request.header("authorization", value).send()
    };
    for wrong in ["", "Bearer", "Bearer ", "Bearer guess", SECRET, &format!("Basic {SECRET}")] {
        let answer = read(with(wrong).await.unwrap()).await;
        answer.assert_refused(401, "unauthenticated");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    }
    client.get("desk/count").await.assert_refused(401, "unauthenticated");
    for right in [format!("Bearer {SECRET}"), format!("bearer {SECRET}")] {
        let answer = read(with(&right).await.unwrap()).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let seen = answer.json();
        assert_eq!((&seen["method"], &seen["path"]), (&"PUT".into(), &"/echo".into()));
        assert_eq!((&seen["query"], &seen["body"]), (&"a=%20b&a=".into(), &"body".into()));
        assert_eq!(
            (&seen["authorization"], &seen["client"]),
            (&REDACTED.into(), &"127.0.0.1".into())
        );
        assert_eq!(seen["request"].as_str(), answer.header("x-request-id"));
    }
    assert!(gateway.stop().await.success());
    assert!(!house.log().contains(SECRET));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_ask_can_not_tell_which_plugins_there_are() {
    // `hostile` has no api; of `closed` nobody may ask it; `absent` has no file.
    let house = house(
        "",
        "[plugins.closed]\napi = \"off\"\nverifier = false\n[plugins.hostile]\napi = \"public\"\n\
         [plugins.absent]\napi = \"public\"\n",
    );
    house.put_guest("hostile");
    house.put("closed", &hookweir_tests::guests::wasm("desk"));
    let gateway = house.start().await;
    let client = Client::of(&house);
    let mut bodies = BTreeSet::new();
    for path in ["closed/count", "hostile/count", "absent/count", "nobody/count", "No%20Name/x", ""]
    {
        let answer = client.get(path).await;
        answer.assert_refused(404, "no_such_api");
        let mut body = answer.json();
        body["requestId"] = Value::Null;
        bodies.insert(body.to_string());
    }
    assert_eq!(bodies.len(), 1, "{bodies:?}");
    let answer = read(client.request(Method::OPTIONS, "desk/count").send().await.unwrap()).await;
    answer.assert_refused(405, "method_not_allowed");
    assert_eq!(answer.header("allow"), Some("GET, HEAD, POST, PUT, PATCH, DELETE"));
    assert_eq!(client.get("desk").await.status, 404, "the plugin's own");
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_that_count_at_once_are_counted_once_each_over_a_kill() {
    let house = house("api_timeout = \"60s\"", "");
    let gateway = house.start().await;
    let client = Client::of(&house);
    let mut posting = JoinSet::new();
    for _ in 0..200 {
        let client = client.clone();
        posting.spawn(async move { client.post("desk/count", "").await });
    }
    let answers = posting.join_all().await;
    let counted: BTreeSet<u64> =
        answers.iter().filter_map(|answer| answer.json().as_u64()).collect();
    assert_eq!(counted, (1..=200).collect(), "{:?}", answers.iter().find(|a| a.status != 200));
    gateway.kill();
    let gateway = house.start().await;
    let client = Client::of(&house);
    assert_eq!(client.get("desk/count").await.json(), 200);
    assert_eq!(client.post("desk/count", "").await.json(), 201);
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_is_on_disk_whenever_the_process_dies() {
    const CLIENTS: u64 = 8;
    let house = house("api_timeout = \"60s\"", "");
    let mut before = 0;
    for round in 0..3 {
        let gateway = house.start().await;
        let mut posting = JoinSet::new();
        let (enough, mut seen) = tokio::sync::watch::channel(0_u64);
        for _ in 0..CLIENTS {
            let (client, enough) = (Client::of(&house), enough.clone());
            posting.spawn(async move {
                let mut last = 0;
                while let Ok(answer) = client.request(Method::POST, "desk/count").send().await {
                    let Ok(body) = answer.bytes().await else { break };
                    let Some(count) = std::str::from_utf8(&body).ok().and_then(|t| t.parse().ok())
                    else {
                        break;
                    };
                    last = count;
                    enough.send_modify(|answered| *answered += 1);
                }
                last
            });
        }
        // When all have given up there is nobody left who could tell.
        drop(enough);
        let answered = tokio::time::timeout(PATIENCE, seen.wait_for(|answered| *answered >= 40));
        answered.await.expect("40 answers in time").expect("somebody goes on asking");
        gateway.kill();
        let answered = posting.join_all().await.into_iter().max().unwrap();
        let gateway = house.start().await;
        let kept = Client::of(&house).get("desk/count").await.json().as_u64().unwrap();
        assert!(answered >= before + 40 && kept >= answered, "{round}: {kept} of {answered}");
        assert!(kept <= answered + CLIENTS, "{round}: {kept}, {answered} were answered");
        before = kept;
        gateway.kill();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_harm_has_its_answer_and_leaves_nothing() {
    let house = house("api_timeout = \"20s\"", "");
    let gateway = house.start().await;
    let client = Client::of(&house);
    for (path, body, status, code) in [
        ("panic", "", 502, "plugin_failed"),
        ("loop", "", 504, "plugin_timeout"),
        ("huge", "", 502, "plugin_failed"),
        ("huge?n=5000000", "", 502, "plugin_failed"),
        ("status?n=101", "", 502, "plugin_failed"),
        ("status?n=600", "", 502, "plugin_failed"),
        ("header", "x y=1", 502, "plugin_failed"),
        ("header", "x=a\r\nset-cookie: b", 502, "plugin_failed"),
        ("write-and-reject", "", 400, "rejected"),
        ("write-and-nonsense", "", 502, "plugin_failed"),
        ("later", "", 503, "try_later"),
    ] {
        let answer = client.post(&format!("desk/{path}"), body).await;
        answer.assert_refused(status, code);
        assert!(
            !answer.text().contains("hush") && !answer.text().contains("purpose"),
            "{answer:?}"
        );
        assert!(code != "try_later" || answer.header("retry-after") == Some("2"));
        assert!(code != "rejected" || answer.json()["error"] == "as asked");
    }
    let large = "x".repeat((1 << 20) + 1);
    client.post("desk/echo", &large).await.assert_refused(413, "body_too_large");
    let answer = client.post("desk/header", "Connection=close").await;
    assert_eq!((answer.status.as_u16(), answer.header("connection")), (200, None));
    let answer = client.post("desk/huge?n=4000000", "").await;
    assert_eq!((answer.status.as_u16(), answer.body.len()), (200, 4_000_000));
    assert_eq!(client.get("desk/status?n=418").await.status, 418);
    assert_eq!(client.get("desk/count").await.json(), 0, "what a failed call wrote is not kept");
    let log = house.log();
    assert!(log.contains("on purpose") && log.contains("hush"), "{log}");
    let listed = operator(&house, &["api", "list"]);
    let columns: Vec<&str> = listed.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(columns[..4], ["desk", "public", "yes", "4"], "{listed}");
    assert!(
        listed.contains("plugin_failed: 8") && listed.contains("plugin_timeout: 1"),
        "{listed}"
    );
    let refusals = operator(&house, &["api", "refusals", "desk"]);
    assert!(refusals.contains("on purpose") && refusals.contains("hush"), "{refusals}");
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_api_does_not_stop_events_nor_they_the_api() {
    let lines = "cpu = \"60s\"\napi_timeout = \"60s\"\napi_concurrency = 2\nconcurrency = 1";
    let house = house(lines, "[host]\ninstances = 1\n");
    let gateway = house.start().await;
    let (client, sender) = (Client::of(&house), house.sender("test"));
    let mut spinning = JoinSet::new();
    for _ in 0..4 {
        let client = client.clone();
        spinning.spawn(async move { client.post("desk/spin?n=5000", "").await });
    }
    let sent = sender.send("order.paid", "1", b"A1").await.unwrap().id().unwrap();
    house.until_event(sent, "an event beside a busy api", is_done).await;
    assert_eq!(spinning.len(), 4);
    assert!(spinning.try_join_next().is_none(), "they were busy all the time");
    for spun in spinning.join_all().await {
        assert_eq!(spun.text(), "spun");
    }
    let busy = sender.send("spin", "2", b"5000").await.unwrap().id().unwrap();
    house.until("the event's start", |counts| counts.leased == 1).await;
    assert_eq!(client.post("desk/count", "").await.json(), 1);
    let shown = house.reader().show(busy).await.unwrap().unwrap();
    assert_eq!(shown.deliveries[0].state, DeliveryState::Leased, "it ran all the time");
    house.until_event(busy, "its end", is_done).await;
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_would_wait_too_long_is_told_to_come_again() {
    let house = house("cpu = \"60s\"\napi_timeout = \"500ms\"\napi_concurrency = 1", "");
    let gateway = house.start().await;
    let client = Client::of(&house);
    let mut asking = JoinSet::new();
    for _ in 0..6 {
        let client = client.clone();
        asking.spawn(async move { client.post("desk/spin?n=300", "").await });
    }
    let answers = asking.join_all().await;
    let busy: Vec<_> = answers.iter().filter(|answer| answer.status == 503).collect();
    assert!(!busy.is_empty() && busy.len() < 6, "{answers:?}");
    busy.iter().for_each(|answer| answer.assert_refused(503, "plugin_busy"));
    let late = client.post("desk/spin?n=1000", "").await;
    late.assert_refused(504, "plugin_timeout");
    assert_eq!(client.get("desk/count").await.status, 200);
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_has_its_limit_and_its_webhooks_are_not_spent() {
    let house = house("", "");
    let desk = "server.address_rate = \"5/hour\"\nserver.refused_rate = \"1000/hour\"\n\
                [plugins.desk]\napi = \"public\"\nverifier = false\n";
    house.write_config(desk);
    let gateway = house.start().await;
    let client = Client::of(&house);
    for _ in 0..5 {
        assert_eq!(client.get("desk/count").await.status, 200);
    }
    let spent = client.get("desk/count").await;
    spent.assert_refused(429, "rate_limited");
    assert!(spent.header("ratelimit-policy").unwrap().starts_with("\"api\""));
    assert_eq!(house.sender("test").send("order.paid", "1", b"A1").await.unwrap().status, 202);
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_can_be_asked_waits_for_the_operators_word_and_for_its_own_init() {
    let house = House::new(env!("CARGO_BIN_EXE_hookweir-under-test"), "");
    house.put_guest("desk");
    let gateway = house.start().await;
    house.until_log(0, &["needs approval: it answers requests below /api/desk/"]).await;
    let log = house.log();
    assert!(log.contains("DESK_API_TOKEN") && log.contains("verifier = true"), "{log}");
    Client::of(&house).get("desk/count").await.assert_refused(404, "no_such_api");

    let config = "[plugins.desk]\napi = \"public\"\nverifier = false\n";
    house.write_config(&format!("{config}config = {{ refuse = \"not today\" }}\n"));
    house.until_log(log.len(), &["its init refused: not today"]).await;
    let skip = house.log().len();
    house.write_config(config);
    house.until_log(skip, &["plugin is live", "desk"]).await;
    assert_eq!(Client::of(&house).get("desk/count").await.status, 200);

    // A grant that is taken back closes it, and running on is not its choice.
    let skip = house.log().len();
    house.write_config("[plugins.desk]\napi = \"off\"\nverifier = false\n");
    house.until_log(skip, &["config reloaded"]).await;
    Client::of(&house).get("desk/count").await.assert_refused(404, "no_such_api");
    let wait = tokio::time::timeout(Duration::from_secs(30), gateway.stop()).await;
    assert!(wait.unwrap().success());
}
