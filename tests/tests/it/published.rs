//! Gateways at one database that share plugins' versions: what one's folder shows is live on all, or nowhere.

use std::{
    fs,
    time::{Duration, Instant},
};

use hookweir_event::{Digest, Outcome};
use hookweir_store::{DeliveryState, Shown};
use hookweir_tests::{
    guests,
    house::{Gateway, House},
    load::{COUNT, ECHO, Load, SPIN},
    postgres::Postgres,
    relay::{Network, Relay},
};
use rustix::process::Signal;
use serde_json::Value;

use crate::{cli::say, crash::audit};

/// What a gateway is waited for that says nothing any more, and two looks and a beat of the others.
const LAPSE_AND_SOME: Duration = Duration::from_secs(50);

/// A house whose gateway shares versions, and whose folder is empty.
fn house(url: String, sections: &str) -> House {
    let program = env!("CARGO_BIN_EXE_hookweir-under-test");
    let host = "[host]\nversions = \"store\"\n";
    House::in_database(program, &format!("{host}{sections}"), url)
}

/// The versions of `hostile` that these tests put: all behave alike.
fn version(number: u64) -> Vec<u8> {
    guests::with_section(guests::wasm("hostile"), number)
}

fn serves(plugin: &Value, module: &[u8]) -> bool {
    plugin["live"]["version"] == Digest::of(module).to_string()
}

async fn until_live(house: &House, module: &[u8]) -> Value {
    house.until_plugin("hostile", "a live version", |plugin| serves(plugin, module)).await
}

/// What this gateway calls itself, as the reasons of others name it.
fn is_named(house: &House, reason: &Value) -> bool {
    reason.as_str().is_some_and(|reason| reason.contains(&format!(":{}: ", house.admin.port())))
}

async fn all_stop(gateways: impl IntoIterator<Item = Gateway>) {
    for gateway in gateways {
        assert!(gateway.stop().await.success());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_dropped_on_one_gateway_is_live_on_all_and_no_event_is_lost() {
    let server = Postgres::durable();
    let few = "[plugins.hostile]\nrate = \"off\"\nconcurrency = 4\n";
    let [one, two, late] = [0; 3].map(|_| house(server.url(), few));
    one.put("hostile", &version(0));
    let (first, second) = (one.start().await, two.start().await);
    let plugin = until_live(&two, &version(0)).await;
    assert!(fs::read_dir(two.plugins()).unwrap().next().is_none(), "its folder stays empty");
    assert!(plugin["file"].is_null(), "{plugin:#}");
    let kinds = [ECHO, COUNT, SPIN];
    let loads = [Load::start_from(&one, &kinds, 0), Load::start_from(&two, &kinds, 100)];
    for (number, (house, other)) in (1..).zip([(&one, &two), (&two, &one), (&one, &two)]) {
        house.put("hostile", &version(number));
        until_live(house, &version(number)).await;
        until_live(other, &version(number)).await;
    }
    // A gateway that starts later is ready with what is live for all.
    let third = late.start().await;
    assert!(serves(&late.admin("plugins/hostile").await, &version(3)));
    let all = |plugin: &Value| {
        let runs = plugin["shared"]["gateways"].as_array().unwrap();
        let live = Digest::of(&version(3)).to_string();
        runs.len() == 3 && runs.iter().all(|runs| runs["version"] == live)
    };
    one.until_plugin("hostile", "three gateways that run it", all).await;
    assert_eq!(one.admin("status").await["gateways"].as_array().unwrap().len(), 3);
    let listed = say(&one, &["plugin", "list"]).unwrap();
    assert!(listed.contains(&format!(":{} runs ", late.admin.port())), "{listed}");
    let [here, there] = loads;
    let accepted = [here.end().await, there.end().await].concat();
    let events = one.settled().await;
    audit(&accepted, &events);
    assert!(accepted.len() > 50, "{} events flowed", accepted.len());
    all_stop([first, second, third]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_one_gateway_refuses_is_live_nowhere_until_it_may() {
    let server = Postgres::durable();
    let one = house(server.url(), "");
    let two = house(server.url(), "subscriptions = \"granted\"\n");
    let (first, second) = (one.start().await, two.start().await);
    one.put("hostile", &version(0));
    let refused = |plugin: &Value| plugin["file"]["why"] == "refused";
    let here = one.until_plugin("hostile", "the refusal", refused).await;
    assert!(is_named(&two, &here["file"]["reason"]), "{here:#}");
    assert!(here["file"]["reason"].as_str().unwrap().contains("needs approval"), "{here:#}");
    let needs = |plugin: &Value| plugin["file"]["why"] == "needs-approval";
    let there = two.until_plugin("hostile", "what it lacks", needs).await;
    assert!(here["live"].is_null() && there["live"].is_null(), "{here:#} {there:#}");
    assert!(here["shared"]["proposal"]["refused"].is_string(), "{here:#}");
    // With the grant it is proposed once more by itself.
    let add = there["file"]["add"].as_str().unwrap();
    two.write_config(&format!(
        "[host]\nversions = \"store\"\nsubscriptions = \"granted\"\n{add}\n"
    ));
    until_live(&one, &version(0)).await;
    until_live(&two, &version(0)).await;
    all_stop([first, second]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_is_killed_in_the_middle_of_a_proposal_holds_nobody_up_for_longer_than_its_lapse()
 {
    let server = Postgres::durable();
    let [one, two] = [0; 2].map(|_| house(server.url(), ""));
    one.put("hostile", &version(0));
    let (first, second) = (one.start().await, two.start().await);
    until_live(&two, &version(0)).await;
    second.signal(Signal::STOP);
    one.put("hostile", &version(1));
    let waits = |plugin: &Value| {
        let words = plugin["shared"]["proposal"]["words"].as_array();
        words.is_some_and(|words| words.iter().any(|said| said["word"] == "awaited"))
    };
    let plugin = one.until_plugin("hostile", "a proposal under way", waits).await;
    assert!(serves(&plugin, &version(0)) && plugin["file"]["why"] == "proposed", "{plugin:#}");
    let begun = Instant::now();
    second.kill();
    until_live(&one, &version(1)).await;
    let waited = begun.elapsed();
    println!("it was live {waited:?} after the kill");
    assert!(waited < LAPSE_AND_SOME, "{waited:?}");
    // Back again, it runs what was agreed on without it.
    let second = two.start().await;
    assert!(serves(&two.admin("plugins/hostile").await, &version(1)));
    all_stop([first, second]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_and_a_pin_on_one_gateway_hold_on_all_and_old_files_are_no_news() {
    let server = Postgres::durable();
    let [one, two] = [0; 2].map(|_| house(server.url(), ""));
    one.put("hostile", &version(0));
    let (first, second) = (one.start().await, two.start().await);
    until_live(&two, &version(0)).await;
    one.put("hostile", &version(1));
    until_live(&two, &version(1)).await;
    let said = say(&two, &["plugin", "rollback", "hostile"]).unwrap();
    assert!(said.contains("rolled back from"), "{said}");
    assert!(serves(&two.admin("plugins/hostile").await, &version(0)), "when it is answered");
    let plugin = until_live(&one, &version(0)).await;
    assert_eq!(plugin["turnedAway"][0]["cause"], "operator", "{plugin:#}");
    let away = |plugin: &Value| plugin["file"]["why"] == "turned-away";
    one.until_plugin("hostile", "its file", away).await;
    // A restart beside the file of the version that was taken back changes nothing, nor does an older one.
    assert!(first.stop().await.success());
    let first = one.start().await;
    assert!(serves(&one.admin("plugins/hostile").await, &version(0)));
    say(&one, &["plugin", "pin", "hostile"]).unwrap();
    two.put("hostile", &version(2));
    let pinned = |plugin: &Value| plugin["file"]["why"] == "pinned" && serves(plugin, &version(0));
    two.until_plugin("hostile", "its file", pinned).await;
    say(&one, &["plugin", "pin", "hostile", "--off"]).unwrap();
    until_live(&two, &version(2)).await;
    until_live(&one, &version(2)).await;
    assert!(first.stop().await.success());
    one.put("hostile", &version(0));
    let first = one.start().await;
    let passed = |plugin: &Value| plugin["file"]["why"] == "passed" && serves(plugin, &version(2));
    one.until_plugin("hostile", "its file", passed).await;
    say(&one, &["plugin", "approve", "hostile"]).unwrap();
    until_live(&one, &version(0)).await;
    until_live(&two, &version(0)).await;
    all_stop([first, second]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_removed_is_removed_for_all_and_a_gateway_that_ends_removes_nothing() {
    let server = Postgres::durable();
    let [one, two] = [0; 2].map(|_| house(server.url(), ""));
    for house in [&one, &two] {
        house.put("hostile", &version(0));
    }
    let (first, second) = (one.start().await, two.start().await);
    until_live(&two, &version(0)).await;
    assert!(first.stop().await.success());
    fs::remove_file(one.plugins().join("hostile.wasm")).unwrap();
    let first = one.start().await;
    let all = |plugin: &Value| plugin["shared"]["gateways"].as_array().unwrap().len() == 2;
    one.until_plugin("hostile", "both gateways", all).await;
    one.put("hostile", &version(1));
    until_live(&two, &version(1)).await;
    // Of a version that is live no more.
    fs::remove_file(two.plugins().join("hostile.wasm")).unwrap();
    one.put("hostile", &version(2));
    until_live(&two, &version(2)).await;
    let (log, other) = (one.log().len(), two.log().len());
    fs::remove_file(one.plugins().join("hostile.wasm")).unwrap();
    one.until_log(log, &["plugin was removed", "hostile"]).await;
    two.until_log(other, &["plugin was removed", "hostile"]).await;
    two.put("hostile", &version(2));
    until_live(&one, &version(2)).await;
    all_stop([first, second]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_database_nothing_changes_and_then_it_goes_on_by_itself() {
    let server = Postgres::durable();
    let relay = Relay::to(server.address());
    let one = house(Postgres::url_at(&[relay.address()]), "");
    let two = house(server.url(), "");
    one.put("hostile", &version(0));
    let (first, second) = (one.start().await, two.start().await);
    until_live(&two, &version(0)).await;
    let log = one.log().len();
    relay.set(Network::Down);
    one.put("hostile", &version(1));
    one.until_log(log, &["failed to see what is published"]).await;
    assert!(serves(&one.admin("plugins/hostile").await, &version(0)));
    assert!(serves(&two.admin("plugins/hostile").await, &version(0)));
    relay.set(Network::Well);
    until_live(&one, &version(1)).await;
    until_live(&two, &version(1)).await;
    all_stop([first, second]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_fails_on_one_gateway_is_taken_back_on_all() {
    let server = Postgres::durable();
    let plugin = "[plugins.hostile]\nbackoff = \"100ms\"\nbreaker = \"off\"\n";
    let [one, two] = [0; 2].map(|_| house(server.url(), plugin));
    let (good, bad) = (version(0), guests::ill_tempered(&version(0)));
    one.put("hostile", &good);
    let (first, second) = (one.start().await, two.start().await);
    until_live(&two, &good).await;
    two.put("hostile", &bad);
    until_live(&one, &bad).await;
    let sender = one.sender("test");
    for nth in 0..10 {
        let reply = sender.send("temper", &nth.to_string(), b"x").await.unwrap();
        assert_eq!(reply.status, 202);
    }
    let back =
        |plugin: &Value| serves(plugin, &good) && plugin["turnedAway"][0]["cause"] == "probation";
    one.until_plugin("hostile", "the version before", back).await;
    two.until_plugin("hostile", "the version before", back).await;
    let events = one.settled().await;
    let trapped = |shown: &&Shown| {
        let attempts = shown.deliveries.iter().flat_map(|delivery| &delivery.attempts);
        attempts.into_iter().any(|made| made.attempt.outcome == Outcome::Trap)
    };
    assert!(events.iter().filter(trapped).count() >= 2, "it failed");
    let done = |shown: &&Shown| shown.deliveries.iter().all(|d| d.state == DeliveryState::Done);
    println!("{} of {} are done", events.iter().filter(done).count(), events.len());
    all_stop([first, second]).await;
}
