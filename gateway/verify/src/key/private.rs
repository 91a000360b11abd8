//! Private keys, to sign with as a provider would. Verifying never uses one.

use ring::{
    rand::SystemRandom,
    signature::{self as ring_signature, EcdsaKeyPair, Ed25519KeyPair, RsaEncoding, RsaKeyPair},
};
use x509_cert::der::Document;

use super::{Algorithm, Hash, KeyFault};

/// A private key of one kind.
pub(crate) enum PrivateKey {
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

impl PrivateKey {
    /// Reads PKCS #8 in PEM, RFC 5958 and RFC 7468, section 10.
    pub(super) fn read(text: &str, algorithm: Algorithm) -> Result<Self, KeyFault> {
        let (label, der) = Document::from_pem(text.trim()).map_err(|_| KeyFault::NotPrivate)?;
        if label != "PRIVATE KEY" {
            return Err(KeyFault::NotPrivate);
        }
        let der = der.as_bytes();
        let p256 = |form| {
            let pair = EcdsaKeyPair::from_pkcs8(form, der, &SystemRandom::new());
            pair.map(Self::P256).map_err(|_| KeyFault::OtherKind)
        };
        match algorithm {
            Algorithm::Ed25519 => Ed25519KeyPair::from_pkcs8_maybe_unchecked(der)
                .map(Self::Ed25519)
                .map_err(|_| KeyFault::OtherKind),
            Algorithm::EcdsaP256 => p256(&ring_signature::ECDSA_P256_SHA256_ASN1_SIGNING),
            Algorithm::EcdsaP256Fixed => p256(&ring_signature::ECDSA_P256_SHA256_FIXED_SIGNING),
            Algorithm::RsaPkcs1(_) | Algorithm::RsaPss(_) => {
                RsaKeyPair::from_pkcs8(der).map(Self::Rsa).map_err(|_| KeyFault::OtherKind)
            }
            Algorithm::Hmac(_) | Algorithm::Digest(_) | Algorithm::Equal => {
                Err(KeyFault::OtherKind)
            }
        }
    }

    /// The signature of `message`; none where only old ones are still checked.
    pub(super) fn sign(&self, algorithm: Algorithm, message: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Ed25519(pair) => Some(pair.sign(message).as_ref().to_vec()),
            Self::P256(pair) => {
                let signature = pair.sign(&SystemRandom::new(), message).ok()?;
                Some(signature.as_ref().to_vec())
            }
            Self::Rsa(pair) => {
                let padding: &dyn RsaEncoding = match algorithm {
                    Algorithm::RsaPkcs1(Hash::Sha256) => &ring_signature::RSA_PKCS1_SHA256,
                    Algorithm::RsaPkcs1(Hash::Sha512) => &ring_signature::RSA_PKCS1_SHA512,
                    Algorithm::RsaPss(Hash::Sha256) => &ring_signature::RSA_PSS_SHA256,
                    Algorithm::RsaPss(Hash::Sha512) => &ring_signature::RSA_PSS_SHA512,
                    _ => return None,
                };
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(padding, &SystemRandom::new(), message, &mut signature).ok()?;
                Some(signature)
            }
        }
    }
}
