//! What a verifier says of a request that it found genuine.

use crate::export::bindings::hookweir::plugin::types;

/// A genuine request: what happened, and what makes a later one a duplicate of it.
///
/// It stands for all of the request: whatever of it has not been checked can be a forger's.
///
/// ```
/// use hookweir_sdk::prelude::*;
///
/// let paid = Verified::new("order.paid").id("A1").redact("header:x-api-key");
/// assert_eq!((paid.event_type(), paid.dedupe_id()), ("order.paid", Some("A1")));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    event_type: String,
    id: Option<String>,
    redact: Vec<String>,
}

impl Verified {
    /// An event of this type, 1 to 256 bytes without white space or control characters. Its content tells it
    /// apart unless it has an id: two with the same type and body are one.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// assert_eq!(Verified::new("order.paid").dedupe_id(), None);
    /// ```
    pub fn new(event_type: impl Into<String>) -> Self {
        Self { event_type: event_type.into(), id: None, redact: Vec::new() }
    }

    /// With the sender's own id for it: one with the same id is a duplicate.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// fn verify(request: Request) -> Result<Verified, String> {
    ///     // .. the signature is checked, and covers this header; then:
    ///     let id = request.header("x-delivery").ok_or("no id")?;
    ///     Ok(Verified::new("order.paid").id(id))
    /// }
    /// # let host = hookweir_sdk::testing::Host::new();
    /// # let request = Request::builder("POST", "/").header("x-delivery", "7").build();
    /// # assert_eq!(host.verify(verify, request).expect("genuine").dedupe_id(), Some("7"));
    /// ```
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// With a place that holds a credential: `header:NAME` or `query:NAME`. It reads `[redacted]` from here on,
    /// as Authorization, Proxy-Authorization and Cookie always do.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// let paid = Verified::new("order.paid").redact("header:x-api-key").redact("query:token");
    /// assert_eq!(paid.redacted().count(), 2);
    /// ```
    pub fn redact(mut self, place: impl Into<String>) -> Self {
        self.redact.push(place.into());
        self
    }

    /// What happened.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// assert_eq!(Verified::new("order.paid").event_type(), "order.paid");
    /// ```
    pub fn event_type(&self) -> &str {
        &self.event_type
    }

    /// The sender's own id for it.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// assert_eq!(Verified::new("order.paid").id("7").dedupe_id(), Some("7"));
    /// ```
    pub fn dedupe_id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The places that are redacted.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// let paid = Verified::new("order.paid").redact("header:x-api-key");
    /// assert_eq!(paid.redacted().collect::<Vec<_>>(), ["header:x-api-key"]);
    /// ```
    pub fn redacted(&self) -> impl Iterator<Item = &str> {
        self.redact.iter().map(String::as_str)
    }

    pub(crate) fn into_wire(self) -> types::Verified {
        let Self { event_type, id, redact } = self;
        let attributes = redact.into_iter().map(|place| ("redact".to_owned(), place)).collect();
        types::Verified { id, event_type, attributes }
    }
}
