//! The way out to the world. What the gateway itself fetches is here: keys, and the links by which a
//! subscription is confirmed. `plugins` is the plugins' way, `post` that to a place of the operator's. No redirects, addresses checked after they
//! were resolved and connected to as checked, size and time bounded.

mod address;
mod asking;
mod bounded;
mod names;
mod plugins;
mod post;
mod trust;

use std::{fmt, net::IpAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use ipnet::IpNet;
use thiserror::Error;

pub use self::names::Names;
pub(crate) use self::{
    asking::{Asking, root_cause},
    plugins::Roads,
    post::{Post, PostFault},
    trust::{Identity, Trust},
};
use self::{bounded::Bounded, names::Resolver};

/// For everything: resolving, connecting, TLS, the answer. SNS waits 15 s for ours.
const PATIENCE: Duration = Duration::from_secs(5);
/// For connecting to one address.
const CONNECT: Duration = Duration::from_secs(2);
/// Connections for keys, at a time.
const CONNECTIONS_MAX: usize = 16;
/// The largest document. A set of keys has a few KiB.
const DOCUMENT_MAX: usize = 256 * 1024;

/// Fetches documents.
#[derive(Clone)]
pub(crate) struct Web {
    client: Client<Connector, Empty<Bytes>>,
    also: Arc<[IpNet]>,
    pub(crate) trust: Trust,
}

/// Why there is no document.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum WebError {
    /// It may work later.
    #[error("{0}")]
    Unavailable(String),
    /// It will not.
    #[error("{0}")]
    Refused(String),
}

/// Whether a document must come over TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    /// It must.
    Tls,
    /// It need not, since what it says is proven by other means.
    Any,
}

impl Web {
    /// A way out to the world.
    ///
    /// # Errors
    /// If the operator's authorities are none.
    pub(crate) fn new(roots: Option<&str>, also: &[IpNet], names: Names) -> Result<Self, String> {
        let trust = Trust::new(roots)?;
        let also: Arc<[IpNet]> = also.into();
        let connector = connector(Resolver::new(names, also.clone()), &trust, CONNECTIONS_MAX);
        let connector = connector.map_err(|error| error.to_string())?;
        // Keys are fetched once an hour; a connection kept open would serve nobody.
        let client =
            Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
        Ok(Self { client, also, trust })
    }

    /// The document at `url`.
    ///
    /// # Errors
    /// If there is none, it is too large, or it took too long.
    pub(crate) async fn get(&self, url: &str, transport: Transport) -> Result<Bytes, WebError> {
        let uri: Uri = url.parse().map_err(|_| WebError::Refused("it is no URL".to_owned()))?;
        let tls = uri.scheme_str() == Some("https");
        if !tls && transport == Transport::Tls {
            return Err(WebError::Refused("it is not https".to_owned()));
        }
        // An address needs no resolver, so it is held against the policy here.
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        if let Ok(literal) = host.parse::<IpAddr>()
            && !address::allowed(literal, &self.also)
        {
            return Err(WebError::Refused(format!("{literal} is not public")));
        }
        let answer = tokio::time::timeout(PATIENCE, self.fetch(uri)).await;
        answer.unwrap_or_else(|_| Err(WebError::Unavailable("it took too long".to_owned())))
    }

    async fn fetch(&self, uri: Uri) -> Result<Bytes, WebError> {
        let request = Request::get(uri)
            .header(header::USER_AGENT, concat!("hookweir/", env!("CARGO_PKG_VERSION")))
            .body(Empty::new())
            .map_err(|error| WebError::Refused(error.to_string()))?;
        let answer = self.client.request(request).await.map_err(|error| unavailable(&error))?;
        let status = answer.status();
        if status != StatusCode::OK {
            let answered = format!("it is answered with {}", status.as_u16());
            let later = status.is_server_error()
                || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT);
            return Err(if later {
                WebError::Unavailable(answered)
            } else {
                WebError::Refused(answered)
            });
        }
        let body = Limited::new(answer.into_body(), DOCUMENT_MAX).collect().await;
        let body = body.map_err(|error| match error.downcast_ref::<hyper::Error>() {
            Some(error) => unavailable(error),
            None => WebError::Refused(format!("it is larger than {DOCUMENT_MAX} bytes")),
        })?;
        Ok(body.to_bytes())
    }
}

/// How connections are made.
type Connector = HttpsConnector<Bounded<HttpConnector<Resolver>>>;

/// Connects to what `resolver` finds, with TLS where the URL says so; at most so many connections are open.
fn connector(resolver: Resolver, trust: &Trust, most: usize) -> Result<Connector, rustls::Error> {
    let mut connector = HttpConnector::new_with_resolver(resolver);
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(CONNECT));
    let builder = HttpsConnectorBuilder::new().with_tls_config(trust.client()?);
    let builder = builder.https_or_http().enable_http1();
    Ok(builder.wrap_connector(Bounded::new(connector, most)))
}

/// An error with its causes: the outermost says least.
fn unavailable(error: &dyn std::error::Error) -> WebError {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    WebError::Unavailable(text)
}

impl fmt::Debug for Web {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Web")
    }
}
