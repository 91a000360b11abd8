//! Alerts over the real port: raised once, cleared once, also over restarts, sent to who subscribes, and shown
//! to operators.

use hookweir_store::{DeliveryState, Filter, Shown};
use hookweir_tests::{
    bounded, guests,
    house::{House, NO_ALERTS},
};
use serde_json::{Value, json};

use crate::cli::hookweir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_hookweir-under-test");

/// What a test does not set is off, and windows are short.
fn quiet(lines: &str) -> String {
    format!("{NO_ALERTS}window = \"2s\"\nat_least = 5\n{lines}")
}

fn house(sections: &str) -> House {
    let house = House::new(PROGRAM, &quiet(sections));
    house.put_guest("hostile");
    // Does nothing but give back what it gets.
    house.put("chat", &guests::wasm("echo"));
    house
}

/// The alerts that were made, the first one first: their types, and what they tell.
async fn made(house: &House) -> Vec<(String, Value)> {
    let filter = Filter { pattern: Some("gateway/*".parse().unwrap()), ..Filter::default() };
    let reader = house.reader();
    let found = reader.search(&filter, None, 1000).await.unwrap().found;
    let mut made = Vec::new();
    for shown in found.into_iter().rev() {
        let event = reader.event(shown.event.id).await.unwrap().unwrap();
        assert_eq!(event.origin.to_string(), "gateway");
        let told = serde_json::from_slice(&event.body).unwrap();
        made.push((event.event_type.to_string(), told));
    }
    made
}

async fn states(house: &House) -> Vec<String> {
    let made = made(house).await;
    made.iter().map(|(_, told)| told["state"].as_str().unwrap().to_owned()).collect()
}

/// The one alert that the admin API tells of.
async fn listed(house: &House) -> Value {
    house.admin("alerts").await["items"][0].clone()
}

async fn send(house: &House, event_type: &str, ids: std::ops::Range<u32>) {
    let sender = house.sender("test");
    for id in ids {
        let id = format!("{event_type}-{id}");
        assert_eq!(sender.send(event_type, &id, b"x").await.unwrap().status, 202);
    }
}

fn is_done(shown: &Shown) -> bool {
    shown.deliveries.iter().all(|delivery| delivery.state == DeliveryState::Done)
}

const RAISED: &[&str] = &["alert raised"];
const CLEARED: &[&str] = &["alert cleared"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_that_fails_is_told_once_and_that_it_is_well_once_over_a_restart() {
    let sections = |window: &str| {
        format!(
            "[plugins.hostile]\nmax_attempts = 1\nbreaker = \"off\"\n\
             [plugins.hostile.alerts]\nerror_rate = 0.01\nwindow = \"{window}\"\n\
             [plugins.chat]\nsubscribe = [\"gateway/alert.*\"]\n"
        )
    };
    // It is raised for as long as this takes.
    let house = house(&sections("1h"));
    let gateway = house.start().await;
    send(&house, "reject", 0..6).await;
    house.until_log(0, RAISED).await;
    send(&house, "reject", 6..9).await;
    house.until("nine dead letters", |counts| counts.dead == 9).await;
    let raised = listed(&house).await;
    assert_eq!((&raised["alert"], &raised["state"]), (&json!("error-rate"), &json!("raised")));
    assert_eq!((&raised["plugin"], &raised["clearedAt"]), (&json!("hostile"), &Value::Null));
    let id = raised["event"].as_str().unwrap().parse().unwrap();
    house.until_event(id, "the chat", is_done).await;
    let told = house.metrics().await;
    let labels = [("alert", "error-rate"), ("plugin", "hostile")];
    assert_eq!(told.value("hookweir_alert_raised", &labels), 1.0);
    let folder = house.config().parent().unwrap().to_owned();
    hookweir(&folder, &["alerts", "--raised"]).succeeds(&[
        "error-rate",
        "plugin hostile",
        "error_rate 1.0",
    ]);
    hookweir(&folder, &["status"]).succeeds(&["alert       error-rate of plugin hostile, since "]);

    // Whoever dies while it is raised does not raise it again.
    gateway.kill();
    let log = house.log().len();
    let gateway = house.start().await;
    assert_eq!(listed(&house).await["state"], "raised");
    send(&house, "reject", 9..15).await;
    house.until("fifteen dead letters", |counts| counts.dead == 15).await;
    send(&house, "echo", 0..1).await;
    house.write_config(&quiet(&sections("2s")));
    house.until_log(log, CLEARED).await;
    assert!(!house.log()[log..].contains("alert raised"));
    assert_eq!(states(&house).await, ["raised", "cleared"]);

    let made = made(&house).await;
    let [(first, raised), (second, cleared)] = &made[..] else { panic!("{made:?}") };
    assert_eq!((first.as_str(), second.as_str()), ("alert.error-rate", "alert.error-rate"));
    assert_eq!((&raised["plugin"], &raised["error_rate"]), (&json!("hostile"), &json!(1.0)));
    assert_eq!(raised["threshold"], 0.01);
    assert!(raised["attempts"].as_u64().unwrap() >= 5);
    assert_eq!(raised["since"], cleared["since"]);
    let listed = listed(&house).await;
    assert_eq!(listed["state"], "cleared");
    assert!(listed["clearedAt"].as_str() > listed["raisedAt"].as_str());
    let quiet = house.metrics().await;
    assert_eq!(quiet.value("hookweir_alert_raised", &labels), 0.0);
    assert_eq!(quiet.series("hookweir_alert_raised", &labels), 1);

    hookweir(&folder, &["alerts"]).succeeds(&["cleared"]);
    let raised = hookweir(&folder, &["alerts", "--raised"]);
    raised.succeeds(&["ALERT"]);
    assert_eq!(raised.out.lines().count(), 1, "{}", raised.out);
    let said = hookweir(&folder, &["events", "list", "--match", "gateway/*"]);
    assert_eq!(said.out.matches("gateway/alert.error-rate").count(), 2, "{}", said.out);
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_cleared_rests_over_a_restart() {
    // Both do the same, and are judged in the order of their names; one of them rests for long.
    let house = house(
        "[plugins.hostile.alerts]\ndead_letters = 0\nwindow = \"1h\"\n\
         [plugins.other.alerts]\ndead_letters = 0\nwindow = \"1s\"\n",
    );
    house.put("other", &guests::wasm("hostile"));
    let gateway = house.start().await;
    send(&house, "reject", 0..1).await;
    house.until_log(0, &["alert raised", "dead-letters plugin hostile"]).await;
    house.until_log(0, &["alert raised", "dead-letters plugin other"]).await;
    house.operate("jobs?state=dead", &json!({ "kind": "discard" })).await;
    house.until_log(0, &["alert cleared", "dead-letters plugin hostile"]).await;
    house.until_log(0, &["alert cleared", "dead-letters plugin other"]).await;
    gateway.kill();

    let log = house.log().len();
    let gateway = house.start().await;
    send(&house, "reject", 1..2).await;
    house.until("two dead letters", |counts| counts.dead == 2).await;
    house.until_log(log, &["alert raised", "dead-letters plugin other"]).await;
    assert!(!house.log()[log..].contains("plugin hostile"), "it was cleared just now");
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_pauses_a_plugin_is_not_told_that_it_does_nothing() {
    // The one that is not there waits as long, and is judged after the one that is paused.
    let house = house(
        "[plugins.hostile.alerts]\nqueue_age = \"4s\"\nlatency = \"4s\"\ndead_letters = 0\nat_least = 1\n\
         [plugins.late]\nsubscribe = [\"test/*\"]\n[plugins.late.alerts]\nqueue_age = \"4s\"\n",
    );
    let gateway = house.start().await;
    house.operate("plugins/hostile/pause", &json!({ "why": "maintenance" })).await;
    send(&house, "echo", 0..1).await;
    house.until_log(0, &["alert raised", "queue-age plugin late"]).await;
    assert!(!house.log().contains("queue-age plugin hostile"), "it waits as it was told to");
    house.operate("plugins/hostile/resume", &json!({})).await;
    // It has gone to the chat as well.
    house.until("what waited", |counts| counts.done == 2).await;
    // What comes now dies, which is told behind its latency.
    send(&house, "reject", 0..1).await;
    house.until_log(0, &["alert raised", "dead-letters plugin hostile"]).await;
    assert!(!house.log().contains("latency plugin hostile"), "it was late as it was told to");
    assert!(!house.log().contains("queue-age plugin hostile"));
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chat_that_fails_at_alerts_makes_no_more_of_them_than_two() {
    // It rejects whatever it does not know, alerts above all.
    let house = house(
        "[plugins.hostile]\nsubscribe = [\"test/*\", \"gateway/alert.*\"]\n\
         [plugins.hostile.alerts]\nerror_rate = 0.01\nat_least = 1\nwindow = \"1s\"\n",
    );
    let gateway = house.start().await;
    send(&house, "reject", 0..2).await;
    house.until_log(0, RAISED).await;
    house.until_log(0, CLEARED).await;
    // What it made of that alert itself may be one more, and then it is quiet for a window.
    let events = house.until("the dead letters", |counts| counts.dead >= 4).await.events;
    assert!(events <= 6, "{events}");
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_too_long_and_dies_too_often_is_told() {
    let house = house(
        "[plugins.late]\nsubscribe = [\"test/*\"]\n[plugins.late.alerts]\nqueue_age = \"1s\"\n\
         [plugins.hostile]\nmax_attempts = 1\n[plugins.hostile.alerts]\ndead_letters = 2\n",
    );
    let gateway = house.start().await;
    send(&house, "reject", 0..2).await;
    house.until_log(0, &["alert raised", "queue-age plugin late"]).await;
    assert!(!house.log().contains("dead-letters"), "two are allowed");
    send(&house, "reject", 2..3).await;
    house.until_log(0, &["alert raised", "dead-letters plugin hostile"]).await;
    let made = made(&house).await;
    let dead = &made.iter().find(|(kind, _)| kind == "alert.dead-letters").unwrap().1;
    assert_eq!((&dead["dead_letters"], &dead["threshold"]), (&json!(3), &json!(2)));
    let age = &made.iter().find(|(kind, _)| kind == "alert.queue-age").unwrap().1;
    assert!(age["age_ms"].as_u64().unwrap() > 1000 && age["threshold_ms"] == 1000);
    // A plugin that comes and takes it is well again.
    house.put("late", &guests::wasm("echo"));
    house.until_log(0, &["alert cleared", "queue-age plugin late"]).await;
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_refuses_many_and_a_plugin_that_is_slow_are_told() {
    let house = house(
        "[sources.other]\npath = \"/other\"\nscheme = \"github\"\nsecrets = [{ env = \"TEST_SECRET\" }]\n\
         [sources.other.alerts]\nrefusal_rate = 0.5\nat_least = 6\nwindow = \"1m\"\n\
         [plugins.hostile]\ncpu = \"5s\"\n[plugins.hostile.alerts]\nlatency = \"100ms\"\n",
    );
    let gateway = house.start().await;
    let client = bounded::client();
    for _ in 0..6 {
        let url = format!("http://{}/other", house.public);
        assert_eq!(client.post(url).body("x").send().await.unwrap().status(), 401);
    }
    house.until_log(0, &["alert raised", "refusals source other"]).await;
    let sender = house.sender("test");
    for id in 0..6 {
        sender.send("spin", &id.to_string(), b"300").await.unwrap();
    }
    house.until_log(0, &["alert raised", "latency plugin hostile"]).await;
    let made = made(&house).await;
    let refusals = &made.iter().find(|(kind, _)| kind == "alert.refusals").unwrap().1;
    assert_eq!((&refusals["source"], &refusals["requests"]), (&json!("other"), &json!(6)));
    let latency = &made.iter().find(|(kind, _)| kind == "alert.latency").unwrap().1;
    assert!(latency["latency_ms"].as_u64().unwrap() > 100, "{latency}");
    // Nothing more comes.
    house.until_log(0, &["alert cleared", "latency plugin hostile"]).await;
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_runs_full_is_told_and_what_is_switched_off_is_cleared() {
    let sections = NO_ALERTS.replace("disk_free = \"off\"", "disk_free = \"1000000GiB\"");
    let house = House::new(PROGRAM, &sections);
    let gateway = house.start().await;
    house.until_log(0, &["alert raised", "disk"]).await;
    let told = &made(&house).await[0].1;
    assert_eq!(told["state"], "raised");
    assert!(told["free_bytes"].as_u64().unwrap() < told["threshold_bytes"].as_u64().unwrap());
    house.write_config(NO_ALERTS);
    house.until_log(0, &["alert cleared", "disk"]).await;
    assert_eq!(states(&house).await, ["raised", "cleared"]);
    assert!(gateway.stop().await.success());
}
