//! Gateways whose store is in a database of PostgreSQL's: what is acknowledged stays so whichever of the two is killed or
//! cut off from the other, and gateways at one database share its work.

use std::time::{Duration, Instant};

use hookweir_tests::{
    house::{House, PATIENCE},
    load::{COUNT, ECHO, Load, PAYMENT, SPIN},
    postgres::{PASSWORD, Postgres},
    provider::Authority,
    relay::{Moment, Network, Relay},
    sender::{Reply, Sender},
};

use crate::crash::audit;

/// How long a sender may wait for an answer of any kind: most give up after 10 s to 30 s.
const ANSWER_MAX: Duration = Duration::from_secs(15);

/// A house at this database, in which attempts are cut off by whatever happens: few run at a time.
fn house(url: String, sections: &str) -> House {
    let few = "[plugins.payments]\nrate = \"off\"\nconcurrency = 4\n\
               [plugins.hostile]\nrate = \"off\"\nconcurrency = 4\n";
    let program = env!("CARGO_BIN_EXE_hookweir-under-test");
    let house = House::in_database(program, &format!("{sections}{few}"), url);
    house.put_guest("payments");
    house.put_guest("hostile");
    house
}

async fn send(sender: &Sender, id: &str) -> Reply {
    let started = Instant::now();
    // GitHub signs no delivery id: the same body would be the same webhook.
    let body = format!("{{\"id\":\"{id}\"}}");
    let reply = sender.send("push", id, body.as_bytes()).await.unwrap();
    let took = started.elapsed();
    assert!(took < ANSWER_MAX, "{took:?} until {reply:?}");
    reply
}

async fn probe(house: &House, path: &str) -> u16 {
    reqwest::get(format!("http://{}/{path}", house.admin)).await.unwrap().status().as_u16()
}

/// Waits until a probe answers so.
async fn until_probed(house: &House, path: &str, status: u16) {
    let deadline = Instant::now() + PATIENCE;
    while probe(house, path).await != status {
        assert!(Instant::now() < deadline, "/{path} does not get {status}\n{}", house.log());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until there is more than there was.
async fn until_more(load: &Load, more: usize) {
    let (before, deadline) = (load.accepted().len(), Instant::now() + PATIENCE);
    while load.accepted().len() < before + more {
        assert!(Instant::now() < deadline, "nothing is accepted any more");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_events_survive_kill_9_of_the_gateway() {
    let server = Postgres::durable();
    let house = house(server.url(), "");
    let mut gateway = house.start().await;
    let load = Load::start(&house, &[PAYMENT, COUNT, ECHO, SPIN, SPIN]);
    for _ in 0..3 {
        until_more(&load, 50).await;
        gateway.kill();
        gateway = house.start().await;
    }
    let accepted = load.end().await;
    let events = house.settled().await;
    assert!(gateway.stop().await.success());
    let lost = audit(&accepted, &events);
    assert!(lost > 0, "no kill met a running attempt");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_events_survive_kill_9_of_the_server() {
    let mut server = Postgres::durable();
    let house = house(server.url(), "");
    let gateway = house.start().await;
    let load = Load::start(&house, &[PAYMENT, COUNT, ECHO, SPIN, SPIN]);
    for calm in [false, true] {
        until_more(&load, 50).await;
        if calm {
            server.stop();
        } else {
            server.kill();
        }
        until_probed(&house, "readyz", 503).await;
        server.run();
        until_probed(&house, "readyz", 200).await;
    }
    until_more(&load, 50).await;
    let accepted = load.end().await;
    let events = house.settled().await;
    assert!(gateway.stop().await.success());
    audit(&accepted, &events);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_that_takes_over_has_all_that_was_acknowledged() {
    let mut primary = Postgres::durable();
    let standby = primary.standby();
    let url = Postgres::url_at(&[primary.address(), standby.address()]);
    let house = house(url, "");
    let gateway = house.start().await;
    let load = Load::start(&house, &[PAYMENT, COUNT, ECHO, SPIN, SPIN]);
    until_more(&load, 100).await;
    primary.kill();
    until_probed(&house, "readyz", 503).await;
    standby.promote();
    let started = Instant::now();
    until_probed(&house, "readyz", 200).await;
    until_more(&load, 50).await;
    println!("work went on {:?} after the standby took over", started.elapsed());
    let accepted = load.end().await;
    let events = house.settled().await;
    assert!(gateway.stop().await.success());
    audit(&accepted, &events);
}

/// Both find an empty database, and one makes it what it has to be.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_gateways_share_the_work_and_one_does_what_the_other_left() {
    let server = Postgres::durable();
    let houses = [house(server.url(), ""), house(server.url(), "")];
    let [mut first, mut second] = [houses[0].spawn(), houses[1].spawn()];
    houses[0].ready(&mut first).await;
    houses[1].ready(&mut second).await;
    let kinds = [PAYMENT, COUNT, ECHO, SPIN];
    let loads =
        [Load::start_from(&houses[0], &kinds, 0), Load::start_from(&houses[1], &kinds, 100)];
    until_more(&loads[0], 100).await;
    until_more(&loads[1], 100).await;
    // One of these meets a running attempt.
    for _ in 0..4 {
        second.kill();
        until_more(&loads[0], 100).await;
        second = houses[1].start().await;
        until_more(&loads[1], 50).await;
    }
    let [one, other] = loads;
    let accepted = [one.end().await, other.end().await].concat();
    let events = houses[0].settled().await;
    assert!(first.stop().await.success() && second.stop().await.success());
    let lost = audit(&accepted, &events);
    assert!(lost > 0, "the kill met no running attempt");
}

/// The answer to a commit is lost: whether it took place is found out, and the sender told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_nobody_heard_of_is_acknowledged_once() {
    let server = Postgres::durable();
    let relay = Relay::to(server.address());
    let house = house(Postgres::url_at(&[relay.address()]), "");
    let gateway = house.start().await;
    let sender = house.sender("github");
    assert_eq!(send(&sender, "first").await.status, 202);
    for (nth, moment) in (1..).zip([Moment::Answered, Moment::Asked, Moment::Answered]) {
        let id = format!("cut-{nth}");
        // Its own commit: the gateway makes some each second, whatever comes.
        relay.cut_at_after(id.as_bytes(), b"COMMIT", moment);
        let mut reply = send(&sender, &id).await;
        relay.until_cut(nth);
        let deadline = Instant::now() + PATIENCE;
        while reply.status != 202 {
            assert_eq!(reply.status, 503, "{reply:?}");
            assert!(reply.header("retry-after").is_some(), "{reply:?}");
            assert!(Instant::now() < deadline, "{reply:?}");
            reply = send(&sender, &id).await;
        }
        assert!(send(&sender, &id).await.duplicate());
    }
    assert_eq!(house.reader().counts().await.unwrap().events, 4);
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_not_there_at_the_start_is_a_clear_error() {
    let mut server = Postgres::durable();
    let house = house(server.url(), "");
    server.stop();
    let status = house.spawn().ended().await;
    assert_eq!(status.code(), Some(1), "{}", house.log());
    let log = house.log();
    assert!(log.contains("failed to open the store: can't open the database"), "{log}");
    server.run();
    let gateway = house.start().await;
    assert_eq!(send(&house.sender("github"), "1").await.status, 202);
    assert!(gateway.stop().await.success());
    assert!(!house.log().contains(PASSWORD), "{}", house.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_may_lose_what_it_acknowledged_is_used_only_if_that_is_said() {
    let server = Postgres::start();
    let house = house(server.url(), "");
    let status = house.spawn().ended().await;
    assert_eq!(status.code(), Some(1), "{}", house.log());
    assert!(house.log().contains("the database has fsync = off"), "{}", house.log());
    house.write_config("store.allow_data_loss = true\n");
    let gateway = house.start().await;
    assert_eq!(send(&house.sender("github"), "1").await.status, 202);
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_goes_away_is_503_and_comes_back_by_itself() {
    let server = Postgres::durable();
    let relay = Relay::to(server.address());
    let house = house(Postgres::url_at(&[relay.address()]), "");
    let gateway = house.start().await;
    let sender = house.sender("github");
    assert_eq!(send(&sender, "before").await.status, 202);
    for network in [Network::Down, Network::Silent] {
        relay.set(network);
        let id = format!("{network:?}");
        let refused = send(&sender, &id).await;
        assert_eq!(refused.status, 503, "{refused:?}");
        assert!(refused.header("retry-after").is_some(), "{refused:?}");
        until_probed(&house, "readyz", 503).await;
        assert_eq!(probe(&house, "healthz").await, 200, "a restart would not help");
        relay.set(Network::Well);
        until_probed(&house, "readyz", 200).await;
        let taken = send(&sender, &id).await;
        assert_eq!(taken.status, 202, "{taken:?}");
        assert!(send(&sender, &id).await.duplicate());
    }
    assert_eq!(house.settled().await.len(), 3, "each is there once");
    assert!(gateway.stop().await.success());
    assert!(!house.log().contains(PASSWORD), "{}", house.log());
}

/// Operators are told that it will pass, and not that what is kept can't be read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operators_are_told_to_ask_again_while_the_database_is_away() {
    let server = Postgres::durable();
    let relay = Relay::to(server.address());
    let house = house(Postgres::url_at(&[relay.address()]), "");
    let gateway = house.start().await;
    let id = send(&house.sender("github"), "1").await.id().unwrap();
    let show = format!("events/{id}");
    for network in [Network::Down, Network::Silent] {
        relay.set(network);
        for place in ["events", show.as_str(), "queues"] {
            let started = Instant::now();
            let reply = house.ask_admin(place).await;
            let (status, wait) = (reply.status(), reply.headers().get("retry-after").cloned());
            let body: serde_json::Value = reply.json().await.unwrap();
            let told = (
                status.as_u16(),
                body["code"].as_str(),
                wait.as_ref().map(hyper::http::HeaderValue::as_bytes),
            );
            assert_eq!(told, (503, Some("store"), Some(&b"5"[..])), "{place}, {network:?}: {body}");
            assert!(
                started.elapsed() < ANSWER_MAX,
                "{place}, {network:?}: {:?}",
                started.elapsed()
            );
        }
        relay.set(Network::Well);
        until_probed(&house, "readyz", 200).await;
        assert_eq!(house.admin(&show).await["id"], id.to_string());
    }
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_whose_certificate_is_nobodys_is_not_told_the_password() {
    let server = Postgres::durable();
    let authority = Authority::root("an operator's own");
    let (certificate, key) = authority.issue(&["127.0.0.1"], None);
    let certificate = server.put("server.pem", certificate.as_bytes());
    let key = server.put("server.key", key.serialize_pem().as_bytes());
    server.set("ssl_cert_file", certificate.to_str().unwrap());
    server.set("ssl_key_file", key.to_str().unwrap());
    server.set("ssl", "on");
    let house = house(format!("{}?sslmode=verify-full", server.url()), "");
    let status = house.spawn().ended().await;
    assert_eq!(status.code(), Some(1), "{}", house.log());
    assert!(house.log().contains("UnknownIssuer"), "{}", house.log());
    let ca = house.config().with_file_name("ca.pem");
    std::fs::write(&ca, authority.pem()).unwrap();
    house.write_config("store.ca = \"ca.pem\"\n");
    let gateway = house.start().await;
    let encrypted = "SELECT count(*) > 0 FROM pg_stat_ssl NATURAL JOIN pg_stat_activity \
                     WHERE application_name = 'hookweir' AND ssl";
    assert_eq!(server.ask(encrypted), "t");
    assert!(gateway.stop().await.success());
}
