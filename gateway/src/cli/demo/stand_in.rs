//! A stand-in for a system outside: an HTTP server on this machine that keeps what it was sent.
//!
//! It takes what comes, or says once that it is busy, or is down, or has a manner of its own. Plugins see no
//! difference to the real one but the address.

use std::{
    fmt,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use hookweir_event::{Clock, Timestamp};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header::RETRY_AFTER};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use serde_json::Value;
use tokio::net::TcpListener;

use crate::{
    serve::{Bounds, Connections, Terms, serve},
    tasks::{Spawner, Stop, Tasks},
};

/// The largest body that is taken.
const BODY_MAX: usize = 1 << 20;

/// A request that came, and what was answered.
#[derive(Debug, Clone)]
pub(super) struct Came {
    pub(super) at: Timestamp,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) answered: u16,
    /// Why it was not taken, if something was wrong with it.
    pub(super) fault: Option<String>,
}

/// What is answered to a request.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) body: Value,
    /// What is wrong with the request, if something is.
    pub(super) fault: Option<String>,
}

/// How it answers.
type Manner = dyn Fn(&HeaderMap, &Bytes) -> Reply + Send + Sync;

/// A server that stands for another.
pub(super) struct StandIn {
    /// What it stands for, in words.
    pub(super) what: &'static str,
    pub(super) address: SocketAddr,
    desk: Arc<Desk>,
}

struct Desk {
    clock: Clock,
    /// The status when all is well.
    well: StatusCode,
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    came: Vec<Came>,
    /// What the next request is told of when to come again, in seconds.
    busy: Option<u64>,
    down: bool,
    manner: Option<Arc<Manner>>,
}

impl StandIn {
    /// Opens it at any free port of this machine, for as long as `tasks` runs.
    pub(super) async fn open(
        what: &'static str,
        well: StatusCode,
        tasks: &mut Tasks,
        stop: Stop,
    ) -> Result<Self, String> {
        let fault = |error: std::io::Error| format!("a stand-in for {what}: {error}");
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(fault)?;
        let address = listener.local_addr().map_err(fault)?;
        let desk = Arc::new(Desk { clock: Clock::system(), well, memory: Mutex::default() });
        let answering = Arc::clone(&desk);
        let handler = move |request, _| {
            let desk = Arc::clone(&answering);
            async move { desk.answer(request).await }
        };
        let bounds = Bounds {
            connections: Connections::at_most(64),
            header_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(60),
            grace: Duration::ZERO,
        };
        tasks.run(what, async move {
            serve(listener, bounds, Terms::default, handler, Spawner::here(), stop).await;
        });
        Ok(Self { what, address, desk })
    }

    /// Where it is, as plugins are told and as grants name it.
    pub(super) fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All requests so far, in the order in which they were answered.
    pub(super) fn came(&self) -> Vec<Came> {
        self.desk.memory().came.clone()
    }

    /// The next request is answered with 503 and told to come again after so many seconds.
    pub(super) fn be_busy_once(&self, retry_after: u64) {
        self.desk.memory().busy = Some(retry_after);
    }

    /// From now on every request is answered with 503; or not any more.
    pub(super) fn be_down(&self, down: bool) {
        self.desk.memory().down = down;
    }

    /// From now on nothing is taken that does not stand this; the error is what is wrong with it.
    pub(super) fn examine(
        &self,
        examine: impl Fn(&HeaderMap, &Bytes) -> Result<(), String> + Send + Sync + 'static,
    ) {
        let well = self.desk.well;
        self.answer_with(move |headers, body| {
            let fault = examine(headers, body).err();
            let status = if fault.is_none() { well } else { StatusCode::UNAUTHORIZED };
            Reply { status, body: Value::Null, fault }
        });
    }

    /// From now on it answers so.
    pub(super) fn answer_with(
        &self,
        manner: impl Fn(&HeaderMap, &Bytes) -> Reply + Send + Sync + 'static,
    ) {
        self.desk.memory().manner = Some(Arc::new(manner));
    }
}

impl fmt::Display for StandIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.what)
    }
}

impl Came {
    /// A header, empty if it is not there or no text.
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The body, null if it is no JSON.
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

impl Desk {
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let at = self.clock.now();
        let (parts, body) = request.into_parts();
        let mut answer = Response::new(Full::default());
        // It asks whether somebody is there, and brings nothing.
        if parts.method == Method::HEAD {
            return answer;
        }
        let Ok(body) = Limited::new(body, BODY_MAX).collect().await else {
            *answer.status_mut() = StatusCode::BAD_REQUEST;
            return answer;
        };
        let (body, mut fault) = (body.to_bytes(), None);
        let mut memory = self.memory();
        *answer.status_mut() = self.well;
        if memory.down {
            *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        } else if let Some(wait) = memory.busy.take() {
            *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(wait));
        } else if let Some(manner) = &memory.manner {
            let reply = manner(&parts.headers, &body);
            *answer.status_mut() = reply.status;
            if !reply.body.is_null() {
                *answer.body_mut() = Full::from(reply.body.to_string());
            }
            fault = reply.fault;
        }
        let answered = answer.status().as_u16();
        memory.came.push(Came { at, headers: parts.headers, body, answered, fault });
        answer
    }
}
