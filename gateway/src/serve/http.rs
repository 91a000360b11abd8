//! HTTP on one connection: its limits, and the end of it.

use std::{
    convert::Infallible,
    error::Error,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
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
/// The largest piece of an answer that is handed over at a time. To a peer that takes a single byte h2 is given a
/// whole piece, which is then beyond all that counts what waits.
const PIECE_MAX: usize = 16 << 10;
/// Streams that were reset before they were looked at: those of the peer, and those that it made us reset by what
/// is against the rules. More end the connection (CVE-2023-44487, CVE-2025-8671).
const PEER_RESETS_MAX: usize = 20;
const OWN_RESETS_MAX: usize = 128;
/// An HTTP/2 peer that is silent for this long is asked whether it is there, and has as long to answer.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

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
        B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + Unpin + 'static,
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
        let stream = TokioIo::new(Patient::new(stream, pulse.clone(), self.patience.unread));
        let mut connection = pin!(self.builder.serve_connection(stream, service));
        let mut end = End::new(pulse, self.patience, self.wanted.clone());
        let mut ended = None;
        let finishes = tokio::select! {
            biased;
            result = connection.as_mut() => {
                ended = Some(result);
                false
            }
            // Within the grace time, at whose end it is dropped.
            () = stop.asked() => true,
            due = poll_fn(|cx| end.poll_due(cx)) => due != Due::Cut,
        };
        if finishes {
            connection.as_mut().graceful_shutdown();
        }
        // Over HTTP/2 a request may have been on its way. A peer that waits for nothing, and does not close, holds
        // nobody up.
        while finishes && ended.is_none() {
            match tokio::time::timeout(self.patience.linger, connection.as_mut()).await {
                Ok(result) => ended = Some(result),
                Err(_) if answering.is_answering(self.patience) => {}
                Err(_) => break,
            }
        }
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

/// A body of an answer, piece by piece, with the request it answers: that is open until the last of it has gone out.
struct Answered<B> {
    body: B,
    /// What of the body's last piece is left.
    rest: Bytes,
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
        response.map(|body| Self { body, rest: Bytes::new(), beat })
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Answered<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        // Only now does anybody wait for it: of a stream that was reset the body is dropped.
        self.beat.answered();
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)).transpose()? {
                None => return Poll::Ready(None),
                Some(frame) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(trailers) => {
                        self.beat.waits();
                        return Poll::Ready(Some(Ok(trailers)));
                    }
                },
            }
        }
        self.beat.waits();
        let piece = self.rest.len().min(PIECE_MAX);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, body) = (self.rest.len() as u64, self.body.size_hint());
        let mut size = SizeHint::new();
        size.set_lower(rest + body.lower());
        if let Some(upper) = body.upper() {
            size.set_upper(rest + upper);
        }
        size
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

    use super::*;
    use crate::{serve::PeerInner, tasks::Stopper};

    const LONG: Duration = Duration::from_secs(3600);
    const PATIENCE: Patience = Patience { header: LONG, idle: LONG, unread: LONG, linger: LONG };
    /// Types of frames (RFC 9113, section 6).
    const DATA: u8 = 0;
    const HEADERS: u8 = 1;
    const SETTINGS: u8 = 4;
    const PING: u8 = 6;
    const GOAWAY: u8 = 7;
    const WINDOW_UPDATE: u8 = 8;

    /// The peer's side of a connection.
    struct Far(DuplexStream);

    impl Far {
        /// One that lets this much of each answer come.
        async fn new(mut stream: DuplexStream, window: u32) -> Self {
            stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
            let mut far = Self(stream);
            // SETTINGS_INITIAL_WINDOW_SIZE
            far.send(SETTINGS, 0, 0, &[&[0, 4][..], &window.to_be_bytes()].concat()).await;
            far
        }

        async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
            let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
            let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
            self.0.write_all(&[&head[..], payload].concat()).await.unwrap();
        }

        /// `GET http://x/`, as a block of headers (RFC 7541).
        async fn get(&mut self, stream: u32) {
            let (end_stream, end_headers) = (1, 4);
            let block = [0x82, 0x86, 0x84, 0x01, 1, b'x'];
            self.send(HEADERS, end_stream | end_headers, stream, &block).await;
        }

        /// Reads on to a frame of this type and stream. Whether it came before the end.
        async fn reads(&mut self, kind: u8, stream: u32) -> bool {
            loop {
                let mut head = [0; 9];
                if self.0.read_exact(&mut head).await.is_err() {
                    return false;
                }
                let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
                let mut payload = vec![0; usize::try_from(length).unwrap()];
                self.0.read_exact(&mut payload).await.unwrap();
                if head[3] == kind && head[5..] == stream.to_be_bytes() {
                    return true;
                }
            }
        }
    }

    /// An answer with something that is held for as long as it is there.
    struct Held(Full<Bytes>, #[expect(dead_code, reason = "it is dropped")] Arc<()>);

    impl Body for Held {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Pin::new(&mut self.0).poll_frame(cx)
        }

        fn is_end_stream(&self) -> bool {
            self.0.is_end_stream()
        }

        fn size_hint(&self) -> SizeHint {
            self.0.size_hint()
        }
    }

    /// Attends to a connection whose requests take so long each.
    async fn attend(patience: Patience, stream: DuplexStream, each: Duration, stop: Stop) {
        attend_with(patience, stream, stop, move || async move {
            tokio::time::sleep(each).await;
            Full::new(Bytes::from_static(b"answer"))
        })
        .await;
    }

    async fn attend_with<F, B>(
        patience: Patience,
        stream: DuplexStream,
        stop: Stop,
        answer: impl Fn() -> F + Clone + Send + Sync + 'static,
    ) where
        F: Future<Output = B> + Send + 'static,
        B: Body<Data = Bytes, Error = Infallible> + Send + Unpin + 'static,
    {
        let address = "192.0.2.1:1".parse().unwrap();
        let peer = PeerInner { address, secure: false, certificate: None, _place: None };
        let handler = move |_: Request<Incoming>, _: Peer| {
            let answer = answer();
            async move { Response::new(answer.await) }
        };
        let http = Http::new(patience, Arc::default());
        http.attend(Box::new(stream), Peer(Arc::new(peer)), handler, stop).await;
    }

    /// Whether a peer that takes nothing of its answer is let go within this time.
    async fn is_let_go(patience: Patience, stops: bool, within: Duration) -> bool {
        let (near, far) = tokio::io::duplex(1 << 16);
        let (stopper, stop) = Stopper::new();
        let peer = async {
            let mut far = Far::new(far, 0).await;
            far.get(1).await;
            assert!(far.reads(HEADERS, 1).await);
            if stops {
                stopper.stop();
            }
            assert!(!far.reads(HEADERS, 3).await, "an answer to nothing");
        };
        let attended = attend(patience, near, Duration::ZERO, stop);
        let both = async { tokio::join!(attended, peer) };
        tokio::time::timeout(within, both).await.is_ok()
    }

    #[tokio::test]
    async fn an_answer_over_http2_of_which_nothing_is_taken_holds_up_nobody() {
        let (soon, minute) = (Duration::from_millis(50), Duration::from_secs(60));
        assert!(!is_let_go(PATIENCE, false, soon * 5).await, "this is no attack");
        assert!(is_let_go(Patience { unread: soon, ..PATIENCE }, false, minute).await);
        assert!(is_let_go(Patience { linger: soon, ..PATIENCE }, true, minute).await);
    }

    #[tokio::test]
    async fn of_an_answer_that_is_not_taken_little_is_handed_over() {
        let (near, far) = tokio::io::duplex(1 << 16);
        let (_stopper, stop) = Stopper::new();
        let held = Arc::new(());
        let holds = held.clone();
        let attended = attend_with(PATIENCE, near, stop, move || {
            let held = holds.clone();
            async move { Held(Full::new(vec![0; 10 * PIECE_MAX].into()), held) }
        });
        let peer = async {
            let mut far = Far::new(far, 1).await;
            far.get(1).await;
            assert!(far.reads(DATA, 1).await);
            // What was sent before the answer to a ping has been dealt with.
            far.send(PING, 0, 0, &[7; 8]).await;
            assert!(far.reads(PING, 0).await);
            // The handler's, the answer's and ours.
            assert_eq!(Arc::strong_count(&held), 3, "the answer is nobody's any more");
            let whole = u32::try_from(10 * PIECE_MAX).unwrap();
            far.send(WINDOW_UPDATE, 0, 1, &whole.to_be_bytes()).await;
            far.send(WINDOW_UPDATE, 0, 0, &whole.to_be_bytes()).await;
            while Arc::strong_count(&held) == 3 {
                assert!(far.reads(DATA, 1).await);
            }
        };
        let both = async { tokio::join!(attended, peer) };
        tokio::time::timeout(Duration::from_secs(60), both).await.expect("it ends");
    }

    #[tokio::test]
    async fn a_request_that_was_on_its_way_when_its_connection_ended_is_answered() {
        let (near, far) = tokio::io::duplex(1 << 16);
        let (_stopper, stop) = Stopper::new();
        let linger = Duration::from_millis(200);
        let patience = Patience { idle: Duration::from_millis(50), linger, ..PATIENCE };
        let peer = async {
            let mut far = Far::new(far, 1 << 16).await;
            far.get(1).await;
            assert!(far.reads(HEADERS, 1).await);
            // It has idled, and the peer does not know that yet.
            assert!(far.reads(GOAWAY, 0).await);
            far.get(3).await;
            assert!(far.reads(HEADERS, 3).await, "it was cut off");
        };
        tokio::join!(attend(patience, near, linger * 3, stop), peer);
    }
}
