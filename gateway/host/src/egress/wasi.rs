//! wasi:http for components of other toolchains: their requests go the same way as those of the
//! contract's own `http`, under the same grant and limits.
//!
//! Bodies are gathered, both ways, since only whole ones can be held against the limits before anything
//! of them counts.

use std::{sync::Arc, time::Duration};

use bytes::BytesMut;
use http::{HeaderName, Request, Response};
use http_body_util::{BodyExt as _, Full};
use wasmtime_wasi_http::{Error, ForbiddenHeaderFilter, RequestOptions, WasiBody, WasiHttpHooks};

use super::{Allowance, HttpFault, Requests, Wish, request};

/// Bytes of one write to a body.
const CHUNK: usize = 16 << 10;

/// What an attempt's wasi:http does.
pub(crate) struct Hooks(pub(crate) Arc<Requests>);

type Io = Box<dyn Future<Output = Result<(), Error>> + Send>;
type Answer = Box<dyn Future<Output = Result<(Response<WasiBody>, Io), Error>> + Send>;

impl WasiHttpHooks for Hooks {
    fn forbidden_header_filter(&mut self) -> ForbiddenHeaderFilter {
        // A length may be said; it is checked, and then the body's own is sent.
        Arc::new(|name: &HeaderName| {
            request::is_forbidden(name) && *name != http::header::CONTENT_LENGTH
        })
    }

    fn set_host_header(&mut self) -> bool {
        false
    }

    /// What a body that nobody reads yet may hold, also one of a request that is never sent. With the
    /// handles that a guest may have that is 8 MiB.
    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        CHUNK
    }

    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Io,
    ) -> Answer {
        let requests = Arc::clone(&self.0);
        // Here, in the order in which the guest makes them, and before anything of a body is taken.
        let (method, url) = (request.method().to_string(), request.uri().to_string());
        let allowed = requests.allows(&method, &url);
        Box::new(async move {
            let number = allowed.map_err(error)?;
            let mut lent = requests.lend_body();
            let wish = requests.until_over(gathered(&mut lent.0, request, options)).await;
            let wish = wish.map_err(error)??;
            let answer = requests.send(requests.prepare(Ok(number), wish)).await;
            drop(lent);
            let body = |bytes| Full::new(bytes).map_err(|never| match never {}).boxed_unsync();
            Ok((answer.map_err(error)?.map(body), Box::new(async { Ok(()) }) as Io))
        })
    }
}

async fn gathered(
    allowance: &mut Allowance,
    request: Request<WasiBody>,
    options: Option<RequestOptions>,
) -> Result<Wish, Error> {
    let (mut parts, mut body) = request.into_parts();
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let broken = |_| Error::InternalError(Some("the body broke off".to_owned()));
        let Ok(data) = frame.map_err(broken)?.into_data() else { continue };
        allowance.take(data.len()).map_err(|fault| match fault {
            HttpFault::TooLarge(max) => Error::HttpRequestBodySize(Some(max)),
            other => error(other),
        })?;
        whole.extend_from_slice(&data);
    }
    parts.headers.remove(http::header::CONTENT_LENGTH);
    let headers = parts.headers.iter();
    let headers = headers.map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()));
    Ok(Wish {
        method: parts.method.to_string(),
        url: parts.uri.to_string(),
        headers: headers.collect(),
        secret_headers: Vec::new(),
        body: whole.freeze(),
        timeout: options.and_then(patience),
    })
}

/// The whole answer is waited for: so long as connecting and its first byte may take.
fn patience(options: RequestOptions) -> Option<Duration> {
    let RequestOptions { connect_timeout, first_byte_timeout, .. } = options;
    Some(first_byte_timeout?.saturating_add(connect_timeout.unwrap_or_default()))
}

fn error(fault: HttpFault) -> Error {
    match fault {
        HttpFault::Denied(_) => Error::HttpRequestDenied,
        HttpFault::Invalid(_) => Error::HttpRequestUriInvalid,
        HttpFault::Limit(why) => Error::InternalError(Some(why)),
        HttpFault::Timeout(_) => Error::HttpResponseTimeout,
        HttpFault::Connect(_) => Error::ConnectionRefused,
        HttpFault::Tls(_) => Error::TlsCertificateError,
        HttpFault::Protocol(_) => Error::HttpProtocolError,
        HttpFault::TooLarge(max) => Error::HttpResponseBodySize(Some(max)),
    }
}
