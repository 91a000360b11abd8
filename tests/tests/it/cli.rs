//! The command line as a person meets it: what each command prints, where, and with which exit code.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use hookweir_tests::{
    bounded, guests,
    house::{House, SECRET},
};
use tempfile::TempDir;

use crate::running::target;

const PROGRAM: &str = env!("CARGO_BIN_EXE_hookweir-under-test");

/// What a command said, and how it ended.
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    pub(crate) fn by(command: &mut Command) -> Self {
        let Output { status, stdout, stderr } = bounded::output(command);
        let [out, err] = [stdout, stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        Self { code: status.code().expect("it ended by itself"), out, err }
    }

    /// It ended so, and said all of these words on standard error.
    #[track_caller]
    pub(crate) fn fails(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, code, "{}\n{}", self.out, self.err);
        for word in words {
            assert!(self.err.contains(word), "no {word:?} in\n{}", self.err);
        }
    }

    /// It ended well, and said all of these words on standard output.
    #[track_caller]
    pub(crate) fn succeeds(&self, words: &[&str]) {
        assert_eq!(self.code, 0, "{}\n{}", self.out, self.err);
        for word in words {
            assert!(self.out.contains(word), "no {word:?} in\n{}", self.out);
        }
    }
}

/// `hookweir` with these arguments, in this folder.
pub(crate) fn hookweir(folder: &Path, args: &[&str]) -> Said {
    let mut command = Command::new(PROGRAM);
    let command = command.args(args).current_dir(folder).env("TEST_SECRET", SECRET);
    // The user's own is none of the tests'.
    Said::by(command.env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR")))
}

/// What `hookweir` says where a house's config is: to standard output, if it ends well, or else all of it.
pub(crate) fn say(house: &House, args: &[&str]) -> Result<String, String> {
    let Said { code, out, err } = hookweir(house.config().parent().unwrap(), args);
    if code == 0 { Ok(out) } else { Err(out + &err) }
}

/// What the help of each command names.
const HELP: &[(&str, &str)] = &[
    ("", "run check demo dev send source store plugin events dead status alerts --log --version"),
    ("run", "--config"),
    ("check", "--config"),
    ("demo", "--incident --once --json"),
    ("dev", "--listen --config Examples:"),
    ("send", "--type --body --id --content-type --header --query --key-file --url --config"),
    ("source", "list refusals pause resume"),
    ("source pause", "--hold --why --json --url --token-file --config"),
    ("pause", "--why --json --url --token-file --config"),
    ("source list", "--json --url --token-file --config"),
    ("alerts", "--raised --json --url --token-file --config"),
    ("api", "list refusals"),
    ("api refusals", "<PLUGIN> --json --url --token-file --config"),
    ("store", "check backup restore copy"),
    ("store backup", "<FILE> --db --config"),
    ("store copy", "<FROM> [TO] --to-config --schema"),
    ("plugin", "new build check run test try embed list rollback pin approve pause resume"),
    ("plugin new", "--lang --sdk"),
    ("plugin build", "--out --watch --install Examples:"),
    ("plugin check", "--config --json Examples:"),
    ("plugin run", "--event --body --as --attempt --allow --config --json Examples:"),
    ("plugin test", "--config --json Examples:"),
    (
        "plugin try",
        "--plugin --against --last --since --until --source --type --match --ids --fresh-state",
    ),
    (
        "plugin try",
        "--answers --answer-all --logs --all --allow-differences --json --db --config codes:",
    ),
    ("plugin embed", "--wants"),
    ("plugin list", "--json"),
    ("plugin rollback", "[VERSION]"),
    ("plugin pin", "--off [VERSION]"),
    ("plugin approve", "--write [VERSION]"),
];

#[test]
fn help_names_each_command_and_its_flags() {
    let folder = TempDir::new().unwrap();
    for (command, words) in HELP {
        let command: Vec<_> = command.split_whitespace().chain(["--help"]).collect();
        hookweir(folder.path(), &command).succeeds(&words.split(' ').collect::<Vec<_>>());
    }
    hookweir(folder.path(), &["paly"]).fails(2, &["unrecognized subcommand 'paly'"]);
}

#[test]
fn check_says_what_a_good_config_holds() {
    let house = House::new(PROGRAM, "");
    let said = hookweir(house.config().parent().unwrap(), &["check"]);
    said.succeeds(&["gateway.toml is good", "github: POST /webhooks/github, github", "no limit"]);
    assert!(!said.out.contains(SECRET), "{}", said.out);
}

#[test]
fn check_and_run_report_all_faults_at_once() {
    let folder = TempDir::new().unwrap();
    let config = r#"
[server]
listen = "localhost"
grace = 20
[sources.github]
path = "/webhooks/github"
sceme = "github"
secrets = [{ env = "NO_SUCH_VARIABLE" }]
rate = "1000 per minute"
"#;
    fs::write(folder.path().join("gateway.toml"), config).unwrap();
    for command in ["check", "run"] {
        hookweir(folder.path(), &[command]).fails(
            64,
            &[
                "3:10: server.listen: expected an address and port",
                "4:9: server.grace: expected a string",
                "unknown key \"sceme\" at sources.github; did you mean \"scheme\"?",
                "NO_SUCH_VARIABLE",
                "sources.github.rate: expected a rate such as",
                "faults",
            ],
        );
    }
}

#[test]
fn a_config_that_is_not_there_is_a_bad_config() {
    let folder = TempDir::new().unwrap();
    for command in ["check", "run"] {
        let said = hookweir(folder.path(), &[command, "--config", "nowhere.toml"]);
        said.fails(64, &["nowhere.toml"]);
    }
}

#[tokio::test]
async fn send_signs_as_the_sender_would_and_shows_the_reply() {
    let house = House::new(PROGRAM, "");
    let gateway = house.start().await;
    let folder = house.config().parent().unwrap().to_owned();
    fs::write(folder.join("push.json"), r#"{"ref":"refs/heads/main"}"#).unwrap();
    let send = ["send", "github", "--type", "push", "--body", "push.json", "--id", "d-1"];
    let send = |more: &[&str]| hookweir(&folder, &[&send[..], more].concat());

    send(&[]).succeeds(&["202", "\"duplicate\":false"]);
    send(&[]).succeeds(&["202", "\"duplicate\":true"]);
    let counts = house.reader().counts().await.unwrap();
    assert_eq!((counts.events, counts.duplicates), (1, 1));

    let forged = Said::by(
        Command::new(PROGRAM)
            .args(["send", "github", "--type", "push", "--body", "push.json"])
            .env("TEST_SECRET", "another-secret-of-at-least-32-bytes")
            .current_dir(&folder),
    );
    assert_eq!(forged.code, 1);
    assert!(forged.out.starts_with("401 "), "{}", forged.out);
    assert_eq!(house.reader().counts().await.unwrap().events, 1);

    let unknown = hookweir(&folder, &["send", "gitlab", "--body", "push.json"]);
    unknown.fails(1, &["there is no source gitlab; there are: github, stripe, test"]);
    let no_body = hookweir(&folder, &["send", "github", "--type", "push", "--body", "no.json"]);
    no_body.fails(1, &["failed to send: no.json"]);
    // Port 9 of this machine: nobody discards anything any more.
    send(&["--url", "http://127.0.0.1:9"]).fails(1, &["failed to send", "refused"]);
    gateway.stop().await;
}

/// Signatures by a private key, inside the body, in the query, and over other headers.
#[tokio::test]
async fn send_signs_what_is_no_mac_in_a_header_too() {
    let house = House::new(PROGRAM, "");
    let folder = house.config().parent().unwrap().to_owned();
    let keys = guests::root().join("gateway/verify/tests/keys");
    for name in ["rsa-private", "rsa-public"] {
        fs::copy(keys.join(name).with_extension("pem"), folder.join(name)).unwrap();
    }
    let source = |name: &str, scheme: &str, secret: &str| {
        format!("[sources.{name}]\npath = \"/{name}\"\nscheme = {scheme}\nsecrets = [{secret}]\n")
    };
    let (env, file) = ("{ env = \"TEST_SECRET\" }", "{ file = \"rsa-public\" }");
    let in_query = r#"{ signature = "query:sig", algorithm = "hmac-sha256", encoding = "hex", signed = "{query:at}.{body}", type = "const:a", id = "content" }"#;
    let message = r#"{ kind = "http-message", algorithm = "rsa-pss-sha512", type = "const:a", id = "content" }"#;
    house.write_config(
        &[
            source("wise", "\"wise\"", file),
            source("mailgun", "\"mailgun\"", env),
            source("query", in_query, env),
            source("message", message, file)
                + "public_url = \"https://hooks.example.com/message\"\n",
        ]
        .concat(),
    );
    let gateway = house.start().await;
    fs::write(folder.join("a.json"), r#"{"event_type":"a","event-data":{"event":"b"}}"#).unwrap();
    let send = |source: &str, more: &[&str]| {
        hookweir(&folder, &[&["send", source, "--body", "a.json"], more].concat())
    };
    let key = ["--key-file", "rsa-private"];
    send("wise", &key).succeeds(&["20", ""]);
    send("mailgun", &[]).succeeds(&["20"]);
    send("query", &["--query", "at=1"]).succeeds(&["202"]);
    send("message", &[&key[..], &["--query", "b=2"]].concat()).succeeds(&["202"]);
    assert_eq!(house.reader().counts().await.unwrap().events, 4);
    send("wise", &[]).fails(1, &["the source holds a public key", "--key-file"]);
    send("wise", &["--key-file", "rsa-public"]).fails(1, &["rsa-public", "BEGIN PRIVATE KEY"]);
    send("wise", &["--header", "x-test"]).fails(2, &["NAME: VALUE"]);
    assert_eq!(house.reader().counts().await.unwrap().events, 4);
    gateway.stop().await;
}

#[test]
fn a_new_plugin_tests_builds_and_checks_at_the_first_try() {
    let folder = TempDir::new().unwrap();
    let sdk = guests::root().join("plugin-sdk");
    let sdk = sdk.to_str().unwrap();
    hookweir(folder.path(), &["plugin", "new", "parcels", "--sdk", sdk]).succeeds(&["cargo test"]);
    let project = folder.path().join("parcels");
    // The versions that this workspace is tested with.
    fs::copy(guests::root().join("Cargo.lock"), project.join("Cargo.lock")).unwrap();

    // Where the other tests' plugins are built, and with them the SDK.
    let mut cargo = Command::new("cargo");
    cargo.args(["test", "--quiet"]).current_dir(&project);
    cargo.env("CARGO_TARGET_DIR", target());
    Said::by(&mut cargo).succeeds(&["1 passed"]);

    let mut build = Command::new(PROGRAM);
    build.args(["plugin", "build", "--install"]).current_dir(&project);
    build.env("CARGO_TARGET_DIR", target());
    Said::by(&mut build).succeeds(&["parcels.wasm"]);
    hookweir(&project, &["plugin", "check", "parcels.wasm"]).succeeds(&[
        "core module",
        "subscribes erp/order.created",
        "would go live",
    ]);

    let samples = project.join("samples");
    fs::create_dir(&samples).unwrap();
    let sample = |name: &str, text: &str| fs::write(samples.join(name), text).unwrap();
    let order =
        r#"{ "source": "erp", "type": "order.created", "body": { "id": "A1", "total": 5 } }"#;
    sample("accepted.json", order);
    sample("free.json", &order.replace('5', "0"));
    // As the sender has it: nobody says whose it is.
    sample("payload.json", r#"{ "id": "A1", "total": 5 }"#);
    let mut test = Command::new(PROGRAM);
    test.args(["plugin", "test"]).current_dir(&project);
    test.env("CARGO_TARGET_DIR", target());
    let said = Said::by(&mut test);
    said.fails(1, &["building with"]);
    for line in [
        "ok    parcels accepted.json",
        "FAIL  parcels free.json: expected done",
        "-     parcels payload.json",
    ] {
        assert!(said.out.contains(line), "{}", said.out);
    }
    sample(
        "free.json",
        &order.replace("\"body\"", "\"expect\": \"reject\", \"body\"").replace('5', "0"),
    );
    Said::by(&mut test).succeeds(&["2 passed, 0 failed, 1 skipped"]);

    let again = hookweir(folder.path(), &["plugin", "new", "parcels", "--sdk", sdk]);
    again.fails(1, &["failed to make parcels", "exists"]);
    hookweir(folder.path(), &["plugin", "new", "Parcels"]).fails(2, &["Parcels"]);
    hookweir(folder.path(), &["plugin", "new", "lost"]).fails(1, &["--sdk"]);
}

#[test]
fn what_is_no_plugin_is_refused_in_words() {
    let folder = TempDir::new().unwrap();
    let good = guests::wasm("payments");
    let elf = fs::read(PROGRAM).unwrap();
    for (name, content, words) in [
        ("text.wasm", &b"no module at all"[..], &["text.wasm: failed to load"][..]),
        ("half.wasm", &good[..good.len() / 2], &["half.wasm: failed to load"]),
        ("native.wasm", &elf[..4096], &["native.wasm: failed to load"]),
        ("empty.wasm", b"\0asm\x01\0\0\0", &["empty.wasm: failed to load", "#[plugin]"]),
        ("Odd Name.wasm", &good, &["Odd Name.wasm: its name"]),
    ] {
        fs::write(folder.path().join(name), content).unwrap();
        hookweir(folder.path(), &["plugin", "check", name]).fails(1, words);
    }
    let missing = hookweir(folder.path(), &["plugin", "check", "missing.wasm"]);
    missing.fails(1, &["missing.wasm: failed to read it"]);
    // One bad file hides no good one.
    fs::write(folder.path().join("payments.wasm"), &good).unwrap();
    let both = hookweir(folder.path(), &["plugin", "check", "text.wasm", "payments.wasm"]);
    both.fails(1, &["text.wasm"]);
    assert!(both.out.contains("would go live"), "{}", both.out);
}

#[test]
fn vectors_are_counted_and_a_provider_that_nobody_knows_is_a_failure() {
    let folder = TempDir::new().unwrap();
    let vectors =
        concat!(env!("CARGO_MANIFEST_DIR"), "/../gateway/verify/tests/vectors/open.jsonl");
    let lines = fs::read_to_string(vectors).unwrap();
    let slack: Vec<_> =
        lines.lines().filter(|line| line.contains("\"scheme\":\"slack\"")).collect();
    fs::write(folder.path().join("slack.jsonl"), slack.join("\n")).unwrap();
    hookweir(folder.path(), &["verify", "--vectors", "slack.jsonl"])
        .succeeds(&["slack: 44 passed, 0 failed, 0 advisory", "44 passed, 0 failed, 0 advisory"]);

    let nobody = slack[0].replace("\"slack\"", "\"nobody\"");
    fs::write(folder.path().join("nobody.jsonl"), nobody).unwrap();
    let said = hookweir(folder.path(), &["verify", "--vectors", "nobody.jsonl"]);
    assert_eq!(said.code, 1);
    assert!(said.out.contains("there is no preset `nobody`"), "{}", said.out);
    assert!(said.out.contains("0 passed, 1 failed, 0 advisory"), "{}", said.out);

    fs::write(folder.path().join("broken.jsonl"), "{}").unwrap();
    hookweir(folder.path(), &["verify", "--vectors", "broken.jsonl"]).fails(1, &["line 1"]);
    hookweir(folder.path(), &["verify", "--list"]).succeeds(&["stripe", "https://docs.stripe.com"]);
}

#[test]
fn a_captured_request_is_explained_without_its_secret() {
    use std::{io::Write as _, process::Stdio};
    let explain = |preset: &str, request: &str| {
        let mut child = Command::new(PROGRAM)
            .args(["verify", "--scheme", preset, "--secret-env", "TEST_SECRET", "--at", "1000"])
            .env("TEST_SECRET", "It's a Secret to Everybody")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(request.as_bytes()).unwrap();
        let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
        let [out, err] = [stdout, stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        Said { code: status.code().unwrap(), out, err }
    };
    // The example of GitHub's documentation.
    let signature = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    let request = |signature: &str| {
        format!(
            "POST /x HTTP/1.1\r\nX-GitHub-Event: ping\r\nX-Hub-Signature-256: sha256={signature}\r\n\r\nHello, World!"
        )
    };
    let said = explain("github", &request(signature));
    said.succeeds(&[
        "header:x-hub-signature-256",
        "13 bytes, is \"Hello, World!\"",
        "It verifies.",
    ]);
    assert!(!said.out.contains("Secret to"), "{}", said.out);
    let forged = explain("github", &request(&signature.replace('7', "8")));
    assert_eq!(forged.code, 1);
    assert!(forged.out.contains("the signature matches none of the secrets"), "{}", forged.out);
    assert!(!forged.out.contains(signature), "{}", forged.out);
    let bare = explain("github", "POST /x HTTP/1.1\n\n");
    assert!(bare.out.contains("It does not verify: the signature is missing."), "{}", bare.out);
    explain("nobody", "").fails(1, &["no preset \"nobody\""]);
    explain("square", &request(signature)).fails(1, &["--public-url"]);
    explain("github", "no request").fails(1, &["no HTTP request"]);
}
