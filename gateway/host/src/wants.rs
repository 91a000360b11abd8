//! What a plugin wants, in its own words: JSON in the custom section `hookweir:wants`.
//!
//! The SDK's macro writes it; for what other toolchains make, [`Wants::put_into`] does. Unknown keys are
//! ignored, so that a plugin built with a newer SDK loads on this gateway. What a plugin wants is not what it gets: that is the operator's grant. Operators are
//! shown it as text to add to their config, so names are held to what can't be taken for anything else.

use hookweir_event::{Pattern, PatternError};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use wasmparser::{Parser, Payload};

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
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct WantsText {
    /// The SDK, or what else made the component, with its version.
    pub sdk: Option<String>,
    /// Patterns.
    #[serde(default)]
    pub subscribe: Vec<String>,
    /// Origins.
    #[serde(default)]
    pub http: Vec<String>,
    /// Names of secrets.
    #[serde(default)]
    pub secrets: Vec<String>,
}

/// Why a file can't be told what it wants.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PutFault {
    /// It is no module and no component, or a broken one.
    #[error("the file is not valid WebAssembly: {0}")]
    Malformed(String),
    /// It says so already: two such sections would leave open which one counts.
    #[error("the file has a section `{section}` already", section = SECTION)]
    Twice,
}

impl Wants {
    /// Reads a section's bytes. The error is a sentence without the section's name.
    pub(crate) fn read(section: &[u8]) -> Result<Self, String> {
        Self::of(serde_json::from_slice(section).map_err(|error| error.to_string())?)
    }

    /// What this text means.
    ///
    /// # Errors
    /// A sentence that names what is no pattern, no origin or no name, or is too much.
    pub fn of(written: WantsText) -> Result<Self, String> {
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

    /// A module or component that says so: the file with one section more. Wishes lie in the file itself
    /// since a version is the digest of its bytes: what is kept, pinned or gone back to brings its own.
    ///
    /// # Errors
    /// [`PutFault`].
    pub fn put_into(&self, file: &[u8]) -> Result<Vec<u8>, PutFault> {
        for payload in Parser::new(0).parse_all(file) {
            let payload = payload.map_err(|error| PutFault::Malformed(error.to_string()))?;
            if matches!(&payload, Payload::CustomSection(section) if section.name() == SECTION) {
                return Err(PutFault::Twice);
            }
        }
        let written = WantsText {
            sdk: self.sdk.clone(),
            subscribe: self.subscribe.iter().map(ToString::to_string).collect(),
            http: self.http.iter().map(ToString::to_string).collect(),
            secrets: self.secrets.clone(),
        };
        let json = serde_json::to_vec(&written).expect("invariant: texts become JSON");
        Ok([file, &custom_section(SECTION, &json)].concat())
    }
}

/// A custom section: WebAssembly core specification, 5.5.3; those of components are written the same way.
fn custom_section(name: &str, content: &[u8]) -> Vec<u8> {
    let mut inner = length(name.len());
    inner.extend([name.as_bytes(), content].concat());
    let mut section = vec![0];
    section.extend(length(inner.len()));
    section.extend(inner);
    section
}

/// Unsigned LEB128: seven bits a byte, the lowest first.
fn length(mut rest: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(rest & 0x7f).expect("invariant: seven bits fit");
        rest >>= 7;
        bytes.push(if rest == 0 { low } else { low | 0x80 });
        if rest == 0 {
            return bytes;
        }
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
    fn what_is_put_into_a_file_is_read_from_it() {
        // Long enough that its length takes two bytes.
        let secrets: Vec<_> = (0..20).map(|n| format!("SECRET_NUMBER_{n}")).collect();
        let text = WantsText {
            sdk: Some("some-tool 1.2.3".into()),
            subscribe: vec!["stripe/*".into(), "plugin.a/b".into()],
            http: vec!["https://api.example.com".into(), "https://*.example.org".into()],
            secrets,
        };
        let wants = Wants::of(text).unwrap();
        for empty in ["(module)", "(component)", "(component (core module))"] {
            let file = wants.put_into(&wat::parse_str(empty).unwrap()).unwrap();
            let found =
                Parser::new(0).parse_all(&file).find_map(|payload| match payload.unwrap() {
                    Payload::CustomSection(section) => {
                        assert_eq!(section.name(), SECTION);
                        Some(Wants::read(section.data()).unwrap())
                    }
                    _ => None,
                });
            assert_eq!(found.as_ref(), Some(&wants), "{empty}");
            assert_eq!(wants.put_into(&file), Err(PutFault::Twice));
        }
        let broken = wants.put_into(b"\0asm\x01\0\0\0\x01");
        assert!(matches!(broken, Err(PutFault::Malformed(_))), "{broken:?}");
    }

    #[test]
    fn lengths_are_leb128() {
        for (length_of, bytes) in [
            (0, &[0][..]),
            (127, &[0x7f]),
            (128, &[0x80, 1]),
            // The example of the DWARF and WebAssembly specifications.
            (624_485, &[0xe5, 0x8e, 0x26]),
        ] {
            assert_eq!(length(length_of), bytes);
        }
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
