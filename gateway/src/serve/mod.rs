//! A listener: accepts connections within their bounds and hands each request to a handler.
//!
//! Takes a bound listener and a stop signal, so that tests bind port 0. After the stop no connection
//! is accepted; open ones finish the request they are in, within the grace time.
//!
//! What can't be served waits in the system's backlog, not in memory. Every wait for a peer has an end: for the
//! PROXY header and the TLS handshake, for a request's headers, between requests, and for an answer to be read.

mod connections;
mod headers;
mod http;
mod patient;
mod proxy;
mod pulse;
mod tls;

use std::{
    error::Error,
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use ::http::{Request, Response};
use bytes::Bytes;
use hyper::body::{Body, Incoming};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};

pub use self::{
    connections::{Connections, TurnedAway},
    tls::{Certificate, ClientAuthority, ServerNameText, Tls, TlsFault, TlsFiles, Untrusted},
};
use self::{
    connections::{Place, Slot},
    http::Http,
    pulse::Patience,
};
/// A certificate, as it is on the wire.
pub use rustls::pki_types::CertificateDer;

pub(crate) use self::{http::HEADERS_MAX, tls::own_certificate};
use crate::{
    networks::Networks,
    tasks::{Spawner, Stop},
};

/// What one listener grants its peers.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// Open connections; more wait in the system's backlog.
    pub connections: Connections,
    /// From a connection's beginning, or a request's, to the last of the request's headers. The PROXY header and
    /// the TLS handshake together may take as long before that.
    pub header_timeout: Duration,
    /// How long a connection may stay open between requests.
    pub idle_timeout: Duration,
    /// How long open requests may go on after the stop.
    pub grace: Duration,
}

/// What a listener asks of a connection. It may be other with each.
#[derive(Debug, Clone, Default)]
pub struct Terms {
    /// Connections that one address may have open; none: any number.
    pub per_address: Option<usize>,
    /// Proxies: they may have any number, and are believed whom they speak for.
    pub trusted: Networks,
    /// Who gets no answer at all. Whom a proxy speaks for is found out later.
    pub denied: Networks,
    /// Whether each connection begins with a PROXY header, by a trusted proxy.
    pub proxy_protocol: bool,
    /// TLS, if it is spoken.
    pub tls: Option<Tls>,
}

/// Who sent a request. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Peer(Arc<PeerInner>);

#[derive(Debug)]
struct PeerInner {
    address: SocketAddr,
    secure: bool,
    certificate: Option<Certificate>,
    _place: Option<Place>,
}

impl Peer {
    /// Where it is, or, if a PROXY header said so, for whom the proxy speaks.
    pub fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// Whether the connection is under TLS.
    pub fn is_secure(&self) -> bool {
        self.0.secure
    }

    /// The certificate that it showed. Whether it is to be believed is another's question.
    pub fn certificate(&self) -> Option<&Certificate> {
        self.0.certificate.as_ref()
    }
}

/// How long to wait after accepting failed, which is when the process is out of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts until `stop`, then lets open requests finish within the grace time. Returns how many
/// connections were cut off at its end.
pub async fn serve<H, F, B>(
    listener: TcpListener,
    bounds: Bounds,
    terms: impl Fn() -> Terms,
    handler: H,
    spawner: Spawner,
    mut stop: Stop,
) -> usize
where
    H: Fn(Request<Incoming>, Peer) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + Unpin + 'static,
{
    let Bounds { connections, header_timeout, idle_timeout, grace } = bounds;
    let patience = Patience::new(header_timeout, idle_timeout);
    let http = Arc::new(Http::new(patience, connections.wanted()));
    let opening = |address| Opening { terms: terms(), connections: connections.clone(), address };
    let is_denied = |address| opening(address).is_denied();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.asked() => break,
            accepted = accept(&listener, &connections, is_denied) => accepted,
        };
        let Some((stream, address, slot)) = accepted else { continue };
        let opening = opening(address);
        let Some(place) = opening.place() else { continue };
        let (handler, http, mut stop) = (handler.clone(), http.clone(), stop.clone());
        spawner.ingress(async move {
            let opened = tokio::select! {
                biased;
                () = stop.asked() => None,
                opened = opening.open(stream, place, header_timeout) => opened,
            };
            if let Some((stream, peer)) = opened {
                http.attend(stream, peer, handler, stop).await;
            }
            drop(slot);
        });
    }
    drop(listener);
    tracing::debug!(open = connections.open(), "stopped accepting");
    match tokio::time::timeout(grace, connections.closed()).await {
        Ok(()) => 0,
        Err(_) => connections.open(),
    }
}

/// The next connection, once there is a slot for it: asked for when it has come, so that nobody gives one up for
/// a connection that never comes, or that is denied.
async fn accept(
    listener: &TcpListener,
    connections: &Connections,
    is_denied: impl Fn(SocketAddr) -> bool,
) -> Option<(TcpStream, SocketAddr, Slot)> {
    match listener.accept().await {
        Ok((_, peer)) if is_denied(peer) => None,
        Ok((stream, peer)) => Some((stream, peer, connections.slot().await)),
        Err(error) => {
            tracing::warn!(%error, "failed to accept a connection");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

/// A connection, by TCP alone or under TLS.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A connection before its first request.
struct Opening {
    terms: Terms,
    connections: Connections,
    address: SocketAddr,
}

impl Opening {
    /// Whether the peer is somebody to whom nothing is said. A trusted proxy is not: it speaks for others.
    fn is_denied(&self) -> bool {
        let (terms, address) = (&self.terms, self.address.ip());
        let denied = terms.denied.contains(address) && !terms.trusted.contains(address);
        if denied {
            self.turn_away(TurnedAway::Denied, &io::Error::other("server.deny has its address"));
        }
        denied
    }

    /// Whether the peer may have one more; it is in the way of none if the PROXY header is still to say who it is.
    fn place(&self) -> Option<Option<Place>> {
        let address = self.address.ip();
        if self.terms.trusted.contains(address) {
            return Some(None);
        }
        if self.terms.proxy_protocol {
            self.turn_away(TurnedAway::Proxy, &io::Error::other("it is no trusted proxy"));
            return None;
        }
        self.place_of(address).map(Some)
    }

    fn place_of(&self, address: IpAddr) -> Option<Place> {
        let place = self.connections.of(address, self.terms.per_address);
        if place.is_none() {
            let error = format!("{address} has as many connections as it may");
            self.turn_away(TurnedAway::Address, &io::Error::other(error));
        }
        place
    }

    /// Reads what comes before HTTP: each part within this time.
    async fn open(
        self,
        mut stream: TcpStream,
        mut place: Option<Place>,
        patience: Duration,
    ) -> Option<(Box<dyn Stream>, Peer)> {
        // Answers are small and awaited: waiting to fill a segment would only delay them.
        let _ = stream.set_nodelay(true);
        let mut address = self.address;
        if self.terms.proxy_protocol {
            let named = within(patience, proxy::read(&mut stream)).await;
            let named = named.map_err(|error| self.turn_away(TurnedAway::Proxy, &error)).ok()?;
            if let Some(client) = named {
                address = client;
                if !self.terms.trusted.contains(client.ip()) {
                    place = Some(self.place_of(client.ip())?);
                }
            }
        }
        let Some(tls) = &self.terms.tls else {
            let peer = PeerInner { address, secure: false, certificate: None, _place: place };
            return Some((Box::new(stream), Peer(Arc::new(peer))));
        };
        let secured = within(patience, tls.accept(stream)).await;
        let secured = secured.map_err(|error| self.turn_away(TurnedAway::Handshake, &error));
        let (stream, certificate) = secured.ok()?;
        let peer = PeerInner { address, secure: true, certificate, _place: place };
        Some((Box::new(stream), Peer(Arc::new(peer))))
    }

    fn turn_away(&self, why: TurnedAway, error: &io::Error) {
        self.connections.turn_away(why);
        // Strangers make these by the thousand: counted, and told to who looks for them.
        tracing::debug!(peer = %self.address, why = why.as_str(), %error, "turned away");
    }
}

async fn within<T>(patience: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let done = tokio::time::timeout(patience, work).await;
    done.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    #[tokio::test]
    async fn an_idle_connection_gives_its_slot_to_one_that_has_come() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (connections, connect) = (Connections::at_most(1), || TcpStream::connect(address));
        let _first = connect().await.unwrap();
        let (_, _, slot) = accept(&listener, &connections, |_| false).await.unwrap();
        let wanted = connections.wanted();
        let mut next = pin!(accept(&listener, &connections, |_| false));
        tokio::select! {
            biased;
            _ = &mut next => panic!("there is one slot"),
            () = std::future::ready(()) => {}
        }
        assert!(!pin!(wanted.notified()).enable(), "nobody has come");
        let _second = connect().await.unwrap();
        let gives = async {
            wanted.notified().await;
            drop(slot);
        };
        let (next, ()) = tokio::join!(next, gives);
        assert!(next.is_some());
    }
}
