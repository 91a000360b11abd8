//! The samples through the handler, on the SDK's in-memory host.

use hookweir_sdk::testing::Host;
use serde_json::{Value, json};

use super::*;
use crate::steps::{BoardUpdate, CiTrigger, TeamNotify};

const PUSH: &str = include_str!("../samples/push.json");
const TAG_DELETED: &str = include_str!("../samples/push.tag_deleted.json");

fn push(body: &str) -> Result<Outputs, Failure> {
    Host::new().run(handle, Event::builder("github", "push").body(body).build())
}

/// The sample with one field changed.
fn push_with(field: &str, value: Value) -> Result<Outputs, Failure> {
    let mut body: Value = serde_json::from_str(PUSH).unwrap();
    body[field] = value;
    push(&body.to_string())
}

#[test]
fn commits_on_a_branch_make_three_steps() {
    let outputs = push(PUSH).unwrap();
    let types: Vec<_> = outputs.iter().map(Output::event_type).collect();
    assert_eq!(types, ["ci.trigger", "board.update", "team.notify"]);
    let build = CiTrigger {
        repository: "Codertocat/Hello-World".into(),
        branch: "master".into(),
        commit: "6113728f27ae82c7b1a177c8d03f9e96e0adf246".into(),
    };
    assert_eq!(outputs[0].parse::<CiTrigger>().unwrap(), build);
    assert_eq!(outputs[1].parse::<BoardUpdate>().unwrap().closed, [0_u64; 0]);
    let said = outputs[2].parse::<TeamNotify>().unwrap().text;
    let start = "Codertocat pushed 1 commit to Codertocat/Hello-World@master: https://";
    assert!(said.starts_with(start), "{said}");
}

#[test]
fn the_board_learns_which_issues_are_closed() {
    let commits = json!([
        { "message": "Read the port from the environment\n\nFixes #12." },
        { "message": "Say hello in French\n\nCloses: #7, resolves #12; see #3" },
        { "message": "fix #x" },
    ]);
    let outputs = push_with("commits", commits).unwrap();
    assert_eq!(outputs[1].parse::<BoardUpdate>().unwrap().closed, [7, 12]);
}

#[test]
fn a_deletion_a_tag_and_an_empty_push_make_none() {
    assert!(push(TAG_DELETED).unwrap().is_empty());
    assert!(push_with("deleted", json!(true)).unwrap().is_empty());
    assert!(push_with("ref", json!("refs/tags/v1")).unwrap().is_empty());
    assert!(push_with("commits", json!([])).unwrap().is_empty());
}

#[test]
fn each_step_is_handled_by_the_same_module() {
    for (step, target) in [("ci.trigger", "ci"), ("board.update", "board"), ("team.notify", "chat")]
    {
        let host = Host::new().config(target, "https://team.example/in");
        let outputs = push_with("commits", json!([{ "message": "fixes #1" }])).unwrap();
        let output = outputs.iter().find(|output| output.event_type() == step).unwrap();
        let event = Event::builder("plugin.github", step).body(output.body()).build();
        assert!(host.run(handle, event).unwrap().is_empty());
        let logs = host.logs();
        assert_eq!(logs[0].message, "would post");
        assert_eq!(logs[0].fields[0], ("url".into(), "https://team.example/in".into()), "{step}");
    }
}

#[test]
fn a_board_without_closed_issues_is_left_alone() {
    let host = Host::new();
    let step = BoardUpdate { repository: "a/b".into(), closed: Vec::new() };
    let event = Event::builder("plugin.github", "board.update").json(&step).build();
    assert!(host.run(handle, event).is_ok());
    assert!(host.logs().iter().all(|line| line.message != "would post"));
}

#[test]
fn what_is_no_push_or_no_step_is_rejected() {
    assert!(!push("{}").unwrap_err().is_retry());
    let unknown = Event::builder("plugin.github", "coffee.make").build();
    let failure = Host::new().run(handle, unknown).unwrap_err();
    assert_eq!(failure, Failure::reject("no step for plugin.github/coffee.make"));
}
