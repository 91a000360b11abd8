//! What attempts sent is kept with them, where the config says so: bounded, without secrets, in the transaction of
//! the settlement; operators see it, and a candidate is tried on it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use hookweir_event::{Answered, Digest, EventId, Exchanges, Outcome};
use hookweir_store::DeliveryId;
use hookweir_tests::{
    guests,
    house::{Gateway, House, SECRET},
    world::{COOKIE, World},
};
use serde_json::{Value, json};

use crate::cli::{Said, hookweir};

const PROGRAM: &str = env!("CARGO_BIN_EXE_hookweir-under-test");

/// A house with the plugin `reach`, which sends what events say, and the world that it sends to.
async fn scene(settings: &str) -> (House, World) {
    let world = World::start("127.0.0.1").await;
    let at = world.address;
    let sections = format!(
        "[plugins.reach]\napi = \"off\"\nhttp = [\"http://*\", \"https://*\", \"http://{at}\"]\nhttp_addresses = [\"127.0.0.0/8\"]\n\
         {settings}\n[plugins.reach.secrets]\n\
         API_KEY = {{ env = \"TEST_SECRET\", hosts = [\"http://{at}\"] }}\n\
         OPEN = {{ env = \"TEST_SECRET\", readable = true }}\n"
    );
    let house = House::new(PROGRAM, &sections);
    house.put_guest("reach");
    (house, world)
}

async fn send(house: &House, event_type: &str, body: &str) -> EventId {
    let id = Digest::of(format!("{event_type} {body}").as_bytes()).short();
    let reply = house.sender("test").send(event_type, &id, body.as_bytes()).await.unwrap();
    reply.id().unwrap_or_else(|| panic!("{reply:?}"))
}

/// The only delivery of an event.
fn delivery(event: EventId) -> DeliveryId {
    DeliveryId { event, ordinal: 0 }
}

async fn kept(house: &House, event: EventId, attempt: u32) -> Option<Exchanges> {
    house.reader().exchanges(delivery(event), attempt).await.unwrap()
}

fn operated(house: &House, args: &[&str]) -> Said {
    hookweir(house.config().parent().unwrap(), args)
}

/// Puts a candidate beside the config, and tries it.
fn tried(house: &House, module: &[u8], args: &[&str]) -> Said {
    let file = house.config().with_file_name("new").join("reach.wasm");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, module).unwrap();
    operated(house, &[&["plugin", "try", file.to_str().unwrap()], args].concat())
}

/// What is said for programs: what is shown, and the sum.
fn told(said: &Said) -> (Vec<Value>, Value) {
    let mut lines: Vec<Value> =
        said.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let sum = lines.pop().unwrap_or_else(|| panic!("{}", said.err));
    (lines, sum)
}

/// The files of the data folder in which some bytes are.
fn files_with(folder: &Path, bytes: &[u8]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files_with(&path, bytes)),
            false => {
                let content = fs::read(&path).unwrap();
                let there = content.windows(bytes.len()).any(|window| window == bytes);
                found.extend(there.then_some(path));
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_attempt_sent_is_kept_with_it_and_no_secret_is() {
    let settings = "record_requests = \"64KiB\"\nrecord_body_max = \"1KiB\"";
    let (house, world) = scene(settings).await;
    let (gateway, at) = (house.start().await, world.address);
    let steps = json!([
        { "method": "POST", "url": format!("http://{at}/mirror"), "headers": [["x-note", "a note"]],
          "secrets": [["authorization", "Bearer {API_KEY}"], ["x-key", "{API_KEY}"]],
          "body": "{\"order\":1,\"key\":\"{OPEN}\"}" },
        { "url": format!("http://{at}/note?key={{OPEN}}") },
        { "url": format!("http://{at}/large/5000") },
    ]);
    let id = send(&house, "must", &steps.to_string()).await;
    house.until("the end of it", |counts| counts.done == 1).await;
    assert_eq!(world.came()[0].header("authorization"), Some(&*format!("Bearer {SECRET}")));
    assert!(world.came()[1].line.contains(SECRET), "the plugin did send it");

    let sent = kept(&house, id, 1).await.unwrap();
    let [mirror, note, large] = &sent.kept[..] else { panic!("{sent:#?}") };
    assert_eq!(sent.left_out, 0);
    assert_eq!((&*mirror.method, &*mirror.url), ("POST", &*format!("http://{at}/mirror")));
    let header = |name: &str| {
        let found = mirror.headers.iter().find(|(found, _)| found == name);
        found.map(|(_, value)| String::from_utf8(value.clone()).unwrap())
    };
    assert_eq!(header("authorization").as_deref(), Some("[redacted]"));
    assert_eq!(header("x-key").as_deref(), Some("[redacted]"));
    assert_eq!(header("x-note").as_deref(), Some("a note"));
    assert_eq!(header("idempotency-key"), Some(format!("{id}/1")));
    assert_eq!(header("user-agent"), None);
    assert_eq!(mirror.body.bytes, br#"{"order":1,"key":"[redacted]"}"#);
    let Answered::Response { status: 200, headers, body } = &mirror.answer else {
        panic!("{mirror:#?}")
    };
    assert!(headers.contains(&("set-cookie".into(), b"[redacted]".to_vec())), "{headers:?}");
    let body = String::from_utf8(body.bytes.clone()).unwrap();
    assert!(body.contains("authorization: Bearer [redacted]\n"), "{body}");
    assert_eq!(note.url, format!("http://{at}/note?key=[redacted]"));
    let Answered::Response { body, .. } = &large.answer else { panic!("{large:#?}") };
    assert_eq!((body.bytes.len(), body.len), (1024, 5000));
    assert_eq!(body.digest, Some(Digest::of(&[b'x'; 5000])));

    // As operators see it.
    let event = house.admin(&format!("events/{id}")).await;
    let counts = &event["deliveries"][0]["attempts"][0]["requests"];
    assert_eq!(*counts, json!({ "kept": 3, "omitted": 0 }));
    let place = format!("deliveries/{id}/0/attempts/1/requests");
    let requests = house.admin(&place).await;
    assert_eq!(requests["items"][1]["url"], note.url, "{requests:#}");
    assert_eq!(requests["items"][2]["response"]["body"]["bytes"], 5000, "{requests:#}");
    let absent = house.admin(&place.replace("attempts/1", "attempts/2")).await;
    assert_eq!(absent["code"], "not_found");
    let id = id.to_string();
    let short = operated(&house, &["events", "show", &id]);
    short.succeeds(&[
        &format!("POST http://{at}/mirror -> 200"),
        &format!("GET http://{at}/note?key=[redacted] -> 200"),
    ]);
    assert!(!short.out.contains("> x-note"), "{}", short.out);
    let whole = operated(&house, &["events", "show", &id, "--requests"]);
    whole.succeeds(&[
        "> x-note: a note",
        "< authorization: Bearer [redacted]",
        "of 5000 bytes, SHA-256",
    ]);
    let json = operated(&house, &["events", "show", &id, "--requests", "--json"]);
    let shown: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(shown["deliveries"][0]["attempts"][0]["requests"]["items"][0]["method"], "POST");

    is_nowhere(&house, gateway, &[short, whole, json]).await;
}

/// No secret is in the store, in no form, nor in what was said; what is none is, so that this sees something.
async fn is_nowhere(house: &House, gateway: Gateway, said: &[Said]) {
    let data = house.database().parent().unwrap().to_owned();
    assert!(!files_with(&data, b"a note").is_empty(), "what is kept is in the store's files");
    gateway.stop().await;
    assert!(!files_with(&data, b"a note").is_empty());
    for secret in [SECRET, COOKIE, &SECRET.replace('!', "%21")] {
        assert_eq!(files_with(&data, secret.as_bytes()), Vec::<PathBuf>::new(), "{secret}");
        assert!(said.iter().all(|said| !said.out.contains(secret)), "{secret} is shown");
        assert!(!house.log().contains(secret));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_kept_is_bounded_and_says_so_and_nothing_is_unless_it_is_said() {
    let (house, world) = scene("record_requests = \"2KiB\"").await;
    let (gateway, at) = (house.start().await, world.address);
    let step = json!({ "method": "POST", "url": format!("http://{at}/a"), "bytes": 500 });
    let many = send(&house, "must", &json!(vec![step; 8]).to_string()).await;
    let none = send(&house, "must", "[]").await;
    house.until("the end of both", |counts| counts.done == 2).await;
    let sent = kept(&house, many, 1).await.unwrap();
    let (there, left_out) = (sent.kept.len(), sent.left_out);
    assert!(there > 0 && left_out > 0 && there + left_out as usize == 8, "{sent:#?}");
    assert!(sent.bytes() <= 2 << 10, "{} bytes", sent.bytes());
    assert_eq!(kept(&house, none, 1).await, Some(Exchanges::default()), "it sent nothing");
    let said = operated(&house, &["events", "show", &many.to_string()]);
    said.succeeds(&[&format!("{left_out} more were sent than record_requests has room for")]);

    // Off, without a restart; what is there stays.
    let config = fs::read_to_string(house.config()).unwrap();
    let before = house.log().len();
    let aside = house.config().with_file_name(".aside.toml");
    fs::write(&aside, config.replace("record_requests = \"2KiB\"", "")).unwrap();
    fs::rename(aside, house.config()).unwrap();
    house.until_log(before, &["config reloaded"]).await;
    let config = house.admin("config").await;
    assert_eq!(config["plugins"]["reach"]["record_requests"], "off");
    let step = json!([{ "url": format!("http://{at}/b") }]).to_string();
    let after = send(&house, "must", &step).await;
    house.until("the end of it", |counts| counts.done == 3).await;
    assert_eq!(kept(&house, after, 1).await, None);
    assert!(kept(&house, many, 1).await.is_some());
    let event = house.admin(&format!("events/{after}")).await;
    assert_eq!(event["deliveries"][0]["attempts"][0]["requests"], Value::Null);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attempt_that_was_cut_off_by_a_kill_leaves_nothing_and_the_next_one_all() {
    let settings = "record_requests = \"64KiB\"\nhttp_timeout = \"5s\"\nmax_attempts = 1";
    let (house, world) = scene(settings).await;
    let (gateway, at) = (house.start().await, world.address);
    let steps =
        json!([{ "url": format!("http://{at}/first") }, { "url": format!("http://{at}/hang") }]);
    let id = send(&house, "must", &steps.to_string()).await;
    world.until("both requests", |world| world.came().len() == 2).await;
    gateway.kill();
    let gateway = house.start().await;
    house.until("the end of it", |counts| counts.dead == 1).await;
    let shown = house.reader().show(id).await.unwrap().unwrap();
    let outcomes: Vec<_> =
        shown.deliveries[0].attempts.iter().map(|made| made.attempt.outcome).collect();
    assert_eq!(outcomes, [Outcome::Lost, Outcome::Retry]);
    assert_eq!(kept(&house, id, 1).await, None, "it was never settled");
    let sent = kept(&house, id, 2).await.unwrap();
    let [first, hang] = &sent.kept[..] else { panic!("{sent:#?}") };
    assert!(matches!(first.answer, Answered::Response { status: 200, .. }), "{first:#?}");
    let timeout = Answered::Fault { code: "timeout".to_owned(), detail: "5000".to_owned() };
    assert_eq!(hang.answer, timeout);
    let said = operated(&house, &["events", "show", &id.to_string()]);
    said.succeeds(&["/hang -> timeout: there was no answer within 5s"]);
    gateway.stop().await;
}

/// A house whose store has events of each kind, with what their attempts sent.
async fn lived_in() -> (House, World) {
    let settings = "record_requests = \"64KiB\"\nrecord_body_max = \"1KiB\"\nmax_attempts = 1\n\
                    http_timeout = \"3s\"";
    let (house, world) = scene(settings).await;
    let (gateway, at) = (house.start().await, world.address);
    send(&house, "label", &format!("http://{at}")).await;
    // Several to one place, told apart by their bodies, each answered with its own.
    let post = |body: &str| json!({ "method": "POST", "url": format!("http://{at}/echo?to=all"), "body": body });
    send(&house, "send", &json!([post("one"), post("two")]).to_string()).await;
    send(&house, "must", &json!([post("{OPEN}")]).to_string()).await;
    send(&house, "send-all", &json!([post("three"), post("four")]).to_string()).await;
    // Failures of each kind: an answer that is none, no answer in time, nobody who listens.
    let nobody = "127.0.0.2".to_owned();
    for place in [format!("{at}/status/503"), format!("{at}/hang"), nobody] {
        send(&house, "must", &json!([{ "url": format!("http://{place}") }]).to_string()).await;
    }
    house.settled().await;
    let counts = house.reader().counts().await.unwrap();
    assert_eq!((counts.done, counts.dead), (4, 3));
    gateway.stop().await;
    (house, world)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_candidate_is_answered_as_the_live_version_was_then() {
    let (house, world) = lived_in().await;
    let (connections, at) = (world.connections(), world.address);
    let live = guests::wasm("reach");
    let said =
        tried(&house, &guests::with_section(live.clone(), 1), &["--json", "--all", "--logs"]);
    let (shown, sum) = told(&said);
    assert_eq!((said.code, &shown[..]), (0, &[][..]), "{}", said.err);
    let sum = &sum["sum"];
    assert_eq!((&sum["same"], &sum["notComparable"]), (&json!(7), &json!(0)), "{sum:#}");
    assert_eq!(sum["otherBodiesThanThen"], 0, "each got what it got then: {sum:#}");
    let requests = json!({ "record": 9, "answers": 0, "grant": 0, "nobody": 0 });
    assert_eq!(sum["requests"], requests);

    // One that sends something else is not answered quietly.
    let candidate = guests::reworded(&live, "/labels/blue", "/labels/teal");
    let said = tried(&house, &candidate, &[]);
    assert_eq!(said.code, 1, "{}", said.err);
    for part in [
        &*format!("request  POST http://{at}/labels/blue gone: {{}}"),
        &*format!("request  POST http://{at}/labels/teal new: {{}}"),
        &*format!("request  POST http://{at}/labels/teal not recorded, and not answered"),
        "outcome: done -> ",
        "7 events: 6 the same, 1 different (outcome 1, request 1), 0 not comparable",
        "8 of the candidate's requests were answered from the record",
        "1 of the candidate's requests were answered by nobody",
    ] {
        assert!(said.out.contains(part), "{part}: {}", said.out);
    }
    // With an answer it is done too, and it is said who answered.
    let answers = house.config().with_file_name("answers.json");
    fs::write(answers, format!(r#"{{ "POST http://{at}/labels/*": {{ "status": 201 }} }}"#))
        .unwrap();
    let said = tried(&house, &candidate, &["--answers", "answers.json"]);
    assert_eq!(said.code, 1, "{}", said.err);
    for part in [
        &*format!("answered POST http://{at}/labels/teal: 201, by the answers"),
        "6 the same, 1 different (request 1)",
        "1 of the candidate's requests were answered by --answers or --answer-all",
    ] {
        assert!(said.out.contains(part), "{part}: {}", said.out);
    }
    assert!(!said.out.contains("outcome:"), "{}", said.out);
    assert!(!said.out.contains(SECRET));
    assert_eq!(world.connections(), connections, "nothing left");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_recorded_whole_is_not_made_up() {
    let settings = "record_requests = \"64KiB\"\nrecord_body_max = \"1KiB\"";
    let (house, world) = scene(settings).await;
    let (gateway, at) = (house.start().await, world.address);
    let large = json!([{ "url": format!("http://{at}/large/5000") }]).to_string();
    send(&house, "send", &large).await;
    house.settled().await;
    let live = guests::wasm("reach");
    // The plugin tells of the error in its output, so that it is done both times.
    let said = tried(&house, &guests::with_section(live.clone(), 1), &[]);
    assert_eq!(said.code, 1, "what was not answered is a difference: {}", said.out);
    for part in [
        &*format!(
            "request  GET http://{at}/large/5000 not answered: what it was answered then is not recorded whole"
        ),
        "1 had outputs that read otherwise than then",
    ] {
        assert!(said.out.contains(part), "{part}: {}", said.out);
    }
    // A version that did not run then sends what is not recorded: nothing can be told by it.
    send(&house, "label", &format!("http://{at}")).await;
    house.settled().await;
    let other = house.config().with_file_name("other.wasm");
    fs::write(&other, guests::reworded(&live, "/labels/blue", "/labels/teal")).unwrap();
    let args = ["--type", "label", "--against", "other.wasm", "--all", "--answer-all", "200"];
    let said = tried(&house, &live, &args);
    assert_eq!(said.code, 2, "{}", said.out);
    let part = format!("then): POST http://{at}/labels/blue -> POST http://{at}/labels/teal");
    for part in ["the live version sent other requests than then (by version", &*part] {
        assert!(said.out.contains(part), "{part}: {}", said.out);
    }
    gateway.stop().await;
}
