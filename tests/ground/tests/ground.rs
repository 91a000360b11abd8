//! The ground that other tests stand on does what it says.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::{
    env,
    io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use hookweir_ground::{
    postgres::Postgres,
    relay::{Moment, Network, Relay},
};

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn what_is_committed_outlives_a_killed_server_and_is_on_the_standby() {
    let mut server = Postgres::durable();
    server.ask("CREATE TABLE kept(number int)");
    server.ask("INSERT INTO kept VALUES (1)");
    server.kill();
    server.run();
    assert_eq!(server.ask("SELECT number FROM kept"), "1");
    let standby = server.standby();
    server.ask("INSERT INTO kept VALUES (2)");
    server.kill();
    standby.promote();
    assert_eq!(standby.ask("SELECT sum(number) FROM kept"), "3");
    standby.ask("INSERT INTO kept VALUES (3)");
}

/// Set where this test is the one that is killed.
const VICTIM: &str = "HOOKWEIR_GROUND_VICTIM";

#[test]
fn a_server_ends_with_the_process_that_started_it() {
    if env::var_os(VICTIM).is_some() {
        let server = Postgres::start();
        println!("\n{}", server.folder().display());
        thread::sleep(PATIENCE);
        panic!("nobody killed it");
    }
    let mut victim = Command::new(env::current_exe().unwrap())
        .args(["--exact", "a_server_ends_with_the_process_that_started_it", "--nocapture"])
        .env(VICTIM, "")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let said = BufReader::new(victim.stdout.take().unwrap()).lines().map(Result::unwrap);
    let folder = said.into_iter().find(|line| line.contains("hookweir-postgres-")).unwrap();
    let folder = std::path::Path::new(&folder);
    let lines = std::fs::read_to_string(folder.join("data/postmaster.pid")).unwrap();
    let process = format!("/proc/{}", lines.lines().next().unwrap());
    assert!(std::path::Path::new(&process).exists());
    victim.kill().unwrap();
    victim.wait().unwrap();
    let deadline = Instant::now() + PATIENCE;
    while std::path::Path::new(&process).exists() || folder.exists() {
        assert!(Instant::now() < deadline, "{process} or {} is there still", folder.display());
        thread::sleep(Duration::from_millis(10));
    }
}

/// A server that says everything twice.
fn echo() -> TcpListener {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let accepting = listener.try_clone().unwrap();
    thread::spawn(move || {
        for stream in accepting.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                let (mut from, mut to) = (stream.try_clone().unwrap(), stream);
                let mut bytes = [0; 100];
                while let Ok(read @ 1..) = from.read(&mut bytes) {
                    if to.write_all(&bytes[..read].repeat(2)).is_err() {
                        return;
                    }
                }
            });
        }
    });
    listener
}

/// What comes back; nothing if the connection is closed.
fn ask(stream: &mut TcpStream, text: &str) -> String {
    let mut answer = vec![0; 2 * text.len()];
    let asked = stream.write_all(text.as_bytes()).and_then(|()| stream.read_exact(&mut answer));
    asked.map_or_else(|_| String::new(), |()| String::from_utf8(answer).unwrap())
}

#[test]
fn a_relay_cuts_where_it_is_told_to() {
    let server = echo();
    let relay = Relay::to(server.local_addr().unwrap());
    let connect = || TcpStream::connect(relay.address()).unwrap();
    for (nth, moment) in (1..).zip([Moment::Asked, Moment::Answered]) {
        let (mut one, mut other) = (connect(), connect());
        assert_eq!((ask(&mut one, "a"), ask(&mut other, "b")), ("aa".into(), "bb".into()));
        relay.cut_at(b"COMMIT", moment);
        assert_eq!(ask(&mut one, "ROLLBACK"), "ROLLBACKROLLBACK");
        assert_eq!(ask(&mut other, "COMMIT"), "");
        relay.until_cut(nth);
        assert_eq!((ask(&mut one, "COMMIT").len(), ask(&mut other, "c").len()), (12, 0));
    }
    assert_eq!(relay.cuts(), 2);
}

#[test]
fn a_relay_cuts_the_connection_on_which_something_else_was_said_before() {
    let server = echo();
    let relay = Relay::to(server.local_addr().unwrap());
    let connect = || TcpStream::connect(relay.address()).unwrap();
    for (nth, moment) in (1..).zip([Moment::Asked, Moment::Answered]) {
        let (mut one, mut other) = (connect(), connect());
        relay.cut_at_after(b"mine", b"COMMIT", moment);
        assert_eq!(ask(&mut one, "COMMIT"), "COMMITCOMMIT");
        assert_eq!(ask(&mut other, "this is mine").len(), 24);
        assert_eq!(ask(&mut one, "COMMIT"), "COMMITCOMMIT");
        assert_eq!(ask(&mut other, "COMMIT"), "");
        relay.until_cut(nth);
        assert_eq!(ask(&mut one, "mine, COMMIT").len(), 24);
    }
    assert_eq!(relay.cuts(), 2);
}

#[test]
fn a_relay_is_silent_or_slow_or_down_as_it_is_told() {
    let server = echo();
    let relay = Relay::to(server.local_addr().unwrap());
    let mut stream = TcpStream::connect(relay.address()).unwrap();
    relay.set(Network::Slow(Duration::from_millis(50)));
    let started = Instant::now();
    assert_eq!(ask(&mut stream, "a"), "aa");
    assert!(started.elapsed() >= Duration::from_millis(100), "both ways");
    relay.set(Network::Silent);
    stream.write_all(b"b").unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let waited = stream.read(&mut [0; 2]).unwrap_err();
    assert_eq!(waited.kind(), ErrorKind::WouldBlock, "nobody is told");
    relay.set(Network::Well);
    stream.set_read_timeout(None).unwrap();
    let mut answer = [0; 2];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!((&answer, relay.open()), (b"bb", 1));
    relay.silent_at(b"COMMIT");
    assert_eq!(ask(&mut stream, "a"), "aa");
    // What is answered meanwhile waits as well.
    stream.write_all(b"a").unwrap();
    stream.write_all(b"COMMIT").unwrap();
    relay.until_cut(1);
    stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let mut answer = Vec::new();
    let waited = stream.read_to_end(&mut answer).unwrap_err();
    assert_eq!(waited.kind(), ErrorKind::WouldBlock, "nobody is told");
    let before = answer.len();
    assert!(b"aa".starts_with(&answer), "what was answered before: {answer:?}");
    relay.set(Network::Well);
    stream.set_read_timeout(None).unwrap();
    answer.resize(14, 0);
    stream.read_exact(&mut answer[before..]).unwrap();
    let said = String::from_utf8_lossy(&answer);
    assert_eq!((said.matches('a').count(), said.matches("COMMIT").count()), (2, 2), "{said}");
    relay.set(Network::Down);
    assert_eq!(ask(&mut stream, "c"), "");
    assert_eq!(ask(&mut TcpStream::connect(relay.address()).unwrap(), "d"), "");
    relay.set(Network::Well);
    assert_eq!(ask(&mut TcpStream::connect(relay.address()).unwrap(), "e"), "ee");
}
