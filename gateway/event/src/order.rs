//! Order keys: what is to be handled one after another.

use std::fmt;

use crate::Digest;

/// The longest order key that is kept as it is, in bytes.
const LEN_MAX: usize = 128;

/// Deliveries of one plugin with the same key run one after another, in the order they were committed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrderKey(String);

impl OrderKey {
    /// The key that `text` is. In place of a text of more than 128 bytes stands its SHA-256, in hex: it
    /// serves as well, and nobody fills the store with keys.
    pub fn new(text: &str) -> Self {
        match text.len() {
            ..=LEN_MAX => Self(text.to_owned()),
            _ => Self(Digest::of(text.as_bytes()).to_string()),
        }
    }

    /// As it is kept.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for OrderKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_hashed_and_stays_apart_from_others() {
        let long = |end: &str| OrderKey::new(&("x".repeat(LEN_MAX) + end));
        assert_eq!(OrderKey::new(&"x".repeat(LEN_MAX)).as_str().len(), LEN_MAX);
        assert_eq!(long("1").as_str().len(), 64);
        assert_ne!(long("1"), long("2"));
    }
}
