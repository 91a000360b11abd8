//! The way to one place that the operator named, such as a collector of traces: no address is refused, and
//! connections are kept.

use std::{fmt, time::Duration};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioTimer},
};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{Connector, Names, Trust, connector, names::Resolver, unavailable};

/// Connections: what is posted goes one after another.
const CONNECTIONS_MAX: usize = 2;
/// How long one that nobody uses is kept.
const IDLE: Duration = Duration::from_secs(30);
/// Bytes of an answer, which nobody reads.
const ANSWER_MAX: usize = 64 << 10;

/// Posts to one place.
pub(crate) struct Post {
    client: Client<Connector, Full<Bytes>>,
    url: Uri,
    headers: Vec<(HeaderName, HeaderValue)>,
    timeout: Duration,
}

/// Why it was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PostFault {
    /// It may be, later.
    Later(String),
    /// It will not be.
    Never(String),
}

impl Post {
    /// A way to this URL, with these headers in each request.
    ///
    /// # Errors
    /// If the operator's authorities are none.
    pub(crate) fn new(
        url: Uri,
        headers: Vec<(HeaderName, HeaderValue)>,
        timeout: Duration,
        roots: Option<&str>,
        names: Names,
    ) -> Result<Self, String> {
        let everywhere: [IpNet; 2] = [Ipv4Net::default().into(), Ipv6Net::default().into()];
        let resolver = Resolver::new(names, everywhere.into());
        let connector = connector(resolver, &Trust::new(roots)?, CONNECTIONS_MAX);
        let connector = connector.map_err(|error| error.to_string())?;
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .build(connector);
        Ok(Self { client, url, headers, timeout })
    }

    /// Posts once.
    ///
    /// # Errors
    /// If it was not taken.
    pub(crate) async fn send(&self, content_type: &str, body: Bytes) -> Result<(), PostFault> {
        let sent = tokio::time::timeout(self.timeout, self.request(content_type, body)).await;
        sent.unwrap_or_else(|_| Err(PostFault::Later("it took too long".to_owned())))
    }

    async fn request(&self, content_type: &str, body: Bytes) -> Result<(), PostFault> {
        let mut request = Request::post(self.url.clone())
            .header(header::USER_AGENT, concat!("hookweir/", env!("CARGO_PKG_VERSION")))
            .header(header::CONTENT_TYPE, content_type)
            .body(Full::new(body))
            .map_err(|error| PostFault::Never(error.to_string()))?;
        request.headers_mut().extend(self.headers.iter().cloned());
        let later =
            |error: &dyn std::error::Error| PostFault::Later(unavailable(error).to_string());
        let answer = self.client.request(request).await.map_err(|error| later(&error))?;
        let status = answer.status();
        // Read to its end, the connection can be used again.
        let _ = Limited::new(answer.into_body(), ANSWER_MAX).collect().await;
        let answered = || format!("it is answered with {}", status.as_u16());
        match status {
            _ if status.is_success() => Ok(()),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => {
                Err(PostFault::Later(answered()))
            }
            _ if status.is_server_error() => Err(PostFault::Later(answered())),
            _ => Err(PostFault::Never(answered())),
        }
    }
}

impl fmt::Debug for Post {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Post")
    }
}
