//! How the commands reach a running gateway: over HTTP, and under TLS where it speaks that.

use std::{error::Error, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    pki_types::{CertificateDer, ServerName, UnixTime},
};

use super::trust::{Identity, Trust};

/// How long a connection to a gateway may take.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// How long a connection is kept that nothing is asked over: less than the gateway keeps it.
const IDLE_MAX: Duration = Duration::from_secs(5);

/// Asks gateways.
#[derive(Debug)]
pub(crate) struct Asking(Client<HttpsConnector<HttpConnector>, Full<Bytes>>);

impl Asking {
    /// It believes the authorities that browsers trust, those of `more` (PEM), and, whatever its name, the very
    /// certificates of `own`, which the config names. Asked who it is, it shows `identity`.
    ///
    /// # Errors
    /// What is wrong with `more`, or with `identity`.
    pub(crate) fn new(
        more: Option<&str>,
        own: Vec<CertificateDer<'static>>,
        identity: Option<Identity>,
    ) -> Result<Self, String> {
        let trust = Trust::new(more)?;
        let known = |by_authority| Arc::new(Known { own, by_authority });
        let config = trust.client_knowing(known, identity);
        let config: ClientConfig = config.map_err(|error| error.to_string())?;
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_MAX));
        let builder = HttpsConnectorBuilder::new().with_tls_config(config);
        let connector = builder.https_or_http().enable_http1().wrap_connector(connector);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_MAX)
            .build(connector);
        Ok(Self(client))
    }

    /// What a gateway answers.
    ///
    /// # Errors
    /// If there is no answer: the innermost cause, which is what helps.
    pub(crate) async fn send(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, String> {
        self.0.request(request).await.map_err(|error| root_cause(&error))
    }
}

/// "connection refused", not "error sending request".
pub(crate) fn root_cause(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// Believes certificates that are known, and those that authorities stand behind.
#[derive(Debug)]
struct Known {
    own: Vec<CertificateDer<'static>>,
    by_authority: Arc<WebPkiServerVerifier>,
}

impl ServerCertVerifier for Known {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        issuers: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.own.iter().any(|known| known.as_ref() == own.as_ref()) {
            return Ok(ServerCertVerified::assertion());
        }
        self.by_authority.verify_server_cert(own, issuers, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.by_authority.verify_tls12_signature(message, own, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.by_authority.verify_tls13_signature(message, own, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.by_authority.supported_verify_schemes()
    }
}
