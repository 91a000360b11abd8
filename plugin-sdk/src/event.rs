//! The event, as a plugin sees it: who sent what, when, and which attempt this is.
//!
//! A view on the record of the contract: nothing is copied on the way in but what the ABI copies.

use std::{borrow::Cow, fmt};

use serde::de::DeserializeOwned;

use crate::{Failure, clock, export::bindings::hookweir::plugin::types, form, json};

/// One verified webhook, or an event that a plugin or the gateway made.
///
/// ```
/// use hookweir_sdk::prelude::*;
///
/// fn handle(event: Event) -> Result<Outputs, Failure> {
///     assert_eq!(event.source(), "github");
///     assert_eq!(event.header("X-GitHub-Event"), Some("push"));
///     let push: serde_json::Value = event.json()?;
///     assert_eq!(push["ref"], "refs/heads/main");
///     Ok(outputs![])
/// }
///
/// # use hookweir_sdk::testing::Host;
/// let event = Event::builder("github", "push")
///     .header("x-github-event", "push")
///     .body(r#"{"ref": "refs/heads/main"}"#)
///     .build();
/// assert!(Host::new().run(handle, event).is_ok());
/// ```
pub struct Event(types::Event);

impl Event {
    pub(crate) fn from_wire(event: types::Event) -> Self {
        Self(event)
    }

    /// The same on every attempt: use it as an idempotency key.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// fn handle(event: Event) -> Result<Outputs, Failure> {
    ///     // The same order however often this is run.
    ///     let order = serde_json::json!({ "id": format!("order-{}", event.id()) });
    ///     http::put("https://api.example.com/orders").json(&order)?.send()?.ok_or_retry()?;
    ///     Ok(outputs![])
    /// }
    /// # use hookweir_sdk::testing::{Canned, Host};
    /// # let host = Host::new().http("PUT https://api.example.com/orders", Canned::new(200));
    /// # host.run(handle, Event::builder("s", "t").id("7").build()).expect("handled");
    /// # assert_eq!(host.requests()[0].text(), r#"{"id":"order-7"}"#);
    /// ```
    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// The configured source that verified it, `plugin.NAME` for an output, `gateway` for the
    /// gateway's own.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// fn handle(event: Event) -> Result<Outputs, Failure> {
    ///     match event.source() {
    ///         "shop" => Ok(outputs![Output::new("order", event.body())]),
    ///         "plugin.orders" => Ok(outputs![]),                        // what another plugin made of it
    ///         other => Err(Failure::reject(format!("nobody told me of {other}"))),
    ///     }
    /// }
    /// # let host = hookweir_sdk::testing::Host::new();
    /// # assert!(host.run(handle, Event::builder("shop", "t").build()).is_ok());
    /// # assert!(host.run(handle, Event::builder("erp", "t").build()).is_err());
    /// ```
    pub fn source(&self) -> &str {
        &self.0.source
    }

    /// What happened, in the sender's words: `push`, `payment_intent.succeeded`.
    ///
    /// ```
    /// use hookweir_sdk::{prelude::*, stripe};
    ///
    /// fn handle(event: Event) -> Result<Outputs, Failure> {
    ///     let is_paid = event.event_type() == stripe::INVOICE_PAID;
    ///     Ok(outputs![Output::new(if is_paid { "paid" } else { "unpaid" }, event.body())])
    /// }
    /// # let host = hookweir_sdk::testing::Host::new();
    /// # let outputs = host.run(handle, Event::builder("stripe", "invoice.paid").build()).expect("handled");
    /// # assert_eq!(outputs[0].event_type(), "paid");
    /// ```
    pub fn event_type(&self) -> &str {
        &self.0.event_type
    }

    /// Which attempt this is, counted from 1.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// fn handle(event: Event) -> Result<Outputs, Failure> {
    ///     let slow = event.attempt() > 3;                               // it had its chances
    ///     let url = if slow { "https://backup.example.com/" } else { "https://api.example.com/" };
    ///     http::post(url).body(event.body()).send()?.ok_or_retry()?;
    ///     Ok(outputs![])
    /// }
    /// # use hookweir_sdk::testing::{Canned, Host};
    /// # let host = Host::new().http("POST https://backup.example.com/", Canned::new(200));
    /// # host.run(handle, Event::builder("s", "t").attempt(4).build()).expect("handled");
    /// ```
    pub fn attempt(&self) -> u32 {
        self.0.attempt
    }

    /// When the gateway received or made it: Unix time in milliseconds.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// fn handle(event: Event) -> Result<Outputs, Failure> {
    ///     let day = event.received_at_ms() / 86_400_000;
    ///     let today = state::increment(&format!("day:{day}"), 1)?;
    ///     Ok(outputs![Output::new("counted", today.to_string())])
    /// }
    /// # let host = hookweir_sdk::testing::Host::new();
    /// # host.run(handle, Event::builder("s", "t").received_at_ms(86_400_000).build()).expect("handled");
    /// # assert!(host.stored("day:1").is_some());
    /// ```
    pub fn received_at_ms(&self) -> u64 {
        self.0.received_at_ms
    }

    /// The same as a time: a [`SystemTime`](std::time::SystemTime), `jiff::Timestamp` or `chrono::DateTime<Utc>`, see
    /// [`clock::Moment`].
    ///
    /// ```
    /// use std::time::{Duration, SystemTime};
    /// use hookweir_sdk::prelude::*;
    ///
    /// fn handle(event: Event) -> Result<Outputs, Failure> {
    ///     let now: SystemTime = clock::now();
    ///     match now.duration_since(event.received_at()) {
    ///         Ok(age) if age > Duration::from_secs(3600) => Err(Failure::reject("too old to be of use")),
    ///         _ => Ok(outputs![]),
    ///     }
    /// }
    /// # let host = hookweir_sdk::testing::Host::new().now_ms(3_600_001);
    /// # assert!(host.run(handle, Event::builder("s", "t").build()).is_err());
    /// # assert!(host.run(handle, Event::builder("s", "t").received_at_ms(1).build()).is_ok());
    /// ```
    pub fn received_at<T: clock::Moment>(&self) -> T {
        T::from_unix_ms(self.0.received_at_ms)
    }

    /// The request's method.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// let event = Event::builder("cms", "page").method("PUT").build();
    /// assert_eq!(event.method(), "PUT");
    /// ```
    pub fn method(&self) -> &str {
        &self.0.method
    }

    /// The request's path.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// let event = Event::builder("cms", "page").path("/webhooks/cms/en").build();
    /// assert_eq!(event.path().rsplit('/').next(), Some("en"));
    /// ```
    pub fn path(&self) -> &str {
        &self.0.path
    }

    /// The request's query, without the `?`.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// let event = Event::builder("cms", "page").query("lang=en&draft").build();
    /// assert!(event.query().is_some_and(|query| query.split('&').any(|pair| pair == "draft")));
    /// ```
    pub fn query(&self) -> Option<&str> {
        self.0.query.as_deref()
    }

    /// The first header of that name, in whichever case, if its value is UTF-8. Credentials read
    /// `[redacted]`.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// let event = Event::builder("shopify", "orders/paid").header("X-Shopify-Shop-Domain", "a.example").build();
    /// assert_eq!(event.header("x-shopify-shop-domain"), Some("a.example"));
    /// ```
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers().find(|(known, _)| known.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(value).ok()
    }

    /// All headers with their raw values, in the order received. A name may occur more than once.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// let event = Event::builder("crm", "t").header("x-tag", "a").header("x-tag", "b").build();
    /// let tags: Vec<_> = event.headers().filter(|(name, _)| *name == "x-tag").map(|(_, tag)| tag).collect();
    /// assert_eq!(tags, [b"a", b"b"]);
    /// ```
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice()))
    }

    /// The raw bytes that were received and verified.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// /// Passes on what came, to the last byte.
    /// fn handle(event: Event) -> Result<Outputs, Failure> {
    ///     Ok(outputs![Output::new("copy", event.body())])
    /// }
    /// # let host = hookweir_sdk::testing::Host::new();
    /// # let outputs = host.run(handle, Event::builder("s", "t").body([0xff]).build()).expect("handled");
    /// # assert_eq!(outputs[0].body(), [0xff]);
    /// ```
    pub fn body(&self) -> &[u8] {
        &self.0.body
    }

    /// The body as text; what is not UTF-8 reads as U+FFFD.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// let event = Event::builder("pager", "alert").body("disk full\n").build();
    /// assert_eq!(event.text().trim(), "disk full");
    /// ```
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.0.body)
    }

    /// The body from JSON.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Order {
    ///     id: String,
    ///     #[serde(default)]
    ///     notes: Vec<String>,
    /// }
    ///
    /// let order: Order = Event::builder("shop", "order").body(r#"{ "id": "A1" }"#).build().json()?;
    /// assert!(order.id == "A1" && order.notes.is_empty());
    ///
    /// let torn = Event::builder("shop", "order").body(r#"{ "id": 4242 }"#).build();
    /// let failure = torn.json::<Order>().map(drop).unwrap_err();
    /// assert_eq!(failure.message(), "malformed body: invalid type: integer, expected a string near line 1 column 3");
    /// # Ok::<(), Failure>(())
    /// ```
    ///
    /// # Errors
    /// A reject that says what did not fit and where, never what the body holds.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        json::read("body", &self.0.body)
    }

    /// The body from `application/x-www-form-urlencoded`, as Slack and Twilio send it. Values are
    /// text; fields may be of any type that reads from text, or an `Option` of one.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Command {
    ///     text: String,
    ///     urgent: Option<bool>,
    /// }
    ///
    /// let event = Event::builder("slack", "command").body("text=deploy+now&urgent=true&token=x").build();
    /// let command: Command = event.form()?;
    /// assert_eq!((command.text.as_str(), command.urgent), ("deploy now", Some(true)));
    /// # Ok::<(), Failure>(())
    /// ```
    ///
    /// # Errors
    /// A reject that says what did not fit, never what the body holds.
    pub fn form<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        form::parse(&self.0.body)
    }

    /// What the gateway tells beside the request: parent id, order key, trace context.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// fn handle(event: Event) -> Result<Outputs, Failure> {
    ///     if event.attribute("replayed-at-ms").is_some() {
    ///         log::info!("an operator had this delivered once more");
    ///     }
    ///     Ok(outputs![])
    /// }
    /// # let host = hookweir_sdk::testing::Host::new();
    /// # let event = Event::builder("s", "t").attribute("replayed-at-ms", "1").build();
    /// # host.run(handle, event).expect("handled");
    /// # assert_eq!(host.logs().len(), 1);
    /// ```
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// All attributes. Later gateways may add some.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// let event = Event::builder("shop", "order").attribute("order-key", "ada").build();
    /// assert_eq!(event.attributes().collect::<Vec<_>>(), [("order-key", "ada")]);
    /// ```
    pub fn attributes(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.attributes.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// Without headers and body: a log line is no place for either.
impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("id", &self.0.id)
            .field("source", &self.0.source)
            .field("event_type", &self.0.event_type)
            .field("attempt", &self.0.attempt)
            .field("body_bytes", &self.0.body.len())
            .finish_non_exhaustive()
    }
}
