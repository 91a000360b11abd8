//! A flood of forged requests at full speed: honest senders are taken all the same, nothing of theirs is lost, and
//! none of their allowance is spent. How long they wait is measured by `cargo bench -p hookweir-tests -- forged`.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Instant,
};

use hookweir_event::Origin;
use hookweir_tests::house::{House, PATIENCE};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinHandle,
};

/// Forgers, each with a connection of its own.
const FORGERS: usize = 16;
/// Forged requests that have to be refused, at least.
const FORGED: u64 = 5000;
/// Events of honest senders, and how many their source may be sent in a day: none comes back while this runs.
const HONEST: usize = 200;
const RATE: u64 = 250;

/// What the forgers have come to.
#[derive(Default)]
struct Flood {
    over: AtomicBool,
    refused: AtomicU64,
}

/// Sends one forged request after another, as fast as they are refused.
async fn forge(flood: Arc<Flood>, to: SocketAddr, request: Vec<u8>) {
    let mut stream = TcpStream::connect(to).await.unwrap();
    let mut answer = [0; 4096];
    while !flood.over.load(Ordering::Relaxed) {
        stream.write_all(&request).await.unwrap();
        let mut read = 0;
        while read == 0 || answer[read - 1] != b'}' {
            let more = stream.read(&mut answer[read..]).await.unwrap();
            assert!(more > 0, "the connection was closed");
            read += more;
        }
        assert!(answer.starts_with(b"HTTP/1.1 401 "), "{}", String::from_utf8_lossy(&answer));
        flood.refused.fetch_add(1, Ordering::Relaxed);
    }
}

/// As its sender would send it, but for its body.
fn forgery(house: &House) -> Vec<u8> {
    let signed = house.sender("test").signed("echo", "forged", &[b'x'; 1024]);
    let mut head = "POST /webhooks/test HTTP/1.1\r\nhost: x\r\ncontent-length: 1024\r\n".to_owned();
    for (name, value) in &signed.headers {
        head += &format!("{name}: {}\r\n", String::from_utf8_lossy(value));
    }
    [head.as_bytes(), b"\r\n", &[b'y'; 1024]].concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beside_a_flood_of_forged_requests_honest_ones_are_taken_and_none_is_lost() {
    let house = House::new(env!("CARGO_BIN_EXE_hookweir-under-test"), "");
    let config = std::fs::read_to_string(house.config()).unwrap();
    let (others, own) = config.split_once("[sources.test]").unwrap();
    let own = own.replacen("rate = \"off\"", &format!("rate = \"{RATE}/day\""), 1);
    std::fs::write(house.config(), format!("{others}[sources.test]{own}")).unwrap();
    house.put_guest("hostile");
    let gateway = house.start().await;
    let (flood, request) = (Arc::<Flood>::default(), forgery(&house));
    let forgers: Vec<JoinHandle<()>> = (0..FORGERS)
        .map(|_| tokio::spawn(forge(flood.clone(), house.public, request.clone())))
        .collect();
    let refused = || flood.refused.load(Ordering::Relaxed);
    let until = async |count: u64| {
        let begun = Instant::now();
        while refused() < count {
            assert!(begun.elapsed() < PATIENCE, "{} forged requests", refused());
            tokio::task::yield_now().await;
        }
    };
    // More than the source's whole allowance, before the first honest one comes.
    until(4 * RATE).await;
    let sender = house.sender("test");
    let mut ids = BTreeSet::new();
    for number in 0..HONEST {
        // The flood goes on between any two of them.
        let before = refused();
        let body = number.to_string();
        let reply = sender.send("echo", &body, body.as_bytes()).await.unwrap();
        assert_eq!(reply.status, 202, "{reply:?}");
        let left = RATE - 1 - number as u64;
        let told = reply.header("ratelimit").unwrap();
        assert!(told.starts_with(&format!("\"source\";r={left};t=")), "{told}");
        ids.insert(reply.id().unwrap());
        until(before + 1).await;
    }
    until(FORGED).await;
    flood.over.store(true, Ordering::Relaxed);
    for forger in forgers {
        forger.await.unwrap();
    }
    let events = house.settled().await;
    let came = events.iter().filter(|shown| matches!(shown.event.origin, Origin::Source(_)));
    let kept: BTreeSet<_> = came.map(|shown| shown.event.id).collect();
    assert_eq!(ids.len(), HONEST);
    assert_eq!(kept, ids, "each honest one, and nothing forged");
    let counts = house.reader().counts().await.unwrap();
    assert_eq!((counts.done, counts.dead), (HONEST as u64, 0));
    let scrape = house.metrics().await;
    let forged = [("source", "test"), ("reason", "bad-signature")];
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let count = refused() as f64;
    assert_eq!(scrape.value("hookweir_source_refused_total", &forged), count);
    println!("{count} forged requests were refused beside {HONEST} honest ones");
    assert!(gateway.stop().await.success());
}
