//! What `crate::host` calls natively: the same functions that a gateway has, on the host that runs in this thread.

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

/// A line of the SDK's own: code that is tried outside of a host has none to write it to.
pub(crate) fn note(level: Level, message: String) {
    if let Some(host) = CURRENT.with_borrow(Clone::clone) {
        host.logs.borrow_mut().push(LogLine { level, message, fields: Vec::new() });
    }
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
