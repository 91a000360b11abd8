//! Sources whose requests a plugin verifies, through the real port: what it vouches for is an event like any
//! other, what it does not is nowhere. Guarantees 2, 6 and 8.

use std::time::{Duration, Instant};

use hookweir_event::REDACTED;
use hookweir_tests::{
    bounded,
    house::{House, PATIENCE, SECRET},
    sender::Reply,
};
use reqwest::RequestBuilder;
use tokio::task::JoinSet;

const SECTIONS: &str = "[plugins.desk]\napi = \"off\"\nverifier = true\n\
                        [sources.erp]\npath = \"/webhooks/erp\"\nscheme = \"plugin:desk\"\n\
                        secrets = [{ env = \"TEST_SECRET\" }]\nrate = \"off\"\n";

/// How long the guest takes where it is told to spin.
const SPIN: Duration = Duration::from_millis(30);

fn house(server: &str) -> House {
    let sections = format!("{server}\n{SECTIONS}");
    House::new(env!("CARGO_BIN_EXE_hookweir-under-test"), &sections)
}

/// A house with the guest in it.
fn house_with_desk(server: &str) -> House {
    let house = house(server);
    house.put_guest("desk");
    house
}

/// A request to the source with the right key, and what else a test wants.
fn genuine(house: &House) -> RequestBuilder {
    post(house).header("x-key", SECRET)
}

fn post(house: &House) -> RequestBuilder {
    let client = bounded::client();
    client.post(format!("http://{}/webhooks/erp", house.public)).body("A1")
}

async fn send(request: RequestBuilder) -> Reply {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let text = |value: &reqwest::header::HeaderValue| value.to_str().unwrap_or_default().to_owned();
    let headers = response.headers().iter().map(|(n, v)| (n.to_string(), text(v))).collect();
    let body = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap_or_default();
    Reply { status, body, headers }
}

/// What is answered where the verifier fails at its own hand: one that gets no CPU time at all is only late.
async fn failed(house: &House, harm: &str) -> Reply {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let reply = send(genuine(house).header("x-do", harm)).await;
        if reply.code() != "verifier_unavailable" || Instant::now() > deadline {
            return reply;
        }
    }
}

async fn kept(house: &House) -> u64 {
    house.reader().counts().await.unwrap().events
}

#[track_caller]
fn assert_unavailable(reply: &Reply, code: &str) {
    assert_eq!((reply.status, reply.code()), (503, code), "{reply:?}");
    assert!(reply.header("retry-after").is_some() && reply.body["retryable"] == true, "{reply:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_it_vouches_for_is_an_event_without_its_credentials() {
    let house = house_with_desk("");
    let gateway = house.start().await;
    let with = |id: &str| {
        let url = format!("http://{}/webhooks/erp?key={SECRET}&a=1", house.public);
        let client = bounded::client();
        let request = client.post(url).body("A1").header("x-key", SECRET).header("x-id", id);
        request.header("authorization", "Basic hunter2").header("x-type", "order.created")
    };
    let first = send(with("1")).await;
    assert_eq!((first.status, first.duplicate()), (202, false), "{first:?}");
    let again = send(with("1")).await;
    assert_eq!((again.duplicate(), again.id()), (true, first.id()));
    assert!(!send(with("2")).await.duplicate(), "another id is another event");
    let event = house.reader().event(first.id().unwrap()).await.unwrap().unwrap();
    assert_eq!(event.event_type.as_str(), "order.created");
    assert_eq!(event.query.as_deref(), Some("key=[redacted]&a=1"));
    for name in ["x-key", "authorization"] {
        let value = &event.headers.iter().find(|(header, _)| header == name).unwrap().1;
        assert_eq!(value, REDACTED.as_bytes(), "{name}");
    }
    // It says no id: its content tells it apart.
    let (one, two) = (send(genuine(&house)).await, send(genuine(&house)).await);
    assert_eq!((one.duplicate(), two.duplicate()), (false, true));
    house.settled().await;
    assert!(gateway.stop().await.success());
    let database = std::fs::read(house.database()).unwrap();
    assert!(!database.windows(SECRET.len()).any(|bytes| bytes == SECRET.as_bytes()));
    assert!(!house.log().contains(SECRET));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_it_refuses_is_nowhere_and_the_reply_tells_nothing() {
    let house = house_with_desk("");
    let gateway = house.start().await;
    let mut bodies = Vec::new();
    for request in [
        post(&house),
        post(&house).header("x-key", "guess"),
        genuine(&house).header("x-do", "state"),
    ] {
        let reply = send(request).await;
        assert_eq!((reply.status, reply.code()), (401, "unauthenticated"), "{reply:?}");
        let mut body = reply.body;
        body["requestId"] = "".into();
        bodies.push(body);
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "the reply tells why: {bodies:?}");
    for why in ["no key", "no key of erp", "a verifier has no state"] {
        house.until_log(0, &["refused", "scheme=\"plugin:desk\"", why]).await;
    }
    let reply = send(genuine(&house).header("x-type", "a b")).await;
    assert_eq!((reply.status, reply.code()), (400, "malformed"), "{reply:?}");
    assert_eq!(kept(&house).await, 0);
    let written = house.reader().state(&"desk".parse().unwrap(), "written").await.unwrap();
    assert_eq!(written, None);
    assert!(gateway.stop().await.success());
    assert!(!house.log().contains(SECRET));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_comes_to_no_answer_stores_nothing_and_the_sender_may_come_again() {
    let house = house_with_desk("");
    let gateway = house.start().await;
    for (harm, why) in [
        ("loop", "it used more than 50ms of CPU time"),
        ("panic", "on purpose"),
        ("redact", "to redact, it names"),
    ] {
        let skip = house.log().len();
        assert_unavailable(&failed(&house, harm).await, "verifier_failed");
        house.until_log(skip, &["refused", "verifier-failed", why]).await;
    }
    assert_eq!(kept(&house).await, 0);
    assert_eq!(send(genuine(&house)).await.status, 202, "the next one is not hurt");
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_not_there_keeps_honest_senders_waiting() {
    let house = house("");
    let gateway = house.start().await;
    assert_unavailable(&send(genuine(&house)).await, "verifier_unavailable");
    assert_eq!(kept(&house).await, 0);
    // One that verifies nothing is no better.
    house.put("desk", &hookweir_tests::guests::wasm("hostile"));
    house.until_log(0, &["plugin is live"]).await;
    assert_unavailable(&send(genuine(&house)).await, "verifier_unavailable");
    let skip = house.log().len();
    house.put_guest("desk");
    house.until_log(skip, &["plugin is live"]).await;
    assert_eq!(send(genuine(&house)).await.status, 202);
    assert!(gateway.stop().await.success());
}

/// Two at a time, some more in a line: two hundred at once are more than that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_at_once_than_a_source_may_have_verified_are_told_to_come_again() {
    let house = house_with_desk("");
    let gateway = house.start().await;
    let mut sending = JoinSet::new();
    let (client, url) = (bounded::client(), format!("http://{}/webhooks/erp", house.public));
    let begun = Instant::now();
    for number in 0..200 {
        let request = client.post(&url).body("A1").header("x-key", SECRET);
        sending.spawn(send(request.header("x-do", "spin").header("x-id", number)));
    }
    // Other sources are not held up.
    let beside = house.sender("test").send("order.paid", "1", b"A2").await.unwrap();
    assert_eq!(beside.status, 202);
    let replies = sending.join_all().await;
    let took = begun.elapsed();
    let (taken, busy): (Vec<_>, Vec<_>) = replies.iter().partition(|reply| reply.status == 202);
    assert!(taken.len() >= 2 && busy.len() >= 30, "{} taken, {} busy", taken.len(), busy.len());
    // Each has one of the two places for as long as it spins.
    let most = 2 * (took.as_millis() / SPIN.as_millis() + 1);
    assert!(taken.len() as u128 <= most, "{} taken in {took:?}", taken.len());
    busy.iter().for_each(|reply| assert_unavailable(reply, "verifier_unavailable"));
    assert_eq!(kept(&house).await, taken.len() as u64 + 1);
    house.settled().await;
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_does_it_harm_is_turned_away() {
    let house = house_with_desk("server.address_rate = \"off\"\nserver.refused_rate = \"3/hour\"");
    let gateway = house.start().await;
    for _ in 0..4 {
        assert_unavailable(&failed(&house, "loop").await, "verifier_failed");
    }
    let reply = send(genuine(&house)).await;
    assert_eq!((reply.status, reply.code()), (429, "rate_limited"), "{reply:?}");
    assert_eq!(kept(&house).await, 0);
    assert!(gateway.stop().await.success());
}

#[test]
fn commands_that_sign_say_that_they_can_not() {
    let house = house("");
    let run = |arguments: &[&str]| {
        let command = bounded::output(
            std::process::Command::new(env!("CARGO_BIN_EXE_hookweir-under-test"))
                .args(arguments)
                .env("TEST_SECRET", SECRET),
        );
        (command.status.code(), String::from_utf8(command.stderr).unwrap())
    };
    let config = house.config();
    let config = config.to_str().unwrap();
    let (code, said) = run(&["send", "erp", "--body", config, "--config", config]);
    assert_eq!(code, Some(1));
    assert!(said.contains("verified by plugin:desk"), "{said}");
    let (code, said) = run(&["verify", "--scheme", "plugin:desk", "--secret-env", "TEST_SECRET"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("only a running gateway asks a plugin"), "{said}");
}
