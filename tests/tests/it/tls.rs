//! TLS on both listeners: HTTP/1.1 and HTTP/2, certificates by name, their change under load, and sources whose
//! senders show one of their own.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
};

use hookweir_tests::{
    bounded,
    guests::root,
    house::{House, PATIENCE, SECRET},
    provider::Authority,
};
use hookweir_verify::Outgoing;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Version, body::Bytes, client::conn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore, SupportedProtocolVersion,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
        version::{TLS12, TLS13},
    },
};

/// A house with TLS, its certificates and their authority.
struct Secure {
    house: House,
    authority: Authority,
}

/// What a client of a test shows and speaks.
#[derive(Clone)]
struct Client {
    roots: Arc<RootCertStore>,
    shows: Option<(String, String)>,
    alpn: &'static [&'static [u8]],
    versions: Vec<&'static SupportedProtocolVersion>,
}

const HTTP1: &[&[u8]] = &[b"http/1.1"];
const BOTH: &[&[u8]] = &[b"h2", b"http/1.1"];
const TLS: &str = "[server.tls]\ncert = \"cert.pem\"\nkey = \"key.pem\"\n";

impl Secure {
    fn new(sections: &str) -> Self {
        let house = House::new(env!("CARGO_BIN_EXE_hookweir-under-test"), sections);
        let secure = Self { house, authority: Authority::root("tests") };
        secure.issue("", &["hooks.test"]);
        secure
    }

    fn path(&self, name: &str) -> PathBuf {
        self.house.config().with_file_name(name)
    }

    /// A new certificate and key, as `PREFIXcert.pem` and `PREFIXkey.pem`.
    fn issue(&self, prefix: &str, names: &[&str]) {
        let (certificate, key) = self.authority.issue(names, None);
        self.put(&format!("{prefix}cert.pem"), &certificate);
        self.put(&format!("{prefix}key.pem"), &key.serialize_pem());
    }

    fn put(&self, name: &str, text: &str) {
        let aside = self.path(&format!(".{name}"));
        fs::write(&aside, text).unwrap();
        fs::rename(aside, self.path(name)).unwrap();
    }

    fn client(&self) -> Client {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.der().into()).unwrap();
        Client { roots: Arc::new(roots), shows: None, alpn: HTTP1, versions: vec![&TLS13, &TLS12] }
    }
}

impl Client {
    /// A connection under this name.
    async fn connect(&self, to: SocketAddr, name: &str) -> std::io::Result<TlsStream<TcpStream>> {
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_protocol_versions(&self.versions).unwrap();
        let builder = builder.with_root_certificates(self.roots.clone());
        let mut config = match &self.shows {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = CertificateDer::pem_slice_iter(certificate.as_bytes());
                let chain = chain.map(Result::unwrap).collect();
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        config.alpn_protocols = self.alpn.iter().map(|name| name.to_vec()).collect();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let stream = TcpStream::connect(to).await?;
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }

    /// What a request on a connection of its own is answered with.
    async fn send(&self, to: SocketAddr, request: Request<Full<Bytes>>) -> Result<Answer, String> {
        let fault = |error: &dyn std::error::Error| error.to_string();
        let stream = self.connect(to, "hooks.test").await.map_err(|error| fault(&error))?;
        let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let stream = TokioIo::new(stream);
        let response = if http2 {
            let made = conn::http2::handshake(TokioExecutor::new(), stream).await;
            let (mut sender, connection) = made.map_err(|error| fault(&error))?;
            tokio::spawn(connection);
            sender.send_request(request).await
        } else {
            let made = conn::http1::handshake(stream).await;
            let (mut sender, connection) = made.map_err(|error| fault(&error))?;
            tokio::spawn(connection);
            sender.send_request(request).await
        };
        let response = response.map_err(|error| fault(&error))?;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.map_err(|error| fault(&error))?.to_bytes();
        let body = String::from_utf8_lossy(&body).into_owned();
        Ok(Answer {
            status: parts.status.as_u16(),
            version: parts.version,
            headers: parts.headers,
            body,
        })
    }
}

#[derive(Debug)]
struct Answer {
    status: u16,
    version: Version,
    headers: hyper::HeaderMap,
    body: String,
}

/// A signed request, as it goes out by HTTP/1.1; by HTTP/2 the target names the host.
fn request(signed: Outgoing, version: Version) -> Request<Full<Bytes>> {
    let target = match version {
        Version::HTTP_2 => format!("https://hooks.test{}", signed.path),
        _ => signed.path.clone(),
    };
    let mut request = Request::post(target);
    if version != Version::HTTP_2 {
        request = request.header("host", "hooks.test");
    }
    for (name, value) in signed.headers {
        request = request.header(name, value);
    }
    request.body(Full::new(signed.body)).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_versions_of_http_are_spoken_by_alpn_and_old_tls_is_not() {
    let secure = Secure::new(TLS);
    let gateway = secure.house.start().await;
    let (house, sender) = (&secure.house, secure.house.sender("test"));
    for (alpn, versions, http) in [
        (HTTP1, vec![&TLS13], Version::HTTP_11),
        (BOTH, vec![&TLS13], Version::HTTP_2),
        (BOTH, vec![&TLS12], Version::HTTP_2),
        (&[][..], vec![&TLS12], Version::HTTP_11),
    ] {
        let id = format!("{alpn:?} {versions:?}");
        let client = Client { alpn, versions, ..secure.client() };
        let signed = sender.signed("order.created", &id, b"{}");
        let answer = client.send(house.public, request(signed, http)).await.unwrap();
        assert_eq!((answer.status, answer.version), (202, http), "{answer:?}");
        assert_eq!(answer.headers["strict-transport-security"], "max-age=63072000");
        assert_eq!(answer.headers["x-content-type-options"], "nosniff");
    }
    // HTTP without TLS is no handshake; it is counted, and nobody is answered.
    let plain = reqwest::get(format!("http://{}/nowhere", house.public)).await;
    assert!(plain.is_err());
    let failed = |page: &hookweir_tests::scrape::Scrape| {
        page.value("hookweir_connections_turned_away_total", &[("reason", "handshake")])
    };
    house.until_metrics("the handshake is counted", |page| failed(page) >= 1.0).await;
    let log = house.log();
    assert!(!log.contains("PRIVATE") && !log.contains(SECRET));
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_name_has_its_certificate() {
    let more = "certs = [{ cert = \"two-cert.pem\", key = \"two-key.pem\" }]\n";
    let secure = Secure::new(&format!("{TLS}{more}"));
    secure.issue("two-", &["*.other.test"]);
    let gateway = secure.house.start().await;
    let client = secure.client();
    for (name, is_served) in
        [("hooks.test", true), ("a.other.test", true), ("other.test", false), ("x.test", false)]
    {
        let connected = client.connect(secure.house.public, name).await;
        assert_eq!(connected.is_ok(), is_served, "{name}: {connected:?}");
    }
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_changed_under_load_without_a_failed_request() {
    let secure = Arc::new(Secure::new(TLS));
    let gateway = secure.house.start().await;
    let (on, sent) = (Arc::new(AtomicBool::new(true)), Arc::<AtomicUsize>::default());
    let mut senders = tokio::task::JoinSet::new();
    for task in 0..4 {
        let (secure, on, sent) = (secure.clone(), on.clone(), sent.clone());
        senders.spawn(async move {
            let (sender, client) = (secure.house.sender("test"), secure.client());
            for number in 0.. {
                if !on.load(SeqCst) {
                    return;
                }
                let signed = sender.signed("order.created", &format!("{task}-{number}"), b"{}");
                let request = request(signed, Version::HTTP_11);
                let answer = client.send(secure.house.public, request).await.unwrap();
                assert_eq!(answer.status, 202, "{answer:?}");
                sent.fetch_add(1, SeqCst);
            }
        });
    }
    let shown = async || {
        let stream = secure.client().connect(secure.house.public, "hooks.test").await.unwrap();
        stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
    };
    let first = shown().await;
    let (certificate, key) = secure.authority.issue(&["hooks.test"], None);
    // The certificate comes before its key: a pair that does not fit is reported, and the old one stays.
    let said = secure.house.log().len();
    secure.put("cert.pem", &certificate);
    secure.house.until_log(said, &["the key is not the certificate's"]).await;
    assert_eq!(shown().await, first);
    let (said, before) = (secure.house.log().len(), sent.load(SeqCst));
    secure.put("key.pem", &key.serialize_pem());
    secure.house.until_log(said, &["config reloaded"]).await;
    let second = shown().await;
    assert_ne!(second, first);
    assert_eq!(second, CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap());
    let after = sent.load(SeqCst);
    let more = async {
        while sent.load(SeqCst) < after + 20 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, more).await.unwrap();
    on.store(false, SeqCst);
    while let Some(ended) = senders.join_next().await {
        ended.unwrap();
    }
    let sent = sent.load(SeqCst);
    println!(
        "{sent} requests over TLS, each on its own connection, {before} of them before the change"
    );
    assert_eq!(secure.house.reader().counts().await.unwrap().events, sent as u64);
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_takes_only_certificates_of_its_own_authority() {
    let source = |name: &str, ca: &str, more: &str| {
        format!(
            "[sources.{name}]\npath = \"/webhooks/{name}\"\nscheme = \"github\"\nrate = \"off\"\n\
             secrets = [{{ env = \"TEST_SECRET\" }}]\nclient_ca = \"{ca}\"\n{more}\n"
        )
    };
    let sections = [
        TLS.to_owned(),
        source("one", "one.pem", ""),
        source("two", "two.pem", "client_names = [\"sender.two.test\"]"),
    ];
    let secure = Secure::new(&sections.concat());
    let (one, two) = (Authority::root("one"), Authority::root("two"));
    secure.put("one.pem", &one.pem());
    secure.put("two.pem", &two.pem());
    let gateway = secure.house.start().await;
    let shows = |authority: &Authority, name: &str| {
        let (certificate, key) = authority.issue_client(&[name]);
        Some((certificate, key.serialize_pem()))
    };
    let stranger = Authority::root("nobody");
    let cases = [
        ("one", None, 401),
        ("two", None, 401),
        ("github", None, 202),
        ("one", shows(&one, "sender.one.test"), 202),
        ("two", shows(&one, "sender.two.test"), 401),
        ("github", shows(&one, "sender.one.test"), 202),
        ("two", shows(&two, "sender.two.test"), 202),
        ("two", shows(&two, "another.two.test"), 401),
        ("one", shows(&stranger, "sender.one.test"), 401),
        ("github", shows(&stranger, "sender.one.test"), 202),
    ];
    let scheme = hookweir_verify::Scheme::preset("github").unwrap();
    for (number, (source, shows, status)) in cases.into_iter().enumerate() {
        let path = format!("/webhooks/{source}");
        let sender =
            hookweir_tests::sender::Sender::new(secure.house.public, &path, scheme.clone(), SECRET);
        for alpn in [HTTP1, BOTH] {
            let version = if alpn == BOTH { Version::HTTP_2 } else { Version::HTTP_11 };
            let client = Client { shows: shows.clone(), alpn, ..secure.client() };
            let body = format!("{{\"n\":\"{number} {version:?}\"}}");
            let signed = sender.signed("push", &format!("{number} {version:?}"), body.as_bytes());
            let answer = client.send(secure.house.public, request(signed, version)).await.unwrap();
            assert_eq!(answer.status, status, "{number} {source}: {answer:?}");
            assert!(status == 202 || answer.body.contains("\"unauthenticated\""), "{answer:?}");
        }
    }
    let log = secure.house.log();
    assert!(log.contains("no-certificate") && log.contains("bad-certificate"), "{log}");
    let refused = secure.house.admin("sources/two/refusals").await;
    assert!(refused.to_string().contains("bad-certificate"), "{refused}");
    assert!(gateway.stop().await.success());
}

/// What the command line says, and whether it did what it was asked.
fn hookweir(folder: &Path, arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hookweir-under-test"));
    let command = command.args(arguments).current_dir(folder).env("TEST_SECRET", SECRET);
    let output = bounded::output(command);
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_reaches_a_gateway_under_tls() {
    let admin = "[admin.tls]\ncert = \"admin-cert.pem\"\nkey = \"admin-key.pem\"\n";
    let secure = Secure::new(&format!("{TLS}{admin}"));
    secure.issue("admin-", &["localhost"]);
    secure.put("ca.pem", &secure.authority.pem());
    fs::write(secure.path("body.json"), b"{}").unwrap();
    let gateway = secure.house.spawn();
    secure.house.until_log(0, &["listening"]).await;
    let folder = secure.path("");
    let ask = |arguments: &[&str]| hookweir(&folder, arguments);
    // It is the certificate that the config names.
    let (done, said) = ask(&["status"]);
    assert!(done, "{said}");
    let send = ["send", "test", "--type", "order.created", "--body", "body.json"];
    let (done, said) = ask(&send);
    assert!(done && said.starts_with("202 "), "{said}");
    // Elsewhere it has to be one that is believed, for the name that is asked.
    let port = secure.house.admin.port();
    let url = format!("https://localhost:{port}");
    fs::write(
        secure.path("plain.toml"),
        plain(&fs::read_to_string(secure.house.config()).unwrap()),
    )
    .unwrap();
    let elsewhere = ["status", "--config", "plain.toml", "--url", &url];
    let (done, said) = ask(&elsewhere);
    assert!(!done && said.contains("certificate"), "{said}");
    let (done, said) = ask(&[&elsewhere[..], &["--ca", "ca.pem"]].concat());
    assert!(done, "{said}");
    let by_address = format!("https://127.0.0.1:{port}");
    let (done, said) =
        ask(&["status", "--config", "plain.toml", "--url", &by_address, "--ca", "ca.pem"]);
    assert!(!done, "its name is another: {said}");
    let (done, said) = ask(&["status", "--ca", "body.json"]);
    assert!(!done && said.contains("body.json"), "{said}");
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operators_show_a_certificate_where_one_is_wanted() {
    let admin = "[admin.tls]\ncert = \"cert.pem\"\nkey = \"key.pem\"\n";
    let wants = "client_ca = \"operators.pem\"\nclient_names = [\"ops.test\"]\n";
    // The probe, and what has the token and no certificate, its own, another name's, a stranger's.
    for (sections, statuses) in [
        (admin.to_owned(), [200, 200, 200, 200, 200]),
        (format!("{admin}{wants}"), [200, 401, 200, 401, 401]),
    ] {
        let secure = Secure::new(&sections);
        let (operators, stranger) = (Authority::root("operators"), Authority::root("nobody"));
        secure.put("operators.pem", &operators.pem());
        let gateway = secure.house.spawn();
        secure.house.until_log(0, &["listening"]).await;
        let token = fs::read_to_string(secure.path("data/admin-token")).unwrap();
        let shows = |authority: &Authority, name: &str| {
            let (certificate, key) = authority.issue_client(&[name]);
            Some((certificate, key.serialize_pem()))
        };
        let own = shows(&operators, "ops.test");
        let mut found = Vec::new();
        for (path, shows) in [
            ("/readyz", None),
            ("/v1/status", None),
            ("/metrics", own.clone()),
            ("/v1/status", shows(&operators, "else.test")),
            ("/metrics", shows(&stranger, "ops.test")),
        ] {
            let client = Client { shows, ..secure.client() };
            let asking = Request::get(path).header("host", "localhost");
            let asking = asking.header("authorization", format!("Bearer {token}"));
            let asking = asking.body(Full::default()).unwrap();
            found.push(client.send(secure.house.admin, asking).await.unwrap().status);
        }
        assert_eq!(found, statuses);
        let (certificate, key) = own.unwrap();
        secure.put("ops-cert.pem", &certificate);
        secure.put("ops-key.pem", &key);
        let folder = secure.path("");
        assert_eq!(hookweir(&folder, &["status"]).0, statuses[1] == 200);
        let shows = ["status", "--cert", "ops-cert.pem", "--key", "ops-key.pem"];
        let (done, said) = hookweir(&folder, &shows);
        assert!(done, "{said}");
        // The token is wanted all the same.
        fs::write(secure.path("wrong"), "another-token-of-some-length").unwrap();
        let (done, said) = hookweir(&folder, &[&shows[..], &["--token-file", "wrong"]].concat());
        assert!(!done && said.contains("401"), "{said}");
        assert!(gateway.stop().await.success());
    }
}

/// A config without what it says of TLS.
fn plain(config: &str) -> String {
    let sections = config.split("\n[").filter(|section| !section.starts_with("server.tls]"));
    let sections = sections.filter(|section| !section.starts_with("admin.tls]"));
    sections.collect::<Vec<_>>().join("\n[")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_told_when_certificates_run_out() {
    let more = "certs = [{ cert = \"two-cert.pem\", key = \"two-key.pem\" }]\n";
    let secure = Secure::new(&format!("{TLS}{more}"));
    // The beginnings of these years, since 1970.
    let (of_2090, of_2091, of_2092) = (3_786_912_000.0, 3_818_448_000.0, 3_849_984_000.0);
    let put = |prefix: &str, year| {
        let (certificate, key) = secure.authority.issue_until(&["hooks.test"], year);
        secure.put(&format!("{prefix}cert.pem"), &certificate);
        secure.put(&format!("{prefix}key.pem"), &key.serialize_pem());
    };
    put("", 2090);
    put("two-", 2091);
    let gateway = secure.house.start().await;
    let expires = |page: &hookweir_tests::scrape::Scrape| {
        ["server.tls.cert", "server.tls.certs[0].cert"].map(|place| {
            let name = "hookweir_tls_certificate_expires_timestamp_seconds";
            page.value(name, &[("certificate", place)])
        })
    };
    assert_eq!(expires(&secure.house.metrics().await), [of_2090, of_2091]);
    put("", 2092);
    let renewed = |page: &hookweir_tests::scrape::Scrape| expires(page) == [of_2092, of_2091];
    secure.house.until_metrics("the new certificate", renewed).await;
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn browsers_are_told_to_do_nothing_with_an_answer() {
    let house = House::new(env!("CARGO_BIN_EXE_hookweir-under-test"), "");
    let gateway = house.start().await;
    let accepted = house.sender("test").send("order.created", "1", b"{}").await.unwrap();
    let mut answers = vec![(accepted.status, accepted.headers)];
    for url in [
        format!("http://{}/nowhere", house.public),
        format!("http://{}/healthz", house.admin),
        format!("http://{}/v1/status", house.admin),
    ] {
        let answer = reqwest::get(url).await.unwrap();
        let text = |value: &hyper::header::HeaderValue| value.to_str().unwrap().to_owned();
        let headers = answer.headers().iter().map(|(name, value)| (name.to_string(), text(value)));
        answers.push((answer.status().as_u16(), headers.collect()));
    }
    assert_eq!(answers.iter().map(|(status, _)| *status).collect::<Vec<_>>(), [202, 404, 200, 401]);
    for (status, headers) in answers {
        let value = |name: &str| {
            let found = headers.iter().find(|(header, _)| header == name);
            found.map(|(_, value)| value.as_str())
        };
        assert_eq!(value("x-content-type-options"), Some("nosniff"), "{status}");
        assert_eq!(value("cache-control"), Some("no-store"), "{status}");
        let policy = Some("default-src 'none'; frame-ancestors 'none'");
        assert_eq!(value("content-security-policy"), policy, "{status}");
        assert_eq!(value("referrer-policy"), Some("no-referrer"), "{status}");
        assert_eq!((value("strict-transport-security"), value("server")), (None, None), "{status}");
    }
    assert!(gateway.stop().await.success());
}

#[test]
fn a_pair_that_can_not_be_used_is_no_config() {
    let secure = Secure::new(TLS);
    let folder = secure.path("");
    let check = || hookweir(&folder, &["check"]);
    assert!(check().0, "{}", check().1);
    let good = fs::read_to_string(secure.path("key.pem")).unwrap();
    let other = secure.authority.issue(&["hooks.test"], None).1.serialize_pem();
    let sample = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    for (file, text, says) in [
        ("key.pem", other.as_str(), "server.tls.key: the key is not the certificate's"),
        ("key.pem", &sample, "server.tls.key: expected a private key in PEM"),
        ("cert.pem", &good, "server.tls.cert: there is no certificate in it"),
    ] {
        let kept = fs::read_to_string(secure.path(file)).unwrap();
        secure.put(file, text);
        let (done, said) = check();
        assert!(!done && said.contains(says), "{said}");
        assert!(!said.contains(text.lines().nth(1).unwrap_or("-")), "it is told: {said}");
        secure.put(file, &kept);
    }
}
