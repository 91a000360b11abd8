//! What a document with certificates says of itself: nothing here is believed. Whether an authority
//! stands behind it is for whoever fetched it to find out.

use std::time::Duration;

use x509_cert::{
    Certificate,
    der::{Decode as _, Encode as _, oid::ObjectIdentifier},
    ext::pkix::{AuthorityInfoAccessSyntax, SubjectAltName, name::GeneralName},
    time::Time,
};

use crate::key_url::host_matches;

/// RFC 5280, section 4.2.2.1.
const CA_ISSUERS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.2");

/// A certificate and those that were sent with it.
#[derive(Debug, Clone)]
pub struct Chain(Vec<Certificate>);

impl Chain {
    /// The certificates of a PEM document, the sender's own first.
    pub fn of_pem(document: &str) -> Option<Self> {
        let chain = Certificate::load_pem_chain(document.as_bytes()).ok()?;
        (!chain.is_empty()).then_some(Self(chain))
    }

    /// A certificate in DER.
    pub fn of_der(certificate: &[u8]) -> Option<Self> {
        Certificate::from_der(certificate).ok().map(|certificate| Self(vec![certificate]))
    }

    /// When the first of them runs out, since 1970.
    pub fn runs_out(&self) -> Option<Duration> {
        let ends =
            self.0.iter().map(|certificate| certificate.tbs_certificate().validity().not_after);
        ends.map(Time::to_unix_duration).min()
    }

    /// Adds the certificate of an issuer, in DER or PEM.
    ///
    /// Returns whether it was one.
    pub fn push(&mut self, issuer: &[u8]) -> bool {
        let issuer = match Certificate::from_der(issuer) {
            Ok(issuer) => Some(issuer),
            Err(_) => str::from_utf8(issuer).ok().and_then(Self::of_pem).map(|c| c.0[0].clone()),
        };
        let found = issuer.is_some();
        self.0.extend(issuer);
        found
    }

    /// All of them in DER, the sender's own first.
    pub fn der(&self) -> Vec<Vec<u8>> {
        self.0.iter().filter_map(|certificate| certificate.to_der().ok()).collect()
    }

    /// The DNS name for which the certificate was issued, if it is one that `pattern` means; a `*`
    /// in it stands for one label.
    pub fn name_like(&self, pattern: &str) -> Option<String> {
        let names: Option<SubjectAltName> =
            self.0[0].tbs_certificate().get_extension().ok()?.map(|(_, names)| names);
        names?.0.into_iter().find_map(|name| match name {
            GeneralName::DnsName(name) => {
                let name = name.to_string().to_ascii_lowercase();
                host_matches(pattern, &name).then_some(name)
            }
            _ => None,
        })
    }

    /// Where the issuer's certificate of the last one lies.
    pub fn issuer_url(&self) -> Option<String> {
        let last = self.0.last()?.tbs_certificate();
        let access: AuthorityInfoAccessSyntax =
            last.get_extension().ok()?.map(|(_, access)| access)?;
        access.0.into_iter().find_map(|access| match access.access_location {
            GeneralName::UniformResourceIdentifier(url) if access.access_method == CA_ISSUERS => {
                Some(url.to_string())
            }
            _ => None,
        })
    }
}
