//! Secrets that the operator made readable for this plugin.
//!
//! Most plugins need none: the gateway puts secrets into requests itself
//! ([`secret_header`](crate::http::Request::secret_header)), where the plugin can't lose them. Read one
//! only to compute with it, such as to sign what is sent.
//!
//! ```
//! use hookweir_sdk::prelude::*;
//!
//! # fn sign(_: &[u8], _: &str) -> String { "ab".to_owned() }
//! #[plugin(subscribe = ["shop/order.paid"], http = ["https://erp.example.com"], secrets = ["SIGNING_KEY"])]
//! fn handle(event: Event) -> Result<Outputs, Failure> {
//!     let signature = sign(event.body(), &secrets::get("SIGNING_KEY")?);
//!     let request = http::post("https://erp.example.com/").header("x-signature", signature).body(event.body());
//!     request.send()?.ok_or_retry()?;
//!     Ok(outputs![])
//! }
//! # use hookweir_sdk::testing::{Canned, Host};
//! # let host = Host::new().secret("SIGNING_KEY", "s").http("POST https://erp.example.com/", Canned::new(200));
//! # host.run(handle, Event::builder("s", "t").build()).expect("handled");
//! ```

use crate::{Failure, host};

/// The secret of this name.
///
/// ```
/// use hookweir_sdk::prelude::*;
///
/// fn handle(_: Event) -> Result<Outputs, Failure> {
///     let key = secrets::get("SIGNING_KEY")?;
///     assert_eq!(key, "hunter2");
///     Ok(outputs![])
/// }
/// # let host = hookweir_sdk::testing::Host::new().secret("SIGNING_KEY", "hunter2");
/// # host.run(handle, Event::builder("s", "t").build()).expect("handled");
/// ```
///
/// # Errors
/// A retry that says what the operator has to add: the event is not to blame.
pub fn get(name: &str) -> Result<String, Failure> {
    host::secret_get(name).map_err(Failure::retry)
}
