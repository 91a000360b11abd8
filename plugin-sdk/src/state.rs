//! The plugin's own data: keys and values that last from one event to the next.
//!
//! A call sees what it wrote before. All of it commits with the call's outcome or not at all: nothing that
//! a failed attempt wrote is kept. If another attempt has changed meanwhile what this one has read, this
//! one is run again from the start, and does not count as failed. So a counter counts each event once,
//! whatever dies on the way.
//!
//! A key has at most 512 bytes, a value 64 KiB; the operator sets how much there can be in all.
//!
//! ```
//! use std::time::Duration;
//! use hookweir_sdk::prelude::*;
//!
//! fn handle(event: Event) -> Result<Outputs, Failure> {
//!     let customer = event.text();
//!     let orders = state::increment(&format!("orders:{customer}"), 1)?;
//!     if orders == 1 {
//!         state::set_for(&format!("welcome:{customer}"), "sent", Duration::from_secs(86_400))?;
//!     }
//!     Ok(outputs![Output::new("counted", orders.to_string())])
//! }
//!
//! # use hookweir_sdk::testing::Host;
//! let host = Host::new().state("orders:ada", "6");
//! let outputs = host.run(handle, Event::builder("shop", "order").body("ada").build()).expect("handled");
//! assert_eq!(outputs[0].body(), b"7");
//! assert_eq!(host.stored("orders:ada").as_deref(), Some(&b"7"[..]));
//! assert_eq!(host.stored("welcome:ada"), None);
//! ```

use std::time::Duration;

use serde::{Serialize, de::DeserializeOwned};

use crate::{Failure, host, json};

/// The most keys that are asked for at once.
const PAGE: u32 = 1000;

/// What is kept under a key, if there is anything.
///
/// ```
/// use hookweir_sdk::prelude::*;
///
/// fn handle(event: Event) -> Result<Outputs, Failure> {
///     match state::get(&format!("order:{}", event.text()))? {
///         Some(status) => Ok(outputs![Output::new("known", status)]),
///         None => Err(Failure::retry("its order has not come yet")),
///     }
/// }
/// # let host = hookweir_sdk::testing::Host::new().state("order:A1", "open");
/// # assert!(host.run(handle, Event::builder("s", "t").body("A1").build()).is_ok());
/// ```
///
/// # Errors
/// A retry: the key has no bytes or too many, one call has read too much, or the store can't be read.
pub fn get(key: &str) -> Result<Option<Vec<u8>>, Failure> {
    host::state_get(key).map_err(failed)
}

/// The same as a type of the plugin's own, from JSON.
///
/// ```
/// use hookweir_sdk::prelude::*;
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Order {
///     total: u64,
/// }
///
/// fn handle(event: Event) -> Result<Outputs, Failure> {
///     let order: Option<Order> = state::json("order:A1")?;
///     let total = order.map_or(0, |order| order.total) + event.json::<u64>()?;
///     state::set_json("order:A1", &Order { total })?;
///     Ok(outputs![])
/// }
/// # let host = hookweir_sdk::testing::Host::new().state("order:A1", r#"{"total":3}"#);
/// # host.run(handle, Event::builder("s", "t").body("4").build()).expect("handled");
/// # assert_eq!(host.stored("order:A1").as_deref(), Some(&br#"{"total":7}"#[..]));
/// ```
///
/// # Errors
/// As [`get`], and a retry if it does not fit: the event is not to blame.
pub fn json<T: DeserializeOwned>(key: &str) -> Result<Option<T>, Failure> {
    let Some(value) = get(key)? else { return Ok(None) };
    json::read("state", &value).map(Some).map_err(|fault| Failure::retry(fault.message()))
}

/// Keeps a value.
///
/// ```
/// use hookweir_sdk::prelude::*;
///
/// fn handle(event: Event) -> Result<Outputs, Failure> {
///     state::set(&format!("order:{}", event.text()), event.event_type())?;
///     Ok(outputs![])
/// }
/// # let host = hookweir_sdk::testing::Host::new();
/// # host.run(handle, Event::builder("s", "paid").body("A1").build()).expect("handled");
/// # assert_eq!(host.stored("order:A1").as_deref(), Some(&b"paid"[..]));
/// ```
///
/// # Errors
/// A retry: the key or the value is too long, or the plugin's state is full.
pub fn set(key: &str, value: impl AsRef<[u8]>) -> Result<(), Failure> {
    host::state_set(key, value.as_ref(), None).map_err(failed)
}

/// Keeps a value for some time; then it counts as absent.
///
/// ```
/// use std::time::Duration;
/// use hookweir_sdk::prelude::*;
///
/// /// An hour to come back with it.
/// fn handle(event: Event) -> Result<Outputs, Failure> {
///     state::set_for(&format!("code:{}", event.text()), "sent", Duration::from_secs(3600))?;
///     Ok(outputs![])
/// }
///
/// # use hookweir_sdk::testing::Host;
/// let host = Host::new();
/// host.run(handle, Event::builder("crm", "code").body("ada").build()).expect("handled");
/// assert!(host.stored("code:ada").is_some());
/// assert!(host.now_ms(3_600_000).stored("code:ada").is_none());
/// ```
///
/// # Errors
/// As [`set`].
pub fn set_for(key: &str, value: impl AsRef<[u8]>, ttl: Duration) -> Result<(), Failure> {
    host::state_set(key, value.as_ref(), Some(millis(ttl))).map_err(failed)
}

/// Keeps a value of the plugin's own type, as JSON.
///
/// ```
/// use hookweir_sdk::prelude::*;
///
/// fn handle(event: Event) -> Result<Outputs, Failure> {
///     let tags: Vec<String> = event.json()?;
///     state::set_json("tags", &tags)?;
///     Ok(outputs![])
/// }
/// # let host = hookweir_sdk::testing::Host::new();
/// # host.run(handle, Event::builder("s", "t").body(r#"["a"]"#).build()).expect("handled");
/// # assert_eq!(host.stored("tags").as_deref(), Some(&br#"["a"]"#[..]));
/// ```
///
/// # Errors
/// As [`set`], and a reject if it can't be JSON.
pub fn set_json<T: Serialize + ?Sized>(key: &str, value: &T) -> Result<(), Failure> {
    set(key, json::write(value)?)
}

/// The same for some time; then it counts as absent.
///
/// ```
/// use std::time::Duration;
/// use hookweir_sdk::prelude::*;
///
/// fn handle(event: Event) -> Result<Outputs, Failure> {
///     let cart: Vec<String> = event.json()?;
///     state::set_json_for("cart", &cart, Duration::from_secs(3600))?;
///     Ok(outputs![])
/// }
/// # let host = hookweir_sdk::testing::Host::new();
/// # host.run(handle, Event::builder("s", "t").body(r#"["a"]"#).build()).expect("handled");
/// # assert_eq!(host.stored("cart").as_deref(), Some(&br#"["a"]"#[..]));
/// # assert!(host.now_ms(3_600_000).stored("cart").is_none());
/// ```
///
/// # Errors
/// As [`set_json`].
pub fn set_json_for<T: Serialize + ?Sized>(
    key: &str,
    value: &T,
    ttl: Duration,
) -> Result<(), Failure> {
    set_for(key, json::write(value)?, ttl)
}

/// Keeps a value if there is none, for some time if one is given. Answers whether it was kept.
///
/// ```
/// use std::time::Duration;
/// use hookweir_sdk::prelude::*;
///
/// /// Some senders send a thing twice, under another id.
/// fn handle(event: Event) -> Result<Outputs, Failure> {
///     let week = Duration::from_secs(7 * 86_400);
///     if !state::set_if_absent(&format!("seen:{}", event.text()), "", Some(week))? {
///         return Ok(outputs![]);
///     }
///     Ok(outputs![Output::new("first", event.body())])
/// }
///
/// # use hookweir_sdk::testing::Host;
/// let host = Host::new();
/// let count = || host.run(handle, Event::builder("crm", "t").body("A1").build()).expect("handled").len();
/// assert_eq!((count(), count()), (1, 0));
/// ```
///
/// # Errors
/// As [`get`] and [`set`].
pub fn set_if_absent(
    key: &str,
    value: impl AsRef<[u8]>,
    ttl: Option<Duration>,
) -> Result<bool, Failure> {
    host::state_set_if_absent(key, value.as_ref(), ttl.map(millis)).map_err(failed)
}

/// Adds to a number, which is kept in decimal digits; none counts as 0. Answers the sum. It expires when
/// it did before.
///
/// ```
/// use hookweir_sdk::prelude::*;
///
/// /// Exact, however many events are handled at the same time, and whatever is run again.
/// fn handle(event: Event) -> Result<Outputs, Failure> {
///     let left = state::increment(&format!("stock:{}", event.text()), -1)?;
///     if left < 0 { Err(Failure::reject("sold out")) } else { Ok(outputs![]) }
/// }
/// # let host = hookweir_sdk::testing::Host::new().state("stock:pen", "1");
/// # let event = || Event::builder("s", "t").body("pen").build();
/// # assert!(host.run(handle, event()).is_ok() && host.run(handle, event()).is_err());
/// ```
///
/// # Errors
/// As [`get`] and [`set`]; and a retry if there is something else, or the sum is too large.
pub fn increment(key: &str, by: i64) -> Result<i64, Failure> {
    host::state_increment(key, by, None).map_err(failed)
}

/// The same, and from now it lasts for this long.
///
/// ```
/// use std::time::Duration;
/// use hookweir_sdk::prelude::*;
///
/// /// At most three mails within an hour of the last one.
/// fn handle(event: Event) -> Result<Outputs, Failure> {
///     let sent = state::increment_for(&format!("mails:{}", event.text()), 1, Duration::from_secs(3600))?;
///     if sent > 3 { Ok(outputs![]) } else { Ok(outputs![Output::new("mail", event.body())]) }
/// }
/// # let host = hookweir_sdk::testing::Host::new().state("mails:ada", "3");
/// # assert!(host.run(handle, Event::builder("s", "t").body("ada").build()).expect("handled").is_empty());
/// ```
///
/// # Errors
/// As [`increment`].
pub fn increment_for(key: &str, by: i64, ttl: Duration) -> Result<i64, Failure> {
    host::state_increment(key, by, Some(millis(ttl))).map_err(failed)
}

/// Forgets a key. Answers whether it was there.
///
/// ```
/// use hookweir_sdk::prelude::*;
///
/// fn handle(event: Event) -> Result<Outputs, Failure> {
///     if !state::delete(&format!("cart:{}", event.text()))? {
///         log::warn!("there was no cart");
///     }
///     Ok(outputs![])
/// }
/// # let host = hookweir_sdk::testing::Host::new().state("cart:ada", "pen");
/// # host.run(handle, Event::builder("s", "t").body("ada").build()).expect("handled");
/// # assert!(host.stored("cart:ada").is_none() && host.logs().is_empty());
/// ```
///
/// # Errors
/// As [`get`].
pub fn delete(key: &str) -> Result<bool, Failure> {
    host::state_delete(key).map_err(failed)
}

/// The keys that begin with `prefix`, in the order of their bytes: up to `limit`, behind `after`.
///
/// What a listing says is not relied on: no attempt is run again because a key came or went.
///
/// ```
/// use hookweir_sdk::prelude::*;
///
/// /// GET /api/NAME/orders?after=A1
/// fn respond(request: Request) -> Result<Response, Failure> {
///     let after = request.parameter("after").map(|order| format!("order:{order}"));
///     Response::json(&state::keys("order:", after.as_deref(), 50)?)
/// }
///
/// # use hookweir_sdk::testing::Host;
/// let host = Host::new().state("order:A1", "").state("order:A2", "").state("user:ada", "");
/// let request = Request::builder("GET", "/orders").query("after=A1").build();
/// assert_eq!(host.respond(respond, request).expect("answered").body(), br#"["order:A2"]"#);
/// ```
///
/// # Errors
/// A retry if the store can't be read.
pub fn keys(prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<String>, Failure> {
    let mut keys: Vec<String> = Vec::new();
    while keys.len() < limit {
        let wanted = u32::try_from(limit - keys.len()).unwrap_or(PAGE).min(PAGE);
        let after = keys.last().map(String::as_str).or(after);
        let page = host::state_list(prefix, after, wanted).map_err(failed)?;
        let is_last = page.len() < wanted as usize;
        keys.extend(page);
        if is_last {
            break;
        }
    }
    Ok(keys)
}

#[expect(clippy::needless_pass_by_value, reason = "what `map_err` gives")]
fn failed(message: String) -> Failure {
    Failure::retry(format!("state: {message}"))
}

fn millis(ttl: Duration) -> u64 {
    u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX)
}
