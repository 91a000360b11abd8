//! The algorithms that signatures are made with, by the names that declarations use.

use std::fmt;

/// A hash function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hash {
    /// Only under HMAC, where its collisions do not matter: Patreon.
    Md5,
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}

/// How a signature is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Hmac(Hash),
    /// A hash over a text that holds the secret: what was done before HMAC.
    Digest(Hash),
    /// RFC 8032.
    Ed25519,
    /// P-256 with SHA-256, the signature in DER.
    EcdsaP256,
    /// The same, the signature as two numbers of 32 bytes: JWS (RFC 7518, section 3.4), RFC 9421.
    EcdsaP256Fixed,
    /// RFC 8017, section 8.2.
    RsaPkcs1(Hash),
    /// RFC 8017, section 8.1.
    RsaPss(Hash),
    /// The secret itself is sent: a static token. Nothing is signed.
    Equal,
}

/// Algorithms and their names in declarations.
const NAMED: [(&str, Algorithm); 17] = [
    ("hmac-sha256", Algorithm::Hmac(Hash::Sha256)),
    ("hmac-sha384", Algorithm::Hmac(Hash::Sha384)),
    ("hmac-sha512", Algorithm::Hmac(Hash::Sha512)),
    ("hmac-sha1", Algorithm::Hmac(Hash::Sha1)),
    ("hmac-md5", Algorithm::Hmac(Hash::Md5)),
    ("sha256", Algorithm::Digest(Hash::Sha256)),
    ("sha512", Algorithm::Digest(Hash::Sha512)),
    ("sha1", Algorithm::Digest(Hash::Sha1)),
    ("ed25519", Algorithm::Ed25519),
    ("ecdsa-p256-sha256", Algorithm::EcdsaP256),
    ("ecdsa-p256-sha256-fixed", Algorithm::EcdsaP256Fixed),
    ("rsa-sha256", Algorithm::RsaPkcs1(Hash::Sha256)),
    ("rsa-sha512", Algorithm::RsaPkcs1(Hash::Sha512)),
    ("rsa-sha1", Algorithm::RsaPkcs1(Hash::Sha1)),
    ("rsa-pss-sha256", Algorithm::RsaPss(Hash::Sha256)),
    ("rsa-pss-sha512", Algorithm::RsaPss(Hash::Sha512)),
    ("equal", Algorithm::Equal),
];

/// The algorithms of JSON Web Signatures that are taken. RFC 7518, section 3.1; RFC 8037. There is
/// no `none`.
const JWS: [(&str, Algorithm); 9] = [
    ("HS256", Algorithm::Hmac(Hash::Sha256)),
    ("HS384", Algorithm::Hmac(Hash::Sha384)),
    ("HS512", Algorithm::Hmac(Hash::Sha512)),
    ("RS256", Algorithm::RsaPkcs1(Hash::Sha256)),
    ("RS512", Algorithm::RsaPkcs1(Hash::Sha512)),
    ("PS256", Algorithm::RsaPss(Hash::Sha256)),
    ("PS512", Algorithm::RsaPss(Hash::Sha512)),
    ("ES256", Algorithm::EcdsaP256Fixed),
    ("EdDSA", Algorithm::Ed25519),
];

impl Algorithm {
    pub(crate) fn names() -> impl Iterator<Item = &'static str> {
        NAMED.iter().map(|(name, _)| *name)
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        NAMED.iter().find(|(known, _)| *known == name).map(|(_, algorithm)| *algorithm)
    }

    pub(crate) fn jws_names() -> impl Iterator<Item = &'static str> {
        JWS.iter().map(|(name, _)| *name)
    }

    /// The algorithm that a JWT's header calls so.
    pub(crate) fn parse_jws(name: &str) -> Option<Self> {
        JWS.iter().find(|(known, _)| *known == name).map(|(_, algorithm)| *algorithm)
    }

    /// The name that a JWT's header has for it.
    pub(crate) fn jws_name(self) -> Option<&'static str> {
        JWS.iter().find(|(_, algorithm)| *algorithm == self).map(|(name, _)| *name)
    }

    /// Whether the source holds a public key, which proves and can't sign.
    pub(crate) fn is_asymmetric(self) -> bool {
        !matches!(self, Self::Hmac(_) | Self::Digest(_) | Self::Equal)
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = NAMED.iter().find(|(_, algorithm)| algorithm == self);
        f.write_str(named.map_or("no name", |(name, _)| name))
    }
}
