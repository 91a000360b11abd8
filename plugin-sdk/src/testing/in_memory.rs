//! The in-memory host. A handler calls free functions (`config::get`), so the host that answers
//! them is kept in the thread while it runs; tests in other threads do not see it.

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
    pub fn new() -> Self {
        Self::default()
    }

    /// One value of the plugin's config; strings, numbers, `json!` and all that becomes JSON.
    pub fn config(self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.0.config.borrow_mut().insert(key.into(), value.into());
        self
    }

    /// The time that `clock::now_ms` tells: Unix time in milliseconds. It stands still.
    pub fn now_ms(self, millis: u64) -> Self {
        self.0.now_ms.set(millis);
        self
    }

    /// An entry of the plugin's state, that lasts.
    pub fn state(self, key: impl Into<String>, value: impl AsRef<[u8]>) -> Self {
        self.keep(&key.into(), value.as_ref().to_vec());
        self
    }

    /// A secret that the plugin may read.
    pub fn secret(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.secrets.borrow_mut().insert(name.into(), value.into());
        self
    }

    /// What a request to `line` (method and URL: `POST https://api.example.com/v1`) is answered with.
    /// Said again for one line, the answers are given in turn, and the last one stays. A request
    /// without an answer is denied.
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
    pub fn seed(self, seed: u64) -> Self {
        self.0.random.set(seed);
        self
    }

    /// Runs a handler on an event, as the gateway would. May be called again, for the next attempt.
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
    pub fn stored(&self, key: &str) -> Option<Vec<u8>> {
        self.0.seen(key).map(|(value, _)| value)
    }

    /// All requests sent so far.
    pub fn requests(&self) -> Vec<Sent> {
        self.0.network.borrow().sent()
    }

    /// All lines logged so far.
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

/// What `crate::host` calls natively.
pub(crate) mod imports {
    use super::{CURRENT, Inner, Level, LogLine, Rc, Value};
    use crate::http::{HttpError, Request, Response};

    fn host(what: &str) -> Rc<Inner> {
        CURRENT.with_borrow(Clone::clone).unwrap_or_else(|| {
            panic!("{what} asks the host, and outside of a gateway there is none: run the code in `hookweir_sdk::testing::Host::run`")
        })
    }

    fn state(what: &str) -> Result<Rc<Inner>, String> {
        let host = host(what);
        match host.stateless.get() {
            true => Err("a verifier has no state".to_owned()),
            false => Ok(host),
        }
    }

    pub(crate) fn log(level: Level, message: &str, fields: Vec<(String, String)>) {
        let line = LogLine { level, message: message.to_owned(), fields };
        host("log").logs.borrow_mut().push(line);
    }

    pub(crate) fn config_get(key: &str) -> Option<String> {
        host("config::get").config.borrow().get(key).map(|value| match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        })
    }

    pub(crate) fn config_all() -> String {
        Value::Object(host("config::all").config.borrow().clone()).to_string()
    }

    pub(crate) fn secret_get(name: &str) -> Result<String, String> {
        let secret = host("secrets::get").secrets.borrow().get(name).cloned();
        secret.ok_or_else(|| format!("the secret `{name}` is not granted"))
    }

    pub(crate) fn http_send(request: Request) -> Result<Response, HttpError> {
        host("http").network.borrow_mut().send(request)
    }

    pub(crate) fn http_send_all(requests: Vec<Request>) -> Vec<Result<Response, HttpError>> {
        requests.into_iter().map(http_send).collect()
    }

    pub(crate) fn now_ms() -> u64 {
        host("clock::now_ms").now_ms.get()
    }

    pub(crate) fn monotonic_ns() -> u64 {
        let host = host("clock::monotonic_ns");
        // A microsecond a call: loops that wait for time to pass end.
        host.monotonic_ns.update(|ns| ns + 1_000);
        host.monotonic_ns.get()
    }

    pub(crate) fn random_bytes(len: u32) -> Vec<u8> {
        assert!(len <= 65_536, "random::bytes gives at most 65536 bytes a call");
        let host = host("random");
        (0..len)
            .map(|_| {
                // SplitMix64 (Steele, Lea, Flood 2014): enough for tests.
                host.random.update(|state| state.wrapping_add(0x9e37_79b9_7f4a_7c15));
                let mut mixed = host.random.get();
                mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                (mixed ^ (mixed >> 31)).to_le_bytes()[0]
            })
            .collect()
    }

    pub(crate) fn state_get(key: &str) -> Result<Option<Vec<u8>>, String> {
        Ok(state("state::get")?.seen(key).map(|(value, _)| value))
    }

    pub(crate) fn state_set(key: &str, value: &[u8], ttl_ms: Option<u64>) -> Result<(), String> {
        state("state::set")?.keep(key, value, ttl_ms)
    }

    pub(crate) fn state_set_if_absent(
        key: &str,
        value: &[u8],
        ttl_ms: Option<u64>,
    ) -> Result<bool, String> {
        let host = state("state::set_if_absent")?;
        let is_absent = host.seen(key).is_none();
        if is_absent {
            host.keep(key, value, ttl_ms)?;
        }
        Ok(is_absent)
    }

    pub(crate) fn state_increment(key: &str, by: i64, ttl_ms: Option<u64>) -> Result<i64, String> {
        let host = state("state::increment")?;
        let (value, until) = host.seen(key).unwrap_or_else(|| (b"0".to_vec(), None));
        let text = String::from_utf8(value).unwrap_or_default();
        let number: i64 = text.parse().map_err(|_| format!("the value of `{key}` is no number"))?;
        let sum = number.checked_add(by).ok_or_else(|| format!("{number} + {by} is too large"))?;
        let left = until.map(|until| until.saturating_sub(host.now_ms.get()));
        host.keep(key, sum.to_string().as_bytes(), ttl_ms.or(left))?;
        Ok(sum)
    }

    pub(crate) fn state_delete(key: &str) -> Result<bool, String> {
        let host = state("state::delete")?;
        let was_there = host.seen(key).is_some();
        host.state.borrow_mut().remove(key);
        Ok(was_there)
    }

    pub(crate) fn state_list(
        prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<String>, String> {
        let host = state("state::keys")?;
        let keys: Vec<String> = host.state.borrow().keys().cloned().collect();
        let is_meant = |key: &String| {
            key.starts_with(prefix)
                && after.is_none_or(|after| key.as_str() > after)
                && host.seen(key).is_some()
        };
        Ok(keys.into_iter().filter(is_meant).take(limit as usize).collect())
    }
}
