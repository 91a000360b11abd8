//! Names: of sources, plugins and event types, and where an event comes from.

use std::{fmt, str::FromStr};

use thiserror::Error;

/// The longest name of a source or plugin.
const NAME_MAX: usize = 64;
/// The longest event type. Providers' own stay far below.
const TYPE_MAX: usize = 256;

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NameError {
    /// A character outside `[a-z0-9-]`, or none at all.
    #[error("a name is made of a-z, 0-9 and '-', at most {NAME_MAX} of them")]
    Malformed,
    /// `gateway` and `plugin` mark events that no source made.
    #[error("'gateway' and 'plugin' are reserved")]
    Reserved,
    /// An empty event type, one that is too long, or one with white space or control characters.
    #[error("an event type is 1 to {TYPE_MAX} bytes without white space or control characters")]
    Type,
}

fn checked(text: &str) -> Result<Box<str>, NameError> {
    let fits = (1..=NAME_MAX).contains(&text.len());
    if !fits || !text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-')) {
        return Err(NameError::Malformed);
    }
    match text {
        "gateway" | "plugin" => Err(NameError::Reserved),
        _ => Ok(text.into()),
    }
}

macro_rules! text_newtype {
    ($(#[$meta:meta])* $name:ident, $check:expr) => {
        $(#[$meta])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Box<str>);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                let check: fn(&str) -> Result<Box<str>, NameError> = $check;
                check(text).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}

text_newtype!(
    /// The name of a configured source: `[a-z0-9-]+`.
    SourceName,
    checked
);
text_newtype!(
    /// The name of a plugin: `[a-z0-9-]+`, the stem of its file.
    PluginName,
    checked
);
text_newtype!(
    /// What happened, in the provider's words: `push`, `payment_intent.succeeded`, `orders/create`.
    EventType,
    |text| {
        let fits = (1..=TYPE_MAX).contains(&text.len());
        let clean = !text.chars().any(|c| c.is_whitespace() || c.is_control());
        if fits && clean { Ok(text.into()) } else { Err(NameError::Type) }
    }
);

/// Where an event comes from. Only a verified webhook has a source's name, so nothing that a plugin
/// makes can pass for one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// A configured ingress endpoint.
    Source(SourceName),
    /// A plugin's output; written `plugin.NAME`.
    Plugin(PluginName),
    /// The gateway itself; written `gateway`.
    Gateway,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source(name) => f.pad(name.as_str()),
            Self::Plugin(name) => f.pad(&format!("plugin.{name}")),
            Self::Gateway => f.pad("gateway"),
        }
    }
}

impl FromStr for Origin {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        match text.strip_prefix("plugin.") {
            Some(name) => name.parse().map(Self::Plugin),
            None if text == "gateway" => Ok(Self::Gateway),
            None => text.parse().map(Self::Source),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_lower_case_and_not_reserved() {
        assert!("github-2".parse::<SourceName>().is_ok());
        for bad in ["", "GitHub", "a.b", "a/b", "ä", &"x".repeat(65)] {
            assert_eq!(bad.parse::<PluginName>(), Err(NameError::Malformed), "{bad}");
        }
        assert_eq!("gateway".parse::<SourceName>(), Err(NameError::Reserved));
        assert_eq!("plugin".parse::<PluginName>(), Err(NameError::Reserved));
    }

    #[test]
    fn a_type_has_no_white_space() {
        assert!("payment_intent.succeeded".parse::<EventType>().is_ok());
        assert!("orders/create".parse::<EventType>().is_ok());
        for bad in ["", "a b", "a\n", &"x".repeat(257)] {
            assert_eq!(bad.parse::<EventType>(), Err(NameError::Type), "{bad:?}");
        }
    }

    #[test]
    fn an_origin_reads_back() {
        for text in ["github", "plugin.github", "gateway"] {
            assert_eq!(text.parse::<Origin>().map(|o| o.to_string()).as_deref(), Ok(text));
        }
        assert!("plugin.".parse::<Origin>().is_err());
        assert!("plugin".parse::<Origin>().is_err());
    }
}
