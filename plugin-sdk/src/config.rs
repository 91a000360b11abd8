//! What the operator set for this plugin, under `[plugins.NAME] config` in `gateway.toml`.

use serde::de::DeserializeOwned;

use crate::{Failure, host, json};

/// One value: a string as it is, anything else as JSON text.
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
