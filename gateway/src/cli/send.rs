//! `hookweir send`: posts a webhook as a source's sender would, signed with the source's own secret,
//! or with a private key where the source holds the public one. For trying a source and its plugins
//! without the provider.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use hookweir_event::{Clock, EventType, SourceName, Timestamp};
use hookweir_verify::{Outgoing, SignError};
use http::{Method, Request, header, request};
use http_body_util::{BodyExt as _, Full};

use super::{Exit, config_fault, runtime, say, tell};
use crate::{
    chance::Chance,
    config::{Config, Surroundings},
    egress::{Asking, Identity, root_cause},
    live::Source,
    serve::CertificateDer,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The source to post to, as the config names it.
    source: SourceName,
    /// The event type, where the source reads it from a header.
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<EventType>,
    /// The file with the body; `-` for standard input.
    #[arg(long, value_name = "FILE")]
    body: PathBuf,
    /// The sender's id for the event, where the source reads it from a header; random if left out.
    #[arg(long)]
    id: Option<String>,
    /// The media type of the body.
    #[arg(long, default_value = "application/json")]
    content_type: String,
    /// A header that the source wants beside its signature; may be given several times.
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = header_line)]
    headers: Vec<(String, String)>,
    /// The query that is posted to, without its `?`.
    #[arg(long)]
    query: Option<String>,
    /// The private key to sign with, where the source holds a public one: PEM, PKCS #8, such as
    /// `openssl genpkey` writes.
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// The gateway, if not where the config says.
    #[arg(long, value_name = "http://HOST:PORT")]
    url: Option<String>,
    /// A file of certificates, in PEM, of authorities to believe beside those that browsers trust. The very
    /// certificate that the config names is believed anyway.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The config file.
    #[arg(long, default_value = "gateway.toml")]
    config: PathBuf,
}

pub(super) fn run(args: Args) -> Exit {
    let config = match Config::load(&args.config, &Surroundings::real()) {
        Ok(config) => config,
        Err(error) => return config_fault(&error),
    };
    match send(args, &config) {
        Ok((status, reply)) => {
            say(format_args!("{status} {}", reply.trim_end()));
            if (200..300).contains(&status) { Exit::Ok } else { Exit::Failed }
        }
        Err(reason) => {
            tell(format_args!("failed to send: {reason}"));
            Exit::Failed
        }
    }
}

fn send(args: Args, config: &Config) -> Result<(u16, String), String> {
    let source = config.sources.get(&args.source).ok_or_else(|| {
        let names: Vec<_> = config.sources.keys().map(SourceName::as_str).collect();
        format!("there is no source {}; there are: {}", args.source, names.join(", "))
    })?;
    let body = read(&args.body)?;
    let now = Clock::system().now();
    let random = || format!("{:032x}", u128::from_ne_bytes(Chance::system().bytes()));
    let request = Outgoing {
        method: "POST".into(),
        path: source.path.clone(),
        url: source.url_called(args.query.as_deref()),
        query: args.query,
        headers: std::iter::once(("content-type".into(), args.content_type))
            .chain(args.headers)
            .map(|(name, value)| (name, value.into_bytes()))
            .collect(),
        body: body.into(),
        event_type: args.event_type,
        id: Some(args.id.unwrap_or_else(random)),
    };
    let name = &args.source;
    let source = Source::new(name.clone(), source.clone(), config.store.data_folder(), false);
    let signed = sign(&source, request, now, args.key_file.as_deref())?;
    let own = config.server.tls.as_ref().map(|tls| tls.own().collect::<Vec<_>>());
    let base = args.url.unwrap_or_else(|| base(config.server.listen, own.is_some()));
    let client = client(args.ca.as_deref(), own, None)?;
    let query = signed.query.as_ref().map_or_else(String::new, |query| format!("?{query}"));
    let url = format!("{}{}{query}", base.trim_end_matches('/'), signed.path);
    runtime().map_err(|error| error.to_string())?.block_on(post(&client, &url, signed))
}

fn sign(
    source: &Source,
    request: Outgoing,
    now: Timestamp,
    key_file: Option<&Path>,
) -> Result<Outgoing, String> {
    let scheme = &source.config.scheme;
    if scheme.is_vouched() {
        return Err(format!(
            "the source's requests are verified by {}, and what it takes only its sender can make; \
             post one with a client of your own",
            scheme.name()
        ));
    }
    if scheme.is_insecure() {
        return scheme.unsigned(request).map_err(|error| error.to_string());
    }
    let key = match key_file {
        Some(path) => {
            let text = std::fs::read_to_string(path);
            let text = text.map_err(|error| format!("{}: {error}", path.display()))?;
            scheme
                .signing_key(text.trim())
                .map_err(|fault| format!("{}: {fault}", path.display()))?
        }
        None => {
            let valid = source.secrets().iter().find(|secret| secret.is_valid(now));
            let none = if scheme.finds_keys() {
                "the source's keys lie at URLs, and its provider alone can sign; configure a public \
                 key of your own as its secret and name the private one with --key-file"
            } else {
                "none of the source's secrets is valid now"
            };
            valid.ok_or(none)?.key.clone()
        }
    };
    scheme.sign(&key, request, now).map_err(|error| match error {
        SignError::PublicKey => {
            "the source holds a public key; name the private one with --key-file".to_owned()
        }
        error => error.to_string(),
    })
}

/// Posts a signed request and answers its status and body.
pub(super) async fn post(
    client: &Asking,
    url: &str,
    request: Outgoing,
) -> Result<(u16, String), String> {
    let mut posting = Request::post(url);
    for (name, value) in request.headers {
        posting = posting.header(name, value);
    }
    in_time(client, url, posting.body(Full::new(request.body))).await
}

/// How long an answer may take: a version that is approved is compiled first.
const ANSWER_MAX: Duration = Duration::from_secs(120);

/// What asks a gateway. `ca` is a file of authorities, `own` are the certificates that the config
/// names, if the gateway speaks TLS, and `identity` the files of a certificate and its key, which it is shown.
pub(super) fn client(
    ca: Option<&Path>,
    own: Option<Vec<CertificateDer<'static>>>,
    identity: Option<(&Path, &Path)>,
) -> Result<Asking, String> {
    let read = |path: &Path| {
        std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
    };
    let identified = |(certificate, key): (&Path, &Path)| {
        Identity::new(&read(certificate)?, &read(key)?)
            .map_err(|error| format!("{}: {error}", certificate.display()))
    };
    let identity = identity.map(identified).transpose()?;
    let more = ca.map(read).transpose()?;
    let named = |error| match ca {
        Some(path) => format!("{}: {error}", path.display()),
        None => error,
    };
    Asking::new(more.as_deref(), own.unwrap_or_default(), identity).map_err(named)
}

/// Where a gateway is that listens here.
pub(super) fn base(listen: SocketAddr, is_secure: bool) -> String {
    format!("{}://{listen}", if is_secure { "https" } else { "http" })
}

/// Asks for `url`, or posts to it, and answers status and body.
pub(super) async fn ask(
    url: &str,
    token: Option<&str>,
    body: Option<&serde_json::Value>,
) -> Result<(u16, String), String> {
    let method = if body.is_some() { Method::POST } else { Method::GET };
    ask_by(&client(None, None, None)?, method, url, token, body).await
}

/// The same by any method.
pub(super) async fn ask_by(
    client: &Asking,
    method: Method,
    url: &str,
    token: Option<&str>,
    body: Option<&serde_json::Value>,
) -> Result<(u16, String), String> {
    let mut asking = with_token(Request::builder().method(method).uri(url), token);
    let body = body.filter(|body| !body.is_null()).map(ToString::to_string);
    if body.is_some() {
        asking = asking.header(header::CONTENT_TYPE, "application/json");
    }
    let asking = asking.body(Full::from(body.unwrap_or_default()));
    in_time(client, url, asking).await
}

/// Status and body of an answer, if it comes within [`ANSWER_MAX`].
async fn in_time(
    client: &Asking,
    url: &str,
    request: http::Result<Request<Full<Bytes>>>,
) -> Result<(u16, String), String> {
    let answer = tokio::time::timeout(ANSWER_MAX, whole(client, url, request)).await;
    answer.unwrap_or_else(|_| Err(format!("{url}: no answer within {ANSWER_MAX:?}")))
}

/// Status and body of an answer.
async fn whole(
    client: &Asking,
    url: &str,
    request: http::Result<Request<Full<Bytes>>>,
) -> Result<(u16, String), String> {
    let fault = |error: String| format!("{url}: {error}");
    let request = request.map_err(|error| fault(error.to_string()))?;
    let response = client.send(request).await.map_err(fault)?;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await;
    let body = body.map_err(|error| fault(root_cause(&error)))?.to_bytes();
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

/// Asks for `url`, and hands on each line of its body as it comes, for as long as it takes.
pub(super) async fn lines(
    client: &Asking,
    url: &str,
    token: Option<&str>,
    mut each: impl FnMut(&[u8]) -> Result<(), String>,
) -> Result<(), String> {
    let fault = |error: String| format!("{url}: {error}");
    let asking = with_token(Request::get(url), token).body(Full::default());
    let asking = asking.map_err(|error| fault(error.to_string()))?;
    let response = client.send(asking).await.map_err(fault)?;
    let status = response.status().as_u16();
    let mut body = response.into_body();
    if status != 200 {
        let text = body.collect().await.map_err(|error| fault(root_cause(&error)))?.to_bytes();
        let text = String::from_utf8_lossy(&text);
        let said: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        return Err(format!("{url}: {status} {}", said["error"].as_str().unwrap_or(&text)));
    }
    let mut rest = Vec::new();
    let broke_off = |error: hyper::Error| format!("it broke off: {}", root_cause(&error));
    while let Some(frame) = body.frame().await.transpose().map_err(broke_off)? {
        let Ok(chunk) = frame.into_data() else { continue };
        rest.extend_from_slice(&chunk);
        let mut begun = 0;
        while let Some(len) = rest[begun..].iter().position(|byte| *byte == b'\n') {
            each(&rest[begun..begun + len])?;
            begun += len + 1;
        }
        rest.drain(..begun);
    }
    if rest.is_empty() { Ok(()) } else { Err("it broke off in the middle of a line".to_owned()) }
}

fn with_token(asking: request::Builder, token: Option<&str>) -> request::Builder {
    match token {
        Some(token) => asking.header(header::AUTHORIZATION, format!("Bearer {token}")),
        None => asking,
    }
}

pub(super) fn header_line(text: &str) -> Result<(String, String), &'static str> {
    let (name, value) = text.split_once(':').ok_or("expected NAME: VALUE")?;
    Ok((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
}

/// A file's bytes, or those of standard input for `-`.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, String> {
    use std::io::Read as _;
    let mut body = Vec::new();
    if path == Path::new("-") {
        std::io::stdin().read_to_end(&mut body).map_err(|error| error.to_string())?;
        return Ok(body);
    }
    std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}
