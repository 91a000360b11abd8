//! The life of a version: kept, served again after a start, rolled back, pinned, approved, on probation;
//! and the breaker of a plugin that only fails.

use std::{fs, time::Instant};

use hookweir_event::{Digest, Outcome};
use hookweir_store::{DeliveryState, Shown};
use hookweir_tests::{
    guests,
    house::{House, PATIENCE},
    load::{Load, TEMPER, payment},
};
use serde_json::Value;

use crate::cli::say;

const PROGRAM: &str = env!("CARGO_BIN_EXE_hookweir-under-test");

fn house(sections: &str) -> House {
    let house = House::new(PROGRAM, sections);
    house.put_guest("hostile");
    house
}

/// The versions of `hostile` that these tests put: all behave alike.
fn version(number: u64) -> Vec<u8> {
    guests::with_section(guests::wasm("hostile"), number)
}

fn digest(module: &[u8]) -> String {
    Digest::of(module).to_string()
}

/// Whether this is the live version.
fn serves(plugin: &Value, module: &[u8]) -> bool {
    plugin["live"]["version"] == digest(module)
}

async fn until_live(house: &House, module: &[u8]) -> Value {
    house.until_plugin("hostile", "a live version", |plugin| serves(plugin, module)).await
}

fn outcomes(shown: &Shown) -> Vec<Outcome> {
    shown.deliveries[0].attempts.iter().map(|made| made.attempt.outcome).collect()
}

/// An event goes to the plugin, and is handled by this version.
async fn is_handled_by(house: &House, id: &str, module: &[u8]) {
    let sent = house.sender("test").send("echo", id, b"x").await.unwrap().id().unwrap();
    let done = |shown: &Shown| {
        shown.deliveries.first().is_some_and(|delivery| delivery.state == DeliveryState::Done)
    };
    let shown = house.until_event(sent, "an echo", done).await;
    let ran_on = shown.deliveries[0].attempts[0].attempt.version;
    assert_eq!(ran_on, Some(Digest::of(module)), "{shown:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_became_of_the_file_a_start_serves_what_was_live() {
    let house = house("");
    let good = guests::wasm("hostile");
    let gateway = house.start().await;
    assert!(gateway.stop().await.success());
    let file = house.plugins().join("hostile.wasm");
    let too_large = || fs::File::create(&file).unwrap().set_len(65 << 20).unwrap();
    let bad: [(&str, &str, &dyn Fn()); 3] = [
        ("half", "failed", &|| house.put("hostile", &good[..good.len() / 2])),
        ("empty", "failed", &|| house.put("hostile", b"")),
        ("too-large", "unreadable", &too_large),
    ];
    for (id, why, spoil) in bad {
        spoil();
        let gateway = house.start().await;
        is_handled_by(&house, id, &good).await;
        let stands = |plugin: &Value| plugin["file"]["why"] == why && serves(plugin, &good);
        house.until_plugin("hostile", id, stands).await;
        assert!(gateway.stop().await.success());
    }
    // What failed is told after a restart as well, beside another file.
    house.put("hostile", &good);
    let gateway = house.start().await;
    let plugin = house.until_plugin("hostile", "the good file", |p| p["file"].is_null()).await;
    assert_eq!(plugin["turnedAway"].as_array().unwrap().len(), 2, "{plugin:#}");
    let said = say(&house, &["plugin", "list"]).unwrap();
    assert!(said.contains("was turned away") && said.contains("failed to load"), "{said}");
    assert!(gateway.stop().await.success());

    // Nothing serves for ever from the data folder alone.
    fs::remove_file(&file).unwrap();
    let log = house.log().len();
    let gateway = house.start().await;
    house.until_log(log, &["plugin was removed", "hostile"]).await;
    let orphan = house.sender("test").send("echo", "orphan", b"x").await.unwrap().id().unwrap();
    assert!(house.reader().show(orphan).await.unwrap().unwrap().deliveries.is_empty());
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_prepares_a_version_once() {
    let house = house("");
    for start in 0..2 {
        let log = house.log().len();
        let gateway = house.start().await;
        is_handled_by(&house, &start.to_string(), &guests::wasm("hostile")).await;
        assert_eq!(house.log()[log..].matches("plugin is live").count(), 1, "{}", house.log());
        assert!(gateway.stop().await.success());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_in_the_middle_of_publishing_leaves_the_old_or_the_new() {
    let house = house("");
    let mut gateway = house.start().await;
    for round in 0..6 {
        let (old, new) = (version(round), version(round + 1));
        house.put("hostile", &old);
        until_live(&house, &old).await;
        let versions = house.database().with_file_name("versions");
        house.put("hostile", &new);
        // Killed at another moment of it each time: as soon as its content appears, or its record.
        let kept = versions.join(format!("{}.wasm", digest(&new)));
        let record = || fs::read_to_string(versions.join("versions.json")).unwrap();
        let deadline = Instant::now() + PATIENCE;
        while !(kept.exists() && (round % 2 == 0 || record().contains(&digest(&new)))) {
            assert!(Instant::now() < deadline, "it was not published\n{}", house.log());
            std::thread::yield_now();
        }
        gateway.kill();
        // With the file gone bad, what was kept is all there is.
        house.put("hostile", &new[..new.len() / 2]);
        gateway = house.start().await;
        let plugin = house.admin("plugins/hostile").await;
        assert!(serves(&plugin, &old) || serves(&plugin, &new), "{plugin:#}");
    }
    gateway.kill();

    // Whatever is left over or cut off, the gateway starts, and the folder serves.
    let versions = house.database().with_file_name("versions");
    fs::write(versions.join(".new"), b"{ \"format\": 1, \"plu").unwrap();
    let record = versions.join("versions.json");
    let text = fs::read(&record).unwrap();
    fs::write(&record, &text[..text.len() / 2]).unwrap();
    let module = version(99);
    house.put("hostile", &module);
    let log = house.log().len();
    let gateway = house.start().await;
    house.until_log(log, &["ERROR", "versions.json", "set aside"]).await;
    is_handled_by(&house, "after", &module).await;
    assert!(gateway.stop().await.success());
    let gateway = house.start().await;
    is_handled_by(&house, "after that", &module).await;
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_rolled_back_stays_away_over_restarts_until_it_is_approved() {
    let house = house("");
    let mut gateway = house.start().await;
    let [one, two, three] = [guests::wasm("hostile"), version(2), version(3)];
    for module in [&two, &three] {
        house.put("hostile", module);
        until_live(&house, module).await;
    }
    // Neither proved itself yet, so that `one` would be the last good one.
    let said = say(&house, &["plugin", "rollback", "hostile", &digest(&two)[..9]]).unwrap();
    assert!(said.starts_with("rolled back from ") && said.contains(&digest(&two)[..12]), "{said}");
    for _ in 0..2 {
        let away = |plugin: &Value| plugin["file"]["why"] == "turned-away" && serves(plugin, &two);
        let plugin = house.until_plugin("hostile", "the file held back", away).await;
        assert_eq!(plugin["turnedAway"][0]["cause"], "operator");
        assert!(gateway.stop().await.success());
        gateway = house.start().await;
    }
    is_handled_by(&house, "two", &two).await;
    say(&house, &["plugin", "rollback", "hostile"]).unwrap();
    is_handled_by(&house, "one", &one).await;

    for (args, words) in [
        (&["rollback", "hostile"][..], "no earlier version"),
        (&["rollback", "hostile", ""], "names several versions"),
        (&["rollback", "hostile", "sha256"], "no version begins with"),
        (&["rollback", "hostil"], "did you mean \"hostile\"?"),
        (&["pin", "hostile", "--off"], "no version is pinned"),
        (&["approve", "hostil"], "did you mean \"hostile\"?"),
    ] {
        let said = say(&house, &[&["plugin"], args].concat()).unwrap_err();
        assert!(said.contains(words), "{args:?}: {said}");
    }

    // By name, forward as well; and what is in the folder, by approval.
    say(&house, &["plugin", "rollback", "hostile", &digest(&two)[..9]]).unwrap();
    is_handled_by(&house, "two again", &two).await;
    say(&house, &["plugin", "approve", "hostile"]).unwrap();
    until_live(&house, &three).await;
    // Other bytes need nobody's word.
    say(&house, &["plugin", "rollback", "hostile"]).unwrap();
    house.put("hostile", &version(4));
    until_live(&house, &version(4)).await;
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pin_holds_a_version_over_restarts_and_new_files() {
    let house = house("[plugins.absent]\nsubscribe = [\"github/push\"]\n");
    let mut gateway = house.start().await;
    let one = guests::wasm("hostile");
    until_live(&house, &one).await;
    say(&house, &["plugin", "pin", "hostile"]).unwrap();
    house.put("hostile", &version(2));
    for _ in 0..2 {
        let held = |plugin: &Value| plugin["file"]["why"] == "pinned" && serves(plugin, &one);
        let plugin = house.until_plugin("hostile", "the file held back", held).await;
        assert_eq!(plugin["pinned"], digest(&one));
        assert!(gateway.stop().await.success());
        gateway = house.start().await;
    }
    is_handled_by(&house, "pinned", &one).await;
    for verb in ["rollback", "approve"] {
        let said = say(&house, &["plugin", verb, "hostile"]).unwrap_err();
        assert!(said.contains("is pinned; `pin --off`"), "{said}");
    }
    say(&house, &["plugin", "pin", "hostile", "--off"]).unwrap();
    until_live(&house, &version(2)).await;
    say(&house, &["plugin", "pin", "hostile", &digest(&one)[..12]]).unwrap();
    is_handled_by(&house, "pinned by name", &one).await;
    // It holds when the plugin goes and comes back, too.
    let log = house.log().len();
    fs::remove_file(house.plugins().join("hostile.wasm")).unwrap();
    house.until_log(log, &["plugin was removed"]).await;
    let said = say(&house, &["plugin", "pin", "absent"]).unwrap_err();
    assert!(said.contains("its file is not in the plugins folder"), "{said}");
    house.put("hostile", &version(3));
    until_live(&house, &one).await;
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_fails_is_taken_back_under_load_and_nothing_is_lost() {
    let house = house("[plugins.hostile]\nrate = \"off\"\nbackoff = \"200ms\"\n");
    let good = guests::wasm("hostile");
    let ill = guests::ill_tempered(&good);
    let gateway = house.start().await;
    let load = Load::start(&house, &[TEMPER, TEMPER]);
    house.until("some that are done", |counts| counts.done > 50).await;
    let log = house.log().len();
    house.put("hostile", &ill);
    house.until_log(log, &["ERROR", "failed its probation", "rolled back"]).await;
    let accepted = load.end().await;
    let events = house.settled().await;
    let (ill_version, mut failed) = (Digest::of(&ill), 0);
    for sent in &accepted {
        let shown = events.iter().find(|shown| shown.event.id == sent.id).unwrap();
        let delivery = &shown.deliveries[0];
        assert_eq!(delivery.state, DeliveryState::Done, "{shown:#?}");
        let last = delivery.attempts.last().unwrap();
        assert_eq!(last.attempt.version, Some(Digest::of(&good)), "{shown:#?}");
        failed +=
            delivery.attempts.iter().filter(|a| a.attempt.version == Some(ill_version)).count();
        let outputs = events.iter().filter(|made| made.event.parent == Some(sent.id)).count();
        assert_eq!(outputs, 1, "{shown:#?}");
    }
    assert!(failed >= 5, "the version ran and failed: {failed}");
    let away = |plugin: &Value| plugin["file"]["why"] == "turned-away" && serves(plugin, &good);
    let plugin = house.until_plugin("hostile", "the version held back", away).await;
    assert_eq!(plugin["turnedAway"][0]["cause"], "probation", "{plugin:#}");
    assert_eq!(plugin["turnedAway"][0]["version"], digest(&ill));
    assert!(gateway.stop().await.success());

    let gateway = house.start().await;
    house.until_plugin("hostile", "the same after a restart", away).await;
    // Whoever knows better may have it.
    say(&house, &["plugin", "approve", "hostile"]).unwrap();
    let plugin = until_live(&house, &ill).await;
    assert_eq!(plugin["live"]["probation"], true, "{plugin:#}");
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_of_bad_versions_goes_to_the_good_one_before_its_first_events_are_out_of_attempts() {
    // Before the sixth failure it is gone back, however long the machine takes to write down why.
    let house = house("[plugins.hostile]\nbackoff = \"1s\"\n");
    let good = guests::wasm("hostile");
    let gateway = house.start().await;
    // The second takes the place of the first before that has done anything.
    let ill = guests::ill_tempered(&good);
    for ill in [ill.clone(), guests::with_section(ill.clone(), 2)] {
        house.put("hostile", &ill);
        until_live(&house, &ill).await;
    }
    // One that always fails may be at fault itself.
    for id in ["first", "second"] {
        house.sender("test").send("temper", id, b"x").await.unwrap();
    }
    let events = house.settled().await;
    let mut traps = 0;
    for shown in events.iter().filter(|shown| !shown.deliveries.is_empty()) {
        let outcomes = outcomes(shown);
        let (last, before) = outcomes.split_last().unwrap();
        assert_eq!(*last, Outcome::Done, "{shown:#?}");
        assert!(before.iter().all(|outcome| *outcome == Outcome::Trap), "{shown:#?}");
        traps += before.len();
    }
    assert!((4..=5).contains(&traps), "{events:#?}");
    assert!(serves(&house.admin("plugins/hostile").await, &good));
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_can_not_be_read_for_a_while_is_gone_back_to_after_that() {
    let house = house("[plugins.hostile]\nbackoff = \"200ms\"\n");
    let good = guests::wasm("hostile");
    let gateway = house.start().await;
    let ill = guests::ill_tempered(&good);
    house.put("hostile", &ill);
    until_live(&house, &ill).await;
    // Neither missing nor damaged: reading it fails.
    let kept = house.database().with_file_name("versions").join(format!("{}.wasm", digest(&good)));
    fs::remove_file(&kept).unwrap();
    fs::create_dir(&kept).unwrap();
    let log = house.log().len();
    for id in ["first", "second"] {
        house.sender("test").send("temper", id, b"x").await.unwrap();
    }
    house.until_log(log, &["failed its probation", "can't be made now"]).await;
    let plugin = house.admin("plugins/hostile").await;
    assert!(serves(&plugin, &ill) && plugin["live"]["probation"] == true, "{plugin:#}");
    fs::remove_dir(&kept).unwrap();
    fs::write(&kept, &good).unwrap();
    until_live(&house, &good).await;
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_event_that_always_fails_takes_no_version_back() {
    let house = house("[plugins.hostile]\nbackoff = \"100ms\"\n");
    let gateway = house.start().await;
    house.put("hostile", &version(2));
    until_live(&house, &version(2)).await;
    house.sender("test").send("panic", "poison", b"x").await.unwrap();
    house.settled().await;
    let plugin = house.admin("plugins/hostile").await;
    assert_eq!(plugin["outcomes"]["trap"], 5, "{plugin:#}");
    assert!(serves(&plugin, &version(2)), "{plugin:#}");
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_a_file_comes_back_that_can_not_serve_the_last_good_version_does() {
    let house = house("");
    let good = guests::wasm("hostile");
    let gateway = house.start().await;
    house.put("hostile", &version(2));
    until_live(&house, &version(2)).await;
    say(&house, &["plugin", "rollback", "hostile"]).unwrap();
    for (module, why) in [(&version(2)[..], "turned-away"), (b"half", "failed")] {
        let log = house.log().len();
        fs::remove_file(house.plugins().join("hostile.wasm")).unwrap();
        house.until_log(log, &["plugin was removed"]).await;
        house.put("hostile", module);
        let stands = |plugin: &Value| plugin["file"]["why"] == why && serves(plugin, &good);
        house.until_plugin("hostile", why, stands).await;
        is_handled_by(&house, why, &good).await;
    }
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_could_not_be_kept_is_not_pinned_and_is_kept_by_a_later_look() {
    let house = house("");
    let module = guests::wasm("hostile");
    let gateway = house.start().await;
    until_live(&house, &module).await;
    let kept =
        house.database().with_file_name("versions").join(format!("{}.wasm", digest(&module)));
    fs::remove_file(&kept).unwrap();
    let said = say(&house, &["plugin", "pin", "hostile"]).unwrap_err();
    assert!(said.contains("not be held over a restart"), "{said}");
    house.put("hostile", &module);
    let deadline = Instant::now() + PATIENCE;
    while !kept.exists() {
        assert!(Instant::now() < deadline, "it was not kept\n{}", house.log());
        tokio::task::yield_now().await;
    }
    say(&house, &["plugin", "pin", "hostile"]).unwrap();
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_fails_as_often_as_the_one_before_it_stays() {
    let house = house("[plugins.hostile]\nrate = \"off\"\nmax_attempts = 1\n");
    let gateway = house.start().await;
    let sender = house.sender("test");
    for (round, module) in [guests::wasm("hostile"), version(2)].iter().enumerate() {
        house.put("hostile", module);
        until_live(&house, module).await;
        for number in 0..60 {
            let event_type = if number % 2 == 0 { "panic" } else { "nothing" };
            sender.send(event_type, &format!("{round}-{number}"), b"").await.unwrap();
        }
        house.settled().await;
    }
    let trusted = |plugin: &Value| plugin["live"]["probation"] == false;
    let plugin = house.until_plugin("hostile", "the end of its probation", trusted).await;
    assert!(serves(&plugin, &version(2)), "{plugin:#}");
    assert_eq!(plugin["outcomes"]["trap"], 60, "{plugin:#}");
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_an_open_breaker_events_wait_and_the_neighbour_goes_on() {
    let house = House::new(
        PROGRAM,
        "[plugins.hostile]\nmax_attempts = 50\nbackoff = \"1ms\"\nbackoff_max = \"10ms\"\nconcurrency = 1\n",
    );
    let good = guests::wasm("hostile");
    house.put("hostile", &guests::ill_tempered(&good));
    house.put_guest("payments");
    let gateway = house.start().await;
    for number in 0..3 {
        house.sender("test").send("temper", &number.to_string(), b"x").await.unwrap();
    }
    let open = |plugin: &Value| plugin["breaker"]["state"] == "open";
    let plugin = house.until_plugin("hostile", "an open breaker", open).await;
    assert_eq!(plugin["breaker"]["why"], "10 failures in a row, the last: trap");
    let said = say(&house, &["plugin", "list"]).unwrap();
    assert!(said.contains("breaker open since") && said.contains("probe"), "{said}");
    // One after another, after a second and then two.
    for probes in 1..=2 {
        let tried = |plugin: &Value| plugin["outcomes"]["trap"].as_u64() >= Some(10 + probes);
        let plugin = house.until_plugin("hostile", "a probe", tried).await;
        assert!(open(&plugin) && plugin["running"].as_u64() <= Some(1), "{plugin:#}");
        let body = payment(&format!("evt_{probes}"), "{}");
        let shop = house.sender("stripe");
        shop.send("payment_intent.succeeded", "", body.as_bytes()).await.unwrap();
        house.until("the neighbour", |counts| counts.done == probes).await;
    }
    let plugin = house.admin("plugins/hostile").await;
    assert!(plugin["outcomes"]["trap"].as_u64() < Some(20), "probes alone ran: {plugin:#}");
    assert_eq!(house.until("a look", |_| true).await.dead, 0);
    // A new version begins anew.
    house.put("hostile", &good);
    until_live(&house, &good).await;
    let events = house.settled().await;
    let dead = |shown: &Shown| shown.deliveries.iter().any(|d| d.state == DeliveryState::Dead);
    assert!(!events.iter().any(dead), "{events:#?}");
    let plugin = house.admin("plugins/hostile").await;
    assert_eq!(
        (&plugin["breaker"]["state"], &plugin["outcomes"]["done"]),
        (&"closed".into(), &3.into())
    );
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_probe_that_succeeds_closes_the_breaker_and_what_waited_is_done() {
    let house = house(
        "[plugins.hostile]\nmax_attempts = 50\nbackoff = \"1ms\"\nbackoff_max = \"5ms\"\nconcurrency = 1\n",
    );
    let gateway = house.start().await;
    let sender = house.sender("test");
    // The first probe is the eleventh attempt, and fails; the second is one of those that wait: it is open for three seconds.
    let tried = sender.send("retry-until", "tried", b"12").await.unwrap().id().unwrap();
    let open = |plugin: &Value| plugin["breaker"]["state"] == "open";
    let plugin = house.until_plugin("hostile", "an open breaker", open).await;
    assert_eq!(plugin["breaker"]["why"], "10 of the last 10 attempts asked for a retry");
    for number in 0..5 {
        sender.send("echo", &number.to_string(), b"x").await.unwrap();
    }
    let events = house.settled().await;
    let closed = |plugin: &Value| plugin["breaker"]["state"] == "closed";
    house.until_plugin("hostile", "a closed breaker", closed).await;
    let log = house.log();
    let at = |words: &str| log.find(words).unwrap_or_else(|| panic!("no {words} in {log}"));
    assert!(at("breaker opened") < at("breaker closed"), "{log}");
    let shown = events.iter().find(|shown| shown.event.id == tried).unwrap();
    assert_eq!(outcomes(shown)[..11], [Outcome::Retry; 11]);
    let done = |shown: &&Shown| shown.deliveries.iter().any(|d| d.state == DeliveryState::Done);
    assert_eq!(events.iter().filter(done).count(), 6);
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_that_waits_for_a_grant_goes_live_by_approval_in_the_config() {
    let sections = "[host]\nsubscriptions = \"granted\"  # nobody helps themselves\n";
    let house = house(sections);
    let gateway = house.start().await;
    let waits = |plugin: &Value| plugin["file"]["why"] == "needs-approval";
    // A plugin that serves nothing and is not in the config is on the board all the same.
    let plugin = house.until_plugin("hostile", "its file", waits).await;
    assert!(plugin["live"].is_null());
    let add = plugin["file"]["add"].as_str().unwrap();
    let before = fs::read_to_string(house.config()).unwrap();
    let said = say(&house, &["plugin", "approve", "hostile"]).unwrap();
    assert!(said.contains("needs approval") && said.contains(add), "{said}");
    assert_eq!(fs::read_to_string(house.config()).unwrap(), before, "it was only shown");

    let said = say(&house, &["plugin", "approve", "hostile", "--write"]).unwrap();
    assert!(said.contains("added to") && said.contains(add), "{said}");
    let after = fs::read_to_string(house.config()).unwrap();
    assert!(after.starts_with(before.trim_end()) && after.contains(add), "{after}");
    let module = guests::wasm("hostile");
    until_live(&house, &module).await;
    is_handled_by(&house, "granted", &module).await;
    let said = say(&house, &["plugin", "approve", "hostile", "--write"]).unwrap_err();
    assert!(said.contains("wants nothing"), "{said}");
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_fails_a_sample_beside_it_stays_out() {
    let house = House::new(
        env!("CARGO_BIN_EXE_hookweir-under-test"),
        "[plugins.reach]\napi = \"off\"\nhttp = [\"http://*\", \"https://*\"]\n",
    );
    let samples = house.plugins().join("reach.samples");
    std::fs::create_dir(&samples).unwrap();
    let write = |name: &str, expect: &str, status: u16| {
        let sample = serde_json::json!({
            "source": "test", "type": "must", "expect": expect,
            "body": [{ "method": "POST", "url": "http://api.test/v1", "body": "x" }],
            "http": { "POST http://api.test/v1": { "status": status } },
        });
        std::fs::write(samples.join(name), sample.to_string()).unwrap();
    };
    write("1-good.json", "done", 200);
    write("2-later.json", "retry", 503);
    write("3-never.json", "done", 404);
    house.put_guest("reach");
    let gateway = house.start().await;
    // Nothing was sent: api.test is nobody's name here.
    let said = house.until_log(0, &["reach", "3-never.json"]).await;
    assert!(said.contains("ended as reject and not as done: answered with 404"), "{said}");
    assert!(!house.log().contains("plugin is live"), "{}", house.log());
    // The sample was wrong; the next version is tried on the right one.
    write("3-never.json", "reject", 404);
    house.put("reach", &guests::with_section(guests::wasm("reach"), 1));
    house.until_log(0, &["plugin is live", "reach"]).await;
    // One that can't be read is as bad, and the version before goes on serving.
    std::fs::write(samples.join("4-bad.json"), "{").unwrap();
    let log = house.log().len();
    house.put("reach", &guests::with_section(guests::wasm("reach"), 2));
    let said = house.until_log(log, &["4-bad.json"]).await;
    assert!(said.contains("the last good version keeps serving"), "{said}");
    assert!(gateway.stop().await.success());
}
