//! What operators find and mend through the command line, over the admin API of a running gateway.

use std::process::Command;

use hookweir_event::EventId;
use hookweir_store::{DeliveryState, Shown};
use hookweir_tests::{
    bounded,
    house::{House, SECRET},
};
use serde_json::Value;

use crate::cli::say;

const PROGRAM: &str = env!("CARGO_BIN_EXE_hookweir-under-test");

fn json(house: &House, args: &[&str]) -> Value {
    let args: Vec<_> = args.iter().chain(&["--json"]).copied().collect();
    serde_json::from_str(&say(house, &args).unwrap()).unwrap()
}

async fn send(house: &House, source: &str, event_type: &str, id: &str, body: &str) -> EventId {
    let reply = house.sender(source).send(event_type, id, body.as_bytes()).await.unwrap();
    reply.id().unwrap_or_else(|| panic!("{reply:?}"))
}

fn ids(listing: &Value) -> Vec<EventId> {
    let items = listing["items"].as_array().unwrap();
    items.iter().map(|item| item["id"].as_str().unwrap().parse().unwrap()).collect()
}

fn house() -> House {
    let house = House::new(
        PROGRAM,
        "[plugins.hostile]\nmax_attempts = 1\norder_by = \"/key\"\n\
         [plugins.late]\nsubscribe = [\"github/*\"]\n",
    );
    house.put_guest("hostile");
    house
}

fn is(shown: &Shown, state: DeliveryState) -> bool {
    shown.deliveries.last().is_some_and(|delivery| delivery.state == state)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_found_shown_and_counted() {
    let house = house();
    let gateway = house.start().await;
    let echo = send(&house, "test", "echo", "1", r#"{"word":"needle"}"#).await;
    let log = send(&house, "test", "log", "2", "{}").await;
    let push = send(&house, "github", "push", "3", r#"{"ref":"main"}"#).await;
    house.until_event(log, "the log", |shown| is(shown, DeliveryState::Done)).await;
    house.until_event(echo, "the echo", |shown| is(shown, DeliveryState::Done)).await;

    for (args, wanted) in [
        (&["--source", "test"][..], &[log, echo][..]),
        (&["--source", "test", "--limit", "1"], &[log]),
        (&["--type", "push"], &[push]),
        (&["--match", "test/e*"], &[echo]),
        (&["--plugin", "hostile", "--state", "done"], &[log, echo]),
        (&["--state", "due"], &[push]),
        (&["--text", "needle", "--source", "test"], &[echo]),
        (&["--source", "github", "--dedupe-id", "3", "--type", "push"], &[push]),
        (&["--source", "test", "--since", "2999-01-01T00:00:00Z"], &[]),
    ] {
        let args: Vec<_> = ["events", "list"].iter().chain(args).copied().collect();
        assert_eq!(ids(&json(&house, &args)), wanted, "{args:?}");
    }
    let first = json(&house, &["events", "list", "--source", "test", "--limit", "1"]);
    let next = first["next"].as_str().unwrap();
    let second = json(&house, &["events", "list", "--source", "test", "--cursor", next]);
    assert_eq!(ids(&second), [echo]);
    assert_eq!(say(&house, &["events", "count", "--source", "test"]).unwrap(), "2\n");

    let shown = say(&house, &["events", "show", &log.to_string()]).unwrap();
    for part in ["test/log", "POST /webhooks/test", "hostile  done", "#1", "warn a warning"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(!shown.contains('\u{1b}'), "a plugin's log reached the terminal as it was");
    let shown = json(&house, &["events", "show", &echo.to_string()]);
    assert_eq!(shown["body"], r#"{"word":"needle"}"#);
    assert!(shown["deliveries"][0]["attempts"][0]["wallMicros"].as_u64().unwrap() > 0);

    for (args, part) in [
        (&["events", "show", "nonsense"][..], "id"),
        (&["events", "show", "01890a5d-ac96-774b-bcce-b302099a8057"], "404"),
        (&["events", "list", "--since", "yesterday"], "since"),
        (&["events", "list", "--cursor", "x"], "cursor"),
        (&["events", "list", "--state", "asleep"], "asleep"),
        (&["events", "replay"], "filter"),
    ] {
        let said = say(&house, args).unwrap_err();
        assert!(said.contains(part), "{args:?}: {said}");
    }
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_replayed_runs_again_as_it_was_received() {
    let house = house();
    let gateway = house.start().await;
    let mut sent = Vec::new();
    for nth in 0..3 {
        sent.push(
            send(&house, "test", "echo", &nth.to_string(), &format!("{{\"nth\":{nth}}}")).await,
        );
    }
    for id in &sent {
        house.until_event(*id, "the first run", |shown| is(shown, DeliveryState::Done)).await;
    }
    let filter = ["--source", "test", "--type", "echo"];
    let dry = [&["events", "replay", "--dry-run"][..], &filter].concat();
    assert_eq!(say(&house, &dry).unwrap(), "3 events would be replayed\n");
    let replay = [&["events", "replay"][..], &filter].concat();
    assert_eq!(say(&house, &replay).unwrap(), "3 events replayed: 3 deliveries\n");
    assert!(gateway.stop().await.success());
    let gateway = house.start().await;
    for id in &sent {
        let shown = house
            .until_event(*id, "the replay", |shown| {
                shown.deliveries.len() == 2 && is(shown, DeliveryState::Done)
            })
            .await;
        assert!(
            shown.deliveries[0].replayed_at.is_none() && shown.deliveries[1].replayed_at.is_some()
        );
    }
    // Each run made an output of the same bytes.
    for (nth, id) in sent.iter().enumerate() {
        let events = house.events().await;
        let mut bodies = Vec::new();
        for made in events.iter().filter(|shown| shown.event.parent == Some(*id)) {
            bodies.push(house.reader().event(made.event.id).await.unwrap().unwrap().body);
        }
        assert_eq!(bodies, vec![format!("{{\"nth\":{nth}}}").into_bytes(); 2]);
    }
    let one = sent[0].to_string();
    let to = ["events", "replay", &one, "--to", "late"];
    assert_eq!(say(&house, &to).unwrap(), "1 event replayed: 1 delivery\n");
    let said = say(&house, &["events", "replay", &one, "--to", "nobody"]).unwrap_err();
    assert!(said.contains("no plugin has this name"), "{said}");
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_letters_are_listed_retried_and_skipped() {
    let house = house();
    let gateway = house.start().await;
    let dead = send(&house, "test", "retry", "1", r#"{"key":"k"}"#).await;
    let behind = send(&house, "test", "nothing", "2", r#"{"key":"k"}"#).await;
    house.until_event(dead, "its death", |shown| is(shown, DeliveryState::Dead)).await;
    let blocked = json(&house, &["events", "blocked"]);
    assert_eq!(
        (&blocked["items"][0]["orderKey"], &blocked["items"][0]["waiting"]),
        (&"k".into(), &1.into())
    );
    let listed = say(&house, &["dead", "list"]).unwrap();
    let id = format!("{dead}/0");
    assert!(listed.contains(&id) && listed.contains("as asked"), "{listed}");

    assert_eq!(
        say(&house, &["dead", "retry", "--plugin", "hostile"]).unwrap(),
        "1 of 1 dead letter due again\n"
    );
    let twice =
        |shown: &Shown| shown.deliveries[0].attempts.len() == 2 && is(shown, DeliveryState::Dead);
    house.until_event(dead, "its second death", twice).await;
    assert!(is(&house.reader().show(behind).await.unwrap().unwrap(), DeliveryState::Behind));

    let said = say(&house, &["dead", "skip", &id]).unwrap();
    assert_eq!(said, "1 of 1 dead letter in nobody's way any more\n");
    house.until_event(behind, "what waited", |shown| is(shown, DeliveryState::Done)).await;
    assert!(say(&house, &["dead", "retry", "nonsense"]).unwrap_err().contains("deliveries"));
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_letters_are_mended_by_a_filter_and_put_aside() {
    let house = house();
    let gateway = house.start().await;
    for nth in 0..3 {
        send(&house, "test", "retry", &nth.to_string(), "{}").await;
    }
    house.until("three deaths", |counts| counts.dead == 3).await;
    let filter = ["--plugin", "hostile", "--type", "retry"];
    let dry = [&["dead", "discard", "--dry-run"][..], &filter].concat();
    assert_eq!(say(&house, &dry).unwrap(), "3 dead letters would be put aside\n");
    let discard = [&["dead", "discard"][..], &filter].concat();
    assert_eq!(say(&house, &discard).unwrap(), "3 of 3 dead letters put aside\n");
    let items = |listing: &Value| listing["items"].as_array().unwrap().len();
    assert_eq!(items(&json(&house, &["dead", "list"])), 0);
    assert_eq!(items(&json(&house, &["dead", "list", "--state", "discarded"])), 3);
    let back = say(&house, &["dead", "retry", "--state", "discarded"]).unwrap();
    assert_eq!(back, "3 of 3 dead letters due again\n");
    house.until("three deaths again", |counts| counts.dead == 3).await;
    for args in [&["dead", "retry"][..], &["dead", "retry", "--all", "--type", "retry"]] {
        assert!(say(&house, args).unwrap_err().contains("--all"), "{args:?}");
    }
    let answer = json(&house, &["dead", "discard", "--all"]);
    assert_eq!(answer, serde_json::json!({ "deliveries": 3 }));
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_exported_and_compared_with_what_a_provider_sent() {
    let house = house();
    let gateway = house.start().await;
    let first = send(&house, "test", "echo", "1", r#"{"nth":1}"#).await;
    let second = send(&house, "test", "echo", "2", r#"{"nth":2}"#).await;
    house.until_event(second, "the second", |shown| is(shown, DeliveryState::Done)).await;
    let exported = say(&house, &["events", "export", "--source", "test"]).unwrap();
    let lines: Vec<Value> =
        exported.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let id = |line: &Value| line["event"]["id"].as_str().unwrap().parse::<EventId>().unwrap();
    assert_eq!(lines.iter().map(id).collect::<Vec<_>>(), [second, first]);
    let cursor = lines[0]["cursor"].as_str().unwrap();
    let rest = ["events", "export", "--source", "test", "--cursor", cursor];
    assert_eq!(say(&house, &rest).unwrap().lines().count(), 1);

    let ids = house.config().with_file_name("ids");
    std::fs::write(&ids, "1\n{\"id\":\"7\"}\n\n8\n").unwrap();
    let file = ids.to_str().unwrap();
    let missing = ["events", "missing", "--source", "test", "--ids", file, "--type", "echo"];
    let said = say(&house, &missing).unwrap();
    assert!(said.starts_with("7\n8\n2 missing, 1 seen; what came since "), "{said}");
    assert_eq!(json(&house, &missing)["missing"], serde_json::json!(["7", "8"]));
    let untyped = say(&house, &missing[..6]).unwrap_err();
    assert!(untyped.contains("does not sign its ids"), "{untyped}");
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_paused_is_seen_and_a_plugins_state_is_at_hand() {
    let house = house();
    let gateway = house.start().await;
    let pause = ["plugin", "pause", "hostile", "--why", "it is sick"];
    assert_eq!(say(&house, &pause).unwrap(), "hostile is paused\n");
    let listed = say(&house, &["plugin", "list"]).unwrap();
    assert!(listed.contains("paused since") && listed.contains("by admin: it is sick"), "{listed}");
    assert_eq!(say(&house, &["source", "pause", "stripe"]).unwrap(), "stripe is paused\n");
    assert!(say(&house, &["source", "list"]).unwrap().contains("by admin"));
    send(&house, "test", "nothing", "1", "{}").await;
    let queues = json(&house, &["queues"]);
    assert_eq!(
        (&queues["items"][0]["plugin"], &queues["items"][0]["due"]),
        (&"hostile".into(), &1.into())
    );
    assert!(say(&house, &["queues"]).unwrap().contains("it is sick"));
    assert_eq!(say(&house, &["plugin", "resume", "hostile"]).unwrap(), "hostile goes on\n");
    assert_eq!(say(&house, &["plugin", "resume", "hostile"]).unwrap(), "hostile was not paused\n");
    house.until("what waited", |counts| counts.done == 1).await;
    assert!(say(&house, &["source", "pause", "nobody"]).unwrap_err().contains("no source"));

    let set = ["state", "set", "hostile", "order:1", "open"];
    assert!(say(&house, &set).unwrap().starts_with("version "));
    assert_eq!(say(&house, &["state", "get", "hostile", "order:1"]).unwrap(), "open");
    let absent = [&set[..], &["--if-absent"]].concat();
    assert!(say(&house, &absent).unwrap_err().contains("409"));
    let listed = json(&house, &["state", "list", "hostile", "--prefix", "order:"]);
    assert_eq!(
        (&listed["items"][0]["key"], &listed["items"][0]["bytes"]),
        (&"order:1".into(), &4.into())
    );
    assert!(say(&house, &["state", "list", "hostile"]).unwrap().contains("order:1"));
    assert_eq!(say(&house, &["state", "delete", "hostile", "order:1"]).unwrap(), "deleted\n");
    assert!(say(&house, &["state", "get", "hostile", "order:1"]).unwrap_err().contains("404"));
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tail_tells_what_becomes_of_events_as_they_come() {
    use std::{
        io::{BufRead as _, BufReader},
        process::Stdio,
    };
    let house = house();
    let gateway = house.start().await;
    let mut tail = Command::new(PROGRAM)
        .args(["tail", "--type", "log"])
        .env("TEST_SECRET", SECRET)
        .current_dir(house.config().parent().unwrap())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    // It has a cursor when it says what the columns are.
    assert!(lines.next().unwrap().unwrap().starts_with("EVENT"));
    send(&house, "test", "nothing", "1", "{}").await;
    send(&house, "test", "log", "2", "{}").await;
    let told = lines.next().unwrap().unwrap();
    assert!(
        told.contains("test/log") && told.contains("hostile") && told.contains("done"),
        "{told}"
    );
    // What it logged comes below it.
    while !lines.next().unwrap().unwrap().contains("a warning") {}
    tail.kill().unwrap();
    tail.wait().unwrap();
    assert!(gateway.stop().await.success());
}

#[test]
fn shells_and_the_manual_know_the_commands() {
    let run = |args: &[&str]| {
        let said = bounded::output(Command::new(PROGRAM).args(args));
        assert!(said.status.success(), "{args:?}");
        String::from_utf8(said.stdout).unwrap()
    };
    for shell in ["bash", "zsh", "fish"] {
        assert!(run(&["completions", shell]).contains("queues"), "{shell}");
    }
    let page = run(&["man"]);
    assert!(page.contains(".TH hookweir") && page.contains("hookweir\\-dead"), "{page}");
    let folder = tempfile::tempdir().unwrap();
    run(&["man", "--dir", folder.path().to_str().unwrap()]);
    let page = std::fs::read_to_string(folder.path().join("hookweir-dead-discard.1")).unwrap();
    assert!(page.contains("Put dead letters aside"), "{page}");
}
