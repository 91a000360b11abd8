//! The admin API as its callers have it: who may do what, one shape of refusal, a description that is what is
//! enforced, an audit log of every change, and the gateway itself.

use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt as _, process::Command};

use hookweir_event::Digest;
use hookweir_tests::{
    bounded, guests,
    house::{House, SECRET},
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::cli::say;

const PROGRAM: &str = env!("CARGO_BIN_EXE_hookweir-under-test");
const SCOPES: [&str; 3] = ["read", "operate", "admin"];

/// Every operation, with what it is asked here, and the scope that it wants. What is described and not in
/// this table fails the test, and the other way round.
fn operations() -> Vec<(&'static str, &'static str, Value, &'static str)> {
    let none = Value::Null;
    let post = |path, body, scope| ("POST", path, body, scope);
    let get = |path| ("GET", path, none.clone(), "read");
    vec![
        get("/v1/openapi.json"),
        get("/v1/status"),
        get("/v1/config"),
        post("/v1/reload", json!({}), "admin"),
        get("/v1/audit"),
        get("/v1/sources"),
        get("/v1/sources/{name}/refusals"),
        get("/v1/alerts"),
        get("/v1/apis"),
        get("/v1/apis/{name}/refusals"),
        get("/v1/plugins"),
        get("/v1/plugins/{name}"),
        post("/v1/plugins/{name}/rollback", json!({}), "operate"),
        post("/v1/plugins/{name}/pin", json!({}), "operate"),
        post("/v1/plugins/{name}/approve", json!({}), "admin"),
        get("/v1/events"),
        get("/v1/events/{id}"),
        get("/v1/blocked"),
        post("/v1/replay", json!({ "events": [] }), "operate"),
        post("/v1/dead/retry", json!({ "deliveries": [] }), "operate"),
        post("/v1/dead/skip", json!({ "deliveries": [] }), "operate"),
        post("/v1/dead/discard", json!({ "deliveries": [] }), "operate"),
        get("/v1/deliveries"),
        get("/v1/deliveries/{event}/{number}"),
        get("/v1/deliveries/{event}/{number}/attempts/{attempt}/requests"),
        get("/v1/jobs"),
        get("/v1/jobs/{id}"),
        post("/v1/jobs", json!({ "kind": "retry", "dryRun": true }), "operate"),
        post("/v1/jobs/{id}/cancel", json!({}), "operate"),
        get("/v1/queues"),
        get("/v1/pauses"),
        post("/v1/pause", json!({ "why": "a test" }), "operate"),
        post("/v1/resume", json!({}), "operate"),
        post("/v1/sources/{name}/pause", json!({ "why": "a test" }), "operate"),
        post("/v1/sources/{name}/resume", json!({}), "operate"),
        post("/v1/plugins/{name}/pause", json!({}), "operate"),
        post("/v1/plugins/{name}/resume", json!({}), "operate"),
        get("/v1/export"),
        get("/v1/tail"),
        post("/v1/sources/{name}/missing", json!({ "ids": ["1"], "type": "push" }), "read"),
        get("/v1/plugins/{name}/state"),
        get("/v1/plugins/{name}/state/entry"),
        ("PUT", "/v1/plugins/{name}/state/entry", json!({ "value": "v" }), "admin"),
        ("DELETE", "/v1/plugins/{name}/state/entry", Value::Null, "admin"),
    ]
}

fn token(name: &str) -> String {
    format!("the-token-of-{name}-is-this")
}

/// A token of each scope, by its name.
fn tokens() -> String {
    let one = |scope: &str| {
        let digest = Digest::of(token(scope).as_bytes());
        let name = format!("{scope}-only");
        format!("[admin.tokens.{name}]\nsha256 = \"{digest}\"\nscope = \"{scope}\"\n")
    };
    SCOPES.map(one).concat()
}

struct Said {
    status: u16,
    allow: Option<String>,
    retry_after: Option<String>,
    text: String,
}

impl Said {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text)
            .unwrap_or_else(|_| panic!("{}: {}", self.status, self.text))
    }

    /// The word of a refusal, which has a sentence as well.
    #[track_caller]
    fn code(&self) -> String {
        let json = self.json();
        assert!(json["error"].as_str().is_some_and(|sentence| !sentence.is_empty()), "{json}");
        json["code"].as_str().unwrap().to_owned()
    }
}

async fn ask(house: &House, method: &str, path: &str, token: Option<&str>, body: &str) -> Said {
    ask_at(house, &house.admin.to_string(), (method, path), token, body).await
}

async fn ask_at(
    house: &House,
    host: &str,
    (method, path): (&str, &str),
    token: Option<&str>,
    body: &str,
) -> Said {
    let client = bounded::client();
    let url = format!("http://{}{path}", house.admin);
    let asking = client.request(Method::from_bytes(method.as_bytes()).unwrap(), url);
    let asking = asking.header("host", host).body(body.to_owned());
    let asking = match token {
        Some(token) => asking.bearer_auth(token),
        None => asking,
    };
    let reply = asking.send().await.unwrap();
    let header = |name| reply.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    let (allow, retry_after) = (header("allow"), header("retry-after"));
    Said { status: reply.status().as_u16(), allow, retry_after, text: reply.text().await.unwrap() }
}

#[tokio::test]
async fn each_scope_does_just_what_it_may_and_the_description_says_so() {
    let house = House::new(PROGRAM, &tokens());
    let gateway = house.start().await;
    let document = ask(&house, "GET", "/v1/openapi.json", Some(&token("read")), "").await.json();
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    let scheme = &document["components"]["securitySchemes"]["token"];
    assert_eq!((&scheme["type"], &scheme["scheme"]), (&json!("http"), &json!("bearer")));

    let mut described = BTreeMap::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let scope = operation["security"][0]["token"][0].as_str().unwrap().to_owned();
            for status in ["200", "400", "401", "403", "421", "429"] {
                let said = &operation["responses"][status];
                assert!(said["description"].is_string(), "{method} {path} {status}");
            }
            for text in ["summary", "operationId"] {
                assert!(operation[text].is_string(), "{method} {path} has no {text}");
            }
            described.insert((method.to_uppercase(), path.clone()), scope);
        }
    }
    let table = operations();
    let listed: BTreeMap<_, _> = table
        .iter()
        .map(|(method, path, _, scope)| {
            (((*method).to_owned(), (*path).to_owned()), (*scope).to_owned())
        })
        .collect();
    assert_eq!(described, listed);

    for (method, path, body, needs) in &table {
        let id = "01890a5d-ac96-774b-bcce-b302099a8057";
        let named = [
            ("{name}", "test"),
            ("{id}", id),
            ("{event}", id),
            ("{number}", "0"),
            ("{attempt}", "1"),
            ("/entry", "/entry?key=k"),
        ];
        let place = named
            .iter()
            .fold((*path).to_owned(), |place, (name, value)| place.replace(name, value));
        let body = if body.is_null() { String::new() } else { body.to_string() };
        for (rank, scope) in SCOPES.iter().enumerate() {
            let said = ask(&house, method, &place, Some(&token(scope)), &body).await;
            let may = rank >= SCOPES.iter().position(|scope| scope == needs).unwrap();
            if may {
                // Some have nothing to be done to.
                assert!(
                    [200, 404, 409].contains(&said.status),
                    "{scope}: {method} {path}: {}",
                    said.text
                );
            } else {
                assert_eq!(
                    (said.status, &*said.code()),
                    (403, "forbidden"),
                    "{scope}: {method} {path}"
                );
                assert_eq!(said.json()["needs"], **needs);
            }
        }
        let said = ask(&house, method, &place, None, &body).await;
        assert_eq!((said.status, &*said.code()), (401, "unauthenticated"), "{method} {path}");
    }
    house.until_log(0, &["refused by the admin API", "read-only", "/v1/dead/retry"]).await;
    let log = house.log();
    assert!(SCOPES.iter().all(|scope| !log.contains(&token(scope))), "a token is in the log");
    gateway.stop().await;
}

#[tokio::test]
async fn whatever_is_refused_is_refused_in_one_shape() {
    let house = House::new(PROGRAM, &tokens());
    let gateway = house.start().await;
    let token = token("admin");
    let large = format!("{{\"deliveries\":[\"{}\"]}}", "0".repeat(300 << 10));
    let many = json!({ "events": vec!["01890a5d-ac96-774b-bcce-b302099a8057"; 1001] }).to_string();
    for (method, path, body, status, code, part) in [
        ("GET", "/", "", 404, "not_found", "/v1/openapi.json"),
        ("GET", "/v1", "", 404, "not_found", "/v1/openapi.json"),
        ("GET", "/v1/sources/", "", 404, "not_found", "/v1/openapi.json"),
        ("GET", "/v2/sources", "", 404, "not_found", "/v1/openapi.json"),
        ("GET", "/v1/plugins/nobody", "", 404, "not_found", "no plugin has this name"),
        ("GET", "/v1/plugins/%FF", "", 400, "malformed", "the path"),
        ("GET", "/v1/events/nonsense", "", 400, "malformed", "the path"),
        ("GET", "/v1/sources?colour=red", "", 400, "malformed", "there is no parameter `colour`"),
        ("GET", "/v1/plugins/a?limit=1", "", 400, "malformed", "there is no parameter `limit`"),
        ("GET", "/v1/events?limit=0", "", 400, "malformed", "limit: 0 is not between 1 and 1000"),
        ("GET", "/v1/events?limit=1001", "", 400, "malformed", "limit: 1001"),
        ("GET", "/v1/events?limit=many", "", 400, "malformed", "limit: "),
        ("GET", "/v1/events?limit=1&limit=2", "", 400, "malformed", "limit"),
        ("GET", "/v1/events?since=yesterday", "", 400, "malformed", "since: "),
        ("GET", "/v1/events?state=asleep", "", 400, "malformed", "state: "),
        ("GET", "/v1/events?dedupe=1", "", 400, "malformed", "name it"),
        ("GET", "/v1/audit?cursor=-1", "", 400, "malformed", "cursor: "),
        ("GET", "/v1/audit?cursor=9223372036854775808", "", 400, "malformed", "cursor: "),
        ("POST", "/v1/dead/retry", "", 400, "malformed", "deliveries"),
        ("POST", "/v1/dead/retry", "[[]]", 400, "malformed", "expected a JSON object"),
        ("POST", "/v1/dead/retry", "{", 400, "malformed", "the body: "),
        ("POST", "/v1/dead/retry", "{\"deliveries\":[]} {}", 400, "malformed", "the body: "),
        ("POST", "/v1/dead/retry", "{\"deliveries\":[7]}", 400, "malformed", "deliveries"),
        (
            "POST",
            "/v1/dead/retry",
            "{\"deliveries\":[],\"a\":1}",
            400,
            "malformed",
            "unknown field `a`",
        ),
        ("POST", "/v1/dead/retry?a=1", "{\"deliveries\":[]}", 400, "malformed", "parameter `a`"),
        ("POST", "/v1/dead/retry", &large, 413, "too_large", "256 KiB"),
        ("POST", "/v1/replay", &many, 400, "malformed", "events: at most 1000 at once"),
        (
            "POST",
            "/v1/plugins/a/pin",
            "{\"version\":\"0\",\"off\":true}",
            400,
            "malformed",
            "`off`",
        ),
    ] {
        let said = ask(&house, method, path, Some(&token), body).await;
        assert_eq!((said.status, &*said.code()), (status, code), "{method} {path}: {}", said.text);
        assert!(said.text.contains(part), "{method} {path}: {}", said.text);
    }
    for (method, path, allow) in [
        ("POST", "/v1/sources", "GET,HEAD"),
        ("DELETE", "/v1/events/nonsense", "GET,HEAD"),
        ("GET", "/v1/dead/retry", "POST"),
        ("QUERY", "/v1/replay", "POST"),
    ] {
        let said = ask(&house, method, path, Some(&token), "").await;
        assert_eq!((said.status, &*said.code()), (405, "method_not_allowed"), "{method} {path}");
        assert_eq!(said.allow.as_deref(), Some(allow), "{method} {path}");
    }
    let said = ask(&house, "HEAD", "/v1/sources", Some(&token), "").await;
    assert_eq!((said.status, &*said.text), (200, ""));

    // A token in a URL ends up in logs; it is none.
    for path in ["/v1/sources?token=", "/v1/sources?access_token="] {
        let said = ask(&house, "GET", &format!("{path}{token}"), None, "").await;
        assert_eq!((said.status, &*said.code()), (401, "unauthenticated"), "{path}");
    }
    let said = ask_at(&house, "evil.example", ("GET", "/v1/sources"), Some(&token), "").await;
    assert_eq!((said.status, &*said.code()), (421, "wrong_host"));
    assert!(!house.log().contains(&token), "a token is in the log");
    gateway.stop().await;
}

#[tokio::test]
async fn an_address_that_guesses_tokens_is_turned_away_for_a_while_and_an_operator_is_not() {
    let house = House::new(PROGRAM, &format!("admin.refused_rate = \"3/hour\"\n{}", tokens()));
    let gateway = house.start().await;
    let wrong = Some("another-token-of-some-length");
    for _ in 0..4 {
        let said = ask(&house, "GET", "/v1/sources", wrong, "").await;
        assert_eq!((said.status, &*said.code()), (401, "unauthenticated"));
    }
    let said = ask(&house, "GET", "/v1/sources", wrong, "").await;
    assert_eq!((said.status, &*said.code()), (429, "rate_limited"));
    let wait: u64 = said.retry_after.unwrap().parse().unwrap();
    assert!(0 < wait && wait <= 1200, "{wait}");
    let right = Some(token("admin"));
    assert_eq!(ask(&house, "GET", "/v1/sources", right.as_deref(), "").await.status, 200);
    // Supervisors are not in this.
    assert_eq!(ask(&house, "GET", "/readyz", None, "").await.status, 200);
    house.until_log(0, &["refused by the admin API", "unauthenticated", "127.0.0.1"]).await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_token_is_made_given_and_taken_back_without_a_restart() {
    let house = House::new(PROGRAM, "");
    let gateway = house.start().await;
    let args = ["admin", "token", "on-call", "--scope", "operate"];
    let made = bounded::output(Command::new(PROGRAM).args(args));
    assert!(made.status.success());
    let token = String::from_utf8(made.stdout).unwrap().trim().to_owned();
    let said = String::from_utf8(made.stderr).unwrap();
    let lines = said.split_once("\n\n").unwrap().1;
    assert!(token.len() == 64 && !lines.contains(&token), "{said}");

    assert_eq!(ask(&house, "GET", "/v1/sources", Some(&token), "").await.status, 401);
    house.write_config(lines);
    house.until_log(0, &["config reloaded"]).await;
    assert_eq!(ask(&house, "GET", "/v1/sources", Some(&token), "").await.status, 200);
    let approve = ask(&house, "POST", "/v1/plugins/a/approve", Some(&token), "").await;
    assert_eq!((approve.status, &approve.json()["needs"]), (403, &json!("admin")));
    // The command line takes it as well.
    let file = house.config().with_file_name("on-call");
    fs::write(&file, format!("{token}\n")).unwrap();
    let list = say(&house, &["source", "list", "--token-file", file.to_str().unwrap()]);
    assert!(list.unwrap().contains("/webhooks/github"));

    let before = house.log().len();
    house.write_config("");
    house.until_log(before, &["config reloaded"]).await;
    assert_eq!(ask(&house, "GET", "/v1/sources", Some(&token), "").await.status, 401);
    for (args, part) in [
        (["admin", "token", "On Call", "--scope", "read"], "the name of a token is made of"),
        (["admin", "token", "admin", "--scope", "read"], "choose another name"),
        (["admin", "token", "a", "--scope", "root"], "expected \"read\""),
    ] {
        let said = bounded::output(Command::new(PROGRAM).args(args));
        assert_eq!(said.status.code(), Some(2));
        assert!(String::from_utf8(said.stderr).unwrap().contains(part), "{args:?}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn every_change_is_in_the_audit_log_with_who_and_what_and_how_it_ended() {
    let house = House::new(PROGRAM, &tokens());
    let gateway = house.start().await;
    let operate = token("operate");
    let id = "01890a5d-ac96-774b-bcce-b302099a8057";
    let body = json!({ "deliveries": [format!("{id}/0")] }).to_string();
    for (path, body, status) in [
        ("/v1/dead/retry", &*body, 200),
        ("/v1/plugins/nobody/pin", "{\"version\":\"ab\"}", 404),
        ("/v1/replay", "{\"events\": 7, \"a\": \"b\"}", 400),
        // These come to nothing before anything is asked for.
        ("/v1/plugins/nobody/approve", "", 403),
        ("/v1/replay?a=1", "{}", 400),
    ] {
        assert_eq!(ask(&house, "POST", path, Some(&operate), body).await.status, status, "{path}");
    }
    let read = token("read");
    let audit = ask(&house, "GET", "/v1/audit", Some(&read), "").await.json();
    let entries = audit["items"].as_array().unwrap();
    let said: Vec<_> = entries
        .iter()
        .map(|entry| {
            let who = (entry["who"].as_str().unwrap(), entry["client"].as_str().unwrap());
            assert_eq!(who, ("operate-only", "127.0.0.1"));
            let ended = &entry["ended"];
            json!([
                entry["id"],
                entry["verb"],
                entry["object"],
                entry["parameters"],
                ended["status"],
                ended["code"]
            ])
        })
        .collect();
    let expected = [
        json!([3, "events.replay", null, { "events": 7, "a": "[redacted]" }, 400, "malformed"]),
        json!([2, "plugins.pin", "nobody", { "version": "ab" }, 404, "not_found"]),
        json!([1, "dead.retry", null, { "deliveries": [format!("{id}/0")] }, 200, null]),
    ];
    assert_eq!((said, &audit["next"]), (expected.to_vec(), &Value::Null));

    let page = ask(&house, "GET", "/v1/audit?limit=2", Some(&read), "").await.json();
    assert_eq!((page["items"].as_array().unwrap().len(), &page["next"]), (2, &json!("2")));
    let page = ask(&house, "GET", "/v1/audit?limit=2&cursor=2", Some(&read), "").await.json();
    assert_eq!((&page["items"][0]["id"], &page["next"]), (&json!(1), &Value::Null));
    let file = house.database().with_file_name("audit.jsonl");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_to_string(&file).unwrap().lines().count(), 6);
    assert!(gateway.stop().await.success());

    // It goes on over a restart; the command line is who has the token that it was given.
    let gateway = house.start().await;
    assert!(say(&house, &["dead", "retry", "--all"]).unwrap().contains("0 of 0"));
    assert!(say(&house, &["plugin", "pin", "nobody"]).unwrap_err().contains("no plugin"));
    let listed = say(&house, &["audit", "--limit", "2"]).unwrap();
    let lines: Vec<_> = listed.lines().collect();
    assert!(lines[1].contains(" admin ") && lines[1].contains("404 not_found"), "{listed}");
    assert!(lines[2].contains(" admin ") && lines[2].contains("jobs.begin"), "{listed}");
    assert_eq!(lines[3], "there are more: --cursor 4");
    gateway.stop().await;
}

#[tokio::test]
async fn what_can_not_be_written_down_is_not_done() {
    let house = House::new(PROGRAM, "");
    house.put_guest("echo");
    let gateway = house.start().await;
    let id = house.sender("github").send("push", "1", b"{}").await.unwrap().id().unwrap();
    house.settled().await;
    let token = fs::read_to_string(house.database().with_file_name("admin-token")).unwrap();
    let body = json!({ "events": [id.to_string()], "plugin": "echo" }).to_string();
    let replay = || ask(&house, "POST", "/v1/replay", Some(&token), &body);
    let deliveries = async || house.reader().show(id).await.unwrap().unwrap().deliveries.len();
    let before = deliveries().await;

    let file = house.database().with_file_name("audit.jsonl");
    fs::create_dir(&file).unwrap();
    let said = replay().await;
    assert_eq!((said.status, &*said.code()), (503, "audit"), "{}", said.text);
    assert_eq!(deliveries().await, before);
    fs::remove_dir(&file).unwrap();
    assert_eq!(replay().await.status, 200);
    assert_eq!(deliveries().await, before + 1);
    gateway.stop().await;
}

#[tokio::test]
async fn the_config_in_force_is_shown_without_secrets() {
    let house = House::new(PROGRAM, "");
    let secrets = ["one", "two", "three", "four", "five"]
        .map(|nth| format!("the-{nth}-secret-of-this-config"));
    let folder = house.config().parent().unwrap().to_owned();
    for (nth, secret) in secrets.iter().enumerate() {
        fs::write(folder.join(format!("secret-{nth}")), secret).unwrap();
    }
    house.write_config(&format!(
        "admin.token = {{ file = \"secret-0\" }}\n{}\
         [sources.erp]\npath = \"/erp\"\nscheme = \"github\"\nsecrets = [{{ file = \"secret-1\" }}, {{ file = \"secret-2\", until = \"2999-01-01T00:00:00Z\" }}]\n\
         [plugins.echo]\napi = {{ token = {{ file = \"secret-3\" }} }}\nhttp = [\"https://api.example.com\"]\nmemory = \"32MiB\"\n\
         secrets = {{ KEY = {{ file = \"secret-4\", hosts = [\"https://api.example.com\"] }} }}\n",
        tokens()
    ));
    let gateway = house.start().await;
    let said = ask(&house, "GET", "/v1/config", Some(&token("read")), "").await;
    let config = said.json();
    assert_eq!(config["admin"]["listen"], house.admin.to_string());
    assert_eq!(config["admin"]["tokens"]["read-only"]["scope"], "read");
    assert_eq!(config["server"]["grace"], "20s");
    assert_eq!(config["sources"]["erp"]["dedupe_window"], "3d");
    assert_eq!(config["sources"]["erp"]["secrets"][1]["until"], "2999-01-01T00:00:00Z");
    let echo = &config["plugins"]["echo"];
    assert_eq!((&echo["memory"], &echo["timeout"]), (&json!("32MiB"), &json!("10s")));
    assert_eq!(echo["secrets"]["KEY"]["hosts"], json!(["https://api.example.com"]));
    let digests = SCOPES.map(|scope| Digest::of(token(scope).as_bytes()).to_string());
    for secret in secrets.iter().chain(&digests).map(String::as_str).chain([SECRET]) {
        assert!(!said.text.contains(secret), "{secret}: {}", said.text);
    }
    assert_eq!(said.text.matches("[redacted]").count(), 11, "{}", said.text);
    gateway.stop().await;
}

#[tokio::test]
async fn files_are_looked_at_when_asked_and_the_status_tells() {
    let host = "[host]\nwatch = \"off\"\nrescan = \"1d\"\n";
    let house = House::new(PROGRAM, host);
    let gateway = house.start().await;
    let status = say(&house, &["status"]).unwrap();
    assert!(status.starts_with("ready, version "), "{status}");
    assert!(status.contains("0 due, 0 leased, 0 done, 0 dead"), "{status}");
    assert!(status.contains("sources     github, stripe, test"), "{status}");

    house.put_guest("echo");
    let said = say(&house, &["reload"]).unwrap();
    let live = Digest::of(&guests::wasm("echo")).short();
    assert_eq!(said, format!("config: unchanged\necho: {live} is live\n"));
    assert_eq!(say(&house, &["reload"]).unwrap(), "config: unchanged\n");
    let status = house.admin("status").await;
    assert_eq!(status["plugins"][0]["version"], Digest::of(&guests::wasm("echo")).to_string());
    assert_eq!((&status["ready"], &status["store"]["state"]), (&json!(true), &json!("ready")));
    assert!(status["disk"]["freeBytes"].as_u64().unwrap() > 0);

    house.put("echo", b"no module");
    let said = say(&house, &["reload"]).unwrap_err();
    assert!(said.contains("echo: not live: ") && said.contains("1 file is not live"), "{said}");
    let status = say(&house, &["status"]).unwrap();
    assert!(status.contains(&live) && status.contains("file not live: "), "{status}");

    let good = fs::read_to_string(house.config()).unwrap();
    let faulty = good.replace("scheme = \"stripe\"", "scheme = \"strip\"");
    // Beside the file, the command line would read what is faulty.
    fs::write(house.config(), faulty).unwrap();
    let admin = fs::read_to_string(house.database().with_file_name("admin-token")).unwrap();
    for _ in 0..2 {
        let said = ask(&house, "POST", "/v1/reload", Some(&admin), "").await.json();
        assert_eq!(said["config"], "refused");
        assert!(said["reason"].as_str().unwrap().contains("strip"), "{said}");
    }
    house.write_config(&format!("{host}[sources.late]\npath = \"/late\"\nscheme = \"github\"\nsecrets = [{{ env = \"TEST_SECRET\" }}]\n"));
    let said = say(&house, &["reload"]).unwrap_err();
    assert!(said.starts_with("config: reloaded\n"), "{said}");
    assert!(say(&house, &["status"]).unwrap().contains("github, late, stripe, test"));
    gateway.stop().await;
}
