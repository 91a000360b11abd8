//! The samples through the handler, on the SDK's in-memory host.

use std::time::Duration;

use hookweir_sdk::testing::{Canned, Host, Sample, Sent};
use serde_json::Value;

use super::*;

const CLERK: &str = include_str!("../samples/clerk.user.created.json");
const SHOPIFY: &str = include_str!("../samples/shopify.customers.create.json");
const NO_EMAIL: &str = include_str!("../samples/clerk.user.created.no-email.json");
const ACCOUNTS: &str = "POST https://accounts.example.com/v1/users";
const MAIL: &str = "POST https://mail.example.com/v1/send";

fn host() -> Host {
    Host::new()
        .now_ms(1_000)
        .config("accounts_url", "https://accounts.example.com/v1/users")
        .config("mail_url", "https://mail.example.com/v1/send")
        .config("mail_from", "hello@example.com")
}

/// The event that an output becomes.
fn came_back(output: &Output) -> Event {
    Event::builder("plugin.user-signup", output.event_type()).body(output.body()).build()
}

fn lines(host: &Host) -> Vec<String> {
    host.requests().iter().map(Sent::line).collect()
}

#[test]
fn a_new_user_gets_an_account_and_a_mail() {
    let host = host();
    assert!(Sample::parse(CLERK).run(&host, handle).unwrap().is_empty());
    assert_eq!(lines(&host), [ACCOUNTS, MAIL]);
    let requests = host.requests();
    let (account, mail) = (&requests[0], &requests[1]);
    let user = json!({
        "id": "user_29w83sxmDNGwOuEthce5gg56FcC", "email": "ada@example.org", "name": "Ada Example"
    });
    assert_eq!(serde_json::from_slice::<Value>(account.body()).unwrap(), user);
    assert_eq!(account.secret_header("authorization"), Some("Bearer {ACCOUNTS_KEY}"));
    let said: Value = serde_json::from_slice(mail.body()).unwrap();
    assert_eq!((&said["to"], &said["subject"]), (&user["email"], &json!("Welcome, Ada Example!")));
    assert_eq!(mail.secret_header("authorization"), Some("Bearer {MAIL_KEY}"));
    assert_ne!(account.header("idempotency-key"), mail.header("idempotency-key"));
}

#[test]
fn whoever_tells_of_a_user_it_is_the_same_to_the_plugin() {
    let host = host();
    assert!(Sample::parse(SHOPIFY).run(&host, handle).unwrap().is_empty());
    let account: Value = serde_json::from_slice(host.requests()[0].body()).unwrap();
    let expected = json!({
        "id": "706405506930370000", "email": "bob@biller.com", "name": "Bob Biller"
    });
    assert_eq!(account, expected);
}

#[test]
fn the_one_that_fails_is_retried_alone() {
    for (down, up, step) in [(ACCOUNTS, MAIL, "account.create"), (MAIL, ACCOUNTS, "mail.welcome")] {
        let host = host()
            .http(up, Canned::new(201))
            .http(down, Canned::new(503).header("retry-after", "2"))
            .http(down, Canned::timeout())
            .http(down, Canned::new(201));
        let event = Sample::parse(CLERK).event().id("evt").build();
        let left = host.run(handle, event).unwrap();
        assert_eq!(left.iter().map(Output::event_type).collect::<Vec<_>>(), [step]);
        let early = host.run(handle, came_back(&left[0])).unwrap_err();
        assert_eq!(early.retry_after(), Some(Duration::from_secs(2)), "{early}");
        let host = host.now_ms(3_000);
        let slow = host.run(handle, came_back(&left[0])).unwrap_err();
        assert!(slow.is_retry(), "{slow}");
        assert!(host.run(handle, came_back(&left[0])).unwrap().is_empty());
        let sent = lines(&host);
        assert_eq!(sent.iter().filter(|line| *line == up).count(), 1, "{sent:?}");
        assert_eq!(sent.iter().filter(|line| *line == down).count(), 3, "{sent:?}");
        // To the server all three are one.
        let requests = host.requests();
        let to_down = requests.iter().filter(|sent| sent.line() == down);
        let keys: Vec<_> = to_down.map(|sent| sent.header("idempotency-key").unwrap()).collect();
        assert_eq!(keys, [&*format!("evt/{step}"); 3]);
    }
}

#[test]
fn what_the_mail_server_will_never_take_is_a_dead_letter_of_its_own() {
    let host = host().http(ACCOUNTS, Canned::new(201)).http(MAIL, Canned::new(422));
    let left = host.run(handle, Sample::parse(CLERK).event().build()).unwrap();
    let failure = host.run(handle, came_back(&left[0])).unwrap_err();
    assert_eq!(failure, Failure::reject("answered with 422"));
}

#[test]
fn a_user_without_an_address_is_rejected_and_nothing_sent() {
    let host = host();
    let failure = Sample::parse(NO_EMAIL).run(&host, handle).unwrap_err();
    assert_eq!(failure.message(), "the user has no email address to write to");
    assert!(host.requests().is_empty());
}

#[test]
fn without_its_config_the_event_waits_for_the_operator() {
    let failure = Host::new().run(handle, Sample::parse(CLERK).event().build()).unwrap_err();
    assert!(failure.is_retry());
    assert!(failure.message().contains("missing field `accounts_url`"), "{failure}");
}
