//! `hookweir store copy`: a gateway's store moves from its file into a database, whatever happens to the command; and
//! the gateway goes on from there.

use std::{
    process::{Child, Command, Output, Stdio},
    thread,
    time::Instant,
};

use hookweir_event::{Clock, Digest, Event, EventId, Hops, Timestamp};
use hookweir_store::{Counts, NewEvent, Options, SqliteFile, Store};
use hookweir_tests::{
    bounded,
    house::{House, PATIENCE, SECRET},
    postgres::{PASSWORD, Postgres},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_hookweir-under-test");

/// So many that a copy of them takes some transactions.
const MANY: u64 = 8000;

/// The command that copies the store of a gateway into the database of another.
fn copying(from: &House, to: &House, url: &str) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(["store", "copy", &format!("sqlite:{}", from.database().display())]);
    command.arg("--to-config").arg(to.config());
    command.env("TEST_SECRET", SECRET).env("TEST_DATABASE", url);
    command
}

fn said(output: &Output) -> String {
    let said = [&output.stdout[..], &output.stderr[..]].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(!said.contains(PASSWORD), "{said}");
    said
}

/// Events that nobody wants, beside those that the gateway took.
async fn add_many(house: &House) {
    let file = SqliteFile::new(house.database());
    let store = Store::open(Options::new(file, [7; 16], Clock::system())).await.unwrap();
    let mut appends = Vec::new();
    for number in 0..MANY {
        let mut chance = [7; 10];
        chance[..8].copy_from_slice(&number.to_be_bytes());
        let now = Timestamp::from_millis(1_700_000_000_000);
        let event = Event {
            id: EventId::new(now, chance),
            origin: "github".parse().unwrap(),
            event_type: "push".parse().unwrap(),
            received_at: now,
            method: "POST".into(),
            path: "/webhooks/github".into(),
            query: None,
            headers: vec![],
            body: number.to_string().into_bytes(),
            attributes: vec![],
            hops: Hops::default(),
        };
        let claims = vec![Digest::of(&number.to_le_bytes())];
        let new = NewEvent { event, claims, dedupe_window: 1000 * PATIENCE, routes: vec![] };
        let store = store.clone();
        appends.push(tokio::spawn(async move { store.append(new).await.unwrap() }));
        if appends.len() == 500 {
            for append in appends.drain(..) {
                assert!(!append.await.unwrap().is_duplicate());
            }
        }
    }
    store.close().await.unwrap();
}

/// Kills it as soon as it has committed something, before it is through.
fn kill_in_the_middle(mut command: Child, server: &Postgres) {
    let deadline = Instant::now() + PATIENCE;
    let there = "SELECT to_regclass('hookweir.copied') IS NOT NULL";
    let some = "SELECT part > 0 OR place > 0 FROM hookweir.copied";
    while server.ask(there) != "t" || server.ask(some) != "t" {
        assert!(command.try_wait().unwrap().is_none(), "it ended before it was killed");
        assert!(Instant::now() < deadline, "it copies nothing");
        thread::yield_now();
    }
    command.kill().unwrap();
    assert!(!command.wait().unwrap().success(), "it was through already");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_moves_into_a_database_though_the_command_is_killed_and_the_gateway_goes_on_there()
{
    let server = Postgres::durable();
    let (old, new) = (House::new(PROGRAM, ""), House::in_database(PROGRAM, "", server.url()));
    let gateway = old.start().await;
    for id in ["1", "2", "3"] {
        assert_eq!(old.sender("github").send("push", id, id.as_bytes()).await.unwrap().status, 202);
    }
    let used = bounded::output(&mut copying(&old, &new, &server.url()));
    assert_eq!(used.status.code(), Some(1), "a gateway is running");
    assert!(said(&used).contains("in use by another process"), "{}", said(&used));
    gateway.stop().await;
    add_many(&old).await;
    let counts: Counts = old.reader().counts().await.unwrap();
    assert_eq!(counts.events, MANY + 3);

    let mut command = copying(&old, &new, &server.url());
    let command = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    kill_in_the_middle(command, &server);
    let status = new.spawn().ended().await;
    assert_eq!(status.code(), Some(1), "{}", new.log());
    assert!(new.log().contains("a copy of a store that is not whole"), "{}", new.log());

    let copied = bounded::output(&mut copying(&old, &new, &server.url()));
    assert!(copied.status.success(), "{}", said(&copied));
    for words in [&*format!("{} events", MANY + 3), " % of the copy read again", "are the same"] {
        assert!(said(&copied).contains(words), "{}", said(&copied));
    }
    assert_eq!(new.reader().counts().await.unwrap(), counts);
    let again = bounded::output(&mut copying(&old, &new, &server.url()));
    assert!(again.status.success() && said(&again).contains("already"), "{}", said(&again));

    let gateway = new.start().await;
    let sender = new.sender("github");
    assert!(sender.send("push", "2", b"2").await.unwrap().duplicate(), "it knows what it has");
    let fresh = sender.send("push", "4", b"4").await.unwrap();
    assert_eq!((fresh.status, fresh.duplicate()), (202, false));
    assert!(gateway.stop().await.success());
    assert_eq!(new.reader().counts().await.unwrap().events, MANY + 4);
}

#[test]
fn what_can_not_be_copied_is_said_without_a_password() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("postgres://me:{PASSWORD}@127.0.0.1:1/database");
    let file = format!("sqlite:{}", folder.path().join("none.db").display());
    for (from, to, words) in [
        ("none.db", &*url, "is named as sqlite:PATH"),
        (&*url, &*url, "other ways are not there"),
        (&*file, &*file, "into a database of PostgreSQL's"),
        (&*file, &*url, "none.db: entity not found"),
    ] {
        let mut command = Command::new(PROGRAM);
        let output = bounded::output(command.args(["store", "copy", from, to]));
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        assert!(said(&output).contains(words), "{}", said(&output));
        assert!(!folder.path().join("none.db.lock").exists(), "nothing is left behind");
    }
}
