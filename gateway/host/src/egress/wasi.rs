//! wasi:http for components of other toolchains: their requests go the same way as those of the
//! contract's own `http`, under the same grant and limits.
//!
//! Bodies are gathered, both ways, since only whole ones can be held against the limits before anything
//! of them counts.

use std::{sync::Arc, time::Duration};

use http::{HeaderName, Request, Response};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use wasmtime_wasi_http::{Error, ForbiddenHeaderFilter, RequestOptions, WasiBody, WasiHttpHooks};

use super::{HttpFault, Requests, Wish, request};

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

    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Io,
    ) -> Answer {
        let requests = Arc::clone(&self.0);
        Box::new(async move {
            let wish = gathered(&requests, request, options).await?;
            let answer = requests.send(requests.prepare(wish)).await.map_err(error)?;
            let body = |bytes| Full::new(bytes).map_err(|never| match never {}).boxed_unsync();
            Ok((answer.map(body), Box::new(async { Ok(()) }) as Io))
        })
    }
}

async fn gathered(
    requests: &Requests,
    request: Request<WasiBody>,
    options: Option<RequestOptions>,
) -> Result<Wish, Error> {
    let (mut parts, body) = request.into_parts();
    let max = requests.body_max();
    let body = Limited::new(body, usize::try_from(max).unwrap_or(usize::MAX)).collect().await;
    let body = body.map_err(|error| match error.downcast_ref::<LengthLimitError>() {
        Some(_) => Error::HttpRequestBodySize(Some(max)),
        None => Error::InternalError(Some("the body broke off".to_owned())),
    })?;
    parts.headers.remove(http::header::CONTENT_LENGTH);
    let headers = parts.headers.iter();
    let headers = headers.map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()));
    Ok(Wish {
        method: parts.method.to_string(),
        url: parts.uri.to_string(),
        headers: headers.collect(),
        secret_headers: Vec::new(),
        body: body.to_bytes(),
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
