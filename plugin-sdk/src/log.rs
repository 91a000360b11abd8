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

pub use crate::{
    __debug as debug, __error as error, __info as info, __trace as trace, __warn as warn,
};

/// How loud a line is.
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
