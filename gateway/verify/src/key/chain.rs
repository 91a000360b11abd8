//! Keys that come with what they sign: the certificates in the header of a JSON Web Signature
//! (`x5c`, RFC 7515, section 4.1.6), believed as far as they lead to a root that the source holds.

use hookweir_event::Timestamp;
use ring::signature::{self as ring_signature, UnparsedPublicKey, VerificationAlgorithm};
use x509_cert::{
    Certificate,
    der::{Decode as _, DecodePem as _, Encode as _, oid::ObjectIdentifier},
    ext::pkix::{BasicConstraints, KeyUsage},
};

use super::{KeyFault, public::PublicKey};

/// The most certificates that are looked at. Apple sends three, the root among them.
const CERTIFICATES_MAX: usize = 4;

/// RFC 5280, sections 4.2.1.3, 4.2.1.9 and 4.2.1.12: the extensions that are understood if they are
/// critical: key usage, basic constraints, extended key usage.
const UNDERSTOOD: [&str; 3] = ["2.5.29.15", "2.5.29.19", "2.5.29.37"];

/// A root that a source holds.
#[derive(Clone)]
pub(crate) struct Root(Certificate);

/// What the certificates of a chain must have: extensions that their issuer marks them with, first
/// the intermediate's, then the leaf's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Marks(Vec<ObjectIdentifier>);

impl Marks {
    /// Parses `x5c`, then object identifiers.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut words = text.split(' ');
        if words.next() != Some("x5c") {
            return Err(format!("`{text}`: write `x5c`, and the marks of intermediate and leaf"));
        }
        let oid =
            |word: &str| word.parse().map_err(|_| format!("`{word}` is no object identifier"));
        words.map(oid).collect::<Result<Vec<_>, _>>().map(Self)
    }
}

impl Root {
    /// Reads a certificate: PEM, or DER in base64.
    pub(super) fn read(text: &str) -> Result<Self, KeyFault> {
        use base64::{Engine as _, engine::general_purpose::STANDARD};
        let text = text.trim();
        let certificate = if text.starts_with("-----BEGIN CERTIFICATE-----") {
            Certificate::from_pem(text).ok()
        } else {
            STANDARD.decode(text).ok().and_then(|der| Certificate::from_der(&der).ok())
        };
        certificate.map(Self).ok_or(KeyFault::NotRoot)
    }

    /// The key of the first certificate, if the chain leads here: each signed by the next, valid now
    /// and marked, and all but the first allowed to sign others.
    pub(super) fn leaf_key(
        &self,
        chain: &[Vec<u8>],
        marks: &Marks,
        now: Timestamp,
    ) -> Option<PublicKey> {
        if !(2..=CERTIFICATES_MAX).contains(&chain.len()) {
            return None;
        }
        let chain: Vec<_> =
            chain.iter().map(|der| Certificate::from_der(der)).collect::<Result<_, _>>().ok()?;
        // A root that was sent is no reason to believe it: the one that the source holds counts.
        let own = self.0.to_der().ok()?;
        let sent = chain.iter().position(|sent| sent.to_der().is_ok_and(|der| der == own));
        let below = &chain[..sent.unwrap_or(chain.len())];
        let mut issuer = &self.0;
        for (depth, certificate) in below.iter().enumerate().rev() {
            let may_issue = depth == 0 || is_authority(certificate);
            let sound = is_signed_by(certificate, issuer)
                && is_valid(certificate, now)
                && is_understood(certificate);
            if !may_issue || !sound {
                return None;
            }
            issuer = certificate;
        }
        let mut marked = below.iter().rev().zip(&marks.0);
        if below.len() < marks.0.len() || !marked.all(|(c, mark)| has_extension(c, mark)) {
            return None;
        }
        PublicKey::from_spki(below.first()?.tbs_certificate().subject_public_key_info())
    }
}

fn is_signed_by(certificate: &Certificate, issuer: &Certificate) -> bool {
    let (tbs, by) = (certificate.tbs_certificate(), issuer.tbs_certificate());
    let named = tbs.issuer() == by.subject();
    let same = certificate.signature_algorithm() == tbs.signature();
    let check = || {
        let algorithm = algorithm(certificate, issuer)?;
        let key = by.subject_public_key_info().subject_public_key.as_bytes()?;
        let signature = certificate.signature().as_bytes()?;
        UnparsedPublicKey::new(algorithm, key).verify(&tbs.to_der().ok()?, signature).ok()
    };
    named && same && check().is_some()
}

/// RFC 5758, section 3.2, with the issuer's curve; RFC 4055, section 5.
fn algorithm(
    certificate: &Certificate,
    issuer: &Certificate,
) -> Option<&'static dyn VerificationAlgorithm> {
    let named = certificate.signature_algorithm().oid.to_string();
    let key = issuer.tbs_certificate().subject_public_key_info();
    // The uncompressed point says which curve it is on.
    let curve = key.subject_public_key.as_bytes()?.len();
    match (named.as_str(), curve) {
        ("1.2.840.10045.4.3.2", 65) => Some(&ring_signature::ECDSA_P256_SHA256_ASN1),
        ("1.2.840.10045.4.3.2", 97) => Some(&ring_signature::ECDSA_P384_SHA256_ASN1),
        ("1.2.840.10045.4.3.3", 65) => Some(&ring_signature::ECDSA_P256_SHA384_ASN1),
        ("1.2.840.10045.4.3.3", 97) => Some(&ring_signature::ECDSA_P384_SHA384_ASN1),
        ("1.2.840.113549.1.1.11", _) => Some(&ring_signature::RSA_PKCS1_2048_8192_SHA256),
        ("1.2.840.113549.1.1.12", _) => Some(&ring_signature::RSA_PKCS1_2048_8192_SHA384),
        _ => None,
    }
}

fn is_authority(certificate: &Certificate) -> bool {
    let tbs = certificate.tbs_certificate();
    let constraints = tbs.get_extension::<BasicConstraints>().ok().flatten();
    let usage = tbs.get_extension::<KeyUsage>().ok().flatten();
    constraints.is_some_and(|(_, constraints)| constraints.ca)
        && usage.is_none_or(|(_, usage)| usage.key_cert_sign())
}

fn is_valid(certificate: &Certificate, now: Timestamp) -> bool {
    super::public::period(certificate).is_some_and(|(from, until)| from <= now && now < until)
}

fn is_understood(certificate: &Certificate) -> bool {
    let extensions = certificate.tbs_certificate().extensions().into_iter().flatten();
    let mut critical = extensions.filter(|extension| extension.critical);
    critical.all(|extension| UNDERSTOOD.contains(&extension.extn_id.to_string().as_str()))
}

fn has_extension(certificate: &Certificate, oid: &ObjectIdentifier) -> bool {
    let mut extensions = certificate.tbs_certificate().extensions().into_iter().flatten();
    extensions.any(|extension| extension.extn_id == *oid)
}
