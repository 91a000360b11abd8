//! Slow peers, and many connections: none of them keeps honest senders out, and none is kept for longer than its
//! time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use hookweir_tests::{house::House, sender::Sender, wire::Wire};
use tokio::{
    io::AsyncWriteExt as _,
    net::TcpStream,
    task::{JoinHandle, JoinSet},
};

fn house(sections: &str) -> House {
    House::new(env!("CARGO_BIN_EXE_hookweir-under-test"), sections)
}

/// A first half of a request.
const HALF: &[u8] = b"POST /webhooks/test HTTP/1.1\r\nhost: x\r\nx-slow: ";
/// How often a slow peer sends a byte.
const DRIP: Duration = Duration::from_millis(200);

/// Peers that open connections, send a byte of their headers now and then, and begin anew once they are let go.
struct Slow {
    peers: JoinSet<()>,
    on: Arc<AtomicBool>,
}

impl Slow {
    fn attack(house: &House, count: usize) -> Self {
        let on = Arc::new(AtomicBool::new(true));
        let mut peers = JoinSet::new();
        for _ in 0..count {
            let (address, on) = (house.public, on.clone());
            peers.spawn(async move {
                while on.load(SeqCst) {
                    let Ok(mut stream) = TcpStream::connect(address).await else { continue };
                    let mut bytes = HALF;
                    while on.load(SeqCst) && stream.write_all(bytes).await.is_ok() {
                        bytes = b"x";
                        tokio::time::sleep(DRIP).await;
                    }
                }
            });
        }
        Self { peers, on }
    }

    async fn end(mut self) {
        self.on.store(false, SeqCst);
        while self.peers.join_next().await.is_some() {}
    }
}

async fn full(house: &House, most: f64) {
    let full = |open: f64| open >= most;
    house
        .until_metrics("no slot is left", |page| full(page.value("hookweir_connections", &[])))
        .await;
}

fn posting(sender: &Sender, number: usize) -> JoinHandle<u16> {
    let sender = sender.clone();
    tokio::spawn(async move {
        let (id, body) = (format!("honest-{number}"), format!("{{\"n\":{number}}}"));
        sender.send("order.created", &id, body.as_bytes()).await.unwrap().status
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_limit_on_headers_slow_senders_keep_honest_ones_out() {
    let house = house("server.connections = 20\nserver.header_timeout = \"1h\"");
    let gateway = house.start().await;
    let slow = Slow::attack(&house, 20);
    full(&house, 20.0).await;
    let honest = posting(&house.sender("test"), 0);
    tokio::time::sleep(DRIP * 4).await;
    assert!(!honest.is_finished(), "it got in all the same: this is no attack");
    slow.end().await;
    assert_eq!(honest.await.unwrap(), 202);
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_slow_senders_keep_nobody_out() {
    let house = house("server.connections = 1000\nserver.header_timeout = \"500ms\"");
    let gateway = house.start().await;
    let slow = Slow::attack(&house, 2000);
    full(&house, 1000.0).await;
    for number in 0..3 {
        // Each on a connection of its own, behind all those that wait.
        let posting = (0..5).map(|n| posting(&house.sender("test"), number * 5 + n));
        let posting: Vec<_> = posting.collect();
        for posting in posting {
            assert_eq!(posting.await.unwrap(), 202);
        }
    }
    let open = house.metrics().await.value("hookweir_connections", &[]);
    println!(
        "2,000 slow senders: {open} connections open, {} MiB resident",
        gateway.resident() >> 20
    );
    slow.end().await;
    assert_eq!(house.reader().counts().await.unwrap().events, 15);
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_bodies_are_answered_and_closed() {
    let house = house("server.connections = 50\nserver.body_timeout = \"5s\"");
    let gateway = house.start().await;
    let mut slow = JoinSet::new();
    for _ in 0..50 {
        let mut wire = Wire::connect(house.public).await;
        slow.spawn(async move {
            let head = "POST /webhooks/test HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n";
            wire.send(head.as_bytes()).await;
            let mut rest = tokio::task::JoinSet::new();
            let (mut reading, mut writing) = wire.0.into_split();
            rest.spawn(async move {
                use tokio::io::AsyncReadExt as _;
                let mut answer = Vec::new();
                let _ = reading.read_to_end(&mut answer).await;
                String::from_utf8_lossy(&answer).into_owned()
            });
            while writing.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            rest.join_next().await.unwrap().unwrap()
        });
    }
    full(&house, 50.0).await;
    assert_eq!(posting(&house.sender("test"), 0).await.unwrap(), 202, "it waits its turn");
    let mut answered = 0;
    while let Some(answer) = slow.join_next().await {
        let answer = answer.unwrap();
        answered += usize::from(answer.starts_with("HTTP/1.1 408 "));
        assert!(answer.is_empty() || answer.contains("connection: close"), "{answer}");
    }
    assert!(answered > 0, "nobody was told");
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_sends_nothing_or_idles_is_let_go() {
    let get = b"GET /nowhere HTTP/1.1\r\nhost: x\r\n\r\n";
    let long = "server.idle_timeout = \"1h\"\nserver.header_timeout = \"1h\"";
    let short = "server.idle_timeout = \"2s\"\nserver.header_timeout = \"2s\"";
    for (limits, stays) in [(long, true), (short, false)] {
        let house = house(limits);
        let gateway = house.start().await;
        let mut silent = Wire::connect(house.public).await;
        let mut idle = Wire::connect(house.public).await;
        let mut preface = Wire::connect(house.public).await;
        let mut http2 = Wire::http2(house.public).await;
        idle.send(get).await;
        preface.send(b"PRI * HTTP/2.0\r\n").await;
        assert!(http2.ping().await);
        if stays {
            // Nor do they hold up the end for the whole of the grace time.
            let time = Duration::from_millis(2500);
            let open = tokio::join!(silent.is_left_open(time), preface.is_left_open(time));
            assert_eq!(open, (true, true), "without a limit they stay");
        } else {
            assert!(silent.rest().await.is_empty());
            assert!(preface.rest().await.is_empty());
            assert!(idle.rest().await.starts_with(b"HTTP/1.1 404 "));
            assert!(http2.until(|_| false).await.is_none(), "it is closed");
        }
        assert!(gateway.stop().await.success());
    }
}

/// A peer that asks without end, and whose system keeps few answers for it.
struct Asking {
    asks: JoinHandle<()>,
    answers: tokio::net::tcp::OwnedReadHalf,
}

impl Asking {
    async fn start(house: &House) -> Self {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let (answers, mut questions) = socket.connect(house.public).await.unwrap().into_split();
        let asks = tokio::spawn(async move {
            let get = b"GET /nowhere HTTP/1.1\r\nhost: x\r\n\r\n".repeat(100);
            while questions.write_all(&get).await.is_ok() {}
        });
        Self { asks, answers }
    }

    /// Whether it can ask still.
    fn asks(&self) -> bool {
        !self.asks.is_finished()
    }

    /// Takes some of the answers. Whether there were any.
    async fn takes(&mut self) -> bool {
        use tokio::io::AsyncReadExt as _;
        let read = self.answers.read(&mut [0; 1 << 16]).await;
        read.is_ok_and(|read| read > 0)
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.asks.abort();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_takes_no_answer_over_http1_is_let_go_and_who_takes_some_is_not() {
    // Nothing else ends a connection.
    let house = house("server.idle_timeout = \"1h\"\nserver.header_timeout = \"1h\"");
    let gateway = house.start().await;
    let begun = std::time::Instant::now();
    let (mut slow, stuck) = (Asking::start(&house).await, Asking::start(&house).await);
    let open = |page: &hookweir_tests::scrape::Scrape| page.value("hookweir_connections", &[]);
    house.until_metrics("both", |page| open(page) == 2.0).await;
    while open(&house.metrics().await) == 2.0 {
        // The system says that there is room only when a third of what it keeps for a peer is taken.
        for _ in 0..64 {
            assert!(slow.takes().await, "it was let go");
        }
        assert!(begun.elapsed() < 2 * hookweir_tests::house::PATIENCE, "nobody is let go");
        tokio::time::sleep(DRIP).await;
    }
    while stuck.asks() {
        tokio::task::yield_now().await;
    }
    assert!(slow.asks());
    println!("let go after {:?}", begun.elapsed());
    assert!(begun.elapsed() >= Duration::from_secs(25), "that is no patience");
    assert_eq!(open(&house.metrics().await), 1.0);
    assert!(slow.takes().await && slow.takes().await, "it goes on");
    drop((slow, stuck));
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_give_their_slots_to_who_wants_one() {
    let long = "server.idle_timeout = \"1h\"\nserver.header_timeout = \"1h\"";
    let house = house(&format!("server.connections = 3\n{long}"));
    let gateway = house.start().await;
    let mut idle = Vec::new();
    for _ in 0..3 {
        let mut wire = Wire::connect(house.public).await;
        wire.send(b"GET /nowhere HTTP/1.1\r\nhost: x\r\n\r\n").await;
        idle.push(wire);
    }
    for wire in &mut idle {
        use tokio::io::AsyncReadExt as _;
        assert_eq!(wire.0.read(&mut [0]).await.unwrap(), 1, "it had its answer");
    }
    for number in 0..5 {
        assert_eq!(posting(&house.sender("test"), number).await.unwrap(), 202);
    }
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_address_has_so_many_connections_and_a_trusted_proxy_any_number() {
    let most = "server.connections_per_address = 5";
    for (limits, in_all) in
        [(most.to_owned(), 5), (format!("{most}\nserver.trusted_proxies = [\"127.0.0.1\"]"), 8)]
    {
        let house = house(&limits);
        let gateway = house.start().await;
        let mut wires = Vec::new();
        let mut answered = 0;
        for _ in 0..8 {
            let mut wire = Wire::connect(house.public).await;
            wire.send(b"GET /nowhere HTTP/1.1\r\nhost: x\r\n\r\n").await;
            let mut byte = [0];
            use tokio::io::AsyncReadExt as _;
            answered += usize::from(wire.0.read(&mut byte).await.is_ok_and(|read| read == 1));
            wires.push(wire);
        }
        assert_eq!(answered, in_all);
        let away = house.metrics().await;
        let away = away.value("hookweir_connections_turned_away_total", &[("reason", "address")]);
        assert_eq!(away, (8 - in_all) as f64);
        drop(wires);
        house
            .until_metrics("all are closed", |page| page.value("hookweir_connections", &[]) == 0.0)
            .await;
        assert_eq!(posting(&house.sender("test"), 0).await.unwrap(), 202);
        assert!(gateway.stop().await.success());
    }
}
