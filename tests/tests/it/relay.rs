//! The plugin `relay` end to end: endpoints that are registered by REST get what is published, signed, through
//! the real gateway, whatever becomes of the other endpoints.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use hookweir::config::{Config, Surroundings};
use hookweir_event::Clock;
use hookweir_store::{DeliveryState, Shown};
use hookweir_tests::{
    bounded, guests,
    house::{House, SECRET},
    world::{Came, World},
};
use hookweir_verify::{Incoming, Scheme, Secret};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

const DENIED: &str = "the gateway may not send to this URL; its operator can allow it";
const PROGRAM: &str = env!("CARGO_BIN_EXE_hookweir-under-test");

/// A house with `relay`, which may send to these origins too, and tries again quickly and often.
fn house(http: &[String], config: &str) -> House {
    house_of(&sections(http, config))
}

fn house_of(sections: &str) -> House {
    let house = House::new(PROGRAM, sections);
    house.put_guest("relay");
    house
}

fn sections(http: &[String], config: &str) -> String {
    // Its own wish is any host, by TLS: it goes live with one of those.
    let http = [&["https://hooks.example.com".to_owned()], http].concat();
    format!(
        "[plugins.relay]\nsubscribe = [\"test/*\", \"plugin.relay/relay.*\"]\napi = \"public\"\n\
         http = {http:?}\nhttp_addresses = [\"127.0.0.1\"]\nbreaker = \"off\"\nmax_attempts = 100\n\
         backoff = \"50ms\"\nbackoff_max = \"200ms\"\nconfig = {{ {config} }}\n"
    )
}

fn origin(world: &World) -> String {
    format!("http://{}", world.address)
}

/// Asks the plugin's api.
#[derive(Clone)]
struct Client(reqwest::Client, String);

impl Client {
    fn of(house: &House) -> Self {
        let client = bounded::client();
        Self(client, format!("http://{}/api/relay/endpoints", house.public))
    }

    /// The status and the JSON that is answered.
    async fn ask(&self, method: Method, below: &str, body: &Value) -> (u16, Value) {
        let asking = self.0.request(method, format!("{}{below}", self.1)).json(body);
        let answer = asking.send().await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap_or_default())
    }

    /// The id and the secret of a new endpoint.
    async fn register(&self, url: String, types: &[&str]) -> (String, String) {
        let wanted = json!({ "url": url, "types": types });
        let (status, made) = self.ask(Method::POST, "", &wanted).await;
        assert_eq!(status, 201, "{made}");
        let text = |name: &str| made[name].as_str().unwrap().to_owned();
        (text("id"), text("secret"))
    }

    async fn shown(&self, id: &str) -> Value {
        let (status, shown) = self.ask(Method::GET, &format!("/{id}"), &Value::Null).await;
        assert_eq!(status, 200, "{shown}");
        shown
    }
}

/// Publishes an event.
async fn publish(house: &House, event_type: &str, id: &str) {
    let body = json!({ "order": id }).to_string();
    let sent = house.sender("test").send(event_type, id, body.as_bytes()).await.unwrap();
    assert_eq!(sent.status, 202, "{sent:?}");
}

/// What was delivered at a place.
fn at(world: &World, place: &str) -> Vec<Came> {
    world.came().into_iter().filter(|came| came.line == format!("POST {place}")).collect()
}

/// Whether the gateway itself would take it, as a receiver that has this secret.
fn is_signed(came: &Came, secret: &str) -> bool {
    let scheme = Scheme::preset("standard-webhooks").unwrap();
    let secret = Secret::new(scheme.secret(secret).unwrap());
    let headers = came.headers.iter().map(|(name, value)| (name.clone(), value.clone().into()));
    let incoming = Incoming {
        method: "POST".into(),
        path: "/".into(),
        headers: headers.collect(),
        body: came.body.clone(),
        ..Incoming::default()
    };
    let source = "receiver".parse().unwrap();
    scheme.verify(&source, &[secret], incoming, Clock::system().now()).is_ok()
}

fn said<'a>(came: &'a [Came], name: &str) -> BTreeSet<&'a str> {
    came.iter().map(|came| came.header(name).unwrap()).collect()
}

/// The state of the deliveries of each event of this type.
fn states(settled: &[Shown], event_type: &str) -> Vec<DeliveryState> {
    let meant = settled.iter().filter(|shown| shown.event.event_type.as_str() == event_type);
    meant.flat_map(|shown| shown.deliveries.iter().map(|delivery| delivery.state)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_registers_for_a_type_gets_it_signed() {
    let world = World::start("127.0.0.1").await;
    let house = house(&[origin(&world)], "");
    let gateway = house.start().await;
    let client = Client::of(&house);
    let (shop, secret) = client.register(format!("{}/shop", origin(&world)), &["order.*"]).await;
    let (_, other) = client.register(format!("{}/billing", origin(&world)), &["invoice.*"]).await;
    publish(&house, "order.paid", "1").await;
    publish(&house, "stock.low", "2").await;
    let settled = house.settled().await;
    assert_eq!(states(&settled, "relay.deliver"), [DeliveryState::Done]);
    let came = at(&world, "/shop");
    assert_eq!((came.len(), at(&world, "/billing").len()), (1, 0), "{:#?}", world.came());
    assert!(is_signed(&came[0], &secret) && !is_signed(&came[0], &other), "{came:#?}");
    let forged = Came { body: [&came[0].body[..], b" "].concat().into(), ..came[0].clone() };
    assert!(!is_signed(&forged, &secret));
    let body: Value = serde_json::from_slice(&came[0].body).unwrap();
    assert_eq!((&body["type"], &body["data"]), (&json!("order.paid"), &json!({ "order": "1" })));
    let published = settled.iter().find(|shown| shown.event.event_type.as_str() == "order.paid");
    let webhook_id = format!("msg_{}_{shop}", published.unwrap().event.id);
    assert_eq!(said(&came, "webhook-id"), BTreeSet::from([&*webhook_id]));
    let shown = client.shown(&shop).await;
    assert_eq!((&shown["state"], &shown["last_status"]), (&json!("enabled"), &json!(200)));
    assert!(!shown.to_string().contains("whsec_") && !house.log().contains(&secret));
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_endpoint_that_fails_is_retried_alone_over_a_restart() {
    let world = World::start("127.0.0.1").await;
    let house = house(&[origin(&world)], "");
    let gateway = house.start().await;
    let client = Client::of(&house);
    let (_, good) = client.register(format!("{}/good", origin(&world)), &["*"]).await;
    let (down, secret) = client.register(format!("{}/down", origin(&world)), &["*"]).await;
    publish(&house, "order.paid", "1").await;
    let tried = |times: usize| move |world: &World| at(world, "/down").len() >= times;
    world.until("a delivery", |world| at(world, "/good").len() == 1).await;
    world.until("a few retries", tried(3)).await;
    let failing = client.shown(&down).await;
    assert!(failing["failing_since"].is_string(), "{failing}");
    assert_eq!((&failing["state"], &failing["last_status"]), (&json!("enabled"), &json!(500)));
    assert!(gateway.stop().await.success());
    let before = at(&world, "/down").len();
    let gateway = house.start().await;
    world.until("retries after the restart", tried(before + 2)).await;
    world.mend();
    let settled = house.settled().await;
    for event_type in ["order.paid", "relay.deliver", "relay.retry"] {
        let states = states(&settled, event_type);
        assert!(
            states.iter().all(|state| *state == DeliveryState::Done),
            "{event_type} {states:?}"
        );
    }
    let (once, often) = (at(&world, "/good"), at(&world, "/down"));
    assert_eq!(once.len(), 1, "{once:#?}");
    assert!(is_signed(&once[0], &good));
    assert!(often.iter().all(|came| is_signed(came, &secret)), "each at its own time");
    assert_eq!((said(&often, "webhook-id").len(), said(&often, "idempotency-key").len()), (1, 1));
    assert!(often.iter().all(|came| came.body == often[0].body));
    let well = client.shown(&down).await;
    assert_eq!((&well["failing_since"], &well["last_status"]), (&Value::Null, &json!(200)));
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_long_failure_it_is_disabled_and_what_waited_is_sent_when_it_is_enabled() {
    let world = World::start("127.0.0.1").await;
    // What is sent a second time is sent when the first has had its consequences.
    let quick = sections(&[origin(&world)], "disable_after = \"50ms\"");
    let house =
        house_of(&quick.replace("backoff = \"50ms\"\nbackoff_max = \"200ms\"", "backoff = \"1s\""));
    let gateway = house.start().await;
    let client = Client::of(&house);
    let (id, secret) = client.register(format!("{}/down", origin(&world)), &["*"]).await;
    publish(&house, "order.paid", "1").await;
    let settled = house.settled().await;
    let off = client.shown(&id).await;
    assert_eq!(off["state"], "disabled", "{off}");
    let because = off["disabled_because"].as_str().unwrap();
    assert!(because.starts_with("it has failed since ") && because.ends_with("with 500"), "{off}");
    let ended = states(&settled, "relay.retry");
    let dead = ended.iter().filter(|state| **state == DeliveryState::Dead).count();
    assert_eq!((ended.len(), dead), (2, 1), "the one behind it waits for the operator");
    let told =
        settled.iter().filter(|shown| shown.event.event_type.as_str() == "endpoint.disabled");
    assert_eq!(told.count(), 1);
    assert_eq!(states(&settled, "relay.failed"), [DeliveryState::Done; 2]);
    let tried = at(&world, "/down").len();
    assert!(tried >= 2, "{tried}");
    publish(&house, "order.paid", "2").await;
    house.settled().await;
    assert_eq!(at(&world, "/down").len(), tried, "nothing is sent while it is disabled");
    world.mend();
    let enable = json!({ "state": "enabled" });
    let (status, on) = client.ask(Method::PATCH, &format!("/{id}"), &enable).await;
    assert_eq!((status, &on["state"]), (200, &json!("enabled")), "{on}");
    let retried = bounded::output(
        Command::new(PROGRAM)
            .args(["dead", "retry", "--plugin", "relay"])
            .env("TEST_SECRET", SECRET)
            .current_dir(house.config().parent().unwrap()),
    );
    assert!(retried.status.success(), "{retried:?}");
    house.settled().await;
    let came = at(&world, "/down");
    assert_eq!(came.len(), tried + 1);
    assert!(is_signed(&came[tried], &secret));
    assert_eq!(said(&came, "webhook-id").len(), 1, "to the receiver all are one");
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gone_is_disabled_at_once() {
    let world = World::start("127.0.0.1").await;
    let house = house(&[origin(&world)], "");
    let gateway = house.start().await;
    let client = Client::of(&house);
    let (id, _) = client.register(format!("{}/status/410", origin(&world)), &["*"]).await;
    for event in ["1", "2"] {
        publish(&house, "order.paid", event).await;
        house.settled().await;
    }
    assert_eq!(at(&world, "/status/410").len(), 1);
    let off = client.shown(&id).await;
    let because = json!("it answered 410 Gone");
    assert_eq!((&off["state"], &off["disabled_because"]), (&json!("disabled"), &because));
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_a_secret_is_rotated_both_sign() {
    let world = World::start("127.0.0.1").await;
    let house = house(&[origin(&world)], "");
    let gateway = house.start().await;
    let client = Client::of(&house);
    let (id, old) = client.register(format!("{}/shop", origin(&world)), &["*"]).await;
    let (status, rotated) = client.ask(Method::POST, &format!("/{id}/rotate"), &Value::Null).await;
    assert_eq!(status, 200, "{rotated}");
    let new = rotated["secret"].as_str().unwrap();
    assert_ne!(new, old);
    publish(&house, "order.paid", "1").await;
    house.settled().await;
    let came = at(&world, "/shop");
    assert_eq!(came.len(), 1);
    assert!(is_signed(&came[0], &old) && is_signed(&came[0], new), "{came:#?}");
    assert_eq!(came[0].header("webhook-signature").unwrap().split(' ').count(), 2);
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_that_fail_at_once_are_sent_once_before_they_wait() {
    let world = World::start("127.0.0.1").await;
    let patient = sections(&[origin(&world)], "").replace("50ms", "1h").replace("200ms", "1h");
    let house = House::new(PROGRAM, &patient);
    house.put_guest("relay");
    let gateway = house.start().await;
    let client = Client::of(&house);
    let (id, _) = client.register(format!("{}/down", origin(&world)), &["*"]).await;
    let mut sending = JoinSet::new();
    for nth in 0..50 {
        let sender = house.sender("test");
        sending.spawn(async move {
            let sent = sender.send("order.paid", &nth.to_string(), b"{}").await;
            assert_eq!(sent.unwrap().status, 202);
        });
    }
    sending.join_all().await;
    // Three of each are done; the retry waits.
    house.until("all failures", |counts| counts.done == 150 && counts.due == 50).await;
    let events = house.events().await;
    let retries = events.iter().filter(|shown| shown.event.event_type.as_str() == "relay.retry");
    for retry in retries {
        let waits = |shown: &Shown| shown.deliveries[0].attempts.len() == 1;
        house.until_event(retry.event.id, "its first wait", waits).await;
    }
    let came = at(&world, "/down");
    assert_eq!((came.len(), said(&came, "webhook-id").len()), (50, 50));
    let failing = client.shown(&id).await;
    assert_eq!((&failing["state"], &failing["last_status"]), (&json!("enabled"), &json!(500)));
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_more_than_the_operator_lets_it_send_is_no_failure_of_the_endpoint() {
    let world = World::start("127.0.0.1").await;
    let small = format!("{}http_request_max = \"1KiB\"\n", sections(&[origin(&world)], ""));
    let house = House::new(PROGRAM, &small);
    house.put_guest("relay");
    let gateway = house.start().await;
    let client = Client::of(&house);
    let (id, _) = client.register(format!("{}/in", origin(&world)), &["*"]).await;
    publish(&house, "order.paid", &"x".repeat(1024)).await;
    let settled = house.settled().await;
    assert_eq!(states(&settled, "relay.deliver"), [DeliveryState::Dead]);
    assert_eq!((settled.len(), at(&world, "/in").len()), (2, 0));
    let well = client.shown(&id).await;
    assert_eq!((&well["last_at"], &well["failing_since"]), (&Value::Null, &Value::Null));
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_endpoint_gets_nothing_more() {
    let world = World::start("127.0.0.1").await;
    let house = house(&[origin(&world)], "");
    let gateway = house.start().await;
    let client = Client::of(&house);
    let (id, _) = client.register(format!("{}/down", origin(&world)), &["*"]).await;
    publish(&house, "order.paid", "1").await;
    world.until("a retry", |world| at(world, "/down").len() >= 2).await;
    let (status, _) = client.ask(Method::DELETE, &format!("/{id}"), &Value::Null).await;
    assert_eq!(status, 204);
    let settled = house.settled().await;
    assert_eq!(states(&settled, "relay.retry"), [DeliveryState::Done], "what waited has ended");
    let tried = at(&world, "/down").len();
    publish(&house, "order.paid", "2").await;
    house.settled().await;
    assert_eq!(at(&world, "/down").len(), tried);
    assert_eq!(client.ask(Method::GET, "", &Value::Null).await, (200, json!([])));
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_the_operator_does_not_let_it_nothing_is_registered_or_sent() {
    let (world, inner) = (World::start("127.0.0.1").await, World::start("127.0.0.2").await);
    let house = house(&[origin(&world), origin(&inner)], "");
    let gateway = house.start().await;
    let client = Client::of(&house);
    for url in [
        format!("{}/in", origin(&inner)),
        "http://169.254.169.254/latest".to_owned(),
        "https://other.example.com/in".to_owned(),
    ] {
        let wanted = json!({ "url": url, "types": ["*"] });
        let (status, refused) = client.ask(Method::POST, "", &wanted).await;
        // Whether it is the grant or an address within is the operator's to know.
        assert_eq!((status, &refused["error"]), (422, &json!(DENIED)), "{url}");
    }
    // What was granted once is held against the grant each time.
    let (id, _) = client.register(format!("{}/in", origin(&world)), &["*"]).await;
    assert!(gateway.stop().await.success());
    house.write_config(&sections(&[], ""));
    let gateway = house.start().await;
    publish(&house, "order.paid", "1").await;
    house.until_log(0, &["will be tried again", "is not granted"]).await;
    house.until("what is noted", |counts| counts.events == 4 && counts.done == 3).await;
    let failing = client.shown(&id).await;
    assert_eq!((&failing["last_error"], &failing["failing_since"]), (&json!(DENIED), &Value::Null));
    assert_eq!((at(&world, "/in").len(), inner.came().len()), (0, 0));
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_that_register_at_once_as_many_are_kept_as_may_be() {
    let world = World::start("127.0.0.1").await;
    let house = house(&[origin(&world)], "endpoints_max = 3");
    let gateway = house.start().await;
    let client = Client::of(&house);
    let wanted = json!({ "url": format!("{}/in", origin(&world)), "types": ["*"] });
    let mut asking = JoinSet::new();
    for _ in 0..10 {
        let (client, wanted) = (client.clone(), wanted.clone());
        asking.spawn(async move { client.ask(Method::POST, "", &wanted).await.0 });
    }
    let mut statuses = asking.join_all().await;
    statuses.sort_unstable();
    assert_eq!(statuses, [&[201; 3][..], &[409; 7]].concat());
    let (_, listed) = client.ask(Method::GET, "", &Value::Null).await;
    assert_eq!(listed.as_array().unwrap().len(), 3);
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_samples_let_it_go_live() {
    let house = House::new(PROGRAM, &sections(&[], ""));
    let from = guests::root().join("plugins/relay/samples");
    let to = house.plugins().join("relay.samples");
    fs::create_dir(&to).unwrap();
    for sample in fs::read_dir(&from).unwrap().map(|entry| entry.unwrap().path()) {
        fs::copy(&sample, to.join(sample.file_name().unwrap())).unwrap();
    }
    house.put_guest("relay");
    let gateway = house.start().await;
    house.until_log(0, &["plugin is live", "relay"]).await;
    // They are run: one that expects something else keeps it out.
    let sample = house.plugins().join("relay.samples/relay.retry.gone.json");
    let mut text: Value = serde_json::from_str(&fs::read_to_string(&sample).unwrap()).unwrap();
    text["expect"] = "retry".into();
    fs::write(sample, text.to_string()).unwrap();
    let log = house.log().len();
    house.put("relay", &guests::with_section(guests::wasm("relay"), 1));
    house.until_log(log, &["relay.retry.gone.json", "the last good version keeps serving"]).await;
    assert!(gateway.stop().await.success());
}

#[test]
fn the_config_of_its_page_is_good() {
    let page = fs::read_to_string(guests::root().join("plugins/relay/README.md")).unwrap();
    let block = page.split("```toml\n").nth(1).unwrap().split("\n```").next().unwrap();
    let env = |_: &str| Some("a-secret-of-some-length".to_owned());
    let around = Surroundings { env: &env, ..Surroundings::real() };
    let config = Config::parse(block, Path::new(""), &around).unwrap();
    assert_eq!((config.sources.len(), config.plugins.len()), (1, 1));
}
