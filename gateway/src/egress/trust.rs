//! Whom the gateway believes: the authorities that browsers trust, and those that the operator adds.

use std::{sync::Arc, time::Duration};

use hookweir_event::Timestamp;
use hookweir_verify::certificate::Chain;
use rustls::{
    ClientConfig, RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier},
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _},
};

/// The authorities that are believed.
#[derive(Debug, Clone)]
pub(crate) struct Trust {
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
    verifier: Arc<WebPkiServerVerifier>,
}

/// Who a client is, to a server that asks: a certificate with those of its issuers, and its key.
pub(crate) struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Identity {
    /// Of two PEM texts.
    ///
    /// # Errors
    /// What can't be read in them. Nothing of the key is told.
    pub(crate) fn new(certificate: &str, key: &str) -> Result<Self, String> {
        let chain: Result<Vec<_>, _> =
            CertificateDer::pem_slice_iter(certificate.as_bytes()).collect();
        let chain = chain.map_err(|error| error.to_string())?;
        if chain.is_empty() {
            return Err("there is no certificate in it".to_owned());
        }
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes());
        Ok(Self { chain, key: key.map_err(|_| "the key is no private key in PEM".to_owned())? })
    }
}

impl Trust {
    /// The authorities that browsers trust, and those of this PEM text.
    ///
    /// # Errors
    /// If the text has no certificate, or one that can't be an authority's.
    pub(crate) fn new(more: Option<&str>) -> Result<Self, String> {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.into() };
        if let Some(pem) = more {
            let mut any = false;
            for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                let certificate = certificate.map_err(|error| error.to_string())?;
                roots.add(certificate).map_err(|error| error.to_string())?;
                any = true;
            }
            if !any {
                return Err("there is no certificate in it".to_owned());
            }
        }
        let (roots, provider) =
            (Arc::new(roots), Arc::new(rustls::crypto::ring::default_provider()));
        let verifier = WebPkiServerVerifier::builder_with_provider(roots.clone(), provider.clone());
        let verifier = verifier.build().map_err(|error| error.to_string())?;
        Ok(Self { roots, provider, verifier })
    }

    /// How connections are made.
    pub(super) fn client(&self) -> Result<ClientConfig, rustls::Error> {
        let builder = ClientConfig::builder_with_provider(self.provider.clone());
        let builder = builder.with_safe_default_protocol_versions()?;
        Ok(builder.with_root_certificates(self.roots.clone()).with_no_client_auth())
    }

    /// The same, with a verifier of certificates that leaves what it does not know to the authorities.
    /// Asked for a certificate of its own, it shows `identity`.
    pub(super) fn client_knowing<V: ServerCertVerifier + 'static>(
        &self,
        verifier: impl FnOnce(Arc<WebPkiServerVerifier>) -> Arc<V>,
        identity: Option<Identity>,
    ) -> Result<ClientConfig, rustls::Error> {
        let builder = ClientConfig::builder_with_provider(self.provider.clone());
        let builder = builder.with_safe_default_protocol_versions()?.dangerous();
        let builder = builder.with_custom_certificate_verifier(verifier(self.verifier.clone()));
        match identity {
            Some(Identity { chain, key }) => builder.with_client_auth_cert(chain, key),
            None => Ok(builder.with_no_client_auth()),
        }
    }

    /// Whether an authority stands behind the first certificate of the chain, now and for this name.
    ///
    /// # Errors
    /// Why not; see [`Distrust::is_incomplete`].
    pub(crate) fn check(&self, chain: &Chain, name: &str, now: Timestamp) -> Result<(), Distrust> {
        let der: Vec<_> = chain.der().into_iter().map(CertificateDer::from).collect();
        let now = u64::try_from(now.as_millis()).unwrap_or_default();
        let now = UnixTime::since_unix_epoch(Duration::from_millis(now));
        let unnamed = || Distrust(rustls::CertificateError::NotValidForName.into());
        let name = ServerName::try_from(name.to_owned()).map_err(|_| unnamed())?;
        let [leaf, issuers @ ..] = der.as_slice() else { return Err(unnamed()) };
        match self.verifier.verify_server_cert(leaf, issuers, &name, &[], now) {
            Ok(_) => Ok(()),
            Err(error) => Err(Distrust(error)),
        }
    }
}

/// Why a certificate is not believed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Distrust(rustls::Error);

impl Distrust {
    /// Whether the certificate of an issuer is missing between it and the authorities.
    pub(crate) fn is_incomplete(&self) -> bool {
        use rustls::{CertificateError::UnknownIssuer, Error::InvalidCertificate};
        matches!(self.0, InvalidCertificate(UnknownIssuer))
    }
}
