//! The outside world, here on this machine: a server that plugins send requests to. It keeps what it
//! was sent, and behaves as the path says.
//!
//! `/status/N` answers with N (503 with `Retry-After: 7`), `/once/N` with N the first time and then with
//! 200, `/redirect?URL` with 302 to there, `/large/N` with N bytes, `/endless` without end, `/meet/N` when
//! N of them are there, `/hang` never, `/down` with 500 until the world is mended, `/mirror` with the request's
//! headers and a cookie, anything else with 200 and the request's body.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Either, Full};
use hyper::{
    Request, Response,
    body::{Body, Frame, Incoming, SizeHint},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, sync::Notify};

/// What the world's cookie is.
pub const COOKIE: &str = "id=a-cookie-of-the-worlds";

/// A request that came.
#[derive(Debug, Clone)]
pub struct Came {
    /// Method and target.
    pub line: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

impl Came {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

/// A server.
#[derive(Clone)]
pub struct World {
    /// Where it listens.
    pub address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    came: Mutex<Vec<Came>>,
    connections: AtomicUsize,
    open: AtomicUsize,
    mended: AtomicBool,
    changed: Notify,
}

type Answer = Either<Full<Bytes>, Endless>;

impl World {
    /// A server on this address of the machine, at any port. It runs as long as the test.
    pub async fn start(address: &str) -> Self {
        Self::start_at(SocketAddr::new(address.parse().unwrap(), 0)).await
    }

    /// The same at this port.
    pub async fn start_at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let world = Self { address: listener.local_addr().unwrap(), state: Arc::default() };
        let serving = world.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                serving.state.connections.fetch_add(1, SeqCst);
                serving.state.open.fetch_add(1, SeqCst);
                let serving = serving.clone();
                tokio::spawn(async move {
                    let answering = serving.clone();
                    let answer = service_fn(move |request| answering.clone().answer(request));
                    let stream = TokioIo::new(stream);
                    let _ = http1::Builder::new().serve_connection(stream, answer).await;
                    serving.state.open.fetch_sub(1, SeqCst);
                    serving.state.changed.notify_waiters();
                });
            }
        });
        world
    }

    /// All requests so far, in the order in which they came.
    pub fn came(&self) -> Vec<Came> {
        self.state.came.lock().unwrap().clone()
    }

    /// From now on what was down is up.
    pub fn mend(&self) {
        self.state.mended.store(true, SeqCst);
    }

    /// How many connections were made.
    pub fn connections(&self) -> usize {
        self.state.connections.load(SeqCst)
    }

    /// How many connections are open.
    pub fn open(&self) -> usize {
        self.state.open.load(SeqCst)
    }

    /// Waits until this is so.
    pub async fn until(&self, what: &str, enough: impl Fn(&Self) -> bool) {
        let wait = async {
            loop {
                let changed = self.state.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                if enough(self) {
                    return;
                }
                changed.await;
            }
        };
        let waited = tokio::time::timeout(crate::house::PATIENCE, wait).await;
        assert!(waited.is_ok(), "waited in vain for {what}: {:#?}", self.came());
    }

    async fn answer(self, request: Request<Incoming>) -> Result<Response<Answer>, io::Error> {
        let (parts, body) = request.into_parts();
        let target = parts.uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
        let text = |value: &hyper::header::HeaderValue| {
            String::from_utf8_lossy(value.as_bytes()).into_owned()
        };
        let headers = parts.headers.iter().map(|(name, value)| (name.to_string(), text(value)));
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        let headers: Vec<_> = headers.collect();
        let mirrored = headers.iter().map(|(name, value)| format!("{name}: {value}\n"));
        let mirrored: String = mirrored.collect();
        let came = Came { line: format!("{} {target}", parts.method), headers, body: body.clone() };
        self.state.came.lock().unwrap().push(came);
        self.state.changed.notify_waiters();
        let steps: Vec<_> = target.trim_start_matches('/').splitn(2, ['/', '?']).collect();
        let number = |text: &str| text.parse::<usize>().unwrap();
        let answer = |status: usize| {
            let mut answer = Response::new(Either::Left(Full::default()));
            *answer.status_mut() = u16::try_from(status).unwrap().try_into().unwrap();
            answer
        };
        Ok(match steps[..] {
            ["status", "503"] => {
                let mut answer = answer(503);
                answer.headers_mut().insert("retry-after", "7".parse().unwrap());
                answer
            }
            ["status", status] => answer(number(status)),
            ["once", status] => answer(if self.asked(&target) == 1 { number(status) } else { 200 }),
            ["redirect", to] => {
                let mut answer = answer(302);
                answer.headers_mut().insert("location", to.parse().unwrap());
                answer
            }
            ["large", size] => Response::new(full(vec![b'x'; number(size)])),
            ["endless"] => Response::new(Either::Right(Endless)),
            ["meet", count] => {
                self.until("the others", |world| world.asked(&target) >= number(count)).await;
                Response::new(full(body))
            }
            ["down"] if !self.state.mended.load(SeqCst) => answer(500),
            ["hang"] => std::future::pending().await,
            ["mirror", ..] => {
                let mut answer = Response::new(full(mirrored));
                answer.headers_mut().insert("set-cookie", COOKIE.parse().unwrap());
                answer
            }
            _ => Response::new(full(body)),
        })
    }

    fn asked(&self, target: &str) -> usize {
        let came = self.state.came.lock().unwrap();
        came.iter().filter(|came| came.line.ends_with(&format!(" {target}"))).count()
    }
}

fn full(body: impl Into<Bytes>) -> Answer {
    Either::Left(Full::new(body.into()))
}

/// A body without end.
pub struct Endless;

impl Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b'x'; 16 << 10])))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
