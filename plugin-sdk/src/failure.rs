//! Failure: why an attempt did not end well, and whether another one may.

use std::{fmt, panic::Location, time::Duration};

use crate::{export::bindings::hookweir::plugin::types, malformed};

/// Why an attempt failed: `retry` asks for another one, `reject` makes a dead letter at once.
///
/// The message is kept with the attempt and shown to the operator: one line, without secrets and
/// without what the body holds. Nothing that the failed attempt made is kept.
///
/// ```
/// use std::time::Duration;
/// use hookweir_sdk::prelude::*;
///
/// fn ship(stock: u32) -> Result<Outputs, Failure> {
///     if stock == 0 {
///         return Err(Failure::retry("out of stock").after(Duration::from_secs(3600)));
///     }
///     Ok(outputs![])
/// }
///
/// let failure = ship(0).expect_err("nothing in stock");
/// assert!(failure.is_retry());
/// assert_eq!(failure.retry_after(), Some(Duration::from_secs(3600)));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    retry: bool,
    message: String,
    retry_after: Option<Duration>,
}

impl Failure {
    /// Try again later: something that passes is in the way.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// fn stock(levels: &[u32]) -> Result<u32, Failure> {
    ///     levels.first().copied().ok_or_else(|| Failure::retry("the stock is being counted"))
    /// }
    /// assert!(stock(&[]).is_err_and(|failure| failure.is_retry()));
    /// ```
    pub fn retry(message: impl Into<String>) -> Self {
        Self { retry: true, message: message.into(), retry_after: None }
    }

    /// Never try again: this event will not fit tomorrow either.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// fn amount(cents: i64) -> Result<i64, Failure> {
    ///     if cents < 0 { Err(Failure::reject("less than nothing")) } else { Ok(cents) }
    /// }
    /// assert!(amount(-1).is_err_and(|failure| !failure.is_retry()));
    /// ```
    pub fn reject(message: impl Into<String>) -> Self {
        Self { retry: false, message: message.into(), retry_after: None }
    }

    /// Not before this much time has passed, at most what the operator allows. A reject stays one.
    ///
    /// ```
    /// use std::time::Duration;
    /// use hookweir_sdk::prelude::*;
    ///
    /// let failure = Failure::retry("closed on Sundays").after(Duration::from_secs(86_400));
    /// assert_eq!(failure.retry_after(), Some(Duration::from_secs(86_400)));
    /// ```
    pub fn after(mut self, wait: Duration) -> Self {
        if self.retry {
            self.retry_after = Some(wait);
        }
        self
    }

    /// Whether another attempt is asked for.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    /// use hookweir_sdk::testing::Host;
    ///
    /// fn handle(event: Event) -> Result<Outputs, Failure> {
    ///     let _order: u64 = event.json()?;
    ///     Ok(outputs![])
    /// }
    /// let failure = Host::new().run(handle, Event::builder("shop", "order").body("{").build()).unwrap_err();
    /// assert!(!failure.is_retry(), "it will be malformed tomorrow, too");
    /// ```
    pub fn is_retry(&self) -> bool {
        self.retry
    }

    /// What the operator reads.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// let failure = "abc".parse::<u32>().or_reject().unwrap_err();
    /// assert_eq!(failure.message(), "invalid digit found in string");
    /// ```
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The shortest wait before the next attempt, if one was asked for.
    ///
    /// ```
    /// use std::time::Duration;
    /// use hookweir_sdk::prelude::*;
    /// use hookweir_sdk::testing::{Canned, Host};
    ///
    /// fn handle(_: Event) -> Result<Outputs, Failure> {
    ///     http::get("https://api.example.com/").send()?.ok_or_retry()?;
    ///     Ok(outputs![])
    /// }
    /// let busy = Canned::new(429).header("retry-after", "30");
    /// let host = Host::new().http("GET https://api.example.com/", busy);
    /// let failure = host.run(handle, Event::builder("shop", "order").build()).unwrap_err();
    /// assert_eq!(failure.retry_after(), Some(Duration::from_secs(30)));
    /// ```
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    pub(crate) fn into_wire(self) -> types::Failure {
        let millis = |wait: Duration| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        types::Failure {
            kind: if self.retry { types::FailureKind::Retry } else { types::FailureKind::Reject },
            message: self.message,
            retry_after_ms: self.retry_after.map(millis),
            attributes: Vec::new(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.retry { "retry" } else { "reject" };
        write!(f, "{kind}: {}", self.message)
    }
}

impl std::error::Error for Failure {}

/// What can't be read or written as JSON now can't be tomorrow: a reject.
impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        malformed::json("JSON", &error)
    }
}

/// Turns what went wrong, or what is not there, into a [`Failure`].
///
/// The error's own text becomes the message; map it first where it could hold what the body holds.
///
/// ```
/// use hookweir_sdk::prelude::*;
///
/// fn amount(text: &str) -> Result<u64, Failure> {
///     text.parse::<u64>().or_reject()
/// }
/// fn order(id: Option<&str>) -> Result<&str, Failure> {
///     id.ok_or("no order id").or_reject()
/// }
///
/// assert_eq!(amount("x"), Err(Failure::reject("invalid digit found in string")));
/// assert_eq!(order(None), Err(Failure::reject("no order id")));
/// assert!(Some(1).or_retry().is_ok());
/// ```
pub trait OrFail<T> {
    /// The value, or a failure that asks for another attempt.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// /// A config that does not fit is no fault of the event's.
    /// fn limit(text: Option<&str>) -> Result<u32, Failure> {
    ///     text.ok_or("no limit is set").or_retry()?.parse().or_retry()
    /// }
    /// assert!(limit(Some("x")).is_err_and(|failure| failure.is_retry()));
    /// ```
    ///
    /// # Errors
    /// A retry with the error's text; for a missing value, with the place of the call.
    #[track_caller]
    fn or_retry(self) -> Result<T, Failure>;

    /// The value, or a failure that makes a dead letter.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// /// What the sender left out will not come.
    /// fn customer(order: &serde_json::Value) -> Result<&str, Failure> {
    ///     order["customer"].as_str().or_reject()
    /// }
    /// assert!(customer(&serde_json::json!({})).is_err_and(|failure| failure.message().starts_with("nothing there, at")));
    /// ```
    ///
    /// # Errors
    /// A reject with the error's text; for a missing value, with the place of the call.
    #[track_caller]
    fn or_reject(self) -> Result<T, Failure>;
}

impl<T, E: fmt::Display> OrFail<T> for Result<T, E> {
    fn or_retry(self) -> Result<T, Failure> {
        self.map_err(|e| Failure::retry(e.to_string()))
    }

    fn or_reject(self) -> Result<T, Failure> {
        self.map_err(|e| Failure::reject(e.to_string()))
    }
}

impl<T> OrFail<T> for Option<T> {
    #[track_caller]
    fn or_retry(self) -> Result<T, Failure> {
        let place = Location::caller();
        self.ok_or_else(|| Failure::retry(format!("nothing there, at {place}")))
    }

    #[track_caller]
    fn or_reject(self) -> Result<T, Failure> {
        let place = Location::caller();
        self.ok_or_else(|| Failure::reject(format!("nothing there, at {place}")))
    }
}
