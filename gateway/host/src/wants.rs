//! What a plugin wants, in its own words: JSON in the custom section `hookweir:wants`.
//!
//! The SDK's macro writes it. Unknown keys are ignored, so that a plugin built with a newer SDK loads
//! on this gateway. What a plugin wants is not what it gets: that is the operator's grant. Operators are
//! shown it as text to add to their config, so names are held to what can't be taken for anything else.

use hookweir_event::{Pattern, PatternError};
use serde::Deserialize;

use crate::egress::{HttpOrigin, OriginError};

/// The section's name, in the core module or in the component around it.
pub(crate) const SECTION: &str = "hookweir:wants";

/// The most patterns, and the most origins.
const LIST_MAX: usize = 100;
/// The most secrets.
const SECRETS_MAX: usize = 32;
/// The longest name of a secret, in bytes.
const SECRET_NAME_MAX: usize = 64;

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
        at_most(LIST_MAX, "patterns", written.subscribe.len())?;
        at_most(LIST_MAX, "origins", written.http.len())?;
        at_most(SECRETS_MAX, "secrets", written.secrets.len())?;
        let subscribe = written.subscribe.iter().map(|text| text.parse());
        let origin =
            |text: &String| text.parse().map_err(|error: OriginError| format!("`{text}`: {error}"));
        Ok(Self {
            sdk: written.sdk,
            subscribe: subscribe
                .collect::<Result<_, PatternError>>()
                .map_err(|error| error.to_string())?,
            http: written.http.iter().map(origin).collect::<Result<_, _>>()?,
            secrets: written.secrets.into_iter().map(secret).collect::<Result<_, _>>()?,
        })
    }
}

fn at_most(max: usize, what: &str, count: usize) -> Result<(), String> {
    if count <= max { Ok(()) } else { Err(format!("it names {count} {what}, more than {max}")) }
}

fn secret(name: String) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if (1..=SECRET_NAME_MAX).contains(&name.len()) && name.bytes().all(plain) {
        return Ok(name);
    }
    let shown: String = name.chars().take(SECRET_NAME_MAX).collect();
    Err(format!(
        "{shown:?} is no name of a secret: 1 to {SECRET_NAME_MAX} of A-Z, a-z, 0-9, '_' and '-'"
    ))
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

    #[test]
    fn a_secret_has_a_name_that_is_nothing_else() {
        let read = |name: &str| {
            Wants::read(serde_json::json!({ "secrets": [name] }).to_string().as_bytes())
        };
        let longest = "x".repeat(SECRET_NAME_MAX);
        for name in ["API_KEY", "a-1", &longest] {
            assert_eq!(read(name).unwrap().secrets, [name]);
        }
        for name in [
            "",
            "a.b",
            "a b",
            "\u{e9}",
            "x\"",
            &format!("{longest}x"),
            "x = 1\n[plugins.other]\nhttp = [\"https://*\"]\n#",
        ] {
            assert!(read(name).unwrap_err().contains("no name of a secret"), "{name}");
        }
    }

    #[test]
    fn a_plugin_wants_no_more_than_an_operator_can_read() {
        let read = |key: &str, item: &str, count| {
            Wants::read(serde_json::json!({ key: vec![item; count] }).to_string().as_bytes())
        };
        for (key, item, max) in [
            ("subscribe", "a/b", LIST_MAX),
            ("http", "https://a.b", LIST_MAX),
            ("secrets", "KEY", SECRETS_MAX),
        ] {
            assert!(read(key, item, max).is_ok());
            assert!(read(key, item, max + 1).unwrap_err().contains("more than"), "{key}");
        }
    }
}
