//! Public keys in the forms that providers hand them out in: PEM, a certificate, DER in base64, the
//! raw bytes in hex or base64, a JWK or a set of them. The form is recognised, since each says what
//! it is.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use hookweir_event::Timestamp;
use ring::signature::{self as ring_signature, RsaPublicKeyComponents, UnparsedPublicKey};
use serde_json::Value;
use x509_cert::{
    Certificate,
    der::{Decode as _, DecodePem as _, Encode as _, oid::ObjectIdentifier},
    spki::SubjectPublicKeyInfoOwned,
};

use super::{Algorithm, Hash, KeyFault};
use crate::encoding::hex;

/// RFC 8410, section 3.
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
/// RFC 5480, section 2.1.1.
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
/// RFC 5480, section 2.1.1.1: secp256r1.
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
/// RFC 8017, appendix A.1.
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// The most keys of a set that are tried. Google publishes two or three.
const KEYS_MAX: usize = 32;

/// A public key of one kind.
#[derive(Clone)]
pub(crate) enum PublicKey {
    /// 32 bytes.
    Ed25519(Vec<u8>),
    /// The uncompressed point, 65 bytes.
    P256(Vec<u8>),
    /// `RSAPublicKey` in DER.
    Rsa(Vec<u8>),
    /// Modulus and exponent, big-endian, from a JWK.
    RsaNumbers { n: Vec<u8>, e: Vec<u8> },
}

impl PublicKey {
    /// The keys that `text` holds and that `algorithm` can use.
    pub(super) fn read(text: &str, algorithm: Algorithm) -> Result<Vec<Self>, KeyFault> {
        let text = text.trim();
        let keys = if text.starts_with("-----BEGIN ") {
            vec![Self::from_pem(text).ok_or(KeyFault::NotPublic)?]
        } else if text.starts_with('{') {
            Self::from_jwks(text).ok_or(KeyFault::NotPublic)?
        } else {
            vec![Self::from_text(text).ok_or(KeyFault::NotPublic)?]
        };
        let usable: Vec<_> =
            keys.into_iter().filter(|key| key.is_for(algorithm)).take(KEYS_MAX).collect();
        if usable.is_empty() { Err(KeyFault::OtherKind) } else { Ok(usable) }
    }

    fn is_for(&self, algorithm: Algorithm) -> bool {
        match algorithm {
            Algorithm::Ed25519 => matches!(self, Self::Ed25519(_)),
            Algorithm::EcdsaP256 | Algorithm::EcdsaP256Fixed => matches!(self, Self::P256(_)),
            Algorithm::RsaPkcs1(_) | Algorithm::RsaPss(_) => {
                matches!(self, Self::Rsa(_) | Self::RsaNumbers { .. })
            }
            Algorithm::Hmac(_) | Algorithm::Digest(_) | Algorithm::Equal => false,
        }
    }

    fn from_pem(text: &str) -> Option<Self> {
        if let Some(leaf) = leaf(text) {
            let certificate = Certificate::from_pem(leaf).ok()?;
            return Self::from_spki(certificate.tbs_certificate().subject_public_key_info());
        }
        Self::from_spki(&SubjectPublicKeyInfoOwned::from_pem(text).ok()?)
    }

    pub(super) fn from_spki(spki: &SubjectPublicKeyInfoOwned) -> Option<Self> {
        let bytes = spki.subject_public_key.as_bytes()?.to_vec();
        match spki.algorithm.oid {
            ED25519 => (bytes.len() == 32).then_some(Self::Ed25519(bytes)),
            EC => {
                let curve = spki.algorithm.parameters.as_ref()?.to_der().ok()?;
                let curve = ObjectIdentifier::from_der(&curve).ok()?;
                (curve == P256 && bytes.len() == 65).then_some(Self::P256(bytes))
            }
            RSA => Some(Self::Rsa(bytes)),
            _ => None,
        }
    }

    /// Hex or base64, in either alphabet, with `whpk_` before it or not: 32 bytes are an Ed25519
    /// key, more are a `SubjectPublicKeyInfo`.
    fn from_text(text: &str) -> Option<Self> {
        let text = text.strip_prefix("whpk_").unwrap_or(text);
        let mut raw = [0; 32];
        if text.len() == 64 && hex(text, &mut raw, true) == Some(32) {
            return Some(Self::Ed25519(raw.to_vec()));
        }
        let bytes = STANDARD.decode(text).or_else(|_| URL_SAFE_NO_PAD.decode(text)).ok()?;
        if bytes.len() == 32 {
            return Some(Self::Ed25519(bytes));
        }
        Self::from_spki(&SubjectPublicKeyInfoOwned::from_der(&bytes).ok()?)
    }

    /// One JWK, or the keys of a set; keys of other kinds in a set are passed over. RFC 7517.
    fn from_jwks(text: &str) -> Option<Vec<Self>> {
        let value: Value = serde_json::from_str(text).ok()?;
        let keys: Vec<_> = match value.get("keys") {
            Some(keys) => keys.as_array()?.iter().filter_map(Self::from_jwk).collect(),
            None => Self::from_jwk(&value).into_iter().collect(),
        };
        (!keys.is_empty()).then_some(keys)
    }

    fn from_jwk(jwk: &Value) -> Option<Self> {
        let number = |name: &str| URL_SAFE_NO_PAD.decode(jwk.get(name)?.as_str()?).ok();
        let of_curve = |curve: &str| jwk.get("crv").and_then(Value::as_str) == Some(curve);
        match jwk.get("kty")?.as_str()? {
            "OKP" if of_curve("Ed25519") => {
                number("x").filter(|x| x.len() == 32).map(Self::Ed25519)
            }
            "EC" if of_curve("P-256") => {
                let point = [vec![4], number("x")?, number("y")?].concat();
                (point.len() == 65).then_some(Self::P256(point))
            }
            "RSA" => Some(Self::RsaNumbers { n: number("n")?, e: number("e")? }),
            _ => None,
        }
    }

    /// Whether `signature` is this key's over `message`.
    pub(super) fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        let checked = match (self, algorithm) {
            (Self::Ed25519(key), Algorithm::Ed25519) => {
                UnparsedPublicKey::new(&ring_signature::ED25519, key).verify(message, signature)
            }
            (Self::P256(key), Algorithm::EcdsaP256) => {
                UnparsedPublicKey::new(&ring_signature::ECDSA_P256_SHA256_ASN1, key)
                    .verify(message, signature)
            }
            (Self::P256(key), Algorithm::EcdsaP256Fixed) => {
                UnparsedPublicKey::new(&ring_signature::ECDSA_P256_SHA256_FIXED, key)
                    .verify(message, signature)
            }
            (Self::Rsa(key), _) => match rsa_parameters(algorithm) {
                Some(parameters) => {
                    UnparsedPublicKey::new(parameters, key).verify(message, signature)
                }
                None => return false,
            },
            (Self::RsaNumbers { n, e }, _) => match rsa_parameters(algorithm) {
                Some(parameters) => {
                    RsaPublicKeyComponents { n, e }.verify(parameters, message, signature)
                }
                None => return false,
            },
            _ => return false,
        };
        checked.is_ok()
    }
}

/// From when until when the certificate is valid; none if the text is no certificate. RFC 5280,
/// section 4.1.2.5: both ends are part of it.
pub(crate) fn validity(text: &str) -> Option<(Timestamp, Timestamp)> {
    period(&Certificate::from_pem(leaf(text.trim())?).ok()?)
}

/// From when until when the certificate is valid.
pub(super) fn period(certificate: &Certificate) -> Option<(Timestamp, Timestamp)> {
    let validity = certificate.tbs_certificate().validity();
    let secs = |time: x509_cert::time::Time| {
        Timestamp::from_secs(time.to_unix_duration().as_secs().try_into().unwrap_or(i64::MAX))
    };
    let after_end = secs(validity.not_after).as_millis().saturating_add(1000);
    Some((secs(validity.not_before), Timestamp::from_millis(after_end)))
}

/// The first certificate of a chain.
fn leaf(text: &str) -> Option<&str> {
    const END: &str = "-----END CERTIFICATE-----";
    let end = text.find(END)? + END.len();
    text.starts_with("-----BEGIN CERTIFICATE-----").then(|| &text[..end])
}

fn rsa_parameters(algorithm: Algorithm) -> Option<&'static ring_signature::RsaParameters> {
    match algorithm {
        Algorithm::RsaPkcs1(Hash::Sha1) => {
            Some(&ring_signature::RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY)
        }
        Algorithm::RsaPkcs1(Hash::Sha256) => Some(&ring_signature::RSA_PKCS1_2048_8192_SHA256),
        Algorithm::RsaPkcs1(Hash::Sha512) => Some(&ring_signature::RSA_PKCS1_2048_8192_SHA512),
        Algorithm::RsaPss(Hash::Sha256) => Some(&ring_signature::RSA_PSS_2048_8192_SHA256),
        Algorithm::RsaPss(Hash::Sha512) => Some(&ring_signature::RSA_PSS_2048_8192_SHA512),
        _ => None,
    }
}
