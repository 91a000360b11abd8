//! What operators find and mend through the command line, over the admin API of a running gateway.

use std::process::Command;

use hookweir_event::EventId;
use hookweir_store::{DeliveryState, Shown};
use hookweir_tests::house::{House, SECRET};
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_hookweir-under-test");

/// What the command says to standard output, if it ends well, or to standard error.
fn say(house: &House, args: &[&str]) -> Result<String, String> {
    let said = Command::new(PROGRAM)
        .args(args)
        .env("TEST_SECRET", SECRET)
        .current_dir(house.config().parent().unwrap())
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    if said.status.success() { Ok(text(said.stdout)) } else { Err(text(said.stderr)) }
}

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
