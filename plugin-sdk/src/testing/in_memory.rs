//! The in-memory host. A handler calls free functions (`config::get`), so the host that answers
//! them is kept in the thread while it runs; tests in other threads do not see it.

pub(crate) mod imports;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::network::{Canned, Network, Sent};
use crate::{Event, Failure, Outputs, Request, Response, Verified, export, log::Level};

thread_local! {
    static CURRENT: RefCell<Option<Rc<Inner>>> = const { RefCell::new(None) };
}

/// A host without a gateway: config, state and time as the test sets them, chance from a seed, logs kept.
///
/// ```
/// use hookweir_sdk::prelude::*;
/// use hookweir_sdk::testing::{Canned, Host};
///
/// fn handle(event: Event) -> Result<Outputs, Failure> {
///     let url = config::get("crm").or_retry()?;
///     let nth = state::increment("told", 1)?;
///     http::post(url).bearer("KEY").body(format!("{nth}: {}", event.text())).send()?.ok_or_retry()?;
///     Ok(outputs![])
/// }
///
/// let host = Host::new()
///     .config("crm", "https://crm.example.com/")
///     .state("told", "41")
///     .http("POST https://crm.example.com/", Canned::new(503))
///     .http("POST https://crm.example.com/", Canned::new(200));
/// let event = || Event::builder("shop", "order").body("A1").build();
/// assert!(host.run(handle, event()).is_err(), "503: nothing that this attempt wrote is kept");
/// assert!(host.run(handle, event()).is_ok());
/// assert_eq!(host.requests().last().expect("sent").text(), "42: A1");
/// ```
#[derive(Debug, Default)]
pub struct Host(Rc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    config: RefCell<Map<String, Value>>,
    now_ms: Cell<u64>,
    monotonic_ns: Cell<u64>,
    random: Cell<u64>,
    logs: RefCell<Vec<LogLine>>,
    state: RefCell<State>,
    secrets: RefCell<BTreeMap<String, String>>,
    network: RefCell<Network>,
    /// While a verifier runs.
    stateless: Cell<bool>,
}

/// Values, and from when on each counts as absent.
type State = BTreeMap<String, (Vec<u8>, Option<u64>)>;

/// One line that the handler logged.
///
/// ```
/// use hookweir_sdk::{log::Level, prelude::*};
/// use hookweir_sdk::testing::Host;
///
/// fn handle(_: Event) -> Result<Outputs, Failure> {
///     log::warn!(order = "A1", "it is late");
///     Ok(outputs![])
/// }
///
/// let host = Host::new();
/// host.run(handle, Event::builder("shop", "order").build()).expect("handled");
/// let line = &host.logs()[0];
/// assert_eq!((line.level, line.message.as_str()), (Level::Warn, "it is late"));
/// assert_eq!(line.fields, [("order".to_owned(), "A1".to_owned())]);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// How loud.
    pub level: Level,
    /// The text.
    pub message: String,
    /// The fields, in the order written.
    pub fields: Vec<(String, String)>,
}

impl Host {
    /// A host with no config, at time 0, with a fixed seed.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    /// use hookweir_sdk::testing::Host;
    ///
    /// fn handle(_: Event) -> Result<Outputs, Failure> {
    ///     assert_eq!((config::get("limit"), clock::now_ms(), state::get("seen")?), (None, 0, None));
    ///     Ok(outputs![])
    /// }
    /// Host::new().run(handle, Event::builder("shop", "order").build()).expect("handled");
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// One value of the plugin's config; strings, numbers, `json!` and all that becomes JSON.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    /// use hookweir_sdk::testing::Host;
    ///
    /// fn handle(_: Event) -> Result<Outputs, Failure> {
    ///     Ok(outputs![Output::new("limit", config::get("limit").or_retry()?)])
    /// }
    /// let host = Host::new().config("limit", 5).config("rooms", serde_json::json!(["a", "b"]));
    /// assert_eq!(host.run(handle, Event::builder("s", "t").build()).expect("handled")[0].body(), b"5");
    /// ```
    pub fn config(self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.0.config.borrow_mut().insert(key.into(), value.into());
        self
    }

    /// The time that `clock::now_ms` tells: Unix time in milliseconds. It stands still.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    /// use hookweir_sdk::testing::Host;
    ///
    /// fn handle(_: Event) -> Result<Outputs, Failure> {
    ///     Ok(outputs![Output::new("now", clock::now_ms().to_string())])
    /// }
    /// let event = || Event::builder("s", "t").build();
    /// let host = Host::new().now_ms(1_000);
    /// assert_eq!(host.run(handle, event()).expect("handled")[0].body(), b"1000");
    /// let host = host.now_ms(61_000); // a minute later
    /// assert_eq!(host.run(handle, event()).expect("handled")[0].body(), b"61000");
    /// ```
    pub fn now_ms(self, millis: u64) -> Self {
        self.0.now_ms.set(millis);
        self
    }

    /// An entry of the plugin's state, that lasts.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    /// use hookweir_sdk::testing::Host;
    ///
    /// fn handle(event: Event) -> Result<Outputs, Failure> {
    ///     state::get("open")?.ok_or("closed").or_retry()?;
    ///     Ok(outputs![Output::new("taken", event.body())])
    /// }
    /// let event = || Event::builder("shop", "order").build();
    /// assert!(Host::new().run(handle, event()).is_err());
    /// assert!(Host::new().state("open", "yes").run(handle, event()).is_ok());
    /// ```
    pub fn state(self, key: impl Into<String>, value: impl AsRef<[u8]>) -> Self {
        self.keep(&key.into(), value.as_ref().to_vec());
        self
    }

    /// A secret that the plugin may read.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    /// use hookweir_sdk::testing::Host;
    ///
    /// fn handle(_: Event) -> Result<Outputs, Failure> {
    ///     Ok(outputs![Output::new("length", secrets::get("KEY")?.len().to_string())])
    /// }
    /// let event = || Event::builder("s", "t").build();
    /// assert_eq!(Host::new().secret("KEY", "1234").run(handle, event()).expect("handled")[0].body(), b"4");
    /// assert!(Host::new().run(handle, event()).is_err_and(|failure| failure.is_retry()), "it is not granted");
    /// ```
    pub fn secret(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.secrets.borrow_mut().insert(name.into(), value.into());
        self
    }

    /// What a request to `line` (method and URL: `POST https://api.example.com/v1`) is answered with.
    /// Said again for one line, the answers are given in turn, and the last one stays. A request
    /// without an answer is denied.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    /// use hookweir_sdk::testing::{Canned, Host};
    ///
    /// fn handle(_: Event) -> Result<Outputs, Failure> {
    ///     let count = http::get("https://api.example.com/count").send()?.ok_or_retry()?;
    ///     Ok(outputs![Output::new("count", count.body())])
    /// }
    /// let line = "GET https://api.example.com/count";
    /// let host = Host::new().http(line, Canned::timeout()).http(line, Canned::new(200).body("7"));
    /// assert!(host.run(handle, Event::builder("s", "t").build()).is_err());
    /// for _ in 0..2 {
    ///     assert!(host.run(handle, Event::builder("s", "t").build()).is_ok(), "the last answer stays");
    /// }
    /// ```
    pub fn http(self, line: impl Into<String>, answer: Canned) -> Self {
        self.can(&line.into(), answer);
        self
    }

    pub(super) fn keep(&self, key: &str, value: Vec<u8>) {
        self.0.state.borrow_mut().insert(key.to_owned(), (value, None));
    }

    pub(super) fn can(&self, line: &str, answer: Canned) {
        self.0.network.borrow_mut().can(line.to_owned(), answer);
    }

    /// Another seed for `random`; the same one gives the same numbers.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    /// use hookweir_sdk::testing::Host;
    ///
    /// fn handle(_: Event) -> Result<Outputs, Failure> {
    ///     Ok(outputs![Output::new("drawn", random::bytes(4))])
    /// }
    /// let drawn = |seed: u64| {
    ///     let outputs = Host::new().seed(seed).run(handle, Event::builder("s", "t").build());
    ///     outputs.expect("handled")[0].body().to_vec()
    /// };
    /// assert!(drawn(1) == drawn(1) && drawn(1) != drawn(2));
    /// ```
    pub fn seed(self, seed: u64) -> Self {
        self.0.random.set(seed);
        self
    }

    /// Runs a handler on an event, as the gateway would. May be called again, for the next attempt.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    /// use hookweir_sdk::testing::Host;
    ///
    /// fn handle(event: Event) -> Result<Outputs, Failure> {
    ///     state::increment("seen", 1)?;
    ///     if event.attempt() == 1 { Err(Failure::retry("not yet")) } else { Ok(outputs![]) }
    /// }
    ///
    /// let host = Host::new();
    /// for attempt in 1..=2 {
    ///     let _ = host.run(handle, Event::builder("shop", "order").attempt(attempt).build());
    /// }
    /// assert_eq!(host.stored("seen").as_deref(), Some(&b"1"[..]), "the first attempt failed");
    /// ```
    ///
    /// # Errors
    /// What the handler returned.
    ///
    /// # Panics
    /// If the handler does, or if it runs a host itself.
    pub fn run<H>(&self, handle: H, event: Event) -> Result<Outputs, Failure>
    where
        H: FnOnce(Event) -> Result<Outputs, Failure>,
    {
        self.attempt(|| handle(event))
    }

    /// Runs an api on a request, as the gateway would.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    /// use hookweir_sdk::testing::Host;
    ///
    /// fn respond(request: Request) -> Result<Response, Failure> {
    ///     match request.path() {
    ///         "/count" => Response::json(&state::json::<u64>("count")?.unwrap_or(0)),
    ///         _ => Ok(Response::new(404)),
    ///     }
    /// }
    ///
    /// let host = Host::new().state("count", "7");
    /// let answer = host.respond(respond, Request::builder("GET", "/count").build()).expect("answered");
    /// assert_eq!(answer.parse::<u64>().expect("a number"), 7);
    /// ```
    ///
    /// # Errors
    /// What the api returned.
    ///
    /// # Panics
    /// If the api does, or if it runs a host itself.
    pub fn respond<A>(&self, respond: A, request: Request) -> Result<Response, Failure>
    where
        A: FnOnce(Request) -> Result<Response, Failure>,
    {
        self.attempt(|| respond(request))
    }

    /// Runs a verifier on a request, as the gateway would: it has no state.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    /// use hookweir_sdk::testing::Host;
    ///
    /// fn verify(request: Request) -> Result<Verified, String> {
    ///     match request.header("x-key") {
    ///         Some(_) => Ok(Verified::new("order.paid")),
    ///         None => Err("no key".to_owned()),
    ///     }
    /// }
    ///
    /// let request = Request::builder("POST", "/webhooks/erp").secret("s3cret").build();
    /// assert_eq!(Host::new().verify(verify, request), Err("no key".to_owned()));
    /// ```
    ///
    /// # Errors
    /// Why it refused.
    ///
    /// # Panics
    /// If the verifier does, or if it runs a host itself.
    pub fn verify<V>(&self, verify: V, request: Request) -> Result<Verified, String>
    where
        V: FnOnce(Request) -> Result<Verified, String>,
    {
        let _running = Running::enter(&self.0);
        self.0.stateless.set(true);
        verify(request)
    }

    /// Runs an init on this host's config, as the gateway would.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    /// use hookweir_sdk::testing::Host;
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Config {
    ///     limit: u32,
    /// }
    ///
    /// fn init(config: Config) -> Result<(), String> {
    ///     if config.limit > 0 { Ok(()) } else { Err("a limit of nothing".to_owned()) }
    /// }
    ///
    /// assert_eq!(Host::new().config("limit", 5).init(init), Ok(()));
    /// assert!(Host::new().config("limit", "five").init(init).is_err());
    /// ```
    ///
    /// # Errors
    /// What does not fit its type, or what it returned.
    ///
    /// # Panics
    /// If the init does, or if it runs a host itself.
    pub fn init<T: DeserializeOwned>(
        &self,
        init: fn(T) -> Result<(), String>,
    ) -> Result<(), String> {
        let config = Value::Object(self.0.config.borrow().clone()).to_string();
        // Of an init nothing lasts.
        let before = self.0.state.borrow().clone();
        let _running = Running::enter(&self.0);
        let result = export::init(init, &config);
        *self.0.state.borrow_mut() = before;
        result
    }

    fn attempt<T>(&self, call: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
        let before = self.0.state.borrow().clone();
        let _running = Running::enter(&self.0);
        let result = call();
        if result.is_err() {
            // Nothing that a failed attempt wrote is kept.
            *self.0.state.borrow_mut() = before;
        }
        result
    }

    /// What is in the plugin's state under a key.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    /// use hookweir_sdk::testing::Host;
    ///
    /// fn handle(event: Event) -> Result<Outputs, Failure> {
    ///     state::set("last", event.body())?;
    ///     Ok(outputs![])
    /// }
    ///
    /// let host = Host::new();
    /// host.run(handle, Event::builder("shop", "order").body("A1").build()).expect("handled");
    /// assert_eq!(host.stored("last").as_deref(), Some(&b"A1"[..]));
    /// assert_eq!(host.stored("first"), None);
    /// ```
    pub fn stored(&self, key: &str) -> Option<Vec<u8>> {
        self.0.seen(key).map(|(value, _)| value)
    }

    /// All requests sent so far.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    /// use hookweir_sdk::testing::{Canned, Host};
    ///
    /// fn handle(event: Event) -> Result<Outputs, Failure> {
    ///     http::post("https://crm.example.com/").body(event.body()).send()?.ok_or_retry()?;
    ///     Ok(outputs![])
    /// }
    ///
    /// let host = Host::new().http("POST https://crm.example.com/", Canned::new(200));
    /// host.run(handle, Event::builder("shop", "order").body("A1").build()).expect("handled");
    /// assert_eq!(host.requests()[0].text(), "A1");
    /// ```
    pub fn requests(&self) -> Vec<Sent> {
        self.0.network.borrow().sent()
    }

    /// All lines logged so far.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    /// use hookweir_sdk::testing::Host;
    ///
    /// fn handle(_: Event) -> Result<Outputs, Failure> {
    ///     log::info!("begun");
    ///     log::info!("ended");
    ///     Ok(outputs![])
    /// }
    ///
    /// let host = Host::new();
    /// host.run(handle, Event::builder("shop", "order").build()).expect("handled");
    /// assert!(host.logs().iter().any(|line| line.message == "ended"));
    /// ```
    pub fn logs(&self) -> Vec<LogLine> {
        self.0.logs.borrow().clone()
    }
}

impl Inner {
    fn seen(&self, key: &str) -> Option<(Vec<u8>, Option<u64>)> {
        let there =
            |(_, until): &(_, Option<u64>)| until.is_none_or(|until| until > self.now_ms.get());
        self.state.borrow().get(key).cloned().filter(there)
    }

    /// With the gateway's own limits on one entry.
    fn keep(&self, key: &str, value: &[u8], ttl_ms: Option<u64>) -> Result<(), String> {
        match (key.len(), value.len()) {
            (1..=512, ..=65_536) => {}
            (1..=512, len) => {
                return Err(format!("the value has {len} bytes, at most 65536 are kept"));
            }
            (len, _) => return Err(format!("the key has {len} bytes, 1 to 512 are kept")),
        }
        let until = ttl_ms.map(|ttl| self.now_ms.get().saturating_add(ttl));
        self.state.borrow_mut().insert(key.to_owned(), (value.to_vec(), until));
        Ok(())
    }
}

/// Takes the host out of the thread again, also when the handler panics.
struct Running;

impl Running {
    fn enter(host: &Rc<Inner>) -> Self {
        CURRENT.with_borrow_mut(|current| {
            assert!(current.is_none(), "a handler can't run a host: one is running in this thread");
            host.stateless.set(false);
            *current = Some(Rc::clone(host));
        });
        Self
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        CURRENT.with_borrow_mut(|current| *current = None);
    }
}
