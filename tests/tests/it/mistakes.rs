//! What the compiler says to authors who make the common mistakes: each time a sentence that says what to write.

use std::{collections::BTreeMap, fs, process::Command};

use hookweir_tests::{bounded, guests::root};
use serde_json::Value;
use tempfile::TempDir;

use crate::{cli::hookweir, running::target};

/// A mistake, and what of the compiler's words the author has to read.
const MISTAKES: &[(&str, &str, &str)] = &[
    (
        "no_event",
        r#"#[plugin(subscribe = ["a/b"])]
        fn handle() -> Result<Outputs, Failure> { Ok(outputs![]) }"#,
        "it takes one event, by value; a plugin's function is `fn handle(event: Event) -> Result<Outputs, Failure>`",
    ),
    (
        "another_argument",
        r#"#[plugin(subscribe = ["a/b"])]
        fn handle(_: String) -> Result<Outputs, Failure> { Ok(outputs![]) }"#,
        "a plugin's function takes an `Event`, and not `String`",
    ),
    (
        "a_vector",
        r#"#[plugin(subscribe = ["a/b"])]
        fn handle(_: Event) -> Result<Vec<Output>, Failure> { Ok(vec![]) }"#,
        "outputs are made by `outputs![..]` or `vec![..].into()`",
    ),
    (
        "another_error",
        r#"#[plugin(subscribe = ["a/b"])]
        fn handle(_: Event) -> Result<Outputs, String> { Ok(outputs![]) }"#,
        "failures of errors by `.or_retry()?` or `.or_reject()?`",
    ),
    (
        "two_plugins",
        r#"#[plugin(subscribe = ["a/b"])]
        fn handle(_: Event) -> Result<Outputs, Failure> { Ok(outputs![]) }
        #[plugin(subscribe = ["a/c"])]
        fn other(_: Event) -> Result<Outputs, Failure> { Ok(outputs![]) }"#,
        "A_CRATE_HAS_ONE_PLUGIN_FUNCTION",
    ),
    (
        "asynchronous",
        r#"#[plugin(subscribe = ["a/b"])]
        async fn handle(_: Event) -> Result<Outputs, Failure> { Ok(outputs![]) }"#,
        "not `async`: an attempt runs from start to end",
    ),
    (
        "another_key",
        r#"#[plugin(subscribe = ["a/b"], hosts = ["https://a.example"])]
        fn handle(_: Event) -> Result<Outputs, Failure> { Ok(outputs![]) }"#,
        "unknown key `hosts`; there are `subscribe`, `http` and `secrets`",
    ),
    (
        "no_key",
        r#"#[plugin("a/b")]
        fn handle(_: Event) -> Result<Outputs, Failure> { Ok(outputs![]) }"#,
        "write what it wants as in `#[plugin(subscribe = [\"github/push\"])]`",
    ),
    (
        "an_api_of_events",
        "#[api] fn respond(_: Event) -> Result<Response, Failure> { Ok(Response::new(204)) }",
        "this function takes a `Request`, and not `hookweir_sdk::Event`",
    ),
    (
        "a_failing_verifier",
        "#[verifier] fn verify(_: Request) -> Result<Verified, Failure> { Ok(Verified::new(\"a\")) }",
        "write `Result<Verified, String>`",
    ),
    (
        "a_failing_init",
        "#[init] fn init(_: String) -> Result<(), Failure> { Ok(()) }",
        "write `Result<(), String>`",
    ),
    (
        "a_clock_of_numbers",
        "fn now() -> u64 { clock::now() }",
        "ask for `SystemTime`, `jiff::Timestamp` or `chrono::DateTime<Utc>`",
    ),
];

/// No mistake: what is said of the others does not come from something else.
const NONE: &str = r#"#[plugin(subscribe = ["a/b"])]
fn handle(_: Event) -> Result<Outputs, Failure> { Ok(outputs![]) }
#[api]
fn respond(_: Request) -> Result<Response, Failure> { Ok(Response::new(204)) }
#[verifier]
fn verify(_: Request) -> Result<Verified, String> { Ok(Verified::new("a")) }
#[init]
fn init(_: String) -> Result<(), String> { Ok(()) }"#;

/// What the compiler says of each program.
fn said(programs: impl Iterator<Item = (&'static str, &'static str)>) -> BTreeMap<String, String> {
    let folder = TempDir::new().unwrap();
    let sdk = root().join("plugin-sdk");
    let new = ["plugin", "new", "mistaken", "--sdk", sdk.to_str().unwrap()];
    hookweir(folder.path(), &new).succeeds(&[]);
    let project = folder.path().join("mistaken");
    // The versions that this workspace is tested with.
    fs::copy(root().join("Cargo.lock"), project.join("Cargo.lock")).unwrap();
    fs::create_dir(project.join("examples")).unwrap();
    for (name, program) in programs {
        let text = format!(
            "#![allow(unused)]\nuse hookweir_sdk::prelude::*;\n{program}\nfn main() {{}}\n"
        );
        fs::write(project.join("examples").join(name).with_extension("rs"), text).unwrap();
    }
    let output = bounded::output(
        Command::new("cargo")
            .args(["check", "--examples", "--keep-going", "--message-format", "json"])
            .current_dir(&project)
            .env("CARGO_TARGET_DIR", target()),
    );
    let mut said = BTreeMap::<String, String>::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let message: Value = serde_json::from_str(line).unwrap();
        let Some(text) = message["message"]["rendered"].as_str() else { continue };
        said.entry(message["target"]["name"].as_str().unwrap().to_owned())
            .or_default()
            .push_str(text);
    }
    said
}

#[test]
fn each_is_told_what_to_write() {
    let programs = MISTAKES.iter().map(|(name, program, _)| (*name, *program));
    let said = said(programs.chain([("none", NONE)]));
    for (name, _, words) in MISTAKES {
        let told = said.get(*name).map(String::as_str).unwrap_or_default();
        assert!(told.contains(words), "of {name} it is said:\n{told}");
    }
    assert_eq!(said.get("none"), None);
}
