//! What plugins send to the world, end to end: a gateway in this process, for which the world's names
//! lead to servers here. Addresses of this machine are not public, so that one has to be granted before
//! anything is reached at all.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use hookweir::{
    egress::Names,
    gateway::{Ended, Surrounds},
};
use hookweir_event::{EventId, Outcome};
use hookweir_store::{DeliveryState, Shown};
use hookweir_tests::{
    bounded, guests,
    house::{self, House, InProcess, SECRET},
    provider::{Authority, Provider},
    world::World,
};
use serde_json::{Value, json};

const KEY: &str = "sk-the-key-that-the-plugin-never-sees";

/// A gateway and the world around it: `api.test` is at an address that the plugins are granted,
/// `inner.test` at one that they are not.
struct Scene {
    house: House,
    api: World,
    inner: World,
    gateway: InProcess,
    number: AtomicUsize,
}

/// What the tests grant, if nothing else.
const GRANT: &str = r#"[plugins.reach]
api = "public"
http = ["http://*", "https://*"]
http_addresses = ["127.0.0.1"]
secrets = { API_KEY = { env = "API_KEY", hosts = ["http://api.test"] }, OPEN = { env = "API_KEY", readable = true } }
"#;

impl Scene {
    async fn start(plugins: &[&str], sections: &str) -> Self {
        Self::with_names(plugins, sections, |_| None).await
    }

    /// `more` says where other names lead.
    async fn with_names(
        plugins: &[&str],
        sections: &str,
        more: impl Fn(&str) -> Option<SocketAddr> + Send + Sync + 'static,
    ) -> Self {
        let (api, inner) = (World::start("127.0.0.1").await, World::start("127.0.0.2").await);
        let sections = sections.replace("INNER", &inner.address.port().to_string());
        let house = House::new(env!("CARGO_BIN_EXE_hookweir-under-test"), &sections);
        for plugin in plugins {
            house.put(plugin, &guests::wasm(plugin.trim_end_matches("-too")));
        }
        let env = |name: &str| match name {
            "API_KEY" => Some(KEY.to_owned()),
            _ => Some(SECRET.to_owned()),
        };
        let (config, surrounds) = house::surrounds(&house.config(), &env);
        let (at_api, at_inner) = (api.address, inner.address);
        let names = Names::asked(move |name| match name {
            "api.test" => vec![at_api],
            "inner.test" => vec![at_inner],
            "metadata.test" => vec![SocketAddr::from(([169, 254, 169, 254], 80))],
            other => more(other).into_iter().collect(),
        });
        let surrounds = Surrounds { names, ..surrounds };
        let gateway = InProcess::start(config, surrounds).await;
        Self { house, api, inner, gateway, number: AtomicUsize::new(0) }
    }

    /// Posts an event.
    async fn post(&self, event_type: &str, body: &Value) -> EventId {
        let number = self.number.fetch_add(1, Ordering::SeqCst);
        let body = body.as_str().map_or_else(|| body.to_string(), str::to_owned);
        let (sender, number) = (self.house.sender("test"), number.to_string());
        let reply = sender.send(event_type, &number, body.as_bytes());
        reply.await.unwrap().id().unwrap()
    }

    /// Posts an event and waits until its delivery is over.
    async fn over(&self, event_type: &str, body: &Value) -> Shown {
        let id = self.post(event_type, body).await;
        let over = |shown: &Shown| {
            let states = shown.deliveries.iter().map(|delivery| delivery.state);
            states.clone().count() == 1
                && states.clone().all(|s| matches!(s, DeliveryState::Done | DeliveryState::Dead))
        };
        self.house.until_event(id, "the end of its delivery", over).await
    }

    /// Posts an event and answers what its output says of each request.
    async fn answers(&self, event_type: &str, steps: &Value) -> Vec<Value> {
        let shown = self.over(event_type, steps).await;
        assert_eq!(shown.deliveries[0].state, DeliveryState::Done, "{shown:#?}");
        let events = self.house.events().await;
        let output = events.iter().find(|other| other.event.parent == Some(shown.event.id));
        let output = self.house.reader().event(output.unwrap().event.id).await.unwrap().unwrap();
        serde_json::from_slice(&output.body).unwrap()
    }

    /// The same for one request.
    async fn answer(&self, step: Value) -> Value {
        self.answers("send", &json!([step])).await.remove(0)
    }

    async fn end(self) {
        assert_eq!(self.gateway.stop().await, Ended::Stopped { cut_off: 0 });
    }
}

fn url(url: &str) -> Value {
    json!({ "url": url })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_arrives_with_its_secret_and_what_a_good_sender_sets() {
    let scene = Scene::start(&["reach"], GRANT).await;
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let step = json!([{
        "method": "POST", "url": "http://api.test/v1/orders?a=b", "body": "{\"order\":1}",
        "headers": [["X-Own", "mine"]], "secrets": [["Authorization", "Bearer {API_KEY}"]],
    }]);
    let sender = scene.house.sender("test");
    let mut request = sender.signed("send", "traced", step.to_string().as_bytes());
    request.headers.push(("traceparent".to_owned(), trace.into()));
    let id = sender.post(request).await.unwrap().id().unwrap();
    scene.house.until("the output", |counts| counts.events == 2).await;
    let came = scene.api.came();
    assert_eq!((came.len(), &*came[0].line), (1, "POST /v1/orders?a=b"), "{came:#?}");
    assert_eq!(came[0].body, "{\"order\":1}");
    for (name, value) in [
        ("host", "api.test"),
        ("authorization", &*format!("Bearer {KEY}")),
        ("idempotency-key", &*format!("{id}/1")),
        ("traceparent", trace),
        ("x-own", "mine"),
        ("content-length", "11"),
    ] {
        assert_eq!(came[0].header(name), Some(value), "{name}: {came:#?}");
    }
    // The output is part of the trace too, and nobody was told the key.
    let events = scene.house.events().await;
    let output = events.iter().find(|shown| shown.event.parent == Some(id)).unwrap().event.id;
    let output = scene.house.reader().event(output).await.unwrap().unwrap();
    assert!(output.attributes.contains(&("traceparent".to_owned(), trace.to_owned())));
    assert!(!String::from_utf8_lossy(&output.body).contains(KEY), "{output:?}");
    assert!(!scene.house.log().contains(KEY));
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_request_of_the_next_attempt_has_the_same_idempotency_key() {
    let fast = format!("{GRANT}backoff = \"1ms\"\n");
    let scene = Scene::start(&["reach"], &fast).await;
    let steps = json!([
        { "method": "POST", "url": "http://api.test/first" },
        { "method": "POST", "url": "http://api.test/once/500" },
    ]);
    let shown = scene.over("must", &steps).await;
    assert_eq!(shown.deliveries[0].attempts.len(), 2, "{shown:#?}");
    assert_eq!(shown.deliveries[0].attempts[0].attempt.outcome, Outcome::Retry);
    let came = scene.api.came();
    let keys: Vec<_> = came.iter().map(|came| came.header("idempotency-key").unwrap()).collect();
    let id = shown.event.id;
    assert_eq!(keys, [format!("{id}/1"), format!("{id}/2"), format!("{id}/1"), format!("{id}/2")]);
    assert_eq!(scene.api.connections(), 1, "a connection is kept");
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_server_says_becomes_what_a_plugin_does() {
    let scene = Scene::start(&["reach"], GRANT).await;
    let rejected = scene.over("must", &json!([url("http://api.test/status/404")])).await;
    assert_eq!(rejected.deliveries[0].state, DeliveryState::Dead);
    let attempt = &rejected.deliveries[0].attempts[0].attempt;
    assert_eq!(attempt.message.as_deref(), Some("answered with 404"));
    // 503 with Retry-After: 7.
    let later = scene.post("must", &json!([url("http://api.test/status/503")])).await;
    let failed = |shown: &Shown| shown.deliveries[0].attempts.len() == 1;
    let later = scene.house.until_event(later, "the first attempt", failed).await;
    let delivery = &later.deliveries[0];
    let wait = delivery.due_at.since(delivery.attempts[0].started_at);
    assert!(wait >= std::time::Duration::from_secs(7), "{wait:?}");
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_granted_is_not_reached() {
    let at = Arc::new(AtomicUsize::new(0));
    let ports = GRANT.replace("\"http://*\"", "\"http://*\", \"http://*:INNER\"");
    let scene = Scene::with_names(&["reach"], &ports, move |name| {
        // Another answer each time: first the address that is granted, then one that is not.
        let turn = at.fetch_add(1, Ordering::SeqCst);
        (name == "rebinding.test").then(|| match turn {
            0 => SocketAddr::from(([127, 0, 0, 1], 1)),
            _ => SocketAddr::from(([127, 0, 0, 2], 1)),
        })
    })
    .await;
    let inner = scene.inner.address.port();
    let [mapped, literal] =
        ["[::ffff:127.0.0.2]", "127.0.0.2"].map(|host| format!("http://{host}:{inner}/"));
    for address in [
        "http://inner.test/",
        "http://metadata.test/latest/meta-data/",
        "http://169.254.169.254/latest/meta-data/",
        "http://[fd00:ec2::254]/latest/meta-data/",
        "http://10.0.0.1/",
        "http://0.0.0.0/",
        "http://[::1]/",
        &literal,
        &mapped,
    ] {
        let answer = scene.answer(url(address)).await;
        assert_eq!(answer["code"], "denied", "{address}: {answer}");
        assert!(answer["message"].as_str().unwrap().contains("http_addresses"), "{answer}");
    }
    // The first lookup is the one that is connected to: port 1 refuses. The second is not let through.
    let answer = scene.answer(url("http://rebinding.test/")).await;
    assert_eq!(answer["code"], "connect", "{answer}");
    let answer = scene.answer(url("http://rebinding.test/")).await;
    assert_eq!(answer["code"], "denied", "{answer}");
    // A redirect is an answer, wherever it leads.
    let to = format!("http://127.0.0.2:{inner}/");
    let answer = scene.answer(url(&format!("http://api.test/redirect?{to}"))).await;
    assert_eq!((answer["status"].clone(), answer["location"].clone()), (json!(302), json!(to)));
    assert_eq!(scene.inner.connections(), 0, "{:?}", scene.inner.came());
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_and_secrets_are_the_operators() {
    let narrow = r#"[plugins.reach]
api = "off"
http = ["http://api.test", "https://*.example.com"]
http_addresses = ["127.0.0.0/8"]
secrets = { API_KEY = { env = "API_KEY", hosts = ["https://pay.example.com"] }, OPEN = { env = "API_KEY", readable = true } }
"#;
    let scene = Scene::start(&["reach"], narrow).await;
    for other in
        ["http://inner.test/", "https://api.test/", "https://example.com/", "http://api.test:81/"]
    {
        let answer = scene.answer(url(other)).await;
        assert_eq!(answer["code"], "denied", "{other}: {answer}");
        assert!(answer["message"].as_str().unwrap().contains("add it to http"), "{answer}");
    }
    let secret = |name: &str| json!({ "url": "http://api.test/", "secrets": [["x-key", name]] });
    let answer = scene.answer(secret("{API_KEY}")).await;
    assert_eq!(answer["code"], "denied", "it goes to pay.example.com alone: {answer}");
    let answer = scene.answer(secret("{OTHER}")).await;
    assert_eq!(answer["code"], "denied", "{answer}");
    for name in ["host", "Transfer-Encoding", "proxy-authorization", "connection"] {
        let step = json!({ "url": "http://api.test/", "headers": [[name, "x"]] });
        assert_eq!(scene.answer(step).await["code"], "denied", "{name}");
    }
    assert!(scene.api.came().is_empty() && scene.inner.came().is_empty());
    // Readable or not.
    let read = scene.over("read", &json!("OPEN")).await;
    assert_eq!(read.deliveries[0].state, DeliveryState::Done);
    let hidden = scene.post("read", &json!("API_KEY")).await;
    let failed = |shown: &Shown| shown.deliveries[0].attempts.len() == 1;
    let hidden = scene.house.until_event(hidden, "an attempt", failed).await;
    let attempt = &hidden.deliveries[0].attempts[0].attempt;
    assert_eq!(attempt.outcome, Outcome::Retry);
    assert!(attempt.message.as_ref().unwrap().contains("readable = true"), "{attempt:?}");
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sizes_times_and_counts_are_bounded() {
    let limits = "http_requests = 8\nhttp_headers = 3\nhttp_headers_max = \"1KiB\"\n\
                  http_request_max = \"64KiB\"\nhttp_response_max = \"128KiB\"\nhttp_received_max = \"256KiB\"\ntimeout = \"4s\"\nmax_attempts = 1\n";
    let scene = Scene::start(&["reach"], &format!("{GRANT}{limits}")).await;
    let code = async |step: Value| scene.answer(step).await["code"].clone();
    assert_eq!(code(url("http://api.test/endless")).await, "too-large");
    assert_eq!(code(url("http://api.test/large/131073")).await, "too-large");
    assert_eq!(scene.answer(url("http://api.test/large/131072")).await["size"], 131_072);
    let body = json!({ "method": "POST", "url": "http://api.test/", "bytes": 65_537 });
    assert_eq!(code(body).await, "limit");
    let headers = |names: &[&str], length: usize| {
        let all: Vec<_> = names.iter().map(|name| (name, "v".repeat(length))).collect();
        json!({ "url": "http://api.test/", "headers": all })
    };
    assert_eq!(scene.answer(headers(&["a", "b", "c"], 300)).await["status"], 200);
    for step in [headers(&["a", "b", "c", "d"], 1), headers(&["a", "b"], 512)] {
        let answer = scene.answer(step).await;
        assert_eq!(answer["code"], "limit");
        let said = answer["message"].as_str().unwrap();
        assert!(said.contains("more than the 3 with 1024 bytes"), "{said}");
    }
    let hanging = json!({ "url": "http://api.test/hang", "timeout_ms": 50 });
    let answer = scene.answer(hanging).await;
    assert_eq!(
        (answer["code"].clone(), answer["retryable"].clone()),
        (json!("timeout"), json!(true))
    );
    // All answers of an attempt together, and all of its requests.
    let large = vec![url("http://api.test/large/131072"); 3];
    let answers = scene.answers("send", &json!(large)).await;
    assert_eq!(answers[1]["status"], 200);
    assert_eq!(answers[2]["code"], "too-large");
    let many = vec![url("http://api.test/"); 10];
    let answers = scene.answers("send-all", &json!(many)).await;
    assert_eq!(answers[7]["status"], 200, "{answers:?}");
    assert_eq!(
        (answers[8]["code"].clone(), answers[9]["code"].clone()),
        (json!("limit"), json!("limit"))
    );
    // The attempt's own time ends what waits, and the connection with it.
    let open = scene.api.open();
    let shown = scene.over("send", &json!([url("http://api.test/hang")])).await;
    assert_eq!(shown.deliveries[0].attempts[0].attempt.outcome, Outcome::Timeout, "{shown:#?}");
    scene.api.until("the connection to go", |api| api.open() <= open).await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn send_all_sends_at_the_same_time_and_answers_in_order() {
    let scene = Scene::start(&["reach"], GRANT).await;
    // None is answered before all five are there.
    let meeting = |n: usize| json!({ "method": "POST", "url": "http://api.test/meet/5", "body": n.to_string() });
    let mut steps: Vec<_> = (0..5).map(meeting).collect();
    steps.insert(2, url("http://inner.test/"));
    let answers = scene.answers("send-all", &json!(steps)).await;
    assert_eq!(answers[2]["code"], "denied");
    let bodies: Vec<_> = answers.iter().filter_map(|answer| answer["body"].as_str()).collect();
    assert_eq!(bodies, ["0", "1", "2", "3", "4"]);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plugins_do_not_share_connections() {
    let other = GRANT.replace("plugins.reach", "plugins.reach-too");
    let scene = Scene::start(&["reach", "reach-too"], &format!("{GRANT}{other}")).await;
    for _ in 0..3 {
        scene.post("must", &json!([url("http://api.test/")])).await;
        let settled = scene.house.settled().await;
        assert!(settled.iter().all(|shown| shown.deliveries.len() == 2), "{settled:#?}");
    }
    assert_eq!(scene.api.came().len(), 6);
    assert_eq!(scene.api.connections(), 2, "one for each");
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_is_believed_only_with_an_authority_behind_it() {
    for believed in [true, false] {
        let root = Authority::root("root");
        let issuer = if believed { &root } else { &Authority::root("root") };
        let provider = Provider::start(issuer, &["safe.test"]).await;
        provider.answer("/", 200, "safe");
        let folder = tempfile::tempdir().unwrap();
        let pem = folder.path().join("roots.pem");
        std::fs::write(&pem, root.pem()).unwrap();
        let sections = format!("{GRANT}[egress]\nroots = \"{}\"\n", pem.display());
        let at = provider.tls;
        let scene = Scene::with_names(&["reach"], &sections, move |_| Some(at)).await;
        let answer = scene.answer(url("https://safe.test/")).await;
        match believed {
            true => assert_eq!(answer["body"], "safe", "{answer}"),
            false => assert_eq!(answer["code"], "tls", "{answer}"),
        }
        scene.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wasi_http_goes_the_same_way() {
    let grant = "[plugins.foreign]\nhttp = [\"http://api.test\", \"http://inner.test\"]\nhttp_addresses = [\"127.0.0.1\"]\n\
                 http_request_max = \"64KiB\"\nhttp_response_max = \"128KiB\"\n";
    let scene = Scene::start(&["foreign"], grant).await;
    let send = async |step: Value| scene.answers("foreign", &step).await.remove(0);
    let to = |authority: &str, path: &str| json!({ "authority": authority, "path": path });
    let answer =
        send(json!({ "method": "POST", "authority": "api.test", "path": "/x?y", "bytes": 10_000,
        "headers": [["x-own", "mine"], ["content-length", "10000"]] }))
        .await;
    assert_eq!(answer, json!({ "status": 200, "size": 10_000 }));
    let came = scene.api.came();
    assert_eq!((&*came[0].line, came[0].body.len()), ("POST /x?y", 10_000));
    assert_eq!(came[0].header("host"), Some("api.test"));
    assert_eq!(came[0].header("x-own"), Some("mine"));
    assert!(came[0].header("idempotency-key").unwrap().ends_with("/1"));
    for (step, word) in [
        (to("inner.test", "/"), "HttpRequestDenied"),
        (to("evil.test", "/"), "HttpRequestDenied"),
        (to("169.254.169.254", "/"), "HttpRequestDenied"),
        (to("api.test", "/endless"), "HttpResponseBodySize"),
        (
            json!({ "method": "POST", "authority": "api.test", "path": "/", "bytes": 100_000 }),
            "HttpRequestBodySize",
        ),
        (
            json!({ "authority": "api.test", "path": "/", "headers": [["host", "evil.test"]] }),
            "Forbidden",
        ),
        (
            json!({ "authority": "api.test", "path": "/", "headers": [["transfer-encoding", "chunked"]] }),
            "Forbidden",
        ),
    ] {
        let answer = send(step.clone()).await;
        let error = answer["error"].as_str().unwrap_or_default();
        assert!(error.contains(word), "{step}: {answer}");
    }
    assert_eq!(scene.inner.connections(), 0);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_nobody_sends_holds_little() {
    let scene =
        Scene::start(&["foreign"], "[plugins.foreign]\nhttp = [\"http://api.test\"]\n").await;
    let taken = scene.answers("foreign", &json!({ "hoard": true })).await[0]["taken"].as_u64();
    // Sixty begun bodies; the host's default would take 60 MiB and more of them.
    assert!(taken.is_some_and(|taken| (1..=4 << 20).contains(&taken)), "{taken:?}");
    assert!(scene.api.came().is_empty());
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_is_run_again_sends_with_the_same_key() {
    let scene = Scene::start(&["reach"], GRANT).await;
    let url = format!("http://{}/api/reach/", scene.house.public);
    let client = bounded::client();
    let mut asked = tokio::task::JoinSet::new();
    // The server answers nobody before all four are there: each has then read the same state.
    for _ in 0..4 {
        asked.spawn(client.post(&url).body("http://api.test/meet/4").send());
    }
    let mut ids = Vec::new();
    for answer in asked.join_all().await {
        let answer = answer.unwrap();
        assert_eq!(answer.status(), 200);
        ids.push(answer.headers()["x-request-id"].to_str().unwrap().to_owned());
    }
    let came = scene.api.came();
    assert!(came.len() > 4, "none was run again: {came:#?}");
    for id in &ids {
        let key = format!("{id}/1");
        let sent = came.iter().filter(|came| came.header("idempotency-key") == Some(&key));
        assert!(sent.count() >= 1, "{id}: {came:#?}");
    }
    let keys: std::collections::BTreeSet<_> =
        came.iter().map(|came| came.header("idempotency-key").unwrap()).collect();
    assert_eq!(keys.len(), 4, "one for each request, however often it was run");
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_trace_of_a_request_to_an_api_goes_on_if_it_is_one() {
    let scene = Scene::start(&["reach"], GRANT).await;
    let url = format!("http://{}/api/reach/", scene.house.public);
    let client = bounded::client();
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    for (sent, goes_on) in [(trace, Some(trace)), ("no trace at all", None)] {
        let ask = client.post(&url).header("traceparent", sent).body("http://api.test/");
        assert_eq!(ask.send().await.unwrap().status(), 200);
        let came = scene.api.came();
        assert_eq!(came.last().unwrap().header("traceparent"), goes_on, "{came:#?}");
    }
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_lets_an_api_answer_what_it_was_asked() {
    let scene = Scene::start(&["reach"], GRANT).await;
    let url = format!("http://{}/api/reach/", scene.house.public);
    let client = bounded::client();
    // The server answers when two are there, and the second comes after the stop.
    let asked = tokio::spawn(client.post(&url).body("http://api.test/meet/2").send());
    scene.api.until("the plugin's request", |api| api.came().len() == 1).await;
    scene.gateway.ask_to_stop();
    // Stopping has begun: nobody else gets in.
    while client.get(&url).send().await.is_ok_and(|answer| answer.status() != 503) {
        tokio::task::yield_now().await;
    }
    assert!(!asked.is_finished() && !scene.gateway.has_ended());
    client.get(format!("http://{}/meet/2", scene.api.address)).send().await.unwrap();
    assert_eq!(asked.await.unwrap().unwrap().status(), 200);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_handed_over_ends_the_attempt_at_most() {
    let once = format!("{GRANT}max_attempts = 1\nbreaker = \"off\"\n");
    let foreign = "[plugins.foreign]\nhttp = [\"http://api.test\"]\nmax_attempts = 1\n";
    let scene = Scene::start(
        &["reach", "foreign"],
        &format!("{once}{foreign}subscribe = [\"github/push\"]\n"),
    )
    .await;
    for function in [
        "log",
        "config",
        "secrets",
        "get",
        "set",
        "set-key",
        "delete",
        "increment",
        "keys",
        "url",
        "header",
        "body",
        "secret",
    ] {
        let shown = scene.over("huge", &json!(function)).await;
        let attempt = &shown.deliveries[0].attempts[0].attempt;
        assert!(
            matches!(
                attempt.outcome,
                Outcome::Done | Outcome::Retry | Outcome::Reject | Outcome::Invalid
            ),
            "{function}: {attempt:?}"
        );
        let message = attempt.message.as_deref().unwrap_or_default();
        assert!(message.len() < 2000, "{function}: {} bytes", message.len());
    }
    let bomb =
        scene.house.sender("github").send("push", "bomb", br#"{"bomb":true}"#).await.unwrap();
    let over = |shown: &Shown| shown.deliveries[0].state == DeliveryState::Dead;
    let shown = scene.house.until_event(bomb.id().unwrap(), "the end of the bomb", over).await;
    assert_eq!(shown.deliveries[0].attempts[0].attempt.outcome, Outcome::Trap, "{shown:#?}");
    // And the next one is served.
    assert_eq!(scene.answer(url("http://api.test/")).await["status"], 200);
    assert!(scene.api.came().iter().all(|came| came.line.len() < 100), "nothing huge was sent");
    scene.end().await;
}
