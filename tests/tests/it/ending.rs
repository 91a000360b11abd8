//! The gateway's calm end and its hurried one, under load: what was acknowledged is there and done after the next
//! start, and nobody is told otherwise. And what a stop, a second one and SIGHUP do, also while it starts.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
};

use hookweir_event::EventId;
use hookweir_store::{DeliveryState, Shown};
use hookweir_tests::{
    bounded,
    house::{House, PATIENCE, SECRET},
};
use rustix::process::Signal;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinHandle,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_hookweir-under-test");
/// Senders at a time, each with a connection of its own.
const SENDERS: usize = 24;

fn house(sections: &str) -> House {
    let house = House::new(PROGRAM, sections);
    house.put_guest("hostile");
    house
}

/// Senders that post until they are told to stop, and never send anything again.
struct Flood {
    shared: Arc<Told>,
    senders: Vec<JoinHandle<()>>,
}

/// What senders were told.
#[derive(Default)]
struct Told {
    stop: AtomicBool,
    sent: AtomicUsize,
    acknowledged: Mutex<Vec<EventId>>,
    /// A 503, which says that nothing was kept.
    refused: AtomicUsize,
    /// No answer: the connection was cut off in the middle.
    cut_off: AtomicUsize,
    /// No connection.
    turned_away: AtomicUsize,
}

impl Flood {
    fn start(house: &House) -> Self {
        let shared = Arc::<Told>::default();
        let start = |number: usize| {
            let (shared, sender) = (shared.clone(), house.sender("test"));
            tokio::spawn(async move {
                for event in 0.. {
                    if shared.stop.load(Relaxed) {
                        return;
                    }
                    shared.sent.fetch_add(1, Relaxed);
                    match sender.send("echo", &format!("{number}-{event}"), b"x").await {
                        Ok(reply) if reply.status == 202 => {
                            shared.acknowledged.lock().unwrap().push(reply.id().unwrap());
                        }
                        Ok(reply) => {
                            assert_eq!(reply.status, 503, "{reply:?}");
                            shared.refused.fetch_add(1, Relaxed);
                        }
                        Err(error) if error.is_connect() => {
                            shared.turned_away.fetch_add(1, Relaxed);
                            tokio::task::yield_now().await;
                        }
                        Err(error) => {
                            assert!(!error.is_timeout(), "{error}");
                            shared.cut_off.fetch_add(1, Relaxed);
                        }
                    }
                }
            })
        };
        Self { senders: (0..SENDERS).map(start).collect(), shared }
    }

    fn acknowledged(&self) -> usize {
        self.shared.acknowledged.lock().unwrap().len()
    }

    /// Waits until the gateway is under load.
    async fn flows(&self) {
        bounded::until("load", || self.acknowledged() >= 20 * SENDERS).await;
    }

    /// Lets the senders come to an end. Answers what was acknowledged.
    #[expect(clippy::print_stdout, reason = "the figures, for who reads them")]
    async fn end(self, what: &str) -> HashSet<EventId> {
        self.shared.stop.store(true, Relaxed);
        for sender in self.senders {
            sender.await.unwrap();
        }
        let Told { sent, acknowledged, refused, cut_off, turned_away, .. } = &*self.shared;
        let acknowledged = acknowledged.lock().unwrap();
        println!(
            "{what}: {} sent, {} acknowledged, {} refused, {} cut off, {} turned away",
            sent.load(Relaxed),
            acknowledged.len(),
            refused.load(Relaxed),
            cut_off.load(Relaxed),
            turned_away.load(Relaxed)
        );
        let ids: HashSet<_> = acknowledged.iter().copied().collect();
        assert_eq!(ids.len(), acknowledged.len(), "two events were answered with one id");
        ids
    }
}

/// Each acknowledged event is in the store now, and done once, by one attempt or another, after the next start.
async fn nothing_is_lost(house: &House, acknowledged: &HashSet<EventId>) {
    let there: HashSet<_> = house.events().await.iter().map(|shown| shown.event.id).collect();
    let lost = acknowledged.difference(&there).count();
    assert_eq!(lost, 0, "of {} acknowledged", acknowledged.len());
    let gateway = house.start().await;
    let settled = house.settled().await;
    assert!(gateway.stop().await.success());
    let done = |shown: &&Shown| shown.deliveries.iter().all(|d| d.state == DeliveryState::Done);
    let webhooks = settled.iter().filter(|shown| shown.event.parent.is_none());
    let done: HashSet<_> = webhooks.filter(done).map(|shown| shown.event.id).collect();
    assert_eq!(acknowledged.difference(&done).count(), 0, "acknowledged, and not done");
    let outputs = settled.iter().filter(|shown| shown.event.parent.is_some()).count();
    assert_eq!(outputs, done.len(), "each made one output");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sigterm_under_load_loses_nothing() {
    let house = house("server.drain_delay = \"300ms\"\n[plugins.hostile]\nrate = \"off\"\n");
    let gateway = house.start().await;
    let flood = Flood::start(&house);
    flood.flows().await;
    let before = flood.acknowledged();
    let log = house.log().len();
    gateway.signal(Signal::TERM);
    let status = gateway.ended().await;
    assert_eq!(status.code(), Some(0), "{}", house.log());
    assert!(flood.acknowledged() > before, "requests were taken while it was not ready any more");
    let acknowledged = flood.end("SIGTERM").await;
    let said = house.until_log(log, &["left", "connections=", "attempts=", "due="]).await;
    println!("{said}");
    nothing_is_lost(&house, &acknowledged).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_ends_at_once_and_loses_nothing() {
    for (second, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let house = house("server.drain_delay = \"1h\"\n[plugins.hostile]\nrate = \"off\"\n");
        let gateway = house.start().await;
        let flood = Flood::start(&house);
        flood.flows().await;
        gateway.signal(Signal::TERM);
        house.until_log(0, &["not ready any more"]).await;
        let before = flood.acknowledged();
        bounded::until("more of it", || flood.acknowledged() >= before + SENDERS).await;
        gateway.signal(second);
        assert_eq!(gateway.ended().await.code(), Some(code));
        let acknowledged = flood.end("a second signal").await;
        house.write_config("[plugins.hostile]\nrate = \"off\"\n");
        nothing_is_lost(&house, &acknowledged).await;
    }
}

async fn probe(house: &House, path: &str) -> u16 {
    let client = bounded::client();
    let reply = client.get(format!("http://{}/{path}", house.admin)).send().await.unwrap();
    reply.status().as_u16()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readiness_goes_first_and_requests_are_taken_still() {
    let house = house("server.drain_delay = \"1h\"\n");
    let gateway = house.start().await;
    assert_eq!(probe(&house, "readyz").await, 200);
    gateway.signal(Signal::TERM);
    house.until_log(0, &["not ready any more"]).await;
    assert_eq!((probe(&house, "readyz").await, probe(&house, "healthz").await), (503, 200));
    let reply = house.sender("test").send("echo", "1", b"x").await.unwrap();
    assert_eq!(reply.status, 202);
    // What was taken is handled too.
    house.until("the echo", |counts| counts.done == 1).await;
    gateway.signal(Signal::TERM);
    gateway.ended().await;
}

/// An HTTP/2 connection without a request: the preface and empty settings (RFC 9113, 3.4).
async fn http2(house: &House) -> TcpStream {
    let mut stream = TcpStream::connect(house.public).await.unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.unwrap();
    assert_eq!(head[3], 4, "settings come first");
    let length = usize::from(head[1]) << 8 | usize::from(head[2]);
    stream.read_exact(&mut vec![0; length]).await.unwrap();
    stream
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_connections_are_told_that_it_goes() {
    let house = house("");
    let gateway = house.start().await;
    let mut second = http2(&house).await;
    let request = house.sender("test").signed("echo", "1", b"the body");
    let mut head = String::from("POST /webhooks/test HTTP/1.1\r\nhost: test\r\n");
    for (name, value) in &request.headers {
        head += &format!("{name}: {}\r\n", String::from_utf8_lossy(value));
    }
    head += "expect: 100-continue\r\ncontent-length: 8\r\n\r\n";
    let mut first = TcpStream::connect(house.public).await.unwrap();
    first.write_all(head.as_bytes()).await.unwrap();
    let mut proceed = [0; b"HTTP/1.1 100 Continue\r\n\r\n".len()];
    first.read_exact(&mut proceed).await.unwrap();
    gateway.signal(Signal::TERM);
    bounded::until_closed(house.public).await;
    first.write_all(b"the body").await.unwrap();
    let mut reply = String::new();
    let reading = first.read_to_string(&mut reply);
    tokio::time::timeout(PATIENCE, reading).await.expect("the connection ends").unwrap();
    assert!(reply.starts_with("HTTP/1.1 202 "), "{reply}");
    assert!(reply.to_lowercase().contains("connection: close"), "{reply}");
    let mut frames = Vec::new();
    let reading = second.read_to_end(&mut frames);
    tokio::time::timeout(PATIENCE, reading).await.expect("the connection ends").unwrap();
    let (mut rest, mut kinds) = (&frames[..], Vec::new());
    while let [a, b, c, kind, _, _, _, _, _, ..] = rest {
        let length = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
        kinds.push(*kind);
        rest = &rest[9 + length..];
    }
    assert!(kinds.contains(&7), "no GOAWAY among {kinds:?}");
    assert!(gateway.ended().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sighup_has_everything_looked_at() {
    let unwatched = "[host]\nwatch = \"off\"\nrescan = \"1h\"\n";
    let house = house(unwatched);
    let gateway = house.start().await;
    let late = |path: &str| {
        format!(
            "{unwatched}[sources.late]\npath = \"{path}\"\nscheme = \"github\"\n\
             secrets = [{{ env = \"TEST_SECRET\" }}]\n"
        )
    };
    let scheme = || hookweir_verify::Scheme::preset("github").unwrap();
    let sender =
        |path: &str| hookweir_tests::sender::Sender::new(house.public, path, scheme(), SECRET);
    house.write_config(&late("/late"));
    house.put(
        "hostile",
        &hookweir_tests::guests::with_section(hookweir_tests::guests::wasm("hostile"), 7),
    );
    assert_eq!(sender("/late").send("push", "1", b"{}").await.unwrap().status, 404);
    let log = house.log().len();
    gateway.signal(Signal::HUP);
    let said = house.until_log(log, &["as SIGHUP asks"]).await;
    assert!(said.contains("reloaded") && said.contains("hostile: "), "{said}");
    assert_eq!(sender("/late").send("push", "1", b"{}").await.unwrap().status, 202);
    // What can't be followed is said, and the old one stays.
    house.write_config(&late("no path"));
    let log = house.log().len();
    gateway.signal(Signal::HUP);
    let said = house.until_log(log, &["as SIGHUP asks"]).await;
    assert!(said.contains("refused"), "{said}");
    assert!(house.log()[log..].contains("config not reloaded"));
    assert_eq!(sender("/late").send("push", "2", b"{}").await.unwrap().status, 202);
    assert!(gateway.stop().await.success());
}
