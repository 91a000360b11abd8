//! What an operator's token may do.

use std::{fmt, str::FromStr};

use serde::Serialize;

/// What a token may do. Each scope has the ones before it in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Look at everything.
    Read,
    /// Have events and dead letters tried again, and plugins' versions changed.
    Operate,
    /// Approve what plugins want, change their state, and have the config read again.
    Admin,
}

impl Scope {
    /// All there are, the least first.
    pub const ALL: [Self; 3] = [Self::Read, Self::Operate, Self::Admin];

    /// The word in the config and in the API's description.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Operate => "operate",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Scope {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|scope| scope.as_str() == text);
        found.ok_or("expected \"read\", \"operate\" or \"admin\"")
    }
}
