#![doc = include_str!("../README.md")]
#![deny(unsafe_code)]

#[cfg(all(
    target_family = "wasm",
    not(all(
        target_arch = "wasm32",
        any(target_os = "unknown", all(target_os = "wasi", target_env = "p2"))
    ))
))]
compile_error!(
    "Hookweir plugins are built for wasm32-unknown-unknown (or wasm32-wasip2), not for this target: \
     build with `--target wasm32-unknown-unknown`"
);

// The generated code names this crate as plugins do: its export macro expands in theirs.
extern crate self as hookweir_sdk;

/// Growing the memory costs the gateway more than most calls do: pages are made accessible for each
/// event and inaccessible behind it, which stops the other cores. `hookweir plugin build` has the
/// linker lay out a heap, and this allocator, unlike the older one in the standard library, uses it.
#[cfg(all(target_family = "wasm", feature = "allocator"))]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

/// Constants for the event types of a provider, each documented by its text.
macro_rules! event_types {
    ($($name:ident = $text:literal,)*) => {
        $(#[doc = concat!("`", $text, "`")] pub const $name: &str = $text;)*

        #[cfg(test)]
        mod tests {
            #[test]
            fn each_constant_is_named_as_its_text() {
                for (name, text) in [$((stringify!($name), $text)),*] {
                    let expected = text.replace(['.', '/'], "_").to_ascii_uppercase();
                    assert_eq!(name, expected);
                }
            }
        }
    };
}
use event_types;

mod answer;
pub mod clock;
mod cloud_event;
pub mod config;
mod each;
mod event;
#[doc(hidden)]
pub mod export;
mod failure;
mod form;
pub mod github;
mod host;
pub mod http;
mod json;
pub mod log;
mod malformed;
mod output;
#[cfg(target_family = "wasm")]
mod panic;
pub mod random;
mod request;
mod response;
pub mod secrets;
pub mod shopify;
#[doc(hidden)]
pub mod signature;
pub mod state;
pub mod stripe;
#[cfg(not(target_family = "wasm"))]
pub mod testing;
mod verified;

pub use cloud_event::CloudEvent;
pub use event::Event;
pub use failure::{Failure, OrFail};
/// Makes a function the plugin's api: it answers what comes in at `/api/NAME/…`, `NAME` being the
/// plugin's.
///
/// The function is `fn respond(request: Request) -> Result<Response, Failure>`, under any name, beside the
/// crate's [`macro@plugin`]. It is asked at once, and may use all that a handler may. What it changes of the
/// state is on disk before the answer leaves; if a call beside it changed what it read, it is run again. A
/// reject is answered with 400 and its message, a retry with 503.
///
/// Who may ask is for the operator to say: `api = "public"` or `api = { token = .. }` under `[plugins.NAME]`.
///
/// ```
/// use hookweir_sdk::prelude::*;
///
/// #[plugin(subscribe = ["shop/order.*"])]
/// fn handle(event: Event) -> Result<Outputs, Failure> {
///     state::set(&format!("order:{}", event.text()), event.event_type())?;
///     Ok(outputs![])
/// }
///
/// #[api]
/// fn respond(request: Request) -> Result<Response, Failure> {
///     match state::get(&format!("order:{}", request.path().trim_start_matches('/')))? {
///         Some(status) => Ok(Response::new(200).with_body(status)),
///         None => Ok(Response::new(404)),
///     }
/// }
///
/// # use hookweir_sdk::testing::Host;
/// let host = Host::new();
/// host.run(handle, Event::builder("shop", "order.paid").body("A1").build()).expect("handled");
/// let answer = host.respond(respond, Request::builder("GET", "/A1").build()).expect("answered");
/// assert_eq!((answer.status_code(), answer.body()), (200, &b"order.paid"[..]));
/// ```
///
/// A function of another type does not compile:
///
/// ```compile_fail
/// use hookweir_sdk::prelude::*;
///
/// #[api]
/// fn respond(_: Request) -> Result<Outputs, Failure> {
///     Ok(outputs![])
/// }
/// ```
pub use hookweir_sdk_macros::api;
/// Makes a function the plugin's init: it runs once when a version is tried, before that goes live, with the
/// plugin's config.
///
/// The function is `fn init(config: Config) -> Result<(), String>`, under any name, with a type of the
/// plugin's own that serde can read. A config that does not fit it, or an error, keeps this version out, and
/// the one before it goes on. It has no state, and nothing that it does lasts: each event has a fresh instance.
///
/// ```
/// use hookweir_sdk::prelude::*;
///
/// #[derive(serde::Deserialize)]
/// struct Config {
///     currency: String,
/// }
///
/// #[init]
/// fn init(config: Config) -> Result<(), String> {
///     match config.currency.len() {
///         3 => Ok(()),
///         _ => Err(format!("`{}` is no currency", config.currency)),
///     }
/// }
///
/// # use hookweir_sdk::testing::Host;
/// assert_eq!(Host::new().config("currency", "eur").init(init), Ok(()));
/// assert!(Host::new().config("currency", "euro").init(init).is_err());
/// assert!(Host::new().init(init).is_err_and(|why| why.contains("missing field `currency`")));
/// ```
pub use hookweir_sdk_macros::init;
/// Makes a function the plugin's handler, and says what the plugin wants.
///
/// The function is `fn handle(event: Event) -> Result<Outputs, Failure>`, under any name; a crate has
/// one. Keys:
///
/// | key | | |
/// |---|---|---|
/// | `subscribe` | required | patterns `source/type`: `["github/push", "plugin.billing/*"]` |
/// | `http` | optional | origins that the plugin wants to send requests to: `["https://api.example.com"]`, `["https://*.example.com"]`, or `["https://*"]` for those that the operator names |
/// | `secrets` | optional | names of secrets that it wants used: `["API_KEY"]` |
///
/// ```
/// use hookweir_sdk::prelude::*;
///
/// #[plugin(subscribe = ["github/issues", "github/pull_request"])]
/// fn greet(event: Event) -> Result<Outputs, Failure> {
///     Ok(outputs![Output::new("greeted", event.id())])
/// }
/// ```
///
/// A pattern that the gateway would refuse does not compile:
///
/// ```compile_fail
/// use hookweir_sdk::prelude::*;
///
/// #[plugin(subscribe = ["GitHub/issues"])] // names are lower case
/// fn greet(_: Event) -> Result<Outputs, Failure> {
///     Ok(outputs![])
/// }
/// ```
///
/// Nor does a function of another type:
///
/// ```compile_fail
/// use hookweir_sdk::prelude::*;
///
/// #[plugin(subscribe = ["github/issues"])]
/// fn greet(_: String) -> Result<Outputs, Failure> {
///     Ok(outputs![])
/// }
/// ```
///
/// On wasm it exports the function as the component's `hookweir:plugin/handler`, logs the message and
/// place of a panic before the trap, and writes the keys into the custom section `hookweir:wants`, as
/// JSON with the SDK's version:
/// `{"sdk":"0.1.0","subscribe":["github/issues"],"http":[],"secrets":[]}`.
pub use hookweir_sdk_macros::plugin;
/// Makes a function the plugin's verifier: it proves who sent a request, for sources with
/// `scheme = "plugin:NAME"`. For what no declared scheme can say.
///
/// The function is `fn verify(request: Request) -> Result<Verified, String>`, under any name, beside the
/// crate's [`macro@plugin`]. The request is raw, and anybody may have sent it. Nothing of it is stored before
/// the verifier has said so; why it refuses goes to the operator's audit log, and the sender is told nothing. It
/// has 50 ms of CPU time, no state, and nothing else that leaves the gateway.
///
/// Compare secrets in constant time, and only what is signed is genuine.
///
/// ```
/// use hookweir_sdk::prelude::*;
///
/// #[verifier]
/// fn verify(request: Request) -> Result<Verified, String> {
///     let key = request.header("x-api-key").ok_or("no key")?;
///     // All are compared, and all their bytes.
///     let same = |secret: &str| {
///         let differences = key.bytes().zip(secret.bytes()).map(|(a, b)| a ^ b);
///         (key.len() == secret.len()) & (differences.fold(0, |all, one| all | one) == 0)
///     };
///     match request.secrets().fold(false, |any, secret| any | same(secret)) {
///         true => Ok(Verified::new("order.paid").redact("header:x-api-key")),
///         false => Err("another key".to_owned()),
///     }
/// }
///
/// # use hookweir_sdk::testing::Host;
/// let request = |key: &str| {
///     Request::builder("POST", "/webhooks/erp").secret("s3cret").header("x-api-key", key).build()
/// };
/// assert!(Host::new().verify(verify, request("s3cret")).is_ok());
/// assert_eq!(Host::new().verify(verify, request("guess")), Err("another key".to_owned()));
/// ```
pub use hookweir_sdk_macros::verifier;
pub use output::{Output, Outputs};
pub use request::Request;
pub use response::Response;
pub use verified::Verified;

/// All that a plugin needs, in one line: `use hookweir_sdk::prelude::*;`.
///
/// ```
/// use hookweir_sdk::prelude::*;
///
/// #[plugin(subscribe = ["shop/order.paid"])]
/// fn handle(event: Event) -> Result<Outputs, Failure> {
///     let order = event.text();
///     let nth = state::increment("paid", 1)?;
///     log::info!(order = order, "number {nth} at {}", clock::now_ms());
///     Ok(outputs![Output::new("order.counted", nth.to_string())])
/// }
/// # let host = hookweir_sdk::testing::Host::new();
/// # host.run(handle, Event::builder("shop", "order.paid").body("A1").build()).expect("handled");
/// ```
pub mod prelude {
    #[doc(no_inline)]
    pub use crate::{
        CloudEvent, Event, Failure, OrFail, Output, Outputs, Request, Response, Verified, api,
        clock, config, http, init, log, outputs, plugin, random, secrets, state, verifier,
    };
}
