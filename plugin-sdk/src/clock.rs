//! The time, from the host: `SystemTime::now` and `Instant::now` panic on `wasm32-unknown-unknown`, and with them
//! `Timestamp::now` of `jiff` and `Utc::now` of `chrono`.
//!
//! [`now`] tells the time as the type that the plugin has for it; `jiff`'s and `chrono`'s are known with the SDK's
//! features of these names. In a test it is the time that [`Host::now_ms`](crate::testing::Host::now_ms) was given.
//!
//! ```
//! use std::time::{Duration, SystemTime};
//! use hookweir_sdk::prelude::*;
//!
//! fn handle(event: Event) -> Result<Outputs, Failure> {
//!     let waited = clock::now::<SystemTime>().duration_since(event.received_at()).unwrap_or_default();
//!     if waited > Duration::from_secs(3600) {
//!         return Err(Failure::reject("an hour late is too late"));
//!     }
//!     Ok(outputs![])
//! }
//! # let host = hookweir_sdk::testing::Host::new().now_ms(4_000_000);
//! # assert!(host.run(handle, Event::builder("s", "t").build()).is_err());
//! ```

use std::time::{Duration, SystemTime};

use crate::host;

/// The time now.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use hookweir_sdk::prelude::*;
///
/// fn handle(_: Event) -> Result<Outputs, Failure> {
///     let now: SystemTime = clock::now();
///     assert_eq!(now, SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123));
///     Ok(outputs![])
/// }
/// # let host = hookweir_sdk::testing::Host::new().now_ms(1_700_000_000_123);
/// # host.run(handle, Event::builder("s", "t").build()).expect("handled");
/// ```
#[cfg_attr(
    feature = "jiff",
    doc = r#"
With the feature `jiff`:

```
use hookweir_sdk::prelude::*;
use jiff::{SignedDuration, Timestamp};

fn handle(_: Event) -> Result<Outputs, Failure> {
    let due = clock::now::<Timestamp>() + SignedDuration::from_hours(24);
    Ok(outputs![Output::new("due", due.to_string())])
}

# use hookweir_sdk::testing::Host;
let host = Host::new().now_ms(1_700_000_000_000);
let outputs = host.run(handle, Event::builder("shop", "order").build()).expect("handled");
assert_eq!(outputs[0].body(), b"2023-11-15T22:13:20Z");
```
"#
)]
#[cfg_attr(
    feature = "chrono",
    doc = r#"
With the feature `chrono`:

```
use chrono::{DateTime, TimeDelta, Utc};
use hookweir_sdk::prelude::*;

fn handle(_: Event) -> Result<Outputs, Failure> {
    let due = clock::now::<DateTime<Utc>>() + TimeDelta::hours(24);
    Ok(outputs![Output::new("due", due.to_rfc3339())])
}

# use hookweir_sdk::testing::Host;
let host = Host::new().now_ms(1_700_000_000_000);
let outputs = host.run(handle, Event::builder("shop", "order").build()).expect("handled");
assert_eq!(outputs[0].body(), b"2023-11-15T22:13:20+00:00");
```
"#
)]
pub fn now<T: Moment>() -> T {
    T::from_unix_ms(now_ms())
}

/// Unix time in milliseconds.
///
/// ```
/// use hookweir_sdk::prelude::*;
///
/// fn handle(event: Event) -> Result<Outputs, Failure> {
///     let waited_ms = clock::now_ms().saturating_sub(event.received_at_ms());
///     log::info!(waited_ms = waited_ms, "begun");
///     Ok(outputs![])
/// }
///
/// # use hookweir_sdk::testing::Host;
/// let host = Host::new().now_ms(5_250);
/// let event = Event::builder("shop", "order").received_at_ms(5_000).build();
/// host.run(handle, event).expect("handled");
/// assert_eq!(host.logs()[0].fields, [("waited_ms".to_owned(), "250".to_owned())]);
/// ```
pub fn now_ms() -> u64 {
    host::now_ms()
}

/// Nanoseconds since some fixed point; never goes back. For measuring, not for dates.
///
/// ```
/// use hookweir_sdk::prelude::*;
///
/// fn handle(event: Event) -> Result<Outputs, Failure> {
///     let begun = clock::monotonic_ns();
///     let words = event.text().split_whitespace().count();
///     log::debug!(words = words, micros = (clock::monotonic_ns() - begun) / 1_000, "counted");
///     Ok(outputs![])
/// }
/// # let host = hookweir_sdk::testing::Host::new();
/// # host.run(handle, Event::builder("s", "t").body("a b").build()).expect("handled");
/// ```
pub fn monotonic_ns() -> u64 {
    host::monotonic_ns()
}

/// A type that says a moment: [`SystemTime`], `jiff::Timestamp` with the feature `jiff`, and
/// `chrono::DateTime<chrono::Utc>` with `chrono`.
///
/// ```
/// use std::time::SystemTime;
/// use hookweir_sdk::{clock::Moment, prelude::*};
///
/// /// For whichever of them the caller has.
/// fn newer<T: Moment + Ord>(event: &Event, than: T) -> bool {
///     event.received_at::<T>() > than
/// }
///
/// let event = Event::builder("shop", "order").received_at_ms(1).build();
/// assert!(newer(&event, SystemTime::UNIX_EPOCH));
/// ```
#[diagnostic::on_unimplemented(
    message = "the clock can't tell the time as `{Self}`",
    label = "ask for `SystemTime`, `jiff::Timestamp` or `chrono::DateTime<Utc>`",
    note = "the last two need a feature: `hookweir-sdk = {{ .., features = [\"jiff\"] }}`, or `\"chrono\"`"
)]
pub trait Moment: sealed::FromUnix {}

mod sealed {
    pub trait FromUnix {
        /// What lies beyond the type's last moment is that one.
        fn from_unix_ms(millis: u64) -> Self;
    }
}

impl Moment for SystemTime {}

impl sealed::FromUnix for SystemTime {
    fn from_unix_ms(millis: u64) -> Self {
        Self::UNIX_EPOCH + Duration::from_millis(millis)
    }
}

#[cfg(feature = "jiff")]
impl Moment for jiff::Timestamp {}

#[cfg(feature = "jiff")]
impl sealed::FromUnix for jiff::Timestamp {
    fn from_unix_ms(millis: u64) -> Self {
        let millis = i64::try_from(millis).ok();
        millis.and_then(|millis| Self::from_millisecond(millis).ok()).unwrap_or(Self::MAX)
    }
}

#[cfg(feature = "chrono")]
impl Moment for chrono::DateTime<chrono::Utc> {}

#[cfg(feature = "chrono")]
impl sealed::FromUnix for chrono::DateTime<chrono::Utc> {
    fn from_unix_ms(millis: u64) -> Self {
        let millis = i64::try_from(millis).ok();
        millis.and_then(Self::from_timestamp_millis).unwrap_or(Self::MAX_UTC)
    }
}

#[cfg(test)]
mod tests {
    use super::sealed::FromUnix;

    #[cfg(feature = "jiff")]
    #[test]
    fn beyond_the_last_timestamp_is_the_last_one() {
        use jiff::Timestamp;
        assert_eq!(Timestamp::from_unix_ms(1_500).as_millisecond(), 1_500);
        assert_eq!(Timestamp::from_unix_ms(u64::MAX), Timestamp::MAX);
        assert_eq!(Timestamp::from_unix_ms(i64::MAX.unsigned_abs()), Timestamp::MAX);
    }

    #[cfg(feature = "chrono")]
    #[test]
    fn beyond_the_last_date_is_the_last_one() {
        use chrono::{DateTime, Utc};
        assert_eq!(DateTime::<Utc>::from_unix_ms(1_500).timestamp_millis(), 1_500);
        assert_eq!(DateTime::<Utc>::from_unix_ms(u64::MAX), DateTime::<Utc>::MAX_UTC);
    }

    #[test]
    fn any_number_is_a_system_time() {
        let _ = std::time::SystemTime::from_unix_ms(u64::MAX);
    }
}
