//! TLS on a listener: certificates, one of which is chosen by the name that the peer asks for, and the peer's own
//! certificate, if somebody here wants one.
//!
//! Whoever shows a certificate proves in the handshake that its key is theirs; which authority it has to be
//! signed by depends on where the request leads, so that is checked there.

use std::{
    fmt, io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use hookweir_event::{Digest, Timestamp};
use hookweir_verify::certificate::Chain;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, ServerConfig,
    SignatureScheme,
    client::{danger::HandshakeSignatureValid, verify_server_name},
    crypto::{
        CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
    },
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _},
    server::{
        ClientHello, ParsedCertificate, ResolvesServerCert, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::CertifiedKey,
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// What is offered by ALPN (RFC 7301), the best first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];
/// Certificates that a peer may send.
const CHAIN_MAX: usize = 10;
/// How long what was found of a peer's certificate is believed. It may run out while the connection stays.
const BELIEVED: Duration = Duration::from_secs(60);

/// A certificate with its key, both as PEM.
#[derive(Clone)]
pub struct TlsFiles {
    /// The chain, the server's own certificate first.
    pub certificate: String,
    /// The private key: PKCS #8, PKCS #1 or SEC 1.
    pub key: String,
}

impl fmt::Debug for TlsFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsFiles")
    }
}

/// Why TLS can't be spoken with a certificate and a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsFault {
    /// The certificate's file.
    #[error("{0}")]
    Certificate(String),
    /// The key's file. Nothing of it is told.
    #[error("{0}")]
    Key(&'static str),
    /// Each may be good.
    #[error("the key is not the certificate's")]
    Apart,
}

/// How a listener speaks TLS. Clones are the same one.
#[derive(Clone)]
pub struct Tls {
    server: Arc<ServerConfig>,
    keys: Arc<Keys>,
    /// Of all that it is made of.
    digest: Digest,
}

impl Tls {
    /// With these certificates, the first of which is for peers that ask for no name, or another's.
    ///
    /// # Errors
    /// What is wrong, and with which of them.
    pub fn new(files: &[TlsFiles]) -> Result<Self, (usize, TlsFault)> {
        let provider = provider();
        let keys = files.iter().enumerate();
        let keys = keys.map(|(at, files)| certified(files, &provider).map_err(|fault| (at, fault)));
        let keys = Arc::new(keys.collect::<Result<Keys, _>>()?);
        let parts = files.iter().flat_map(|files| [&files.certificate, &files.key]);
        let parts: Vec<_> = parts.map(String::as_bytes).collect();
        let server = server(keys.clone(), None);
        Ok(Self { server: Arc::new(server), keys, digest: Digest::of_fields(&parts) })
    }

    /// The same that asks peers for a certificate by one of these authorities. Who has none may come.
    pub fn asking<'a>(self, authorities: impl Iterator<Item = &'a ClientAuthority>) -> Self {
        let authorities: Vec<_> = authorities.collect();
        if authorities.is_empty() {
            return self;
        }
        let hints =
            authorities.iter().flat_map(|authority| authority.verifier.root_hint_subjects());
        let hints = hints.cloned().collect();
        let asks = Asks { hints, algorithms: provider().signature_verification_algorithms };
        let fields: Vec<_> =
            std::iter::once(self.digest).chain(authorities.iter().map(|a| a.digest)).collect();
        let fields: Vec<_> = fields.iter().map(|digest| &digest.as_bytes()[..]).collect();
        let digest = Digest::of_fields(&fields);
        let server = Arc::new(server(self.keys.clone(), Some(Arc::new(asks))));
        Self { server, keys: self.keys, digest }
    }

    /// How many certificates there are.
    pub fn certificates(&self) -> usize {
        self.keys.0.len()
    }

    /// The certificates themselves, without those of their issuers.
    pub(crate) fn own(&self) -> impl Iterator<Item = CertificateDer<'static>> {
        self.keys.0.iter().filter_map(|key| key.cert.first().cloned())
    }

    /// When each of the certificates runs out, or one that stands behind it does, since 1970.
    pub(crate) fn run_out(&self) -> impl Iterator<Item = Option<Duration>> {
        let runs_out = |der: &CertificateDer<'_>| Chain::of_der(der).and_then(|c| c.runs_out());
        self.keys.0.iter().map(move |key| key.cert.iter().filter_map(runs_out).min())
    }

    /// Has the peer's handshake.
    pub(super) async fn accept(
        &self,
        stream: TcpStream,
    ) -> io::Result<(TlsStream<TcpStream>, Option<Certificate>)> {
        let stream = TlsAcceptor::from(self.server.clone()).accept(stream).await?;
        let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let chain: Vec<_> = chain.iter().map(|der| der.clone().into_owned()).collect();
        let certificate =
            (!chain.is_empty()).then(|| Certificate { chain, found: Mutex::default() });
        Ok((stream, certificate))
    }
}

impl PartialEq for Tls {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl Eq for Tls {}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tls({} certificates)", self.certificates())
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// TLS 1.3, and 1.2 for who has no newer one.
fn server(keys: Arc<Keys>, asks: Option<Arc<Asks>>) -> ServerConfig {
    let builder = ServerConfig::builder_with_provider(provider());
    let builder = builder.with_safe_default_protocol_versions();
    let builder = builder.expect("invariant: ring has what TLS 1.2 and 1.3 need");
    let mut config = match asks {
        Some(asks) => builder.with_client_cert_verifier(asks),
        None => builder.with_no_client_auth(),
    }
    .with_cert_resolver(keys);
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
    config
}

/// What is read of the two files.
fn certified(files: &TlsFiles, provider: &CryptoProvider) -> Result<CertifiedKey, TlsFault> {
    let chain = certificates(&files.certificate).map_err(TlsFault::Certificate)?;
    let key = PrivateKeyDer::from_pem_slice(files.key.as_bytes());
    let key =
        key.map_err(|_| TlsFault::Key("expected a private key in PEM: PKCS #8, PKCS #1 or SEC 1"))?;
    if let Err(error) = ParsedCertificate::try_from(&chain[0]) {
        return Err(TlsFault::Certificate(error.to_string()));
    }
    CertifiedKey::from_der(chain, key, provider).map_err(|error| match error {
        Error::InconsistentKeys(_) => TlsFault::Apart,
        _ => TlsFault::Key("the private key can't be used: RSA of 2048 bits or more, ECDSA on P-256 or P-384, or Ed25519"),
    })
}

/// The first certificate of a PEM text, whose others are its issuers'.
pub(crate) fn own_certificate(pem: &str) -> Result<CertificateDer<'static>, String> {
    certificates(pem).map(|mut chain| chain.swap_remove(0))
}

/// All certificates of a PEM text, of which there is at least one.
fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    let found = found.map_err(|error| error.to_string())?;
    if found.is_empty() { Err("there is no certificate in it".to_owned()) } else { Ok(found) }
}

/// The certificates of a listener.
#[derive(Debug)]
struct Keys(Vec<Arc<CertifiedKey>>);

impl FromIterator<CertifiedKey> for Keys {
    fn from_iter<I: IntoIterator<Item = CertifiedKey>>(keys: I) -> Self {
        Self(keys.into_iter().map(Arc::new).collect())
    }
}

impl ResolvesServerCert for Keys {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let asked = hello.server_name().and_then(|name| ServerName::try_from(name).ok());
        let named = asked.and_then(|asked| {
            self.0.iter().find(|key| key.cert.first().is_some_and(|der| is_for(der, &asked)))
        });
        named.or(self.0.first()).cloned()
    }
}

/// Whether a certificate has this name among its own.
fn is_for(der: &CertificateDer<'_>, name: &ServerName<'_>) -> bool {
    let parsed = ParsedCertificate::try_from(der);
    parsed.is_ok_and(|parsed| verify_server_name(&parsed, name).is_ok())
}

/// Asks peers for a certificate, and has them prove that its key is theirs.
#[derive(Debug)]
struct Asks {
    hints: Vec<DistinguishedName>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for Asks {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        _own: &CertificateDer<'_>,
        issuers: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if issuers.len() >= CHAIN_MAX {
            return Err(Error::InvalidCertificate(
                CertificateError::ApplicationVerificationFailure,
            ));
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, own, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, own, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// What a peer showed, believed by nobody yet. Its key is the peer's.
pub struct Certificate {
    chain: Vec<CertificateDer<'static>>,
    found: Mutex<Vec<Found>>,
}

/// What an authority, known by its digest, found of a certificate, and when.
type Found = (Digest, Timestamp, Result<(), Untrusted>);

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({} in the chain)", self.chain.len())
    }
}

/// Why a peer's certificate does not do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Untrusted(String);

/// Whose certificates let a peer in.
#[derive(Clone)]
pub struct ClientAuthority {
    verifier: Arc<dyn ClientCertVerifier>,
    names: Vec<ServerName<'static>>,
    digest: Digest,
}

impl ClientAuthority {
    /// The authorities of this PEM text, and the names of which a certificate needs one; without any, all do.
    ///
    /// # Errors
    /// If the text has no certificate, or one that can't be an authority's.
    pub fn new(pem: &str, names: &[ServerNameText]) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(pem)? {
            roots.add(certificate).map_err(|error| error.to_string())?;
        }
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
        let verifier = verifier.build().map_err(|error| error.to_string())?;
        let texts = names.iter().map(|name| name.0.to_str().into_owned());
        let texts: Vec<_> = std::iter::once(pem.to_owned()).chain(texts).collect();
        let fields: Vec<_> = texts.iter().map(String::as_bytes).collect();
        let names = names.iter().map(|name| name.0.clone()).collect();
        Ok(Self { verifier, names, digest: Digest::of_fields(&fields) })
    }

    /// The names, one of which a certificate needs.
    pub fn names(&self) -> impl Iterator<Item = String> {
        self.names.iter().map(|name| name.to_str().into_owned())
    }

    /// Whether a certificate lets its owner in.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, certificate: &Certificate, now: Timestamp) -> Result<(), Untrusted> {
        let mut found = certificate.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.retain(|(_, at, _)| now.since(*at) < BELIEVED && at.as_millis() <= now.as_millis());
        if let Some((.., result)) = found.iter().find(|(digest, ..)| *digest == self.digest) {
            return result.clone();
        }
        let result = self.judge(&certificate.chain, now);
        found.push((self.digest, now, result.clone()));
        result
    }

    fn judge(&self, chain: &[CertificateDer<'_>], now: Timestamp) -> Result<(), Untrusted> {
        let [own, issuers @ ..] = chain else { return Err(Untrusted("it is empty".to_owned())) };
        let seconds = u64::try_from(now.as_millis() / 1000).unwrap_or_default();
        let now = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        self.verifier
            .verify_client_cert(own, issuers, now)
            .map_err(|error| Untrusted(error.to_string()))?;
        if self.names.is_empty() || self.names.iter().any(|name| is_for(own, name)) {
            return Ok(());
        }
        Err(Untrusted("it has none of the names in client_names".to_owned()))
    }
}

impl PartialEq for ClientAuthority {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl Eq for ClientAuthority {}

impl fmt::Debug for ClientAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientAuthority({} names)", self.names.len())
    }
}

/// A name as a certificate has it: of a host, perhaps, or an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerNameText(ServerName<'static>);

impl std::str::FromStr for ServerNameText {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let name = ServerName::try_from(text.to_owned());
        name.map(Self).map_err(|_| "expected a name of a host, or an address")
    }
}
