//! The host's functions, in one narrow place: the imports on wasm, the in-memory host of
//! [`crate::testing`] natively, where wit-bindgen's imports can't be called. What the contract adds
//! (http, secrets) comes in here and gets a module of its own beside `config`.

#[cfg(target_family = "wasm")]
mod imports {
    use crate::export::bindings::hookweir::plugin::{clock, config, log, random, state};
    use crate::log::Level;

    pub(crate) fn log(level: Level, message: &str, fields: Vec<(String, String)>) {
        let level = match level {
            Level::Trace => log::Level::Trace,
            Level::Debug => log::Level::Debug,
            Level::Info => log::Level::Info,
            Level::Warn => log::Level::Warn,
            Level::Error => log::Level::Error,
        };
        log::write(level, message, &fields);
    }

    pub(crate) fn config_get(key: &str) -> Option<String> {
        config::get(key)
    }

    pub(crate) fn config_all() -> String {
        config::all()
    }

    pub(crate) fn now_ms() -> u64 {
        clock::now_ms()
    }

    pub(crate) fn monotonic_ns() -> u64 {
        clock::monotonic_ns()
    }

    pub(crate) fn random_bytes(len: u32) -> Vec<u8> {
        random::bytes(len)
    }

    pub(crate) fn state_get(key: &str) -> Result<Option<Vec<u8>>, String> {
        state::get(key)
    }

    pub(crate) fn state_set(key: &str, value: &[u8], ttl_ms: Option<u64>) -> Result<(), String> {
        state::set(key, value, ttl_ms)
    }

    pub(crate) fn state_set_if_absent(
        key: &str,
        value: &[u8],
        ttl_ms: Option<u64>,
    ) -> Result<bool, String> {
        state::set_if_absent(key, value, ttl_ms)
    }

    pub(crate) fn state_increment(key: &str, by: i64, ttl_ms: Option<u64>) -> Result<i64, String> {
        state::increment(key, by, ttl_ms)
    }

    pub(crate) fn state_delete(key: &str) -> Result<bool, String> {
        state::delete(key)
    }

    pub(crate) fn state_list(
        prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<String>, String> {
        state::list_keys(prefix, after, limit)
    }
}

#[cfg(target_family = "wasm")]
pub(crate) use imports::{
    config_all, config_get, log, monotonic_ns, now_ms, random_bytes, state_delete, state_get,
    state_increment, state_list, state_set, state_set_if_absent,
};

#[cfg(not(target_family = "wasm"))]
pub(crate) use crate::testing::imports::{
    config_all, config_get, log, monotonic_ns, now_ms, random_bytes, state_delete, state_get,
    state_increment, state_list, state_set, state_set_if_absent,
};
