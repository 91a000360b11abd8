//! Log lines, kept with the attempt and shown to the operator. Fields first, then the message, as
//! in `format!`. The host cuts what is too long and counts what is too much; logging never fails.
//!
//! ```
//! use hookweir_sdk::prelude::*;
//!
//! # fn handle(_: Event) -> Result<Outputs, Failure> {
//! let (order, cents) = ("4711", 1999);
//! log::info!(order = order, amount_cents = cents, "paid");
//! log::warn!("order {order} is late");
//! # Ok(outputs![])
//! # }
//! # let host = hookweir_sdk::testing::Host::new();
//! # host.run(handle, Event::builder("s", "t").build()).expect("handled");
//! # assert_eq!(host.logs()[0].fields, [("order".into(), "4711".into()), ("amount_cents".into(), "1999".into())]);
//! # assert_eq!(host.logs()[1].message, "order 4711 is late");
//! ```

use std::fmt::{Arguments, Display};

/// Writes a line for whoever looks for a fault. Takes fields, then what `format!` takes.
///
/// ```
/// use hookweir_sdk::prelude::*;
///
/// fn handle(event: Event) -> Result<Outputs, Failure> {
///     log::debug!(path = event.path(), "parsed");
///     Ok(outputs![])
/// }
/// # let host = hookweir_sdk::testing::Host::new();
/// # host.run(handle, Event::builder("s", "t").build()).expect("handled");
/// # assert_eq!(host.logs()[0].level, log::Level::Debug);
/// ```
#[doc(inline)]
pub use crate::__debug as debug;
/// Writes a line about what went wrong. The last one before a trap becomes the attempt's message. Takes fields, then what `format!` takes.
///
/// ```
/// use hookweir_sdk::prelude::*;
///
/// fn handle(event: Event) -> Result<Outputs, Failure> {
///     log::error!("stock of {} is below nothing", "pens");
///     Ok(outputs![])
/// }
/// # let host = hookweir_sdk::testing::Host::new();
/// # host.run(handle, Event::builder("s", "t").build()).expect("handled");
/// # assert_eq!(host.logs()[0].level, log::Level::Error);
/// ```
#[doc(inline)]
pub use crate::__error as error;
/// Writes a line about what was done. Takes fields, then what `format!` takes.
///
/// ```
/// use hookweir_sdk::prelude::*;
///
/// fn handle(event: Event) -> Result<Outputs, Failure> {
///     log::info!(order = "A1", cents = 499, "paid");
///     Ok(outputs![])
/// }
/// # let host = hookweir_sdk::testing::Host::new();
/// # host.run(handle, Event::builder("s", "t").build()).expect("handled");
/// # assert_eq!(host.logs()[0].level, log::Level::Info);
/// ```
#[doc(inline)]
pub use crate::__info as info;
/// Writes a line of interest to nobody but the author. Takes fields, then what `format!` takes.
///
/// ```
/// use hookweir_sdk::prelude::*;
///
/// fn handle(event: Event) -> Result<Outputs, Failure> {
///     log::trace!("{} bytes", event.body().len());
///     Ok(outputs![])
/// }
/// # let host = hookweir_sdk::testing::Host::new();
/// # host.run(handle, Event::builder("s", "t").build()).expect("handled");
/// # assert_eq!(host.logs()[0].level, log::Level::Trace);
/// ```
#[doc(inline)]
pub use crate::__trace as trace;
/// Writes a line about what should not be, and is got over. Takes fields, then what `format!` takes.
///
/// ```
/// use hookweir_sdk::prelude::*;
///
/// fn handle(event: Event) -> Result<Outputs, Failure> {
///     log::warn!(attempt = event.attempt(), "the CRM knows no such customer");
///     Ok(outputs![])
/// }
/// # let host = hookweir_sdk::testing::Host::new();
/// # host.run(handle, Event::builder("s", "t").build()).expect("handled");
/// # assert_eq!(host.logs()[0].level, log::Level::Warn);
/// ```
#[doc(inline)]
pub use crate::__warn as warn;

/// How loud a line is.
///
/// ```
/// use hookweir_sdk::{log::Level, prelude::*};
///
/// fn handle(event: Event) -> Result<Outputs, Failure> {
///     log::error!("it is on fire");
///     Err(Failure::retry(event.text()))
/// }
///
/// # use hookweir_sdk::testing::Host;
/// let host = Host::new();
/// let _ = host.run(handle, Event::builder("s", "t").build());
/// assert!(host.logs().iter().any(|line| line.level >= Level::Warn));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the five levels everyone knows")]
pub enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

/// Writes one line; the macros are shorter.
///
/// ```
/// use hookweir_sdk::{log::Level, prelude::*};
///
/// fn handle(event: Event) -> Result<Outputs, Failure> {
///     let level = if event.attempt() > 1 { Level::Warn } else { Level::Debug };
///     log::write(level, &[("attempt", &event.attempt())], format_args!("begun"));
///     Ok(outputs![])
/// }
/// # let host = hookweir_sdk::testing::Host::new();
/// # host.run(handle, Event::builder("s", "t").attempt(2).build()).expect("handled");
/// # assert_eq!((host.logs()[0].level, host.logs()[0].message.as_str()), (Level::Warn, "begun"));
/// ```
pub fn write(level: Level, fields: &[(&str, &dyn Display)], message: Arguments<'_>) {
    let fields =
        fields.iter().map(|(name, value)| ((*name).to_owned(), value.to_string())).collect();
    match message.as_str() {
        Some(text) => crate::host::log(level, text, fields),
        None => crate::host::log(level, &message.to_string(), fields),
    }
}

/// Writes one line at a level that the program chooses: `__log!(Level::Info, order = 1, "paid")`.
#[doc(hidden)]
#[macro_export]
macro_rules! __log {
    ($level:expr, $($field:ident = $value:expr,)* $format:literal $($rest:tt)*) => {
        $crate::log::write(
            $level,
            &[$((::core::stringify!($field), &$value as &dyn ::core::fmt::Display)),*],
            ::core::format_args!($format $($rest)*),
        )
    };
}

/// Steps of interest to nobody but the author.
#[doc(hidden)]
#[macro_export]
macro_rules! __trace {
    ($($line:tt)*) => { $crate::__log!($crate::log::Level::Trace, $($line)*) };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __debug {
    ($($line:tt)*) => { $crate::__log!($crate::log::Level::Debug, $($line)*) };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __info {
    ($($line:tt)*) => { $crate::__log!($crate::log::Level::Info, $($line)*) };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __warn {
    ($($line:tt)*) => { $crate::__log!($crate::log::Level::Warn, $($line)*) };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __error {
    ($($line:tt)*) => { $crate::__log!($crate::log::Level::Error, $($line)*) };
}
