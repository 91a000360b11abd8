//! A candidate is tried on what a gateway has recorded: what it changes is found, and nothing else; nothing is
//! written, and nothing sent.

use std::{
    fs,
    path::{Path, PathBuf},
};

use hookweir_event::EventId;
use hookweir_tests::{
    guests,
    house::{House, SECRET},
    load::{Load, PAYMENT, payment},
    world::World,
};
use serde_json::{Value, json};

use crate::{
    cli::{Said, hookweir},
    running::Running,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_hookweir-under-test");
const FAILED: &str = "payment_intent.payment_failed";

/// Puts a candidate beside the config, under the name of its plugin.
fn candidate(house: &House, plugin: &str, module: &[u8]) -> PathBuf {
    let folder = house.config().with_file_name("new");
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join(format!("{plugin}.wasm"));
    fs::write(&file, module).unwrap();
    file
}

fn tried(house: &House, file: &Path, args: &[&str]) -> Said {
    let args = [&["plugin", "try", file.to_str().unwrap()], args].concat();
    hookweir(house.config().parent().unwrap(), &args)
}

/// What is said for programs: what differs, and the sum.
fn told(said: &Said) -> (Vec<Value>, Value) {
    let mut lines: Vec<Value> =
        said.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let sum = lines.pop().unwrap_or_else(|| panic!("{}", said.err));
    (lines, sum)
}

async fn send(house: &House, source: &str, event_type: &str, id: &str, body: &str) -> EventId {
    let reply = house.sender(source).send(event_type, id, body.as_bytes()).await.unwrap();
    reply.id().unwrap_or_else(|| panic!("{reply:?}"))
}

/// A gateway's house in which payments came to all that they can come to. Answers the events whose payment
/// failed.
async fn paid() -> (House, Vec<EventId>) {
    let house = House::new(PROGRAM, "[plugins.payments]\nbackoff = \"1ms\"\n");
    house.put_guest("payments");
    let gateway = house.start().await;
    let mut failed = Vec::new();
    for nth in 0..4 {
        let id = format!("paid-{nth}");
        send(&house, "stripe", PAYMENT.event_type, &id, &payment(&id, "{}")).await;
        let id = format!("failed-{nth}");
        let body = payment(&id, "{}").replace(PAYMENT.event_type, FAILED);
        failed.push(send(&house, "stripe", FAILED, &id, &body).await);
    }
    let late = payment("late", r#"{"downstream":"fail-once"}"#);
    send(&house, "stripe", PAYMENT.event_type, "late", &late).await;
    let foreign = payment("foreign", "{}").replace("order_id", "basket_id");
    send(&house, "stripe", PAYMENT.event_type, "foreign", &foreign).await;
    house.until("the last of them", |counts| (counts.done, counts.dead) == (9, 1)).await;
    assert!(gateway.stop().await.success());
    (house, failed)
}

/// The events that are shown.
fn ids(items: &[Value]) -> Vec<EventId> {
    items.iter().map(|item| item["event"].as_str().unwrap().parse().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_candidate_changes_is_found_there_and_nowhere_else() {
    let (house, failed) = paid().await;
    let versions = house.database().with_file_name("versions/versions.json");
    let before = (house.events().await, fs::read(&versions).unwrap());
    let state = house.reader().whole_state(&"payments".parse().unwrap(), 1 << 20).await.unwrap();
    assert_eq!(state.as_ref().map(Vec::len), Some(9));
    let live = guests::wasm("payments");

    // The same code under another digest.
    let file = candidate(&house, "payments", &guests::with_section(live.clone(), 1));
    let said = tried(&house, &file, &["--fresh-state", "--json", "--logs"]);
    let (shown, sum) = told(&said);
    assert_eq!((said.code, &shown[..]), (0, &[][..]), "{}{}", said.out, said.err);
    let counts = &sum["sum"];
    assert_eq!(
        (&counts["events"], &counts["same"], &counts["otherBodiesThanThen"]),
        (&json!(10), &json!(10), &json!(0)),
        "{sum:#}"
    );
    assert!(counts["cost"]["candidate"]["cpuMicros"]["p99"].as_u64().unwrap() > 0, "{sum:#}");

    // Another name of one output.
    let module = guests::reworded(&live, "order.payment_failed", "order.payment_broken");
    let file = candidate(&house, "payments", &module);
    let said = tried(&house, &file, &["--fresh-state", "--json"]);
    let (shown, sum) = told(&said);
    assert_eq!(said.code, 1, "{}", said.err);
    assert_eq!(ids(&shown), failed, "in the order of their commits");
    assert_eq!(sum["sum"]["differentBy"]["output"], 4, "{sum:#}");
    assert_eq!((&sum["sum"]["same"], &sum["sum"]["notComparable"]), (&json!(6), &json!(0)));
    for item in &shown {
        let [gone, new] = &item["differences"].as_array().unwrap()[..] else { panic!("{item:#}") };
        assert_eq!(
            (&gone["of"], &new["of"]),
            (&json!("order.payment_broken"), &json!("order.payment_failed"))
        );
        assert!(gone["new"].is_string() && new["gone"].is_string(), "{item:#}");
    }
    assert_eq!(tried(&house, &file, &["--fresh-state", "--allow-differences"]).code, 0);

    // What is said of one event.
    let module =
        guests::reworded(&live, "not a payment of the shop's", "no payment that is known   ");
    let said = tried(&house, &candidate(&house, "payments", &module), &["--fresh-state"]);
    for part in [
        "reject: no metadata.order_id: not a payment of the shop's -> reject",
        "9 the same, 1 different (outcome 1)",
    ] {
        assert!(said.out.contains(part), "{part}: {}", said.out);
    }

    let after = (house.events().await, fs::read(&versions).unwrap());
    assert_eq!(after, before);
    let now = house.reader().whole_state(&"payments".parse().unwrap(), 1 << 20).await.unwrap();
    assert_eq!(now, state, "nothing was written");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_state_of_now_has_changed_is_not_blamed_on_the_candidate() {
    let (house, failed) = paid().await;
    let live = guests::wasm("payments");
    let module = guests::reworded(&live, "order.payment_failed", "order.payment_broken");
    let file = candidate(&house, "payments", &module);
    // Each order is known by now, so nothing is made of its payment any more, by neither version.
    let said = tried(&house, &file, &[]);
    said.succeeds(&[
        "against",
        "beginning with the state of now",
        "10 events: 1 the same, 0 different, 9 not comparable",
        "on 9 the live version made other outputs than then",
        "CPU",
    ]);
    let one = failed[1].to_string();
    let said = tried(&house, &file, &["--ids", &one, "--all"]);
    assert_eq!(said.code, 2, "that tells nothing of the candidate: {}", said.err);
    for part in [&*one, "not comparable", "order.payment_failed -> none", "1 event:"] {
        assert!(said.out.contains(part), "{part}: {}", said.out);
    }

    // What differs is in words, with the place.
    let said = tried(&house, &file, &["--ids", &one, "--fresh-state"]);
    assert_eq!(said.code, 1, "{}", said.err);
    for part in [
        "stripe/payment_intent.payment_failed  attempt 1",
        "output   order.payment_broken new: {",
        "output   order.payment_failed gone: {",
    ] {
        assert!(said.out.contains(part), "{part}: {}", said.out);
    }

    // Which events are meant.
    let count = |args: &[&str]| {
        let said = tried(
            &house,
            &file,
            &[args, &["--fresh-state", "--json", "--allow-differences"]].concat(),
        );
        said.succeeds(&[]);
        told(&said).1["sum"]["events"].as_u64().unwrap()
    };
    assert_eq!(count(&["--last", "3"]), 3);
    assert_eq!(count(&["--type", FAILED]), 4);
    assert_eq!(
        count(&["--match", "stripe/payment_intent.s*", "--since", "2020-01-01T00:00:00Z"]),
        6
    );
    assert_eq!(count(&["--ids", &format!("{one},{}", failed[0])]), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_compared_and_none_leaves() {
    let world = World::start("127.0.0.1").await;
    let at = world.address;
    let sections = format!(
        "[plugins.user-signup]\nsubscribe = [\"test/user.created\", \"plugin.user-signup/*\"]\n\
         http = [\"https://*\", \"http://{at}\"]\nhttp_addresses = [\"127.0.0.1\"]\n\
         config = {{ accounts_url = \"http://{at}/users\", mail_url = \"http://{at}/send?key=hidden\", mail_from = \"us@example.com\" }}\n\
         [plugins.user-signup.secrets]\n\
         ACCOUNTS_KEY = {{ env = \"TEST_SECRET\", hosts = [\"http://{at}\"] }}\n\
         MAIL_KEY = {{ env = \"TEST_SECRET\", hosts = [\"http://{at}\"] }}\n"
    );
    let house = House::new(PROGRAM, &sections);
    house.put_guest("user-signup");
    let gateway = house.start().await;
    let user = json!({ "type": "user.created", "data": {
        "id": "user_1", "first_name": "Ada", "last_name": null, "primary_email_address_id": null,
        "email_addresses": [{ "id": "idn_1", "email_address": "ada@example.org" }],
    }});
    for nth in 0..3 {
        send(&house, "test", "user.created", &nth.to_string(), &user.to_string()).await;
    }
    house.settled().await;
    let connections = world.connections();
    assert_eq!((world.came().len(), connections > 0), (6, true));

    let module = guests::reworded(&guests::wasm("user-signup"), "Welcome, ", "Welcame, ");
    let file = candidate(&house, "user-signup", &module);
    let said = tried(&house, &file, &["--answer-all", "200"]);
    assert_eq!(said.code, 1, "{}{}", said.out, said.err);
    let place = format!(
        "request  POST http://{at}/send?key=[redacted] /subject: \"Welcome, Ada!\" -> \"Welcame, Ada!\""
    );
    assert_eq!(said.out.matches(&place).count(), 3, "{}", said.out);
    assert!(
        said.out.contains("3 events: 0 the same, 3 different (request 3), 0 not comparable"),
        "{}",
        said.out
    );

    // Without answers both versions ask for another attempt, and the live one did not then.
    let said = tried(&house, &file, &["--json"]);
    let (_, sum) = told(&said);
    let sum = &sum["sum"];
    assert_eq!(
        (said.code, &sum["notComparable"], &sum["unanswered"]),
        (2, &json!(3), &json!(3)),
        "nothing could be told: {sum:#}"
    );

    let answers = house.config().with_file_name("answers.json");
    let text = format!(
        r#"{{ "POST http://{at}/users": {{ "status": 201 }}, "POST http://{at}/se*": {{ "status": 202 }} }}"#
    );
    fs::write(&answers, text).unwrap();
    let same = candidate(&house, "user-signup", &guests::wasm("user-signup"));
    let said = tried(&house, &same, &["--answers", "answers.json"]);
    said.succeeds(&["3 events: 3 the same, 0 different, 0 not comparable"]);
    assert!(!said.out.contains("nothing answers"), "{}", said.out);

    assert_eq!((world.connections(), world.came().len()), (connections, 6), "nothing left");
    for said in [&said.out, &said.err] {
        assert!(!said.contains(SECRET), "{said}");
    }
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chance_and_time_are_the_same_for_both() {
    let house = House::new(PROGRAM, "");
    house.put_guest("hostile");
    let gateway = house.start().await;
    // Made of the attempt and the time, of state that goes on from one event to the next, and of a log.
    for (nth, event_type) in ["echo", "count", "count", "log", "count", "temper"].iter().enumerate()
    {
        send(&house, "test", event_type, &nth.to_string(), "1").await;
        house.settled().await;
    }
    let file = candidate(&house, "hostile", &guests::with_section(guests::wasm("hostile"), 1));
    let said = tried(&house, &file, &["--fresh-state", "--logs", "--json"]);
    let (_, sum) = told(&said);
    assert_eq!(sum["sum"]["same"], 6, "{sum:#}\n{}", said.err);
    assert_eq!(sum["sum"]["otherBodiesThanThen"], 0, "the third counted to three again: {sum:#}");
    // From the state of now they count on.
    let (_, sum) = told(&tried(&house, &file, &["--json"]));
    assert_eq!((&sum["sum"]["same"], &sum["sum"]["otherBodiesThanThen"]), (&json!(6), &json!(3)));
    // A trap is an outcome.
    let file = candidate(&house, "hostile", &guests::ill_tempered(&guests::wasm("hostile")));
    let said = tried(&house, &file, &["--fresh-state"]);
    assert_eq!(said.code, 1, "{}", said.err);
    for part in
        ["test/temper", "outcome: done -> trap", "output   echoed gone", "(outcome 1, output 1)"]
    {
        assert!(said.out.contains(part), "{part}: {}", said.out);
    }
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_tried_beside_a_gateway_that_is_busy() {
    let house = House::new(PROGRAM, "");
    house.put_guest("payments");
    let gateway = house.start().await;
    let load = Load::start(&house, &[PAYMENT; 4]);
    house.until("some events", |counts| counts.done >= 100).await;
    let live = guests::wasm("payments");
    let file = candidate(&house, "payments", &guests::with_section(live.clone(), 1));
    // Some two hundred may be due at a time, and a hundred are done.
    let said = tried(&house, &file, &["--last", "400", "--fresh-state", "--json"]);
    let (_, sum) = told(&said);
    let (run, left) = (&sum["sum"]["same"], &sum["sum"]["notRunYet"]);
    assert_eq!((said.code, &sum["sum"]["different"]), (0, &json!(0)), "{sum:#}\n{}", said.err);
    let all = run.as_u64().unwrap() + left.as_u64().unwrap();
    assert!(run.as_u64().unwrap() > 0 && all <= 400, "{sum:#}");
    let accepted = load.end().await.len();
    house.settled().await;
    let counts = house.reader().counts().await.unwrap();
    assert_eq!((counts.done, counts.dead), (accepted as u64, 0), "the gateway went on");
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupt_shows_what_was_found_so_far() {
    let house = House::new(PROGRAM, "");
    house.put_guest("hostile");
    let gateway = house.start().await;
    for nth in 0..60 {
        send(&house, "test", "spin", &nth.to_string(), "150").await;
    }
    house.settled().await;
    let file = candidate(&house, "hostile", &guests::with_section(guests::wasm("hostile"), 1));
    let config = house.config();
    let mut trying =
        Running::start(config.parent().unwrap(), &["plugin", "try", file.to_str().unwrap()]);
    // It is said when all is loaded, and the first event comes.
    trying.until(&["against"]);
    let (code, said) = trying.interrupt();
    assert_eq!(code, 2, "{said:#?}");
    let at = said.iter().position(|line| line == "interrupted; so far:");
    let rest = &said[at.unwrap_or_else(|| panic!("{said:#?}"))..];
    let first = |line: &String| line.split(' ').next()?.parse().ok();
    let events: u64 = rest.iter().find_map(first).unwrap();
    assert!(events < 60, "{rest:#?}");
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_can_not_be_told_says_why() {
    let house = House::new(PROGRAM, "");
    let live = guests::wasm("payments");
    let file = candidate(&house, "payments", &live);
    tried(&house, &file, &[]).fails(2, &["no store at"]);
    house.put("payments", &live);
    let gateway = house.start().await;
    tried(&house, &file, &[]).fails(2, &["payments has no such events"]);
    let id = send(&house, "stripe", PAYMENT.event_type, "1", &payment("1", "{}")).await;
    house.settled().await;
    let unknown = "01890a5d-ac96-774b-bcce-b302099a8057";
    let bad = house.config().with_file_name("bad.json");
    fs::write(&bad, r#"{ "nonsense": { "status": 200 } }"#).unwrap();
    for (args, words) in [
        (&["--ids", unknown][..], &["there is no event", unknown][..]),
        (&["--ids", &id.to_string(), "--type", "other"], &["is no event of payments"]),
        (&["--since", "2999-01-01T00:00:00Z"], &["no such events"]),
        (&["--since", "yesterday"], &["--since", "yesterday"]),
        (&["--answers", "bad.json"], &["bad.json", "nonsense"]),
        (&["--answers", "none.json"], &["none.json"]),
        (&["--answer-all", "99"], &["--answer-all"]),
        (&["--last", "0"], &["--last"]),
        (&["--ids", unknown, "--last", "3"], &["--last"]),
        (&["--against", "ffff"], &["no kept version of payments begins with ffff"]),
        (&["--plugin", "other"], &["other has no such events"]),
        (&["--db", "none.db"], &["no store at none.db"]),
    ] {
        tried(&house, &file, args).fails(2, words);
    }
    let broken = candidate(&house, "payments", &live[..live.len() / 2]);
    tried(&house, &broken, &[]).fails(2, &["the candidate: failed to load payments"]);
    tried(&house, &file, &["--config", "none.toml"]).fails(64, &["none.toml"]);

    // Any kept version, and any file, can be what it is compared with.
    let (old, new) = (live.clone(), guests::with_section(live, 2));
    house.put("payments", &new);
    let serves_new =
        |plugin: &Value| plugin["live"]["version"] == hookweir_event::Digest::of(&new).to_string();
    house.until_plugin("payments", "the new version", serves_new).await;
    let file = candidate(&house, "payments", &new);
    let first = hookweir_event::Digest::of(&old).short();
    let other = house.config().with_file_name("other.wasm");
    fs::write(&other, &old).unwrap();
    for against in [&first, "other.wasm"] {
        let head = format!("against {first}, beginning with no state");
        tried(&house, &file, &["--fresh-state", "--against", against])
            .succeeds(&[&head, "1 the same"]);
    }
    assert!(gateway.stop().await.success());
}

#[test]
fn its_help_names_its_flags() {
    let said = hookweir(Path::new("."), &["plugin", "try", "--help"]);
    said.succeeds(&[
        "--plugin",
        "--against",
        "--last",
        "--since",
        "--until",
        "--source",
        "--type",
        "--match",
    ]);
    said.succeeds(&["--ids", "--fresh-state", "--answers", "--answer-all", "--logs", "--all"]);
    said.succeeds(&["--allow-differences", "--json", "--db", "--config", "Exit codes:"]);
}
