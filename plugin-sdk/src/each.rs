//! Requests of one event that are sent at the same time and retried each on its own.
//!
//! An attempt that fails leaves nothing in the state, so a handler can't remember there what it has done
//! already. It ends well instead, and what is left to do becomes events of its own.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

use crate::{Event, Failure, Output, Outputs, clock, http};

const KEY: &str = "idempotency-key";
/// What the gateway takes of one attempt, unless its operator says otherwise: outputs, and their bytes.
const OUTPUTS_MAX: usize = 100;
const OUTPUT_BYTES_MAX: usize = 4 << 20;
/// Bytes of an event type.
const TYPE_MAX: usize = 256;

/// Sends all at the same time; of each that fails the request comes back as an event of its own.
///
/// Each request has a name, which is the type of that event. The plugin subscribes to it as
/// `plugin.NAME/TYPE`, `NAME` being its own, and hands it to [`send_again`]: so it is tried again by itself, with
/// attempts, waits and a dead letter of its own, and nothing that went well is repeated. What is sent has
/// an `Idempotency-Key` of the event's id and the request's name, on each attempt and in the event of
/// its own alike, unless the plugin set one.
///
/// The request waits in the gateway's store, as it was made: with the URL of then, which must not be a secret,
/// and with the names of secrets in its headers, never with their values. A config that replaces the plugin's
/// subscriptions has to have `plugin.NAME/…` among them: what nobody subscribes to is kept, and not sent.
///
/// ```
/// use hookweir_sdk::prelude::*;
///
/// #[plugin(
///     subscribe = ["shop/order.paid", "plugin.told/*"], // this one is `told.wasm`
///     http = ["https://crm.example.com", "https://bi.example.com"]
/// )]
/// fn handle(event: Event) -> Result<Outputs, Failure> {
///     if event.source() != "shop" {
///         return http::send_again(&event).map(|_| outputs![]);
///     }
///     let crm = http::post("https://crm.example.com/orders").body(event.body());
///     let bi = http::post("https://bi.example.com/events").body(event.body());
///     http::send_each(&event, [("crm", crm), ("bi", bi)])
/// }
///
/// # use hookweir_sdk::testing::{Canned, Host};
/// let host = Host::new()
///     .http("POST https://crm.example.com/orders", Canned::new(201))
///     .http("POST https://bi.example.com/events", Canned::new(503))
///     .http("POST https://bi.example.com/events", Canned::new(202));
/// let paid = Event::builder("shop", "order.paid").body("A1").build();
/// let left = host.run(handle, paid).expect("one is left, which is no failure");
/// assert_eq!(left.iter().map(Output::event_type).collect::<Vec<_>>(), ["bi"]);
///
/// // The gateway routes it back.
/// let again = Event::builder("plugin.told", "bi").body(left[0].body()).build();
/// assert!(host.run(handle, again).expect("sent").is_empty());
/// assert_eq!(host.requests().len(), 3, "the CRM was told once");
/// ```
///
/// # Errors
/// A reject, before anything is sent, if what could be left would be refused by the gateway: a name that is no
/// event type, more than 100 requests, or requests of more than 4 MiB together, as JSON, in which bytes that
/// are no text take a third more.
pub fn send_each<N: Into<String>>(
    event: &Event,
    requests: impl IntoIterator<Item = (N, http::Request)>,
) -> Result<Outputs, Failure> {
    let named = requests.into_iter().map(|(name, request)| {
        let name: String = name.into();
        let has_key = request.headers.iter().any(|(header, _)| header.eq_ignore_ascii_case(KEY));
        let request = match has_key {
            true => request,
            false => request.header(KEY, format!("{}/{name}", event.id())),
        };
        (name, Left::from(request))
    });
    let named: Vec<_> = named.collect();
    check(&named)?;
    let requests: Result<Vec<_>, _> =
        named.iter().map(|(_, left)| left.clone().into_request()).collect();
    let answers = http::send_all(requests?);
    let mut outputs = Outputs::default();
    for ((name, mut left), answer) in named.into_iter().zip(answers) {
        let Err(failure) = answer.map_err(Failure::from).and_then(http::Response::ok_or_retry)
        else {
            continue;
        };
        crate::log::warn!(request = name, "{}", failure.message());
        let wait = failure.retry_after().map(millis);
        left.not_before_ms = wait.map_or(0, |wait| clock::now_ms().saturating_add(wait));
        outputs.push(Output::json(name, &left)?);
    }
    Ok(outputs)
}

/// That all of them could be left: an attempt whose outputs are refused fails after they were sent.
fn check(named: &[(String, Left)]) -> Result<(), Failure> {
    if named.len() > OUTPUTS_MAX {
        let why = format!("{} requests at once, more than {OUTPUTS_MAX}", named.len());
        return Err(Failure::reject(why));
    }
    let mut bytes = 0;
    for (name, left) in named {
        let is_clean = !name.chars().any(|c| c.is_whitespace() || c.is_control());
        if !is_clean || !(1..=TYPE_MAX).contains(&name.len()) {
            return Err(Failure::reject(
                "a request's name is an event type: 1 to 256 bytes without white space or control characters",
            ));
        }
        let output = Output::json(name.as_str(), left)?;
        let headers: usize = output.headers().map(|(name, value)| name.len() + value.len()).sum();
        bytes += name.len() + headers + output.body().len();
    }
    if bytes > OUTPUT_BYTES_MAX {
        let why =
            format!("the requests have {bytes} bytes as events, more than {OUTPUT_BYTES_MAX}");
        return Err(Failure::reject(why));
    }
    Ok(())
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Sends what [`send_each`] left.
///
/// ```
/// use hookweir_sdk::prelude::*;
///
/// fn handle(event: Event) -> Result<Outputs, Failure> {
///     if event.source().starts_with("plugin.") {
///         let answer = http::send_again(&event)?;                  // fails like any other request
///         log::info!(request = event.event_type(), "{} at last", answer.status());
///         return Ok(outputs![]);
///     }
///     http::send_each(&event, [("crm", http::post("https://crm.example.com/").body(event.body()))])
/// }
///
/// # use hookweir_sdk::testing::{Canned, Host};
/// # let host = Host::new()
/// #     .http("POST https://crm.example.com/", Canned::new(503))
/// #     .http("POST https://crm.example.com/", Canned::new(200));
/// # let left = host.run(handle, Event::builder("s", "t").build()).expect("one is left");
/// # let again = Event::builder("plugin.told", "crm").body(left[0].body()).build();
/// # host.run(handle, again).expect("sent");
/// # assert_eq!(host.logs().last().expect("a line").message, "200 at last");
/// ```
///
/// # Errors
/// A retry for what may pass, not before `Retry-After`, and a reject for the rest, as
/// [`Response::ok_or_retry`](http::Response::ok_or_retry) and [`HttpError`](http::HttpError) say. A reject
/// as well if the event is no plugin's, or holds no request.
pub fn send_again(event: &Event) -> Result<http::Response, Failure> {
    // A sender outside must not choose where requests go.
    if !event.source().starts_with("plugin.") {
        return Err(Failure::reject("only an event of a plugin holds a request"));
    }
    let left: Left = event.json()?;
    // The event of its own is tried at once, and the other side may have asked to be left alone.
    let early = left.not_before_ms.saturating_sub(clock::now_ms());
    if early > 0 {
        let failure = Failure::retry("the other side asked to be left alone for a while");
        return Err(failure.after(Duration::from_millis(early)));
    }
    left.into_request()?.send()?.ok_or_retry()
}

/// A request that is left to send.
#[derive(Clone, Serialize, Deserialize)]
struct Left {
    /// Unix time; 0 for at once. As long as nobody has said, the one that takes the most room.
    not_before_ms: u64,
    method: String,
    url: String,
    headers: Vec<(String, Bytes)>,
    secret_headers: Vec<(String, String)>,
    body: Bytes,
    timeout_ms: Option<u64>,
}

/// So that an operator can read what is text.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Bytes {
    Text(String),
    Base64(String),
}

impl From<http::Request> for Left {
    fn from(request: http::Request) -> Self {
        let headers = request.headers.into_iter().map(|(name, value)| (name, Bytes::from(value)));
        Self {
            not_before_ms: u64::MAX,
            method: request.method,
            url: request.url,
            headers: headers.collect(),
            secret_headers: request.secret_headers,
            body: request.body.into(),
            timeout_ms: request.timeout.map(millis),
        }
    }
}

impl Left {
    fn into_request(self) -> Result<http::Request, Failure> {
        let header = |(name, value): (String, Bytes)| Ok((name, value.into_vec()?));
        let headers: Result<_, Failure> = self.headers.into_iter().map(header).collect();
        Ok(http::Request {
            method: self.method,
            url: self.url,
            headers: headers?,
            secret_headers: self.secret_headers,
            body: self.body.into_vec()?,
            timeout: self.timeout_ms.map(Duration::from_millis),
        })
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        let packed = |e: std::string::FromUtf8Error| Self::Base64(STANDARD.encode(e.as_bytes()));
        String::from_utf8(bytes).map_or_else(packed, Self::Text)
    }
}

impl Bytes {
    fn into_vec(self) -> Result<Vec<u8>, Failure> {
        match self {
            Self::Text(text) => Ok(text.into_bytes()),
            Self::Base64(packed) => {
                let unpacked = STANDARD.decode(packed);
                unpacked.map_err(|_| Failure::reject("malformed body: it is no base64"))
            }
        }
    }
}

#[cfg(all(test, not(target_family = "wasm")))]
mod tests {
    #![expect(clippy::needless_pass_by_value, reason = "a handler's type")]

    use super::*;
    use crate::testing::{Canned, Host};

    const URL: &str = "https://a.test/";

    fn begin(event: Event) -> Result<Outputs, Failure> {
        let request = http::post(URL).body(vec![0xff, 0]).header("x-raw", [0xfe]);
        let request = request.bearer("KEY").timeout(Duration::from_secs(3));
        http::send_each(&event, [("first", request), ("second", http::put(URL).header(KEY, "own"))])
    }

    fn again(event: Event) -> Result<Outputs, Failure> {
        send_again(&event).map(|_| Outputs::default())
    }

    fn came_back(output: &Output) -> Event {
        Event::builder("plugin.p", output.event_type()).id("2").body(output.body()).build()
    }

    #[test]
    fn what_is_left_is_the_same_request_with_the_same_key() {
        let host = Host::new().now_ms(1_000);
        let host = host.http("POST https://a.test/", Canned::timeout());
        let host = host.http("POST https://a.test/", Canned::new(200));
        let host = host.http("PUT https://a.test/", Canned::new(404));
        let left = host.run(begin, Event::builder("s", "t").id("1").build()).expect("handled");
        assert_eq!(left.iter().map(Output::event_type).collect::<Vec<_>>(), ["first", "second"]);
        host.run(again, came_back(&left[0])).expect("answered with 200");
        let sent = host.requests();
        assert_eq!(sent[0], sent[2], "to the last byte");
        assert_eq!((sent[2].header(KEY), sent[1].header(KEY)), (Some("1/first"), Some("own")));
        // What can't get better is a dead letter of its own.
        let failure = host.run(again, came_back(&left[1])).expect_err("404");
        assert_eq!(failure, Failure::reject("answered with 404"));
    }

    #[test]
    fn a_wait_that_was_asked_for_is_kept() {
        let busy = Canned::new(429).header("retry-after", "7");
        let host = Host::new().now_ms(1_000).http("POST https://a.test/", busy);
        let host = host.http("PUT https://a.test/", Canned::new(200));
        let left = host.run(begin, Event::builder("s", "t").build()).expect("handled");
        let host = host.now_ms(2_000);
        let early = host.run(again, came_back(&left[0])).expect_err("too early");
        assert_eq!(early.retry_after(), Some(Duration::from_secs(6)));
        assert_eq!(host.requests().len(), 2, "it was left alone");
        let host = host.now_ms(8_000);
        let failure = host.run(again, came_back(&left[0])).expect_err("it is still busy");
        assert_eq!((failure.message(), host.requests().len()), ("answered with 429", 3));
    }

    #[test]
    fn nothing_is_sent_if_what_could_be_left_would_be_refused() {
        fn send(event: Event) -> Result<Outputs, Failure> {
            let lines: Vec<_> = event.text().lines().map(str::to_owned).collect();
            let [name, times, bytes] = &lines[..] else { panic!("three lines") };
            let body = vec![0xff; bytes.parse().expect("a number")];
            let request = http::post(URL).body(body);
            let times = times.parse().expect("a number");
            http::send_each(&event, std::iter::repeat_n((name.as_str(), request), times))
        }
        let run = |name: &str, times: usize, bytes: usize| {
            let host = Host::new().http("POST https://a.test/", Canned::new(503));
            let event = Event::builder("s", "t").body(format!("{name}\n{times}\n{bytes}"));
            let ran = host.run(send, event.build());
            (ran.map(|left| left.len()), host.requests().len())
        };
        // As base64 they take a third more: 4 MiB are reached by 3 MiB.
        let fits = 3 << 20;
        assert_eq!(run("a", 1, fits - 1_000), (Ok(1), 1));
        assert_eq!(run(&"n".repeat(256), 100, 1), (Ok(100), 100));
        for (name, times, bytes, why) in [
            ("a", 1, fits, "bytes as events"),
            ("a", 101, 1, "101 requests"),
            ("a b", 1, 1, "name"),
            ("", 1, 1, "name"),
            (&"n".repeat(257), 1, 1, "name"),
        ] {
            let (ran, sent) = run(name, times, bytes);
            let failure = ran.expect_err(why);
            assert!(!failure.is_retry() && failure.message().contains(why), "{failure}");
            assert_eq!(sent, 0, "{why}");
        }
    }

    #[test]
    fn nobody_outside_chooses_where_requests_go() {
        let host = Host::new().http("POST https://a.test/", Canned::timeout());
        let host = host.http("PUT https://a.test/", Canned::new(200));
        let left = host.run(begin, Event::builder("s", "t").build()).expect("handled");
        let forged = Event::builder("shop", "first").body(left[0].body()).build();
        let failure = host.run(again, forged).expect_err("not a plugin's");
        assert_eq!((failure.is_retry(), host.requests().len()), (false, 2));
    }
}
