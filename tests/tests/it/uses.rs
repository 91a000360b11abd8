//! What people come for, end to end: each example plugin keeps its promise through the real port, against a
//! stand-in for the world outside.

use std::{collections::BTreeMap, fs};

use hookweir_event::EventId;
use hookweir_store::{DeliveryState, Shown};
use hookweir_tests::{
    bounded, guests,
    house::{House, SECRET},
    load::payment,
    world::{Came, World},
};
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// A house with these plugins.
fn house(plugins: &[&str], sections: &str) -> House {
    let house = House::new(env!("CARGO_BIN_EXE_hookweir-under-test"), sections);
    for plugin in plugins {
        house.put_guest(plugin);
    }
    house
}

/// What a plugin needs to reach the world: its own wish is any host, by TLS.
fn reaching(plugin: &str, world: &World) -> String {
    format!(
        "[plugins.{plugin}]\nhttp = [\"https://*\", \"http://{}\"]\nhttp_addresses = [\"127.0.0.1\"]\n\
         backoff = \"1ms\"\n",
        world.address
    )
}

/// A source by its preset, or declared as the harness has it.
fn source(name: &str, scheme: &str) -> String {
    format!(
        "[sources.{name}]\npath = \"/webhooks/{name}\"\nscheme = {scheme}\n\
         secrets = [{{ env = \"TEST_SECRET\" }}]\nrate = \"off\"\n"
    )
}

const DECLARED: &str = r#"{ signature = "header:x-signature", algorithm = "hmac-sha256", encoding = "hex", signed = "{body}", type = "header:x-webhook-type", id = "header:x-webhook-id", replay_guard = "none" }"#;

async fn send(house: &House, source: &str, event_type: &str, id: &str, body: &Value) -> EventId {
    let sent = house.sender(source).send(event_type, id, body.to_string().as_bytes()).await;
    let sent = sent.unwrap();
    sent.id().unwrap_or_else(|| panic!("not accepted: {sent:?}"))
}

/// The status and the JSON that a plugin's api answers.
async fn ask(house: &House, path: &str) -> (u16, Value) {
    let client = bounded::client();
    let answer = client.get(format!("http://{}/api/{path}", house.public)).send().await.unwrap();
    let status = answer.status().as_u16();
    (status, answer.json().await.unwrap_or_default())
}

/// How each event ended: its type, and the state and the attempts of each of its deliveries.
fn fates(settled: &[Shown]) -> BTreeMap<&str, Vec<(DeliveryState, usize)>> {
    let mut fates: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for shown in settled {
        let deliveries = shown.deliveries.iter();
        let ended = deliveries.map(|delivery| (delivery.state, delivery.attempts.len()));
        fates.entry(shown.event.event_type.as_str()).or_default().extend(ended);
    }
    fates
}

/// What came at a place.
fn at(world: &World, place: &str) -> Vec<Came> {
    world.came().into_iter().filter(|came| came.line.ends_with(place)).collect()
}

fn key(came: &Came) -> &str {
    came.header("idempotency-key").unwrap()
}

fn user() -> Value {
    json!({ "type": "user.created", "data": {
        "id": "user_1", "first_name": "Ada", "last_name": null, "primary_email_address_id": null,
        "email_addresses": [{ "id": "idn_1", "email_address": "ada@example.org" }],
    }})
}

/// A house with `user-signup`, whose account and mail server are at these places of the world.
fn signing_up(world: &World, accounts: &str, mail: &str) -> House {
    let at = world.address;
    let sections = format!(
        "{}subscribe = [\"test/user.created\", \"plugin.user-signup/*\"]\n\
         config = {{ accounts_url = \"http://{at}{accounts}\", mail_url = \"http://{at}{mail}\", mail_from = \"us@example.com\" }}\n\
         [plugins.user-signup.secrets]\n\
         ACCOUNTS_KEY = {{ env = \"TEST_SECRET\", hosts = [\"http://{at}\"] }}\n\
         MAIL_KEY = {{ env = \"TEST_SECRET\", hosts = [\"http://{at}\"] }}\n",
        reaching("user-signup", world)
    );
    house(&["user-signup"], &sections)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_and_a_mail_are_asked_for_at_the_same_time() {
    let world = World::start("127.0.0.1").await;
    // Neither is answered before both are there.
    let house = signing_up(&world, "/meet/2", "/meet/2");
    let gateway = house.start().await;
    send(&house, "test", "user.created", "1", &user()).await;
    let settled = house.settled().await;
    assert_eq!(fates(&settled), BTreeMap::from([("user.created", vec![(DeliveryState::Done, 1)])]));
    let came = world.came();
    assert_eq!(came.len(), 2, "{came:#?}");
    assert_ne!(key(&came[0]), key(&came[1]));
    for came in &came {
        assert_eq!(came.header("authorization"), Some(&*format!("Bearer {SECRET}")));
    }
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_one_call_of_a_signup_that_fails_is_retried_alone() {
    for (accounts, mail, step) in
        [("/users", "/once/503", "mail.welcome"), ("/once/503", "/send", "account.create")]
    {
        let world = World::start("127.0.0.1").await;
        let house = signing_up(&world, accounts, mail);
        let gateway = house.start().await;
        send(&house, "test", "user.created", "1", &user()).await;
        let settled = house.settled().await;
        let done = || vec![(DeliveryState::Done, 1)];
        assert_eq!(fates(&settled), BTreeMap::from([("user.created", done()), (step, done())]));
        let failing = at(&world, "/once/503");
        assert_eq!((world.came().len(), failing.len()), (3, 2), "{:#?}", world.came());
        assert_eq!(failing[0].body, failing[1].body);
        assert_eq!(key(&failing[0]), key(&failing[1]), "to the server they are one");
        assert_eq!(failing[1].header("authorization"), Some(&*format!("Bearer {SECRET}")));
        assert!(gateway.stop().await.success());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_that_is_refused_for_good_is_a_dead_letter_and_the_account_is_none() {
    let world = World::start("127.0.0.1").await;
    let house = signing_up(&world, "/users", "/status/422");
    let gateway = house.start().await;
    send(&house, "test", "user.created", "1", &user()).await;
    let settled = house.settled().await;
    let expected = BTreeMap::from([
        ("user.created", vec![(DeliveryState::Done, 1)]),
        ("mail.welcome", vec![(DeliveryState::Dead, 1)]),
    ]);
    assert_eq!((fates(&settled), at(&world, "/users").len()), (expected, 1));
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_is_told_to_three_at_the_same_time_and_who_fails_is_told_again_alone() {
    for (ci, chat, left) in
        [("/meet/3", "/meet/3", None), ("/ci", "/once/503", Some("team.notify"))]
    {
        let world = World::start("127.0.0.1").await;
        let board = if left.is_none() { "/meet/3" } else { "/board" };
        let url = |place: &str| format!("{{ url = \"http://{}{place}\" }}", world.address);
        let sections = format!(
            "{}[plugins.github.config]\nci = {}\nboard = {}\nchat = {}\n",
            reaching("github", &world),
            url(ci),
            url(board),
            url(chat)
        );
        let house = house(&["github"], &sections);
        let gateway = house.start().await;
        let push = json!({
            "ref": "refs/heads/main", "after": "6113728f27ae", "deleted": false,
            "compare": "https://github.com/a/b/compare/1...2", "commits": [{ "message": "Fixes #7" }],
            "repository": { "full_name": "a/b" }, "pusher": { "name": "ada" },
        });
        send(&house, "github", "push", "1", &push).await;
        let settled = house.settled().await;
        let done = || vec![(DeliveryState::Done, 1)];
        let expected: BTreeMap<_, _> =
            left.into_iter().chain(["push"]).map(|kind| (kind, done())).collect();
        assert_eq!(fates(&settled), expected);
        let came = world.came();
        assert_eq!(came.len(), 3 + left.iter().count(), "{came:#?}");
        let again = at(&world, "/once/503");
        if let [first, second] = &again[..] {
            assert_eq!((&first.body, key(first)), (&second.body, key(second)));
        }
        assert_eq!(again.len(), 2 * left.iter().count());
        assert!(gateway.stop().await.success());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_is_fulfilled_once_and_looked_up_after_its_payment() {
    let house = house(&["payments", "orders"], "[plugins.orders]\napi = \"public\"\n");
    let gateway = house.start().await;
    assert_eq!(ask(&house, "orders/order-7").await.0, 404);
    let mut paid: Value = serde_json::from_str(&payment("7", "{}")).unwrap();
    // Stripe may tell of one payment by several events, late and in any order.
    for (id, kind) in [
        ("evt_1", "processing"),
        ("evt_2", "succeeded"),
        ("evt_3", "succeeded"),
        ("evt_4", "payment_failed"),
        ("evt_5", "processing"),
    ] {
        let kind = format!("payment_intent.{kind}");
        (paid["id"], paid["type"]) = (id.into(), kind.clone().into());
        send(&house, "stripe", &kind, id, &paid).await;
    }
    let settled = house.settled().await;
    let fates = fates(&settled);
    assert_eq!(fates["order.paid"], [(DeliveryState::Done, 1)], "one, for `orders`");
    let (status, order) = ask(&house, "orders/order-7").await;
    let expected = json!({ "payment": "pi_7", "status": "paid" });
    assert_eq!((status, &order["payment"]), (200, &expected));
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_of_the_shop_is_looked_up_a_moment_after_its_webhook() {
    let shopify = source("shopify", "\"shopify\"");
    let house = house(&["orders"], &format!("{shopify}[plugins.orders]\napi = \"public\"\n"));
    let gateway = house.start().await;
    let order = |second: u32, financial: &str| {
        json!({
            "id": 820_982_911_946_u64, "name": "#9999", "updated_at": format!("2026-01-01T00:00:{second:02}Z"),
            "cancelled_at": null, "financial_status": financial, "fulfillment_status": null,
            "total_price": "398.00", "currency": "USD",
        })
    };
    // The third is late.
    for (id, topic, order, state) in [
        ("1", "orders/create", order(1, "pending"), "open"),
        ("2", "orders/paid", order(5, "paid"), "paid"),
        ("3", "orders/updated", order(3, "pending"), "paid"),
    ] {
        send(&house, "shopify", topic, id, &order).await;
        house.settled().await;
        let (status, shown) = ask(&house, "orders/820982911946").await;
        assert_eq!((status, &shown["shop"]["is"]["state"]), (200, &json!(state)), "{topic}");
    }
    assert!(gateway.stop().await.success());
}

/// What a warehouse tells of one place: counts at every tenth number, and else moves.
fn told(number: i64) -> (&'static str, Value) {
    match number % 10 {
        0 => (
            "stock.counted",
            json!({
                "item": "nail", "location": "north", "sequence": number, "available": 1_000 + number,
            }),
        ),
        _ => (
            "stock.moved",
            json!({
                "id": format!("mv-{number}"), "item": "nail", "location": "north", "sequence": number,
                "by": if number % 3 == 0 { -number } else { number },
            }),
        ),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stock_is_exact_under_duplicates_disorder_and_a_kill() {
    let sections = format!(
        "{}[plugins.inventory]\napi = \"public\"\nbackoff = \"1ms\"\n",
        source("warehouse", DECLARED)
    );
    let house = house(&["inventory"], &sections);
    let mut gateway = Some(house.start().await);
    // Each of 60 twice, as two events, in two different orders, 8 at a time; half before a kill.
    let numbers: Vec<i64> =
        (0..120).map(|n| if n < 60 { n * 17 % 60 } else { n * 23 % 60 }).collect();
    for half in [0..60, 60..120] {
        let sender = house.sender("warehouse");
        let mut sending = JoinSet::new();
        for event in half {
            let (kind, body) = told(numbers[event]);
            let (sender, body) = (sender.clone(), body.to_string());
            if sending.len() == 8 {
                sending.join_next().await.unwrap().unwrap();
            }
            sending.spawn(async move {
                let sent = sender.send(kind, &event.to_string(), body.as_bytes()).await.unwrap();
                assert_eq!((sent.status, sent.duplicate()), (202, false), "{sent:?}");
            });
        }
        sending.join_all().await;
        gateway.take().unwrap().kill();
        gateway = Some(house.start().await);
    }
    let settled = house.settled().await;
    let fates = fates(&settled);
    let ended: Vec<_> = [&fates["stock.counted"][..], &fates["stock.moved"]].concat();
    assert_eq!(ended.len(), 120);
    assert!(ended.iter().all(|(state, _)| *state == DeliveryState::Done), "{ended:?}");
    // The last count is of 50; the moves behind it came on top.
    let moves = (51..60).map(|n| if n % 3 == 0 { -n } else { n }).sum::<i64>();
    let expected = json!({ "available": 1_050 + moves, "locations": { "north": 1_050 + moves } });
    assert_eq!(ask(&house, "inventory/warehouse/nail").await, (200, expected));
    assert!(gateway.unwrap().stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shopifys_levels_are_exact_under_duplicates_and_disorder() {
    let shopify = source("shopify", "\"shopify\"");
    let house = house(&["inventory"], &format!("{shopify}[plugins.inventory]\napi = \"public\"\n"));
    let gateway = house.start().await;
    let sender = house.sender("shopify");
    let mut accepted = 0;
    for (id, second, milli, available) in
        [(1, 30, 0, 8), (2, 31, 200, 6), (3, 31, 900, 5), (4, 29, 0, 9), (2, 31, 200, 6)]
    {
        let body = json!({
            "inventory_item_id": 271_878_346_596_u64, "location_id": 24_826_418, "available": available,
            "updated_at": format!("2026-01-01T00:00:{second}Z"),
        });
        let body = body.to_string();
        let mut request =
            sender.signed("inventory_levels/update", &id.to_string(), body.as_bytes());
        let triggered = format!("2026-01-01T00:00:{second}.{milli:03}Z");
        request.headers.push(("x-shopify-triggered-at".to_owned(), triggered.into()));
        let reply = sender.post(request).await.unwrap();
        accepted += usize::from(reply.status == 200 || reply.status == 202);
        assert_eq!(reply.duplicate(), accepted == 5, "{reply:?}");
    }
    let settled = house.settled().await;
    let webhooks = settled.iter().filter(|shown| shown.event.parent.is_none()).count();
    assert_eq!((accepted, webhooks), (5, 4));
    let level = ask(&house, "inventory/shopify/271878346596").await.1;
    assert_eq!(level["available"], 5);
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alert_is_said_in_the_chat_and_its_url_nowhere() {
    let world = World::start("127.0.0.1").await;
    // The gateway's own source can't be sent to; the operator may subscribe a plugin to another.
    let sections = format!(
        "{}subscribe = [\"test/alert.*\"]\nconfig = {{ gateway = \"hooks-eu\" }}\n\
         secrets = {{ WEBHOOK_URL = {{ file = \"webhook_url\", readable = true }} }}\n",
        reaching("alerts", &world)
    );
    let house = house(&["alerts"], &sections);
    let url = |place: &str| format!("http://{}{place}", world.address);
    let write = |place: &str| {
        fs::write(house.config().with_file_name("webhook_url"), url(place)).unwrap();
    };
    write("/once/503");
    let gateway = house.start().await;
    let alert = json!({ "plugin": "payments", "latency_ms": 7_312, "threshold_ms": 5_000 });
    let id = send(&house, "test", "alert.latency", "1", &alert).await;
    let settled = house.settled().await;
    assert_eq!(fates(&settled)["alert.latency"], [(DeliveryState::Done, 2)]);
    let came = world.came();
    let said: Value = serde_json::from_slice(&came[1].body).unwrap();
    let text = "*hooks-eu*: events take too long at `payments`\n• latency ms: 7312\n• plugin: payments\n\
                • threshold ms: 5000";
    assert_eq!((came.len(), &said["text"]), (2, &json!(text)));
    let kept = format!("{settled:?}{:?}", house.reader().event(id).await.unwrap());
    assert!(!kept.contains("/once/503") && !house.log().contains("/once/503"));
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_samples_of_the_examples_let_them_go_live() {
    let secrets = "ACCOUNTS_KEY = { env = \"TEST_SECRET\", hosts = [\"https://accounts.example.com\"] }\n\
                   MAIL_KEY = { env = \"TEST_SECRET\", hosts = [\"https://mail.example.com\"] }\n";
    let sections = format!(
        "[plugins.orders]\napi = \"public\"\n[plugins.inventory]\napi = \"public\"\n[plugins.user-signup]\n\
         http = [\"https://accounts.example.com\", \"https://mail.example.com\"]\n\
         config = {{ accounts_url = \"https://accounts.example.com/v1/users\", mail_url = \"https://mail.example.com/v1/send\", mail_from = \"us@example.com\" }}\n\
         [plugins.user-signup.secrets]\n{secrets}"
    );
    let house = house(&[], &sections);
    for plugin in ["user-signup", "orders", "inventory"] {
        let from = guests::root().join("plugins").join(plugin).join("samples");
        let to = house.plugins().join(format!("{plugin}.samples"));
        fs::create_dir(&to).unwrap();
        for sample in fs::read_dir(&from).unwrap().map(|entry| entry.unwrap().path()) {
            fs::copy(&sample, to.join(sample.file_name().unwrap())).unwrap();
        }
        house.put_guest(plugin);
    }
    let gateway = house.start().await;
    for plugin in ["user-signup", "orders", "inventory"] {
        house.until_log(0, &["plugin is live", plugin]).await;
    }
    // They are run: one that expects something else keeps its plugin out.
    let sample = house.plugins().join("orders.samples/orders.create.json");
    let text = fs::read_to_string(&sample).unwrap();
    let mut text: Value = serde_json::from_str(&text).unwrap();
    text["expect"] = "reject".into();
    fs::write(sample, text.to_string()).unwrap();
    let log = house.log().len();
    house.put("orders", &guests::with_section(guests::wasm("orders"), 1));
    house.until_log(log, &["orders.create.json", "the last good version keeps serving"]).await;
    assert!(gateway.stop().await.success());
}
