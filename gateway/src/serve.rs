//! A listener: accepts connections within their bounds and hands each request to a handler.
//!
//! Takes a bound listener and a stop signal, so that tests bind port 0. After the stop no connection
//! is accepted; open ones finish the request they are in, within the grace time.

use std::{
    convert::Infallible,
    error::Error,
    future::Future,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::{Request, Response};
use hyper::{
    body::{Body, Incoming},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
};
use tokio::{
    net::TcpListener,
    sync::{OwnedSemaphorePermit, Semaphore},
};

use crate::{
    patient::Patient,
    tasks::{Spawner, Stop},
};

/// What one listener grants its peers.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// Open connections; more wait in the system's backlog.
    pub connections: Connections,
    /// From the first byte of a request to the last of its headers.
    pub header_timeout: Duration,
    /// How long open requests may go on after the stop.
    pub grace: Duration,
}

/// The connections that a listener may have open. Clones are the same ones.
#[derive(Debug, Clone)]
pub struct Connections {
    most: usize,
    slots: Arc<Semaphore>,
    open: Arc<AtomicUsize>,
}

/// The place of one connection.
struct Slot {
    _permit: OwnedSemaphorePermit,
    open: Arc<AtomicUsize>,
}

impl Connections {
    /// So many at most.
    pub fn at_most(most: usize) -> Self {
        Self { most, slots: Arc::new(Semaphore::new(most)), open: Arc::default() }
    }

    /// How many are open.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// How many may be.
    pub fn most(&self) -> usize {
        self.most
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Headers of one request, all together. Hyper answers 431 beyond.
const HEADERS_BYTES_MAX: u32 = 64 << 10;
/// Header fields of one request.
const HEADERS_MAX: usize = 128;
/// Requests that one HTTP/2 connection may have open.
const STREAMS_MAX: u32 = 128;
/// An HTTP/2 peer that is silent for this long is asked whether it is there.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// How long a peer may leave an answer unread before its connection is closed.
const UNREAD_MAX: Duration = Duration::from_secs(30);
/// How long to wait after accepting failed, which is when the process is out of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts until `stop`, then lets open requests finish within the grace time. Returns how many
/// connections were cut off at its end.
pub async fn serve<H, F, B>(
    listener: TcpListener,
    bounds: Bounds,
    handler: H,
    spawner: Spawner,
    mut stop: Stop,
) -> usize
where
    H: Fn(Request<Incoming>, SocketAddr) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    let builder = builder(bounds.header_timeout);
    let open = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.asked() => break,
            accepted = accept(&listener, &bounds.connections) => accepted,
        };
        let Some((stream, peer, slot)) = accepted else { continue };
        // Answers are small and awaited: waiting to fill a segment would only delay them.
        let _ = stream.set_nodelay(true);
        let handler = handler.clone();
        let service = service_fn(move |request| {
            let answer = handler(request, peer);
            async move { Ok::<_, Infallible>(answer.await) }
        });
        let stream = TokioIo::new(Patient::new(stream, UNREAD_MAX));
        let connection = builder.serve_connection(stream, service).into_owned();
        let connection = open.watch(connection);
        spawner.ingress(async move {
            // What ends a connection early is the peer's affair; each request is logged itself.
            if let Err(error) = connection.await {
                tracing::trace!(%peer, %error, "connection ended");
            }
            drop(slot);
        });
    }
    drop(listener);
    tracing::debug!(open = open.count(), "stopped accepting");
    match tokio::time::timeout(bounds.grace, open.shutdown()).await {
        Ok(()) => 0,
        Err(_) => bounds.connections.open(),
    }
}

/// The next connection, once there is a slot for it: what can't be served waits in the system's
/// backlog, not in memory.
async fn accept(
    listener: &TcpListener,
    connections: &Connections,
) -> Option<(tokio::net::TcpStream, SocketAddr, Slot)> {
    let permit = connections.slots.clone().acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => {
            connections.open.fetch_add(1, Ordering::Relaxed);
            Some((stream, peer, Slot { _permit: permit, open: connections.open.clone() }))
        }
        Err(error) => {
            tracing::warn!(%error, "failed to accept a connection");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

fn builder(header_timeout: Duration) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEADERS_BYTES_MAX as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEADERS_BYTES_MAX)
        .keep_alive_interval(KEEP_ALIVE);
    builder
}
