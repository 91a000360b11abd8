//! HTTP on one connection: its limits, and the end of it.

use std::{
    convert::Infallible,
    error::Error,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{Method, Request, Response};
use hyper::{
    body::{Body, Frame, Incoming, SizeHint},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    sync::{Notify, futures::OwnedNotified},
    time::{Instant, Sleep},
};

use super::{
    Peer, Stream, headers,
    patient::Patient,
    pulse::{Beat, Due, Patience, Pulse},
};
use crate::tasks::Stop;

/// Headers of one request, all together. Hyper answers 431 beyond.
const HEADERS_BYTES_MAX: u32 = 64 << 10;
/// Header fields of one request.
pub(crate) const HEADERS_MAX: usize = 128;
/// Requests that one HTTP/2 connection may have open.
const STREAMS_MAX: u32 = 128;
/// Bytes of bodies that an HTTP/2 peer may send before they are taken: of one request, and of all of a
/// connection, which is what it can make wait in memory.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 512 << 10;
/// Bytes of one answer that wait for an HTTP/2 peer to take them.
const SEND_MAX: usize = 64 << 10;
/// Streams that were reset before they were looked at: those of the peer, and those that it made us reset by what
/// is against the rules. More end the connection (CVE-2023-44487, CVE-2025-8671).
const PEER_RESETS_MAX: usize = 20;
const OWN_RESETS_MAX: usize = 128;
/// An HTTP/2 peer that is silent for this long is asked whether it is there, and has as long to answer.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// How long a peer may leave an answer unread before its connection is closed.
const UNREAD_MAX: Duration = Duration::from_secs(30);
/// How long a connection that is let go has for what is still on its way.
const LINGER: Duration = Duration::from_secs(2);

/// How HTTP is spoken.
pub(super) struct Http {
    builder: auto::Builder<TokioExecutor>,
    patience: Patience,
    wanted: Arc<Notify>,
}

impl Http {
    pub(super) fn new(patience: Patience, wanted: Arc<Notify>) -> Self {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            // The pulse sees to that.
            .header_read_timeout(None)
            .max_headers(HEADERS_MAX)
            .max_buf_size(HEADERS_BYTES_MAX as usize);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS_MAX)
            .max_header_list_size(HEADERS_BYTES_MAX)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(SEND_MAX)
            .max_pending_accept_reset_streams(PEER_RESETS_MAX)
            .max_local_error_reset_streams(OWN_RESETS_MAX)
            .keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE);
        Self { builder, patience, wanted }
    }

    /// Answers the requests of a connection until it ends, is let go, or has answered what it was at when `stop`
    /// was asked for.
    pub(super) async fn attend<H, F, B>(
        &self,
        stream: Box<dyn Stream>,
        peer: Peer,
        handler: H,
        mut stop: Stop,
    ) where
        H: Fn(Request<Incoming>, Peer) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Response<B>> + Send + 'static,
        B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + Unpin + 'static,
    {
        let pulse = Pulse::new(Instant::now);
        let (beating, answering, address) = (pulse.clone(), pulse.clone(), peer.address());
        let service = service_fn(move |request: Request<Incoming>| {
            let beat = beating.begin(request.version());
            let is_head = request.method() == Method::HEAD;
            let secure = peer.is_secure();
            let answer = handler(request, peer.clone());
            async move { Ok::<_, Infallible>(Answered::of(answer.await, beat, (is_head, secure))) }
        });
        let stream = TokioIo::new(Patient::new(stream, pulse.clone(), UNREAD_MAX));
        let mut connection = pin!(self.builder.serve_connection(stream, service));
        let mut end = End::new(pulse, self.patience, self.wanted.clone());
        let ended = tokio::select! {
            biased;
            ended = connection.as_mut() => Some(ended),
            () = stop.asked() => {
                connection.as_mut().graceful_shutdown();
                // Within the grace time, at whose end it is dropped. A peer that waits for nothing, and does not
                // close, holds nobody up.
                loop {
                    match tokio::time::timeout(LINGER, connection.as_mut()).await {
                        Ok(ended) => break Some(ended),
                        Err(_) if answering.is_answering() => {}
                        Err(_) => break None,
                    }
                }
            }
            due = poll_fn(|cx| end.poll_due(cx)) => match due {
                Due::Cut => None,
                _ => {
                    connection.as_mut().graceful_shutdown();
                    tokio::time::timeout(LINGER, connection).await.ok()
                }
            },
        };
        // What ends a connection early is the peer's affair; each request is logged itself.
        match ended {
            Some(Ok(())) => {}
            Some(Err(error)) => tracing::trace!(peer = %address, %error, "connection ended"),
            None => tracing::trace!(peer = %address, "connection cut off"),
        }
    }
}

/// When a connection is to be ended.
struct End {
    pulse: Pulse,
    patience: Patience,
    wanted: Arc<Notify>,
    /// When to look next.
    sleep: Pin<Box<Sleep>>,
    /// While it is idle: its slot is wanted.
    asked: Option<Pin<Box<OwnedNotified>>>,
}

impl End {
    fn new(pulse: Pulse, patience: Patience, wanted: Arc<Notify>) -> Self {
        let sleep = Box::pin(tokio::time::sleep(patience.header));
        Self { pulse, patience, wanted, sleep, asked: None }
    }

    /// Looks each time when the connection was polled, since it may be at something else by then.
    fn poll_due(&mut self, cx: &mut Context<'_>) -> Poll<Due> {
        loop {
            let due = self.pulse.due(self.patience);
            let at = match due {
                Due::Cut | Due::Over => return Poll::Ready(due),
                Due::At(at) => {
                    self.asked = None;
                    at
                }
                Due::IdleUntil(at) => {
                    let wanted = &self.wanted;
                    let wanted = || Box::pin(Arc::clone(wanted).notified_owned());
                    let asked = self.asked.get_or_insert_with(wanted);
                    if asked.as_mut().poll(cx).is_ready() {
                        return Poll::Ready(Due::Over);
                    }
                    at
                }
            };
            // A look that comes too early looks again; the other way round one would come too late.
            if at < self.sleep.deadline() || self.sleep.is_elapsed() {
                self.sleep.as_mut().reset(at);
            }
            if self.sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

/// A body of an answer, with the request it answers: that is open until the last of it has gone out.
struct Answered<B> {
    body: B,
    beat: Beat,
}

impl<B> Answered<B> {
    fn of(
        mut response: Response<B>,
        mut beat: Beat,
        (is_head, is_secure): (bool, bool),
    ) -> Response<Self>
    where
        B: Body,
    {
        headers::add(response.headers_mut(), is_secure);
        // Nothing of it will be asked for.
        if is_head || response.body().is_end_stream() {
            beat.answered();
        }
        response.map(|body| Self { body, beat })
    }
}

impl<B: Body + Unpin> Body for Answered<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        // Only now does anybody wait for it: of a stream that was reset the body is dropped.
        self.beat.answered();
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
