//! The kit for authors' own tests: real modules in the real engine, through the kit's public door.

use std::{panic, time::Duration};

use hookweir_event::StateEntry;
use hookweir_host::HttpGrant;
use hookweir_kit::{
    Canned, Event, Grant, Kit, KitError, Limits, Outcome, Plugin, Request, Sent, Timestamp,
};
use hookweir_tests::guests;
use serde_json::{Value, json};

fn load(kit: Kit, guest: &str) -> Plugin {
    kit.load_bytes(&guest.parse().unwrap(), guests::wasm(guest)).unwrap()
}

fn event(event_type: &str) -> Event {
    Event::new("test", event_type)
}

/// What the guest says of its steps with the state.
fn steps(plugin: &Plugin, steps: &[&str]) -> String {
    let ran = plugin.run(&event("state").body(steps.join("\n")));
    String::from_utf8(ran.assert_done()[0].body.clone()).unwrap()
}

#[test]
fn state_lasts_over_calls_and_what_a_failed_one_wrote_was_never_there() {
    let plugin = load(Kit::new().state("counted", "40"), "hostile");
    plugin.run(&event("count")).assert_done();
    let failed = plugin.run(&event("count-and-fail"));
    assert_eq!(failed.assert_retry().message, "as asked");
    assert_eq!(failed.changes().count(), 0);
    let ran = plugin.run(&event("count"));
    assert_eq!(ran.assert_done()[0].body, b"42");
    assert_eq!(ran.changes().count(), 1);
    assert_eq!(plugin.stored("counted").as_deref(), Some(&b"42"[..]));
    assert_eq!(plugin.state().len(), 1);
    assert_eq!(steps(&plugin, &["get counted", "delete counted", "keys c"]), "42\ntrue\n");
    assert_eq!(plugin.stored("counted"), None);
}

#[test]
fn the_clock_moves_when_it_is_told_to() {
    let plugin = load(Kit::new().now_ms(1_000_000), "hostile");
    assert_eq!(steps(&plugin, &["set a 1 60000", "set b 2"]), "set\nset");
    plugin.advance(Duration::from_millis(59_999));
    assert_eq!(steps(&plugin, &["get a", "get b", "keys "]), "1\n2\na,b");
    plugin.advance(Duration::from_millis(1));
    assert_eq!(plugin.stored("a"), None);
    assert_eq!(steps(&plugin, &["get a", "get b", "keys "]), "nothing\n2\nb");
}

#[test]
fn requests_are_answered_in_turn_and_recorded() {
    let step = |method: &str| {
        json!([{ "method": method, "url": "https://api.test/v1", "body": "x",
                 "secrets": [["authorization", "Bearer {API_KEY}"]] }])
    };
    let line = "POST https://api.test/v1";
    let kit = Kit::new()
        .secret("API_KEY", "sk-123")
        .http(line, Canned::new(503).header("retry-after", "7"))
        .http(line, Canned::new(201).body("made"));
    let plugin = load(kit, "reach");
    let must = event("must").json(&step("POST"));
    let ran = plugin.run(&must);
    assert_eq!(ran.assert_retry().retry_after, Some(Duration::from_secs(7)));
    for attempt in [2, 3] {
        let ran = plugin.run(&must.clone().attempt(attempt));
        ran.assert_done();
        let [sent] = ran.requests() else { panic!("{:?}", ran.requests()) };
        assert_eq!((sent.line(), sent.text().as_str()), (line, "x"));
        assert_eq!((sent.answer(), sent.is_canned()), (Some(&Ok(201)), true));
        assert_eq!(sent.header("Authorization"), Some("[redacted]"));
        // The same on every attempt.
        assert!(sent.header("idempotency-key").unwrap().ends_with("/1"));
    }
    // What has no answer goes nowhere; what is answered by silence is tried again.
    let put = event("must").json(&step("PUT"));
    let ran = plugin.run(&put);
    assert!(ran.assert_reject().message.contains("no answer for `PUT https://api.test/v1`"));
    assert_eq!(ran.requests()[0].answer().unwrap().as_ref().unwrap_err().code(), "denied");
    plugin.answer("PUT https://api.test/v1", Canned::timeout());
    plugin.run(&put).assert_retry();
}

#[test]
fn what_has_no_answer_of_its_own_gets_that_of_the_longest_beginning() {
    let kit = Kit::new()
        .http("GET https://api.test/a/b", Canned::new(201))
        .http_below("", Canned::new(202))
        .http_below("GET https://api.test/a", Canned::new(203));
    let plugin = load(kit, "reach");
    let wishes = json!([{ "url": "https://api.test/a/b" }, { "url": "https://api.test/a/c" },
        { "url": "https://other.test/" }]);
    let ran = plugin.run(&event("send").json(&wishes));
    let statuses: Vec<_> = ran.requests().iter().map(|sent| sent.answer().cloned()).collect();
    assert_eq!(statuses, [201, 202 + 1, 202].map(|status| Some(Ok(status))));
}

#[test]
fn a_repeat_begins_with_a_stores_entries_and_draws_the_same_again() {
    let until = |at| (at > 0).then(|| Timestamp::from_millis(at));
    let entry = |key: &str, at| StateEntry {
        key: key.to_owned(),
        version: 7,
        value: b"1".to_vec(),
        expires_at: until(at),
    };
    let kit =
        || Kit::new().now_ms(1000).entries([entry("a", 0), entry("b", 1000), entry("c", 1001)]);
    let asked = event("state").body("keys \nrandom 8");
    let said = || {
        let ran = load(kit(), "hostile").repeat(&asked).unwrap();
        String::from_utf8(ran.assert_done()[0].body.clone()).unwrap()
    };
    let first = said();
    assert!(first.starts_with("a,c\n"), "{first}");
    assert_eq!(said(), first);
}

#[test]
fn what_the_grant_does_not_allow_is_recorded_as_denied() {
    let granted = |origins: &[&str]| {
        let origins = origins.iter().map(|origin| origin.parse().unwrap()).collect();
        let http = Some(HttpGrant { origins, addresses: Vec::new() });
        Kit::new().grant(Grant { http, ..Grant::default() })
    };
    let wishes = json!([{ "url": "https://api.test/1" }, { "url": "https://other.test/2" },
        { "url": "https://api.test/3", "secrets": [["authorization", "{API_KEY}"]] },
        { "url": "https://api.test/4" }]);
    let asked = |kit: Kit| {
        let kit = kit.http("GET https://api.test/1", Canned::new(200));
        let ran = load(kit, "reach").run(&event("send-all").json(&wishes));
        ran.assert_done();
        let seen = |sent: &Sent| (sent.line().to_owned(), sent.is_refused());
        let denied = |sent: &&Sent| sent.answer().is_some_and(Result::is_err);
        let count = ran.requests().iter().filter(denied).count();
        (ran.requests().iter().map(seen).collect::<Vec<_>>(), count)
    };
    let all = |refused: [bool; 4]| {
        let line = |(at, host): (usize, &str)| format!("GET https://{host}.test/{}", at + 1);
        let lines = ["api", "other", "api", "api"].into_iter().enumerate().map(line);
        lines.zip(refused).collect::<Vec<_>>()
    };
    // The last one is granted, and has no answer.
    assert_eq!(asked(granted(&["https://api.test"])), (all([false, true, true, false]), 3));
    assert_eq!(asked(Kit::new().grant(Grant::default())), (all([true; 4]), 4));
}

#[test]
fn no_part_of_a_secret_is_shown() {
    let kit = Kit::new().readable_secret("SHORT", "4711").readable_secret("LONG", "4711-0815");
    let kit = kit.readable_secret("URL", "https://me:word@hooks.test/T0");
    let plugin = load(kit, "reach");
    let asked = json!([
        { "url": "me:pass@api.test/", "body": "" },
        { "url": "https://api.test/", "body": "4711-0815 and https://me:word@hooks.test/T0" },
    ]);
    let ran = plugin.run(&event("send").json(&asked));
    let [refused, sent] = ran.requests() else { panic!("{:?}", ran.requests()) };
    assert!(refused.is_refused() && refused.shown_line().ends_with(" [redacted]@api.test/"));
    let shown = String::from_utf8(sent.shown_body()).unwrap();
    assert_eq!(shown, "[redacted] and https://[redacted]@hooks.test[redacted]");
}

#[test]
fn what_is_secret_in_a_url_is_not_shown() {
    let url = "https://hooks.test/services/T0/B0";
    // One of them as a file with a line has it.
    let kit = Kit::new().readable_secret("URL", format!("{url}?key=9\n"));
    let kit = kit.readable_secret("ID", "4711");
    let kit = kit.http("POST https://hooks.test/services/T0/B0", Canned::new(200));
    let plugin = load(kit, "reach");
    let wish = |url: &str| json!([{ "method": "POST", "url": url }]);
    let shown = |url: &str| {
        let ran = plugin.run(&event("send").json(&wish(url)));
        ran.assert_done();
        let [sent] = ran.requests() else { panic!("{:?}", ran.requests()) };
        assert_eq!(sent.line(), format!("POST {url}"), "a test sees it all");
        (sent.shown_line(), sent.answerable_line())
    };
    let both = |line: &str| (line.to_owned(), line.to_owned());
    // With its query and without, and with more behind it.
    assert_eq!(shown(&format!("{url}?key=9")), both("POST https://hooks.test[redacted]"));
    assert_eq!(shown(url), both("POST https://hooks.test[redacted]"));
    assert_eq!(shown(&format!("{url}/x")), both("POST https://hooks.test[redacted]/x"));
    let (query, answerable) = shown("https://api.test/users/4711/x?token=abc&plain");
    assert_eq!(query, "POST https://api.test/users/[redacted]/x?token=[redacted]&[redacted]");
    // What an answer is given for has what it is found by.
    assert_eq!(answerable, "POST https://api.test/users/[redacted]/x?token=abc&plain");
    let user = shown("https://me:word@api.test/@x");
    assert_eq!(user.0, "POST https://[redacted]@api.test/@x");
    let told =
        json!([{ "url": "https://api.test/", "headers": [["x-id", "a 4711"]], "body": "id=4711" }]);
    let ran = plugin.run(&event("send").json(&told));
    let sent = &ran.requests()[0];
    assert_eq!((sent.header("x-id"), sent.text()), (Some("a 4711"), "id=4711".to_owned()));
    assert_eq!(sent.shown_body(), b"id=[redacted]");
    assert!(sent.shown_headers().contains(&("x-id".to_owned(), b"a [redacted]".to_vec())));
    let must = plugin.run(&event("must").json(&wish("https://hooks.test/services/T0/B0/4711")));
    let message = &must.assert_reject().message;
    assert!(message.contains("hooks.test") && !message.contains("T0"), "{message}");
}

#[test]
fn the_limits_are_real() {
    let plugin = load(Kit::new(), "hostile");
    let ran = plugin.run(&event("spin").body("60000"));
    assert!(ran.assert_failed(Outcome::CpuLimit).message.contains("500ms"));
    assert!(ran.cpu() >= Duration::from_millis(500), "{:?}", ran.cpu());
    // It hurts nothing but itself.
    let ran = plugin.run(&event("echo").body("hello"));
    assert_eq!(ran.assert_done()[0].body, b"hello");
    assert!(ran.memory_peak() > 0 && ran.wall() >= ran.cpu() / 2);

    let limits = Limits { cpu: Duration::from_millis(20), ..Limits::default() };
    let plugin = load(Kit::new().limits(limits), "hostile");
    let ran = plugin.run(&event("spin").body("60000"));
    assert!(ran.assert_failed(Outcome::CpuLimit).message.contains("20ms"));
}

#[test]
fn a_failed_assertion_shows_what_happened() {
    let plugin = load(Kit::new().config("currency", "eur"), "hostile");
    let config = plugin.run(&event("config"));
    let told: Value = serde_json::from_slice(&config.assert_done()[0].body).unwrap();
    assert_eq!(told, json!({ "currency": "eur" }));

    let ran = plugin.run(&event("log"));
    assert!(ran.logged("an info line") && !ran.logged("nothing of the kind"));
    let panicked = panic::catch_unwind(panic::AssertUnwindSafe(|| {
        ran.assert_retry();
    }));
    let words = panicked.unwrap_err().downcast::<String>().unwrap();
    assert!(words.starts_with("expected retry, and it is done"), "{words}");
    assert!(words.contains("info  an info line field=value"), "{words}");
    let ran = plugin.run(&event("retry"));
    let panicked = panic::catch_unwind(panic::AssertUnwindSafe(|| {
        ran.assert_done();
    }));
    let words = panicked.unwrap_err().downcast::<String>().unwrap();
    assert_eq!(*words, "expected done, and it ended as retry: as asked");
}

#[test]
fn an_api_answers_from_the_state_that_the_handler_keeps() {
    let plugin = load(Kit::new(), "desk");
    plugin.run(&event("paid").body("A1")).assert_done();
    let get = |path: &str| Request {
        method: "GET".to_owned(),
        path: path.to_owned(),
        ..Request::default()
    };
    let ran = plugin.respond(&get("/orders/A1")).unwrap();
    let answer = ran.assert_done();
    assert_eq!((answer.status, &answer.body[..]), (200, &b"paid"[..]));
    assert_eq!(plugin.respond(&get("/orders/A2")).unwrap().assert_done().status, 404);
}

#[test]
fn what_no_gateway_would_load_is_not_loaded() {
    let missing = Kit::new().load("nowhere/at-all.wasm").unwrap_err().to_string();
    assert!(missing.contains("at-all.wasm") && missing.contains("plugin build"), "{missing}");
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, "no module at all").unwrap();
        Kit::new().load(path).unwrap_err()
    };
    assert!(matches!(file("Odd Name.wasm"), KitError::Name { .. }));
    // Cargo writes a crate's name with underscores.
    let fault = file("my_plugin.wasm").to_string();
    assert_eq!(fault, "failed to load my-plugin: the file is not WebAssembly");
    // Its init counts as well.
    let refused = Kit::new().config("refuse", "not today");
    let refused = refused.load_bytes(&"desk".parse().unwrap(), guests::wasm("desk")).unwrap_err();
    assert!(refused.to_string().ends_with("its init refused: not today"), "{refused}");
}
