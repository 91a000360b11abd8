//! The first stage: route, method, address, limits, and then the body, bounded in size and time.

use std::{fmt, net::IpAddr, sync::Arc, time::Instant};

use axum::{
    body::{Body, HttpBody as _},
    http::{HeaderMap, HeaderValue, request::Parts},
};
use bytes::{Bytes, BytesMut};
use hookweir_event::Timestamp;
use hookweir_verify::Incoming;
use http_body_util::BodyExt as _;

use super::{Refusal, decode::Coding, desk::Desk};
use crate::{
    budget::{Bodies, Hold, SMALL},
    client::Client,
    limits::RefusedLimit,
    live::Source,
    pauses::Pauses,
    serve::{HEADERS_MAX, Peer},
    well_formed,
};

/// Names one request in its reply and in the logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RequestId(uuid::Uuid);

impl RequestId {
    #[cfg(test)]
    pub(super) fn from_u128(bits: u128) -> Self {
        Self(uuid::Uuid::from_u128(bits))
    }

    /// From sixteen random bytes: a UUID version 4.
    pub(super) fn new(chance: [u8; 16]) -> Self {
        Self(uuid::Builder::from_random_bytes(chance).into_uuid())
    }

    /// The id as a header's value.
    pub(super) fn header(self) -> HeaderValue {
        let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
        HeaderValue::from_str(self.0.hyphenated().encode_lower(&mut text))
            .expect("invariant: a UUID is ASCII")
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

/// A request that may be read: it has a source, and its address is within its limits.
pub(super) struct Head {
    source: Arc<Source>,
    client: IpAddr,
    parts: Parts,
    body: Body,
    coding: Option<Coding>,
}

/// A request that was read whole, and is believed by nobody yet.
pub(super) struct Received {
    pub(super) source: Arc<Source>,
    pub(super) incoming: Incoming,
    pub(super) received_at: Timestamp,
    /// The memory that its body takes.
    pub(super) hold: Hold,
}

/// What a header field takes in memory beside its name and value, in bytes: its place in a map and in a list.
const FIELD: usize = 100;

/// What holds for every request, wherever it leads: it can be read in one way only, has no more headers than may be,
/// and its address may come.
pub(super) fn admit(
    desk: &Desk,
    request: &axum::http::Request<Body>,
    client: Client,
) -> Result<(), Refusal> {
    let (uri, headers) = (request.uri(), request.headers());
    well_formed::check(request.version(), request.method(), uri, headers)
        .map_err(Refusal::IllFormed)?;
    // Of HTTP/2, hyper bounds their bytes alone: many short ones take far more memory than that.
    if headers.len() > HEADERS_MAX {
        return Err(Refusal::TooManyHeaders);
    }
    if !client.may_come(&desk.live.config.server.addresses) {
        return Err(Refusal::AddressNotAllowed);
    }
    Ok(())
}

/// Everything that can be said before a byte of the body is read. Cheap checks come first, so that
/// what is going to be refused costs little.
pub(super) fn head(
    desk: &Desk,
    pauses: &Pauses,
    request: axum::http::Request<Body>,
    (peer, client, now): (&Peer, Client, Timestamp),
) -> Result<Head, Refusal> {
    let (parts, body) = request.into_parts();
    let source = desk.live.source_at(parts.uri.path()).ok_or(Refusal::NoSuchSource)?.clone();
    if !source.config.scheme.takes(parts.method.as_str()) {
        return Err(Refusal::MethodNotAllowed);
    }
    if !client.may_come(&source.config.addresses) {
        return Err(Refusal::AddressNotAllowed);
    }
    let client = client.address;
    desk.refused.check(client).map_err(Refusal::RateLimited)?;
    desk.address.take(client).map_err(Refusal::RateLimited)?;
    if let Some(authority) = &source.config.client_ca {
        let shown = peer.certificate().ok_or(Refusal::NoCertificate)?;
        let trusted = authority.check(shown, now);
        trusted.map_err(|why| Refusal::UntrustedCertificate(why.to_string()))?;
    }
    if let Some(pause) = pauses.refuses(&source.name) {
        return Err(Refusal::Paused(pause));
    }
    let coding = Coding::of(&parts.headers, source.config.decompress)?;
    Ok(Head { source, client, parts, body, coding })
}

/// The client, as far as what is said of it can be believed.
pub(super) fn client(desk: &Desk, peer: IpAddr, headers: &HeaderMap) -> Client {
    Client::of(peer, headers, &desk.live.config.server.trusted_proxies)
}

impl Head {
    pub(super) fn source(&self) -> &Arc<Source> {
        &self.source
    }

    /// Reads the body, which makes the request whole.
    pub(super) async fn read(
        self,
        desk: &Desk,
        now: impl Fn() -> Timestamp,
    ) -> Result<Received, Refusal> {
        let server = &desk.live.config.server;
        let config = &self.source.config;
        let parties = (desk.budget.clone(), self.source.shares.clone());
        let who = (self.client, head_bytes(&self.parts));
        let hold = Bodies::hold(parties, who, (server.bodies_max, config.priority));
        let mut hold = hold.map_err(Refusal::Overloaded)?;
        // What it is unpacked into, of which nobody knows yet how much that is. A large one has it from the beginning,
        // as its own; who only announces a small one holds nothing.
        let aside = self.coding.map_or(0, |_| config.body_max);
        let is_large = self.body.size_hint().lower() > SMALL;
        if is_large {
            hold.set_aside(aside).map_err(Refusal::Overloaded)?;
        }
        let body = read_body(desk, self.client, (self.body, config.body_max), &mut hold).await?;
        if !is_large {
            hold.set_aside(aside).map_err(Refusal::Overloaded)?;
        }
        let uri = &self.parts.uri;
        let incoming = Incoming {
            method: self.parts.method.to_string(),
            path: uri.path().to_owned(),
            query: uri.query().map(str::to_owned),
            url: self.source.config.url_called(uri.query()),
            headers: headers(&self.parts.headers),
            body,
            decode: self.coding.map(|coding| coding.decode(config.body_max)),
        };
        tracing::trace!(source = %self.source.name, client = %self.client, "received");
        Ok(Received { source: self.source, incoming, received_at: now(), hold })
    }
}

/// What a request takes in memory before its body, in bytes: its target and its headers.
pub(super) fn head_bytes(parts: &Parts) -> u64 {
    let fields = parts.headers.iter();
    let fields = fields.map(|(name, value)| name.as_str().len() + value.len() + FIELD);
    let target = parts.uri.path_and_query().map_or(0, |target| target.as_str().len());
    (target + fields.sum::<usize>()) as u64
}

/// The whole body, of `max` bytes at most, if it arrives in time and there is memory for it, which `hold` has
/// then.
pub(super) async fn read_body(
    desk: &Desk,
    client: IpAddr,
    (body, max): (Body, u64),
    hold: &mut Hold,
) -> Result<Bytes, Refusal> {
    let patience = desk.live.config.server.body_timeout;
    let mut reading = Reading { refused: &desk.refused, client, is_over: false };
    let body = tokio::time::timeout(patience, collect(body, max, hold)).await;
    reading.is_over = true;
    body.map_err(|_| Refusal::BodyTooSlow)?
}

/// A body that is being read. One whose sender drops its request meanwhile, as HTTP/2 lets it, counts as refused:
/// it has taken as much, and nobody is left to be told.
struct Reading<'d> {
    refused: &'d RefusedLimit,
    client: IpAddr,
    is_over: bool,
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.refused.count(self.client);
        }
    }
}

pub(super) fn headers(map: &HeaderMap) -> Vec<(String, Vec<u8>)> {
    map.iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec())).collect()
}

/// The whole body, refused as soon as it is known to be larger than `max` bytes: by its announced
/// length, or by what has come in so far.
async fn collect(mut body: Body, max: u64, hold: &mut Hold) -> Result<Bytes, Refusal> {
    let announced = body.size_hint().lower();
    if announced > max {
        return Err(Refusal::BodyTooLarge(max));
    }
    hold.announce(announced).map_err(Refusal::Overloaded)?;
    let most = if announced > 0 { announced } else { max };
    let mut read = BytesMut::new();
    let mut size = 0_u64;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Refusal::Malformed("the body broke off".into()))?;
        let Ok(data) = frame.into_data() else { continue };
        size += data.len() as u64;
        if size > max {
            return Err(Refusal::BodyTooLarge(max));
        }
        hold.grow(size, most).map_err(Refusal::Overloaded)?;
        // Most bodies come in one piece, which is never copied. One that waits for more is: it would keep all that
        // came in beside it.
        if read.is_empty() && body.is_end_stream() {
            hold.shrink(size);
            return Ok(data);
        }
        if read.is_empty() {
            read.reserve(hold.room());
        }
        read.extend_from_slice(&data);
    }
    hold.shrink(size);
    Ok(read.freeze())
}

/// Measures how long a request took, for its log line.
pub(super) struct Stopwatch(Instant);

impl Stopwatch {
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    pub(super) fn micros(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeMap,
        convert::Infallible,
        path::Path,
        pin::Pin,
        task::{Context, Poll},
        time::Duration,
    };

    use hyper::body::Frame;

    use super::*;
    use crate::{
        config::{Config, Priority, Surroundings},
        intake::desk::Desks,
        limits::SharedRates,
        live::{Board, Live},
    };

    /// A body of which nothing comes.
    struct Silent;

    impl hyper::body::Body for Silent {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Pending
        }
    }

    #[tokio::test]
    async fn who_drops_a_request_while_it_is_read_is_counted_as_one_that_was_refused() {
        let around = Surroundings { env: &|_| None, file: &|_| Ok(String::new()) };
        let text = "[server]\nrefused_rate = \"1/hour\"\n";
        let config = Config::parse(text, Path::new(""), &around).unwrap();
        let board = Board::from_pointee(Live::new(Arc::new(config), [], BTreeMap::new()));
        let rates = Arc::new(SharedRates::alone());
        let desk = Desks::new(Arc::default(), rates).current(&board);
        let client = IpAddr::from([192, 0, 2, 1]);
        let parties = (desk.budget.clone(), desk.api_shares.clone());
        let mut hold = Bodies::hold(parties, (client, 100), (1 << 20, Priority::Normal)).unwrap();
        for _ in 0..2 {
            assert!(desk.refused.check(client).is_ok(), "one is allowed");
            let reading = read_body(&desk, client, (Body::new(Silent), 100), &mut hold);
            // Begun, and dropped then.
            assert!(tokio::time::timeout(Duration::ZERO, reading).await.is_err());
        }
        assert!(desk.refused.check(client).is_err());
    }
}
