//! The host's functions, in one narrow place: the imports on wasm, the in-memory host of
//! [`crate::testing`] natively, where wit-bindgen's imports can't be called.

#[cfg(target_family = "wasm")]
mod imports {
    use crate::export::bindings::hookweir::plugin::{
        clock, config, http, log, random, secrets, state,
    };
    use crate::http::{HttpError, Request, Response};
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

    /// A line of the SDK's own.
    pub(crate) fn note(level: Level, message: String) {
        log(level, &message, Vec::new());
    }

    pub(crate) fn config_get(key: &str) -> Option<String> {
        config::get(key)
    }

    pub(crate) fn config_all() -> String {
        config::all()
    }

    pub(crate) fn secret_get(name: &str) -> Result<String, String> {
        secrets::get(name)
    }

    pub(crate) fn http_send(request: Request) -> Result<Response, HttpError> {
        answer(http::send(&wire(request)))
    }

    pub(crate) fn http_send_all(requests: Vec<Request>) -> Vec<Result<Response, HttpError>> {
        let requests: Vec<_> = requests.into_iter().map(wire).collect();
        http::send_all(&requests).into_iter().map(answer).collect()
    }

    fn wire(request: Request) -> http::OutgoingRequest {
        let millis = |timeout: std::time::Duration| u32::try_from(timeout.as_millis()).ok();
        http::OutgoingRequest {
            method: request.method,
            url: request.url,
            headers: request.headers,
            secret_headers: request.secret_headers,
            body: request.body,
            timeout_ms: request.timeout.and_then(millis),
            attributes: Vec::new(),
        }
    }

    fn answer(
        answered: Result<http::IncomingResponse, http::HttpError>,
    ) -> Result<Response, HttpError> {
        match answered {
            Ok(http::IncomingResponse { status, headers, body, .. }) => {
                Ok(Response { status, headers, body })
            }
            Err(http::HttpError { code, message, retryable, .. }) => {
                Err(HttpError { code, message, is_retryable: retryable })
            }
        }
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
    config_all, config_get, http_send, http_send_all, log, monotonic_ns, note, now_ms,
    random_bytes, secret_get, state_delete, state_get, state_increment, state_list, state_set,
    state_set_if_absent,
};

#[cfg(not(target_family = "wasm"))]
pub(crate) use crate::testing::imports::{
    config_all, config_get, http_send, http_send_all, log, monotonic_ns, note, now_ms,
    random_bytes, secret_get, state_delete, state_get, state_increment, state_list, state_set,
    state_set_if_absent,
};
