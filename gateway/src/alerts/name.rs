//! What is watched: a kind of trouble, and whose.

use std::{fmt, str::FromStr};

use hookweir_event::{PluginName, SourceName};

/// A kind of trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Deliveries take too long.
    Latency,
    /// Too many attempts fail.
    ErrorRate,
    /// A delivery is due for too long.
    QueueAge,
    /// There are too many dead letters.
    DeadLetters,
    /// Too many requests are refused.
    Refusals,
    /// Too little is left on the store's disk.
    Disk,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Latency,
        Self::ErrorRate,
        Self::QueueAge,
        Self::DeadLetters,
        Self::Refusals,
        Self::Disk,
    ];

    /// The word in events' types, in metrics and listings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Latency => "latency",
            Self::ErrorRate => "error-rate",
            Self::QueueAge => "queue-age",
            Self::DeadLetters => "dead-letters",
            Self::Refusals => "refusals",
            Self::Disk => "disk",
        }
    }
}

/// Whose trouble it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum About {
    /// The gateway's own.
    Gateway,
    /// A plugin's.
    Plugin(PluginName),
    /// A source's.
    Source(SourceName),
}

impl About {
    /// As a name and a value: `plugin` and its name, say. None for the gateway itself.
    pub fn label(&self) -> Option<(&'static str, String)> {
        match self {
            Self::Gateway => None,
            Self::Plugin(name) => Some(("plugin", name.to_string())),
            Self::Source(name) => Some(("source", name.to_string())),
        }
    }
}

/// One thing that is watched. As text it is `error-rate plugin payments`, or `disk`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    /// What.
    pub kind: Kind,
    /// Whose.
    pub about: About,
}

impl Name {
    /// Of a plugin.
    pub fn plugin(kind: Kind, name: &PluginName) -> Self {
        Self { kind, about: About::Plugin(name.clone()) }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.as_str())?;
        match self.about.label() {
            Some((what, name)) => write!(f, " {what} {name}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Name {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let words: Vec<_> = text.split(' ').collect();
        let kind = Kind::ALL.into_iter().find(|kind| Some(&kind.as_str()) == words.first());
        let about = match words[1..] {
            [] => Some(About::Gateway),
            ["plugin", name] => name.parse().ok().map(About::Plugin),
            ["source", name] => name.parse().ok().map(About::Source),
            _ => None,
        };
        let name = kind.zip(about).map(|(kind, about)| Self { kind, about });
        name.ok_or("expected the name of an alert, such as error-rate plugin payments")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        for text in ["disk", "latency plugin payments", "refusals source stripe"] {
            assert_eq!(text.parse::<Name>().unwrap().to_string(), text);
        }
        for text in ["", "noise", "latency payments", "latency plugin Payments", "disk plugin"] {
            assert!(text.parse::<Name>().is_err(), "{text}");
        }
    }
}
