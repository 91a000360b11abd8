//! A soak: twenty sources that send for a long time, some of it bad, to plugins of which some fail, while versions are
//! swapped and one server downstream is down. Nothing that was acknowledged may be lost, and memory stays flat.

use std::{
    collections::HashMap,
    fmt,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use hookweir_event::{Clock, EventId};
use hookweir_store::DeliveryState;
use hookweir_verify::{Outgoing, Scheme};
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{io::AsyncWriteExt as _, net::TcpStream, task::JoinHandle};

use crate::{
    guests,
    house::{Gateway, House, SECRET, TEST_SCHEME, test_scheme},
    world::World,
};

/// Sources; what the last one sends goes to the server that is down.
pub const SOURCES: usize = 20;
/// How often the plugin is another version.
const SWAP: Duration = Duration::from_secs(2);
/// How often a stranger is there: with a forged signature, and with half a body.
const STRANGER: Duration = Duration::from_millis(20);
/// How often memory is looked at.
const LOOK: Duration = Duration::from_millis(500);
/// Every so many events one is sent a second time.
const AGAIN: u64 = 20;

/// How to send.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// How long.
    pub time: Duration,
    /// Events in a second over all sources; none: as fast as answers come.
    pub pace: Option<u32>,
    /// Connections of each source.
    pub connections: usize,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Report {
    /// Events that were acknowledged, each once.
    pub accepted: u64,
    /// Of them those that were sent again, and answered with the first one's id.
    pub again: u64,
    /// Requests that were told to come later; they did.
    pub later: u64,
    /// Forged ones that were refused.
    pub forged: u64,
    /// Bodies that broke off.
    pub cut: u64,
    /// Versions that went live.
    pub swaps: u64,
    /// Microseconds to the acknowledgement, the quickest first.
    pub latencies: Vec<u32>,
    /// Resident memory in bytes, every half a second.
    pub resident: Vec<u64>,
    /// From the first request to the last answer.
    pub sending: Duration,
    /// From there until nothing waited any more; the server downstream was up then.
    pub draining: Duration,
}

/// What must become of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Done,
    Dead,
}

/// An event that a source sends, and how it must end.
const KINDS: [(&str, &str, Ending); 10] = [
    ("echo", "a", Ending::Done),
    ("count", "", Ending::Done),
    ("echo", "b", Ending::Done),
    ("nothing", "", Ending::Done),
    ("spin", "1", Ending::Done),
    ("echo", "c", Ending::Done),
    ("reject", "", Ending::Dead),
    ("echo", "d", Ending::Done),
    ("trap", "", Ending::Dead),
    ("retry", "", Ending::Dead),
];

fn source(number: usize) -> String {
    format!("s{number:02}")
}

/// The sections of its config; `down` is the server downstream.
pub fn config(down: SocketAddr) -> String {
    let names: Vec<_> = (0..SOURCES).map(source).collect();
    let sources: String = names
        .iter()
        .map(|name| {
            format!(
                "[sources.{name}]\npath = \"/webhooks/{name}\"\nscheme = {TEST_SCHEME}\n\
                 secrets = [{{ env = \"TEST_SECRET\" }}]\nrate = \"off\"\n"
            )
        })
        .collect();
    let patterns: Vec<_> =
        names[..SOURCES - 1].iter().map(|name| format!("\"{name}/*\"")).collect();
    let (patterns, last) = (patterns.join(", "), &names[SOURCES - 1]);
    format!(
        "{sources}
[plugins.hostile]
subscribe = [{patterns}]
rate = \"off\"
breaker = \"off\"
max_attempts = 2
backoff = \"100ms\"

[plugins.reach]
subscribe = [\"{last}/*\"]
rate = \"off\"
http = [\"http://*\", \"https://*\", \"http://{down}\"]
api = \"off\"
http_addresses = [\"127.0.0.1/32\"]
backoff = \"100ms\"
backoff_max = \"10s\"
breaker_probe_max = \"1s\"
max_attempts = 100
"
    )
}

/// Soaks the gateway of this house, which has the [`config`] and both plugins, and looks at its books.
///
/// # Panics
/// If an event is lost, ends otherwise than it must, or an answer is none that may be.
pub async fn run(house: &House, gateway: &Gateway, down: &World, plan: Plan) -> Report {
    let soak = Arc::new(Soak { down: down.address, gateway: house.public, ..Soak::new(plan) });
    let begun = Instant::now();
    let senders: Vec<JoinHandle<()>> = (0..SOURCES * plan.connections)
        .map(|number| tokio::spawn(soak.clone().source(number % SOURCES, number / SOURCES, begun)))
        .collect();
    let strangers = [tokio::spawn(soak.clone().forge()), tokio::spawn(soak.clone().cut())];
    let mut resident = Vec::new();
    let (mut swaps, mut next_swap) = (0, begun + SWAP);
    let module = guests::wasm("hostile");
    while begun.elapsed() < plan.time {
        tokio::time::sleep(LOOK.min(plan.time)).await;
        resident.push(gateway.resident());
        if Instant::now() >= next_swap {
            next_swap += SWAP;
            swaps += 1;
            house.put("hostile", &guests::with_section(module.clone(), swaps));
        }
    }
    soak.over.store(true, Relaxed);
    for task in senders.into_iter().chain(strangers) {
        task.await.unwrap();
    }
    let sending = begun.elapsed();
    let drain = Instant::now();
    down.mend();
    drained(house).await;
    let draining = drain.elapsed();
    let live = house.log().lines().filter(|line| line.contains("is live")).count() as u64;
    let Soak { accepted, latencies, again, later, forged, cut, .. } = &*soak;
    let accepted = std::mem::take(&mut *accepted.lock().unwrap_or_else(PoisonError::into_inner));
    let mut latencies =
        std::mem::take(&mut *latencies.lock().unwrap_or_else(PoisonError::into_inner));
    latencies.sort_unstable();
    let count = accepted.len() as u64;
    audit(house, accepted).await;
    let [again, later, forged, cut] = [again, later, forged, cut].map(|count| count.load(Relaxed));
    let swaps = swaps.min(live);
    Report {
        accepted: count,
        again,
        later,
        forged,
        cut,
        swaps,
        latencies,
        resident,
        sending,
        draining,
    }
}

/// Until nothing waits any more. Takes as long as it goes forward.
async fn drained(house: &House) {
    let (reader, mut least, mut since) = (house.reader(), u64::MAX, Instant::now());
    loop {
        let counts = reader.counts().await.unwrap();
        let waiting = counts.due + counts.leased;
        if waiting == 0 {
            return;
        }
        if waiting < least {
            (least, since) = (waiting, Instant::now());
        }
        let stuck = since.elapsed() > crate::house::PATIENCE;
        assert!(!stuck, "{waiting} deliveries wait in vain\n{}", house.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Each acknowledged event is there, once, and ended as it must.
async fn audit(house: &House, mut accepted: HashMap<EventId, Ending>) {
    let (reader, mut last) = (house.reader(), None);
    let mut webhooks = 0;
    loop {
        let page = reader.events(last, 1000).await.unwrap();
        let Some(end) = page.last() else { break };
        last = Some(end.event.id);
        for shown in page.into_iter().filter(|shown| shown.event.parent.is_none()) {
            webhooks += 1;
            // One that was sent and never answered is none that was acknowledged.
            let Some(ending) = accepted.remove(&shown.event.id) else { continue };
            let [delivery] = &shown.deliveries[..] else { panic!("{shown:#?}") };
            let ended = match ending {
                Ending::Done => DeliveryState::Done,
                Ending::Dead => DeliveryState::Dead,
            };
            assert_eq!(delivery.state, ended, "{shown:#?}");
        }
    }
    assert!(accepted.is_empty(), "{} of {webhooks} are lost", accepted.len());
}

/// What all senders share.
struct Soak {
    plan: Plan,
    gateway: SocketAddr,
    down: SocketAddr,
    scheme: Scheme,
    over: AtomicBool,
    accepted: Mutex<HashMap<EventId, Ending>>,
    latencies: Mutex<Vec<u32>>,
    again: AtomicU64,
    later: AtomicU64,
    forged: AtomicU64,
    cut: AtomicU64,
}

impl Soak {
    fn new(plan: Plan) -> Self {
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        Self {
            plan,
            gateway: nowhere,
            down: nowhere,
            scheme: test_scheme(),
            over: AtomicBool::new(false),
            accepted: Mutex::default(),
            latencies: Mutex::default(),
            again: AtomicU64::new(0),
            later: AtomicU64::new(0),
            forged: AtomicU64::new(0),
            cut: AtomicU64::new(0),
        }
    }

    fn is_over(&self) -> bool {
        self.over.load(Relaxed)
    }

    /// One connection of a source.
    async fn source(self: Arc<Self>, number: usize, connection: usize, begun: Instant) {
        let name = source(number);
        let all = u32::try_from(SOURCES * self.plan.connections).unwrap();
        let gap = self.plan.pace.map(|pace| Duration::from_secs(1) * all / pace);
        // They take turns within the gap.
        let place = u32::try_from(connection * SOURCES + number).unwrap();
        let mut next = begun + gap.unwrap_or_default() * place / all;
        let mut peer = None;
        for event in 0_u64.. {
            if self.is_over() {
                return;
            }
            if let Some(gap) = gap {
                tokio::time::sleep_until(next.into()).await;
                next += gap;
            }
            let (kind, body, ending) = self.kind(number, event);
            let id = format!("{connection}-{event}");
            let found = self.acknowledged(&mut peer, &name, kind, &id, &body).await;
            if event % AGAIN == 0 {
                let again = self.acknowledged(&mut peer, &name, kind, &id, &body).await;
                assert_eq!(again, found, "a duplicate has the first one's id");
                self.again.fetch_add(1, Relaxed);
            }
            let before =
                self.accepted.lock().unwrap_or_else(PoisonError::into_inner).insert(found, ending);
            assert_eq!(before, None, "each event has an id of its own");
        }
    }

    fn kind(&self, number: usize, event: u64) -> (&'static str, String, Ending) {
        if number == SOURCES - 1 {
            let steps = format!(r#"[{{"method":"POST","url":"http://{}/down"}}]"#, self.down);
            return ("must", steps, Ending::Done);
        }
        let at = usize::try_from(event).unwrap().wrapping_add(number) % KINDS.len();
        let (kind, body, ending) = KINDS[at];
        (kind, body.to_owned(), ending)
    }

    /// Sends until it is acknowledged.
    async fn acknowledged(
        &self,
        peer: &mut Option<http1::SendRequest<Full<Bytes>>>,
        source: &str,
        kind: &str,
        id: &str,
        body: &str,
    ) -> EventId {
        loop {
            let request = self.request(source, kind, id, body, SECRET);
            let sent = Instant::now();
            let answer = self.ask(peer, request).await;
            let micros = u32::try_from(sent.elapsed().as_micros()).unwrap_or(u32::MAX);
            match answer.status().as_u16() {
                202 => {
                    self.latencies.lock().unwrap_or_else(PoisonError::into_inner).push(micros);
                    let body = answer.into_body().collect().await.unwrap().to_bytes();
                    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
                    return body["id"].as_str().unwrap().parse().unwrap();
                }
                429 | 503 => {
                    self.later.fetch_add(1, Relaxed);
                    answer.into_body().collect().await.unwrap();
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                other => panic!("answered with {other}"),
            }
        }
    }

    fn request(&self, source: &str, kind: &str, id: &str, body: &str, secret: &str) -> Outgoing {
        let mut request = Outgoing::post(&format!("/webhooks/{source}"), body.as_bytes().to_vec());
        request.event_type = Some(kind.parse().unwrap());
        request.id = Some(id.to_owned());
        let key = self.scheme.secret(secret).unwrap();
        self.scheme.sign(&key, request, Clock::system().now()).unwrap()
    }

    async fn ask(
        &self,
        peer: &mut Option<http1::SendRequest<Full<Bytes>>>,
        request: Outgoing,
    ) -> Response<Incoming> {
        loop {
            let mut sender = match peer.take() {
                Some(sender) => sender,
                None => self.connect().await,
            };
            let mut builder = Request::post(&request.path).header("host", self.gateway.to_string());
            for (name, value) in &request.headers {
                builder = builder.header(name, &value[..]);
            }
            let whole = builder.body(Full::new(request.body.clone())).unwrap();
            // A connection that was kept may have been closed meanwhile: the request is sent over another.
            if sender.ready().await.is_ok()
                && let Ok(answer) = sender.send_request(whole).await
            {
                *peer = Some(sender);
                return answer;
            }
        }
    }

    async fn connect(&self) -> http1::SendRequest<Full<Bytes>> {
        let stream = TcpStream::connect(self.gateway).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        sender
    }

    /// Somebody who does not know the secret.
    async fn forge(self: Arc<Self>) {
        let mut peer = None;
        while !self.is_over() {
            let secret = "another-secret-of-at-least-32-bytes";
            let request = self.request("s00", "echo", "forged", "forged", secret);
            let answer = self.ask(&mut peer, request).await;
            let count = match answer.status().as_u16() {
                401 => &self.forged,
                429 | 503 => &self.later,
                other => panic!("a forged request was answered with {other}"),
            };
            count.fetch_add(1, Relaxed);
            answer.into_body().collect().await.unwrap();
            tokio::time::sleep(STRANGER).await;
        }
    }

    /// Somebody whose body breaks off.
    async fn cut(self: Arc<Self>) {
        while !self.is_over() {
            let mut stream = TcpStream::connect(self.gateway).await.unwrap();
            let half = "POST /webhooks/s00 HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\nhalf";
            stream.write_all(half.as_bytes()).await.unwrap();
            drop(stream);
            self.cut.fetch_add(1, Relaxed);
            tokio::time::sleep(STRANGER).await;
        }
    }
}

impl Report {
    /// The time, in milliseconds, within which this share was acknowledged.
    pub fn percentile(&self, share: f64) -> f64 {
        let last = self.latencies.len().saturating_sub(1);
        // A position within a list that fits in memory.
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss
        )]
        let at = (last as f64 * share).round() as usize;
        f64::from(self.latencies.get(at).copied().unwrap_or_default()) / 1000.0
    }

    /// Resident memory in the middle of the second quarter and of the last, in bytes.
    pub fn memory(&self) -> [u64; 2] {
        let quarter = self.resident.len() / 4;
        let median = |part: &[u64]| {
            let mut part = part.to_vec();
            part.sort_unstable();
            part.get(part.len() / 2).copied().unwrap_or_default()
        };
        [median(&self.resident[quarter..2 * quarter]), median(&self.resident[3 * quarter..])]
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { accepted, again, later, forged, cut, swaps, sending, draining, .. } = self;
        let [before, after] = self.memory().map(|bytes| bytes >> 20);
        let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|share| self.percentile(share));
        write!(
            f,
            "{accepted} events acknowledged in {:.1} s and none lost, {again} of them sent again, {later} told to come \
             later; {forged} forged and {cut} cut off; {swaps} swaps; acknowledged p50 {p50:.1} ms, p99 {p99:.1} ms, \
             p99.9 {p999:.1} ms; drained in {:.1} s; resident {before} MiB in the second quarter, {after} MiB in the last",
            sending.as_secs_f64(),
            draining.as_secs_f64(),
        )
    }
}
