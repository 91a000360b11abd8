//! Outputs: the events that a plugin makes. They commit with the attempt that made them, or not at
//! all, and are routed like any other event, with `plugin.NAME` as their source.

use std::fmt;

use serde::{Serialize, de::DeserializeOwned};

use crate::{Failure, export::bindings::hookweir::plugin::types, json};

/// An event that a plugin makes.
///
/// ```
/// use hookweir_sdk::prelude::*;
/// use serde_json::{Value, json};
///
/// let paid = Output::json("order.paid", &json!({ "order": "4711" }))?.attribute("region", "eu");
/// assert_eq!(paid.event_type(), "order.paid");
/// assert_eq!(paid.parse::<Value>()?["order"], "4711");
/// # Ok::<(), Failure>(())
/// ```
#[derive(Clone)]
pub struct Output(types::Output);

impl Output {
    /// An output with these bytes as its body. The type is 1 to 256 bytes without white space or
    /// control characters; the gateway refuses an attempt that returns another.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// let seen = Output::new("order.seen", "A1");
    /// assert_eq!((seen.event_type(), seen.body()), ("order.seen", &b"A1"[..]));
    /// ```
    pub fn new(event_type: impl Into<String>, body: impl Into<Vec<u8>>) -> Self {
        Self(types::Output {
            event_type: event_type.into(),
            headers: Vec::new(),
            body: body.into(),
            attributes: Vec::new(),
        })
    }

    /// An output with `value` as JSON and the content type that says so.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// #[derive(serde::Serialize)]
    /// struct Paid<'o> {
    ///     order: &'o str,
    ///     cents: u64,
    /// }
    ///
    /// let paid = Output::json("order.paid", &Paid { order: "A1", cents: 499 })?;
    /// assert_eq!(paid.body(), br#"{"order":"A1","cents":499}"#);
    /// # Ok::<(), Failure>(())
    /// ```
    ///
    /// # Errors
    /// A reject if `value` can't be written as JSON: a map with keys that are no strings.
    pub fn json<T: Serialize + ?Sized>(
        event_type: impl Into<String>,
        value: &T,
    ) -> Result<Self, Failure> {
        let body = json::write(value)?;
        Ok(Self::new(event_type, body).header("content-type", "application/json"))
    }

    /// With one header more.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// let page = Output::new("page", "<p>hello").header("content-type", "text/html");
    /// assert!(page.headers().any(|header| header == ("content-type", b"text/html".as_slice())));
    /// ```
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.0.headers.push((name.into(), value.into()));
        self
    }

    /// With one attribute more.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// // Whoever subscribes finds it by `event.attribute("region")`.
    /// let paid = Output::new("order.paid", "A1").attribute("region", "eu");
    /// assert_eq!(paid.attributes().next(), Some(("region", "eu")));
    /// ```
    pub fn attribute(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.attributes.push((name.into(), value.into()));
        self
    }

    /// What happened.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// let outputs = outputs![Output::new("order.paid", "A1"), Output::new("mail", "A1")];
    /// assert!(outputs.iter().any(|output| output.event_type() == "mail"));
    /// ```
    pub fn event_type(&self) -> &str {
        &self.0.event_type
    }

    /// The body.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// assert_eq!(Output::new("order.paid", "A1").body(), b"A1");
    /// ```
    pub fn body(&self) -> &[u8] {
        &self.0.body
    }

    /// The headers that were set.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// let paid = Output::json("order.paid", &1)?;
    /// assert_eq!(paid.headers().collect::<Vec<_>>(), [("content-type", b"application/json".as_slice())]);
    /// # Ok::<(), Failure>(())
    /// ```
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice()))
    }

    /// The attributes that were set.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// assert_eq!(Output::new("order.paid", "A1").attributes().count(), 0);
    /// ```
    pub fn attributes(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.attributes.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The body from JSON, for tests.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    /// use hookweir_sdk::testing::Host;
    ///
    /// fn handle(event: Event) -> Result<Outputs, Failure> {
    ///     Ok(outputs![Output::json("length", &event.body().len())?])
    /// }
    /// let outputs = Host::new().run(handle, Event::builder("s", "t").body("four").build()).expect("handled");
    /// assert_eq!(outputs[0].parse::<usize>().expect("a number"), 4);
    /// ```
    ///
    /// # Errors
    /// A reject that says what did not fit and where.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        json::read("body", &self.0.body)
    }
}

/// Without header values and body, as with events.
impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output")
            .field("event_type", &self.0.event_type)
            .field("body_bytes", &self.0.body.len())
            .finish_non_exhaustive()
    }
}

/// What an attempt made: none, one or many outputs. [`outputs!`](crate::outputs) writes one down.
///
/// ```
/// use hookweir_sdk::prelude::*;
///
/// let nothing = outputs![];
/// assert!(nothing.is_empty());
/// let mut two: Outputs = vec![Output::new("a", "1"), Output::new("b", "2")].into();
/// two.push(Output::new("c", "3"));
/// assert_eq!(two.iter().map(Output::event_type).collect::<Vec<_>>(), ["a", "b", "c"]);
/// ```
#[derive(Debug, Clone, Default)]
pub struct Outputs(Vec<Output>);

impl Outputs {
    /// One output more.
    ///
    /// ```
    /// use hookweir_sdk::prelude::*;
    ///
    /// fn handle(event: Event) -> Result<Outputs, Failure> {
    ///     let mut outputs = outputs![Output::new("seen", event.id())];
    ///     if event.text().contains("urgent") {
    ///         outputs.push(Output::new("page", event.body()));
    ///     }
    ///     Ok(outputs)
    /// }
    /// # let host = hookweir_sdk::testing::Host::new();
    /// # let event = Event::builder("s", "t").body("urgent").build();
    /// # assert_eq!(host.run(handle, event).expect("handled").len(), 2);
    /// ```
    pub fn push(&mut self, output: Output) {
        self.0.push(output);
    }

    pub(crate) fn into_wire(self) -> Vec<types::Output> {
        self.0.into_iter().map(|output| output.0).collect()
    }
}

impl std::ops::Deref for Outputs {
    type Target = [Output];

    fn deref(&self) -> &[Output] {
        &self.0
    }
}

impl From<Vec<Output>> for Outputs {
    fn from(outputs: Vec<Output>) -> Self {
        Self(outputs)
    }
}

impl From<Output> for Outputs {
    fn from(output: Output) -> Self {
        Self(vec![output])
    }
}

impl FromIterator<Output> for Outputs {
    fn from_iter<I: IntoIterator<Item = Output>>(outputs: I) -> Self {
        Self(outputs.into_iter().collect())
    }
}

impl Extend<Output> for Outputs {
    fn extend<I: IntoIterator<Item = Output>>(&mut self, outputs: I) {
        self.0.extend(outputs);
    }
}

impl IntoIterator for Outputs {
    type Item = Output;
    type IntoIter = std::vec::IntoIter<Output>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Outputs {
    type Item = &'a Output;
    type IntoIter = std::slice::Iter<'a, Output>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

/// Writes down an [`Outputs`], as `vec!` does a vector: `outputs![Output::json("order.paid", &order)?]`.
///
/// ```
/// use hookweir_sdk::prelude::*;
///
/// assert!(outputs![].is_empty());
/// let two = outputs![Output::new("order.paid", "A1"), Output::json("mail", &("ada", "A1"))?];
/// assert_eq!(two.len(), 2);
/// # Ok::<(), Failure>(())
/// ```
#[macro_export]
macro_rules! outputs {
    ($($output:expr),* $(,)?) => {
        $crate::Outputs::from(::std::vec::Vec::<$crate::Output>::from([$($output),*]))
    };
}
