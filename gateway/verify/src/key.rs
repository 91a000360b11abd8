//! Secrets and the algorithms that use them. A key is prepared once, when the configuration is read:
//! verifying clones the keyed state instead of hashing the key again. Keys print as `[redacted]`, are
//! compared in constant time and are overwritten when dropped.

use std::{fmt, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use hookweir_event::{REDACTED, Timestamp};
use sha1::Sha1;
use sha2::{Digest as _, Sha256, Sha512};
use subtle::ConstantTimeEq as _;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::{
    encoding::{Claimed, hex},
    template::Message,
};

/// How a signature is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Algorithm {
    HmacSha1,
    HmacSha256,
    HmacSha512,
    /// The secret itself is sent: a static token. Nothing is signed.
    Equal,
}

impl Algorithm {
    pub(crate) const NAMES: [&'static str; 4] =
        ["hmac-sha1", "hmac-sha256", "hmac-sha512", "equal"];

    pub(crate) fn parse(name: &str) -> Option<Self> {
        match name {
            "hmac-sha1" => Some(Self::HmacSha1),
            "hmac-sha256" => Some(Self::HmacSha256),
            "hmac-sha512" => Some(Self::HmacSha512),
            "equal" => Some(Self::Equal),
            _ => None,
        }
    }
}

/// How a configured secret is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SecretEncoding {
    /// The text's bytes are the key, `whsec_` included: Stripe.
    Raw,
    Hex,
    Base64,
    /// Base64 behind an optional `whsec_`: Standard Webhooks.
    Whsec,
}

impl SecretEncoding {
    pub(crate) const NAMES: [&'static str; 4] = ["raw", "hex", "base64", "whsec"];

    pub(crate) fn parse(name: &str) -> Option<Self> {
        match name {
            "raw" => Some(Self::Raw),
            "hex" => Some(Self::Hex),
            "base64" => Some(Self::Base64),
            "whsec" => Some(Self::Whsec),
            _ => None,
        }
    }

    fn decode(self, text: &str) -> Result<Zeroizing<Vec<u8>>, KeyFault> {
        let base64 =
            |text: &str, fault| STANDARD.decode(text).map(Zeroizing::new).map_err(|_| fault);
        let bytes = match self {
            Self::Raw => Zeroizing::new(text.as_bytes().to_vec()),
            Self::Hex => {
                let mut bytes = Zeroizing::new(vec![0; text.len() / 2]);
                hex(text, &mut bytes, true).ok_or(KeyFault::NotHex)?;
                bytes
            }
            Self::Base64 => base64(text, KeyFault::NotBase64)?,
            Self::Whsec => base64(text.strip_prefix("whsec_").unwrap_or(text), KeyFault::NotWhsec)?,
        };
        if bytes.is_empty() { Err(KeyFault::Empty) } else { Ok(bytes) }
    }
}

/// Why a configured text can't be a secret. Never quotes it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum KeyFault {
    /// With an empty key anyone can sign.
    #[error("the secret is empty")]
    Empty,
    /// A pasted newline fails every signature, and nothing would say why.
    #[error("the secret begins or ends with white space or a newline; remove it")]
    WhiteSpace,
    /// The scheme's secrets are hex.
    #[error("this scheme's secrets are hex digits, two for each byte")]
    NotHex,
    /// The scheme's secrets are base64.
    #[error("this scheme's secrets are base64, with padding")]
    NotBase64,
    /// The scheme's secrets are base64 behind `whsec_`.
    #[error("this scheme's secrets are base64, with padding, behind `whsec_`")]
    NotWhsec,
    /// An insecure source checks nothing.
    #[error("an insecure source has no secrets")]
    Insecure,
}

/// A secret prepared for one scheme.
#[derive(Clone)]
pub struct Key(Arc<[Prepared]>);

impl Key {
    /// Prepares `text` for each rule of a scheme, which differ in algorithm or encoding at most.
    pub(crate) fn prepare(
        text: &str,
        rules: impl Iterator<Item = (Algorithm, SecretEncoding)>,
    ) -> Result<Self, KeyFault> {
        if text.is_empty() {
            return Err(KeyFault::Empty);
        }
        if text.trim() != text {
            return Err(KeyFault::WhiteSpace);
        }
        rules
            .map(|(algorithm, encoding)| Ok(Prepared::new(algorithm, encoding.decode(text)?)))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// The state for the rule with this index; none if the key was made for a scheme with fewer.
    pub(crate) fn for_rule(&self, index: usize) -> Option<&Prepared> {
        self.0.get(index)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({REDACTED})")
    }
}

/// A key and when it may be used.
#[derive(Debug, Clone)]
pub struct Secret {
    /// The key.
    pub key: Key,
    /// Not used before this time.
    pub from: Option<Timestamp>,
    /// Not used at this time or later.
    pub until: Option<Timestamp>,
}

impl Secret {
    /// A secret without an end.
    pub fn new(key: Key) -> Self {
        Self { key, from: None, until: None }
    }

    /// Whether it may be used at this time.
    pub fn is_valid(&self, now: Timestamp) -> bool {
        self.from.is_none_or(|from| from <= now) && self.until.is_none_or(|until| now < until)
    }
}

/// The state that an algorithm keeps of a key.
pub(crate) enum Prepared {
    HmacSha1(Hmac<Sha1>),
    HmacSha256(Hmac<Sha256>),
    HmacSha512(Hmac<Sha512>),
    Token(Zeroizing<Vec<u8>>),
}

impl Prepared {
    fn new(algorithm: Algorithm, bytes: Zeroizing<Vec<u8>>) -> Self {
        match algorithm {
            Algorithm::HmacSha1 => Self::HmacSha1(keyed(&bytes)),
            Algorithm::HmacSha256 => Self::HmacSha256(keyed(&bytes)),
            Algorithm::HmacSha512 => Self::HmacSha512(keyed(&bytes)),
            Algorithm::Equal => Self::Token(bytes),
        }
    }

    /// Whether this key is for that algorithm: a key of another one never matches, so a signature
    /// can't choose how it is checked.
    fn is_for(&self, algorithm: Algorithm) -> bool {
        matches!(
            (self, algorithm),
            (Self::HmacSha1(_), Algorithm::HmacSha1)
                | (Self::HmacSha256(_), Algorithm::HmacSha256)
                | (Self::HmacSha512(_), Algorithm::HmacSha512)
                | (Self::Token(_), Algorithm::Equal)
        )
    }

    /// Whether any of `claimed` is this key's signature of `message`.
    pub(crate) fn matches(
        &self,
        algorithm: Algorithm,
        message: &Message<'_>,
        claimed: &[Claimed<'_>],
    ) -> bool {
        if !self.is_for(algorithm) {
            return false;
        }
        match self {
            Self::HmacSha1(mac) => any_equal(&tag(mac, message), claimed),
            Self::HmacSha256(mac) => any_equal(&tag(mac, message), claimed),
            Self::HmacSha512(mac) => any_equal(&tag(mac, message), claimed),
            // Comparing digests hides the token's length too.
            Self::Token(token) => {
                let token = Sha256::digest(token);
                claimed.iter().any(|c| Sha256::digest(c.as_bytes()).ct_eq(&token).into())
            }
        }
    }

    /// This key's signature of `message`; a token is its own.
    pub(crate) fn sign(&self, algorithm: Algorithm, message: &Message<'_>) -> Option<Vec<u8>> {
        if !self.is_for(algorithm) {
            return None;
        }
        Some(match self {
            Self::HmacSha1(mac) => tag(mac, message).to_vec(),
            Self::HmacSha256(mac) => tag(mac, message).to_vec(),
            Self::HmacSha512(mac) => tag(mac, message).to_vec(),
            Self::Token(token) => token.to_vec(),
        })
    }
}

fn keyed<M: KeyInit>(key: &[u8]) -> M {
    M::new_from_slice(key).expect("invariant: HMAC takes a key of any length")
}

fn tag<M: Mac + Clone>(keyed: &M, message: &Message<'_>) -> hmac::digest::Output<M> {
    let mut mac = keyed.clone();
    message.pieces().for_each(|piece| mac.update(piece));
    mac.finalize().into_bytes()
}

fn any_equal(tag: &[u8], claimed: &[Claimed<'_>]) -> bool {
    // Lengths are public; contents are compared in constant time.
    claimed.iter().any(|c| c.as_bytes().ct_eq(tag).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str, encoding: SecretEncoding) -> Result<Key, KeyFault> {
        Key::prepare(text, [(Algorithm::HmacSha256, encoding)].into_iter())
    }

    #[test]
    fn a_secret_that_was_pasted_badly_is_refused() {
        assert_eq!(key("", SecretEncoding::Raw).unwrap_err(), KeyFault::Empty);
        for text in ["a\n", " a", "a\r\n", "\ta", "\n"] {
            assert_eq!(
                key(text, SecretEncoding::Raw).unwrap_err(),
                KeyFault::WhiteSpace,
                "{text:?}"
            );
        }
        assert_eq!(key("abc", SecretEncoding::Hex).unwrap_err(), KeyFault::NotHex);
        assert_eq!(key("a", SecretEncoding::Hex).unwrap_err(), KeyFault::NotHex);
        assert_eq!(key("YQ", SecretEncoding::Base64).unwrap_err(), KeyFault::NotBase64);
        assert_eq!(key("whsec_?", SecretEncoding::Whsec).unwrap_err(), KeyFault::NotWhsec);
        assert_eq!(key("whsec_", SecretEncoding::Whsec).unwrap_err(), KeyFault::Empty);
        assert!(key("whsec_", SecretEncoding::Raw).is_ok());
    }

    #[test]
    fn a_key_does_not_print() {
        let secret = Secret::new(key("hunter2", SecretEncoding::Raw).unwrap());
        assert_eq!(
            format!("{secret:?}"),
            "Secret { key: Key([redacted]), from: None, until: None }"
        );
    }

    #[test]
    fn a_key_is_wiped_when_dropped() {
        fn wiped<T: zeroize::ZeroizeOnDrop>() {}
        // An HMAC's state is two states of its hash and their block.
        wiped::<Sha1>();
        wiped::<Sha256>();
        wiped::<Sha512>();
        wiped::<Zeroizing<Vec<u8>>>();
    }

    #[test]
    fn a_secret_is_valid_from_its_start_and_before_its_end() {
        let at = Timestamp::from_secs;
        let key = key("a", SecretEncoding::Raw).unwrap();
        let secret = Secret { key, from: Some(at(10)), until: Some(at(20)) };
        assert!(!secret.is_valid(at(9)));
        assert!(secret.is_valid(at(10)));
        assert!(secret.is_valid(at(19)));
        assert!(!secret.is_valid(at(20)));
    }
}
