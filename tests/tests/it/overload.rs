//! More than there is room for: large bodies, floods in front of a disk that stands still, a disk that fills up. What
//! can't be had at once is shed, those who want little find room, and what was begun is ended. Each test
//! first sees that the load was really there. Guarantee 8.

use std::{
    ops::RangeInclusive,
    sync::Arc,
    time::{Duration, Instant},
};

use hookweir::gateway::Ended;
use hookweir_tests::{
    fault_vfs::FaultVfs,
    house::{House, PATIENCE, SECRET},
    load::payment,
    scrape::Scrape,
    sender::{Reply, Sender},
    wire::{END_HEADERS, Frame, Wire, kind, post_block, statuses},
};
use hookweir_verify::Outgoing;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::watch,
    task::JoinHandle,
};

const MIB: u64 = 1 << 20;

fn house(sections: &str) -> House {
    House::new(env!("CARGO_BIN_EXE_hookweir-under-test"), sections)
}

/// A metric that counts things.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is a whole number")]
fn whole(value: f64) -> u64 {
    assert_eq!(value.fract(), 0.0);
    value as u64
}

/// Requests of a source that were shed, by these words.
fn shed(scrape: &Scrape, source: &str, reasons: &[&str]) -> u64 {
    let of = |reason: &&str| {
        let labels = [("source", source), ("reason", *reason)];
        whole(scrape.value("hookweir_source_refused_total", &labels))
    };
    reasons.iter().map(of).sum()
}

#[track_caller]
fn assert_shed(reply: &Reply) {
    assert_eq!((reply.status, reply.code()), (503, "overloaded"), "{reply:?}");
    assert_eq!(reply.body["retryable"], true);
    assert!(reply.header("retry-after").is_some(), "{reply:?}");
}

/// Senders of large bodies, each of which stops before its last byte.
struct Storm {
    finish: watch::Sender<bool>,
    senders: Vec<JoinHandle<Option<u16>>>,
}

/// The head of a request to the source `test`, over HTTP/1.1 and with these lines more.
fn head(lines: &str, signed: &Outgoing) -> String {
    let mut head = format!("POST /webhooks/test HTTP/1.1\r\nhost: x\r\n{lines}");
    for (name, value) in &signed.headers {
        head += &format!("{name}: {}\r\n", String::from_utf8_lossy(value));
    }
    head + "\r\n"
}

/// Lets the source `test` take bodies of this size.
fn enlarge(house: &House, body_max: &str) {
    let config = std::fs::read_to_string(house.config()).unwrap();
    let path = "path = \"/webhooks/test\"";
    let large = format!("{path}\nbody_max = \"{body_max}\"");
    std::fs::write(house.config(), config.replace(path, &large)).unwrap();
}

/// One body's length: with GitHub's largest in mind, which have 25 MiB.
const LARGE: usize = 10_000_000;

impl Storm {
    /// So many senders, each from an address of its own.
    fn start(house: &House, senders: usize) -> Self {
        let sender = house.sender("test");
        let body = Arc::new(vec![b'x'; LARGE]);
        let signed = sender.signed("order", "storm", &body);
        let (finish, wait) = watch::channel(false);
        let start = |number: usize| {
            let lines = format!(
                "content-length: {LARGE}\r\nx-forwarded-for: 10.1.{}.{}\r\n",
                number / 250,
                number % 250 + 1
            );
            let head = head(&lines, &signed).replace("storm", &format!("s{number}"));
            let stream = TcpStream::connect(house.public);
            let (body, wait) = (body.clone(), wait.clone());
            tokio::spawn(async move { large(stream.await.unwrap(), head, &body, wait).await })
        };
        Self { finish, senders: (0..senders).map(start).collect() }
    }

    /// Lets them end. Answers with the statuses; of one that was cut off before it read one, none.
    async fn end(self) -> Vec<Option<u16>> {
        self.finish.send_replace(true);
        let mut ended = Vec::new();
        for sender in self.senders {
            ended.push(tokio::time::timeout(PATIENCE, sender).await.unwrap().unwrap());
        }
        ended
    }
}

/// Sends all but the last byte, and that when it is told to, unless it is answered before.
async fn large(
    mut stream: TcpStream,
    head: String,
    body: &[u8],
    mut finish: watch::Receiver<bool>,
) -> Option<u16> {
    let (mut from, mut to) = stream.split();
    let sending = async {
        to.write_all(head.as_bytes()).await?;
        to.write_all(&body[1..]).await?;
        let _ = finish.wait_for(|finish| *finish).await;
        to.write_all(&body[..1]).await
    };
    let reading = async {
        let mut answer = [0; 64];
        let read = from.read(&mut answer).await.ok()?;
        String::from_utf8_lossy(&answer[..read]).split(' ').nth(1)?.parse().ok()
    };
    let (_, status) = tokio::join!(sending, reading);
    status
}

/// What came of a storm.
struct Weathered {
    accepted: usize,
    /// How many were held in whole when all were held or shed, which is before the first of them was ended.
    held: usize,
    /// Resident memory when all that is held was held, and at most, in MiB, beyond what there was before.
    grown: u64,
    peak: u64,
}

/// A gateway with such a budget in a storm of so many senders; waits until its memory has grown by so many MiB.
async fn weather(budget: &str, senders: usize, grows: RangeInclusive<u64>) -> Weathered {
    let house = house(&format!(
        "server.bodies_max = \"{budget}\"\nserver.trusted_proxies = [\"127.0.0.1\"]\n\
         server.body_timeout = \"5m\"\n"
    ));
    enlarge(&house, "16MiB");
    let mut gateway = house.start().await;
    let before = gateway.resident();
    let storm = Storm::start(&house, senders);
    let held = |scrape: &Scrape| {
        usize::try_from(whole(scrape.value("hookweir_bodies_bytes", &[]))).unwrap() / LARGE
    };
    let all = |scrape: &Scrape| {
        held(scrape) as u64 + shed(scrape, "test", &["memory", "memory-share"]) == senders as u64
    };
    let scrape = house.until_metrics("each sender to be held or shed", all).await;
    let held = held(&scrape);
    let grown =
        |gateway: &hookweir_tests::house::Gateway| gateway.resident().saturating_sub(before) / MIB;
    let started = Instant::now();
    while !grows.contains(&grown(&gateway)) {
        let late = started.elapsed() > PATIENCE;
        assert!(!late, "memory has grown by {} MiB, not {grows:?}", grown(&gateway));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let grown = grown(&gateway);
    // Those who want little find room all the while.
    let small = house.sender("test");
    for number in 0..20 {
        let reply = small.send("order", &format!("small-{number}"), b"small").await.unwrap();
        assert_eq!(reply.status, 202, "{reply:?}");
    }
    let ended = storm.end().await;
    let accepted = ended.iter().filter(|status| **status == Some(202)).count();
    // One that is refused may find the connection closed before it has read why.
    assert!(ended.iter().flatten().all(|status| [202, 503].contains(status)), "{ended:?}");
    house
        .until_metrics("the memory to be free", |s| s.value("hookweir_bodies_bytes", &[]) == 0.0)
        .await;
    let kept = house.reader().counts().await.unwrap().events;
    assert_eq!(kept, 20 + accepted as u64);
    let peak = gateway.resident_peak().saturating_sub(before) / MIB;
    let reply = house.sender("test").send("order", "after", b"after").await.unwrap();
    assert_eq!(reply.status, 202);
    house.ready(&mut gateway).await;
    assert!(gateway.stop().await.success());
    Weathered { accepted, held, grown, peak }
}

/// `HOOKWEIR_LARGE_BODIES=1000` is the campaign.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_large_bodies_at_once_are_shed_and_not_buffered() {
    let senders = std::env::var("HOOKWEIR_LARGE_BODIES").map_or(50, |text| text.parse().unwrap());
    let all = senders as u64 * LARGE as u64 / MIB;
    // The load is really there: without a budget to speak of, all of it is in memory.
    let Weathered { accepted, held, grown, peak } =
        weather("100GiB", senders, all * 9 / 10..=u64::MAX).await;
    println!(
        "{senders} bodies of 10 MB, no budget: {held} held, +{grown} MiB, +{peak} MiB at most, \
         {accepted} accepted"
    );
    assert_eq!(held, senders, "all of them are in memory at once");
    // Of ten gigabytes that are ended at one moment not all are committed before the others are told to come again.
    assert!(accepted > 0);
    let Weathered { accepted, held, grown, peak } = weather("64MiB", senders, 0..=u64::MAX).await;
    println!(
        "{senders} bodies of 10 MB, 64 MiB: {held} held, +{grown} MiB, +{peak} MiB at most, \
         {accepted} accepted"
    );
    assert_eq!(accepted, 3, "what a source may hold: half of the budget, in whole bodies");
    assert!(peak < 4 * 64, "memory grew by {peak} MiB");
}

/// The largest of the small bodies, which have room of their own.
const SMALL: usize = 64 << 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_address_announces_or_does_not_end_leaves_room_for_the_small_bodies_of_others() {
    // As little as may be, of which a source's small bodies may have half.
    let house = house(
        "server.bodies_max = \"4MiB\"\nserver.trusted_proxies = [\"127.0.0.1\"]\n\
         server.body_timeout = \"5m\"",
    );
    let gateway = house.start().await;
    let honest = async |id: &str| {
        let sender = house.sender("test");
        let mut request = sender.signed("order", id, &[b'x'; SMALL]);
        request.headers.push(("x-forwarded-for".into(), b"10.2.0.1".to_vec()));
        sender.post(request).await.unwrap()
    };
    // Three times as much is announced, and nothing of it sent.
    let length = SMALL.to_string();
    let from = ("x-forwarded-for", "10.3.0.1");
    let block = post_block("/webhooks/test", &[("content-length", &length), from]);
    let open = |n: u32| Frame::new(kind::HEADERS, END_HEADERS, n * 2 + 1, &block[..]);
    let mut announcing = Wire::http2(house.public).await;
    announcing.send_frames(&(0..100).map(open).collect::<Vec<_>>()).await;
    let held = |scrape: &Scrape| scrape.value("hookweir_bodies_bytes", &[]);
    let all = |scrape: &Scrape| held(scrape) >= 100.0 * 200.0;
    let scrape = house.until_metrics("the headers of all", all).await;
    assert!(held(&scrape) < 100.0 * 1000.0, "{} bytes for headers", held(&scrape));
    let reply = honest("1").await;
    assert_eq!(reply.status, 202, "{reply:?}");
    // Now it is sent, but for each body's last byte.
    let sender = house.sender("test");
    let lines = format!("content-length: {length}\r\nx-forwarded-for: 10.3.0.2\r\n");
    let unended = head(&lines, &sender.signed("order", "2", b"")) + &"x".repeat(SMALL - 1);
    let mut sending = Vec::new();
    for _ in 0..40 {
        let mut wire = Wire::connect(house.public).await;
        wire.send(unended.as_bytes()).await;
        sending.push(wire);
    }
    let most = 40 - 4 * MIB / 5 / SMALL as u64;
    let full = |scrape: &Scrape| shed(scrape, "test", &["memory-address"]) >= most;
    house.until_metrics("the address to have all that it may", full).await;
    let reply = honest("3").await;
    assert_eq!(reply.status, 202, "{reply:?}");
    drop((announcing, sending));
    house.until_metrics("the memory to be free", |scrape| held(scrape) == 0.0).await;
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_largest_body_that_the_config_allows_is_taken_also_in_chunks() {
    let house = house("server.bodies_max = \"4MiB\"");
    enlarge(&house, "2MiB");
    let gateway = house.start().await;
    let body = vec![b'x'; 2 << 20];
    let signed = house.sender("test").signed("order", "1", &body);
    let mut bytes = head("transfer-encoding: chunked\r\n", &signed).into_bytes();
    for chunk in body.chunks(60_000) {
        bytes.extend(format!("{:x}\r\n", chunk.len()).bytes());
        bytes.extend(chunk);
        bytes.extend(b"\r\n");
    }
    bytes.extend(b"0\r\n\r\nGET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    let mut wire = Wire::connect(house.public).await;
    wire.send(&bytes).await;
    assert_eq!(statuses(&wire.rest().await), [202, 404]);
    assert!(gateway.stop().await.success());
}

/// Pushes with these numbers, all at once.
fn pushes(sender: &Sender, numbers: std::ops::Range<u32>) -> Vec<JoinHandle<Reply>> {
    let push = |number: u32| {
        let sender = sender.clone();
        tokio::spawn(async move {
            let body = format!("{{\"n\":{number}}}");
            sender.send("push", &number.to_string(), body.as_bytes()).await.unwrap()
        })
    };
    numbers.map(push).collect()
}

/// What a quiet source has to say, all at once.
fn payments(sender: &Sender) -> Vec<JoinHandle<Reply>> {
    let payment = |number: u32| {
        let sender = sender.clone();
        tokio::spawn(async move {
            let body = payment(&format!("evt_{number}"), "{}");
            sender.send("payment_intent.succeeded", "", body.as_bytes()).await.unwrap()
        })
    };
    (0..QUIET).map(payment).collect()
}

async fn replies(sent: Vec<JoinHandle<Reply>>) -> Vec<Reply> {
    let mut replies = Vec::new();
    for reply in sent {
        replies.push(tokio::time::timeout(PATIENCE, reply).await.unwrap().unwrap());
    }
    replies
}

const FLOOD: u32 = 200;
const QUIET: u32 = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flooding_source_leaves_places_for_a_quiet_one_in_front_of_a_slow_disk() {
    let (house, disk) = (house("server.appends_max = 64"), FaultVfs::register("slow-fair"));
    let gateway = house.start_over(&disk).await;
    let (flooding, quiet) = (house.sender("github"), house.sender("stripe"));
    assert_eq!(replies(pushes(&flooding, 0..1)).await[0].status, 202);
    let still = disk.stand_still();
    let flood = pushes(&flooding, 1..1 + FLOOD);
    let appends = |scrape: &Scrape, source: &str| {
        whole(scrape.value("hookweir_source_appends", &[("source", source)]))
    };
    let full = |scrape: &Scrape| {
        let turned_away = shed(scrape, "github", &["queue-share", "queue"]);
        turned_away + appends(scrape, "github") == u64::from(FLOOD)
    };
    let scrape = house.until_metrics("the flood to take all that it may", full).await;
    let waiting = appends(&scrape, "github");
    assert!((32..40).contains(&waiting), "half of the places: {waiting}");
    // In front of a disk that stands still, the quiet one finds places.
    let sent = payments(&quiet);
    let all = |scrape: &Scrape| appends(scrape, "stripe") == u64::from(QUIET);
    house.until_metrics("the quiet one's places", all).await;
    drop(still);
    for reply in replies(sent).await {
        assert_eq!(reply.status, 202, "{reply:?}");
    }
    let (accepted, refused): (Vec<_>, Vec<_>) =
        replies(flood).await.into_iter().partition(|reply| reply.status == 202);
    assert_eq!((accepted.len() as u64, accepted.len() + refused.len()), (waiting, FLOOD as usize));
    refused.iter().for_each(assert_shed);
    // Who comes again is taken, and nothing was kept of what was refused.
    let again = replies(pushes(&flooding, 1..9)).await;
    assert!(again.iter().all(|reply| reply.status == 202), "{again:?}");
    let fresh = again.iter().filter(|reply| !reply.duplicate()).count() as u64;
    let kept = house.reader().counts().await.unwrap().events;
    assert_eq!(kept, 1 + waiting + u64::from(QUIET) + fresh);
    assert_eq!(gateway.stop().await, Ended::Stopped { cut_off: 0 });
}

/// How many places are left in front of a disk of which each sync takes 100 ms, where `append_latency` is this, and what
/// is held of a flood of one source then.
#[expect(clippy::print_stdout, reason = "the figure, for who reads it")]
async fn held_by_latency(append_latency: &str) -> (u64, u64) {
    const SLOW: Duration = Duration::from_millis(100);
    let limits = format!("server.appends_max = 512\nserver.append_latency = \"{append_latency}\"");
    let name = format!("slow-{append_latency}");
    let (house, disk) = (house(&limits), FaultVfs::register(&name));
    let gateway = house.start_over(&disk).await;
    let sender = house.sender("github");
    let limit = |scrape: &Scrape| whole(scrape.value("hookweir_appends_limit", &[]));
    assert_eq!(limit(&house.metrics().await), 512);
    disk.slow_down(SLOW);
    // The latency is there: each waits for its own commit.
    for number in 0..16 {
        let begun = Instant::now();
        assert_eq!(replies(pushes(&sender, number..number + 1)).await[0].status, 202);
        assert!(begun.elapsed() >= SLOW, "it took {:?}", begun.elapsed());
    }
    let left = limit(&house.metrics().await);
    // Without a commit in between, it is known what is held.
    let still = disk.stand_still();
    let flood = pushes(&sender, 16..16 + FLOOD);
    let held = |scrape: &Scrape| whole(scrape.value("hookweir_appends", &[]));
    let turned_away = |scrape: &Scrape| shed(scrape, "github", &["queue-share", "queue"]);
    let all = |scrape: &Scrape| turned_away(scrape) + held(scrape) == u64::from(FLOOD);
    let full = house.until_metrics("each to be held or shed", all).await;
    println!("append_latency {append_latency}: {left} places, {} held", held(&full));
    // However few there are, a quiet source finds some.
    let quiet = payments(&house.sender("stripe"));
    let of_quiet = [("source", "stripe")];
    let found = |scrape: &Scrape| scrape.value("hookweir_source_appends", &of_quiet);
    house.until_metrics("the quiet one's", |scrape| found(scrape) == f64::from(QUIET)).await;
    disk.slow_down(Duration::ZERO);
    drop(still);
    assert!(replies(quiet).await.iter().all(|reply| reply.status == 202));
    let (accepted, refused): (Vec<_>, Vec<_>) =
        replies(flood).await.into_iter().partition(|reply| reply.status == 202);
    assert_eq!(accepted.len() as u64, held(&full));
    refused.iter().for_each(assert_shed);
    // It is quick again, and so there are more.
    let deadline = Instant::now() + PATIENCE;
    for number in 1000.. {
        assert_eq!(replies(pushes(&sender, number..number + 1)).await[0].status, 202);
        let again = limit(&house.metrics().await);
        if again == 512 || again > left * 2 {
            break;
        }
        assert!(Instant::now() < deadline, "{left} places, and then {again}");
    }
    assert_eq!(gateway.stop().await, Ended::Stopped { cut_off: 0 });
    (left, held(&full))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_commits_take_longer_than_they_should_there_are_fewer_places() {
    assert_eq!(held_by_latency("1h").await, (512, u64::from(FLOOD)), "the load alone is none");
    // A third of the places is left or a little more, and of these one source has half.
    let (left, held) = held_by_latency("30ms").await;
    assert!((40..130).contains(&held), "{held} are held");
    assert_eq!(held, left.div_ceil(2), "of {left} that are left");
    assert_eq!(held_by_latency("1ms").await.1, 16, "what a source has whatever comes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_hangs_up_frees_no_place_before_the_commit() {
    let (house, disk) = (house("server.appends_max = 64"), FaultVfs::register("slow-hang-up"));
    let gateway = house.start_over(&disk).await;
    let still = disk.stand_still();
    let sent = pushes(&house.sender("github"), 0..20);
    let held = |scrape: &Scrape| scrape.value("hookweir_appends", &[]);
    house.until_metrics("places that are taken", |scrape| held(scrape) == 20.0).await;
    let open = |scrape: &Scrape| scrape.value("hookweir_connections", &[]);
    sent.into_iter().for_each(|sending| sending.abort());
    // A connection that ends in the middle of its request is closed.
    let gone = house.until_metrics("the senders to be gone", |scrape| open(scrape) == 0.0).await;
    assert_eq!(held(&gone), 20.0);
    assert!(gone.value("hookweir_bodies_bytes", &[]) > 0.0);
    drop(still);
    house.until_metrics("the places to be free", |scrape| held(scrape) == 0.0).await;
    assert_eq!(house.reader().counts().await.unwrap().events, 20, "they are the store's");
    assert_eq!(gateway.stop().await, Ended::Stopped { cut_off: 0 });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_disk_fills_up_sources_of_low_priority_are_turned_away_first() {
    let low = "[sources.low]\npath = \"/webhooks/low\"\nscheme = \"github\"\npriority = \"low\"\n\
               secrets = [{ env = \"TEST_SECRET\" }]\n";
    let house = house(&format!("{low}[store]\ndisk_free_low = \"1MiB\"\n"));
    let gateway = house.start().await;
    let scheme = hookweir_verify::Scheme::preset("github").unwrap();
    let low_sender = Sender::new(house.public, "/webhooks/low", scheme, SECRET);
    assert_eq!(low_sender.send("push", "1", b"{\"n\":1}").await.unwrap().status, 202);
    let skip = house.log().len();
    house.write_config(&format!("{low}[store]\ndisk_free_low = \"1000000GiB\"\n"));
    house.until_log(skip, &["config reloaded"]).await;
    assert_shed(&low_sender.send("push", "2", b"{\"n\":2}").await.unwrap());
    assert_eq!(shed(&house.metrics().await, "low", &["disk-low"]), 1);
    let normal = house.sender("github").send("push", "3", b"{\"n\":3}").await.unwrap();
    assert_eq!(normal.status, 202, "{normal:?}");
    assert!(gateway.stop().await.success());
}
