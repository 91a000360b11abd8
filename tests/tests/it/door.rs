//! What a request gets at the door: the contract with senders, over HTTP, status by status. What is
//! refused leaves nothing in the store. Guarantees 2, 4 and 8.

use std::time::{Duration, Instant};

use hookweir_event::REDACTED;
use hookweir_tests::{
    bounded,
    house::{House, PATIENCE, SECRET},
    load::payment,
    sender::Reply,
};
use rustix::process::Signal;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

fn house(sections: &str) -> House {
    House::new(env!("CARGO_BIN_EXE_hookweir-under-test"), sections)
}

async fn kept(house: &House) -> u64 {
    house.reader().counts().await.unwrap().events
}

#[track_caller]
fn assert_refused(reply: &Reply, status: u16, code: &str, retryable: bool) {
    assert_eq!((reply.status, reply.code()), (status, code), "{reply:?}");
    assert_eq!(reply.body["retryable"], retryable, "{reply:?}");
    assert!(reply.body["error"].is_string(), "{reply:?}");
    let id = reply.body["requestId"].as_str().unwrap();
    assert_eq!(reply.header("x-request-id"), Some(id));
}

/// Sends raw bytes and reads until the gateway closes or is silent after an answer.
async fn raw(house: &House, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(house.public).await.unwrap();
    // The gateway may close before all is sent, which is what some tests are after.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    let wait = Duration::from_secs(5);
    while let Ok(Ok(read)) = tokio::time::timeout(wait, stream.read(&mut buffer)).await {
        answer.extend_from_slice(&buffer[..read]);
        if read == 0 || answer.ends_with(b"}") {
            break;
        }
    }
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn genuine_webhooks_of_each_preset_are_accepted_and_duplicates_answered() {
    let more = ["slack", "shopify"].map(|name| {
        format!(
            "[sources.{name}]\npath = \"/webhooks/{name}\"\nscheme = \"{name}\"\n\
             secrets = [{{ env = \"TEST_SECRET\" }}]\n"
        )
    });
    let house = house(&more.join("\n"));
    let gateway = house.start().await;
    let slack = r#"{"type":"event_callback","event_id":"Ev1","event":{"type":"message"}}"#;
    for (source, event_type, body) in [
        ("github", "push", "{}".to_owned()),
        ("stripe", "payment_intent.succeeded", payment("evt_1", "{}")),
        ("slack", "message", slack.to_owned()),
        ("shopify", "orders/create", r#"{"id":1}"#.to_owned()),
        ("test", "order.created", "anything".to_owned()),
    ] {
        let sender = house.sender(source);
        let first = sender.send(event_type, "delivery-1", body.as_bytes()).await.unwrap();
        assert_eq!((first.status, first.duplicate()), (202, false), "{source}: {first:?}");
        assert_eq!(first.body["accepted"], true);
        let again = sender.send(event_type, "delivery-1", body.as_bytes()).await.unwrap();
        assert_eq!((again.status, again.duplicate()), (202, true), "{source}: {again:?}");
        assert_eq!(again.id(), first.id());
        let event = house.reader().event(first.id().unwrap()).await.unwrap().unwrap();
        assert_eq!(event.event_type.as_str(), event_type);
        assert_eq!(event.body, body.as_bytes());
    }
    assert_eq!(kept(&house).await, 5);
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_duplicates_become_one_event() {
    let house = house("");
    let gateway = house.start().await;
    let sender = house.sender("github");
    let posts: Vec<_> = (0..20)
        .map(|_| {
            let sender = sender.clone();
            tokio::spawn(async move { sender.send("push", "same", b"{}").await.unwrap() })
        })
        .collect();
    let mut replies = Vec::new();
    for post in posts {
        replies.push(post.await.unwrap());
    }
    assert!(replies.iter().all(|reply| reply.status == 202 && reply.id() == replies[0].id()));
    assert_eq!(replies.iter().filter(|reply| !reply.duplicate()).count(), 1);
    assert_eq!(kept(&house).await, 1);
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_captured_request_can_not_be_replayed_under_a_new_id() {
    let house = house("");
    let gateway = house.start().await;
    let sender = house.sender("github");
    let captured = sender.signed("push", "original", b"{\"a\":1}");
    let first = sender.post(captured.clone()).await.unwrap();
    let mut replayed = captured;
    for (name, value) in &mut replayed.headers {
        if name == "x-github-delivery" {
            *value = b"another".to_vec();
        }
    }
    let second = sender.post(replayed).await.unwrap();
    assert!(second.duplicate() && second.id() == first.id(), "{second:?}");
    assert_eq!(kept(&house).await, 1);
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_unverified_is_stored_and_the_reply_tells_nothing() {
    let house = house("");
    let gateway = house.start().await;
    let sender = house.sender("stripe");
    let signed = sender.signed("payment_intent.succeeded", "", payment("evt_1", "{}").as_bytes());
    let edit = |edit: fn(&mut Vec<u8>)| {
        let mut request = signed.clone();
        let header = request.headers.iter_mut().find(|(name, _)| name == "stripe-signature");
        edit(&mut header.unwrap().1);
        request
    };
    let mut unsigned = signed.clone();
    unsigned.headers.retain(|(name, _)| name != "stripe-signature");
    let mut altered = signed.clone();
    altered.body = payment("evt_2", "{}").into_bytes().into();
    let stale = edit(|value| {
        let text = String::from_utf8(value.clone()).unwrap();
        *value = text.replacen("t=1", "t=0", 1).into_bytes();
    });
    let garbled = edit(|value| value.truncate(20));
    let mut bodies = Vec::new();
    for request in [unsigned, altered, stale, garbled] {
        let reply = sender.post(request).await.unwrap();
        assert_refused(&reply, 401, "unauthenticated", false);
        let mut body = reply.body;
        body["requestId"] = "".into();
        bodies.push(body);
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "the reply tells which part was wrong: {bodies:?}");
    let declared = house.sender("test");
    let mut untyped = declared.signed("order.created", "1", b"{}");
    untyped.headers.retain(|(_, value)| value != b"order.created");
    let reply = declared.post(untyped).await.unwrap();
    assert_refused(&reply, 400, "malformed", false);
    assert_eq!(kept(&house).await, 0);
    let log = house.log();
    assert!(log.contains("missing-signature") && log.contains("bad-signature"), "{log}");
    assert!(!log.contains(SECRET));
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_are_not_for_a_source_are_refused() {
    let small = "[sources.small]\npath = \"/small\"\nscheme = \"github\"\nbody_max = \"100B\"\n\
                 secrets = [{ env = \"TEST_SECRET\" }]\n\
                 [sources.far]\npath = \"/far\"\nscheme = \"github\"\nallow = [\"192.0.2.0/24\"]\n\
                 secrets = [{ env = \"TEST_SECRET\" }]\n";
    let house = house(small);
    let gateway = house.start().await;
    let client = bounded::client();
    let url = |path: &str| format!("http://{}{path}", house.public);
    for (request, status) in [
        (client.post(url("/nowhere")), 404),
        (client.get(url("/webhooks/github")), 405),
        (client.put(url("/webhooks/github")), 405),
        (client.post(url("/far")), 403),
        (client.post(url("/small")).body(vec![b'x'; 101]), 413),
        (client.post(url("/webhooks/github")).header("content-encoding", "gzip"), 415),
        (client.post(url("/webhooks/github")).body("{}"), 401),
    ] {
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), status);
        assert!(status != 405 || response.headers()["allow"] == "POST");
        let body: serde_json::Value = response.json().await.unwrap();
        assert!(body["code"].is_string() && body["requestId"].is_string(), "{body}");
    }
    // The length is not announced; it is refused while it streams.
    let endless = "POST /small HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
        .to_owned()
        + &"40\r\n0123456789012345678901234567890123456789012345678901234567890123\r\n".repeat(20);
    assert!(raw(&house, endless.as_bytes()).await.starts_with("HTTP/1.1 413 "));
    let many = format!("POST /small HTTP/1.1\r\nhost: x\r\nbig: {}\r\n\r\n", "x".repeat(80_000));
    assert!(raw(&house, many.as_bytes()).await.starts_with("HTTP/1.1 431 "));
    let smuggled =
        "POST /small HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\ncontent-length: 5\r\n\r\nabcde";
    assert!(raw(&house, smuggled.as_bytes()).await.starts_with("HTTP/1.1 400 "));
    assert!(raw(&house, b"\x16\x03\x01 garbage\r\n\r\n").await.starts_with("HTTP/1.1 400 "));
    assert_eq!(kept(&house).await, 0);
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_senders_are_let_go() {
    let house = house("server.body_timeout = \"1s\"\nserver.header_timeout = \"1s\"");
    let gateway = house.start().await;
    let slow_body = "POST /webhooks/github HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nhalf";
    let answer = raw(&house, slow_body.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("body_too_slow"), "{answer}");
    // No request was parsed, so there is nobody to answer: the connection just ends.
    let mut stream = TcpStream::connect(house.public).await.unwrap();
    stream.write_all(b"POST /webhooks/github HTTP/1.1\r\nhost").await.unwrap();
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "the connection stayed open");
    assert_eq!(kept(&house).await, 0);
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sources_rate_is_spent_by_verified_requests_only() {
    let house = house(
        "[sources.slow]\npath = \"/webhooks/slow\"\nscheme = \"github\"\nrate = \"3/hour\"\n\
         secrets = [{ env = \"TEST_SECRET\" }]\n",
    );
    let gateway = house.start().await;
    let scheme = hookweir_verify::Scheme::preset("github").unwrap();
    let honest =
        hookweir_tests::sender::Sender::new(house.public, "/webhooks/slow", scheme.clone(), SECRET);
    let forger =
        hookweir_tests::sender::Sender::new(house.public, "/webhooks/slow", scheme, "wrong");
    for number in 0..10 {
        let reply = forger.send("push", &number.to_string(), b"{}").await.unwrap();
        assert_refused(&reply, 401, "unauthenticated", false);
    }
    let begun = Instant::now();
    for number in 0..3 {
        let body = format!("{{\"n\":{number}}}");
        let reply = honest.send("push", &number.to_string(), body.as_bytes()).await.unwrap();
        assert_eq!(reply.status, 202, "{reply:?}");
        let (left, whole_in) = reply.header("ratelimit").unwrap().split_once(";t=").unwrap();
        assert_eq!(left, format!("\"source\";r={}", 2 - number));
        let (whole_in, all) = (whole_in.parse::<u64>().unwrap(), 1200 * (number + 1));
        let least = all - begun.elapsed().as_secs() - 1;
        assert!((least..=all).contains(&whole_in), "{whole_in} of {all}");
    }
    let reply = honest.send("push", "4", b"{\"n\":4}").await.unwrap();
    assert_refused(&reply, 429, "rate_limited", true);
    assert!(reply.header("retry-after").unwrap().parse::<u64>().unwrap() > 0);
    assert_eq!(reply.header("ratelimit-policy"), Some("\"source\";q=3;w=3600"));
    assert_eq!(kept(&house).await, 3);
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rate_of_all_sources_is_spent_by_verified_requests_and_outlives_a_reload() {
    let house = house("server.rate = \"3/hour\"");
    let gateway = house.start().await;
    let (github, stripe) = (house.sender("github"), house.sender("stripe"));
    for number in 0..10 {
        let mut forged = github.signed("push", &number.to_string(), b"{}");
        forged.body = b"altered".to_vec().into();
        assert_eq!(github.post(forged).await.unwrap().status, 401);
    }
    let paid = |id: &str| payment(id, "{}").into_bytes();
    let event_type = "payment_intent.succeeded";
    assert_eq!(github.send("push", "1", b"{\"n\":1}").await.unwrap().status, 202);
    assert_eq!(stripe.send(event_type, "", &paid("evt_1")).await.unwrap().status, 202);
    let skip = house.log().len();
    house.write_config("server.rate = \"3/hour\"\nserver.body_timeout = \"29s\"");
    house.until_log(skip, &["config reloaded"]).await;
    assert_eq!(github.send("push", "2", b"{\"n\":2}").await.unwrap().status, 202);
    let reply = stripe.send(event_type, "", &paid("evt_2")).await.unwrap();
    assert_refused(&reply, 429, "rate_limited", true);
    assert_eq!(reply.header("ratelimit-policy"), Some("\"server\";q=3;w=3600"));
    assert!(reply.header("retry-after").unwrap().parse::<u64>().unwrap() > 0);
    assert_eq!(kept(&house).await, 3);
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_is_limited_in_requests_and_in_refusals() {
    let limits = "server.address_rate = \"8/hour\"\nserver.refused_rate = \"3/hour\"\n\
                  server.trusted_proxies = [\"127.0.0.1\"]";
    let house = house(limits);
    let gateway = house.start().await;
    let sender = house.sender("github");
    let from = |address: &str, genuine: bool, number: usize| {
        let body = format!("{{\"from\":\"{address}\",\"n\":{number}}}");
        let mut request = sender.signed("push", &format!("{address}-{number}"), body.as_bytes());
        request.headers.push(("x-forwarded-for".into(), address.as_bytes().to_vec()));
        if !genuine {
            request.body = b"altered".to_vec().into();
        }
        sender.post(request)
    };
    for number in 0..4 {
        assert_eq!(from("192.0.2.1", false, number).await.unwrap().status, 401);
    }
    let banned = from("192.0.2.1", true, 9).await.unwrap();
    assert_refused(&banned, 429, "rate_limited", true);
    assert!(banned.header("ratelimit-policy").unwrap().starts_with("\"refused\""));
    for number in 0..8 {
        assert_eq!(from("192.0.2.2", true, number).await.unwrap().status, 202);
    }
    let spent = from("192.0.2.2", true, 9).await.unwrap();
    assert_refused(&spent, 429, "rate_limited", true);
    assert!(spent.header("ratelimit-policy").unwrap().starts_with("\"address\""));
    assert_eq!(from("192.0.2.3", true, 0).await.unwrap().status, 202);
    assert_eq!(kept(&house).await, 9);
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_are_redacted_from_verification_on() {
    let house = house("");
    let gateway = house.start().await;
    let sender = house.sender("github");
    let mut request = sender.signed("push", "1", b"{}");
    request.headers.push(("authorization".into(), b"Bearer hunter2".to_vec()));
    request.headers.push(("cookie".into(), b"session=hunter2".to_vec()));
    let id = sender.post(request).await.unwrap().id().unwrap();
    let event = house.reader().event(id).await.unwrap().unwrap();
    for name in ["authorization", "cookie"] {
        let value = &event.headers.iter().find(|(header, _)| header == name).unwrap().1;
        assert_eq!(value, REDACTED.as_bytes(), "{name}");
    }
    assert!(gateway.stop().await.success());
    let database = std::fs::read(house.database()).unwrap();
    assert!(!database.windows(7).any(|bytes| bytes == b"hunter2"));
    assert!(!house.log().contains("hunter2"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_connection_does_not_delay_the_end_and_health_is_told() {
    let house = house("");
    let gateway = house.start().await;
    let mut idle = TcpStream::connect(house.public).await.unwrap();
    let get = b"GET /nowhere HTTP/1.1\r\nhost: x\r\n\r\n";
    idle.write_all(get).await.unwrap();
    let mut buffer = [0; 512];
    assert!(idle.read(&mut buffer).await.unwrap() > 0);
    for (path, status) in [("healthz", 200), ("readyz", 200), ("other", 401)] {
        let reply = reqwest::get(format!("http://{}/{path}", house.admin)).await.unwrap();
        assert_eq!(reply.status(), status, "{path}");
    }
    gateway.signal(Signal::TERM);
    let end = tokio::time::timeout(Duration::from_secs(10), gateway.ended()).await;
    assert!(end.expect("the grace time is 20 s; an idle connection needs none of it").success());
}
