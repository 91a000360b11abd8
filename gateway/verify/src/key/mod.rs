//! Secrets and the algorithms that use them. A key is prepared once, when the configuration is read:
//! verifying clones the keyed state instead of hashing the key again. Keys print as `[redacted]`, are
//! compared in constant time and are overwritten when dropped.

mod algorithm;
mod chain;
mod encoding;
mod private;
mod public;

use std::{fmt, sync::Arc};

use hmac::{Hmac, KeyInit, Mac, digest::Digest};
use hookweir_event::{REDACTED, Timestamp};
use md5::Md5;
use sha1::Sha1;
use sha2::{Sha256, Sha384, Sha512};
use subtle::ConstantTimeEq as _;
use thiserror::Error;
use zeroize::Zeroizing;

pub(crate) use self::public::validity;
pub(crate) use self::{
    algorithm::{Algorithm, Hash},
    chain::Marks,
    encoding::SecretEncoding,
};
use self::{chain::Root, private::PrivateKey, public::PublicKey};
use crate::{
    encoding::Claimed,
    template::{Message, Piece},
};

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
    /// The scheme's senders sign with a private key; the source holds the public one.
    #[error(
        "this scheme wants a public key: PEM, a certificate, base64 or hex, or a JWK or set of JWKs"
    )]
    NotPublic,
    /// The scheme's senders send their certificates; the source holds the root that they lead to.
    #[error("this scheme wants the root certificate of its senders: PEM, or DER in base64")]
    NotRoot,
    /// The scheme's senders sign with a private key.
    #[error(
        "this scheme's senders sign with a private key: PEM that begins with `BEGIN PRIVATE KEY` (PKCS #8)"
    )]
    NotPrivate,
    /// A key for another algorithm: RSA where Ed25519 is signed with.
    #[error("this key is of another kind than the scheme's")]
    OtherKind,
    /// An insecure source checks nothing.
    #[error("an insecure source has no secrets")]
    Insecure,
}

/// A secret prepared for one scheme: for each of its rules, one state for each algorithm.
#[derive(Clone)]
pub struct Key(Arc<[Box<[Prepared]>]>);

impl Key {
    /// Prepares `text` for each rule of a scheme, which differ in algorithms or encoding at most.
    pub(crate) fn prepare<'r>(
        text: &str,
        rules: impl Iterator<Item = (&'r [Algorithm], &'r SecretEncoding)>,
    ) -> Result<Self, KeyFault> {
        Self::made(text, rules, Prepared::new)
    }

    /// The same, with a private key where others hold the public one.
    pub(crate) fn for_signing<'r>(
        text: &str,
        rules: impl Iterator<Item = (&'r [Algorithm], &'r SecretEncoding)>,
    ) -> Result<Self, KeyFault> {
        Self::made(text, rules, Prepared::for_signing)
    }

    fn made<'r>(
        text: &str,
        rules: impl Iterator<Item = (&'r [Algorithm], &'r SecretEncoding)>,
        make: impl Fn(Algorithm, &SecretEncoding, &str) -> Result<Prepared, KeyFault>,
    ) -> Result<Self, KeyFault> {
        if text.is_empty() {
            return Err(KeyFault::Empty);
        }
        if text.trim() != text && !text.starts_with("-----BEGIN ") {
            return Err(KeyFault::WhiteSpace);
        }
        let of_rule = |(algorithms, encoding): (&[Algorithm], &SecretEncoding)| {
            let mut fault = KeyFault::Empty;
            let prepared: Box<[_]> = algorithms
                .iter()
                .filter_map(|algorithm| {
                    make(*algorithm, encoding, text).map_err(|f| fault = f).ok()
                })
                .collect();
            if prepared.is_empty() { Err(fault) } else { Ok(prepared) }
        };
        let rules: Vec<_> = rules.map(of_rule).collect();
        // A preset may have rules for several kinds of key. One that fits any of them is a key.
        match rules.iter().find_map(|rule| rule.as_ref().err().cloned()) {
            Some(fault) if rules.iter().all(Result::is_err) => Err(fault),
            _ => Ok(Self(rules.into_iter().map(Result::unwrap_or_default).collect())),
        }
    }

    /// A text that is handed to somebody else as it is.
    pub(crate) fn plain(text: &str) -> Result<Self, KeyFault> {
        let encoding = SecretEncoding::Raw;
        Self::prepare(text, std::iter::once((&[Algorithm::Equal][..], &encoding)))
    }

    /// The text of a plain key.
    pub(crate) fn text(&self) -> Option<&str> {
        let prepared = self.for_rule(0, Algorithm::Equal)?;
        str::from_utf8(&prepared.secret).ok()
    }

    /// Whether it was made for the rule with this index too.
    pub(crate) fn is_for_rule(&self, index: usize) -> bool {
        self.0.get(index).is_some_and(|prepared| !prepared.is_empty())
    }

    /// The state for this algorithm and the rule with this index; none if the key was made for
    /// another. A key never serves an algorithm that it was not made for, so a signature can't
    /// choose how it is checked.
    pub(crate) fn for_rule(&self, index: usize, algorithm: Algorithm) -> Option<&Prepared> {
        self.0.get(index)?.iter().find(|prepared| prepared.algorithm == algorithm)
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

/// What an algorithm keeps of a key.
pub(crate) struct Prepared {
    algorithm: Algorithm,
    state: State,
    /// What `{secret}` stands for, and static tokens.
    secret: Zeroizing<Vec<u8>>,
}

enum State {
    HmacMd5(Hmac<Md5>),
    HmacSha1(Hmac<Sha1>),
    HmacSha256(Hmac<Sha256>),
    HmacSha384(Hmac<Sha384>),
    HmacSha512(Hmac<Sha512>),
    Secret,
    Public(Vec<PublicKey>),
    Private(PrivateKey),
    Root(Box<Root>),
}

impl Prepared {
    fn new(algorithm: Algorithm, encoding: &SecretEncoding, text: &str) -> Result<Self, KeyFault> {
        if *encoding == SecretEncoding::Root {
            let state = State::Root(Box::new(Root::read(text)?));
            return Ok(Self { algorithm, state, secret: Zeroizing::default() });
        }
        if algorithm.is_asymmetric() {
            let state = State::Public(PublicKey::read(text, algorithm)?);
            return Ok(Self { algorithm, state, secret: Zeroizing::default() });
        }
        let secret = encoding.decode(text)?;
        let state = match algorithm {
            Algorithm::Hmac(Hash::Md5) => State::HmacMd5(keyed(&secret)),
            Algorithm::Hmac(Hash::Sha1) => State::HmacSha1(keyed(&secret)),
            Algorithm::Hmac(Hash::Sha256) => State::HmacSha256(keyed(&secret)),
            Algorithm::Hmac(Hash::Sha384) => State::HmacSha384(keyed(&secret)),
            Algorithm::Hmac(Hash::Sha512) => State::HmacSha512(keyed(&secret)),
            _ => State::Secret,
        };
        Ok(Self { algorithm, state, secret })
    }

    fn for_signing(
        algorithm: Algorithm,
        encoding: &SecretEncoding,
        text: &str,
    ) -> Result<Self, KeyFault> {
        if !algorithm.is_asymmetric() {
            return Self::new(algorithm, encoding, text);
        }
        let state = State::Private(PrivateKey::read(text, algorithm)?);
        Ok(Self { algorithm, state, secret: Zeroizing::default() })
    }

    /// The proof, if any of `claimed` is this key's signature of `message`.
    pub(crate) fn prove(
        &self,
        message: &Message<'_>,
        claimed: &[Claimed<'_>],
    ) -> Option<Option<Tag>> {
        let proven = match (&self.state, self.algorithm) {
            // Comparing digests hides the token's length too.
            (State::Secret, Algorithm::Equal) => {
                let token = Sha256::digest(&self.secret);
                claimed.iter().any(|c| Sha256::digest(c.as_bytes()).ct_eq(&token).into())
            }
            (State::Public(keys), algorithm) => {
                let message = message.joined();
                keys.iter().any(|key| {
                    claimed.iter().any(|c| key.verifies(algorithm, &message, c.as_bytes()))
                })
            }
            _ => {
                let tag = self.tag(message)?;
                return any_equal(&tag, claimed).then_some(Some(tag));
            }
        };
        proven.then_some(None)
    }

    /// Whether the key of a chain that leads to this root has signed `message`.
    pub(crate) fn prove_chain(
        &self,
        (chain, marks): (&[Vec<u8>], &Marks),
        now: Timestamp,
        message: &Message<'_>,
        claimed: &Claimed<'_>,
    ) -> bool {
        let State::Root(root) = &self.state else { return false };
        let key = root.leaf_key(chain, marks, now);
        key.is_some_and(|key| key.verifies(self.algorithm, &message.joined(), claimed.as_bytes()))
    }

    /// This key's signature of `message`; a token is its own. None for a public key.
    pub(crate) fn sign(&self, message: &Message<'_>) -> Option<Vec<u8>> {
        match (&self.state, self.algorithm) {
            (State::Secret, Algorithm::Equal) => Some(self.secret.to_vec()),
            (State::Private(key), algorithm) => key.sign(algorithm, &message.joined()),
            _ => self.tag(message).map(|tag| tag.as_bytes().to_vec()),
        }
    }

    /// The MAC or digest of `message`; none where the sender holds another key, or sends it.
    pub(crate) fn tag(&self, message: &Message<'_>) -> Option<Tag> {
        let secret = &*self.secret;
        Some(match &self.state {
            State::HmacMd5(mac) => Tag::of(&tag(mac, secret, message)),
            State::HmacSha1(mac) => Tag::of(&tag(mac, secret, message)),
            State::HmacSha256(mac) => Tag::of(&tag(mac, secret, message)),
            State::HmacSha384(mac) => Tag::of(&tag(mac, secret, message)),
            State::HmacSha512(mac) => Tag::of(&tag(mac, secret, message)),
            State::Secret => match self.algorithm {
                Algorithm::Digest(Hash::Sha1) => Tag::of(&digest::<Sha1>(secret, message)),
                Algorithm::Digest(Hash::Sha256) => Tag::of(&digest::<Sha256>(secret, message)),
                Algorithm::Digest(Hash::Sha512) => Tag::of(&digest::<Sha512>(secret, message)),
                _ => return None,
            },
            State::Public(_) | State::Private(_) | State::Root(_) => return None,
        })
    }
}

/// A computed MAC or digest, on the stack.
pub(crate) struct Tag {
    bytes: [u8; 64],
    len: usize,
}

impl Tag {
    fn of(computed: &[u8]) -> Self {
        let mut bytes = [0; 64];
        bytes[..computed.len()].copy_from_slice(computed);
        Self { bytes, len: computed.len() }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// The digest of a message in which the secret has its place.
fn digest<D: Digest>(secret: &[u8], message: &Message<'_>) -> hmac::digest::Output<D> {
    let mut digest = D::new();
    each_run(secret, message, |run| digest.update(run));
    digest.finalize()
}

/// The bytes that are signed, run by run, with the secret in its place.
fn each_run(secret: &[u8], message: &Message<'_>, mut run: impl FnMut(&[u8])) {
    for piece in message.pieces() {
        match piece {
            Piece::Bytes(bytes) => run(bytes),
            Piece::Secret => run(secret),
            Piece::Sorted(values) => {
                let mut all: Vec<&[u8]> = values.iter().map(AsRef::as_ref).collect();
                all.push(secret);
                all.sort_unstable();
                all.into_iter().for_each(&mut run);
            }
        }
    }
}

fn keyed<M: KeyInit>(key: &[u8]) -> M {
    M::new_from_slice(key).expect("invariant: HMAC takes a key of any length")
}

fn tag<M: Mac + Clone>(keyed: &M, secret: &[u8], message: &Message<'_>) -> hmac::digest::Output<M> {
    let mut mac = keyed.clone();
    each_run(secret, message, |run| mac.update(run));
    mac.finalize().into_bytes()
}

fn any_equal(tag: &Tag, claimed: &[Claimed<'_>]) -> bool {
    // Lengths are public; contents are compared in constant time.
    claimed.iter().any(|c| c.as_bytes().ct_eq(tag.as_bytes()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::needless_pass_by_value, reason = "the callers name variants")]
    fn key(text: &str, encoding: SecretEncoding) -> Result<Key, KeyFault> {
        let algorithms = [Algorithm::Hmac(Hash::Sha256)];
        Key::prepare(text, [(&algorithms[..], &encoding)].into_iter())
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
        wiped::<Md5>();
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
