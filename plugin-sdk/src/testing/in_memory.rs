//! The in-memory host. A handler calls free functions (`config::get`), so the host that answers
//! them is kept in the thread while it runs; tests in other threads do not see it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use serde_json::{Map, Value};

use crate::{Event, Failure, Outputs, log::Level};

thread_local! {
    static CURRENT: RefCell<Option<Rc<Inner>>> = const { RefCell::new(None) };
}

/// A host without a gateway: config and time as the test sets them, chance from a seed, logs kept.
#[derive(Debug, Default)]
pub struct Host(Rc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    config: RefCell<Map<String, Value>>,
    now_ms: Cell<u64>,
    monotonic_ns: Cell<u64>,
    random: Cell<u64>,
    logs: RefCell<Vec<LogLine>>,
}

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
        let _running = Running::enter(&self.0);
        handle(event)
    }

    /// All lines logged so far.
    pub fn logs(&self) -> Vec<LogLine> {
        self.0.logs.borrow().clone()
    }
}

/// Takes the host out of the thread again, also when the handler panics.
struct Running;

impl Running {
    fn enter(host: &Rc<Inner>) -> Self {
        CURRENT.with_borrow_mut(|current| {
            assert!(current.is_none(), "a handler can't run a host: one is running in this thread");
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

    fn host(what: &str) -> Rc<Inner> {
        CURRENT.with_borrow(Clone::clone).unwrap_or_else(|| {
            panic!("{what} asks the host, and outside of a gateway there is none: run the code in `hookweir_sdk::testing::Host::run`")
        })
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
}
