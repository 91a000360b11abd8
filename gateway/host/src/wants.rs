//! What a plugin wants, in its own words: JSON in the custom section `hookweir:wants`.
//!
//! The SDK's macro writes it. Unknown keys are ignored, so that a plugin built with a newer SDK loads
//! on this gateway. What a plugin wants is not what it gets: that is the operator's grant.

use hookweir_event::{Pattern, PatternError};
use serde::Deserialize;

use crate::egress::{HttpOrigin, OriginError};

/// The section's name, in the core module or in the component around it.
pub(crate) const SECTION: &str = "hookweir:wants";

/// What a plugin wants.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wants {
    /// The SDK that built it, with its version.
    pub sdk: Option<String>,
    /// Which events.
    pub subscribe: Vec<Pattern>,
    /// Where it sends requests.
    pub http: Vec<HttpOrigin>,
    /// Which secrets it names.
    pub secrets: Vec<String>,
}

/// The section as it is written; [`Wants`] is what it means.
#[derive(Deserialize)]
struct Written {
    sdk: Option<String>,
    #[serde(default)]
    subscribe: Vec<String>,
    #[serde(default)]
    http: Vec<String>,
    #[serde(default)]
    secrets: Vec<String>,
}

impl Wants {
    /// Reads a section's bytes. The error is a sentence without the section's name.
    pub(crate) fn read(section: &[u8]) -> Result<Self, String> {
        let written: Written =
            serde_json::from_slice(section).map_err(|error| error.to_string())?;
        let subscribe = written.subscribe.iter().map(|text| text.parse());
        let origin =
            |text: &String| text.parse().map_err(|error: OriginError| format!("`{text}`: {error}"));
        Ok(Self {
            sdk: written.sdk,
            subscribe: subscribe
                .collect::<Result<_, PatternError>>()
                .map_err(|error| error.to_string())?,
            http: written.http.iter().map(origin).collect::<Result<_, _>>()?,
            secrets: written.secrets,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_keys_are_ignored() {
        let wants = Wants::read(br#"{"sdk":"0.1.0","subscribe":["stripe/*"],"later":{"a":1}}"#);
        let wants = wants.unwrap();
        assert_eq!(wants.sdk.as_deref(), Some("0.1.0"));
        assert_eq!(wants.subscribe, ["stripe/*".parse().unwrap()]);
        assert!(wants.http.is_empty());
    }

    #[test]
    fn a_pattern_that_is_none_is_said() {
        let error = Wants::read(br#"{"subscribe":["push"]}"#).unwrap_err();
        assert!(error.contains("source/type"), "{error}");
    }
}
