//! Traces, end to end: a collector of this test's own is sent spans.

use std::collections::BTreeMap;

use hookweir_store::DeliveryState;
use hookweir_tests::{
    house::{House, SECRET, free_port},
    load::{PAYMENT, payment},
    otlp::{self, Span},
    world::World,
};
use serde_json::json;

const PROGRAM: &str = env!("CARGO_BIN_EXE_hookweir-under-test");
/// The sender's trace and its span in it.
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SENDER: &str = "00f067aa0ba902b7";

fn traces(endpoint: &str, sample: &str) -> String {
    format!(
        "[traces]\nendpoint = \"http://{endpoint}\"\nsample = {sample}\nservice = \"hooks\"\n\
         headers = {{ authorization = {{ env = \"TEST_SECRET\" }} }}\n"
    )
}

/// All spans that came.
fn spans(collector: &World) -> Vec<Span> {
    let mut spans = Vec::new();
    for came in collector.came() {
        assert_eq!(came.line, "POST /v1/traces");
        assert_eq!(came.header("content-type"), Some("application/x-protobuf"));
        assert_eq!(came.header("authorization"), Some(SECRET));
        spans.extend(otlp::spans(&came.body));
    }
    spans
}

/// The tree below a span, in lines: the name of each, and its children, which are sorted, two spaces in.
fn tree(spans: &[Span], parent: &str, depth: usize) -> Vec<String> {
    let mut below: Vec<_> = spans
        .iter()
        .filter(|span| span.parent == parent)
        .map(|span| {
            let name = format!("{}{}", "  ".repeat(depth), span.name);
            [vec![name], tree(spans, &span.id, depth + 1)].concat()
        })
        .collect();
    below.sort();
    below.concat()
}

/// A house whose plugin asks two servers, of which the mail server fails the first time: it makes an event of
/// the mail, and handles that.
fn signing_up(world: &World, collector: &World, sample: &str) -> House {
    let at = world.address;
    let sections = format!(
        "{}[plugins.user-signup]\nsubscribe = [\"test/user.created\", \"plugin.user-signup/*\"]\n\
         http = [\"https://*\", \"http://{at}\"]\nhttp_addresses = [\"127.0.0.1\"]\nbackoff = \"1ms\"\n\
         config = {{ accounts_url = \"http://{at}/users\", mail_url = \"http://{at}/once/500\", mail_from = \"us@example.com\" }}\n\
         [plugins.user-signup.secrets]\n\
         ACCOUNTS_KEY = {{ env = \"TEST_SECRET\", hosts = [\"http://{at}\"] }}\n\
         MAIL_KEY = {{ env = \"TEST_SECRET\", hosts = [\"http://{at}\"] }}\n",
        traces(&collector.address.to_string(), sample)
    );
    let house = House::new(PROGRAM, &sections);
    house.put_guest("user-signup");
    house
}

/// Sends a new user, with the sender's trace.
async fn sign_up(house: &House, flags: &str) {
    let user = json!({ "type": "user.created", "data": {
        "id": "user_1", "first_name": "Ada", "last_name": null, "primary_email_address_id": null,
        "email_addresses": [{ "id": "idn_1", "email_address": "ada@example.org" }],
    }});
    let sender = house.sender("test");
    let mut request = sender.signed("user.created", "1", user.to_string().as_bytes());
    let parent = format!("00-{TRACE}-{SENDER}-{flags}");
    request.headers.push(("traceparent".to_owned(), parent.into_bytes()));
    assert_eq!(sender.post(request).await.unwrap().status, 202);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_trace_leads_from_the_webhook_to_all_that_came_of_it() {
    let [world, collector] = [World::start("127.0.0.1").await, World::start("127.0.0.1").await];
    let house = signing_up(&world, &collector, "1.0");
    let gateway = house.start().await;
    sign_up(&house, "01").await;
    house.settled().await;
    // What has not been sent by then is sent at the end.
    assert!(gateway.stop().await.success());
    let spans = spans(&collector);
    let lines = tree(&spans, SENDER, 0);
    let expected = "\
receive test
  append
  attempt user-signup
    attempt user-signup
      call
        POST
      settle
    call
      POST
      POST
    settle
  verify";
    assert_eq!(lines.join("\n"), expected, "{spans:#?}");
    assert_eq!(spans.len(), lines.len(), "no span is outside of it");

    let mut named: BTreeMap<&str, Vec<&Span>> = BTreeMap::new();
    for span in &spans {
        assert_eq!((&*span.trace, &*span.service), (TRACE, "hooks"));
        assert!(span.began_ns > 0 && span.began_ns <= span.ended_ns, "{span:#?}");
        named.entry(&span.name).or_default().push(span);
    }
    let receive = named["receive test"][0];
    assert_eq!((receive.kind, &*receive.facts["http.response.status_code"]), (2, "202"));
    let events = house.events().await;
    let webhook = events.iter().find(|shown| shown.event.parent.is_none()).unwrap();
    assert_eq!(receive.facts["hookweir.event"], webhook.event.id.to_string());
    for attempt in &named["attempt user-signup"] {
        assert_eq!((attempt.kind, &*attempt.facts["hookweir.outcome"]), (5, "done"));
        assert_eq!((&*attempt.facts["hookweir.attempt"], &attempt.failure), ("1", &None));
    }
    let mut statuses = Vec::new();
    for request in &named["POST"] {
        let status = request.facts["http.response.status_code"].as_str();
        assert_eq!((request.kind, request.failure.is_some()), (3, status == "500"), "{request:#?}");
        statuses.push(status);
        // The server that was asked goes on below it.
        let carried = format!("00-{TRACE}-{}-01", request.id);
        let came = world.came();
        assert!(came.iter().any(|came| came.header("traceparent") == Some(&carried)), "{came:#?}");
    }
    statuses.sort();
    assert_eq!(statuses, ["200", "200", "500"]);
    let all = format!("{spans:?}");
    for hidden in ["ada@example.org", "/users", SECRET] {
        assert!(!all.contains(hidden), "{hidden} is in a span");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_to_be_recorded_is_not_and_goes_on_all_the_same() {
    for (sample, flags) in [("0.0", "01"), ("1.0", "00")] {
        let [world, collector] = [World::start("127.0.0.1").await, World::start("127.0.0.1").await];
        let house = signing_up(&world, &collector, sample);
        let gateway = house.start().await;
        sign_up(&house, flags).await;
        house.settled().await;
        assert!(gateway.stop().await.success());
        assert_eq!(collector.connections(), 0, "sample {sample}, flags {flags}");
        let sent = format!("00-{TRACE}-{SENDER}-{flags}");
        let came = world.came();
        assert_eq!(came.len(), 3);
        assert!(came.iter().all(|came| came.header("traceparent") == Some(&sent)), "{came:#?}");
    }
}

/// Sends payments, which are taken and done whatever becomes of their traces.
async fn pay(house: &House, ids: [&str; 3]) {
    for id in ids {
        let body = payment(id, "{}");
        let sent = house.sender("stripe").send(PAYMENT.event_type, id, body.as_bytes()).await;
        assert_eq!(sent.unwrap().status, 202);
    }
    let settled = house.settled().await;
    let mut deliveries = settled.iter().flat_map(|shown| &shown.deliveries);
    assert!(deliveries.all(|delivery| delivery.state == DeliveryState::Done), "{settled:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_is_away_hurts_nobody() {
    let address = free_port();
    let house = House::new(PROGRAM, &traces(&address.to_string(), "1.0"));
    house.put_guest("payments");
    let gateway = house.start().await;
    pay(&house, ["a1", "a2", "a3"]).await;
    house.until_log(0, &["WARN", "failed to send traces; trying again"]).await;
    assert!(gateway.stop().await.success());
    house.until_log(0, &["WARN", "spans were dropped"]).await;

    // What was not sent waits for it to come back.
    let log = house.log().len();
    let gateway = house.start().await;
    pay(&house, ["b1", "b2", "b3"]).await;
    house.until_log(log, &["WARN", "failed to send traces; trying again"]).await;
    let collector = World::start_at(address).await;
    house.until_log(log, &["INFO", "the collector takes traces again"]).await;
    // Lines of the log are found by the trace.
    let foreign = payment("foreign", "{}").replace("order_id", "basket_id");
    let sender = house.sender("stripe");
    sender.send(PAYMENT.event_type, "foreign", foreign.as_bytes()).await.unwrap();
    let line = house.until_log(log, &["dead letter", "event_id=", "trace_id=\""]).await;
    assert!(gateway.stop().await.success());
    assert!(!house.log()[log..].contains("spans were dropped"), "{}", house.log());
    let spans = spans(&collector);
    let received: Vec<_> = spans.iter().filter(|span| span.name == "receive stripe").collect();
    assert_eq!(received.len(), 4, "{received:#?}");
    let failed = spans
        .iter()
        .find(|span| span.facts.get("hookweir.outcome").is_some_and(|it| it == "reject"));
    let failed = failed.unwrap();
    assert!(line.contains(&format!("trace_id=\"{}\"", failed.trace)), "{line}");
    // What the plugin said of it stays here.
    assert_eq!(failed.failure.as_deref(), Some("reject"));
}
