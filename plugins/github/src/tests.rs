//! The samples through the handler, on the SDK's in-memory host.

use hookweir_sdk::testing::{Canned, Host, Sample, Sent};
use serde_json::{Value, json};

use super::*;

const PUSH: &str = include_str!("../samples/push.json");
const TAG_DELETED: &str = include_str!("../samples/push.tag_deleted.json");
const CI: &str = "POST https://ci.example.com/hook";
const BOARD: &str = "POST https://board.example.com/hook";
const CHAT: &str = "POST https://chat.example.com/hook";

fn host() -> Host {
    Host::new()
        .config("ci", json!({ "url": "https://ci.example.com/hook", "secret": "CI_TOKEN" }))
        .config("board", json!({ "url": "https://board.example.com/hook" }))
        .config("chat", json!({ "url": "https://chat.example.com/hook" }))
}

/// A host on which everybody takes what they are told.
fn answering() -> Host {
    [CI, BOARD, CHAT].into_iter().fold(host(), |host, line| host.http(line, Canned::new(200)))
}

fn push(host: &Host, body: &str) -> Result<Outputs, Failure> {
    host.run(handle, Event::builder("github", "push").id("evt").body(body).build())
}

/// The sample with one field changed.
fn with(field: &str, value: Value) -> String {
    let mut body: Value = serde_json::from_str(PUSH).unwrap();
    body[field] = value;
    body.to_string()
}

/// A push that closes an issue, so that the board is told too.
fn fixing() -> String {
    with("commits", json!([{ "message": "fixes #1" }]))
}

fn told(host: &Host) -> Vec<String> {
    host.requests().iter().map(Sent::line).collect()
}

fn body(sent: &Sent) -> Value {
    serde_json::from_slice(sent.body()).unwrap()
}

#[test]
fn a_push_is_told_to_everybody() {
    let host = answering();
    assert!(push(&host, &fixing()).unwrap().is_empty());
    assert_eq!(told(&host), [CI, BOARD, CHAT]);
    let requests = host.requests();
    let build = json!({
        "project": "Codertocat/Hello-World", "ref": "master",
        "sha": "6113728f27ae82c7b1a177c8d03f9e96e0adf246",
    });
    assert_eq!(body(&requests[0]), build);
    assert_eq!(requests[0].secret_header("authorization"), Some("Bearer {CI_TOKEN}"));
    let moves = json!({ "move": ["Codertocat/Hello-World#1"], "to": "done" });
    assert_eq!(body(&requests[1]), moves);
    assert_eq!(requests[1].secret_header("authorization"), None);
    let said = body(&requests[2])["text"].as_str().unwrap().to_owned();
    let start = "Codertocat pushed 1 commit to Codertocat/Hello-World@master: https://";
    assert!(said.starts_with(start), "{said}");
}

#[test]
fn the_sample_events_come_to_what_they_expect() {
    let host = answering();
    let push = Sample::parse(include_str!("../samples/event.push.json"));
    assert!(push.run(&host, handle).unwrap().is_empty());
    assert_eq!(told(&host), [CI, CHAT]);
    let nobodys = Sample::parse(include_str!("../samples/event.nobodys.json"));
    assert!(nobodys.run(&host, handle).is_err());
}

#[test]
fn the_board_learns_which_issues_are_closed() {
    let host = answering();
    let commits = json!([
        { "message": "Read the port from the environment\n\nFixes #12." },
        { "message": "Say hello in French\n\nCloses: #7, resolves #12; see #3" },
        { "message": "fix #x" },
    ]);
    push(&host, &with("commits", commits)).unwrap();
    let cards = json!(["Codertocat/Hello-World#7", "Codertocat/Hello-World#12"]);
    assert_eq!(body(&host.requests()[1])["move"], cards);
    // Of none it learns nothing.
    let host = answering();
    push(&host, PUSH).unwrap();
    assert_eq!(told(&host), [CI, CHAT]);
}

#[test]
fn who_does_not_take_it_is_told_again_alone() {
    let steps = [(CI, "ci.trigger"), (BOARD, "board.update"), (CHAT, "team.notify")];
    for (down, step) in steps {
        let up = steps.iter().map(|(line, _)| *line).filter(|line| *line != down);
        let host = up.clone().fold(host(), |host, line| host.http(line, Canned::new(200)));
        let host = host.http(down, Canned::new(503)).http(down, Canned::new(200));
        let left = push(&host, &fixing()).unwrap();
        assert_eq!(left.iter().map(Output::event_type).collect::<Vec<_>>(), [step]);
        let again = Event::builder("plugin.github", step).body(left[0].body()).build();
        assert!(host.run(handle, again).unwrap().is_empty());
        let told = told(&host);
        assert_eq!((told.len(), &*told[3]), (4, down), "the others were told once");
        let requests = host.requests();
        assert_eq!(requests[3].header("idempotency-key"), Some(&*format!("evt/{step}")));
    }
}

#[test]
fn who_is_not_in_the_config_is_not_told() {
    let host = Host::new();
    assert!(push(&host, &fixing()).unwrap().is_empty());
    assert!(host.requests().is_empty());
}

#[test]
fn a_deletion_a_tag_and_an_empty_push_are_no_news() {
    let host = answering();
    for body in [
        TAG_DELETED,
        &with("deleted", json!(true)),
        &with("ref", json!("refs/tags/v1")),
        &with("commits", json!([])),
    ] {
        assert!(push(&host, body).unwrap().is_empty());
    }
    assert!(host.requests().is_empty());
}

#[test]
fn what_is_no_push_or_nobodys_news_is_rejected() {
    assert!(!push(&Host::new(), "{}").unwrap_err().is_retry());
    let unknown = Event::builder("plugin.github", "coffee.make").build();
    let failure = Host::new().run(handle, unknown).unwrap_err();
    assert_eq!(failure, Failure::reject("nobody is told of plugin.github/coffee.make"));
}
