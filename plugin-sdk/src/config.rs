//! What the operator set for this plugin, under `[plugins.NAME] config` in `gateway.toml`.
//!
//! ```
//! use hookweir_sdk::prelude::*;
//!
//! /// `[plugins.labels] config = { bug = "crash", question = "how do i" }`
//! fn handle(event: Event) -> Result<Outputs, Failure> {
//!     let words: std::collections::BTreeMap<String, String> = config::all()?;
//!     let label = words.iter().find(|(_, word)| event.text().contains(word.as_str()));
//!     Ok(label.map(|(label, _)| Output::new("label", label.as_str())).into_iter().collect())
//! }
//! # let host = hookweir_sdk::testing::Host::new().config("bug", "crash");
//! # let event = Event::builder("s", "t").body("a crash").build();
//! # assert_eq!(host.run(handle, event).expect("handled")[0].body(), b"bug");
//! ```

use serde::de::DeserializeOwned;

use crate::{Failure, host, json};

/// One value: a string as it is, anything else as JSON text.
///
/// ```
/// use hookweir_sdk::prelude::*;
///
/// fn handle(event: Event) -> Result<Outputs, Failure> {
///     let room = config::get("room").unwrap_or_else(|| "lobby".to_owned());
///     let limit: u32 = config::get("limit").ok_or("no limit is set").or_retry()?.parse().or_retry()?;
///     Ok(outputs![Output::new(room, event.text().chars().take(limit as usize).collect::<String>())])
/// }
///
/// # use hookweir_sdk::testing::Host;
/// let host = Host::new().config("limit", 2);
/// let outputs = host.run(handle, Event::builder("chat", "said").body("hello").build()).expect("handled");
/// assert_eq!((outputs[0].event_type(), outputs[0].body()), ("lobby", &b"he"[..]));
/// ```
pub fn get(key: &str) -> Option<String> {
    host::config_get(key)
}

/// The whole, as a type of the plugin's own.
///
/// ```
/// use hookweir_sdk::prelude::*;
///
/// #[derive(serde::Deserialize)]
/// struct Config {
///     currency: String,
///     #[serde(default)]
///     sandbox: bool,
/// }
///
/// fn handle(_: Event) -> Result<Outputs, Failure> {
///     let config: Config = config::all()?;
///     assert!(config.currency == "eur" && !config.sandbox);
///     Ok(outputs![])
/// }
/// # let host = hookweir_sdk::testing::Host::new().config("currency", "eur");
/// # host.run(handle, Event::builder("s", "t").build()).expect("handled");
/// ```
///
/// # Errors
/// A retry that says what does not fit: the event is not to blame, and waits for the operator.
pub fn all<T: DeserializeOwned>() -> Result<T, Failure> {
    json::read("config", host::config_all().as_bytes())
        .map_err(|fault| Failure::retry(fault.message()))
}
