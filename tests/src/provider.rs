//! A provider's own servers, here on this machine: they serve keys over TLS under an authority of
//! their own, count who asks, and can be told to fail.

use std::{
    collections::HashMap,
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use tokio::net::TcpListener;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    },
};

/// An authority that issues certificates.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    /// An authority that nobody stands behind.
    pub fn root(name: &str) -> Self {
        let issuer = CertifiedIssuer::self_signed(authority(name), key());
        Self(issuer.unwrap())
    }

    /// An authority below this one.
    pub fn below(&self, name: &str) -> Self {
        Self(CertifiedIssuer::signed_by(authority(name), key(), &self.0).unwrap())
    }

    /// Its own certificate.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// Its own certificate.
    pub fn der(&self) -> Vec<u8> {
        self.0.der().to_vec()
    }

    /// A certificate for these names, in PEM, and its key. It says that its issuer's lies at
    /// `issuer_url`, if there is one.
    pub fn issue(&self, names: &[&str], issuer_url: Option<&str>) -> (String, KeyPair) {
        let (params, key) = (leaf(names, issuer_url), key());
        (params.signed_by(&key, &self.0).unwrap().pem(), key)
    }

    /// A certificate for these names that runs out with the beginning of a year, in PEM, and its key.
    pub fn issue_until(&self, names: &[&str], year: i32) -> (String, KeyPair) {
        let (mut params, key) = (leaf(names, None), key());
        params.not_after = date_time_ymd(year, 1, 1);
        (params.signed_by(&key, &self.0).unwrap().pem(), key)
    }

    /// A certificate of a client's, in PEM, and its key.
    pub fn issue_client(&self, names: &[&str]) -> (String, KeyPair) {
        let (mut params, key) = (leaf(names, None), key());
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        (params.signed_by(&key, &self.0).unwrap().pem(), key)
    }
}

fn key() -> KeyPair {
    KeyPair::generate().unwrap()
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn leaf(names: &[&str], issuer_url: Option<&str>) -> CertificateParams {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    params.custom_extensions.extend(issuer_url.map(issuer_at));
    params
}

/// Authority information access, RFC 5280, section 4.2.2.1: one description, of the issuer.
fn issuer_at(url: &str) -> CustomExtension {
    let tagged = |tag: u8, content: &[u8]| {
        let length = u8::try_from(content.len()).ok().filter(|length| *length < 128).unwrap();
        [&[tag, length], content].concat()
    };
    let method = tagged(0x06, &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x02]);
    let description = tagged(0x30, &[method, tagged(0x86, url.as_bytes())].concat());
    CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 1], tagged(0x30, &description))
}

/// What a provider answers with.
type Answer = (u16, Bytes);

/// A provider's servers.
#[derive(Clone)]
pub struct Provider {
    /// Where they listen with TLS.
    pub tls: SocketAddr,
    /// Where they listen without.
    pub plain: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    answers: HashMap<String, Answer>,
    asked: Vec<String>,
}

impl Provider {
    /// Servers for these names, with a certificate by `authority`. They run as long as the test.
    pub async fn start(authority: &Authority, names: &[&str]) -> Self {
        let (certificate, key) = authority.issue(names, None);
        let certificate = pem_der(&certificate);
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.into()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let secure = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let provider = Self {
            tls: secure.local_addr().unwrap(),
            plain: plain.local_addr().unwrap(),
            state: Arc::default(),
        };
        let serving = provider.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = secure.accept().await {
                let (acceptor, serving) = (acceptor.clone(), serving.clone());
                tokio::spawn(async move {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        serving.serve(TokioIo::new(stream)).await;
                    }
                });
            }
        });
        let serving = provider.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = plain.accept().await {
                let serving = serving.clone();
                tokio::spawn(async move { serving.serve(TokioIo::new(stream)).await });
            }
        });
        provider
    }

    /// What a path is answered with from now on; paths not named are 404.
    pub fn answer(&self, path: &str, status: u16, body: impl Into<Bytes>) {
        self.state.lock().unwrap().answers.insert(path.to_owned(), (status, body.into()));
    }

    /// Which paths were asked for, in order, with their queries.
    pub fn asked(&self) -> Vec<String> {
        self.state.lock().unwrap().asked.clone()
    }

    async fn serve<S>(self, stream: S)
    where
        S: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
    {
        let answer = service_fn(move |request: Request<Incoming>| {
            let answer = self.respond(&request);
            async move { Ok::<_, Infallible>(answer) }
        });
        let _ = http1::Builder::new().serve_connection(stream, answer).await;
    }

    fn respond(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let mut state = self.state.lock().unwrap();
        let path = request.uri().path_and_query().map_or("/", |target| target.as_str());
        state.asked.push(path.to_owned());
        let (status, body) = state.answers.get(path).cloned().unwrap_or((404, Bytes::new()));
        let mut response = Response::new(Full::new(body));
        *response.status_mut() = status.try_into().unwrap();
        response
    }
}

fn pem_der(pem: &str) -> Vec<u8> {
    use tokio_rustls::rustls::pki_types::{CertificateDer, pem::PemObject as _};
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap().to_vec()
}
