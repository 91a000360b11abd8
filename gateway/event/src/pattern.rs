//! Subscriptions: patterns `source/type` that route events to plugins.

use std::{fmt, str::FromStr};

use thiserror::Error;

use crate::{EventType, Origin};

/// A pattern `source/type`, such as `stripe/payment_intent.*`.
///
/// The source is a configured source's name, `plugin.NAME`, `gateway`, or `*`, which stands for any
/// configured source and for nothing else. In the type, each `*` stands for any run of characters,
/// none included.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pattern {
    origin: Option<Origin>,
    event_type: Box<str>,
}

/// Why a text is not a pattern.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PatternError {
    /// No `/` between source and type.
    #[error("a subscription is `source/type`, such as `github/push` or `stripe/payment_intent.*`")]
    NoSlash,
    /// The part before the first `/` is no source.
    #[error("`{0}` is not a source: name one, or write `plugin.NAME`, `gateway` or `*`")]
    Origin(String),
    /// The part behind the first `/` can't be a type.
    #[error("`{0}` is not an event type or a pattern for one")]
    Type(String),
}

impl Pattern {
    /// Whether an event of this origin and type is meant.
    pub fn matches(&self, origin: &Origin, event_type: &EventType) -> bool {
        let from = match &self.origin {
            Some(named) => named == origin,
            None => matches!(origin, Origin::Source(_)),
        };
        from && glob(self.event_type.as_bytes(), event_type.as_str().as_bytes())
    }

    /// The origin that is written out; `None` for `*`.
    pub fn origin(&self) -> Option<&Origin> {
        self.origin.as_ref()
    }

    /// Whether it takes events of any source, which the operator must have granted.
    pub fn is_wide(&self) -> bool {
        self.origin.is_none()
    }
}

/// Matches with `*` for any run of bytes. Goes back to the last star only, so the time is bounded by
/// the product of the lengths, whoever wrote the pattern.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p, t));
            p += 1;
        } else if pattern.get(p) == Some(&text[t]) {
            p += 1;
            t += 1;
        } else if let Some((at, taken)) = star {
            star = Some((at, taken + 1));
            p = at + 1;
            t = taken + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|&b| b == b'*')
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let (origin, event_type) = text.split_once('/').ok_or(PatternError::NoSlash)?;
        let origin = match origin {
            "*" => None,
            named => Some(named.parse().map_err(|_| PatternError::Origin(named.to_owned()))?),
        };
        // A pattern obeys the rules of the types that it matches.
        let event_type: EventType =
            event_type.parse().map_err(|_| PatternError::Type(event_type.to_owned()))?;
        Ok(Self { origin, event_type: event_type.as_str().into() })
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Some(origin) => write!(f, "{origin}/{}", self.event_type),
            None => write!(f, "*/{}", self.event_type),
        }
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, event: &str) -> bool {
        let (origin, event_type) = event.split_once('/').unwrap();
        let pattern: Pattern = pattern.parse().unwrap();
        pattern.matches(&origin.parse().unwrap(), &event_type.parse().unwrap())
    }

    #[test]
    fn a_star_in_the_type_is_any_run() {
        assert!(matches("stripe/payment_intent.*", "stripe/payment_intent.succeeded"));
        assert!(matches("stripe/*", "stripe/charge.refunded"));
        assert!(matches("stripe/*.refunded", "stripe/charge.refunded"));
        assert!(matches("shopify/orders/*", "shopify/orders/create"));
        assert!(!matches("stripe/payment_intent.*", "stripe/payment_intent"));
        assert!(!matches("github/push", "github/pushed"));
        assert!(!matches("github/push", "gitlab/push"));
    }

    #[test]
    fn a_star_as_source_is_any_configured_source_only() {
        assert!(matches("*/push", "github/push"));
        assert!(!matches("*/push", "plugin.github/push"));
        assert!(!matches("*/alert.latency", "gateway/alert.latency"));
        assert!(matches("plugin.github/*", "plugin.github/ci.trigger"));
        assert!(matches("gateway/alert.*", "gateway/alert.latency"));
    }

    #[test]
    fn what_is_no_pattern_says_why() {
        assert_eq!("push".parse::<Pattern>(), Err(PatternError::NoSlash));
        assert_eq!("Git/push".parse::<Pattern>(), Err(PatternError::Origin("Git".into())));
        assert_eq!("git*/push".parse::<Pattern>(), Err(PatternError::Origin("git*".into())));
        assert_eq!("github/".parse::<Pattern>(), Err(PatternError::Type(String::new())));
    }

    /// The definition, in exponential time: what `glob` must agree with.
    fn slow_glob(pattern: &[u8], text: &[u8]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some((b'*', rest)) => (0..=text.len()).any(|n| slow_glob(rest, &text[n..])),
            Some((first, rest)) => {
                text.split_first().is_some_and(|(t, tail)| t == first && slow_glob(rest, tail))
            }
        }
    }

    proptest! {
        #[test]
        fn globbing_follows_its_definition(pattern in "[ab*]{0,8}", text in "[ab]{0,10}") {
            prop_assert_eq!(
                glob(pattern.as_bytes(), text.as_bytes()),
                slow_glob(pattern.as_bytes(), text.as_bytes())
            );
        }

        #[test]
        fn a_pattern_reads_back(text in "(\\*|gateway|plugin\\.[a-z0-9-]{1,5}|[a-z0-9-]{1,5})/[a-z.*/_]{1,12}") {
            let pattern: Pattern = text.parse().unwrap();
            prop_assert_eq!(pattern.to_string(), text);
        }
    }
}
