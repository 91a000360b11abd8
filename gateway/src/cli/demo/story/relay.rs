//! Publish and subscribe: systems register endpoints by REST, and get what happens as webhooks of one's own,
//! whose signatures they check.

use bytes::Bytes;
use hookweir_event::{Clock, EventId, SourceName};
use hookweir_verify::{Incoming, Scheme, Secret};
use http::HeaderMap;
use reqwest::Method;
use serde_json::{Value, json};

use super::{Chapter, reaching};
use crate::cli::demo::{
    ending::{Expected, done, done_after},
    outside::Outside,
    page::{Page, same, so},
    sender::Webhook,
    stage::{Stage, plain},
    stand_in::{Came, StandIn},
};

const ENDPOINTS: &str = "relay/endpoints";
/// How long the bookkeeping wants to be left alone, in seconds.
const LEFT_ALONE: u64 = 1;

/// Two endpoints, one of which is busy at first.
pub(super) struct Relay;

/// An endpoint, as whoever registered it knows it.
struct Endpoint {
    id: String,
    secret: String,
}

impl Chapter for Relay {
    const TITLE: &'static str = "Webhooks of one's own: endpoints register by REST, each is delivered to, and retried, alone";
    const PLUGINS: &'static [&'static str] = &["relay"];

    fn config(outside: &Outside) -> String {
        let origins = [outside.fulfilment.origin(), outside.bookkeeping.origin()];
        let reaching = reaching("https://hooks.example.com", &origins);
        format!(
            r#"
[sources.erp]         # what is published
path = "/webhooks/erp"
scheme = {{ signature = "header:x-signature", algorithm = "hmac-sha256", encoding = "hex", signed = "{{body}}", type = "header:x-webhook-type", id = "content" }}
secrets = [{{ env = "ERP_SECRET" }}]

[plugins.relay]
api = {{ token = {{ env = "RELAY_API_TOKEN" }} }}
{reaching}breaker = "off"       # a retry says something of one endpoint
backoff = "100ms"
"#
        )
    }

    async fn play(stage: &mut Stage, page: &mut Page) -> Result<(), String> {
        let Outside { fulfilment, bookkeeping, .. } = &stage.outside;
        let barred = stage.call(Method::GET, ENDPOINTS, "a guess", None).await?.0;
        let shipping = register(stage, fulfilment, "order.*").await?;
        let books = register(stage, bookkeeping, "order.paid").await?;
        page.tell(format_args!(
            "Two registered with POST /api/{ENDPOINTS}, each given a secret: {fulfilment} ({}) for order.*, \
             {bookkeeping} ({}) for order.paid.",
            shipping.id, books.id
        ));
        bookkeeping.be_busy_once(LEFT_ALONE);
        let paid = publish(stage, page, "order.paid", 2).await?;
        retried(stage, page, paid).await?;
        publish(stage, page, "order.packed", 1).await?;
        stage.settle(page).await?;

        page.tell(format_args!("The second is {fulfilment}'s alone, which said 200."));
        let one = format!("{ENDPOINTS}/{}", books.id);
        let (status, shown) = stage.call(Method::GET, &one, &token(stage), None).await?;
        page.tell(format_args!(
            "GET /api/{one} said {status}: {}, last status {}.",
            plain(&shown["state"]),
            shown["last_status"]
        ));
        page.check("who has not the token registers nothing", same(barred, 401));
        let signed = signed(&fulfilment.came(), &shipping, &books)
            .and_then(|()| signed(&bookkeeping.came(), &books, &shipping));
        page.check(
            "each receiver checked the signature (Standard Webhooks): its own secret fits, the other's does not",
            signed,
        );
        let mut got: Vec<_> = fulfilment.came().iter().map(taken).collect();
        got.sort();
        let wanted = ["order.packed 200", "order.paid 200"].map(str::to_owned);
        page.check("the one that was well was sent each event once", same(&got[..], &wanted));
        page.check("the one that failed was sent the same again, not before Retry-After", {
            again(&bookkeeping.came())
        });
        Ok(())
    }
}

/// Registers a stand-in for types. From then on it takes only what is signed with the secret that it is given.
async fn register(stage: &Stage, at: &StandIn, types: &str) -> Result<Endpoint, String> {
    let body = json!({ "url": format!("{}/hooks", at.origin()), "types": [types] });
    let (status, made) = stage.call(Method::POST, ENDPOINTS, &token(stage), Some(&body)).await?;
    let (Some(id), Some(secret), 201) = (made["id"].as_str(), made["secret"].as_str(), status)
    else {
        return Err(format!("{at} could not register: {status} {made}"));
    };
    let endpoint = Endpoint { id: id.to_owned(), secret: secret.to_owned() };
    at.examine(examiner(&endpoint.secret)?);
    Ok(endpoint)
}

fn token(stage: &Stage) -> String {
    stage.house.secret("RELAY_API_TOKEN").to_owned()
}

/// An event that so many endpoints want.
async fn publish(
    stage: &Stage,
    page: &mut Page,
    event_type: &'static str,
    endpoints: usize,
) -> Result<EventId, String> {
    let order = json!({ "order": "4711", "total": 1999, "what": event_type });
    let answer = stage.sender.send(&Webhook::new("erp", event_type, "", &order)).await?;
    page.tell(format_args!("The ERP sent {event_type}, signed: {answer}."));
    let deliveries = vec![("relay.deliver", vec![done("relay")]); endpoints];
    let id = page.expect("what is published", &answer, vec![done("relay")], deliveries)?;
    stage.settled().await?;
    Ok(id)
}

/// Tells what became of the two deliveries of which one failed at first.
async fn retried(stage: &Stage, page: &mut Page, published: EventId) -> Result<(), String> {
    let Outside { fulfilment, bookkeeping, .. } = &stage.outside;
    for delivery in stage.outputs(published).await? {
        let outputs = stage.outputs(delivery.event.id).await?;
        for retry in outputs.iter().filter(|it| it.event.event_type.as_str() == "relay.retry") {
            let (event, what) = (retry.event.id, "the retry of a delivery");
            let deliveries = vec![done_after("relay", 2..=3)];
            page.expected.push(Expected { event, what, deliveries, outputs: vec![] });
        }
    }
    let (well, failing) = (fulfilment.came(), bookkeeping.came());
    let ([well], [first, second]) = (&well[..], &failing[..]) else {
        let counts = (well.len(), failing.len());
        return Err(format!("{fulfilment} and {bookkeeping} were sent {counts:?}, not (1, 2)"));
    };
    page.tell(format_args!(
        "The plugin delivers to each by itself: {fulfilment} said {}, {bookkeeping} {}, Retry-After: {LEFT_ALONE}; \
         {} ms later {bookkeeping} was sent it again, and said {}.",
        well.answered,
        first.answered,
        second.at.since(first.at).as_millis(),
        second.answered
    ));
    Ok(())
}

/// Checks a request as any receiver of Standard Webhooks does that has this secret.
fn examiner(
    secret: &str,
) -> Result<impl Fn(&HeaderMap, &Bytes) -> Result<(), String> + Send + Sync + 'static, String> {
    let scheme = Scheme::preset("standard-webhooks").ok_or("no such preset")?;
    let key = scheme.secret(secret).map_err(|error| error.to_string())?;
    let source = "receiver".parse::<SourceName>().map_err(|error| error.to_string())?;
    let (secrets, clock) = (vec![Secret::new(key)], Clock::system());
    Ok(move |headers: &HeaderMap, body: &Bytes| {
        let headers = headers.iter().map(|(name, it)| (name.to_string(), it.as_bytes().to_vec()));
        let request = Incoming {
            method: "POST".into(),
            path: "/hooks".into(),
            headers: headers.collect(),
            body: body.clone(),
            ..Incoming::default()
        };
        let verified = scheme.verify(&source, &secrets, request, clock.now());
        verified.map(drop).map_err(|rejection| rejection.to_string())
    })
}

/// Whether all that came is signed with the secret of its endpoint, and not with the other's.
fn signed(came: &[Came], own: &Endpoint, other: &Endpoint) -> Result<(), String> {
    let (own, other) = (examiner(&own.secret)?, examiner(&other.secret)?);
    for Came { headers, body, fault, .. } in came {
        fault.clone().map_or(Ok(()), Err)?;
        own(headers, body)?;
        so(other(headers, body).is_err(), || "another endpoint's secret fits as well".to_owned())?;
    }
    Ok(())
}

/// The type of what was sent, and what was answered.
fn taken(came: &Came) -> String {
    format!("{} {}", plain(&came.json()["type"]), came.answered)
}

/// Whether the second request is the first one once more, signed anew, and came when it was let.
fn again(came: &[Came]) -> Result<(), String> {
    let [first, second] = came else { return Err(format!("it was sent {} requests", came.len())) };
    same([taken(first), taken(second)], ["order.paid 503", "order.paid 200"].map(str::to_owned))?;
    let id = |came: &Came| Value::from(came.header("webhook-id"));
    same(id(second), id(first))?;
    so(second.body == first.body, || "its body is another".to_owned())?;
    let time = |came: &Came| came.header("webhook-timestamp").to_owned();
    so(time(first) != time(second), || "it was not signed anew".to_owned())?;
    let waited = second.at.since(first.at).as_millis();
    so(waited >= u128::from(LEFT_ALONE) * 1000, || format!("it came after {waited} ms"))
}
