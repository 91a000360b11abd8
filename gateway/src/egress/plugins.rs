//! The way out of plugins: for each version connections of its own, so that nothing that a server ties
//! to a connection reaches another plugin. What may be sent where is the host's to decide; here it is
//! looked at which address that is, and no redirect is followed.

use std::{error::Error, fmt, io, net::IpAddr, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use hookweir_host::{Allowance, HttpFault, Network, Sending, Transport};
use http::{HeaderName, HeaderValue, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioTimer},
};
use ipnet::IpNet;

use super::{
    Connector, Names, Trust, address, connector,
    names::{NotAllowed, Resolver},
};
use crate::trace::{Begun, Context, Fact, Kind, Tracer};

/// How long a connection that nobody uses is kept: less than servers commonly do.
const IDLE: Duration = Duration::from_secs(30);
/// How many of them for one server. With few, a burst of requests opens one each.
const IDLE_MAX: usize = 32;
/// Connections that one version may have open, used and idle.
const CONNECTIONS_MAX: usize = 128;
/// Bytes of an answer's status line and headers.
const HEAD_MAX: usize = 64 << 10;
/// Where a request says which trace it is part of.
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// Header fields of an answer.
const HEADERS_MAX: usize = 128;

/// Opens ways out.
pub(crate) struct Roads {
    trust: Trust,
    names: Names,
    tracer: Tracer,
}

/// One version's.
struct Road {
    client: Client<Connector, Full<Bytes>>,
    also: Arc<[IpNet]>,
    tracer: Tracer,
}

/// A way out that can't be opened.
struct NoRoad(String);

impl Roads {
    /// Believes the authorities that browsers trust and the operator's, and asks `names`.
    ///
    /// # Errors
    /// If the operator's authorities are none.
    pub(crate) fn new(roots: Option<&str>, names: Names) -> Result<Self, String> {
        Ok(Self { trust: Trust::new(roots)?, names, tracer: Tracer::default() })
    }

    /// Requests that are part of a trace become spans of it.
    pub(crate) fn traced(self, tracer: Tracer) -> Self {
        Self { tracer, ..self }
    }
}

impl Network for Roads {
    fn open(&self, addresses: &[IpNet]) -> Arc<dyn Transport> {
        let also: Arc<[IpNet]> = addresses.into();
        let resolver = Resolver::new(self.names.clone(), also.clone());
        let connector = match connector(resolver, &self.trust, CONNECTIONS_MAX) {
            Ok(connector) => connector,
            Err(error) => return Arc::new(NoRoad(error.to_string())),
        };
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(IDLE_MAX)
            .http1_max_buf_size(HEAD_MAX)
            .http1_max_headers(HEADERS_MAX)
            // A request whose connection broke before anything was sent goes out on another one.
            .retry_canceled_requests(true)
            .build(connector);
        Arc::new(Road { client, also, tracer: self.tracer.clone() })
    }
}

impl Transport for Road {
    fn send(&self, mut request: Request<Bytes>, allowance: Allowance) -> Sending<'_> {
        Box::pin(async move {
            let mut span = self.begin(&mut request);
            let answer = self.answer(request, allowance).await;
            match &answer {
                Ok(answer) => {
                    let status = answer.status();
                    span.note("http.response.status_code", || Fact::Number(status.as_u16().into()));
                    if status.is_client_error() || status.is_server_error() {
                        span.fail(String::new);
                    }
                }
                Err(fault) => {
                    span.note("error.type", || Fact::named(fault.code()));
                    span.fail(|| fault.to_string());
                }
            }
            answer
        })
    }
}

impl Road {
    /// The span of a request whose trace is recorded. From here on it is the request's parent.
    fn begin(&self, request: &mut Request<Bytes>) -> Begun {
        let method = request.method();
        let parent = || Context::parse(request.headers().get(TRACEPARENT)?.to_str().ok()?);
        let mut span = self.tracer.go_on(Kind::Client, parent, || method.to_string());
        let Some(context) = span.context() else { return span };
        // Not where to on the server: some paths are secrets.
        let uri = request.uri();
        span.note("http.request.method", || Fact::named(method));
        span.note("server.address", || Fact::named(uri.host().unwrap_or_default()));
        if let Some(port) = uri.port_u16() {
            span.note("server.port", || Fact::Number(port.into()));
        }
        if let Ok(value) = HeaderValue::from_str(&context.text()) {
            request.headers_mut().insert(TRACEPARENT, value);
        }
        span
    }

    async fn answer(
        &self,
        request: Request<Bytes>,
        mut allowance: Allowance,
    ) -> Result<Response<Bytes>, HttpFault> {
        // An address needs no resolver, so it is held against the policy here.
        let host = request.uri().host().unwrap_or_default().trim_matches(['[', ']']);
        if let Ok(literal) = host.parse::<IpAddr>()
            && !address::allowed(literal, &self.also)
        {
            return Err(HttpFault::Denied(not_public(host)));
        }
        let host = host.to_owned();
        let answer = self.client.request(request.map(Full::new)).await;
        let (parts, mut body) = answer.map_err(|error| fault(&error, &host))?.into_parts();
        let mut whole = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let broken = |error| HttpFault::Protocol(format!("the answer broke off: {error}"));
            let Ok(data) = frame.map_err(broken)?.into_data() else { continue };
            allowance.take(data.len())?;
            whole.extend_from_slice(&data);
        }
        Ok(Response::from_parts(parts, whole.freeze()))
    }
}

impl Transport for NoRoad {
    fn send(&self, _: Request<Bytes>, _: Allowance) -> Sending<'_> {
        Box::pin(async { Err(HttpFault::Tls(self.0.clone())) })
    }
}

fn not_public(host: &str) -> String {
    format!("{host} has no public address; to allow one that is not, add it to http_addresses")
}

/// What went wrong, by the innermost cause that says it best: the outermost says least.
fn fault(error: &hyper_util::client::legacy::Error, host: &str) -> HttpFault {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    let (mut text, mut tls) = (String::new(), false);
    while let Some(error) = cause {
        let io = error.downcast_ref::<io::Error>();
        if error.is::<NotAllowed>() {
            return HttpFault::Denied(not_public(host));
        }
        tls |= error.is::<rustls::Error>();
        text = error.to_string();
        // An I/O error passes over what it wraps when it is asked for its source.
        let wrapped = io.and_then(io::Error::get_ref).map(|wrapped| wrapped as &dyn Error);
        cause = wrapped.or_else(|| error.source());
    }
    match error.is_connect() {
        _ if tls => HttpFault::Tls(format!("no safe connection to {host}: {text}")),
        true => HttpFault::Connect(format!("no connection to {host}: {text}")),
        false => HttpFault::Protocol(format!("no answer of {host}: {text}")),
    }
}

impl fmt::Debug for Roads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Roads")
    }
}
